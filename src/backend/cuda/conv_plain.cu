/* conv_plain.cu - convolutions as the loops that they are, for shapes that cuDNN has no engine for,
 * and to hold its results against. Neighbouring threads have neighbouring channels. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/device_math.cuh"

enum { THREADS = 256, SLICE = 2048 /* pixels of dy */, MOST_SLICES = 64 };

/* ---- forward: a thread a number of y ---- */

template <typename T>
static __global__ void forward_kernel(int64_t count, kn_conv_dims c, const T *x, const T *w,
                                      const float *bias, bool relu, T *y) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t o = i % c.out, pixel = i / c.out, column = pixel % c.out_w;
    int64_t line = pixel / c.out_w % c.out_h, n = pixel / (c.out_w * c.out_h);
    const T *weights = w + o * c.kernel_h * c.kernel_w * c.in;
    float sum = bias != NULL ? bias[o] : 0;
    for (int64_t a = 0; a < c.kernel_h; a++)
        for (int64_t b = 0; b < c.kernel_w; b++) {
            int64_t h = line * c.stride - c.padding + a, v = column * c.stride - c.padding + b;
            if (h < 0 || h >= c.h || v < 0 || v >= c.w)
                continue;
            const T *from = x + ((n * c.h + h) * c.w + v) * c.in;
            const T *tap = weights + (a * c.kernel_w + b) * c.in;
            for (int64_t k = 0; k < c.in; k++)
                sum = fmaf(kn_wide(from[k]), kn_wide(tap[k]), sum);
        }
    kn_put(&y[i], relu && sum < 0 ? 0 : sum); /* keeps NaN */
}

/* ---- the data's gradient: a thread a number of dx, which gathers what it gave ---- */

template <typename T>
static __global__ void data_kernel(int64_t count, kn_conv_dims c, const T *dy, const T *w, T *dx) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t k = i % c.in, pixel = i / c.in, column = pixel % c.w;
    int64_t line = pixel / c.w % c.h, n = pixel / (c.w * c.h), taps = c.kernel_h * c.kernel_w;
    float sum = 0;
    for (int64_t a = 0; a < c.kernel_h; a++)
        for (int64_t b = 0; b < c.kernel_w; b++) {
            int64_t h = line + c.padding - a, v = column + c.padding - b;
            if (h < 0 || v < 0 || h % c.stride != 0 || v % c.stride != 0)
                continue;
            h /= c.stride;
            v /= c.stride;
            if (h >= c.out_h || v >= c.out_w)
                continue;
            const T *from = dy + ((n * c.out_h + h) * c.out_w + v) * c.out;
            const T *tap = w + (a * c.kernel_w + b) * c.in + k;
            for (int64_t o = 0; o < c.out; o++)
                sum = fmaf(kn_wide(from[o]), kn_wide(tap[o * taps * c.in]), sum);
        }
    kn_put(&dx[i], sum);
}

/* ---- the weights' gradient: a thread a number of dw, over a slice of dy's pixels ---- */

template <typename T>
static __global__ void weights_kernel(int64_t count, kn_conv_dims c, int64_t slice, const T *x,
                                      const T *dy, float *parts) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t k = i % c.in, tap = i / c.in % (c.kernel_h * c.kernel_w);
    int64_t o = i / (c.in * c.kernel_h * c.kernel_w), a = tap / c.kernel_w, b = tap % c.kernel_w;
    int64_t pixels = c.n * c.out_h * c.out_w, first = blockIdx.y * slice;
    int64_t end = first + slice < pixels ? first + slice : pixels;
    float sum = 0;
    for (int64_t p = first; p < end; p++) {
        int64_t column = p % c.out_w, line = p / c.out_w % c.out_h, n = p / (c.out_w * c.out_h);
        int64_t h = line * c.stride - c.padding + a, v = column * c.stride - c.padding + b;
        if (h >= 0 && h < c.h && v >= 0 && v < c.w)
            sum = fmaf(kn_wide(x[((n * c.h + h) * c.w + v) * c.in + k]), kn_wide(dy[p * c.out + o]),
                       sum);
    }
    parts[blockIdx.y * count + i] = sum;
}

/* The slices' sums, from [O,taps,I] into [O,I,taps]. */
static __global__ void gather_kernel(int64_t count, int64_t in, int64_t taps, unsigned slices,
                                     const float *parts, float *dw) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t k = i % in, tap = i / in % taps, o = i / (in * taps);
    double sum = 0;
    for (unsigned s = 0; s < slices; s++)
        sum += static_cast<double>(parts[s * count + i]);
    dw[(o * in + k) * taps + tap] = static_cast<float>(sum);
}

/* ---- launching ---- */

kn_status kn_cuda_plain_conv(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                             const void *packed, const float *bias, bool relu, void *y) {
    int64_t count = c->n * c->out_h * c->out_w * c->out;
    unsigned blocks = kn_cuda_blocks(count, THREADS);
    if (kn_cuda_is_first(c) && kn_aligned(y))
        return kn_cuda_first_conv(d, c, bf16, x, packed, bias, relu, y);
    return bf16 ? kn_cuda_launch(d, "plain conv", forward_kernel<kn_half>, blocks, THREADS, 0,
                                 count, *c, static_cast<const kn_half *>(x),
                                 static_cast<const kn_half *>(packed), bias, relu,
                                 static_cast<kn_half *>(y))
                : kn_cuda_launch(d, "plain conv", forward_kernel<float>, blocks, THREADS, 0, count,
                                 *c, static_cast<const float *>(x),
                                 static_cast<const float *>(packed), bias, relu,
                                 static_cast<float *>(y));
}

kn_status kn_cuda_plain_grad_data(kn_device *d, const kn_conv_dims *c, bool bf16, const void *dy,
                                  const void *packed, void *dx) {
    int64_t count = c->n * c->h * c->w * c->in;
    unsigned blocks = kn_cuda_blocks(count, THREADS);
    return bf16 ? kn_cuda_launch(d, "plain conv_grad_data", data_kernel<kn_half>, blocks, THREADS,
                                 0, count, *c, static_cast<const kn_half *>(dy),
                                 static_cast<const kn_half *>(packed), static_cast<kn_half *>(dx))
                : kn_cuda_launch(d, "plain conv_grad_data", data_kernel<float>, blocks, THREADS, 0,
                                 count, *c, static_cast<const float *>(dy),
                                 static_cast<const float *>(packed), static_cast<float *>(dx));
}

static int64_t slices_of(const kn_conv_dims *c) {
    int64_t slices = (c->n * c->out_h * c->out_w + SLICE - 1) / SLICE;
    return slices < 1 ? 1 : slices > MOST_SLICES ? int64_t(MOST_SLICES) : slices;
}

static size_t plain_scratch(const kn_conv_dims *c) {
    return static_cast<size_t>(slices_of(c) * c->out * c->kernel_h * c->kernel_w * c->in) *
           sizeof(float);
}

size_t kn_cuda_plain_grad_weights_scratch(const kn_conv_dims *c) {
    size_t first = kn_cuda_is_first(c) ? kn_cuda_first_grad_weights_scratch(c) : 0;
    size_t own = plain_scratch(c);
    return first > own ? first : own;
}

kn_status kn_cuda_plain_grad_weights(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                                     const void *dy, float *dw, void *scratch) {
    int64_t taps = c->kernel_h * c->kernel_w, count = c->out * taps * c->in, slices = slices_of(c);
    int64_t slice = (c->n * c->out_h * c->out_w + slices - 1) / slices;
    dim3 grid(kn_cuda_blocks(count, THREADS), static_cast<unsigned>(slices));
    float *parts = static_cast<float *>(scratch);
    if (kn_cuda_is_first(c) && kn_aligned(dy) && c->n * c->out_h * c->out_w <= INT32_MAX)
        return kn_cuda_first_grad_weights(d, c, bf16, x, dy, dw, scratch);
    kn_status status =
        bf16 ? kn_cuda_launch(d, "plain conv_grad_weights", weights_kernel<kn_half>, grid, THREADS,
                              0, count, *c, slice, static_cast<const kn_half *>(x),
                              static_cast<const kn_half *>(dy), parts)
             : kn_cuda_launch(d, "plain conv_grad_weights", weights_kernel<float>, grid, THREADS, 0,
                              count, *c, slice, static_cast<const float *>(x),
                              static_cast<const float *>(dy), parts);
    kn_cuda_extent(d, dw, static_cast<size_t>(count) * sizeof(float));
    return status == KN_OK ? kn_cuda_launch(d, "plain conv_grad_weights", gather_kernel,
                                            kn_cuda_blocks(count, THREADS), THREADS, 0, count,
                                            c->in, taps, static_cast<unsigned>(slices), parts, dw)
                           : status;
}
