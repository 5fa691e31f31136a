/* lr_find_read.c - the curve of --lr auto as lr_find.csv has it, for the page of a training that
 * goes on: the trial is not made again. */
#include "train.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A cell up to stop, behind which *at then stands; an empty one is no number. */
static bool cell(const char **at, char stop, double *out) {
    size_t length = strspn(*at, "+-.0123456789eE");
    char *end = NULL;
    *out = NAN;
    if ((*at)[length] != stop)
        return false;
    if (length > 0)
        *out = strtod(*at, &end);
    bool good = length == 0 || end == *at + length;
    *at += length + 1;
    return good;
}

/* The line of step i. Rates rise. */
static bool line(const char **at, int i, kn_lr_point *p) {
    double step;
    return cell(at, ',', &step) && step == i && cell(at, ',', &p->lr) && p->lr > 0 &&
           (i == 0 || p->lr > p[-1].lr) && cell(at, ',', &p->loss) && cell(at, '\n', &p->smooth);
}

static bool parse(const char *text, kn_lr_found *found, int room) {
    static const char head[] = "step,lr,loss,smooth\n";
    if (strncmp(text, head, sizeof head - 1) != 0)
        return false;
    const char *at = text + sizeof head - 1;
    for (; *at != '\0' && found->count < room; found->count++)
        if (!line(&at, found->count, &found->point[found->count]))
            return false;
    return *at == '\0';
}

static int lines_of(const char *text) {
    int lines = 0;
    for (; *text != '\0' && lines < INT_MAX; text++)
        lines += *text == '\n';
    return lines;
}

/* Whatever is wrong with the file costs the page its chart, and nothing else. */
kn_status lr_find_read(const train *t, kn_lr_found *found) {
    kn_ctx *ctx = t->s->ctx;
    kn_error error = {0};
    char *text = NULL;
    kn_status status = KN_OK;
    if (run_folder_text(&t->run, "lr_find.csv", &text, &error) != KN_OK) {
        report_warning(&t->s->r, error.message);
        return KN_OK;
    }
    int room = text != NULL ? lines_of(text) : 0;
    if (room > 0 && (found->point = kn_alloc(ctx, (size_t)room * sizeof *found->point,
                                             "the curve of lr_find.csv")) == NULL)
        status = KN_ERR_MEMORY;
    if (status == KN_OK && text != NULL && !parse(text, found, room)) {
        kn_lr_found_free(ctx, found);
        report_warning(&t->s->r, "lr_find.csv is not as it was written: its curve is not shown");
    }
    free(text);
    return status == KN_OK ? kn_lr_suggest_from(ctx, lr_find_options(&t->s->a), found->point,
                                                found->count, &found->suggestion)
                           : status;
}
