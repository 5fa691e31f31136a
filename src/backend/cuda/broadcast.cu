/* broadcast.cu - operands that repeat along some axes, and axes in another order. */
#include "backend/cuda/device_math.cuh"
#include "backend/cuda/index.cuh"

enum { THREADS = 256 };

/* Both operands are walked one by one, or one of them stays where it is. */
static bool is_line(const kn_bcast *loop) {
    return loop->rank == 0 || (loop->rank == 1 && loop->a_step[0] <= 1 && loop->b_step[0] <= 1);
}

/* ---- two operands ---- */

template <kn_binary_kind kind> struct operation;
template <> struct operation<KN_ADD> {
    static __device__ float of(float a, float b) { return a + b; }
};
template <> struct operation<KN_SUB> {
    static __device__ float of(float a, float b) { return a - b; }
};
template <> struct operation<KN_MUL> {
    static __device__ float of(float a, float b) { return a * b; }
};
template <> struct operation<KN_DIV> {
    static __device__ float of(float a, float b) { return a / b; }
};
template <> struct operation<KN_EQ> {
    template <typename T> static __device__ uint8_t of(T a, T b) { return a == b; }
};

template <kn_binary_kind kind, typename T, typename Y>
static __global__ void line_kernel(int64_t n, int64_t a_step, int64_t b_step, const T *a,
                                   const T *b, Y *y) {
    int64_t i = kn_thread();
    if (i < n)
        y[i] = operation<kind>::of(a[i * a_step], b[i * b_step]);
}

template <kn_binary_kind kind, typename T, typename Y>
static __global__ void loop_kernel(int64_t n, kn_bcast loop, const T *a, const T *b, Y *y) {
    int64_t i = kn_thread(), at_a, at_b;
    if (i >= n)
        return;
    kn_loop_at(loop, i, &at_a, &at_b);
    y[i] = operation<kind>::of(a[at_a], b[at_b]);
}

template <kn_binary_kind kind, typename T, typename Y>
static kn_status binary(kn_device *d, const kn_bcast *loop, const void *a, const void *b, void *y) {
    int64_t n = kn_loop_count(loop);
    const T *p = static_cast<const T *>(a), *q = static_cast<const T *>(b);
    Y *out = static_cast<Y *>(y);
    if (is_line(loop))
        return kn_cuda_launch(d, "binary", line_kernel<kind, T, Y>, kn_cuda_blocks(n, THREADS),
                              THREADS, 0, n, loop->a_step[0], loop->b_step[0], p, q, out);
    return kn_cuda_launch(d, "binary", loop_kernel<kind, T, Y>, kn_cuda_blocks(n, THREADS), THREADS,
                          0, n, *loop, p, q, out);
}

extern "C" kn_status kn_cuda_binary(kn_device *d, kn_binary_kind kind, kn_dtype dtype,
                                    const kn_bcast *loop, const void *p, const void *q, void *y) {
    switch (kind) {
    case KN_ADD:
        return binary<KN_ADD, float, float>(d, loop, p, q, y);
    case KN_SUB:
        return binary<KN_SUB, float, float>(d, loop, p, q, y);
    case KN_MUL:
        return binary<KN_MUL, float, float>(d, loop, p, q, y);
    case KN_DIV:
        return binary<KN_DIV, float, float>(d, loop, p, q, y);
    case KN_EQ:
        return dtype == KN_I32 ? binary<KN_EQ, int32_t, uint8_t>(d, loop, p, q, y)
                               : binary<KN_EQ, float, uint8_t>(d, loop, p, q, y);
    }
    return KN_OK;
}

/* ---- one operand ---- */

static __global__ void expand_kernel(int64_t n, kn_bcast loop, float scale, const float *a,
                                     float *y) {
    int64_t i = kn_thread();
    if (i < n)
        y[i] = scale * a[kn_loop_at(loop, i)];
}

extern "C" kn_status kn_cuda_expand(kn_device *d, const kn_bcast *loop, float scale, const float *a,
                                    float *y) {
    int64_t n = kn_loop_count(loop);
    return kn_cuda_launch(d, "expand", expand_kernel, kn_cuda_blocks(n, THREADS), THREADS, 0, n,
                          *loop, scale, a, y);
}

/* ---- permute ---- */

template <typename T>
static __global__ void permute_kernel(int64_t n, kn_bcast loop, const T *x, T *y) {
    int64_t i = kn_thread();
    if (i < n)
        y[i] = x[kn_loop_at(loop, i)];
}

template <typename T>
static kn_status permute(kn_device *d, const kn_bcast *loop, const void *x, void *y) {
    int64_t n = kn_loop_count(loop);
    return kn_cuda_launch(d, "permute", permute_kernel<T>, kn_cuda_blocks(n, THREADS), THREADS, 0,
                          n, *loop, static_cast<const T *>(x), static_cast<T *>(y));
}

extern "C" kn_status kn_cuda_permute(kn_device *d, const kn_shape *shape, const int *axes,
                                     size_t size, const void *x, void *y) {
    kn_bcast loop = {};
    loop.rank = shape->rank;
    for (int i = 0; i < loop.rank; i++) {
        loop.dim[i] = shape->dim[axes[i]];
        loop.a_step[i] = 1;
        for (int axis = axes[i] + 1; axis < loop.rank; axis++)
            loop.a_step[i] *= shape->dim[axis];
    }
    switch (size) {
    case 1:
        return permute<uint8_t>(d, &loop, x, y);
    case 2:
        return permute<uint16_t>(d, &loop, x, y);
    case 4:
        return permute<uint32_t>(d, &loop, x, y);
    default:
        return permute<uint64_t>(d, &loop, x, y);
    }
}
