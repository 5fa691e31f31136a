/* picture_store.c - see picture_store.h. Pictures are cut from blocks: a hundred thousand of them
 * as allocations of their own could be more mappings than Linux gives a process. A block is smaller
 * than what asks for huge pages (core/ctx.c): it is read once an epoch, in order, and a virtual
 * machine that gets its memory from the host at the first touch took 2 s longer to fill 1.5 GB with
 * them. */
#include "data/picture_store.h"

#include "core/ctx.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { BLOCK = 2 << 20, ALONE = BLOCK / 8, ALIGNMENT = 64 };

typedef struct block {
    struct block *next;
    size_t used, room; /* bytes behind the header */
} block;

enum { HEADER = (sizeof(block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT };

typedef struct kept {
    _Atomic(uint8_t *) pixels; /* NULL until they are all there */
    bool taken;                /* by a thread that copies it, or has */
    int32_t height, width, label;
} kept;

struct kn_picture_store {
    kn_ctx *ctx; /* for the end only */
    const kn_allocator *allocator;
    kept *kept; /* [pictures] */
    size_t limit;
    pthread_mutex_t mutex; /* guards what follows, and each taken */
    kn_picture_count count;
    bool full;    /* memory gave out */
    block *first; /* pictures are cut from this one */
};

kn_picture_store *kn_picture_store_new(kn_ctx *ctx, int64_t pictures, size_t limit) {
    kn_picture_store *s = kn_calloc(ctx, 1, sizeof *s, "pictures that are kept");
    if (s == NULL)
        return NULL;
    s->ctx = ctx;
    s->allocator = kn_ctx_allocator(ctx);
    s->limit = limit;
    s->kept = kn_calloc(ctx, (size_t)pictures, sizeof *s->kept, "pictures that are kept");
    if (s->kept != NULL) {
        if (pthread_mutex_init(&s->mutex, NULL) == 0)
            return s;
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: a lock for pictures that are kept");
    }
    kn_free(ctx, s->kept);
    kn_free(ctx, s);
    return NULL;
}

void kn_picture_store_free(kn_picture_store *s) {
    if (s == NULL)
        return;
    for (block *b = s->first, *next; b != NULL; b = next) {
        next = b->next;
        kn_mem_free(s->allocator, b);
    }
    pthread_mutex_destroy(&s->mutex);
    kn_free(s->ctx, s->kept);
    kn_free(s->ctx, s);
}

bool kn_picture_store_get(kn_picture_store *s, int64_t index, kn_image *picture, int32_t *label) {
    const kept *k = &s->kept[index];
    const uint8_t *pixels = atomic_load_explicit(&k->pixels, memory_order_acquire);
    if (pixels == NULL)
        return false;
    *picture = (kn_image){.height = k->height, .width = k->width, .pixels = pixels};
    *label = k->label;
    return true;
}

/* A large one gets a block of its own, which goes behind the one that others are cut from. */
static uint8_t *cut(kn_picture_store *s, size_t bytes) {
    block *b = s->first;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (b == NULL || b->room - b->used < bytes) {
        bool alone = b != NULL && bytes > ALONE;
        size_t room = alone || bytes > BLOCK ? bytes : BLOCK;
        block *fresh = kn_mem_alloc(s->allocator, HEADER + room);
        if (fresh == NULL)
            return NULL;
        *fresh = (block){.next = alone ? b->next : b, .room = room};
        *(alone ? &b->next : &s->first) = fresh;
        b = fresh;
    }
    b->used += bytes;
    return (uint8_t *)b + HEADER + (b->used - bytes);
}

/* Room for a picture that nobody keeps; NULL: it is not to be kept. */
static uint8_t *take(kn_picture_store *s, kept *k, size_t bytes) {
    uint8_t *room = NULL;
    pthread_mutex_lock(&s->mutex);
    if (!s->full && !k->taken && bytes <= s->limit - s->count.bytes) {
        room = cut(s, bytes);
        s->full = room == NULL;
    }
    if (room != NULL) {
        k->taken = true;
        s->count.pictures++;
        s->count.bytes += bytes;
    } else if (!k->taken)
        s->count.crowded = true;
    pthread_mutex_unlock(&s->mutex);
    return room;
}

void kn_picture_store_put(kn_picture_store *s, int64_t index, const kn_image *picture,
                          int32_t label) {
    kept *k = &s->kept[index];
    size_t bytes = (size_t)picture->height * (size_t)picture->width * 3;
    uint8_t *pixels = take(s, k, bytes);
    if (pixels == NULL)
        return;
    memcpy(pixels, picture->pixels, bytes);
    k->height = picture->height;
    k->width = picture->width;
    k->label = label;
    atomic_store_explicit(&k->pixels, pixels, memory_order_release);
}

kn_picture_count kn_picture_store_count(kn_picture_store *s) {
    pthread_mutex_lock(&s->mutex);
    kn_picture_count count = s->count;
    pthread_mutex_unlock(&s->mutex);
    return count;
}
