/* cutmix_cb.c - CutMix: a box of every picture is cut out and filled from another. */
#include "learner/mix.h"

#include "tensor/tensor.h"

#include <math.h>

/* One side of the box around a random pixel, cut at the edges. */
static void draw_side(kn_rng *rng, int64_t side, double part, int64_t *from, int64_t *to) {
    int64_t half = (int64_t)((double)side * part) / 2;
    int64_t centre = kn_rng_below(rng, (uint32_t)side);
    *from = centre > half ? centre - half : 0;
    *to = centre + half < side ? centre + half : side;
}

static kn_mix_box draw_box(kn_mix *m, const kn_shape *x) {
    kn_mix_box b = {.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3]};
    double part = sqrt(1 - kn_rng_beta(&m->rng, m->alpha, m->alpha));
    draw_side(&m->rng, b.h, part, &b.top, &b.bottom);
    draw_side(&m->rng, b.w, part, &b.left, &b.right);
    return b;
}

/* The loss's targets. l->y is the one with the larger share: where the box is more than half of the
 * picture, that is the partner's. */
static kn_flow share_targets(kn_learner *l, const kn_mix_box *b, kn_tensor *partner) {
    double box = (double)((b->bottom - b->top) * (b->right - b->left)), all = (double)(b->h * b->w);
    double own = 1 - box / all;
    kn_tensor *other = kn_keep(l->ctx, kn_mix_labels(l, partner));
    kn_tensor *lambda = kn_full(l->ctx, KN_SHAPE(b->n), (float)fmax(own, 1 - own));
    l->loss_opts.lambda = kn_keep(l->ctx, kn_to(l->ctx, lambda, l->y->device));
    l->loss_opts.target2 = own < 0.5 ? l->y : other;
    if (own < 0.5)
        l->y = other;
    return other != NULL && l->loss_opts.lambda != NULL ? KN_GO : KN_FAIL;
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    kn_mix *m = (kn_mix *)cb;
    kn_device *d = l->x->device;
    int64_t n;
    kn_flow flow;
    if (!kn_mix_begin(m, l, &n, &flow) || l->x->numel == 0)
        return flow;
    kn_mix_box box = draw_box(m, &l->x->shape);
    kn_tensor *partner = kn_to(l->ctx, kn_mix_partners(m, l, n), d);
    kn_tensor *x = kn_keep(l->ctx, kn_tensor_new(l->ctx, d, KN_F32, l->x->shape));
    if (partner == NULL || x == NULL ||
        d->ops->mix_box(d, &box, kn_f32(l->x), partner->data, kn_f32_out(x)) != KN_OK)
        return KN_FAIL;
    l->x = x;
    return share_targets(l, &box, partner);
}

static const kn_callback_class cutmix_class = {.name = "cutmix",
                                               .order = KN_MIX_ORDER,
                                               .before_fit = kn_mix_before_fit,
                                               .before_batch = before_batch,
                                               .free = kn_mix_free};

kn_callback *kn_cutmix_cb(kn_ctx *ctx, double alpha) {
    return kn_mix_new(ctx, &cutmix_class, alpha, KN_RANDOM_CUTMIX);
}
