/* train.c - kiln train: from a folder of pictures to a run folder with a model. The parts are those
 * of the chapter: split, datasets, loaders, model, learner, callbacks, fit. */
#include "train.h"

#include "interrupt.h"

#include <kiln/layers.h>

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- data ---- */

static kn_dataset *make_set(train *t, const kn_labelled *items, int count) {
    return kn_image_dataset(t->s->ctx, items, count, t->s->a.img_size);
}

static kn_status open_data(train *t, const char *folder) {
    const args *a = &t->s->a;
    kn_ctx *ctx = t->s->ctx;
    kn_split_opts opts = {.valid_pct = a->valid_pct};
    kn_loader_opts loading = {.workers = a->workers,
                              .max_image_memory = (size_t)a->max_image_memory << 20};
    kn_status status = kn_split_folder(ctx, folder, opts, &t->split);
    if (status != KN_OK)
        return status;
    t->train_set = make_set(t, t->split.train, t->split.train_count);
    t->valid_set = make_set(t, t->split.valid, t->split.valid_count);
    if (t->train_set == NULL || t->valid_set == NULL)
        return kn_ctx_status(ctx);
    t->loaders.valid = kn_loader_new(ctx, t->valid_set, 2 * a->batch_size, loading);
    loading.shuffle = true;
    t->loaders.train = kn_loader_new(ctx, t->train_set, a->batch_size, loading);
    return kn_ctx_status(ctx);
}

/* ---- model ---- */

static kn_status open_model(train *t) {
    const args *a = &t->s->a;
    t->model = kn_model_new(t->s->ctx, a->model, t->split.vocab.count);
    if (t->model == NULL)
        return kn_ctx_status(t->s->ctx);
    for (int c = 0; c < 3 && a->std[0] > 0; c++) {
        t->norm.mean[c] = (float)a->mean[c];
        t->norm.std[c] = (float)a->std[c];
    }
    t->info = (kn_model_info){.arch = a->model,
                              .vocab = &t->split.vocab,
                              .size = a->img_size,
                              .norm = &t->norm,
                              .batch_size = 2 * a->batch_size};
    return a->weights != NULL ? kn_weights_load(t->model, a->weights) : KN_OK;
}

/* What "auto" and "the processors" became: args.json says what was used. */
static kn_status settle_args(train *t) {
    args *a = &t->s->a;
    kn_device *device = kn_device_default(t->s->ctx);
    if (device == NULL)
        return kn_ctx_status(t->s->ctx);
    a->device = kn_device_name(device);
    a->workers = kn_loader_workers(t->loaders.train);
    a->threads = kn_ctx_threads(t->s->ctx);
    return KN_OK;
}

/* ---- learner ---- */

static kn_optimizer *make_sgd(kn_module *model, double lr, void *user) {
    const args *a = user;
    return kn_sgd(model, lr, (kn_sgd_opts){.wd = a->wd, .momentum = a->momentum});
}

static kn_status open_learner(train *t) {
    args *a = &t->s->a;
    kn_ctx *ctx = t->s->ctx;
    t->learner = kn_learner_new(ctx, (kn_learner_opts){.model = t->model,
                                                       .loaders = t->loaders,
                                                       .opt_fn = make_sgd,
                                                       .opt_user = a,
                                                       .lr = a->lr});
    kn_learner *l = t->learner;
    if (l == NULL)
        return kn_ctx_status(ctx);
    kn_recorder_opts record = {.folder = t->run.path, .on_epoch = train_on_epoch, .user = t};
    kn_progress_opts progress = {
        .bar = isatty(STDERR_FILENO) == 1, .write = train_on_progress, .user = t};
    kn_status status = kn_learner_add(l, kn_setup_cb(ctx, &t->norm));
    if (status == KN_OK)
        status = kn_learner_add(l, kn_track_results_cb(ctx));
    if (status == KN_OK)
        status = kn_learner_add(l, kn_recorder_cb(ctx, record));
    if (status == KN_OK && !a->quiet)
        status = kn_learner_add(l, kn_progress_cb(ctx, progress));
    if (status == KN_OK && strcmp(a->sched, "one-cycle") == 0)
        status = kn_learner_add(l, kn_one_cycle_cb(ctx, (kn_one_cycle_opts){0}));
    if (status == KN_OK)
        status = kn_learner_add(l, kn_save_model_cb(ctx, t->run.path, &t->info));
    if (status == KN_OK)
        status = kn_learner_add(l, interrupt_cb());
    return status;
}

/* ---- the command ---- */

static int fit(train *t) {
    struct timespec began, ended;
    interrupt_install();
    clock_gettime(CLOCK_MONOTONIC, &began);
    kn_status status = kn_learner_fit(t->learner, t->s->a.epochs);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    t->seconds =
        (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9;
    if (status != KN_OK)
        return session_fail(t->s);
    if (!interrupted())
        return train_tell_done(t) == KN_OK ? EXIT_DONE : session_fail(t->s);
    int best = kn_save_model_best(t->learner, NULL);
    if (best < 0)
        return report_fail(&t->s->r, EXIT_INTERRUPTED,
                           "interrupted before the first epoch's end: nothing is saved");
    return report_fail(&t->s->r, EXIT_INTERRUPTED,
                       "interrupted: %s/model.safetensors is the best so far, of epoch %d",
                       t->run.path, best);
}

static int prepare(train *t) {
    char folder[PATH_MAX];
    int code = run_folder_check(t->s);
    if (code == EXIT_DONE)
        code = data_folder(t->s, t->s->a.word[0], folder);
    if (code != EXIT_DONE)
        return code;
    if (open_data(t, folder) != KN_OK || open_model(t) != KN_OK || settle_args(t) != KN_OK)
        return session_fail(t->s);
    train_tell_data(t);
    return run_folder_make(t->s, &t->run);
}

static void release(train *t) {
    kn_learner_free(t->learner);
    kn_module_free(t->model);
    kn_loader_free(t->loaders.train);
    kn_loader_free(t->loaders.valid);
    kn_dataset_free(t->train_set);
    kn_dataset_free(t->valid_set);
    kn_split_free(t->s->ctx, &t->split);
}

int train_run(session *s) {
    train t = {.s = s};
    int code = prepare(&t);
    if (code == EXIT_DONE && open_learner(&t) != KN_OK)
        code = session_fail(s);
    else if (code == EXIT_DONE)
        code = fit(&t);
    if (code != EXIT_DONE)
        run_folder_discard(&t.run);
    release(&t);
    return code;
}
