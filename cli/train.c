/* train.c - kiln train: from a folder of pictures to a run folder with a model. The parts are those
 * of the chapter: split, datasets, loaders, model, learner, callbacks, fit. */
#include "train.h"

#include "evaluation.h"
#include "interrupt.h"
#include "resume.h"
#include "train_page.h"

#include "core/clock.h"

#include <math.h>
#include <stdio.h>

/* Of the best epoch, from its own validation: no further pass is needed. */
static kn_status write_confusion(train *t) {
    kn_confusion c;
    if (t->best.samples == 0) {
        report_note(&t->s->r, "no confusion matrix: no epoch of this run gave the best model");
        return KN_OK;
    }
    kn_status status = kn_confusion_from(t->s->ctx, &t->best, &c);
    if (status == KN_OK)
        status = evaluation_write_confusion(t->s->ctx, &c, t->split.vocab.name, &t->run);
    kn_confusion_free(t->s->ctx, &c);
    return status;
}

/* A checkpoint that was not written is not lost sight of: the run is there, but it may not be
 * possible to go on with it. */
static int tell_done(train *t) {
    kn_checkpoint_report c = kn_checkpoint_cb_report(t->learner);
    if (train_tell_done(t) != KN_OK)
        return session_fail(t->s);
    if (c.failed == 0)
        return EXIT_DONE;
    return report_fail(&t->s->r, EXIT_FAILED, "%lld of %lld checkpoints could not be written: %s",
                       (long long)c.failed, (long long)c.failed + (long long)c.written, c.reason);
}

static int tell_interrupted(const train *t, int best) {
    kn_checkpoint_report c = kn_checkpoint_cb_report(t->learner);
    char model[PATH_MAX + 64] = "";
    if (best >= 0)
        snprintf(model, sizeof model, "; %s/model.safetensors is the best so far, of epoch %d",
                 t->run.path, best);
    if (c.last_failed || (c.written == 0 && !resume_has_checkpoint(t->s)))
        return report_fail(&t->s->r, EXIT_FAILED, "interrupted, and the batch is not saved: %s%s",
                           c.reason, model);
    kn_text words = {0};
    resume_command(t, &words);
    int code = report_fail(&t->s->r, EXIT_INTERRUPTED, "interrupted and saved%s; to go on:%s",
                           model, words.failed ? "" : words.data);
    kn_text_free(&words);
    return code;
}

/* After a picture that is at fault the data will be another, with which no checkpoint goes on; or,
 * if it could not be reached, the same. What took less than a minute is quickly made again. */
static bool is_worthless(const train *t, int code) {
    return code == EXIT_DATA && t->seconds < 60;
}

/* A signal that comes when all is done stops nothing. */
static bool stopped(const train *t) {
    int count;
    kn_recorder_rows(t->learner, &count);
    return interrupted() && count < t->s->a.epochs;
}

static int fit(train *t) {
    double began = kn_clock();
    kn_status status = kn_learner_fit(t->learner, t->s->a.epochs);
    t->seconds = kn_clock() - began;
    if (t->s->resume != NULL)
        t->seconds = fmax(t->seconds, train_page_seconds(t));
    int best = kn_save_model_best(t->learner, NULL);
    if (status == KN_OK && best >= 0)
        status = write_confusion(t);
    if (status == KN_OK)
        status = train_page_write(t, stopped(t) ? PAGE_INTERRUPTED : PAGE_DONE);
    if (status != KN_OK) {
        (void)!train_page_write(t, PAGE_FAILED); /* the first failure is the one that is told */
        int code = session_fail(t->s);
        if (best >= 0)
            report_note(&t->s->r, "%s/model.safetensors is the best so far, of epoch %d",
                        t->run.path, best);
        else if (code == EXIT_DATA && !is_worthless(t, code) &&
                 kn_checkpoint_cb_report(t->learner).written > 0)
            report_note(&t->s->r,
                        "%s keeps its checkpoint: kiln train --resume goes on when the data is "
                        "again what it was",
                        t->run.path);
        return code;
    }
    return stopped(t) ? tell_interrupted(t, best) : tell_done(t);
}

/* A new training: its rate, its folder. */
static int begin(train *t) {
    session *s = t->s;
    int code = run_folder_check(s);
    if (code == EXIT_DONE)
        code = train_open(t);
    if (code == EXIT_DONE) /* first, as it may fail, and a rate takes time to find */
        code = run_folder_make(s, &t->run, "runs");
    if (code == EXIT_DONE && s->a.lr == 0)
        code = train_find_rate(t);
    interrupt_install(); /* from here on a run can be gone on with */
    if (code == EXIT_DONE)
        code = run_folder_write_args(s, &t->run);
    if (code == EXIT_DONE && t->found.count > 0 && lr_find_write(t, &t->found) != KN_OK)
        code = session_fail(s);
    return code;
}

/* One that was stopped. */
static int go_on(train *t) {
    t->run = t->s->resume->run;
    interrupt_install();
    resume_tell(t);
    int code = train_open(t);
    if (code == EXIT_DONE)
        code = resume_check_data(t);
    if (code == EXIT_DONE && lr_find_read(t, &t->found) != KN_OK)
        code = session_fail(t->s);
    return code;
}

int train_run(session *s) {
    train t = {.s = s};
    int code = s->resume != NULL ? go_on(&t) : begin(&t);
    if (code == EXIT_DONE && (train_open_learner(&t) != KN_OK || resume_learner(&t) != KN_OK))
        code = session_fail(s);
    if (code == EXIT_DONE)
        code = fit(&t);
    train_tell_cache(&t);
    if (code != EXIT_DONE)
        run_folder_discard(&t.run, is_worthless(&t, code));
    train_close(&t);
    return code;
}
