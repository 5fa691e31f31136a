/* mixup_cb.c - MixUp: every picture and its target become a weighted mean of two. */
#include "learner/mix.h"

#include "tensor/tensor.h"

#include <math.h>

/* Of lambda and 1 - lambda the larger: else two samples that are each other's partners could become
 * nearly the same picture. */
static kn_tensor *draw_shares(kn_mix *m, kn_learner *l, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double share = kn_rng_beta(&m->rng, m->alpha, m->alpha);
        m->lambda[i] = (float)fmax(share, 1 - share);
    }
    return kn_from(l->ctx, KN_F32, KN_SHAPE(n), m->lambda);
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    kn_mix *m = (kn_mix *)cb;
    kn_device *d = l->x->device;
    int64_t n;
    kn_flow flow;
    if (!kn_mix_begin(m, l, &n, &flow))
        return flow;
    kn_tensor *lambda = kn_keep(l->ctx, kn_to(l->ctx, draw_shares(m, l, n), d));
    kn_tensor *partner = kn_to(l->ctx, kn_mix_partners(m, l, n), d);
    kn_tensor *x = kn_keep(l->ctx, kn_tensor_new(l->ctx, d, KN_F32, l->x->shape));
    if (lambda == NULL || partner == NULL || x == NULL ||
        d->ops->mix_rows(d, n, l->x->numel / (n > 0 ? n : 1), kn_f32(l->x), partner->data,
                         kn_f32(lambda), kn_f32_out(x)) != KN_OK)
        return KN_FAIL;
    l->x = x;
    l->loss_opts.target2 = kn_keep(l->ctx, kn_mix_labels(l, partner));
    l->loss_opts.lambda = lambda;
    return l->loss_opts.target2 != NULL ? KN_GO : KN_FAIL;
}

static const kn_callback_class mixup_class = {.name = "mixup",
                                              .order = KN_MIX_ORDER,
                                              .before_fit = kn_mix_before_fit,
                                              .before_batch = before_batch,
                                              .free = kn_mix_free};

kn_callback *kn_mixup_cb(kn_ctx *ctx, double alpha) {
    return kn_mix_new(ctx, &mixup_class, alpha, KN_RANDOM_MIXUP);
}
