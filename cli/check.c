/* check.c - kiln check: what is in DATA, and what is wrong with it, before a training finds out. */
#include "check_doubles.h"
#include "check_read.h"
#include "check_sheet.h"
#include "column.h"
#include "json_line.h"
#include "number.h"
#include "session.h"

#include <stdlib.h>
#include <unistd.h>

enum { FORMS = KN_FORM_GREY_ALPHA + 1 };

typedef struct check {
    session *s;
    kn_split split;
    check_result *result; /* [files] */
    int *train, *valid;   /* [classes]: pictures of each */
    int *size;            /* [good], for sorting */
    check_doubles doubles;
    int good, bad, deep, turned, form[FORMS];
    int width[3], height[3]; /* least, median, most */
    char sheet[PATH_MAX];    /* where it was drawn; empty: nowhere */
} check;

/* ---- counting ---- */

static int by_value(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static void spread(check *c, bool width, int out[3]) {
    int n = 0;
    for (int i = 0; i < c->split.files.count; i++)
        if (c->result[i].error == NULL)
            c->size[n++] = width ? c->result[i].width : c->result[i].height;
    if (n == 0)
        return;
    qsort(c->size, (size_t)n, sizeof *c->size, by_value);
    out[0] = c->size[0];
    out[1] = c->size[n / 2];
    out[2] = c->size[n - 1];
}

static void count(check *c) {
    for (int i = 0; i < c->split.train_count; i++)
        c->train[c->split.train[i].label]++;
    for (int i = 0; i < c->split.valid_count; i++)
        c->valid[c->split.valid[i].label]++;
    for (int i = 0; i < c->split.files.count; i++) {
        const check_result *r = &c->result[i];
        if (r->error != NULL) {
            c->bad++;
            continue;
        }
        c->good++;
        c->form[r->form]++;
        c->deep += r->bits > 8;
        c->turned += r->orientation > 1;
    }
    spread(c, true, c->width);
    spread(c, false, c->height);
}

static kn_status gather(check *c, const char *folder) {
    const args *a = &c->s->a;
    kn_ctx *ctx = c->s->ctx;
    kn_status status =
        kn_split_folder(ctx, folder, (kn_split_opts){.valid_pct = a->valid_pct}, &c->split);
    if (status == KN_OK)
        status = data_warn_of_split(c->s, &c->split);
    if (status != KN_OK)
        return status;
    size_t files = (size_t)c->split.files.count, classes = (size_t)c->split.vocab.count;
    c->result = kn_calloc(ctx, files, sizeof *c->result, "the pictures' sizes");
    c->size = kn_calloc(ctx, files, sizeof *c->size, "the pictures' sizes");
    c->train = kn_calloc(ctx, classes, sizeof *c->train, "counts");
    c->valid = kn_calloc(ctx, classes, sizeof *c->valid, "counts");
    if (kn_ctx_status(ctx) != KN_OK)
        return kn_ctx_status(ctx);
    check_opts opts = {.workers = a->workers,
                       .max_memory = (size_t)a->max_image_memory << 20,
                       .bar = report_has_bar(&c->s->r)};
    status = check_read_all(ctx, &c->split.files, opts, c->result);
    if (status == KN_OK)
        status = check_doubles_find(ctx, &c->split, c->result, &c->doubles);
    if (status == KN_OK)
        count(c);
    return status;
}

/* ---- telling ---- */

static void json_counts(kn_text *t, const char *key, const int *count, int classes) {
    line_array_open(t, key);
    for (int i = 0; i < classes; i++)
        line_int(t, NULL, count[i]);
    line_array_close(t);
}

static void json_spread(kn_text *t, const char *key, const int spread[3]) {
    line_object_open(t, key);
    line_int(t, "min", spread[0]);
    line_int(t, "median", spread[1]);
    line_int(t, "max", spread[2]);
    line_object_close(t);
}

static void json_bad(const check *c, kn_text *t) {
    line_array_open(t, "bad_images");
    for (int i = 0; i < c->split.files.count; i++) {
        if (c->result[i].error == NULL)
            continue;
        line_object_open(t, NULL);
        line_string(t, "path", c->split.files.path[i]);
        line_string(t, "error", c->result[i].error);
        line_object_close(t);
    }
    line_array_close(t);
}

static void tell_json(const check *c, kn_text *t) {
    const kn_vocab *vocab = &c->split.vocab;
    line_open(t);
    line_string(t, "event", "check");
    line_int(t, "train", c->split.train_count);
    line_int(t, "valid", c->split.valid_count);
    line_array_open(t, "classes");
    for (int i = 0; i < vocab->count; i++)
        line_string(t, NULL, vocab->name[i]);
    line_array_close(t);
    line_int(t, "bad", c->bad);
    line_bool(t, "by_folder", c->split.by_folder);
    json_counts(t, "train_per_class", c->train, vocab->count);
    json_counts(t, "valid_per_class", c->valid, vocab->count);
    json_spread(t, "width", c->width);
    json_spread(t, "height", c->height);
    line_object_open(t, "forms");
    for (int i = 0; i < FORMS; i++)
        line_int(t, kn_image_form_name((kn_image_form)i), c->form[i]);
    line_object_close(t);
    line_int(t, "other_pictures", c->split.files.other_pictures);
    line_int(t, "folder_links", c->split.files.folder_links);
    line_int(t, "deep", c->deep);
    line_int(t, "turned", c->turned);
    json_bad(c, t);
    line_int(t, "same", c->doubles.same);
    line_int(t, "in_both_sets", c->doubles.both);
    line_int(t, "classes_differ", c->doubles.mislabel);
    check_doubles_json(&c->doubles, &c->split, c->result, t);
    if (c->sheet[0] != '\0')
        line_string(t, "sheet", c->sheet);
    line_close(t);
}

static void tell_row(kn_text *t, int width, const char *name, int train, int valid) {
    char left[NUMBER_TEXT], right[NUMBER_TEXT];
    column_text(t, name, width);
    kn_text_printf(t, " %9s %9s\n", number_text(train, left), number_text(valid, right));
}

static void tell_classes(const check *c, kn_text *t) {
    const kn_vocab *vocab = &c->split.vocab;
    int width = 8;
    for (int i = 0; i < vocab->count; i++)
        if (column_width(vocab->name[i]) > width)
            width = column_width(vocab->name[i]);
    column_text(t, "class", width);
    kn_text_printf(t, " %9s %9s\n", "train", "valid");
    for (int i = 0; i < vocab->count; i++)
        tell_row(t, width, vocab->name[i], c->train[i], c->valid[i]);
    tell_row(t, width, "total", c->split.train_count, c->split.valid_count);
    kn_text_append(t, "\n", 1);
}

static void tell(const check *c, kn_text *t) {
    char text[NUMBER_TEXT];
    tell_classes(c, t);
    if (c->split.by_folder)
        kn_text_printf(t, "classes  %d\n", c->split.vocab.count);
    else
        kn_text_printf(t, "classes  %d; %g%% of each held out to validate on\n",
                       c->split.vocab.count, c->s->a.valid_pct);
    kn_text_printf(t, "width    %d to %d, median %d\nheight   %d to %d, median %d\nforms   ",
                   c->width[0], c->width[2], c->width[1], c->height[0], c->height[2], c->height[1]);
    const char *joint = " ";
    for (int i = 0; i < FORMS; i++) {
        if (c->form[i] == 0)
            continue;
        kn_text_printf(t, "%s%s %s", joint, number_text(c->form[i], text),
                       kn_image_form_name((kn_image_form)i));
        joint = ", ";
    }
    if (c->deep > 0)
        kn_text_printf(t, "; %s of 16 bits", number_text(c->deep, text));
    if (c->turned > 0)
        kn_text_printf(t, "; %s turned upright (EXIF)", number_text(c->turned, text));
    kn_text_printf(t, "\nbad      %s\n", number_text(c->bad, text));
    if (c->doubles.same > 0)
        kn_text_printf(t, "doubles  %s; in both sets %d, of different classes %d\n",
                       number_text(c->doubles.same, text), c->doubles.both, c->doubles.mislabel);
    if (c->sheet[0] != '\0')
        kn_text_printf(t, "sheet    %s\n", c->sheet);
}

/* One line for each bad picture; those of --json are in the object. */
static int tell_bad(check *c) {
    bool json = c->s->r.json;
    c->s->r.json = false;
    for (int i = 0; i < c->split.files.count; i++)
        if (c->result[i].error != NULL)
            report_fail(&c->s->r, EXIT_DATA, "%s", c->result[i].error);
    check_doubles_tell(&c->doubles, &c->split, c->result, &c->s->r);
    c->s->r.json = json;
    bool wrong = c->bad > 0 || c->doubles.both > 0 || c->doubles.mislabel > 0;
    return wrong ? EXIT_DATA : EXIT_DONE;
}

static void release(check *c) {
    kn_ctx *ctx = c->s->ctx;
    for (int i = 0; c->result != NULL && i < c->split.files.count; i++)
        kn_free(ctx, c->result[i].error);
    kn_free(ctx, c->result);
    kn_free(ctx, c->size);
    kn_free(ctx, c->train);
    kn_free(ctx, c->valid);
    check_doubles_free(ctx, &c->doubles);
    kn_split_free(ctx, &c->split);
}

int check_run(session *s) {
    check c = {.s = s};
    char folder[PATH_MAX];
    int code = data_folder(s, s->a.word[0], folder);
    if (code != EXIT_DONE)
        return code;
    if (gather(&c, folder) != KN_OK)
        code = session_fail(s);
    if (code == EXIT_DONE && s->a.sheet)
        code = check_sheet(s, &c.split, c.result, c.sheet);
    if (code == EXIT_DONE) {
        kn_text t = {0};
        if (s->r.json)
            tell_json(&c, &t);
        else
            tell(&c, &t);
        code = tell_bad(&c);
        report_out(&s->r, &t);
    }
    release(&c);
    return code;
}
