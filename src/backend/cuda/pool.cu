/* pool.cu - maxima and means over windows, and over whole maps. A thread makes some neighbouring
 * channels of one pixel. Gradients are gathered: each pixel of x looks at the windows over it, in
 * their order, so nothing is added by several threads. */
#include "backend/cuda/device_math.cuh"

enum { THREADS = 256 };

struct pixel {
    int64_t n, y, x, c;
};

/* Of [n,h,w,c] in groups of V channels, the group number i. Divisions of 32 bits are several times
 * quicker. */
template <int V, typename I>
static __device__ __forceinline__ pixel divide(I i, I h, I w, I groups) {
    pixel p;
    p.c = static_cast<int64_t>(i % groups) * V;
    i /= groups;
    p.x = static_cast<int64_t>(i % w);
    i /= w;
    p.y = static_cast<int64_t>(i % h);
    p.n = static_cast<int64_t>(i / h);
    return p;
}

template <int V>
static __device__ __forceinline__ pixel pixel_at(int64_t i, int64_t h, int64_t w, int64_t c) {
    if (i <= UINT32_MAX)
        return divide<V, uint32_t>(static_cast<uint32_t>(i), static_cast<uint32_t>(h),
                                   static_cast<uint32_t>(w), static_cast<uint32_t>(c / V));
    return divide<V, int64_t>(i, h, w, c / V);
}

/* V places in windows, a byte each. */
template <int V> struct alignas(V) places_of { uint8_t at[V]; };

static __device__ __forceinline__ int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static __device__ __forceinline__ int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* The windows over place at of an axis: from first to before end. */
static __device__ __forceinline__ void windows_over(const kn_pool_dims &p, int64_t at, int64_t out,
                                                    int64_t *first, int64_t *end) {
    int behind =
        static_cast<int>(at + p.padding - p.kernel + p.stride); /* of the first, times it */
    int stride = static_cast<int>(p.stride);
    *first = behind > 0 ? behind / stride : 0;
    *end = least(static_cast<int>(at + p.padding) / stride + 1, out);
}

/* ---- maxima ---- */

template <int V, typename T>
static __global__ void max_pool_kernel(int64_t count, kn_pool_dims p, const T *x, T *y,
                                       uint8_t *which) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    pixel o = pixel_at<V>(i, p.out_h, p.out_w, p.c);
    int64_t first_y = o.y * p.stride - p.padding, first_x = o.x * p.stride - p.padding;
    int64_t top = most(first_y, 0), left = most(first_x, 0);
    int64_t bottom = least(first_y + p.kernel, p.h), right = least(first_x + p.kernel, p.w);
    float best[V];
    int place[V];
#pragma unroll
    for (int k = 0; k < V; k++) {
        best[k] = -INFINITY;
        place[k] = static_cast<int>((top - first_y) * p.kernel + left - first_x);
    }
    for (int64_t a = top; a < bottom; a++)
        for (int64_t b = left; b < right; b++) {
            float value[V];
            kn_load<V>(x + ((o.n * p.h + a) * p.w + b) * p.c + o.c, value);
            int here = static_cast<int>((a - first_y) * p.kernel + b - first_x);
#pragma unroll
            for (int k = 0; k < V; k++)
                if (value[k] > best[k] || isnan(value[k])) {
                    best[k] = value[k];
                    place[k] = here;
                }
        }
    kn_store<V>(y + i * V, best);
    places_of<V> all;
#pragma unroll
    for (int k = 0; k < V; k++)
        all.at[k] = static_cast<uint8_t>(place[k]);
    *reinterpret_cast<places_of<V> *>(which + i * V) = all;
}

template <int V, typename T>
static __global__ void max_pool_grad_kernel(int64_t count, kn_pool_dims p, const uint8_t *which,
                                            const T *dy, T *dx) {
    int64_t i = kn_thread(), first_y, end_y, first_x, end_x;
    if (i >= count)
        return;
    pixel o = pixel_at<V>(i, p.h, p.w, p.c);
    windows_over(p, o.y, p.out_h, &first_y, &end_y);
    windows_over(p, o.x, p.out_w, &first_x, &end_x);
    float sum[V] = {};
    for (int64_t a = first_y; a < end_y; a++)
        for (int64_t b = first_x; b < end_x; b++) {
            int64_t at = ((o.n * p.out_h + a) * p.out_w + b) * p.c + o.c;
            int here = static_cast<int>((o.y - a * p.stride + p.padding) * p.kernel + o.x -
                                        b * p.stride + p.padding);
            float grad[V];
            kn_load<V>(dy + at, grad);
            const places_of<V> all = *reinterpret_cast<const places_of<V> *>(which + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                sum[k] += all.at[k] == here ? grad[k] : 0;
        }
    kn_store<V>(dx + i * V, sum);
}

/* ---- means ---- */

/* Places of window number o of an axis up to where the padding ends. */
static __device__ __forceinline__ int64_t places(const kn_pool_dims &p, int64_t o, int64_t length) {
    int64_t first = o * p.stride - p.padding;
    return least(first + p.kernel, length + p.padding) - first;
}

template <int V, typename T>
static __global__ void avg_pool_kernel(int64_t count, kn_pool_dims p, const T *x, T *y) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    pixel o = pixel_at<V>(i, p.out_h, p.out_w, p.c);
    int64_t first_y = o.y * p.stride - p.padding, first_x = o.x * p.stride - p.padding;
    float sum[V] = {};
    for (int64_t a = most(first_y, 0); a < least(first_y + p.kernel, p.h); a++)
        for (int64_t b = most(first_x, 0); b < least(first_x + p.kernel, p.w); b++) {
            float value[V];
            kn_load<V>(x + ((o.n * p.h + a) * p.w + b) * p.c + o.c, value);
#pragma unroll
            for (int k = 0; k < V; k++)
                sum[k] += value[k];
        }
    float all = static_cast<float>(places(p, o.y, p.h) * places(p, o.x, p.w));
#pragma unroll
    for (int k = 0; k < V; k++)
        sum[k] /= all;
    kn_store<V>(y + i * V, sum);
}

template <int V, typename T>
static __global__ void avg_pool_grad_kernel(int64_t count, kn_pool_dims p, const T *dy, T *dx) {
    int64_t i = kn_thread(), first_y, end_y, first_x, end_x;
    if (i >= count)
        return;
    pixel o = pixel_at<V>(i, p.h, p.w, p.c);
    windows_over(p, o.y, p.out_h, &first_y, &end_y);
    windows_over(p, o.x, p.out_w, &first_x, &end_x);
    float sum[V] = {};
    for (int64_t a = first_y; a < end_y; a++)
        for (int64_t b = first_x; b < end_x; b++) {
            float grad[V], all = static_cast<float>(places(p, a, p.h) * places(p, b, p.w));
            kn_load<V>(dy + ((o.n * p.out_h + a) * p.out_w + b) * p.c + o.c, grad);
#pragma unroll
            for (int k = 0; k < V; k++)
                sum[k] += grad[k] / all;
        }
    kn_store<V>(dx + i * V, sum);
}

/* ---- launching: kernel<V, T> for as many channels a thread as divide them ---- */

#define LAUNCH(d, name, kernel, pixels, T, aligned, ...)                                           \
    do {                                                                                           \
        const int wide = kn_vector<T>::most;                                                       \
        int64_t all = (pixels)*p->c;                                                               \
        if (p->c % wide == 0 && (aligned))                                                         \
            return kn_cuda_launch(d, name, kernel<wide, T>, kn_cuda_blocks(all / wide, THREADS),   \
                                  THREADS, 0, all / wide, *p, __VA_ARGS__);                        \
        return kn_cuda_launch(d, name, kernel<1, T>, kn_cuda_blocks(all, THREADS), THREADS, 0,     \
                              all, *p, __VA_ARGS__);                                               \
    } while (0)

template <typename T>
static kn_status max_pool(kn_device *d, const kn_pool_dims *p, const T *x, T *y, uint8_t *which) {
    LAUNCH(d, "max_pool", max_pool_kernel, p->n * p->out_h * p->out_w, T, kn_aligned(x, y, which),
           x, y, which);
}
template <typename T>
static kn_status max_pool_grad(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const T *dy, T *dx) {
    LAUNCH(d, "max_pool_grad", max_pool_grad_kernel, p->n * p->h * p->w, T, kn_aligned(dy, dx),
           which, dy, dx);
}
template <typename T>
static kn_status avg_pool(kn_device *d, const kn_pool_dims *p, const T *x, T *y) {
    LAUNCH(d, "avg_pool", avg_pool_kernel, p->n * p->out_h * p->out_w, T, kn_aligned(x, y), x, y);
}
template <typename T>
static kn_status avg_pool_grad(kn_device *d, const kn_pool_dims *p, const T *dy, T *dx) {
    LAUNCH(d, "avg_pool_grad", avg_pool_grad_kernel, p->n * p->h * p->w, T, kn_aligned(dy, dx), dy,
           dx);
}

extern "C" kn_status kn_cuda_max_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y,
                                      uint8_t *which) {
    return max_pool(d, p, x, y, which);
}
extern "C" kn_status kn_cuda_max_pool_grad(kn_device *d, const kn_pool_dims *p,
                                           const uint8_t *which, const float *dy, float *dx) {
    return max_pool_grad(d, p, which, dy, dx);
}
extern "C" kn_status kn_cuda_avg_pool(kn_device *d, const kn_pool_dims *p, const float *x,
                                      float *y) {
    return avg_pool(d, p, x, y);
}
extern "C" kn_status kn_cuda_avg_pool_grad(kn_device *d, const kn_pool_dims *p, const float *dy,
                                           float *dx) {
    return avg_pool_grad(d, p, dy, dx);
}
extern "C" kn_status kn_cuda_bf16_max_pool(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x,
                                           kn_bf16 *y, uint8_t *which) {
    return max_pool(d, p, kn_halves(x), kn_halves(y), which);
}
extern "C" kn_status kn_cuda_bf16_max_pool_grad(kn_device *d, const kn_pool_dims *p,
                                                const uint8_t *which, const kn_bf16 *dy,
                                                kn_bf16 *dx) {
    return max_pool_grad(d, p, which, kn_halves(dy), kn_halves(dx));
}
extern "C" kn_status kn_cuda_bf16_avg_pool(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x,
                                           kn_bf16 *y) {
    return avg_pool(d, p, kn_halves(x), kn_halves(y));
}
extern "C" kn_status kn_cuda_bf16_avg_pool_grad(kn_device *d, const kn_pool_dims *p,
                                                const kn_bf16 *dy, kn_bf16 *dx) {
    return avg_pool_grad(d, p, kn_halves(dy), kn_halves(dx));
}
