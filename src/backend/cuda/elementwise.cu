/* elementwise.cu - functions of each element: sixteen bytes a thread where addresses allow. */
#include "backend/cuda/device_math.cuh"

extern "C" {
#include <kiln/random.h>
}

enum { THREADS = 256 };

/* ---- fill, axpy ---- */

static __global__ void fill_kernel(int64_t n, float value, float *y) {
    int64_t i = kn_thread();
    if (i < n)
        y[i] = value;
}

extern "C" kn_status kn_cuda_fill(kn_device *d, int64_t n, float value, float *y) {
    return kn_cuda_launch(d, "fill", fill_kernel, kn_cuda_blocks(n, THREADS), THREADS, 0, n, value,
                          y);
}

template <int V>
static __global__ void axpy_kernel(int64_t n, float alpha, const float *x, float *y) {
    int64_t at = kn_thread() * V;
    if (at + V <= n) {
        float a[V], b[V];
        kn_load<V>(x + at, a);
        kn_load<V>(y + at, b);
#pragma unroll
        for (int k = 0; k < V; k++)
            b[k] = fmaf(alpha, a[k], b[k]);
        kn_store<V>(y + at, b);
    } else {
        for (; at < n; at++)
            y[at] = fmaf(alpha, x[at], y[at]);
    }
}

extern "C" kn_status kn_cuda_axpy(kn_device *d, int64_t n, float alpha, const float *x, float *y) {
    return kn_aligned(x, y)
               ? kn_cuda_launch(d, "axpy", axpy_kernel<4>, kn_cuda_blocks(n, 4 * THREADS), THREADS,
                                0, n, alpha, x, y)
               : kn_cuda_launch(d, "axpy", axpy_kernel<1>, kn_cuda_blocks(n, THREADS), THREADS, 0,
                                n, alpha, x, y);
}

/* ---- functions of one operand ---- */

/* log(1 + exp(x)), which is x where the 1 is lost. */
static __device__ float softplus(float x) {
    return x > 20 ? x : log1pf(expf(x));
}

static __device__ float unary_value(kn_unary_kind kind, float x) {
    switch (kind) {
    case KN_NEG:
        return -x;
    case KN_EXP:
        return expf(x);
    case KN_LOG:
        return logf(x);
    case KN_SQRT:
        return sqrtf(x);
    case KN_RELU:
        return x < 0 ? 0 : x; /* keeps NaN */
    case KN_SWISH:
        return x / (1 + expf(-x));
    case KN_MISH:
        return x * tanhf(softplus(x));
    }
    return NAN;
}

static __device__ float unary_slope(kn_unary_kind kind, float x, float y) {
    float s;
    switch (kind) {
    case KN_NEG:
        return -1;
    case KN_EXP:
        return y;
    case KN_LOG:
        return 1 / x;
    case KN_SQRT:
        return 0.5f / y;
    case KN_RELU:
        return y > 0 ? 1.0f : 0.0f;
    case KN_SWISH:
        s = 1 / (1 + expf(-x));
        return s * (1 + x * (1 - s));
    case KN_MISH:
        s = tanhf(softplus(x));
        return s + x * (1 - s * s) / (1 + expf(-x));
    }
    return NAN;
}

/* Not a product for relu: 0 * infinity is NaN. Where y is NaN, dy passes. */
static __device__ float unary_back(kn_unary_kind kind, float x, float y, float dy) {
    return kind == KN_RELU ? (y <= 0 ? 0 : dy) : dy * unary_slope(kind, x, y);
}

template <int V, typename T>
static __global__ void unary_kernel(kn_unary_kind kind, int64_t n, const T *x, T *y) {
    int64_t at = kn_thread() * V;
    if (at + V <= n) {
        float a[V];
        kn_load<V>(x + at, a);
#pragma unroll
        for (int k = 0; k < V; k++)
            a[k] = unary_value(kind, a[k]);
        kn_store<V>(y + at, a);
    } else {
        for (; at < n; at++)
            kn_put(&y[at], unary_value(kind, kn_wide(x[at])));
    }
}

/* x may be NULL where it is not asked for; so may y. */
template <int V, typename T>
static __global__ void unary_grad_kernel(kn_unary_kind kind, int64_t n, const T *x, const T *y,
                                         const T *dy, T *dx) {
    int64_t at = kn_thread() * V;
    if (at + V <= n) {
        float a[V] = {}, b[V] = {}, g[V];
        if (x != NULL)
            kn_load<V>(x + at, a);
        if (y != NULL)
            kn_load<V>(y + at, b);
        kn_load<V>(dy + at, g);
#pragma unroll
        for (int k = 0; k < V; k++)
            g[k] = unary_back(kind, a[k], b[k], g[k]);
        kn_store<V>(dx + at, g);
    } else {
        for (; at < n; at++)
            kn_put(&dx[at], unary_back(kind, x != NULL ? kn_wide(x[at]) : 0,
                                       y != NULL ? kn_wide(y[at]) : 0, kn_wide(dy[at])));
    }
}

template <typename T>
static kn_status unary(kn_device *d, kn_unary_kind kind, int64_t n, const T *x, T *y) {
    const int most = kn_vector<T>::most;
    return kn_aligned(x, y)
               ? kn_cuda_launch(d, "unary", unary_kernel<most, T>,
                                kn_cuda_blocks(n, most * THREADS), THREADS, 0, kind, n, x, y)
               : kn_cuda_launch(d, "unary", unary_kernel<1, T>, kn_cuda_blocks(n, THREADS), THREADS,
                                0, kind, n, x, y);
}

template <typename T>
static kn_status unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const T *x, const T *y,
                            const T *dy, T *dx) {
    const int most = kn_vector<T>::most;
    bool wants_x = kind == KN_LOG || kind == KN_SWISH || kind == KN_MISH;
    bool wants_y = kind == KN_EXP || kind == KN_SQRT || kind == KN_RELU;
    x = wants_x ? x : NULL;
    y = wants_y ? y : NULL;
    return kn_aligned(x, y, dy, dx)
               ? kn_cuda_launch(d, "unary_grad", unary_grad_kernel<most, T>,
                                kn_cuda_blocks(n, most * THREADS), THREADS, 0, kind, n, x, y, dy,
                                dx)
               : kn_cuda_launch(d, "unary_grad", unary_grad_kernel<1, T>,
                                kn_cuda_blocks(n, THREADS), THREADS, 0, kind, n, x, y, dy, dx);
}

extern "C" kn_status kn_cuda_unary(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                                   float *y) {
    return unary(d, kind, n, x, y);
}
extern "C" kn_status kn_cuda_unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                                        const float *y, const float *dy, float *dx) {
    return unary_grad(d, kind, n, x, y, dy, dx);
}
extern "C" kn_status kn_cuda_bf16_unary(kn_device *d, kn_unary_kind kind, int64_t n,
                                        const kn_bf16 *x, kn_bf16 *y) {
    return unary(d, kind, n, kn_halves(x), kn_halves(y));
}
extern "C" kn_status kn_cuda_bf16_unary_grad(kn_device *d, kn_unary_kind kind, int64_t n,
                                             const kn_bf16 *x, const kn_bf16 *y, const kn_bf16 *dy,
                                             kn_bf16 *dx) {
    return unary_grad(d, kind, n, kn_halves(x), kn_halves(y), kn_halves(dy), kn_halves(dx));
}

/* ---- the sum of two gradients in bf16 ---- */

template <int V>
static __global__ void add_kernel(int64_t n, const kn_half *a, const kn_half *b, kn_half *y) {
    int64_t at = kn_thread() * V;
    if (at + V <= n) {
        float p[V], q[V];
        kn_load<V>(a + at, p);
        kn_load<V>(b + at, q);
#pragma unroll
        for (int k = 0; k < V; k++)
            p[k] += q[k];
        kn_store<V>(y + at, p);
    } else {
        for (; at < n; at++)
            kn_put(&y[at], kn_wide(a[at]) + kn_wide(b[at]));
    }
}

extern "C" kn_status kn_cuda_bf16_add(kn_device *d, int64_t n, const kn_bf16 *a, const kn_bf16 *b,
                                      kn_bf16 *y) {
    return kn_aligned(a, b, y)
               ? kn_cuda_launch(d, "add", add_kernel<8>, kn_cuda_blocks(n, 8 * THREADS), THREADS, 0,
                                n, kn_halves(a), kn_halves(b), kn_halves(y))
               : kn_cuda_launch(d, "add", add_kernel<1>, kn_cuda_blocks(n, THREADS), THREADS, 0, n,
                                kn_halves(a), kn_halves(b), kn_halves(y));
}

/* ---- dropout ---- */

/* As kn_philox, and with kn_rng_at's counter: one block of numbers serves four elements. */
static __device__ uint4 philox(uint2 key, uint4 c) {
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c.x;
        uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c.z;
        c = make_uint4(static_cast<uint32_t>(p1 >> 32) ^ c.y ^ key.x, static_cast<uint32_t>(p1),
                       static_cast<uint32_t>(p0 >> 32) ^ c.w ^ key.y, static_cast<uint32_t>(p0));
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return c;
}

template <typename T>
static __global__ void dropout_kernel(int64_t n, float keep, uint2 key, uint32_t purpose,
                                      uint32_t step, const T *x, T *y) {
    int64_t block = kn_thread(), at = block * 4;
    if (at >= n)
        return;
    uint4 drawn = philox(key, make_uint4(0, static_cast<uint32_t>(block), step, purpose));
    const uint32_t number[4] = {drawn.x, drawn.y, drawn.z, drawn.w};
#pragma unroll
    for (int k = 0; k < 4; k++)
        if (at + k < n) {
            float u = static_cast<float>(number[k] >> 8) * 0x1p-24f;
            kn_put(&y[at + k], u < keep ? kn_wide(x[at + k]) / keep : 0);
        }
}

static const uint32_t dropout_purpose = KN_RANDOM_DROPOUT;

template <typename T>
static kn_status dropout(kn_device *d, int64_t n, float keep, kn_dropout_place place, const T *x,
                         T *y) {
    uint2 key =
        make_uint2(static_cast<uint32_t>(place.seed), static_cast<uint32_t>(place.seed >> 32));
    return kn_cuda_launch(d, "dropout", dropout_kernel<T>, kn_cuda_blocks(n, 4 * THREADS), THREADS,
                          0, n, keep, key, dropout_purpose << 16 | place.layer, place.step, x, y);
}

extern "C" kn_status kn_cuda_dropout(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                                     const float *x, float *y) {
    return dropout(d, n, keep, place, x, y);
}
extern "C" kn_status kn_cuda_bf16_dropout(kn_device *d, int64_t n, float keep,
                                          kn_dropout_place place, const kn_bf16 *x, kn_bf16 *y) {
    return dropout(d, n, keep, place, kn_halves(x), kn_halves(y));
}

/* ---- casts ---- */

/* Through f32, which holds all numbers of the others but i32; from and to that through f64. */
static __device__ double load_as(const float *x, int64_t i) {
    return x[i];
}
static __device__ double load_as(const kn_half *x, int64_t i) {
    return kn_wide(x[i]);
}
static __device__ double load_as(const uint8_t *x, int64_t i) {
    return x[i];
}
static __device__ double load_as(const int32_t *x, int64_t i) {
    return x[i];
}

/* Truncates towards zero; NaN is 0, and what does not fit is the nearest that does. */
static __device__ double into(double value, double low, double high) {
    return isnan(value) ? 0 : value < low ? low : value > high ? high : trunc(value);
}
static __device__ void store_as(float *y, int64_t i, double value) {
    y[i] = static_cast<float>(value);
}
static __device__ void store_as(kn_half *y, int64_t i, double value) {
    y[i] = __float2bfloat16_rn(static_cast<float>(value));
}
static __device__ void store_as(uint8_t *y, int64_t i, double value) {
    y[i] = static_cast<uint8_t>(into(value, 0, UINT8_MAX));
}
static __device__ void store_as(int32_t *y, int64_t i, double value) {
    y[i] = static_cast<int32_t>(into(value, INT32_MIN, INT32_MAX));
}

template <typename F, typename T> static __global__ void cast_kernel(int64_t n, const F *x, T *y) {
    int64_t i = kn_thread();
    if (i < n)
        store_as(y, i, load_as(x, i));
}

/* Between the two kinds of activations, sixteen bytes of bf16 a thread. */
template <typename F, typename T>
static __global__ void cast_wide_kernel(int64_t n, const F *x, T *y) {
    int64_t at = kn_thread() * 8;
    if (at + 8 <= n) {
        float v[8];
        if constexpr (sizeof(F) == 4) {
            kn_load<4>(x + at, v);
            kn_load<4>(x + at + 4, v + 4);
        } else {
            kn_load<8>(x + at, v);
        }
        if constexpr (sizeof(T) == 4) {
            kn_store<4>(y + at, v);
            kn_store<4>(y + at + 4, v + 4);
        } else {
            kn_store<8>(y + at, v);
        }
    } else {
        for (; at < n; at++)
            kn_put(&y[at], kn_wide(x[at]));
    }
}

template <typename F, typename T>
static kn_status cast(kn_device *d, int64_t n, const void *x, void *y) {
    const F *from = static_cast<const F *>(x);
    T *to = static_cast<T *>(y);
    if constexpr ((std::is_same_v<F, float> && std::is_same_v<T, kn_half>) ||
                  (std::is_same_v<F, kn_half> && std::is_same_v<T, float>)) {
        if (kn_aligned(x, y))
            return kn_cuda_launch(d, "cast", cast_wide_kernel<F, T>, kn_cuda_blocks(n, 8 * THREADS),
                                  THREADS, 0, n, from, to);
    }
    return kn_cuda_launch(d, "cast", cast_kernel<F, T>, kn_cuda_blocks(n, THREADS), THREADS, 0, n,
                          from, to);
}

template <typename F>
static kn_status cast_from(kn_device *d, kn_dtype to, int64_t n, const void *x, void *y) {
    switch (to) {
    case KN_F32:
        return cast<F, float>(d, n, x, y);
    case KN_BF16:
        return cast<F, kn_half>(d, n, x, y);
    case KN_U8:
        return cast<F, uint8_t>(d, n, x, y);
    case KN_I32:
        return cast<F, int32_t>(d, n, x, y);
    default:
        return kn_cuda_fail(d, KN_ERR_ARG, "device cuda: a cast to a type of files");
    }
}

extern "C" kn_status kn_cuda_cast(kn_device *d, kn_dtype from, kn_dtype to, int64_t n,
                                  const void *x, void *y) {
    switch (from) {
    case KN_F32:
        return cast_from<float>(d, to, n, x, y);
    case KN_BF16:
        return cast_from<kn_half>(d, to, n, x, y);
    case KN_U8:
        return cast_from<uint8_t>(d, to, n, x, y);
    case KN_I32:
        return cast_from<int32_t>(d, to, n, x, y);
    default:
        return kn_cuda_fail(d, KN_ERR_ARG, "device cuda: a cast from a type of files");
    }
}
