/* json_memory.c - see json_memory.h. jansson 2.14 drops characters of a string when it cannot grow
 * the memory that it gathers them in, and then ends the program by an assertion, or may read
 * another text than is there. JSON is read before a training begins and before anything is written,
 * so the command ends there, and says why, before jansson learns of it. (The library leaves
 * jansson's allocator as it is: that belongs to the program it is linked into.) */
#include "json_memory.h"

#include <jansson.h>
#include <stdlib.h>

static report *told;

static void *all_or_end(size_t bytes) {
    void *p = malloc(bytes);
    if (p == NULL && bytes > 0)
        exit(report_end(
            told, report_fail(told, EXIT_DEVICE, "out of memory: %zu bytes for JSON", bytes)));
    return p;
}

void json_memory_watch(report *r) {
    told = r;
    json_set_alloc_funcs(all_or_end, free);
}
