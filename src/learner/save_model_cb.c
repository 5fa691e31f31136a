/* save_model_cb.c - keeps the best model and the last one on disk. */
#include "core/file.h"
#include "learner/saver.h"
#include "nn/module.h"

#include <math.h>
#include <stdio.h>

static const char name[] = "save_model";

typedef struct save_model {
    kn_callback base;
    kn_ctx *ctx;
    const kn_model_info *info;
    kn_saver saver;
    int best_epoch;
    double best_acc;
    bool cancelled;
    char best[KN_PATH_MAX], last[KN_PATH_MAX];
} save_model;

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    save_model *s = (save_model *)cb;
    if (l->epochs == 0) /* validation alone: the results of the fit before stay */
        return KN_GO;
    kn_saver_free(&s->saver); /* the model may be another */
    s->best_epoch = -1;
    s->best_acc = NAN;
    return KN_GO;
}

/* Here and not before_fit: by now the parameters are packed. */
static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    save_model *s = (save_model *)cb;
    s->cancelled = false;
    if (s->saver.ctx != NULL && s->saver.model == l->model &&
        s->saver.changes == kn_module_changes(l->model))
        return KN_GO;
    kn_saver_free(&s->saver);
    return kn_saver_init(&s->saver, l->model, s->info) == KN_OK ? KN_GO : KN_FAIL;
}

static kn_flow after_cancel_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((save_model *)cb)->cancelled = true;
    return KN_GO;
}

static kn_flow after_epoch(kn_callback *cb, kn_learner *l) {
    save_model *s = (save_model *)cb;
    if (s->cancelled)
        return KN_GO;
    /* Without validation there is no better or worse: the latest is kept. */
    bool validated = l->loaders.valid != NULL;
    double acc = validated ? kn_track_results(l, false).acc : NAN;
    bool better =
        !validated || s->best_epoch < 0 || acc > s->best_acc || (isnan(s->best_acc) && !isnan(acc));
    if (better) {
        if (kn_saver_write(&s->saver, s->best) != KN_OK)
            return KN_FAIL;
        s->best_epoch = l->epoch;
        s->best_acc = acc;
    }
    return kn_saver_write(&s->saver, s->last) == KN_OK ? KN_GO : KN_FAIL;
}

static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    save_model *s = (save_model *)cb;
    int64_t epoch = s->best_epoch;
    (void)l;
    kn_status status = visitor->integers(visitor->user, "best_epoch", &epoch, 1);
    s->best_epoch = (int)epoch;
    return status == KN_OK ? visitor->reals(visitor->user, "best_acc", &s->best_acc, 1) : status;
}

static void free_save_model(kn_callback *cb) {
    save_model *s = (save_model *)cb;
    kn_saver_free(&s->saver);
    kn_free(s->ctx, s);
}

static const kn_callback_class save_model_class = {.name = name,
                                                   .order = 60,
                                                   .skips_trials = true,
                                                   .before_fit = before_fit,
                                                   .before_epoch = before_epoch,
                                                   .after_cancel_epoch = after_cancel_epoch,
                                                   .after_epoch = after_epoch,
                                                   .state = visit,
                                                   .free = free_save_model};

kn_callback *kn_save_model_cb(kn_ctx *ctx, const char *folder, const kn_model_info *info) {
    save_model *s = kn_calloc(ctx, 1, sizeof *s, "the saving callback");
    if (s == NULL)
        return NULL;
    s->base.cls = &save_model_class;
    s->ctx = ctx;
    s->info = info;
    s->best_epoch = -1;
    s->best_acc = NAN;
    if (kn_path_join(s->best, folder, "model.safetensors", &ctx->error) != KN_OK ||
        kn_path_join(s->last, folder, "last.safetensors", &ctx->error) != KN_OK) {
        kn_free(ctx, s);
        return NULL;
    }
    return &s->base;
}

int kn_save_model_best(const kn_learner *l, double *acc) {
    const save_model *s = (const save_model *)kn_learner_find(l, name);
    if (acc != NULL)
        *acc = s != NULL ? s->best_acc : NAN;
    return s != NULL ? s->best_epoch : -1;
}
