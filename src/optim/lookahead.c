/* lookahead.c - Lookahead (Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", 2019)
 * around another optimizer, and Ranger, which is Lookahead around RAdam. */
#include "optim/state.h"

#include <string.h>

typedef struct lookahead {
    kn_optimizer base;
    kn_optimizer *fast; /* owned */
    kn_opt_state slow;  /* the slow weights; steps says which parameters have them */
    int k;
    double alpha;
} lookahead;

/* The slow weights go part of the way to the fast ones, which go on from there. */
static kn_status meet(lookahead *a, const kn_pack *pack) {
    kn_device *d = pack->values->device;
    kn_status status = KN_OK;
    for (int i = 0; i < pack->count && status == KN_OK; i++) {
        const kn_segment *segment = &pack->segment[i];
        float *slow = kn_opt_state_at(&a->slow, 0, segment->offset);
        float *fast = kn_f32_out(pack->values) + segment->offset;
        if (segment->frozen)
            continue;
        status = d->ops->lerp(d, segment->length, (float)a->alpha, fast, slow);
        if (status == KN_OK)
            status = d->ops->copy(d, fast, slow, (size_t)segment->length * sizeof(float));
    }
    return status;
}

/* The rate and the groups are this optimizer's: it is what schedules see. */
static kn_status lookahead_step(kn_optimizer *opt, const kn_pack *pack) {
    lookahead *a = (lookahead *)opt;
    kn_status status = kn_opt_state_follow(&a->slow, opt->ctx, pack);
    if (status != KN_OK)
        return status;
    a->fast->lr = opt->lr;
    memcpy(a->fast->group, opt->group, sizeof opt->group);
    status = kn_optimizer_step(a->fast);
    return status == KN_OK && a->fast->steps % a->k == 0 ? meet(a, pack) : status;
}

static kn_status lookahead_visit(kn_optimizer *opt, const kn_pack *pack,
                                 const kn_state_visitor *visitor) {
    lookahead *a = (lookahead *)opt;
    kn_status status = kn_opt_state_follow(&a->slow, opt->ctx, pack);
    if (status == KN_OK)
        status = kn_opt_state_visit(&a->slow, "slow_steps", (const char *[]){"slow"}, visitor);
    if (status == KN_OK)
        status = visitor->integers(visitor->user, "fast_steps", &a->fast->steps, 1);
    if (status == KN_OK && a->fast->cls->state != NULL)
        status = a->fast->cls->state(a->fast, pack, visitor);
    return status;
}

static void lookahead_free(kn_optimizer *opt) {
    lookahead *a = (lookahead *)opt;
    kn_optimizer_free(a->fast);
    kn_opt_state_free(&a->slow, opt->ctx);
}

static const kn_optimizer_class lookahead_class = {
    .name = "lookahead", .step = lookahead_step, .free = lookahead_free, .state = lookahead_visit};

kn_optimizer *kn_lookahead(kn_optimizer *fast, kn_lookahead_opts opts) {
    if (fast == NULL)
        return NULL;
    lookahead *a = kn_optimizer_new(fast->model, &lookahead_class, sizeof *a, fast->lr);
    if (a == NULL) {
        kn_optimizer_free(fast);
        return NULL;
    }
    memcpy(a->base.group, fast->group, sizeof fast->group);
    a->fast = fast;
    a->k = opts.k > 0 ? opts.k : 6;
    a->alpha = opts.alpha > 0 ? opts.alpha : 0.5;
    return &a->base;
}

kn_optimizer *kn_ranger(kn_module *model, double lr, kn_adam_opts opts) {
    opts.fastai = true;
    opts.beta1 = opts.beta1 > 0 ? opts.beta1 : 0.95;
    opts.beta2 = opts.beta2 > 0 ? opts.beta2 : 0.99;
    opts.eps = opts.eps > 0 ? opts.eps : 1e-6;
    return kn_lookahead(kn_radam(model, lr, opts), (kn_lookahead_opts){0});
}
