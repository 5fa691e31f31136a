/* scratch.c - a buffer that is kept from one picture to the next. */
#include <kiln/image.h>

#include "core/ctx.h"

void *kn_scratch_get(kn_scratch *s, size_t bytes, kn_error *error) {
    if (s->data != NULL && bytes <= s->capacity)
        return s->data;
    /* A quarter more than asked for, so that a folder of slowly growing files settles. */
    size_t room = bytes < 64 ? 64 : bytes <= SIZE_MAX / 2 ? bytes + bytes / 4 : bytes;
    kn_scratch_free(s); /* before: two at once would double the peak */
    s->data = kn_mem_alloc(s->allocator, room);
    if (s->data == NULL) {
        kn_error_set(error, KN_ERR_MEMORY, "out of memory: %zu bytes for a picture", room);
        return NULL;
    }
    s->capacity = room;
    return s->data;
}

void kn_scratch_free(kn_scratch *s) {
    kn_mem_free(s->allocator, s->data);
    s->data = NULL;
    s->capacity = 0;
}
