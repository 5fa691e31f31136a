/* conv_first.cu - the plain convolutions of a network's first layer: of few input channels there is
 * too little to multiply for the matrix units, and reading and writing is what takes the time.
 *
 * Forward a thread makes eight channels of one pixel, with all weights in shared memory. The
 * gradient of the weights is made in two stages: a thread has eight channels of one weight's place
 * and adds up some pixels; then a warp adds up what the blocks left, in their order. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/device_math.cuh"

enum {
    THREADS = 256,
    OUT = 8,
    MOST_IN = 4,
    MOST_WEIGHTS = 12 << 10 /* numbers */,
    MOST_BLOCKS = 264
};

bool kn_cuda_is_first(const kn_conv_dims *c) {
    return c->in <= MOST_IN && c->out % OUT == 0 &&
           c->out * c->in * c->kernel_h * c->kernel_w <= MOST_WEIGHTS;
}

/* ---- forward ---- */

extern __shared__ float kn_launch_shared[]; /* as much as the launch asks for */

/* shared [taps*in,out], so that neighbours read neighbours. */
template <typename T>
static __global__ void __launch_bounds__(THREADS)
    forward_kernel(int64_t count, kn_conv_dims c, const T *x, const T *w, const float *bias,
                   bool relu, T *y) {
    float *weights = kn_launch_shared;
    int depth = static_cast<int>(c.kernel_h * c.kernel_w * c.in), out = static_cast<int>(c.out);
    for (int i = static_cast<int>(threadIdx.x); i < depth * out; i += THREADS)
        weights[i % depth * out + i / depth] = kn_wide(w[i]);
    __syncthreads();
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int groups = out / OUT, o = static_cast<int>(i % groups) * OUT;
    int64_t pixel = i / groups, column = pixel % c.out_w, line = pixel / c.out_w % c.out_h;
    int64_t n = pixel / (c.out_w * c.out_h);
    int top = static_cast<int>(line * c.stride - c.padding);
    int left = static_cast<int>(column * c.stride - c.padding), in = static_cast<int>(c.in);
    float sum[OUT];
#pragma unroll
    for (int k = 0; k < OUT; k++)
        sum[k] = bias != NULL ? bias[o + k] : 0;
    const float *tap = weights + o;
    for (int a = 0; a < static_cast<int>(c.kernel_h); a++)
        for (int b = 0; b < static_cast<int>(c.kernel_w); b++, tap += in * out) {
            int h = top + a, v = left + b;
            if (h < 0 || h >= static_cast<int>(c.h) || v < 0 || v >= static_cast<int>(c.w))
                continue;
            const T *from = x + ((n * c.h + h) * c.w + v) * in;
            for (int d = 0; d < in; d++) {
                float value = kn_wide(from[d]), by[OUT];
                kn_load<4>(tap + d * out, by);
                kn_load<4>(tap + d * out + 4, by + 4);
#pragma unroll
                for (int k = 0; k < OUT; k++)
                    sum[k] = fmaf(value, by[k], sum[k]);
            }
        }
#pragma unroll
    for (int k = 0; k < OUT; k++)
        sum[k] = relu && sum[k] < 0 ? 0 : sum[k]; /* keeps NaN */
    T *to = y + pixel * c.out + o;
    if constexpr (sizeof(T) == sizeof(float)) {
        kn_store<4>(to, sum);
        kn_store<4>(to + 4, sum + 4);
    } else {
        kn_store<8>(to, sum);
    }
}

kn_status kn_cuda_first_conv(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                             const void *packed, const float *bias, bool relu, void *y) {
    int64_t count = c->n * c->out_h * c->out_w * (c->out / OUT);
    size_t shared = static_cast<size_t>(c->out * c->in * c->kernel_h * c->kernel_w) * sizeof(float);
    unsigned blocks = kn_cuda_blocks(count, THREADS);
    return bf16 ? kn_cuda_launch(d, "first conv", forward_kernel<kn_half>, blocks, THREADS, shared,
                                 count, *c, static_cast<const kn_half *>(x),
                                 static_cast<const kn_half *>(packed), bias, relu,
                                 static_cast<kn_half *>(y))
                : kn_cuda_launch(d, "first conv", forward_kernel<float>, blocks, THREADS, shared,
                                 count, *c, static_cast<const float *>(x),
                                 static_cast<const float *>(packed), bias, relu,
                                 static_cast<float *>(y));
}

/* ---- the gradient of the weights ---- */

/* Block (pixels, places): `across` threads have (place, eight channels) each, beside each other;
 * the others of the block have other pixels. */
struct first_grid {
    int across;      /* threads for one pixel, at most THREADS */
    int tiles;       /* of so many threads that a pixel's take */
    int down;        /* pixels at once */
    unsigned blocks; /* of each tile */
};
KN_HAS_NO_POINTERS(first_grid);

static first_grid grid_of(const kn_conv_dims *c) {
    first_grid g;
    int all = static_cast<int>(c->kernel_h * c->kernel_w * c->in * (c->out / OUT));
    g.across = all < THREADS ? all : THREADS;
    g.tiles = (all + THREADS - 1) / THREADS;
    g.down = THREADS / g.across;
    int64_t pixels = c->n * c->out_h * c->out_w, wanted = (pixels + 8 * g.down - 1) / (8 * g.down);
    int64_t most = MOST_BLOCKS / g.tiles > 0 ? MOST_BLOCKS / g.tiles : 1;
    g.blocks = static_cast<unsigned>(wanted < 1 ? 1 : wanted < most ? wanted : most);
    return g;
}

/* parts [block][place,out]. */
template <typename T>
static __global__ void __launch_bounds__(THREADS)
    weights_kernel(kn_conv_dims c, first_grid g, const T *x, const T *dy, float *parts) {
    __shared__ float room[THREADS][OUT + 1];
    int own = static_cast<int>(threadIdx.x) / g.across, groups = static_cast<int>(c.out) / OUT;
    int lane = static_cast<int>(threadIdx.x) % g.across;
    int at = static_cast<int>(blockIdx.y) * THREADS + lane, place = at / groups;
    int o = at % groups * OUT, in = static_cast<int>(c.in), width = static_cast<int>(c.kernel_w);
    int depth = static_cast<int>(c.kernel_h) * width * in;
    int channel = place % in, b = place / in % width, a = place / (in * width);
    bool mine = own < g.down && place < depth;
    int64_t pixels = c.n * c.out_h * c.out_w, step = static_cast<int64_t>(gridDim.x) * g.down;
    float sum[OUT] = {};
    for (int64_t p = static_cast<int64_t>(blockIdx.x) * g.down + own; p < pixels && mine;
         p += step) {
        uint32_t q = static_cast<uint32_t>(p), wide = static_cast<uint32_t>(c.out_w);
        uint32_t high = static_cast<uint32_t>(c.out_h), column = q % wide, row = q / wide;
        int h = static_cast<int>(row % high * static_cast<uint32_t>(c.stride)) -
                static_cast<int>(c.padding) + a;
        int v = static_cast<int>(column * static_cast<uint32_t>(c.stride)) -
                static_cast<int>(c.padding) + b;
        int64_t n = row / high;
        if (h < 0 || h >= static_cast<int>(c.h) || v < 0 || v >= static_cast<int>(c.w))
            continue;
        float value = kn_wide(x[((n * c.h + h) * c.w + v) * in + channel]), grad[OUT];
        const T *from = dy + p * c.out + o;
        if constexpr (sizeof(T) == sizeof(float)) {
            kn_load<4>(from, grad);
            kn_load<4>(from + 4, grad + 4);
        } else {
            kn_load<8>(from, grad);
        }
#pragma unroll
        for (int k = 0; k < OUT; k++)
            sum[k] = fmaf(value, grad[k], sum[k]);
    }
#pragma unroll
    for (int k = 0; k < OUT; k++)
        room[threadIdx.x][k] = sum[k];
    __syncthreads();
    if (own != 0 || place >= depth)
        return;
    float *to = parts + (static_cast<int64_t>(blockIdx.x) * depth + place) * c.out + o;
#pragma unroll
    for (int k = 0; k < OUT; k++) {
        for (int i = 1; i < g.down; i++)
            sum[k] += room[i * g.across + lane][k];
        to[k] = sum[k];
    }
}

/* A warp a number of dw [O,I,KH,KW]. */
static __global__ void gather_kernel(int64_t count, int64_t in, int64_t taps, int64_t out,
                                     unsigned blocks, const float *parts, float *dw) {
    int64_t i = kn_thread() / 32;
    if (i >= count)
        return;
    int64_t o = i % out, place = i / out;
    double sum = 0;
    int lane = static_cast<int>(threadIdx.x) % 32,
        each = (static_cast<int>(blocks) - lane + 31) / 32;
#pragma unroll 8
    for (int b = 0; b < each; b++)
        sum += static_cast<double>(parts[static_cast<int64_t>(lane + b * 32) * count + i]);
    sum = kn_warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        dw[(o * in + place % in) * taps + place / in] = static_cast<float>(sum);
}

size_t kn_cuda_first_grad_weights_scratch(const kn_conv_dims *c) {
    return grid_of(c).blocks * static_cast<size_t>(c->out * c->in * c->kernel_h * c->kernel_w) *
           sizeof(float);
}

kn_status kn_cuda_first_grad_weights(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                                     const void *dy, float *dw, void *scratch) {
    first_grid g = grid_of(c);
    int64_t taps = c->kernel_h * c->kernel_w, count = c->out * c->in * taps;
    float *parts = static_cast<float *>(scratch);
    dim3 grid(g.blocks, static_cast<unsigned>(g.tiles));
    kn_status status =
        bf16 ? kn_cuda_launch(d, "first conv_grad_weights", weights_kernel<kn_half>, grid, THREADS,
                              0, *c, g, static_cast<const kn_half *>(x),
                              static_cast<const kn_half *>(dy), parts)
             : kn_cuda_launch(d, "first conv_grad_weights", weights_kernel<float>, grid, THREADS, 0,
                              *c, g, static_cast<const float *>(x), static_cast<const float *>(dy),
                              parts);
    kn_cuda_extent(d, dw, static_cast<size_t>(count) * sizeof(float));
    return status == KN_OK ? kn_cuda_launch(d, "first conv_grad_weights", gather_kernel,
                                            kn_cuda_blocks(count, THREADS / 32), THREADS, 0, count,
                                            c->in, taps, c->out, g.blocks, parts, dw)
                           : status;
}
