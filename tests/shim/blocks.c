/* blocks.c - memory that was asked for and not given back, known by who asked. See shim.h. */
#include "shim.h"

#include <stdatomic.h>

enum { BUCKETS = 1 << 16, BLOCKS = 1 << 18 };

typedef struct block {
    const void *p;
    size_t size;
    place from;
    struct block *next;
} block;

static block blocks[BLOCKS], *unused, *buckets[BUCKETS];
static size_t ever; /* of blocks, how many were in use at some time */
static atomic_flag locked = ATOMIC_FLAG_INIT;

static void lock(void) {
    while (atomic_flag_test_and_set_explicit(&locked, memory_order_acquire))
        continue;
}

static void unlock(void) {
    atomic_flag_clear_explicit(&locked, memory_order_release);
}

static block **bucket(const void *p) {
    return &buckets[((uintptr_t)p * 0x9E3779B97F4A7C15u) >> 48];
}

void block_given(void *p, size_t size, place from) {
    if (p == NULL || from.object == NULL)
        return;
    lock();
    block *b = unused;
    if (b != NULL)
        unused = b->next;
    else if (ever < BLOCKS)
        b = &blocks[ever++];
    if (b != NULL) {
        block **first = bucket(p);
        *b = (block){p, size, from, *first};
        *first = b;
    }
    unlock();
}

void block_taken(const void *p) {
    if (p == NULL)
        return;
    lock();
    for (block **at = bucket(p); *at != NULL; at = &(*at)->next)
        if ((*at)->p == p) {
            block *b = *at;
            *at = b->next;
            b->next = unused;
            unused = b;
            break;
        }
    unlock();
}

long blocks_left(FILE *to) {
    long left = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const block *b = buckets[i]; b != NULL; b = b->next, left++)
            fprintf(to, "leak %s+%lx %zu\n", b->from.object, (unsigned long)b->from.at, b->size);
    return left;
}
