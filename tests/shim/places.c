/* places.c - the address ranges of the program and of libraries that do what it asks and nothing by
 * themselves: JSON and pictures. See shim.h. */
#include "shim.h"

#include <execinfo.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

typedef struct range {
    char object[64];
    uintptr_t base, begin, end;
    bool program;
} range;

static range ranges[MOST];
static int count;

/* Not libcrypto: of version 3.0 the initialisation itself crashes when memory is refused to it. */
static const char *const helpers[] = {"libjansson", "libjpeg", "libpng", "libz."};

static bool wanted(const char *name, const char *only) {
    if (only != NULL)
        return strstr(name, only) != NULL;
    for (size_t i = 0; i < sizeof helpers / sizeof helpers[0]; i++)
        if (strstr(name, helpers[i]) != NULL)
            return true;
    return false;
}

static int look(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size;
    const char *only = user, *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash != NULL ? slash + 1 : info->dlpi_name;
    static bool first = true; /* the first is the program */
    bool program = first;
    first = false;
    if (count == MOST || (program ? only != NULL : !wanted(name, only)))
        return 0;
    range *r = &ranges[count++];
    r->program = program;
    r->base = info->dlpi_addr;
    snprintf(r->object, sizeof r->object, "%s", program ? "kiln" : name);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + h->p_vaddr;
        if (h->p_type != PT_LOAD)
            continue;
        r->begin = r->begin == 0 || from < r->begin ? from : r->begin;
        r->end = from + h->p_memsz > r->end ? from + h->p_memsz : r->end;
    }
    return 0;
}

void places_find(const char *only) {
    void *first[1];
    backtrace(first, 1); /* loads what it needs, by malloc */
    dl_iterate_phdr(look, (void *)(uintptr_t)only);
}

place place_of(const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    for (int i = 0; i < count; i++)
        if (at >= ranges[i].begin && at < ranges[i].end)
            return (place){ranges[i].object, at - ranges[i].base, ranges[i].program};
    return (place){0};
}

way way_to(const void *caller) {
    enum { ABOVE = 8 }; /* frames of this library */
    void *frames[WAY + ABOVE];
    way w = {{place_of(caller)}, 1};
    if (w.of[0].object == NULL)
        return (way){0};
    int depth = backtrace(frames, WAY + ABOVE), i = 0;
    while (i < depth && frames[i] != caller)
        i++;
    for (i++; i < depth && w.count < WAY; i++) {
        place p = place_of(frames[i]);
        if (p.object != w.of[0].object)
            break;
        w.of[w.count++] = p;
    }
    return w;
}

void way_name(const way *w, char text[WAY_TEXT]) {
    int length = snprintf(text, WAY_TEXT, "%s", w->of[0].object);
    for (int i = 0; i < w->count && length < WAY_TEXT; i++)
        length += snprintf(text + length, (size_t)(WAY_TEXT - length), "%c%lx", i == 0 ? '+' : ',',
                           (unsigned long)w->of[i].at);
}
