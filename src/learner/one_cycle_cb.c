/* one_cycle_cb.c - the one-cycle schedule as a callback: a rate for every training batch. */
#include "core/ctx.h"

#include <kiln/callbacks.h>

typedef struct one_cycle {
    kn_callback base;
    kn_one_cycle_opts opts;
    kn_ctx *ctx;
} one_cycle;

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    if (!l->training)
        return KN_GO;
    double place = (double)l->epoch * (double)l->batch_count + (double)l->batch_index;
    double pct = place / ((double)l->epochs * (double)l->batch_count);
    l->opt->lr = kn_one_cycle_lr(l->lr, pct, ((one_cycle *)cb)->opts);
    return KN_GO;
}

static void free_one_cycle(kn_callback *cb) {
    kn_free(((one_cycle *)cb)->ctx, cb);
}

static const kn_callback_class one_cycle_class = {.name = "one_cycle",
                                                  .order = -50,
                                                  .skips_trials = true,
                                                  .before_batch = before_batch,
                                                  .free = free_one_cycle};

kn_callback *kn_one_cycle_cb(kn_ctx *ctx, kn_one_cycle_opts opts) {
    if (opts.pct_start < 0 || opts.pct_start >= 1 || opts.div < 0) {
        kn_fail(ctx, KN_ERR_ARG,
                "one_cycle: pct_start %g, div %g; expected 0 <= pct_start < 1, div > 0",
                opts.pct_start, opts.div);
        return NULL;
    }
    one_cycle *c = kn_calloc(ctx, 1, sizeof *c, "the one-cycle callback");
    if (c == NULL)
        return NULL;
    c->base.cls = &one_cycle_class;
    c->opts = opts;
    c->ctx = ctx;
    return &c->base;
}
