/* reference_optim.c - the steps of the optimizers, and what is done to all gradients or all weights
 * at once: see reference.c. The arithmetic is f32, as the weights are; only sums run in double. */
#include "backend/reference.h"

#include <math.h>

kn_status kn_ref_sgd(kn_device *d, int64_t n, const kn_sgd_rule *rule, const float *g, float *v,
                     float *w) {
    (void)d;
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] + rule->wd * w[i], way = grad;
        if (v != NULL) {
            v[i] = rule->first ? grad : rule->momentum * v[i] + grad;
            way = rule->nesterov ? grad + rule->momentum * v[i] : v[i];
        }
        w[i] -= rule->lr * way;
    }
    return KN_OK;
}

kn_status kn_ref_adam(kn_device *d, int64_t n, const kn_adam_rule *rule, const float *g, float *m,
                      float *v, float *w) {
    (void)d;
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] + rule->l2 * w[i];
        m[i] += (1 - rule->beta1) * (grad - m[i]);
        v[i] = rule->beta2 * v[i] + (1 - rule->beta2) * grad * grad;
        float divisor = rule->plain ? 1 : rule->root * sqrtf(v[i]) + rule->eps;
        w[i] = rule->keep * w[i] - rule->step * m[i] / divisor;
    }
    return KN_OK;
}

kn_status kn_ref_muon_momentum(kn_device *d, int64_t n, float momentum, bool nesterov,
                               const float *g, float *v, float *x) {
    (void)d;
    for (int64_t i = 0; i < n; i++) {
        v[i] = momentum * v[i] + g[i];
        x[i] = nesterov ? g[i] + momentum * v[i] : v[i];
    }
    return KN_OK;
}

kn_status kn_ref_muon_normalize(kn_device *d, int64_t n, float *gram, float *norm) {
    (void)d;
    double trace = 0;
    for (int64_t i = 0; i < n; i++)
        trace += gram[i * n + i];
    *norm = (float)(sqrt(trace) + 1e-7); /* of zeros: not 0 */
    float scale = 1 / (*norm * *norm);
    for (int64_t i = 0; i < n * n; i++)
        gram[i] *= scale;
    return KN_OK;
}

kn_status kn_ref_muon_poly(kn_device *d, int64_t n, const float k[3], const float *a,
                           const float *a2, float *q) {
    (void)d;
    for (int64_t i = 0; i < n * n; i++)
        q[i] = k[1] * a[i] + k[2] * a2[i];
    for (int64_t i = 0; i < n; i++)
        q[i * n + i] += k[0];
    return KN_OK;
}

kn_status kn_ref_muon_step(kn_device *d, int64_t n, float keep, float step, const float *u,
                           const float *norm, float *w) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        w[i] = keep * w[i] - step / *norm * u[i];
    return KN_OK;
}

kn_status kn_ref_lerp(kn_device *d, int64_t n, float alpha, const float *x, float *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        y[i] += alpha * (x[i] - y[i]);
    return KN_OK;
}

kn_status kn_ref_square_sum(kn_device *d, int64_t n, const float *x, double *total) {
    (void)d;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    *total += sum;
    return KN_OK;
}

kn_status kn_ref_clip(kn_device *d, int64_t n, float most, const double *total, float *g) {
    (void)d;
    float scale = (float)(most / (sqrt(*total) + 1e-6));
    for (int64_t i = 0; i < n && !(scale >= 1); i++) /* a norm of NaN reaches every gradient */
        g[i] *= scale;
    return KN_OK;
}
