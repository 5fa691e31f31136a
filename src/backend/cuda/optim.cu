/* optim.cu - the steps of the optimizers over flat buffers, and what is done to all gradients or
 * all weights at once. The arithmetic of an element is written once, for one number at a time and
 * for four.
 */
#include "backend/cuda/device_math.cuh"

enum { THREADS = 256 };

/* The next command's operands, of n numbers each: pieces of flat buffers, and others have theirs.
 */
static void pieces(kn_device *d, int64_t n, std::initializer_list<const float *> all) {
    for (const float *p : all)
        kn_cuda_extent(d, p, static_cast<size_t>(n) * sizeof *p);
}

/* Launches kernel<4> where all addresses are multiples of sixteen, else kernel<1>. */
#define LAUNCH(d, name, kernel, aligned, ...)                                                      \
    ((aligned) ? kn_cuda_launch(d, name, kernel<4>, kn_cuda_blocks(n, 4 * THREADS), THREADS, 0, n, \
                                __VA_ARGS__)                                                       \
               : kn_cuda_launch(d, name, kernel<1>, kn_cuda_blocks(n, THREADS), THREADS, 0, n,     \
                                __VA_ARGS__))

/* From one place of V numbers, or of fewer at the end. */
#define EACH(V, body)                                                                              \
    int64_t at = kn_thread() * (V);                                                                \
    if (at + (V) <= n) {                                                                           \
        body(V)                                                                                    \
    } else {                                                                                       \
        for (; at < n; at++) {                                                                     \
            body(1)                                                                                \
        }                                                                                          \
    }

/* ---- SGD ---- */

static __device__ __forceinline__ void sgd_step(const kn_sgd_rule &rule, bool momentum, float g,
                                                float *v, float *w) {
    float grad = fmaf(rule.wd, *w, g), way = grad;
    if (momentum) {
        *v = rule.first ? grad : fmaf(rule.momentum, *v, grad);
        way = rule.nesterov ? fmaf(rule.momentum, *v, grad) : *v;
    }
    *w = fmaf(-rule.lr, way, *w);
}

template <int V>
static __global__ void sgd_kernel(int64_t n, kn_sgd_rule rule, const float *g, float *v, float *w) {
#define SGD(N)                                                                                     \
    float a[N], b[N] = {}, c[N];                                                                   \
    kn_load<N>(g + at, a);                                                                         \
    if (v != NULL)                                                                                 \
        kn_load<N>(v + at, b);                                                                     \
    kn_load<N>(w + at, c);                                                                         \
    for (int k = 0; k < N; k++)                                                                    \
        sgd_step(rule, v != NULL, a[k], &b[k], &c[k]);                                             \
    if (v != NULL)                                                                                 \
        kn_store<N>(v + at, b);                                                                    \
    kn_store<N>(w + at, c);
    EACH(V, SGD)
#undef SGD
}

extern "C" kn_status kn_cuda_sgd(kn_device *d, int64_t n, const kn_sgd_rule *rule, const float *g,
                                 float *v, float *w) {
    pieces(d, n, {g, v, w});
    return LAUNCH(d, "sgd", sgd_kernel, kn_aligned(g, v, w), *rule, g, v, w);
}

/* ---- Adam ---- */

static __device__ __forceinline__ void adam_step(const kn_adam_rule &rule, float g, float *m,
                                                 float *v, float *w) {
    float grad = fmaf(rule.l2, *w, g);
    *m = fmaf(1 - rule.beta1, grad - *m, *m);
    *v = fmaf((1 - rule.beta2) * grad, grad, rule.beta2 * *v);
    float divisor = rule.plain ? 1 : fmaf(rule.root, sqrtf(*v), rule.eps);
    *w = rule.keep * *w - rule.step * *m / divisor;
}

template <int V>
static __global__ void adam_kernel(int64_t n, kn_adam_rule rule, const float *g, float *m, float *v,
                                   float *w) {
#define ADAM(N)                                                                                    \
    float a[N], b[N], c[N], e[N];                                                                  \
    kn_load<N>(g + at, a);                                                                         \
    kn_load<N>(m + at, b);                                                                         \
    kn_load<N>(v + at, c);                                                                         \
    kn_load<N>(w + at, e);                                                                         \
    for (int k = 0; k < N; k++)                                                                    \
        adam_step(rule, a[k], &b[k], &c[k], &e[k]);                                                \
    kn_store<N>(m + at, b);                                                                        \
    kn_store<N>(v + at, c);                                                                        \
    kn_store<N>(w + at, e);
    EACH(V, ADAM)
#undef ADAM
}

extern "C" kn_status kn_cuda_adam(kn_device *d, int64_t n, const kn_adam_rule *rule, const float *g,
                                  float *m, float *v, float *w) {
    pieces(d, n, {g, m, v, w});
    return LAUNCH(d, "adam", adam_kernel, kn_aligned(g, m, v, w), *rule, g, m, v, w);
}

/* ---- Muon ---- */

static __global__ void muon_momentum_kernel(int64_t n, float momentum, bool nesterov,
                                            const float *g, float *v, float *x) {
    int64_t i = kn_thread();
    if (i >= n)
        return;
    float now = fmaf(momentum, v[i], g[i]);
    v[i] = now;
    x[i] = nesterov ? fmaf(momentum, now, g[i]) : now;
}

extern "C" kn_status kn_cuda_muon_momentum(kn_device *d, int64_t n, float momentum, bool nesterov,
                                           const float *g, float *v, float *x) {
    pieces(d, n, {g, v, x});
    return kn_cuda_launch(d, "muon_momentum", muon_momentum_kernel, kn_cuda_blocks(n, THREADS),
                          THREADS, 0, n, momentum, nesterov, g, v, x);
}

/* The trace first: a gram of zeros has a norm that is not 0. */
static __global__ void muon_norm_kernel(int64_t n, const float *gram, float *norm) {
    __shared__ double room[32];
    double trace = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        trace += static_cast<double>(gram[i * n + i]);
    trace = kn_block_sum(trace, room);
    if (threadIdx.x == 0)
        *norm = static_cast<float>(sqrt(trace) + 1e-7);
}

static __global__ void muon_scale_kernel(int64_t n, const float *norm, float *gram) {
    int64_t i = kn_thread();
    if (i < n)
        gram[i] *= 1 / (*norm * *norm);
}

extern "C" kn_status kn_cuda_muon_normalize(kn_device *d, int64_t n, float *gram, float *norm) {
    kn_status status =
        kn_cuda_launch(d, "muon_normalize", muon_norm_kernel, 1, THREADS, 0, n, gram, norm);
    return status == KN_OK
               ? kn_cuda_launch(d, "muon_normalize", muon_scale_kernel,
                                kn_cuda_blocks(n * n, THREADS), THREADS, 0, n * n, norm, gram)
               : status;
}

static __global__ void muon_poly_kernel(int64_t n, float k0, float k1, float k2, const float *a,
                                        const float *a2, float *q) {
    int64_t i = kn_thread();
    if (i >= n * n)
        return;
    float value = fmaf(k1, a[i], k2 * a2[i]);
    q[i] = i % n == i / n ? value + k0 : value;
}

extern "C" kn_status kn_cuda_muon_poly(kn_device *d, int64_t n, const float k[3], const float *a,
                                       const float *a2, float *q) {
    return kn_cuda_launch(d, "muon_poly", muon_poly_kernel, kn_cuda_blocks(n * n, THREADS), THREADS,
                          0, n, k[0], k[1], k[2], a, a2, q);
}

static __global__ void muon_step_kernel(int64_t n, float keep, float step, const float *u,
                                        const float *norm, float *w) {
    int64_t i = kn_thread();
    if (i < n)
        w[i] = fmaf(keep, w[i], -(step / *norm * u[i]));
}

extern "C" kn_status kn_cuda_muon_step(kn_device *d, int64_t n, float keep, float step,
                                       const float *u, const float *norm, float *w) {
    pieces(d, n, {u, w});
    return kn_cuda_launch(d, "muon_step", muon_step_kernel, kn_cuda_blocks(n, THREADS), THREADS, 0,
                          n, keep, step, u, norm, w);
}

/* ---- all weights, all gradients ---- */

template <int V>
static __global__ void lerp_kernel(int64_t n, float alpha, const float *x, float *y) {
#define LERP(N)                                                                                    \
    float a[N], b[N];                                                                              \
    kn_load<N>(x + at, a);                                                                         \
    kn_load<N>(y + at, b);                                                                         \
    for (int k = 0; k < N; k++)                                                                    \
        b[k] = fmaf(alpha, a[k] - b[k], b[k]);                                                     \
    kn_store<N>(y + at, b);
    EACH(V, LERP)
#undef LERP
}

extern "C" kn_status kn_cuda_lerp(kn_device *d, int64_t n, float alpha, const float *x, float *y) {
    return LAUNCH(d, "lerp", lerp_kernel, kn_aligned(x, y), alpha, x, y);
}

/* A norm of NaN reaches every gradient. */
static __global__ void clip_kernel(int64_t n, float most, const double *total, float *g) {
    int64_t i = kn_thread();
    float scale = static_cast<float>(static_cast<double>(most) / (sqrt(*total) + 1e-6));
    if (i < n && !(scale >= 1))
        g[i] *= scale;
}

extern "C" kn_status kn_cuda_clip(kn_device *d, int64_t n, float most, const double *total,
                                  float *g) {
    return kn_cuda_launch(d, "clip", clip_kernel, kn_cuda_blocks(n, THREADS), THREADS, 0, n, most,
                          total, g);
}
