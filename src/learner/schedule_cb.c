/* schedule_cb.c - a schedule as a callback: a rate, and where the schedule has one a momentum, for
 * every training batch. */
#include "core/ctx.h"

#include <kiln/callbacks.h>

typedef struct schedule {
    kn_callback base;
    kn_schedule s;
    kn_ctx *ctx;
} schedule;

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    const kn_schedule *s = &((schedule *)cb)->s;
    if (!l->training)
        return KN_GO;
    double place = (double)l->epoch * (double)l->batch_count + (double)l->batch_index;
    double pct = place / ((double)l->epochs * (double)l->batch_count);
    kn_schedule_apply(s, l->opt, l->lr, pct);
    return KN_GO;
}

static void free_schedule(kn_callback *cb) {
    kn_free(((schedule *)cb)->ctx, cb);
}

static const kn_callback_class schedule_class = {.name = "schedule",
                                                 .order = -50,
                                                 .skips_trials = true,
                                                 .before_batch = before_batch,
                                                 .free = free_schedule};

/* Shares are in [0, 1), the rest 0 or more: NaN is neither. */
static bool sound(const kn_schedule *s) {
    return kn_schedule_name(s->kind) != NULL && s->warmup >= 0 && s->warmup < 1 &&
           s->pct_start >= 0 && s->pct_start < 1 && s->div >= 0 && s->div_final >= 0 &&
           s->steps >= 0 && s->gamma >= 0 && s->momentum_high >= 0 && s->momentum_high < 1 &&
           s->momentum_low >= 0 && s->momentum_low < 1;
}

kn_callback *kn_schedule_cb(kn_ctx *ctx, kn_schedule s) {
    if (!sound(&s)) {
        kn_fail(
            ctx, KN_ERR_ARG,
            "schedule: kind %d, warmup %g, pct_start %g, div %g, div_final %g, steps %d, gamma "
            "%g, momentum %g to %g; expected shares and momentum in [0, 1), the rest not below 0",
            (int)s.kind, s.warmup, s.pct_start, s.div, s.div_final, s.steps, s.gamma,
            s.momentum_high, s.momentum_low);
        return NULL;
    }
    schedule *c = kn_calloc(ctx, 1, sizeof *c, "the schedule callback");
    if (c == NULL)
        return NULL;
    c->base.cls = &schedule_class;
    c->s = s;
    c->ctx = ctx;
    return &c->base;
}

kn_callback *kn_one_cycle_cb(kn_ctx *ctx, kn_one_cycle_opts opts) {
    return kn_schedule_cb(
        ctx,
        (kn_schedule){.kind = KN_SCHED_ONE_CYCLE, .pct_start = opts.pct_start, .div = opts.div});
}
