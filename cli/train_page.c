/* train_page.c - see train_page.h. The order is that of the questions: how good is it, how did it
 * get there, what does it confuse, what did it see, what was it given, with what was it made. */
#include "train_page.h"

#include "bad_images.h"
#include "core/ctx.h"
#include "core/file.h"
#include "formats/html.h"
#include "learner/history_charts.h"
#include "evaluation.h"
#include "number.h"
#include "page_parts.h"
#include "shell_word.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    REFRESH = 10,       /* seconds */
    DRAWN = 100,        /* classes up to which the matrix is part of the page */
    CHART_HEIGHT = 400, /* pixels; of the narrow ones: */
    NARROW_HEIGHT = 280,
};

/* ---- words ---- */

static const char *time_text(double seconds, char text[PAGE_CELL]) {
    int64_t whole = (int64_t)(seconds + 0.5);
    if (whole < 60)
        snprintf(text, PAGE_CELL, "%.1f s", seconds);
    else if (whole < 3600)
        snprintf(text, PAGE_CELL, "%" PRId64 " min %" PRId64 " s", whole / 60, whole % 60);
    else
        snprintf(text, PAGE_CELL, "%" PRId64 " h %" PRId64 " min", whole / 3600, whole % 3600 / 60);
    return text;
}

static const char *bytes_text(int64_t bytes, char text[PAGE_CELL]) {
    if (bytes < 1000000)
        snprintf(text, PAGE_CELL, "%.0f kB", (double)bytes / 1e3);
    else
        snprintf(text, PAGE_CELL, "%.1f MB", (double)bytes / 1e6);
    return text;
}

/* ---- the top ---- */

double train_page_seconds(const train *t) {
    int rows;
    const kn_history_row *row = kn_recorder_rows(t->learner, &rows);
    double sum = 0;
    for (int i = 0; i < rows; i++)
        sum += row[i].seconds;
    return sum;
}

static void put_top(train *t, kn_text *out, page_state state, int rows) {
    static const char *const formats[] = {[PAGE_TRAINING] = "training: %d of %d epochs are done",
                                          [PAGE_DONE] = "%d of %d epochs",
                                          [PAGE_INTERRUPTED] = "interrupted after %d of %d epochs",
                                          [PAGE_FAILED] =
                                              "ended by a failure after %d of %d epochs"};
    const args *a = &t->s->a;
    kn_text title = {0};
    char done[96], when[32] = "", subtitle[160];
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) != NULL)
        strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &utc);
    if (state == PAGE_DONE)
        snprintf(done, sizeof done, "%d epoch%s", rows, rows == 1 ? "" : "s");
    else
        snprintf(done, sizeof done, formats[state], rows, a->epochs);
    snprintf(subtitle, sizeof subtitle, "%s; %s", done, when);
    kn_text_printf(&title, "%s on %s", a->model, a->word[0]);
    kn_html_open(out, title.data != NULL ? title.data : "", subtitle,
                 state == PAGE_TRAINING ? REFRESH : 0);
    out->failed = out->failed || title.failed;
    kn_text_free(&title);
}

static void put_facts(train *t, kn_text *out, const kn_history_row *row, int rows, int best) {
    char text[PAGE_CELL];
    if (best < 0 || best >= rows) /* of an earlier part of a run that is not in the history */
        best = rows - 1;
    kn_html_section(out, NULL);
    kn_html_facts_open(out);
    kn_html_fact(out, "best accuracy", page_real(100 * row[best].valid_acc, "%.2f%%", text));
    snprintf(text, sizeof text, "%d", row[best].epoch);
    kn_html_fact(out, "in epoch", text);
    kn_html_fact(out, "its validation loss", page_real(row[best].valid_loss, "%.4f", text));
    kn_html_fact(out, "time", time_text(train_page_seconds(t), text));
    kn_html_fact(out, "parameters", number_text(kn_module_numel(t->model), text));
    kn_html_facts_close(out);
    kn_html_section_end(out);
}

/* ---- charts ---- */

/* Both widths of one chart, which it frees; nothing after a failure. */
static void put_drawing(kn_text *out, kn_status status, kn_text *wide, kn_text *narrow) {
    if (status == KN_OK) {
        kn_html_section(out, NULL);
        kn_html_drawing(out, wide, narrow);
        kn_html_section_end(out);
    }
    kn_text_free(wide);
    kn_text_free(narrow);
}

static kn_status put_charts(train *t, kn_text *out) {
    kn_status status = KN_OK;
    for (int i = 0; i < KN_HISTORY_CHARTS && status == KN_OK; i++) {
        kn_text wide = {0}, narrow = {0};
        kn_history_chart chart = (kn_history_chart)i;
        if (!kn_recorder_shows(t->learner, chart))
            continue;
        status = kn_recorder_draw(t->learner, chart, KN_HTML_WIDE, CHART_HEIGHT, &wide);
        if (status == KN_OK)
            status = kn_recorder_draw(t->learner, chart, KN_HTML_NARROW, NARROW_HEIGHT, &narrow);
        put_drawing(out, status, &wide, &narrow);
    }
    return status;
}

/* How --lr auto came to its rate. */
static kn_status put_found(const train *t, kn_text *out) {
    kn_text wide = {0}, narrow = {0};
    kn_ctx *ctx = t->s->ctx;
    if (t->found.count == 0)
        return KN_OK;
    kn_status status = lr_find_draw(ctx, &t->found, KN_HTML_WIDE, CHART_HEIGHT, &wide);
    if (status == KN_OK)
        status = lr_find_draw(ctx, &t->found, KN_HTML_NARROW, NARROW_HEIGHT, &narrow);
    put_drawing(out, status, &wide, &narrow);
    return status;
}

static kn_status put_confusion(train *t, kn_text *out) {
    kn_confusion c;
    if (t->best.samples == 0)
        return KN_OK;
    if (t->best.classes > DRAWN) {
        kn_html_section(out, "Confusion");
        kn_html_note(out,
                     t->best.classes <= MATRIX_DRAWN
                         ? "Too many classes for this page: see confusion.svg and confusion.csv."
                         : "Too many classes to draw: see confusion.csv.");
        kn_html_section_end(out);
        return KN_OK;
    }
    kn_status status = kn_confusion_from(t->s->ctx, &t->best, &c);
    if (status != KN_OK)
        return status;
    page_confusion(out, &c, t->split.vocab.name);
    kn_confusion_free(t->s->ctx, &c);
    return KN_OK;
}

/* ---- tables ---- */

static void put_history(kn_text *out, const kn_history_row *row, int rows, int best) {
    static const char *const heads[] = {"epoch",     "train loss", "train acc", "valid loss",
                                        "valid acc", "rate",       "seconds",   "images/s"};
    enum { COLUMNS = KN_COUNT(heads) };
    kn_html_section(out, "Epochs, the best in bold");
    kn_html_table_open(out, heads, COLUMNS);
    for (int i = 0; i < rows; i++) {
        const kn_history_row *r = &row[i];
        char text[COLUMNS][PAGE_CELL];
        snprintf(text[0], PAGE_CELL, "%d", r->epoch);
        const char *cells[COLUMNS] = {text[0],
                                      page_real(r->train_loss, "%.4f", text[1]),
                                      page_real(r->train_acc, "%.4f", text[2]),
                                      page_real(r->valid_loss, "%.4f", text[3]),
                                      page_real(r->valid_acc, "%.4f", text[4]),
                                      page_real(r->lr, "%.3g", text[5]),
                                      page_real(r->seconds, "%.2f", text[6]),
                                      page_real(r->train_img_per_s, "%.0f", text[7])};
        kn_html_row(out, cells, COLUMNS, r->epoch == best);
    }
    kn_html_table_close(out);
    kn_html_section_end(out);
}

static void put_norm(kn_text *out, const char *name, const float value[3]) {
    char text[PAGE_CELL];
    snprintf(text, sizeof text, "%.4f, %.4f, %.4f", (double)value[0], (double)value[1],
             (double)value[2]);
    kn_html_pair(out, name, text, false);
}

static void put_model(train *t, kn_text *out) {
    char text[PAGE_CELL], path[PATH_MAX];
    struct stat st;
    kn_html_section(out, "Model");
    kn_html_pairs_open(out);
    kn_html_pair(out, "architecture", t->s->a.model, false);
    kn_html_pair(out, "parameters", number_text(kn_module_numel(t->model), text), false);
    if (run_folder_file(&t->run, "model.safetensors", path) && stat(path, &st) == 0)
        kn_html_pair(out, "model.safetensors", bytes_text((int64_t)st.st_size, text), false);
    snprintf(text, sizeof text, "%d by %d pixels", t->s->a.img_size, t->s->a.img_size);
    kn_html_pair(out, "input", text, false);
    put_norm(out, "mean", t->norm.mean);
    put_norm(out, "std", t->norm.std);
    kn_html_pair(out, "classes", number_text(t->split.vocab.count, text), false);
    kn_html_pair(out, "trained on", number_text(t->split.train_count, text), false);
    kn_html_pair(out, "validated on", number_text(t->split.valid_count, text), false);
    int bad = bad_images_named(t);
    if (bad > 0) {
        snprintf(text, sizeof text, "%d bad one%s: bad_images.txt", bad, bad == 1 ? "" : "s");
        kn_html_pair(out, "left out of these", text, false);
    }
    kn_html_pairs_close(out);
    kn_html_section_end(out);
}

static void put_made_with(train *t, kn_text *out, const kn_history_row *row, int rows) {
    char text[PAGE_CELL];
    kn_html_section(out, "Made with");
    kn_html_pairs_open(out);
    kn_html_pair(out, "version", "kiln " KN_VERSION, false);
    kn_html_pair(out, "device", kn_device_about(kn_device_default(t->s->ctx)), false);
    snprintf(text, sizeof text, "%d to compute, %d to read pictures", kn_ctx_threads(t->s->ctx),
             kn_loader_workers(t->loaders.train));
    kn_html_pair(out, "threads", text, false);
    page_real(row[rows - 1].train_img_per_s, "%.0f pictures a second", text);
    kn_html_pair(out, "last epoch", text, false);
    kn_html_pairs_close(out);
    kn_html_section_end(out);
}

/* ---- the command ---- */

/* The value as somebody would type it; empty when there is none. */
static void append_value(kn_text *out, const option *o, const args *a) {
    const char *at = (const char *)a + o->at;
    const double *real = (const double *)(const void *)at;
    const char *text;
    switch (o->kind) {
    case KIND_FLAG:
        kn_text_printf(out, "%s", *(const bool *)(const void *)at ? "yes" : "no");
        break;
    case KIND_INT:
    case KIND_COUNT:
        kn_text_printf(out, "%d", *(const int *)(const void *)at);
        break;
    case KIND_SEED:
        kn_text_printf(out, "%" PRIu64, *(const uint64_t *)(const void *)at);
        break;
    case KIND_REAL:
    case KIND_RATE:
        kn_text_number(out, *real, 9);
        break;
    case KIND_RGB:
        for (int c = 0; c < 3 && a->std[0] > 0; c++) {
            kn_text_printf(out, "%s", c > 0 ? "," : "");
            kn_text_number(out, real[c], 6);
        }
        break;
    case KIND_CHOICE:
    case KIND_MODEL:
    case KIND_TEXT:
        text = *(const char *const *)(const void *)at;
        kn_text_printf(out, "%s", text != NULL ? text : "");
        break;
    }
}

static void put_line(const train *t, kn_text *out) {
    const args *a = &t->s->a;
    const option *o;
    kn_text line = {0}, word = {0};
    kn_text_printf(&line, "kiln %s", a->command->name);
    for (int i = 0; i < a->words; i++)
        shell_word(&line, a->word[i]);
    for (int i = 0; (o = option_at(i)) != NULL; i++) {
        if (!a->typed[i] || !(o->commands & a->command->id))
            continue;
        kn_text_printf(&line, " --%s", o->name);
        if (o->kind == KIND_FLAG)
            continue;
        word.length = 0;
        append_value(&word, o, a);
        shell_word(&line, word.data != NULL ? word.data : "");
    }
    kn_html_code(out, line.data != NULL ? line.data : "");
    out->failed = out->failed || line.failed || word.failed;
    kn_text_free(&line);
    kn_text_free(&word);
}

/* Every option; in bold what was given. */
static void put_command(const train *t, kn_text *out) {
    const args *a = &t->s->a;
    const option *o;
    kn_text value = {0};
    kn_html_section(out, "Command");
    put_line(t, out);
    kn_html_pairs_open(out);
    for (int i = 0; (o = option_at(i)) != NULL; i++) {
        if (!(o->commands & a->command->id) || o->commands == CMD_ALL)
            continue; /* those of all commands change only what is said */
        value.length = 0;
        append_value(&value, o, a);
        bool empty = value.length == 0;
        kn_html_pair(out, o->name, empty ? "\xE2\x80\x93" : value.data, a->typed[i]);
    }
    kn_html_pairs_close(out);
    kn_html_section_end(out);
    out->failed = out->failed || value.failed;
    kn_text_free(&value);
}

/* ---- the page ---- */

static kn_status put_page(train *t, kn_text *out, page_state state) {
    int rows, best = kn_save_model_best(t->learner, NULL);
    const kn_history_row *row = kn_recorder_rows(t->learner, &rows);
    put_top(t, out, state, rows);
    put_facts(t, out, row, rows, best);
    kn_status status = put_charts(t, out);
    if (status == KN_OK)
        status = put_found(t, out);
    if (status == KN_OK)
        status = put_confusion(t, out);
    put_history(out, row, rows, best);
    if (t->pictures.length > 0) {
        kn_html_section(out, t->went_on ? "First batch since the training went on"
                                        : "First training batch");
        kn_html_grid_open(out);
        kn_text_append(out, t->pictures.data, t->pictures.length);
        kn_html_grid_close(out);
        kn_html_section_end(out);
    }
    put_command(t, out);
    put_model(t, out);
    put_made_with(t, out, row, rows);
    kn_html_close(out);
    return status;
}

kn_status train_page_write(train *t, page_state state) {
    char path[PATH_MAX];
    int rows;
    kn_recorder_rows(t->learner, &rows);
    if (rows == 0) /* there is nothing to show */
        return KN_OK;
    if (!run_folder_file(&t->run, "report.html", path))
        return kn_fail(t->s->ctx, KN_ERR_IO, "%.64s...: the path is too long", t->run.path);
    kn_text out = {0};
    kn_status status = put_page(t, &out, state);
    kn_error error = {0};
    if (status == KN_OK && out.failed)
        status = kn_error_set(&error, KN_ERR_MEMORY, "%s: no memory to write it", path);
    else if (status == KN_OK)
        status = kn_file_write(path, out.data, out.length, &error);
    kn_text_free(&out);
    kn_fail_with(t->s->ctx, &error);
    return status;
}
