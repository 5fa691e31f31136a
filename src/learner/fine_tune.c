/* fine_tune.c - transfer in two phases: first the new head on a frozen body, then all of it with
 * less and less rate towards the input. Both are one fit, so nothing else has to know. */
#include "core/ctx.h"

#include <kiln/callbacks.h>

#include <limits.h>

typedef struct fine_tune {
    kn_callback base;
    kn_ctx *ctx;
    kn_fine_tune_opts opts;
    bool began; /* froze or unfroze something: what the user froze before is his until then */
} fine_tune;

static bool is_frozen(const fine_tune *f, const kn_learner *l) {
    return l->epoch < f->opts.freeze_epochs;
}

/* ---- what trains, and how fast ---- */

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    fine_tune *f = (fine_tune *)cb;
    f->began = false;
    if (l->epochs == 0) /* validation alone */
        return KN_GO;
    int groups = kn_module_groups(l->model);
    if (kn_learner_find(l, "schedule") != NULL)
        kn_fail(l->ctx, KN_ERR_ARG, "fine_tune: has a schedule of its own, and another was added");
    else if (l->epochs <= f->opts.freeze_epochs)
        kn_fail(l->ctx, KN_ERR_ARG, "fine_tune: %d epochs, of which %d are with a frozen body",
                l->epochs, f->opts.freeze_epochs);
    else if (groups == 1)
        kn_fail(
            l->ctx, KN_ERR_ARG,
            "fine_tune: all parameters are in one group; kn_model_split or kn_module_split says "
            "which are the head");
    return kn_ctx_status(l->ctx) == KN_OK ? KN_GO : KN_FAIL;
}

/* A function of the epoch alone: a run that is resumed in any of them goes on as it would have. */
static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    fine_tune *f = (fine_tune *)cb;
    int head = l->opt->groups - 1;
    f->began = true;
    kn_module_freeze_below(l->model, is_frozen(f, l) ? head : 0,
                           (kn_freeze_opts){.norm = f->opts.freeze_norm});
    if (!is_frozen(f, l))
        kn_optimizer_spread(l->opt, f->opts.spread);
    for (int g = 0; is_frozen(f, l) && g < KN_MAX_GROUPS; g++)
        l->opt->group[g].lr_mult = g < head ? 0.1 : 1;
    return KN_GO;
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    fine_tune *f = (fine_tune *)cb;
    if (!l->training)
        return KN_GO;
    bool frozen = is_frozen(f, l);
    int first = frozen ? 0 : f->opts.freeze_epochs;
    int epochs = frozen ? f->opts.freeze_epochs : l->epochs - first;
    kn_schedule s = {.kind = KN_SCHED_ONE_CYCLE_COS,
                     .pct_start = frozen ? 0.99 : f->opts.pct_start,
                     .div = frozen ? 25 : f->opts.div};
    double place = (double)(l->epoch - first) * (double)l->batch_count + (double)l->batch_index;
    double pct = place / ((double)epochs * (double)l->batch_count);
    kn_schedule_apply(&s, l->opt, frozen ? l->lr : l->lr / 2, pct);
    return KN_GO;
}

static kn_flow after_fit(kn_callback *cb, kn_learner *l) {
    if (((fine_tune *)cb)->began)
        kn_module_freeze(l->model, false, (kn_freeze_opts){0});
    return KN_GO;
}

/* ---- the callback ---- */

static void free_fine_tune(kn_callback *cb) {
    kn_free(((fine_tune *)cb)->ctx, cb);
}

static const kn_callback_class fine_tune_class = {.name = "fine_tune",
                                                  .order = -50,
                                                  .skips_trials = true, /* sets the rate */
                                                  .before_fit = before_fit,
                                                  .before_epoch = before_epoch,
                                                  .before_batch = before_batch,
                                                  .after_fit = after_fit,
                                                  .free = free_fine_tune};

static double or_default(double value, double start) {
    return value > 0 ? value : start;
}

kn_callback *kn_fine_tune_cb(kn_ctx *ctx, kn_fine_tune_opts opts) {
    bool sound = opts.freeze_epochs >= 0 && opts.spread >= 0 && opts.pct_start >= 0 &&
                 opts.pct_start < 1 && opts.div >= 0;
    if (!sound) {
        kn_fail(ctx, KN_ERR_ARG,
                "fine_tune: freeze_epochs %d, spread %g, pct_start %g, div %g; expected a share in "
                "[0, 1), the rest not below 0",
                opts.freeze_epochs, opts.spread, opts.pct_start, opts.div);
        return NULL;
    }
    fine_tune *f = kn_calloc(ctx, 1, sizeof *f, "the fine-tuning callback");
    if (f == NULL)
        return NULL;
    f->base.cls = &fine_tune_class;
    f->ctx = ctx;
    f->opts = (kn_fine_tune_opts){.freeze_epochs = opts.freeze_epochs > 0 ? opts.freeze_epochs : 1,
                                  .spread = or_default(opts.spread, 100),
                                  .pct_start = or_default(opts.pct_start, 0.3),
                                  .div = or_default(opts.div, 5),
                                  .freeze_norm = opts.freeze_norm};
    return &f->base;
}

kn_status kn_fine_tune(kn_learner *l, int epochs, kn_fine_tune_opts opts) {
    if (l == NULL)
        return KN_ERR_STATE;
    if (epochs < 1)
        return kn_fail(l->ctx, KN_ERR_ARG, "fine_tune: %d epochs, expected 1 or more", epochs);
    if (opts.freeze_epochs > INT_MAX - epochs)
        return kn_fail(l->ctx, KN_ERR_ARG, "fine_tune: %d and %d epochs are too many",
                       opts.freeze_epochs, epochs);
    kn_callback *cb = kn_fine_tune_cb(l->ctx, opts);
    kn_status status = kn_learner_add(l, cb);
    if (status != KN_OK)
        return status;
    status = kn_learner_fit(l, ((fine_tune *)cb)->opts.freeze_epochs + epochs);
    kn_status removed = kn_learner_remove(l, cb);
    return status != KN_OK ? status : removed;
}
