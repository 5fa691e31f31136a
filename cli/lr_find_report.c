/* lr_find_report.c - what kiln lr-find says and writes: each step, the curve as a table and as a
 * picture, and the suggestions. */
#include "core/clock.h"
#include "core/file.h"
#include "formats/chart_parts.h"
#include "json_line.h"
#include "train.h"

#include <kiln/chart.h>

#include <math.h>
#include <stdio.h>

enum { SUGGESTIONS = 4, LABEL = 48, LAST_HIDDEN = 5 /* where the loss runs away */ };

/* ---- meanwhile ---- */

void lr_find_wipe(lr_report *r) {
    if (r->bar)
        report_bar("");
    r->bar = false;
}

static void draw(lr_report *r, int step, const kn_lr_point *point) {
    char line[128];
    double t = kn_clock();
    if (!report_has_bar(&r->t->s->r) || t - r->drawn < 0.1)
        return;
    snprintf(line, sizeof line, "learning rate finder: step %d, rate %.2e, loss %.3f", step + 1,
             point->lr, point->loss);
    report_bar(line);
    r->bar = true;
    r->drawn = t;
}

void lr_find_on_step(void *user, int step, const kn_lr_point *point) {
    lr_report *r = user;
    r->steps++;
    if (r->events && r->t->s->r.json) {
        kn_text out = {0};
        line_open(&out);
        line_string(&out, "event", "lr");
        line_int(&out, "step", step);
        line_real(&out, "lr", point->lr);
        line_real(&out, "loss", point->loss);
        line_real(&out, "smooth", point->smooth);
        line_close(&out);
        report_out(&r->t->s->r, &out);
    }
    draw(r, step, point);
}

/* ---- files ---- */

static kn_status write_csv(const train *t, const kn_lr_found *found) {
    char path[PATH_MAX];
    kn_text csv = {0};
    kn_error error = {0};
    if (!run_folder_file(&t->run, "lr_find.csv", path))
        return kn_fail(t->s->ctx, KN_ERR_IO, "%.64s...: the path is too long", t->run.path);
    kn_text_printf(&csv, "step,lr,loss,smooth\n");
    for (int i = 0; i < found->count; i++) {
        const kn_lr_point *p = &found->point[i];
        const double column[] = {p->lr, p->loss, p->smooth};
        kn_text_printf(&csv, "%d", i);
        for (size_t c = 0; c < KN_COUNT(column); c++) {
            kn_text_append(&csv, ",", 1);
            if (isfinite(column[c])) /* else an empty cell, as in history.csv */
                kn_text_number(&csv, column[c], 9);
        }
        kn_text_append(&csv, "\n", 1);
    }
    if (csv.failed)
        kn_error_set(&error, KN_ERR_MEMORY, "%s: no memory to write it", path);
    else
        kn_file_write(path, csv.data, csv.length, &error);
    kn_text_free(&csv);
    return kn_fail_with(t->s->ctx, &error);
}

static const char *const suggestion_name[SUGGESTIONS] = {"valley", "steep", "minimum", "slide"};

static void suggestion_values(const kn_lr_suggestion *s, double value[SUGGESTIONS]) {
    value[0] = s->valley;
    value[1] = s->steep;
    value[2] = s->minimum;
    value[3] = s->slide;
}

/* "0.0479", "1.2e-05": three digits. */
static void rate_text(double rate, char text[LABEL]) {
    snprintf(text, LABEL, "%.3g", rate);
}

/* Down to the lowest batch; up to the smoothed losses, with single batches far above them cut off.
 */
static void set_range(kn_chart *chart, const double *smooth, const double *loss, int count) {
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < count; i++) {
        low = isfinite(loss[i]) ? fmin(low, fmin(loss[i], smooth[i])) : low;
        high = isfinite(smooth[i]) ? fmax(high, smooth[i]) : high;
    }
    double margin = (high - low) * 0.1;
    if (!(margin > 1e-6 * fabs(high)) || !(high < 1e30)) /* too even, or too wide: as it comes */
        return;
    chart->y_min = low - margin;
    chart->y_max = high + margin;
}

kn_status lr_find_draw(kn_ctx *ctx, const kn_lr_found *found, int width, int height, kn_text *out) {
    char label[SUGGESTIONS][LABEL + 16];
    int count = found->count > 2 * LAST_HIDDEN ? found->count - LAST_HIDDEN : found->count;
    double *block = kn_calloc(ctx, (size_t)count * 3 + 1, sizeof *block, "the chart");
    if (block == NULL)
        return KN_ERR_MEMORY;
    double *lr = block, *loss = lr + count, *smooth = loss + count, value[SUGGESTIONS];
    for (int i = 0; i < count; i++) {
        lr[i] = found->point[i].lr;
        loss[i] = found->point[i].loss;
        smooth[i] = found->point[i].smooth;
    }
    kn_mark mark[SUGGESTIONS];
    suggestion_values(&found->suggestion, value);
    for (int i = 0; i < SUGGESTIONS; i++) {
        char rate[LABEL];
        rate_text(value[i], rate);
        snprintf(label[i], sizeof label[i], "%s %s", suggestion_name[i], rate);
        mark[i] = (kn_mark){value[i], label[i]};
    }
    const kn_series series[] = {{"each batch", lr, loss, count, true},
                                {"smoothed", lr, smooth, count, false}};
    kn_chart chart = {.title = "Learning rate finder",
                      .x_title = "learning rate",
                      .y_title = "loss",
                      .series = series,
                      .series_count = KN_COUNT(series),
                      .log_x = true,
                      .marks = mark,
                      .mark_count = SUGGESTIONS,
                      .width = width,
                      .height = height};
    set_range(&chart, smooth, loss, count);
    kn_charts_svg(out, &chart, 1);
    kn_free(ctx, block);
    return KN_OK;
}

static kn_status write_chart(const train *t, const kn_lr_found *found) {
    char path[PATH_MAX];
    kn_ctx *ctx = t->s->ctx;
    kn_text svg = {0};
    kn_error error = {0};
    if (!run_folder_file(&t->run, "lr_find.svg", path))
        return kn_fail(ctx, KN_ERR_IO, "%.64s...: the path is too long", t->run.path);
    kn_status status = lr_find_draw(ctx, found, 0, 0, &svg);
    if (status == KN_OK && svg.failed)
        status = kn_error_set(&error, KN_ERR_MEMORY, "%s: no memory to draw it", path);
    else if (status == KN_OK)
        status = kn_file_write(path, svg.data, svg.length, &error);
    kn_text_free(&svg);
    kn_fail_with(ctx, &error);
    return status;
}

kn_status lr_find_write(const train *t, const kn_lr_found *found) {
    kn_status status = write_csv(t, found);
    return status == KN_OK ? write_chart(t, found) : status;
}

/* ---- after ---- */

static void tell_event(const train *t, const double value[SUGGESTIONS], kn_text *out) {
    line_open(out);
    line_string(out, "event", "suggest");
    for (int i = 0; i < SUGGESTIONS; i++)
        line_real(out, suggestion_name[i], value[i]);
    line_string(out, "run", t->run.path);
    line_close(out);
}

void lr_find_tell(const train *t, const kn_lr_found *found) {
    static const char *const about[SUGGESTIONS] = {
        "half way down the longest fall: the one to try first", "where the loss falls fastest",
        "a tenth of the rate of the lowest loss", "the last before the curve turns"};
    double value[SUGGESTIONS];
    kn_text out = {0};
    suggestion_values(&found->suggestion, value);
    if (t->s->r.json)
        tell_event(t, value, &out);
    else {
        for (int i = 0; i < SUGGESTIONS; i++) {
            char rate[LABEL] = "-";
            if (!isnan(value[i]))
                rate_text(value[i], rate);
            kn_text_printf(&out, "%-8s %-9s %s\n", suggestion_name[i], rate, about[i]);
        }
        kn_text_printf(&out, "curve    %s/lr_find.svg, lr_find.csv\n", t->run.path);
    }
    report_out(&t->s->r, &out);
    if (isnan(value[0]))
        report_warning(&t->s->r, "the loss ran away too soon to suggest a rate");
}
