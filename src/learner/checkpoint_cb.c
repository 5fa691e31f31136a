/* checkpoint_cb.c - when checkpoints are written: after a batch, once enough time has passed or
 * somebody asks, and after the last batch of each epoch. */
#include "core/clock.h"
#include "core/file.h"
#include "learner/checkpoint.h"
#include "learner/terminate_on_nan.h"

#include "learner/events.h"

#include <kiln/callbacks.h>

#include <stdio.h>
#include <string.h>

static const char name[] = "checkpoint";

typedef struct checkpointer {
    kn_callback base;
    kn_ctx *ctx;
    kn_checkpoint_opts opts;
    kn_checkpoint_writer writer;
    kn_checkpoint_report report;
    double since;   /* on kn_clock: of the last, or the attempt at it, or the start */
    bool cancelled; /* the batch under way: what it leaves is no place to go on from */
    bool behind;    /* since the last checkpoint a batch was trained */
    char folder[KN_PATH_MAX];
} checkpointer;

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    checkpointer *c = (checkpointer *)cb;
    if (l->epochs == 0)
        return KN_GO;
    c->report = (kn_checkpoint_report){0};
    c->since = kn_clock();
    return KN_GO;
}

/* A checkpoint that cannot be written is no reason to lose the training too. */
static void write_now(checkpointer *c, kn_learner *l, int64_t batches) {
    kn_status status =
        kn_checkpoint_write(&c->writer, l, batches, c->folder, c->opts.meta, c->opts.metas);
    c->since = kn_clock();
    c->behind = false;
    c->report.last_failed = status != KN_OK;
    if (status == KN_OK) {
        c->report.written++;
        return;
    }
    kn_error error = kn_error_take(l->ctx);
    c->report.failed++;
    snprintf(c->report.reason, sizeof c->report.reason, "%s", error.message);
    kn_report(l->ctx, KN_LOG_WARNING, "no checkpoint of epoch %d, batch %lld: %s", l->epoch,
              (long long)batches, error.message);
}

/* What is no number any more is not saved. */
static kn_flow write_good(checkpointer *c, kn_learner *l, int64_t batches) {
    if (kn_terminate_on_nan_check(l) != KN_OK)
        return KN_FAIL;
    write_now(c, l, batches);
    return KN_GO;
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((checkpointer *)cb)->cancelled = false;
    return KN_GO;
}

/* Also when it failed: NaN among the weights, say. */
static kn_flow after_cancel_batch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((checkpointer *)cb)->cancelled = true;
    return KN_GO;
}

static kn_flow after_batch(kn_callback *cb, kn_learner *l) {
    checkpointer *c = (checkpointer *)cb;
    if (!l->training || c->cancelled)
        return KN_GO;
    c->behind = true;
    bool now = c->opts.wanted != NULL && c->opts.wanted(c->opts.user);
    if (now || l->batch_index + 1 == l->batch_count || kn_clock() - c->since >= c->opts.every)
        return write_good(c, l, l->batch_index + 1);
    return KN_GO;
}

/* The last batches of an epoch may have had no samples, and none of their events came. */
static kn_flow after_train(kn_callback *cb, kn_learner *l) {
    checkpointer *c = (checkpointer *)cb;
    bool passed_over = c->behind && !c->cancelled && l->batch_index < l->batch_count;
    return passed_over ? write_good(c, l, l->batch_count) : KN_GO;
}

/* What was left early is no whole epoch. */
static kn_flow after_cancel_train(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((checkpointer *)cb)->behind = false;
    return KN_GO;
}

static void free_checkpointer(kn_callback *cb) {
    checkpointer *c = (checkpointer *)cb;
    kn_checkpoint_writer_free(&c->writer);
    kn_free(c->ctx, c);
}

static const kn_callback_class checkpoint_class = {.name = name,
                                                   .order = 900,
                                                   .skips_trials = true,
                                                   .before_fit = before_fit,
                                                   .before_batch = before_batch,
                                                   .after_cancel_batch = after_cancel_batch,
                                                   .after_batch = after_batch,
                                                   .after_cancel_train = after_cancel_train,
                                                   .after_train = after_train,
                                                   .free = free_checkpointer};

kn_callback *kn_checkpoint_cb(kn_ctx *ctx, kn_checkpoint_opts opts) {
    if (!(opts.every >= 0)) {
        kn_fail(ctx, KN_ERR_ARG, "checkpoint: every %g seconds; expected 0 or more", opts.every);
        return NULL;
    }
    size_t length = opts.folder != NULL ? strlen(opts.folder) : 0;
    if (length == 0 || length >= KN_PATH_MAX) {
        kn_fail(ctx, KN_ERR_ARG, "checkpoint: needs a folder of at most %d bytes", KN_PATH_MAX - 1);
        return NULL;
    }
    checkpointer *c = kn_calloc(ctx, 1, sizeof *c, "the checkpoint callback");
    if (c == NULL)
        return NULL;
    c->base.cls = &checkpoint_class;
    c->ctx = ctx;
    c->opts = opts;
    c->writer.ctx = ctx;
    memcpy(c->folder, opts.folder, length + 1);
    return &c->base;
}

kn_checkpoint_report kn_checkpoint_cb_report(const kn_learner *l) {
    const checkpointer *c = (const checkpointer *)kn_learner_find(l, name);
    return c != NULL ? c->report : (kn_checkpoint_report){0};
}
