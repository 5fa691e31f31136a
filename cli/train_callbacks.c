/* train_callbacks.c - the callbacks of a training. A new one is a row: for which commands, whether
 * the options want it, how it is made. What decides how well a rate works is for lr-find too; what
 * keeps or shows the progress of a training is not. */
#include "bad_images.h"
#include "interrupt.h"
#include "resume.h"
#include "train.h"
#include "train_page.h"

#include <string.h>

/* ---- what is always there ---- */

static kn_callback *make_setup(train *t) {
    return kn_setup_cb(t->s->ctx, &t->norm);
}

static kn_callback *make_track_results(train *t) {
    return kn_track_results_cb(t->s->ctx);
}

static kn_callback *make_recorder(train *t) {
    return kn_recorder_cb(
        t->s->ctx,
        (kn_recorder_opts){.folder = t->run.path, .on_epoch = train_on_epoch, .user = t});
}

static kn_callback *make_save_model(train *t) {
    return kn_save_model_cb(t->s->ctx, t->run.path, &t->info);
}

static kn_callback *make_predictions(train *t) {
    return kn_predictions_cb(t->s->ctx, (kn_predictions_opts){.no_probs = true}, &t->best);
}

static kn_callback *make_interrupt(train *t) {
    (void)t;
    return interrupt_cb();
}

/* ---- what is said ---- */

static bool wants_progress(const args *a) {
    return !a->quiet;
}

static kn_callback *make_progress(train *t) {
    return kn_progress_cb(t->s->ctx, (kn_progress_opts){.bar = report_has_bar(&t->s->r),
                                                        .columns = report_progress_columns,
                                                        .write = report_progress});
}

/* ---- schedules ---- */

static bool is_constant(const args *a) {
    return strcmp(a->sched, kn_schedule_name(KN_SCHED_CONSTANT)) == 0 && !(a->warmup > 0);
}

static bool wants_fine_tune(const args *a) {
    return a->fine_tune > 0;
}

static kn_callback *make_fine_tune(train *t) {
    return kn_fine_tune_cb(t->s->ctx, (kn_fine_tune_opts){.freeze_norm = t->s->a.freeze_norm});
}

static bool wants_schedule(const args *a) {
    return !is_constant(a) && !wants_fine_tune(a);
}

static kn_callback *make_schedule(train *t) {
    const args *a = &t->s->a;
    kn_schedule s = {.warmup = a->warmup / a->epochs};
    while (kn_schedule_name(s.kind) != NULL && strcmp(kn_schedule_name(s.kind), a->sched) != 0)
        s.kind++;
    return kn_schedule_cb(t->s->ctx, s);
}

/* ---- around the step ---- */

static bool wants_clip(const args *a) {
    return a->clip > 0;
}

static kn_callback *make_clip(train *t) {
    return kn_clip_cb(t->s->ctx, t->s->a.clip);
}

static bool wants_accumulate(const args *a) {
    return a->accumulate > 1;
}

static kn_callback *make_accumulate(train *t) {
    return kn_accumulate_cb(t->s->ctx, t->s->a.accumulate);
}

static bool wants_ema(const args *a) {
    return a->ema > 0;
}

static kn_callback *make_ema(train *t) {
    return kn_ema_cb(t->s->ctx, t->s->a.ema);
}

/* ---- what is mixed, and when it ends ---- */

static bool wants_mixup(const args *a) {
    return a->mixup > 0;
}

static kn_callback *make_mixup(train *t) {
    return kn_mixup_cb(t->s->ctx, t->s->a.mixup);
}

static bool wants_cutmix(const args *a) {
    return a->cutmix > 0;
}

static kn_callback *make_cutmix(train *t) {
    return kn_cutmix_cb(t->s->ctx, t->s->a.cutmix);
}

static kn_callback *make_terminate_on_nan(train *t) {
    return kn_terminate_on_nan_cb(t->s->ctx);
}

static bool wants_early_stopping(const args *a) {
    return a->patience > 0;
}

/* By accuracy, as the best model is: its epoch then is the one that was not bettered. */
static kn_callback *make_early_stopping(train *t) {
    return kn_early_stopping_cb(t->s->ctx, (kn_early_stopping_opts){.patience = t->s->a.patience,
                                                                    .monitor = KN_MONITOR_ACC});
}

/* ---- a look inside ---- */

static bool wants_activations(const args *a) {
    return a->activations;
}

/* At most so many records: a chart shows no more. */
static kn_callback *make_activations(train *t) {
    enum { MOST_RECORDS = 1000 };
    int64_t batches = (int64_t)t->s->a.epochs * kn_loader_len(t->loaders.train);
    int64_t every = (batches + MOST_RECORDS - 1) / MOST_RECORDS;
    return kn_activation_stats_cb(t->s->ctx,
                                  (kn_activation_opts){.folder = t->run.path, .every = (int)every});
}

/* ---- the table; of equal order, the first is called first ---- */

static const struct {
    unsigned commands;
    bool (*wanted)(const args *a); /* NULL: always */
    kn_callback *(*make)(train *t);
} callbacks[] = {
    {FIT_COMMANDS, NULL, make_setup},
    {CMD_TRAIN, NULL, make_track_results},
    {CMD_TRAIN, NULL, make_recorder},
    {CMD_TRAIN, wants_progress, make_progress},
    {CMD_TRAIN, wants_schedule, make_schedule},
    {CMD_TRAIN, wants_fine_tune, make_fine_tune},
    {FIT_COMMANDS, wants_accumulate, make_accumulate},
    {FIT_COMMANDS, wants_clip, make_clip},
    {CMD_TRAIN, wants_ema, make_ema},
    {FIT_COMMANDS, wants_mixup, make_mixup},
    {FIT_COMMANDS, wants_cutmix, make_cutmix},
    {CMD_TRAIN, NULL, make_terminate_on_nan},
    {CMD_TRAIN, wants_early_stopping, make_early_stopping},
    {CMD_TRAIN, wants_activations, make_activations},
    {CMD_TRAIN, NULL, make_save_model},
    {CMD_TRAIN, NULL, make_predictions},
    {CMD_TRAIN, NULL, train_page_cb},
    {CMD_TRAIN, bad_images_skipped, bad_images_cb},
    {CMD_TRAIN, NULL, resume_checkpoint_cb},
    {FIT_COMMANDS, NULL, make_interrupt},
};

kn_status train_add_callbacks(train *t, kn_learner *l, unsigned commands) {
    kn_status status = KN_OK;
    for (size_t i = 0; i < KN_COUNT(callbacks) && status == KN_OK; i++)
        if (callbacks[i].commands & commands &&
            (callbacks[i].wanted == NULL || callbacks[i].wanted(&t->s->a)))
            status = kn_learner_add(l, callbacks[i].make(t));
    return status;
}
