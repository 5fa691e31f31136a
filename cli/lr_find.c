/* lr_find.c - kiln lr-find, and the --lr auto of kiln train: a trial of rates with the very
 * training that the options describe. */
#include "bad_images.h"
#include "interrupt.h"
#include "train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* fine, the default: with fastai's twelve steps a decade and its smoothing, valley is a matter of
 * chance where batches differ much (docs/design.md has figures). Below 1e-5 nothing happens, and
 * optimizers whose steps have a length of their own are past their best well before 1. */
kn_lr_find_opts lr_find_options(const args *a) {
    const char *mode = a->mode;
    if (mode != NULL && strcmp(mode, "fastai") == 0)
        return (kn_lr_find_opts){0};
    if (mode != NULL && strcmp(mode, "chapter") == 0)
        return (kn_lr_find_opts){.chapter = true};
    bool sgd = strcmp(a->opt, "sgd") == 0;
    return (kn_lr_find_opts){
        .start = 1e-5, .end = sgd ? 10 : 1, .steps = sgd ? 150 : 125, .raw_valley = true};
}

/* Fine-tuning begins with the head alone, so its rate is looked for with a frozen body. */
static void freeze_body(train *t, bool frozen) {
    if (t->s->a.fine_tune > 0)
        kn_module_freeze_below(t->model, frozen ? kn_module_groups(t->model) - 1 : 0,
                               (kn_freeze_opts){.norm = t->s->a.freeze_norm});
}

/* EXIT_DONE or the exit code, reported. found is the caller's to free. */
static int find(train *t, bool events, kn_lr_found *found) {
    lr_report told = {.t = t, .events = events};
    kn_lr_find_opts opts = lr_find_options(&t->s->a);
    opts.on_step = lr_find_on_step;
    opts.user = &told;
    interrupt_install();
    kn_learner *l = train_trial_learner(t);
    freeze_body(t, true);
    kn_status status = l != NULL ? kn_lr_find(l, opts, found) : kn_ctx_status(t->s->ctx);
    freeze_body(t, false);
    kn_learner_free(l);
    lr_find_wipe(&told);
    if (status != KN_OK)
        return session_fail(t->s);
    if (interrupted())
        return report_fail(&t->s->r, EXIT_INTERRUPTED,
                           "interrupted while looking for a learning rate: nothing is saved");
    return EXIT_DONE;
}

/* To three digits: what is told is what is used, and --lr with that gives the same bits. */
static double rounded(double rate) {
    char text[32];
    snprintf(text, sizeof text, "%.2e", rate);
    return strtod(text, NULL);
}

/* Where the trial shows none, what usually works: too small costs time, too large the run. */
static double usual_rate(const args *a) {
    bool adam = strcmp(a->opt, "adamw") == 0 || strcmp(a->opt, "radam") == 0;
    return adam ? 0.001 : 0.01;
}

int train_find_rate(train *t) {
    int code = find(t, false, &t->found);
    if (code != EXIT_DONE)
        return code;
    double valley = t->found.suggestion.valley;
    if (!isnan(valley)) {
        t->s->a.lr = rounded(valley);
        train_tell_rate(t, &t->found.suggestion);
        return EXIT_DONE;
    }
    char text[160];
    t->s->a.lr = usual_rate(&t->s->a);
    snprintf(text, sizeof text,
             "--lr auto: no rate found, as the loss ran away after %d batches; %g is taken",
             t->found.count, t->s->a.lr);
    report_warning(&t->s->r, text);
    return EXIT_DONE;
}

int lr_find_run(session *s) {
    train t = {.s = s};
    kn_lr_found found = {0};
    int code = run_folder_check(s);
    if (code == EXIT_DONE)
        code = train_open(&t);
    if (code == EXIT_DONE)
        code = run_folder_make(s, &t.run, "lr-find");
    if (code == EXIT_DONE)
        code = run_folder_write_args(s, &t.run);
    if (code == EXIT_DONE)
        code = find(&t, true, &found);
    if (code == EXIT_DONE && (lr_find_write(&t, &found) != KN_OK ||
                              bad_images_write(s->ctx, &t.run, t.loaders.train) != KN_OK))
        code = session_fail(s);
    if (t.loaders.train != NULL)
        bad_images_warn(s, t.loaders.train);
    if (code == EXIT_DONE)
        lr_find_tell(&t, &found);
    else
        run_folder_discard(&t.run, false);
    train_tell_cache(&t);
    kn_lr_found_free(s->ctx, &found);
    train_close(&t);
    return code;
}
