/* history_charts.c - the charts of a fit: loss, accuracy, learning rate, momentum, over the epochs
 * passed. */
#include "learner/history_charts.h"

#include "formats/chart_parts.h"

#include <assert.h>
#include <math.h>

/* How much of the mean a step leaves behind: fastai's. */
static const double keep = 0.98;

/* The mean of the losses so far, older ones counting less and less, without the pull of its start
 * towards zero (as in Adam): at the first step it is the loss itself. */
static void smooth(const double *loss, int64_t steps, double *out) {
    double sum = 0, weight = 0;
    for (int64_t i = 0; i < steps; i++) {
        sum = keep * sum + (1 - keep) * loss[i];
        weight = keep * weight + (1 - keep);
        out[i] = sum / weight;
    }
}

/* ---- numbers, as charts want them ---- */

typedef struct {
    double *epoch, *train_loss, *valid_loss, *train_acc, *valid_acc; /* [rows] */
    double *place, *loss, *smoothed;                                 /* [steps] */
} columns;

/* All of them in one block, which begins at epoch: kn_free it. */
static kn_status take_columns(kn_ctx *ctx, const kn_history *h, columns *c) {
    size_t rows = (size_t)h->rows, steps = (size_t)h->steps;
    double *at = kn_calloc(ctx, rows * 5 + steps * 3 + 1, sizeof *at, "a chart");
    if (at == NULL)
        return KN_ERR_MEMORY;
    double **by_row[] = {&c->epoch, &c->train_loss, &c->valid_loss, &c->train_acc, &c->valid_acc};
    for (size_t i = 0; i < KN_COUNT(by_row); i++, at += rows)
        *by_row[i] = at;
    double **by_step[] = {&c->place, &c->loss, &c->smoothed};
    for (size_t i = 0; i < KN_COUNT(by_step); i++, at += steps)
        *by_step[i] = at;
    for (size_t i = 0; i < rows; i++) {
        c->epoch[i] = h->row[i].epoch + 1;
        c->train_loss[i] = h->row[i].train_loss;
        c->valid_loss[i] = h->row[i].valid_loss;
        c->train_acc[i] = h->row[i].train_acc;
        c->valid_acc[i] = h->row[i].valid_acc;
    }
    for (size_t i = 0; i < steps; i++) {
        c->place[i] = (double)(i + 1) / (double)h->epoch_steps;
        c->loss[i] = h->loss[i];
    }
    smooth(c->loss, h->steps, c->smoothed);
    return KN_OK;
}

/* ---- the charts ---- */

static void draw_loss(const kn_history *h, const columns *c, kn_chart chart, kn_text *out) {
    const kn_series series[] = {{"each batch", c->place, c->loss, (int)h->steps, true},
                                {"training, smoothed", c->place, c->smoothed, (int)h->steps, false},
                                {"validation", c->epoch, c->valid_loss, h->rows, false}};
    chart.title = "Loss";
    chart.y_title = "loss";
    chart.series = series;
    chart.series_count = KN_COUNT(series);
    kn_chart_svg(out, &chart);
}

static void draw_accuracy(const kn_history *h, const columns *c, kn_chart chart, kn_text *out) {
    const kn_series series[] = {{"training", c->epoch, c->train_acc, h->rows, false},
                                {"validation", c->epoch, c->valid_acc, h->rows, false}};
    chart.title = "Accuracy";
    chart.y_title = "share right";
    chart.series = series;
    chart.series_count = KN_COUNT(series);
    kn_chart_svg(out, &chart);
}

static void draw_schedule(const kn_history *h, const columns *c, kn_chart chart, kn_text *out) {
    const kn_series series = {NULL, c->place, h->lr, (int)h->steps, false};
    chart.title = "Learning rate";
    chart.y_title = "learning rate";
    chart.series = &series;
    chart.series_count = 1;
    kn_chart_svg(out, &chart);
}

static void draw_momentum(const kn_history *h, const columns *c, kn_chart chart, kn_text *out) {
    const kn_series series = {NULL, c->place, h->momentum, (int)h->steps, false};
    chart.title = "Momentum";
    chart.y_title = "momentum";
    chart.series = &series;
    chart.series_count = 1;
    kn_chart_svg(out, &chart);
}

const char *kn_history_chart_file(kn_history_chart chart) {
    static const char *const files[] = {"loss.svg", "accuracy.svg", "schedule.svg", "momentum.svg"};
    assert(chart < KN_HISTORY_CHARTS);
    return files[chart];
}

kn_status kn_history_draw(kn_ctx *ctx, const kn_history *h, kn_history_chart chart, int width,
                          int height, kn_text *out) {
    static void (*const draw[])(const kn_history *, const columns *, kn_chart, kn_text *) = {
        draw_loss, draw_accuracy, draw_schedule, draw_momentum};
    columns c;
    assert(chart < KN_HISTORY_CHARTS);
    if (take_columns(ctx, h, &c) != KN_OK)
        return KN_ERR_MEMORY;
    draw[chart](h, &c, (kn_chart){.x_title = "epochs", .width = width, .height = height}, out);
    kn_free(ctx, c.epoch);
    return out->failed ? kn_fail(ctx, KN_ERR_MEMORY, "out of memory: a chart") : KN_OK;
}
