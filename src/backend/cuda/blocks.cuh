/* blocks.cuh - the device's memory by address: which allocation does a pointer lie in? */
#ifndef KN_BACKEND_CUDA_BLOCKS_CUH
#define KN_BACKEND_CUDA_BLOCKS_CUH

#include <cstddef>
#include <cstdint>

struct kn_block {
    uintptr_t at;
    size_t bytes;
};

struct kn_blocks {
    kn_block *block; /* the lowest address first */
    size_t count, room;
    size_t removed; /* so far */
};

bool kn_blocks_add(kn_blocks *b, const void *p, size_t bytes); /* false: no memory */
void kn_blocks_remove(kn_blocks *b, const void *p);
void kn_blocks_free(kn_blocks *b);

/* The number of the block that p lies in, its count if in none. */
size_t kn_blocks_find(const kn_blocks *b, const void *p);

#endif
