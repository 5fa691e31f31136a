/* eval.c - kiln eval: how good a model is, and where it goes wrong. */
#include "bad_images.h"
#include "column.h"
#include "evaluation.h"
#include "json_line.h"
#include "number.h"

#include <math.h>
#include <stdlib.h>

/* With so many classes at most, all are told; of more the worst. Mistakes: the most frequent. */
enum { TABLE_CLASSES = 40, WORST_CLASSES = 20, TOP = 5, PAIRS = 10 };

/* ---- for programs ---- */

static void put_score(kn_text *t, const kn_class_score *score) {
    line_real(t, "precision", score->precision);
    line_real(t, "recall", score->recall);
    line_real(t, "f1", score->f1);
}

static void put_average(kn_text *t, const char *key, const evaluation *e, bool weighted) {
    kn_class_score average = kn_average_score(&e->confusion, weighted);
    line_object_open(t, key);
    put_score(t, &average);
    line_object_close(t);
}

static void put_classes(kn_text *t, const evaluation *e) {
    line_array_open(t, "per_class");
    for (int i = 0; i < e->confusion.classes; i++) {
        line_object_open(t, NULL);
        line_string(t, "label", e->split.vocab.name[i]);
        put_score(t, &e->score[i]);
        line_int(t, "n", e->score[i].support);
        line_object_close(t);
    }
    line_array_close(t);
}

static void put_confused(kn_text *t, const evaluation *e) {
    kn_confused pair[PAIRS];
    int pairs = kn_most_confused(&e->confusion, 1, PAIRS, pair);
    line_array_open(t, "most_confused");
    for (int i = 0; i < pairs; i++) {
        line_object_open(t, NULL);
        line_string(t, "label", e->split.vocab.name[pair[i].label]);
        line_string(t, "predicted", e->split.vocab.name[pair[i].predicted]);
        line_int(t, "n", pair[i].count);
        line_object_close(t);
    }
    line_array_close(t);
}

static void tell_json(const evaluation *e, kn_text *t) {
    int bad;
    kn_loader_bad(e->loader, &bad);
    line_open(t);
    line_string(t, "event", "eval");
    line_int(t, "n", e->results.samples);
    line_real(t, "loss", e->results.loss);
    line_real(t, "acc", e->results.acc);
    if (e->confusion.classes > TOP)
        line_real(t, "top5_acc", kn_top_k_accuracy(&e->p, TOP));
    put_average(t, "macro", e, false);
    put_average(t, "weighted", e, true);
    put_classes(t, e);
    put_confused(t, e);
    line_int(t, "bad", bad);
    if (e->held_out)
        line_bool(t, "held_out", true);
    if (e->s->a.tta)
        line_bool(t, "tta", true);
    if (e->written)
        line_string(t, "output", e->out.path);
    line_real(t, "seconds", e->results.seconds);
    line_close(t);
}

/* ---- for people ---- */

static void tell_row(kn_text *t, int width, const char *name, const kn_class_score *score) {
    char count[NUMBER_TEXT];
    column_text(t, name, width);
    kn_text_printf(t, " %10.4f %8.4f %8.4f %9s\n", score->precision, score->recall, score->f1,
                   number_text(score->support, count));
}

typedef struct shown {
    int class;
    double f1;
} shown;

static int by_f1(const void *a, const void *b) {
    const shown *x = a, *y = b;
    if (x->f1 != y->f1)
        return x->f1 < y->f1 ? -1 : 1;
    return x->class - y->class;
}

/* The classes to tell, in order; NULL without memory. */
static shown *choose(const evaluation *e, int *count) {
    int classes = e->confusion.classes;
    shown *list = calloc((size_t)classes + 1, sizeof *list);
    for (int i = 0; i < classes && list != NULL; i++)
        list[i] = (shown){i, e->score[i].f1};
    *count = classes;
    if (list != NULL && classes > TABLE_CLASSES) {
        qsort(list, (size_t)classes, sizeof *list, by_f1);
        *count = WORST_CLASSES;
    }
    return list;
}

static void tell_classes(const evaluation *e, kn_text *t) {
    int count, width = column_width("weighted mean");
    shown *list = choose(e, &count);
    if (list == NULL) {
        t->failed = true;
        return;
    }
    for (int i = 0; i < count; i++)
        if (column_width(e->split.vocab.name[list[i].class]) > width)
            width = column_width(e->split.vocab.name[list[i].class]);
    kn_text_append(t, "\n", 1);
    column_text(t, "class", width);
    kn_text_printf(t, " %10s %8s %8s %9s\n", "precision", "recall", "f1", "n");
    for (int i = 0; i < count; i++)
        tell_row(t, width, e->split.vocab.name[list[i].class], &e->score[list[i].class]);
    if (count < e->confusion.classes)
        kn_text_printf(t, "the %d of %d classes with the lowest f1; with -o DIR all are written\n",
                       count, e->confusion.classes);
    kn_class_score macro = kn_average_score(&e->confusion, false),
                   weighted = kn_average_score(&e->confusion, true);
    tell_row(t, width, "mean", &macro);
    tell_row(t, width, "weighted mean", &weighted);
    free(list);
}

static void tell_confused(const evaluation *e, kn_text *t) {
    kn_confused pair[PAIRS];
    char *const *name = e->split.vocab.name;
    int pairs = kn_most_confused(&e->confusion, 1, PAIRS, pair), width = column_width("label"),
        to = column_width("predicted");
    if (pairs == 0)
        return;
    for (int i = 0; i < pairs; i++) {
        int left = column_width(name[pair[i].label]), right = column_width(name[pair[i].predicted]);
        width = left > width ? left : width;
        to = right > to ? right : to;
    }
    kn_text_printf(t, "\nmost confused\n");
    column_text(t, "label", width + 2);
    column_text(t, "predicted", to);
    kn_text_printf(t, " %9s\n", "n");
    for (int i = 0; i < pairs; i++) {
        char count[NUMBER_TEXT];
        column_text(t, name[pair[i].label], width + 2);
        column_text(t, name[pair[i].predicted], to);
        kn_text_printf(t, " %9s\n", number_text(pair[i].count, count));
    }
}

static void tell(const evaluation *e, kn_text *t) {
    char count[NUMBER_TEXT];
    kn_text_printf(t, "%s pictures: loss %.4f, accuracy %.4f\n",
                   number_text(e->results.samples, count), e->results.loss, e->results.acc);
    if (e->confusion.classes > TOP)
        kn_text_printf(t, "top-5 accuracy %.4f\n", kn_top_k_accuracy(&e->p, TOP));
    tell_classes(e, t);
    tell_confused(e, t);
    if (e->written)
        kn_text_printf(t, "\nfiles     %s/%sconfusion.csv, per_class.csv, predictions.csv\n",
                       e->out.path, e->confusion.classes <= MATRIX_DRAWN ? "confusion.svg, " : "");
}

/* ---- the command ---- */

static int write_files(evaluation *e) {
    int code = run_folder_open(e->s, &e->out, "eval");
    if (code == EXIT_DONE &&
        (evaluation_write(e) != KN_OK || bad_images_write(e->s->ctx, &e->out, e->loader) != KN_OK))
        code = session_fail(e->s);
    if (code != EXIT_DONE)
        run_folder_discard(&e->out, false);
    e->written = code == EXIT_DONE;
    return code;
}

int eval_run(session *s) {
    evaluation e;
    int code = evaluation_open(&e, s);
    if (code == EXIT_DONE) {
        kn_text t = {0};
        if (s->a.output !=
            NULL) /* what was computed is told, whether there is room for it or not */
            code = write_files(&e);
        if (s->r.json)
            tell_json(&e, &t);
        else
            tell(&e, &t);
        report_out(&s->r, &t);
        if (isnan(e.results.loss))
            code = report_fail(&s->r, EXIT_FAILED, "%s", model_no_number);
    }
    evaluation_close(&e);
    return code;
}
