/* column_sums.cu - the gradient of a bias: sums over the rows, divided among blocks and added up as
 * batch normalisation's are. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/norm.cuh"

template <int V, typename T>
static __global__ void __launch_bounds__(KN_NORM_THREADS)
    column_sums_kernel(kn_norm_grid g, const T *x, float2 *parts, unsigned *counters, float *y) {
    float sum[V] = {}, nothing[V] = {};
    int64_t first = kn_norm_channel<V>(g);
    int64_t row = kn_norm_row(g), step = kn_norm_stride(g);
    int count =
        row < g.rows && first < g.channels ? static_cast<int>((g.rows - row + step - 1) / step) : 0;
    const T *from = x + row * g.channels + first;
#pragma unroll 4
    for (int i = 0; i < count; i++) {
        float value[V];
        kn_load<V>(from + i * step * g.channels, value);
#pragma unroll
        for (int k = 0; k < V; k++)
            sum[k] += value[k];
    }
    if (!kn_norm_combine<V>(g, sum, nothing, parts, counters))
        return;
    int64_t c = kn_norm_own_channel<V>(g);
    double total, none;
    if (kn_norm_total<V>(g, parts, &total, &none) && c < g.channels)
        y[c] = static_cast<float>(total);
}

template <int V, typename T>
static kn_status column_sums(kn_device *d, int64_t rows, int64_t cols, const T *x, float *y) {
    kn_norm_dims n = {};
    n.rows = rows;
    n.channels = cols;
    kn_norm_grid g = kn_norm_grid_of(&n, V, KN_NORM_SUM_BLOCKS);
    float2 *parts = static_cast<float2 *>(kn_cuda_scratch(d, kn_norm_parts_bytes(&g)));
    if (parts == NULL)
        return KN_ERR_MEMORY;
    kn_cuda_extent(d, y, static_cast<size_t>(cols) * sizeof(float));
    return kn_cuda_launch(d, "sums of columns", column_sums_kernel<V, T>, kn_norm_blocks(&g),
                          KN_NORM_THREADS, 0, g, x, parts, kn_cuda_counters(d), y);
}

kn_status kn_cuda_column_sums(kn_device *d, int64_t rows, int64_t cols, bool bf16, const void *x,
                              float *y) {
    const kn_half *narrow = static_cast<const kn_half *>(x);
    const float *wide = static_cast<const float *>(x);
    if (bf16)
        return cols % 8 == 0 && kn_aligned(x) ? column_sums<8>(d, rows, cols, narrow, y)
                                              : column_sums<1>(d, rows, cols, narrow, y);
    return cols % 4 == 0 && kn_aligned(x) ? column_sums<4>(d, rows, cols, wide, y)
                                          : column_sums<1>(d, rows, cols, wide, y);
}
