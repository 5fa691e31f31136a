/* blocks.cu - see blocks.cuh. */
#include "backend/cuda/blocks.cuh"

#include <cstdlib>
#include <cstring>

/* The first block that ends behind p. */
static size_t place(const kn_blocks *b, uintptr_t p) {
    size_t low = 0, high = b->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (b->block[middle].at + b->block[middle].bytes <= p)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t kn_blocks_find(const kn_blocks *b, const void *p) {
    size_t at = place(b, reinterpret_cast<uintptr_t>(p));
    return at < b->count && b->block[at].at <= reinterpret_cast<uintptr_t>(p) ? at : b->count;
}

void kn_blocks_remove(kn_blocks *b, const void *p) {
    size_t at = kn_blocks_find(b, p);
    if (at == b->count)
        return;
    b->count--;
    b->removed++;
    memmove(b->block + at, b->block + at + 1, (b->count - at) * sizeof *b->block);
}

bool kn_blocks_add(kn_blocks *b, const void *p, size_t bytes) {
    if (b->count == b->room) {
        size_t room = b->room == 0 ? 64 : 2 * b->room;
        void *larger = realloc(b->block, room * sizeof *b->block);
        if (larger == NULL)
            return false;
        b->block = static_cast<kn_block *>(larger);
        b->room = room;
    }
    kn_block own = {reinterpret_cast<uintptr_t>(p), bytes};
    size_t at = place(b, own.at);
    while (at < b->count && b->block[at].at < own.at + bytes) /* no memory is given out twice */
        kn_blocks_remove(b, reinterpret_cast<void *>(b->block[at].at));
    memmove(b->block + at + 1, b->block + at, (b->count - at) * sizeof own);
    b->block[at] = own;
    b->count++;
    return true;
}

void kn_blocks_free(kn_blocks *b) {
    free(b->block);
    *b = kn_blocks();
}
