/* clip_cb.c - gradient clipping: all gradients are one vector, which is shortened where it is too
 * long (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013). The norm
 * stays on the device. */
#include "learner/square_sum.h"

#include <kiln/callbacks.h>

#include <math.h>

static const char name[] = "clip";

typedef struct clip {
    kn_callback base;
    kn_ctx *ctx;
    double most;
    kn_square_sum sum;
    bool ready; /* the sum is of a step */
} clip;

static kn_flow before_step(kn_callback *cb, kn_learner *l) {
    clip *c = (clip *)cb;
    const kn_pack *pack = kn_module_pack(l->model);
    if (pack == NULL)
        return KN_FAIL;
    kn_device *d = pack->values->device;
    kn_status status = kn_square_sum_gradients(&c->sum, pack);
    int64_t offset, length;
    for (int at = 0; status == KN_OK && kn_gradient_range(pack, &at, &offset, &length);)
        status = d->ops->clip(d, length, (float)c->most, c->sum.total->data,
                              kn_f32_out(pack->grads) + offset);
    c->ready = status == KN_OK;
    return status == KN_OK ? KN_GO : KN_FAIL;
}

static void free_clip(kn_callback *cb) {
    clip *c = (clip *)cb;
    kn_square_sum_free(&c->sum);
    kn_free(c->ctx, c);
}

/* After kn_accumulate_cb, which may call the step off. */
static const kn_callback_class clip_class = {
    .name = name, .order = 10, .before_step = before_step, .free = free_clip};

kn_callback *kn_clip_cb(kn_ctx *ctx, double most) {
    if (!(most > 0)) {
        kn_fail(ctx, KN_ERR_ARG, "clip: to a norm of %g; expected more than 0", most);
        return NULL;
    }
    clip *c = kn_calloc(ctx, 1, sizeof *c, "the clipping callback");
    if (c == NULL)
        return NULL;
    c->base.cls = &clip_class;
    c->ctx = c->sum.ctx = ctx;
    c->most = most;
    return &c->base;
}

double kn_clip_norm(const kn_learner *l) {
    const clip *c = (const clip *)kn_learner_find(l, name);
    double total = NAN;
    if (c == NULL || !c->ready || kn_square_sum_read(&c->sum, &total) != KN_OK)
        return NAN;
    return sqrt(total);
}
