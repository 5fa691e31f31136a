/* early_stopping_cb.c - ends a fit that no longer gets better. */
#include "core/ctx.h"

#include <kiln/callbacks.h>

#include <math.h>

static const char name[] = "early_stopping";

typedef struct early_stopping {
    kn_callback base;
    kn_ctx *ctx;
    kn_early_stopping_opts opts;
    double best;    /* the larger, the better; NaN: none yet */
    int waited;     /* epochs since the best */
    int stopped_at; /* -1: not */
    bool cancelled; /* the epoch under way */
} early_stopping;

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    early_stopping *e = (early_stopping *)cb;
    if (l->epochs == 0)
        return KN_GO;
    e->best = NAN;
    e->waited = 0;
    e->stopped_at = -1;
    if (kn_learner_find(l, "track_results") != NULL)
        return KN_GO;
    kn_fail(l->ctx, KN_ERR_STATE, "early_stopping: needs kn_track_results_cb");
    return KN_FAIL;
}

static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((early_stopping *)cb)->cancelled = false;
    return KN_GO;
}

static kn_flow after_cancel_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((early_stopping *)cb)->cancelled = true;
    return KN_GO;
}

/* NaN is never better than a number. */
static bool better(const early_stopping *e, double value) {
    return isnan(e->best) ? !isnan(value) : value > e->best + e->opts.min_delta;
}

static kn_flow after_epoch(kn_callback *cb, kn_learner *l) {
    early_stopping *e = (early_stopping *)cb;
    if (e->cancelled)
        return KN_GO;
    kn_results results = kn_track_results(l, l->loaders.valid == NULL);
    double value = e->opts.monitor == KN_MONITOR_ACC ? results.acc : -results.loss;
    if (better(e, value)) {
        e->best = value;
        e->waited = 0;
        return KN_GO;
    }
    if (++e->waited < e->opts.patience || l->epoch + 1 == l->epochs)
        return KN_GO;
    e->stopped_at = l->epoch;
    return KN_CANCEL_FIT;
}

static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    early_stopping *e = (early_stopping *)cb;
    int64_t number[] = {e->waited, e->stopped_at};
    (void)l;
    kn_status status = visitor->reals(visitor->user, "best", &e->best, 1);
    if (status == KN_OK)
        status = visitor->integers(visitor->user, "waited", number, KN_COUNT(number));
    e->waited = (int)number[0];
    e->stopped_at = (int)number[1];
    return status;
}

static void free_early_stopping(kn_callback *cb) {
    kn_free(((early_stopping *)cb)->ctx, cb);
}

/* Nearly last: of the callbacks behind the one that cancels, none hears of the epoch's end. */
static const kn_callback_class early_stopping_class = {.name = name,
                                                       .order = 800,
                                                       .skips_trials = true,
                                                       .before_fit = before_fit,
                                                       .before_epoch = before_epoch,
                                                       .after_cancel_epoch = after_cancel_epoch,
                                                       .after_epoch = after_epoch,
                                                       .state = visit,
                                                       .free = free_early_stopping};

kn_callback *kn_early_stopping_cb(kn_ctx *ctx, kn_early_stopping_opts opts) {
    if (opts.patience < 0 || !(opts.min_delta >= 0)) {
        kn_fail(ctx, KN_ERR_ARG, "early_stopping: patience %d, min_delta %g, expected 0 or more",
                opts.patience, opts.min_delta);
        return NULL;
    }
    early_stopping *e = kn_calloc(ctx, 1, sizeof *e, "the early stopping callback");
    if (e == NULL)
        return NULL;
    e->base.cls = &early_stopping_class;
    e->ctx = ctx;
    e->opts = opts;
    e->opts.patience = opts.patience > 0 ? opts.patience : 1;
    e->stopped_at = -1;
    return &e->base;
}

int kn_early_stopping_at(const kn_learner *l) {
    const early_stopping *e = (const early_stopping *)kn_learner_find(l, name);
    return e != NULL ? e->stopped_at : -1;
}
