/* train_report.c - what kiln train says: events for programs, lines for people. */
#include "bad_images.h"
#include "evaluation.h"
#include "json_line.h"
#include "number.h"
#include "resume.h"
#include "shell_word.h"
#include "train.h"

#include "learner/history_line.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- before ---- */

static void data_event(train *t) {
    kn_text out = {0};
    line_open(&out);
    line_string(&out, "event", "data");
    line_int(&out, "train", t->split.train_count);
    line_int(&out, "valid", t->split.valid_count);
    line_array_open(&out, "classes");
    for (int i = 0; i < t->split.vocab.count; i++)
        line_string(&out, NULL, t->split.vocab.name[i]);
    line_array_close(&out);
    line_int(&out, "bad", 0); /* none was read yet */
    line_int(&out, "batches", kn_loader_len(t->loaders.train));
    line_close(&out);
    report_out(&t->s->r, &out);
}

void train_tell_data(train *t) {
    char to_train[NUMBER_TEXT], to_validate[NUMBER_TEXT], numbers[NUMBER_TEXT];
    const args *a = &t->s->a;
    if (t->s->r.json)
        data_event(t);
    report_note(&t->s->r, "%s pictures to train on, %s to validate on, %d classes",
                number_text(t->split.train_count, to_train),
                number_text(t->split.valid_count, to_validate), t->split.vocab.count);
    report_note(&t->s->r, "%s, %s numbers; %s", a->model,
                number_text(kn_module_numel(t->model), numbers),
                kn_device_about(kn_device_default(t->s->ctx)));
}

static void weights_event(train *t) {
    kn_text out = {0};
    line_open(&out);
    line_string(&out, "event", "weights");
    line_string(&out, "path", t->s->a.weights);
    line_string(&out, "head", t->weights.head);
    line_int(&out, "classes", t->weights.file_classes);
    line_bool(&out, "head_replaced", t->weights.head_replaced);
    line_close(&out);
    report_out(&t->s->r, &out);
}

void train_tell_weights(train *t) {
    const char *path = t->s->a.weights;
    if (path == NULL || resume_has_checkpoint(t->s))
        return;
    if (t->s->r.json)
        weights_event(t);
    if (t->weights.head_replaced)
        report_note(&t->s->r,
                    "weights of %s; its head %s is for %lld %sclasses, so a new one for %d takes "
                    "its place",
                    path, t->weights.head, (long long)t->weights.file_classes,
                    t->weights.file_classes == t->split.vocab.count ? "other " : "",
                    t->split.vocab.count);
    else
        report_note(&t->s->r, "weights of %s, the head included", path);
    if (t->s->a.fine_tune > 0)
        report_note(&t->s->r, "fine-tuning: 1 epoch of the head alone, then %d of all",
                    t->s->a.fine_tune);
}

void train_tell_rate(train *t, const kn_lr_suggestion *found) {
    if (t->s->r.json) {
        kn_text out = {0};
        line_open(&out);
        line_string(&out, "event", "lr_found");
        line_real(&out, "lr", t->s->a.lr);
        line_real(&out, "valley", found->valley);
        line_close(&out);
        report_out(&t->s->r, &out);
    }
    kn_text text = {0};
    kn_text_number(&text, t->s->a.lr, 9);
    report_note(&t->s->r, "learning rate %s, found: as --lr %s", text.failed ? "" : text.data,
                text.failed ? "" : text.data);
    kn_text_free(&text);
}

/* ---- meanwhile ---- */

void train_on_epoch(void *user, const kn_history_row *row) {
    train *t = user;
    if (t->s->r.json) {
        kn_text out = {0};
        kn_history_line(&out, row);
        report_out(&t->s->r, &out); /* a reader that went away is no reason to lose the run */
    }
    if (row->epoch == 0)
        train_tell_room(t);
    if (!isfinite(row->train_loss) || !isfinite(row->valid_loss))
        report_warning(&t->s->r, "the loss is no longer a number; a lower --lr may help");
}

/* ---- after ---- */

/* The most memory that the process had at a time, in bytes. */
static int64_t peak_memory(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss << 10 : 0;
}

static void done_lines(const train *t, kn_text *out, const char *model, int best, double acc) {
    const char *run = t->run.path;
    bool drawn = t->best.samples > 0 && t->best.classes <= MATRIX_DRAWN;
    int epochs, waited = t->s->a.patience;
    kn_recorder_rows(t->learner, &epochs);
    if (kn_early_stopping_at(t->learner) >= 0)
        kn_text_printf(out, "stopped early: %d epoch%s without a better accuracy\n", waited,
                       waited == 1 ? "" : "s");
    kn_text_printf(out,
                   "best accuracy %.4f in epoch %d; %d epoch%s in %.1f s, %.0f MB of memory\n"
                   "model     %s\n"
                   "history   %s/history.csv\n"
                   "pictures  %s/loss.svg, accuracy.svg, schedule.svg, %ssheet.svg%s\n"
                   "report    %s/report.html\n"
                   "try      ",
                   acc, best, epochs, epochs == 1 ? "" : "s", t->seconds,
                   (double)peak_memory() / 1e6, model, run, run, drawn ? "confusion.svg, " : "",
                   t->s->a.activations ? ", activations.svg" : "", run);
    shell_word(out, t->s->program);
    kn_text_append(out, " predict", 8);
    shell_path(out, model);
    shell_path(out, t->split.valid[0].path);
    kn_text_append(out, "\n", 1);
    if (bad_images_count(t) > 0)
        kn_text_printf(out, "left out  %d bad picture%s: %s/bad_images.txt\n", bad_images_count(t),
                       bad_images_count(t) == 1 ? "" : "s", run);
}

static void done_event(const train *t, kn_text *out, const char *model, int best, double acc,
                       const char *sha256) {
    line_open(out);
    line_string(out, "event", "done");
    line_string(out, "run", t->run.path);
    line_string(out, "model", model);
    line_string(out, "weights_sha256", sha256);
    line_real(out, "valid_acc", kn_track_results(t->learner, false).acc);
    line_int(out, "best_epoch", best);
    line_real(out, "best_acc", acc);
    line_real(out, "seconds", t->seconds);
    line_int(out, "peak_memory", peak_memory()); /* bytes */
    line_bool(out, "stopped_early", kn_early_stopping_at(t->learner) >= 0);
    line_int(out, "bad", bad_images_count(t));
    line_close(out);
}

/* The best model, or, if somebody took that away, what the last epoch left. */
static bool model_path(const train *t, char path[PATH_MAX]) {
    char gone[PATH_MAX], text[2 * PATH_MAX + 100];
    if (!run_folder_file(&t->run, "model.safetensors", path))
        return false;
    if (access(path, F_OK) == 0)
        return true;
    snprintf(gone, sizeof gone, "%s", path);
    if (!run_folder_file(&t->run, "last.safetensors", path))
        return false;
    snprintf(text, sizeof text, "%s is gone, and with it the best weights; %s has the last", gone,
             path);
    report_warning(&t->s->r, text);
    return true;
}

static void warn_of_class_weights(const train *t) {
    const char *how = t->s->a.class_weights;
    int bad;
    kn_loader_bad(t->loaders.train, &bad);
    if (bad > 0 && how != NULL && strcmp(how, "balanced") == 0)
        report_warning(&t->s->r, "--class-weights balanced counted the bad pictures, too; kiln "
                                 "check names them, and without their files it counts the others");
}

kn_status train_tell_done(train *t) {
    char model[PATH_MAX], sha256[65];
    double acc;
    int best = kn_save_model_best(t->learner, &acc);
    warn_of_class_weights(t);
    if (!model_path(t, model))
        return kn_fail(t->s->ctx, KN_ERR_IO, "%.64s...: the path is too long", t->run.path);
    kn_status status = kn_weights_sha256(t->model, sha256);
    if (status != KN_OK)
        return status;
    kn_text out = {0};
    if (t->s->r.json)
        done_event(t, &out, model, best, acc, sha256);
    else
        done_lines(t, &out, model, best, acc);
    report_out(&t->s->r, &out);
    return KN_OK;
}
