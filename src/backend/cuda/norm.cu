/* norm.cu - batch normalisation (Ioffe, Szegedy, "Batch Normalization", 2015), forward.
 *
 * A block looks at a tile of channels and some of the rows: neighbouring threads at neighbouring
 * channels, sixteen bytes each where the channels allow. Statistics take one launch: each block
 * leaves its sums in scratch, and the last of a tile adds them up in their order. */
#include "backend/cuda/norm.cuh"

/* ---- statistics ---- */

template <int V>
static __device__ __forceinline__ void add(const float (&value)[V], const float (&base)[V],
                                           float (&sum)[V], float (&squares)[V]) {
#pragma unroll
    for (int k = 0; k < V; k++) {
        float off = value[k] - base[k];
        sum[k] += off;
        squares[k] = fmaf(off, off, squares[k]);
    }
}

/* Sums of x - base and its squares over the block's rows, base being the channel's first x: of
 * numbers far from 0 the digits would be lost. */
template <int V, typename T>
static __device__ void add_rows(const kn_norm_grid &g, const T *x, float (&sum)[V],
                                float (&squares)[V]) {
    int64_t c = kn_norm_channel<V>(g);
    float base[V];
    if (c >= g.channels)
        return;
    kn_load<V>(x + c, base);
    int64_t r = kn_norm_row(g), step = kn_norm_stride(g);
    for (; r + 3 * step < g.rows; r += 4 * step) { /* four loads under way */
        float value[4][V];
#pragma unroll
        for (int i = 0; i < 4; i++)
            kn_load<V>(x + (r + i * step) * g.channels + c, value[i]);
#pragma unroll
        for (int i = 0; i < 4; i++)
            add<V>(value[i], base, sum, squares);
    }
    for (; r < g.rows; r += step) {
        float value[V];
        kn_load<V>(x + r * g.channels + c, value);
        add<V>(value, base, sum, squares);
    }
}

/* What the sums of a channel mean. */
static __device__ void set_statistics(const kn_norm_dims &n, const kn_norm_state &s, int64_t c,
                                      double base, double sum, double squares) {
    double count = static_cast<double>(n.rows), off = sum / count;
    double spread = squares - sum * off;
    spread = spread < 0 ? 0 : spread; /* keeps NaN */
    float mean = static_cast<float>(base + off);
    s.mean[c] = mean;
    s.inv_std[c] = static_cast<float>(1 / sqrt(spread / count + static_cast<double>(n.eps)));
    if (s.running_mean == NULL)
        return;
    float variance = static_cast<float>(spread / (count - 1));
    s.running_mean[c] += n.momentum * (mean - s.running_mean[c]);
    s.running_var[c] += n.momentum * (variance - s.running_var[c]);
}

template <int V, typename T>
static __global__ void __launch_bounds__(KN_NORM_THREADS)
    statistics_kernel(kn_norm_grid g, kn_norm_dims n, kn_norm_state s, const T *x, float2 *parts,
                      unsigned *counters) {
    float sum[V] = {}, squares[V] = {};
    add_rows<V>(g, x, sum, squares);
    if (!kn_norm_combine<V>(g, sum, squares, parts, counters))
        return;
    int64_t c = kn_norm_own_channel<V>(g);
    double total, total_squares;
    if (kn_norm_total<V>(g, parts, &total, &total_squares) && c < g.channels)
        set_statistics(n, s, c, static_cast<double>(kn_wide(x[c])), total, total_squares);
    if (s.batches != NULL && blockIdx.x == 0 && threadIdx.x == 0)
        ++*s.batches;
}

/* Without the batch's: the running ones count. */
static __global__ void running_kernel(kn_norm_dims n, kn_norm_state s) {
    int64_t c = kn_thread();
    if (c >= n.channels)
        return;
    s.mean[c] = s.running_mean[c];
    s.inv_std[c] = static_cast<float>(
        1 / sqrt(static_cast<double>(s.running_var[c]) + static_cast<double>(n.eps)));
}

/* ---- y ---- */

template <int V, typename T>
static __global__ void __launch_bounds__(KN_NORM_THREADS)
    normalise_kernel(kn_norm_grid g, bool relu, kn_norm_state s, const T *x, const T *residual,
                     T *y) {
    int64_t c = kn_norm_channel<V>(g);
    if (c >= g.channels)
        return;
    float mean[V], scale[V], bias[V];
#pragma unroll
    for (int k = 0; k < V; k++) {
        mean[k] = s.mean[c + k];
        scale[k] = s.inv_std[c + k] * s.weight[c + k];
        bias[k] = s.bias[c + k];
    }
    for (int64_t r = kn_norm_row(g); r < g.rows; r += kn_norm_stride(g)) {
        int64_t at = r * g.channels + c;
        float value[V], more[V] = {};
        kn_load<V>(x + at, value);
        if (residual != NULL)
            kn_load<V>(residual + at, more);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float v = fmaf(value[k] - mean[k], scale[k], bias[k]);
            if (residual !=
                NULL) /* the norm's own result is rounded, as where somebody looks at it */
                v = kn_rounded<T>(v) + more[k];
            value[k] = relu && v < 0 ? 0 : v; /* keeps NaN */
        }
        kn_store<V>(y + at, value);
    }
}

template <int V, typename T>
static kn_status forward(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s, const T *x,
                         const T *residual, T *y) {
    kn_norm_grid g = kn_norm_grid_of(n, V, KN_NORM_SUM_BLOCKS);
    kn_status status;
    if (n->batch) {
        float2 *parts = static_cast<float2 *>(kn_cuda_scratch(d, kn_norm_parts_bytes(&g)));
        if (parts == NULL)
            return KN_ERR_MEMORY;
        status = kn_cuda_launch(d, "batch_norm's statistics", statistics_kernel<V, T>,
                                kn_norm_blocks(&g), KN_NORM_THREADS, 0, g, *n, *s, x, parts,
                                kn_cuda_counters(d));
    } else {
        status = kn_cuda_launch(d, "batch_norm's statistics", running_kernel,
                                kn_cuda_blocks(n->channels, 256), 256, 0, *n, *s);
    }
    if (status != KN_OK)
        return status;
    g = kn_norm_grid_of(n, V, KN_NORM_MOST_BLOCKS);
    return kn_cuda_launch(d, "batch_norm", normalise_kernel<V, T>, kn_norm_blocks(&g),
                          KN_NORM_THREADS, 0, g, n->relu, *s, x, residual, y);
}

extern "C" kn_status kn_cuda_batch_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                        const float *x, const float *residual, float *y) {
    return n->channels % 4 == 0 && kn_aligned(x, residual, y)
               ? forward<4, float>(d, n, s, x, residual, y)
               : forward<1, float>(d, n, s, x, residual, y);
}

extern "C" kn_status kn_cuda_bf16_batch_norm(kn_device *d, const kn_norm_dims *n,
                                             const kn_norm_state *s, const kn_bf16 *x,
                                             const kn_bf16 *residual, kn_bf16 *y) {
    return n->channels % 8 == 0 && kn_aligned(x, residual, y)
               ? forward<8, kn_half>(d, n, s, kn_halves(x), kn_halves(residual), kn_halves(y))
               : forward<1, kn_half>(d, n, s, kn_halves(x), kn_halves(residual), kn_halves(y));
}
