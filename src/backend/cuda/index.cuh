/* index.cuh - places in loops of several axes, for kernels that walk them in any order. */
#ifndef KN_BACKEND_CUDA_INDEX_CUH
#define KN_BACKEND_CUDA_INDEX_CUH

#include "backend/cuda/cuda.cuh"

static inline int64_t kn_loop_count(const kn_bcast *loop) {
    int64_t count = 1;
    for (int axis = 0; axis < loop->rank; axis++)
        count *= loop->dim[axis];
    return count;
}

/* The offsets at place i of the loop. Divisions of 32 bits are several times quicker. */
static __device__ __forceinline__ void kn_loop_at(const kn_bcast &loop, int64_t i, int64_t *a,
                                                  int64_t *b) {
    *a = *b = 0;
    if (i <= UINT32_MAX) {
        uint32_t left = static_cast<uint32_t>(i);
        for (int axis = loop.rank - 1; axis >= 0; axis--) {
            uint32_t dim = static_cast<uint32_t>(loop.dim[axis]), q = left / dim;
            int64_t at = left - q * dim;
            *a += at * loop.a_step[axis];
            *b += at * loop.b_step[axis];
            left = q;
        }
        return;
    }
    for (int axis = loop.rank - 1; axis >= 0; axis--) {
        int64_t q = i / loop.dim[axis], at = i - q * loop.dim[axis];
        *a += at * loop.a_step[axis];
        *b += at * loop.b_step[axis];
        i = q;
    }
}

static __device__ __forceinline__ int64_t kn_loop_at(const kn_bcast &loop, int64_t i) {
    int64_t a, b;
    kn_loop_at(loop, i, &a, &b);
    return a;
}

#endif
