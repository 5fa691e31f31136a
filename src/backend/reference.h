/* reference.h - the reference kernels, one for each entry of the table, for backends that override
 * only some of them; and the loop over broadcast operands that they share. */
#ifndef KN_BACKEND_REFERENCE_H
#define KN_BACKEND_REFERENCE_H

#include "backend/backend.h"

/* Steps an index through dims like an odometer, keeping the operands' offsets. False past the end.
 */
static inline bool kn_odometer(const kn_bcast *loop, int64_t *index, int64_t *a, int64_t *b) {
    for (int axis = loop->rank - 1; axis >= 0; axis--) {
        *a += loop->a_step[axis];
        *b += loop->b_step[axis];
        if (++index[axis] < loop->dim[axis])
            return true;
        *a -= index[axis] * loop->a_step[axis];
        *b -= index[axis] * loop->b_step[axis];
        index[axis] = 0;
    }
    return false;
}

static inline bool kn_loop_empty(const kn_bcast *loop) {
    for (int axis = 0; axis < loop->rank; axis++)
        if (loop->dim[axis] == 0)
            return true;
    return false;
}

kn_status kn_ref_open(kn_device *d);
void kn_ref_close(kn_device *d);
void *kn_ref_alloc(kn_device *d, size_t bytes);
void kn_ref_free(kn_device *d, void *p);
kn_status kn_ref_copy(kn_device *d, void *to, const void *from, size_t bytes);
kn_status kn_ref_zero(kn_device *d, void *to, size_t bytes);
void kn_ref_forget(kn_device *d, uint64_t id);
kn_status kn_ref_fill(kn_device *d, int64_t n, float value, float *y);
kn_status kn_ref_unary(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y);
kn_status kn_ref_unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx);
kn_status kn_ref_binary(kn_device *d, kn_binary_kind kind, kn_dtype dtype, const kn_bcast *loop,
                        const void *a, const void *b, void *y);
kn_status kn_ref_expand(kn_device *d, const kn_bcast *loop, float scale, const float *a, float *y);
kn_status kn_ref_axpy(kn_device *d, int64_t n, float alpha, const float *x, float *y);
kn_status kn_ref_cast(kn_device *d, kn_dtype from, kn_dtype to, int64_t n, const void *x, void *y);
kn_status kn_ref_permute(kn_device *d, const kn_shape *x_shape, const int *axes, size_t size,
                         const void *x, void *y);
kn_status kn_ref_reduce(kn_device *d, const kn_reduction *r, const float *x, float *y);
kn_status kn_ref_max_grad(kn_device *d, const kn_reduction *r, const float *x, const float *y,
                          const float *dy, float *dx);
kn_status kn_ref_argmax(kn_device *d, int64_t rows, int64_t cols, const float *x, int32_t *y);
kn_status kn_ref_put_rows(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                          const void *x, void *y);
kn_status kn_ref_take_rows(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                           const void *x, void *y);
kn_status kn_ref_gather(kn_device *d, const kn_gather_dims *g, const float *x, const int32_t *index,
                        float *y);
kn_status kn_ref_gather_grad(kn_device *d, const kn_gather_dims *g, const int32_t *index,
                             const float *dy, float *dx);
kn_status kn_ref_matmul(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                        const float *bias, float *c);
kn_status kn_ref_conv(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                      const float *bias, bool relu, float *y);
kn_status kn_ref_conv_grad_data(kn_device *d, const kn_conv_dims *c, const float *dy, kn_weights w,
                                float *dx);
kn_status kn_ref_conv_grad_weights(kn_device *d, const kn_conv_dims *c, const float *x,
                                   const float *dy, float *dw, float *db);
kn_status kn_ref_mean_hw(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *x, float *y);
kn_status kn_ref_mean_hw_grad(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              float *dx);
kn_status kn_ref_batch_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const float *x, const float *residual, float *y);
kn_status kn_ref_batch_norm_grad(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const float *x, const float *y, const float *dy,
                                 const kn_norm_grads *grads);
kn_status kn_ref_dropout(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                         const float *x, float *y);
kn_status kn_ref_max_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y,
                          uint8_t *which);
kn_status kn_ref_max_pool_grad(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const float *dy, float *dx);
kn_status kn_ref_avg_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y);
kn_status kn_ref_avg_pool_grad(kn_device *d, const kn_pool_dims *p, const float *dy, float *dx);
kn_status kn_ref_softmax(kn_device *d, int64_t rows, int64_t cols, bool log, const float *x,
                         float *y);
kn_status kn_ref_softmax_grad(kn_device *d, int64_t rows, int64_t cols, bool log, const float *y,
                              const float *dy, float *dx);
kn_status kn_ref_logsumexp(kn_device *d, int64_t rows, int64_t cols, const float *x, float *y);
kn_status kn_ref_logsumexp_grad(kn_device *d, int64_t rows, int64_t cols, const float *x,
                                const float *y, const float *dy, float *dx);
kn_status kn_ref_nll(kn_device *d, int64_t rows, int64_t cols, const float *log_probs,
                     const int32_t *target, float *loss);
kn_status kn_ref_nll_grad(kn_device *d, int64_t rows, int64_t cols, const int32_t *target,
                          const float *dloss, float *dx);
kn_status kn_ref_cross_entropy(kn_device *d, const kn_loss_terms *t, const float *x,
                               float *log_probs, float *loss);
kn_status kn_ref_cross_entropy_grad(kn_device *d, const kn_loss_terms *t, const float *log_probs,
                                    const float *dloss, float *dx);
kn_status kn_ref_normalize(kn_device *d, int64_t n, const uint8_t *x, const float mean[3],
                           const float std[3], float *y);
kn_status kn_ref_mix_rows(kn_device *d, int64_t rows, int64_t cols, const float *x,
                          const int32_t *partner, const float *lambda, float *y);
kn_status kn_ref_mix_box(kn_device *d, const kn_mix_box *box, const float *x,
                         const int32_t *partner, float *y);
kn_status kn_ref_stats(kn_device *d, int64_t n, float near, const float *x, double *out);
kn_status kn_ref_track(kn_device *d, int64_t rows, int64_t cols, const float *preds,
                       const int32_t *target, const float *loss, double *total);
kn_status kn_ref_sgd(kn_device *d, int64_t n, const kn_sgd_rule *rule, const float *g, float *v,
                     float *w);
kn_status kn_ref_adam(kn_device *d, int64_t n, const kn_adam_rule *rule, const float *g, float *m,
                      float *v, float *w);
kn_status kn_ref_muon_momentum(kn_device *d, int64_t n, float momentum, bool nesterov,
                               const float *g, float *v, float *x);
kn_status kn_ref_muon_normalize(kn_device *d, int64_t n, float *gram, float *norm);
kn_status kn_ref_muon_poly(kn_device *d, int64_t n, const float k[3], const float *a,
                           const float *a2, float *q);
kn_status kn_ref_muon_step(kn_device *d, int64_t n, float keep, float step, const float *u,
                           const float *norm, float *w);
kn_status kn_ref_lerp(kn_device *d, int64_t n, float alpha, const float *x, float *y);
kn_status kn_ref_square_sum(kn_device *d, int64_t n, const float *x, double *total);
kn_status kn_ref_clip(kn_device *d, int64_t n, float most, const double *total, float *g);

#endif
