/* mix.c - see mix.h. */
#include "learner/mix.h"

#include "tensor/tensor.h"

#include <kiln/ops.h>

#include <string.h>

static const char mixup[] = "mixup", cutmix[] = "cutmix";

kn_callback *kn_mix_new(kn_ctx *ctx, const kn_callback_class *cls, double alpha,
                        kn_purpose purpose) {
    if (!(alpha > 0 && alpha <= 1e6)) {
        kn_fail(ctx, KN_ERR_ARG, "%s: alpha %g, expected above 0 and at most 1e6", cls->name,
                alpha);
        return NULL;
    }
    kn_mix *m = kn_calloc(ctx, 1, sizeof *m, "a mixing callback");
    if (m == NULL)
        return NULL;
    m->base.cls = cls;
    m->ctx = ctx;
    m->alpha = alpha;
    m->purpose = purpose;
    return &m->base;
}

void kn_mix_free(kn_callback *cb) {
    kn_mix *m = (kn_mix *)cb;
    kn_free(m->ctx, m->order);
    kn_free(m->ctx, m->lambda);
    kn_free(m->ctx, m);
}

static kn_status make_room(kn_mix *m, size_t n) {
    if (n <= m->room)
        return KN_OK;
    kn_free(m->ctx, m->order);
    kn_free(m->ctx, m->lambda);
    m->room = 0;
    m->order = kn_calloc(m->ctx, n, sizeof *m->order, "partners");
    m->lambda = kn_calloc(m->ctx, n, sizeof *m->lambda, "partners");
    if (m->order == NULL || m->lambda == NULL)
        return KN_ERR_MEMORY;
    m->room = n;
    return KN_OK;
}

static kn_status check_loss(const kn_mix *m, kn_learner *l) {
    if (l->loss_fn == NULL)
        return KN_OK;
    return kn_fail(l->ctx, KN_ERR_ARG,
                   "%s: needs the learner's own cross entropy, which knows mixed targets, and this "
                   "learner has another loss function",
                   m->base.cls->name);
}

kn_flow kn_mix_before_fit(kn_callback *cb, kn_learner *l) {
    kn_mix *m = (kn_mix *)cb;
    if (l->epochs == 0) /* validation alone */
        return KN_GO;
    if (check_loss(m, l) != KN_OK ||
        make_room(m, (size_t)kn_loader_batch_size(l->loaders.train)) != KN_OK)
        return KN_FAIL;
    return KN_GO;
}

/* Where MixUp and CutMix are both there, a coin decides; both toss the same. */
static bool my_turn(const kn_mix *m, kn_learner *l) {
    bool first = strcmp(m->base.cls->name, mixup) == 0;
    if (kn_learner_find(l, first ? cutmix : mixup) == NULL)
        return true;
    kn_rng coin = kn_rng_at(kn_ctx_seed(l->ctx), KN_RANDOM_MIX_CHOICE, 0, (uint32_t)l->epoch,
                            (uint32_t)l->batch_index);
    return (kn_rng_below(&coin, 2) == 0) == first;
}

bool kn_mix_begin(kn_mix *m, kn_learner *l, int64_t *n, kn_flow *flow) {
    char text[KN_SHAPE_TEXT];
    const kn_shape *x = &l->x->shape;
    *flow = KN_GO;
    if (!l->training || !my_turn(m, l))
        return false;
    *flow = KN_FAIL;
    if (check_loss(m, l) != KN_OK)
        return false;
    if (l->x->dtype != KN_F32 || x->rank != 4 || l->y->dtype != KN_I32 || l->y->shape.rank != 1 ||
        l->y->shape.dim[0] != x->dim[0]) {
        kn_fail(l->ctx, KN_ERR_STATE,
                "%s: pictures %s %s, expected normalised ones, f32 [N,H,W,C], and as many classes",
                m->base.cls->name, kn_dtype_name(l->x->dtype), kn_shape_text(x, text));
        return false;
    }
    if (make_room(m, (size_t)x->dim[0]) != KN_OK)
        return false;
    m->rng =
        kn_rng_at(kn_ctx_seed(l->ctx), m->purpose, 0, (uint32_t)l->epoch, (uint32_t)l->batch_index);
    *n = x->dim[0];
    *flow = KN_GO;
    return true;
}

kn_tensor *kn_mix_partners(kn_mix *m, kn_learner *l, int64_t n) {
    kn_rng_shuffle(&m->rng, m->order, (uint32_t)n);
    return kn_from(l->ctx, KN_I32, KN_SHAPE(n), m->order); /* all below 2^31 */
}

/* By way of f32, which is exact for class numbers below 2^24. */
kn_tensor *kn_mix_labels(kn_learner *l, kn_tensor *partner) {
    kn_tensor *y = kn_cast(l->ctx, l->y, KN_F32);
    return kn_cast(l->ctx, kn_gather(l->ctx, y, 0, partner), KN_I32);
}
