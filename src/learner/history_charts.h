/* history_charts.h - the charts of a fit, as text: the recorder writes them as files, a report
 * holds them inside. */
#ifndef KN_LEARNER_HISTORY_CHARTS_H
#define KN_LEARNER_HISTORY_CHARTS_H

#include "core/text.h"

#include <kiln/callbacks.h>

typedef enum kn_history_chart {
    KN_HISTORY_LOSS,
    KN_HISTORY_ACCURACY,
    KN_HISTORY_SCHEDULE,
    KN_HISTORY_MOMENTUM, /* for a momentum that varies */
    KN_HISTORY_CHARTS
} kn_history_chart;

/* What a recorder has kept; everything is borrowed. */
typedef struct kn_history {
    const kn_history_row *row;
    int rows;
    const double *lr;       /* [steps] */
    const double *momentum; /* [steps]: of the optimizer's first group */
    const float *loss;      /* [steps]: of each training batch */
    int64_t steps;
    int64_t epoch_steps; /* of a whole epoch */
} kn_history;

/* "loss.svg", ... */
const char *kn_history_chart_file(kn_history_chart chart);

/* Appends the chart's SVG, of this size in pixels, to out; lack of memory is an error of the
 * context.
 */
kn_status kn_history_draw(kn_ctx *ctx, const kn_history *h, kn_history_chart chart, int width,
                          int height, kn_text *out);

/* recorder_cb.c: whether there is something to see: a momentum that never varies is none. */
bool kn_recorder_shows(const kn_learner *l, kn_history_chart chart);

/* recorder_cb.c: the same for what l's recorder has kept so far. KN_ERR_STATE when it has none. */
kn_status kn_recorder_draw(const kn_learner *l, kn_history_chart chart, int width, int height,
                           kn_text *out);

#endif
