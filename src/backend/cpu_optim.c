/* cpu_optim.c - see cpu_optim.h. Plain loops over ranges, as in cpu_loops.c. */
#include "backend/cpu_optim.h"

#include "backend/cpu_loops.h"
#include "core/multiversion.h"

#include <math.h>

/* ---- steps ---- */

typedef struct sgd_args {
    const kn_sgd_rule *rule;
    const float *g;
    float *v, *w;
} sgd_args;

KN_MULTIVERSION static void sgd_range(const void *args, int64_t begin, int64_t end) {
    const sgd_args *p = args;
    float *w = p->w, *v = p->v, lr = p->rule->lr, wd = p->rule->wd, momentum = p->rule->momentum;
    const float *g = p->g;
    bool nesterov = p->rule->nesterov;
    if (v == NULL)
        for (int64_t i = begin; i < end; i++)
            w[i] -= lr * (g[i] + wd * w[i]);
    else if (p->rule->first)
        for (int64_t i = begin; i < end; i++) {
            v[i] = g[i] + wd * w[i];
            w[i] -= lr * (nesterov ? v[i] + momentum * v[i] : v[i]);
        }
    else if (nesterov)
        for (int64_t i = begin; i < end; i++) {
            float grad = g[i] + wd * w[i];
            v[i] = momentum * v[i] + grad;
            w[i] -= lr * (grad + momentum * v[i]);
        }
    else
        for (int64_t i = begin; i < end; i++) {
            v[i] = momentum * v[i] + (g[i] + wd * w[i]);
            w[i] -= lr * v[i];
        }
}

kn_status kn_cpu_sgd(kn_device *d, int64_t n, const kn_sgd_rule *rule, const float *g, float *v,
                     float *w) {
    sgd_args p = {.rule = rule, .g = g, .v = v, .w = w};
    return kn_cpu_over(d, n, 64, n, sgd_range, &p);
}

typedef struct adam_args {
    const kn_adam_rule *rule;
    const float *g;
    float *m, *v, *w;
} adam_args;

KN_MULTIVERSION static void adam_range(const void *args, int64_t begin, int64_t end) {
    const adam_args *p = args;
    const kn_adam_rule rule = *p->rule;
    const float *g = p->g;
    float *m = p->m, *v = p->v, *w = p->w, damp1 = 1 - rule.beta1, damp2 = 1 - rule.beta2;
    for (int64_t i = begin; i < end; i++) {
        float grad = g[i] + rule.l2 * w[i];
        m[i] += damp1 * (grad - m[i]);
        v[i] = rule.beta2 * v[i] + damp2 * grad * grad;
    }
    if (rule.plain)
        for (int64_t i = begin; i < end; i++)
            w[i] = rule.keep * w[i] - rule.step * m[i];
    else
        for (int64_t i = begin; i < end; i++)
            w[i] = rule.keep * w[i] - rule.step * m[i] / (rule.root * sqrtf(v[i]) + rule.eps);
}

/* In pieces that stay in cache between the two loops. */
static void adam_pieces(const void *args, int64_t begin, int64_t end) {
    enum { PIECE = 2048 };
    for (; begin < end; begin += PIECE)
        adam_range(args, begin, begin + PIECE < end ? begin + PIECE : end);
}

kn_status kn_cpu_adam(kn_device *d, int64_t n, const kn_adam_rule *rule, const float *g, float *m,
                      float *v, float *w) {
    adam_args p = {.rule = rule, .g = g, .m = m, .v = v, .w = w};
    return kn_cpu_over(d, n, 64, 4 * n, adam_pieces, &p);
}

/* ---- Muon: the passes before and after its products ---- */

/* Of the simple passes below, each of which uses some. */
typedef struct pass_args {
    float a, b;
    bool nesterov;
    const float *x;
    float *v, *y;
} pass_args;

KN_MULTIVERSION static void momentum_range(const void *args, int64_t begin, int64_t end) {
    const pass_args *p = args;
    const float *g = p->x;
    float *v = p->v, *x = p->y, momentum = p->a;
    if (p->nesterov)
        for (int64_t i = begin; i < end; i++) {
            v[i] = momentum * v[i] + g[i];
            x[i] = g[i] + momentum * v[i];
        }
    else
        for (int64_t i = begin; i < end; i++)
            x[i] = v[i] = momentum * v[i] + g[i];
}

kn_status kn_cpu_muon_momentum(kn_device *d, int64_t n, float momentum, bool nesterov,
                               const float *g, float *v, float *x) {
    pass_args p = {.a = momentum, .nesterov = nesterov, .x = g, .v = v, .y = x};
    return kn_cpu_over(d, n, 64, n, momentum_range, &p);
}

KN_MULTIVERSION static void step_range(const void *args, int64_t begin, int64_t end) {
    const pass_args *p = args;
    const float *u = p->x;
    float *w = p->y, keep = p->a, step = p->b;
    for (int64_t i = begin; i < end; i++)
        w[i] = keep * w[i] - step * u[i];
}

kn_status kn_cpu_muon_step(kn_device *d, int64_t n, float keep, float step, const float *u,
                           const float *norm, float *w) {
    pass_args p = {.a = keep, .b = step / *norm, .x = u, .y = w};
    return kn_cpu_over(d, n, 64, n, step_range, &p);
}

/* ---- averages and norms ---- */

KN_MULTIVERSION static void lerp_range(const void *args, int64_t begin, int64_t end) {
    const pass_args *p = args;
    const float *x = p->x;
    float *y = p->y, alpha = p->a;
    for (int64_t i = begin; i < end; i++)
        y[i] += alpha * (x[i] - y[i]);
}

kn_status kn_cpu_lerp(kn_device *d, int64_t n, float alpha, const float *x, float *y) {
    pass_args p = {.a = alpha, .x = x, .y = y};
    return kn_cpu_over(d, n, 64, n, lerp_range, &p);
}

/* The pieces depend on n alone, and their sums are added in order: no bit depends on the threads.
 */
enum { PIECES = 256, PIECE_LEAST = 4096, LANES = 16 };

typedef struct sum_args {
    int64_t n, piece;
    const float *x;
    double sum[PIECES];
} sum_args;

KN_MULTIVERSION static double square_sum(const float *x, int64_t n) {
    double lane[LANES] = {0}, sum = 0; /* lanes, as a vector register adds */
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += (double)x[i + k] * x[i + k];
    for (; i < n; i++)
        sum += (double)x[i] * x[i];
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

static void sum_pieces(const void *args, int64_t begin, int64_t end) {
    sum_args *p = (sum_args *)(uintptr_t)args; /* each piece has a place of its own */
    for (int64_t i = begin; i < end; i++) {
        int64_t from = i * p->piece, to = from + p->piece < p->n ? from + p->piece : p->n;
        p->sum[i] = square_sum(p->x + from, to - from);
    }
}

kn_status kn_cpu_square_sum(kn_device *d, int64_t n, const float *x, double *total) {
    sum_args p = {.n = n, .x = x};
    p.piece = (n + PIECES - 1) / PIECES;
    if (p.piece < PIECE_LEAST)
        p.piece = PIECE_LEAST;
    int64_t count = (n + p.piece - 1) / p.piece;
    kn_status status = kn_cpu_over(d, count, 1, n, sum_pieces, &p);
    for (int64_t i = 0; i < count; i++)
        *total += p.sum[i];
    return status;
}

KN_MULTIVERSION static void scale_range(const void *args, int64_t begin, int64_t end) {
    const pass_args *p = args;
    float *y = p->y, scale = p->a;
    for (int64_t i = begin; i < end; i++)
        y[i] *= scale;
}

kn_status kn_cpu_clip(kn_device *d, int64_t n, float most, const double *total, float *g) {
    pass_args p = {.a = (float)(most / (sqrt(*total) + 1e-6)), .y = g};
    return p.a >= 1 ? KN_OK : kn_cpu_over(d, n, 64, n, scale_range, &p);
}
