/* eval_files.c - an evaluation as files: tables as CSV (RFC 4180), the confusion matrix as a
 * picture too. Rows go to the file one by one, so that many pictures take no more memory than few.
 */
#include "evaluation.h"

#include "core/file.h"

#include <kiln/chart.h>

#include <string.h>

/* ---- CSV ---- */

typedef struct table {
    kn_ctx *ctx;
    kn_error error;
    kn_writer file;
    kn_text row; /* the one under way */
} table;

static void open_table(table *t, kn_ctx *ctx, const run_folder *folder, const char *name) {
    char path[PATH_MAX];
    memset(&t->error, 0, sizeof t->error);
    t->ctx = ctx;
    t->row = (kn_text){0};
    if (!run_folder_file(folder, name, path))
        path[0] = '\0'; /* which no file can be */
    kn_writer_open(&t->file, path, &t->error);
}

static void comma(table *t) {
    if (t->row.length > 0)
        kn_text_append(&t->row, ",", 1);
}

/* In quotes where a comma, a quote or a line's end would be taken for the table's. */
static void put_text(table *t, const char *text) {
    comma(t);
    if (strpbrk(text, ",\"\r\n") == NULL) {
        kn_text_printf(&t->row, "%s", text);
        return;
    }
    kn_text_append(&t->row, "\"", 1);
    for (const char *c = text; *c != '\0'; c++)
        kn_text_append(&t->row, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
    kn_text_append(&t->row, "\"", 1);
}

static void put_int(table *t, int64_t value) {
    comma(t);
    kn_text_printf(&t->row, "%lld", (long long)value);
}

/* What is no number is an empty cell, as in history.csv. */
static void put_real(table *t, double value) {
    comma(t);
    if (value - value == 0)
        kn_text_number(&t->row, value, 9);
}

static void end_row(table *t) {
    kn_text_append(&t->row, "\n", 1);
    if (!t->row.failed)
        kn_writer_append(&t->file, t->row.data, t->row.length);
    t->row.length = 0;
}

static void put_titles(table *t, const char *const *title, int count) {
    for (int i = 0; i < count; i++)
        put_text(t, title[i]);
    end_row(t);
}

static kn_status close_table(table *t) {
    if (t->row.failed) {
        kn_error_set(&t->error, KN_ERR_MEMORY, "%s: no memory to write it", t->file.path);
        kn_writer_abort(&t->file);
    } else
        kn_writer_commit(&t->file);
    kn_text_free(&t->row);
    return kn_fail_with(t->ctx, &t->error);
}

/* ---- the tables ---- */

static kn_status write_matrix(kn_ctx *ctx, const kn_confusion *c, char *const *name,
                              const run_folder *folder) {
    table t;
    open_table(&t, ctx, folder, "confusion.csv");
    put_text(&t, "label");
    for (int i = 0; i < c->classes; i++)
        put_text(&t, name[i]);
    end_row(&t);
    for (int label = 0; label < c->classes; label++) {
        put_text(&t, name[label]);
        for (int i = 0; i < c->classes; i++)
            put_int(&t, c->count[(size_t)label * (size_t)c->classes + (size_t)i]);
        end_row(&t);
    }
    return close_table(&t);
}

static kn_status write_classes(const evaluation *e) {
    static const char *const titles[] = {"label", "precision", "recall", "f1", "n"};
    table t;
    open_table(&t, e->s->ctx, &e->out, "per_class.csv");
    put_titles(&t, titles, KN_COUNT(titles));
    for (int i = 0; i < e->confusion.classes; i++) {
        put_text(&t, e->split.vocab.name[i]);
        put_real(&t, e->score[i].precision);
        put_real(&t, e->score[i].recall);
        put_real(&t, e->score[i].f1);
        put_int(&t, e->score[i].support);
        end_row(&t);
    }
    return close_table(&t);
}

static kn_status write_predictions(const evaluation *e) {
    static const char *const titles[] = {"path",       "label", "predicted", "prob",
                                         "label_prob", "rank",  "loss"};
    const kn_predictions *p = &e->p;
    table t;
    open_table(&t, e->s->ctx, &e->out, "predictions.csv");
    put_titles(&t, titles, KN_COUNT(titles));
    for (int64_t i = 0; i < p->samples; i++) {
        put_text(&t, e->split.valid[p->index[i]].path);
        put_text(&t, e->split.vocab.name[p->label[i]]);
        put_text(&t, e->split.vocab.name[p->predicted[i]]);
        put_real(&t, (double)p->prob[i]);
        put_real(&t, (double)p->label_prob[i]);
        put_int(&t, p->rank[i] + 1);
        put_real(&t, (double)p->loss[i]);
        end_row(&t);
    }
    return close_table(&t);
}

/* ---- the picture ---- */

static kn_status draw_matrix(kn_ctx *ctx, const kn_confusion *c, char *const *name,
                             const run_folder *folder) {
    char path[PATH_MAX];
    kn_error error = {0};
    kn_matrix_chart chart = {.title = "Confusion matrix",
                             .names = (const char *const *)name,
                             .counts = c->count,
                             .classes = c->classes};
    if (!run_folder_file(folder, "confusion.svg", path))
        return kn_fail(ctx, KN_ERR_IO, "%.64s...: the path is too long", folder->path);
    if (kn_matrix_chart_write(&chart, path, kn_ctx_allocator(ctx), &error) != KN_OK)
        return kn_fail_with(ctx, &error);
    return KN_OK;
}

kn_status evaluation_write_confusion(kn_ctx *ctx, const kn_confusion *c, char *const *name,
                                     const run_folder *folder) {
    kn_status status = write_matrix(ctx, c, name, folder);
    if (status == KN_OK && c->classes <= MATRIX_DRAWN)
        status = draw_matrix(ctx, c, name, folder);
    return status;
}

kn_status evaluation_write(const evaluation *e) {
    kn_status status =
        evaluation_write_confusion(e->s->ctx, &e->confusion, e->split.vocab.name, &e->out);
    if (status == KN_OK)
        status = write_classes(e);
    return status == KN_OK ? write_predictions(e) : status;
}
