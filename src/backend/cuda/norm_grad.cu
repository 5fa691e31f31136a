/* norm_grad.cu - batch normalisation, backward: two passes over the rows, divided as in norm.cu.
 *
 * With h = (x - mean) / std and g = d(loss)/d(y): db = sum g, dw = sum g h, and since mean and std
 * depend on x too, dx = w / std * (g - mean(g) - h * mean(g h)). Running statistics do not. */
#include "backend/cuda/norm.cuh"

/* Where relu gave 0 nothing comes back; where y is NaN, dy does. */
static __device__ __forceinline__ float through_relu(bool relu, float y, float dy) {
    return relu && y <= 0 ? 0 : dy;
}

/* ---- the sums ---- */

template <int V>
static __device__ __forceinline__ void
add(bool relu, const float (&mean)[V], const float (&inv)[V], const float (&value)[V],
    const float (&out)[V], const float (&grad)[V], float (&sum)[V], float (&product)[V]) {
#pragma unroll
    for (int k = 0; k < V; k++) {
        float gradient = through_relu(relu, out[k], grad[k]);
        sum[k] += gradient;
        product[k] = fmaf(gradient, (value[k] - mean[k]) * inv[k], product[k]);
    }
}

template <int V, typename T>
static __device__ void add_rows(const kn_norm_grid &g, bool relu, const kn_norm_state &s,
                                const T *x, const T *y, const T *dy, float (&sum)[V],
                                float (&product)[V]) {
    int64_t c = kn_norm_channel<V>(g);
    if (c >= g.channels)
        return;
    float mean[V], inv[V];
#pragma unroll
    for (int k = 0; k < V; k++) {
        mean[k] = s.mean[c + k];
        inv[k] = s.inv_std[c + k];
    }
    int64_t r = kn_norm_row(g), step = kn_norm_stride(g);
    for (; r + step < g.rows; r += 2 * step) { /* two rows' loads under way */
        float value[2][V], out[2][V] = {}, grad[2][V];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int64_t at = (r + i * step) * g.channels + c;
            kn_load<V>(x + at, value[i]);
            if (relu)
                kn_load<V>(y + at, out[i]);
            kn_load<V>(dy + at, grad[i]);
        }
#pragma unroll
        for (int i = 0; i < 2; i++)
            add<V>(relu, mean, inv, value[i], out[i], grad[i], sum, product);
    }
    if (r < g.rows) {
        int64_t at = r * g.channels + c;
        float value[V], out[V] = {}, grad[V];
        kn_load<V>(x + at, value);
        if (relu)
            kn_load<V>(y + at, out);
        kn_load<V>(dy + at, grad);
        add<V>(relu, mean, inv, value, out, grad, sum, product);
    }
}

/* totals [2,channels]: the sums, for the second pass. */
template <int V, typename T>
static __global__ void __launch_bounds__(KN_NORM_THREADS)
    sums_kernel(kn_norm_grid g, bool relu, kn_norm_state s, const T *x, const T *y, const T *dy,
                float *weight, float *bias, float *totals, float2 *parts, unsigned *counters) {
    float sum[V] = {}, product[V] = {};
    add_rows<V>(g, relu, s, x, y, dy, sum, product);
    if (!kn_norm_combine<V>(g, sum, product, parts, counters))
        return;
    int64_t c = kn_norm_own_channel<V>(g);
    double total, products;
    if (!kn_norm_total<V>(g, parts, &total, &products) || c >= g.channels)
        return;
    totals[c] = static_cast<float>(total);
    totals[g.channels + c] = static_cast<float>(products);
    if (weight != NULL)
        weight[c] = static_cast<float>(products);
    if (bias != NULL)
        bias[c] = static_cast<float>(total);
}

/* ---- dx, and the residual's ---- */

template <int V, typename T>
static __global__ void __launch_bounds__(KN_NORM_THREADS)
    grad_kernel(kn_norm_grid g, kn_norm_dims n, kn_norm_state s, const T *x, const T *y,
                const T *dy, const float *totals, T *dx, T *residual) {
    int64_t c = kn_norm_channel<V>(g);
    if (c >= g.channels)
        return;
    float mean[V], inv[V], slope[V], first[V] = {}, second[V] = {};
    float share = 1 / static_cast<float>(g.rows);
#pragma unroll
    for (int k = 0; k < V; k++) {
        mean[k] = s.mean[c + k];
        inv[k] = s.inv_std[c + k];
        slope[k] = s.weight[c + k] * inv[k];
        if (n.batch) {
            first[k] = totals[c + k] * share;
            second[k] = totals[g.channels + c + k] * share;
        }
    }
    for (int64_t r = kn_norm_row(g); r < g.rows; r += kn_norm_stride(g)) {
        int64_t at = r * g.channels + c;
        float value[V], out[V] = {}, grad[V];
        kn_load<V>(x + at, value);
        if (n.relu)
            kn_load<V>(y + at, out);
        kn_load<V>(dy + at, grad);
#pragma unroll
        for (int k = 0; k < V; k++) {
            grad[k] = through_relu(n.relu, out[k], grad[k]);
            value[k] = slope[k] * (grad[k] - first[k] - (value[k] - mean[k]) * inv[k] * second[k]);
        }
        if (dx != NULL)
            kn_store<V>(dx + at, value);
        if (residual != NULL)
            kn_store<V>(residual + at, grad);
    }
}

template <int V, typename T>
static kn_status backward(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s, const T *x,
                          const T *y, const T *dy, const kn_norm_grads *grads) {
    kn_norm_grid g = kn_norm_grid_of(n, V, KN_NORM_SUM_BLOCKS);
    size_t totals_bytes = (static_cast<size_t>(n->channels) * 2 * sizeof(float) + 255) / 256 * 256;
    char *room = static_cast<char *>(kn_cuda_scratch(d, totals_bytes + kn_norm_parts_bytes(&g)));
    if (room == NULL)
        return KN_ERR_MEMORY;
    float *totals = reinterpret_cast<float *>(room);
    size_t bytes = static_cast<size_t>(n->channels) * sizeof(float);
    kn_cuda_extent(d, grads->weight, bytes);
    kn_cuda_extent(d, grads->bias, bytes);
    kn_status status = kn_cuda_launch(
        d, "batch_norm's sums", sums_kernel<V, T>, kn_norm_blocks(&g), KN_NORM_THREADS, 0, g,
        n->relu, *s, x, y, dy, grads->weight, grads->bias, totals,
        reinterpret_cast<float2 *>(room + totals_bytes), kn_cuda_counters(d));
    T *dx = static_cast<T *>(grads->x), *residual = static_cast<T *>(grads->residual);
    if (status != KN_OK || (dx == NULL && residual == NULL))
        return status;
    g = kn_norm_grid_of(n, V, KN_NORM_MOST_BLOCKS);
    return kn_cuda_launch(d, "batch_norm's gradient", grad_kernel<V, T>, kn_norm_blocks(&g),
                          KN_NORM_THREADS, 0, g, *n, *s, x, y, dy, totals, dx, residual);
}

extern "C" kn_status kn_cuda_batch_norm_grad(kn_device *d, const kn_norm_dims *n,
                                             const kn_norm_state *s, const float *x, const float *y,
                                             const float *dy, const kn_norm_grads *grads) {
    return n->channels % 4 == 0 && kn_aligned(x, y, dy) && kn_aligned(grads->x, grads->residual)
               ? backward<4, float>(d, n, s, x, y, dy, grads)
               : backward<1, float>(d, n, s, x, y, dy, grads);
}

extern "C" kn_status kn_cuda_bf16_batch_norm_grad(kn_device *d, const kn_norm_dims *n,
                                                  const kn_norm_state *s, const kn_bf16 *x,
                                                  const kn_bf16 *y, const kn_bf16 *dy,
                                                  const kn_norm_grads *grads) {
    return n->channels % 8 == 0 && kn_aligned(x, y, dy) && kn_aligned(grads->x, grads->residual)
               ? backward<8, kn_half>(d, n, s, kn_halves(x), kn_halves(y), kn_halves(dy), grads)
               : backward<1, kn_half>(d, n, s, kn_halves(x), kn_halves(y), kn_halves(dy), grads);
}
