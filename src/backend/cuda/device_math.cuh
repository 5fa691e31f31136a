/* device_math.cuh - what kernels share: numbers of both kinds, sixteen bytes at a time; sums in an
 * order that is always the same. */
#ifndef KN_BACKEND_CUDA_DEVICE_MATH_CUH
#define KN_BACKEND_CUDA_DEVICE_MATH_CUH

#include "backend/cuda/cuda.cuh"

#include <cmath>

/* ---- numbers ---- */

typedef __nv_bfloat16 kn_half;

static inline const kn_half *kn_halves(const kn_bf16 *p) {
    return reinterpret_cast<const kn_half *>(p);
}
static inline kn_half *kn_halves(kn_bf16 *p) {
    return reinterpret_cast<kn_half *>(p);
}

static __device__ __forceinline__ float kn_wide(float x) {
    return x;
}
static __device__ __forceinline__ float kn_wide(kn_half x) {
    return __bfloat162float(x);
}
static __device__ __forceinline__ void kn_put(float *to, float x) {
    *to = x;
}
static __device__ __forceinline__ void kn_put(kn_half *to, float x) {
    *to = __float2bfloat16_rn(x);
}

/* What is left of x once a T was made of it. */
template <typename T> static __device__ __forceinline__ float kn_rounded(float x) {
    T stored;
    kn_put(&stored, x);
    return kn_wide(stored);
}

/* V numbers that lie together, in f32: with V over 1 from an address that is a multiple of their
 * size. */
template <int V, typename T> static __device__ __forceinline__ void kn_load(const T *p, float *v) {
    if constexpr (V == 1) {
        v[0] = kn_wide(*p);
    } else {
        struct alignas(V * sizeof(T)) pack {
            T at[V];
        };
        const pack all = *reinterpret_cast<const pack *>(p);
#pragma unroll
        for (int i = 0; i < V; i++)
            v[i] = kn_wide(all.at[i]);
    }
}

template <int V, typename T> static __device__ __forceinline__ void kn_store(T *p, const float *v) {
    if constexpr (V == 1) {
        kn_put(p, v[0]);
    } else {
        struct alignas(V * sizeof(T)) pack {
            T at[V];
        };
        pack all;
#pragma unroll
        for (int i = 0; i < V; i++)
            kn_put(&all.at[i], v[i]);
        *reinterpret_cast<pack *>(p) = all;
    }
}

/* How many numbers of T make sixteen bytes. */
template <typename T> struct kn_vector {
    static const int most = static_cast<int>(16 / sizeof(T));
};

/* May all of these be read sixteen bytes at a time? NULL may. */
static inline bool kn_aligned(const void *a, const void *b = NULL, const void *c = NULL,
                              const void *d = NULL) {
    uintptr_t all = reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) |
                    reinterpret_cast<uintptr_t>(c) | reinterpret_cast<uintptr_t>(d);
    return all % 16 == 0;
}

static __device__ __forceinline__ int64_t kn_thread() {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/* ---- sums ---- */

static const unsigned kn_all_lanes = 0xffffffffu;

/* Of the 32 lanes of a warp, all of which must be there; every lane has it. */
template <typename T> static __device__ __forceinline__ T kn_warp_sum(T v) {
    for (int away = 16; away > 0; away /= 2)
        v += __shfl_xor_sync(kn_all_lanes, v, away);
    return v;
}

/* Of a block of whole warps, at most 1024 threads; every thread has it. room is shared [32]. */
template <typename T> static __device__ __forceinline__ T kn_block_sum(T v, T *room) {
    int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    v = kn_warp_sum(v);
    __syncthreads(); /* room may be in use by the sum before */
    if (lane == 0)
        room[warp] = v;
    __syncthreads();
    v = lane < static_cast<int>(blockDim.x + 31) / 32 ? room[lane] : T(0);
    return kn_warp_sum(v);
}

/* The larger, as a maximum over tensors has it: NaN is larger than anything. */
static __device__ __forceinline__ float kn_larger(float a, float b) {
    return b > a || isnan(b) ? b : a;
}
static __device__ __forceinline__ float kn_warp_max(float v) {
    for (int away = 16; away > 0; away /= 2)
        v = kn_larger(v, __shfl_xor_sync(kn_all_lanes, v, away));
    return v;
}

/* True in the block that is the last of `blocks` to come here, where all that the others wrote to
 * device memory before is seen. counter is 0 before and after: kn_cuda_counters. The sum that the
 * last block then makes of what all wrote has a fixed order, whichever block it is. */
static __device__ inline bool kn_last_block(unsigned *counter, unsigned blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(counter, 1u) == blocks - 1;
        if (last)
            *counter = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}

#endif
