/* conv_pack.cu - what stands around a convolution: weights in the order that cuDNN wants, channels
 * added to images, bias and relu, the gradient of a bias. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/device_math.cuh"

enum { THREADS = 256 };

/* ---- weights ---- */

/* Thread: one number of the packed weights, [O,taps,P]. */
template <typename T>
static __global__ void pack_kernel(int64_t count, int64_t taps, int64_t in, int64_t padded,
                                   const float *weights, T *packed) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t c = i % padded, tap = i / padded % taps, o = i / (padded * taps);
    kn_put(&packed[i], c < in ? weights[(o * in + c) * taps + tap] : 0);
}

/* Thread: one number of the weights, [O,I,taps]. */
template <typename T>
static __global__ void unpack_kernel(int64_t count, int64_t taps, int64_t in, int64_t padded,
                                     const T *packed, float *weights) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t tap = i % taps, c = i / taps % in, o = i / (taps * in);
    weights[i] = kn_wide(packed[(o * taps + tap) * padded + c]);
}

kn_status kn_cuda_pack_weights(kn_device *d, const kn_conv_dims *c, int64_t padded, bool bf16,
                               const float *weights, void *packed) {
    int64_t taps = c->kernel_h * c->kernel_w, count = c->out * taps * padded;
    unsigned blocks = kn_cuda_blocks(count, THREADS);
    kn_cuda_extent(d, weights, static_cast<size_t>(c->out * taps * c->in) * sizeof(float));
    return bf16 ? kn_cuda_launch(d, "pack weights", pack_kernel<kn_half>, blocks, THREADS, 0, count,
                                 taps, c->in, padded, weights, static_cast<kn_half *>(packed))
                : kn_cuda_launch(d, "pack weights", pack_kernel<float>, blocks, THREADS, 0, count,
                                 taps, c->in, padded, weights, static_cast<float *>(packed));
}

kn_status kn_cuda_unpack_weights(kn_device *d, const kn_conv_dims *c, int64_t padded, bool bf16,
                                 const void *packed, float *weights) {
    int64_t taps = c->kernel_h * c->kernel_w, count = c->out * taps * c->in;
    unsigned blocks = kn_cuda_blocks(count, THREADS);
    kn_cuda_extent(d, weights, static_cast<size_t>(count) * sizeof(float));
    return bf16 ? kn_cuda_launch(d, "unpack weights", unpack_kernel<kn_half>, blocks, THREADS, 0,
                                 count, taps, c->in, padded, static_cast<const kn_half *>(packed),
                                 weights)
                : kn_cuda_launch(d, "unpack weights", unpack_kernel<float>, blocks, THREADS, 0,
                                 count, taps, c->in, padded, static_cast<const float *>(packed),
                                 weights);
}

/* ---- images ---- */

template <typename T>
static __global__ void pad_kernel(int64_t pixels, int64_t channels, int64_t padded, const T *x,
                                  T *y) {
    int64_t i = kn_thread();
    if (i >= pixels * padded)
        return;
    int64_t pixel = i / padded, c = i - pixel * padded;
    y[i] = c < channels ? x[pixel * channels + c] : T(0.0f);
}

/* Eight channels, of bf16: one store a thread. */
static __global__ void pad_to_eight_kernel(int64_t pixels, int64_t channels, const kn_half *x,
                                           kn_half *y) {
    int64_t pixel = kn_thread();
    if (pixel >= pixels)
        return;
    float value[8] = {};
#pragma unroll
    for (int c = 0; c < 8; c++)
        if (c < channels)
            value[c] = kn_wide(x[pixel * channels + c]);
    kn_store<8>(y + pixel * 8, value);
}

kn_status kn_cuda_pad_channels(kn_device *d, int64_t pixels, int64_t channels, int64_t padded,
                               bool bf16, const void *x, void *y) {
    unsigned blocks = kn_cuda_blocks(pixels * padded, THREADS);
    const kn_half *narrow = static_cast<const kn_half *>(x);
    if (bf16 && padded == 8 && kn_aligned(y))
        return kn_cuda_launch(d, "pad channels", pad_to_eight_kernel,
                              kn_cuda_blocks(pixels, THREADS), THREADS, 0, pixels, channels, narrow,
                              static_cast<kn_half *>(y));
    return bf16 ? kn_cuda_launch(d, "pad channels", pad_kernel<kn_half>, blocks, THREADS, 0, pixels,
                                 channels, padded, narrow, static_cast<kn_half *>(y))
                : kn_cuda_launch(d, "pad channels", pad_kernel<float>, blocks, THREADS, 0, pixels,
                                 channels, padded, static_cast<const float *>(x),
                                 static_cast<float *>(y));
}

/* ---- bias and relu ---- */

template <int V, typename F, typename T>
static __global__ void bias_relu_kernel(int64_t count, int64_t cols, const F *x, const float *bias,
                                        bool relu, T *y) {
    int64_t at = kn_thread() * V;
    if (at >= count)
        return;
    int64_t c = at % cols;
    float value[V];
    kn_load<V>(x + at, value);
#pragma unroll
    for (int k = 0; k < V; k++) {
        float v = bias != NULL ? value[k] + bias[c + k] : value[k];
        value[k] = relu && v < 0 ? 0 : v; /* keeps NaN */
    }
    kn_store<V>(y + at, value);
}

/* Four at a time of f32, eight of bf16. */
template <typename F, typename T>
static kn_status bias_relu(kn_device *d, int64_t rows, int64_t cols, const F *x, const float *bias,
                           bool relu, T *y) {
    const int most = sizeof(F) == sizeof(float) ? 4 : 8;
    int64_t count = rows * cols;
    return cols % most == 0 && kn_aligned(x, y)
               ? kn_cuda_launch(d, "bias and relu", bias_relu_kernel<most, F, T>,
                                kn_cuda_blocks(count, most * THREADS), THREADS, 0, count, cols, x,
                                bias, relu, y)
               : kn_cuda_launch(d, "bias and relu", bias_relu_kernel<1, F, T>,
                                kn_cuda_blocks(count, THREADS), THREADS, 0, count, cols, x, bias,
                                relu, y);
}

kn_status kn_cuda_bias_relu(kn_device *d, int64_t rows, int64_t cols, bool bf16, const float *x,
                            const float *bias, bool relu, void *y) {
    kn_half *narrow = static_cast<kn_half *>(y);
    float *wide = static_cast<float *>(y);
    if (!bf16)
        return bias_relu(d, rows, cols, x != NULL ? x : wide, bias, relu, wide);
    return x != NULL
               ? bias_relu(d, rows, cols, x, bias, relu, narrow)
               : bias_relu(d, rows, cols, static_cast<const kn_half *>(narrow), bias, relu, narrow);
}
