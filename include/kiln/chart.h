/* chart.h - pictures of numbers as SVG: lines, and the matrix of which class was taken for which.
 * Legible, labelled, light and dark (as the viewer prefers). */
#ifndef KILN_CHART_H
#define KILN_CHART_H

#include <kiln/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_series {
    const char *name; /* in the legend; NULL with a single series: no legend */
    const double *x, *y;
    int count; /* points; those with a NaN or infinite x or y (from 1e290 on) are left out, the line
                  broken there */
    bool faint; /* thin, pale and behind the others, in the colour of the next series: the noise
                   that it smooths */
} kn_series;

/* A vertical line across the plot, with a word above it. */
typedef struct kn_mark {
    double x; /* NaN, infinite, or not above 0 on a logarithmic axis: left out */
    const char *label;
} kn_mark;

enum { KN_CHART_MARKS = 32 };

typedef struct kn_chart {
    const char *title, *x_title, *y_title;
    const kn_series *series;
    int series_count;
    bool log_x; /* points with x <= 0 are left out */
    const kn_mark *marks;
    int mark_count;      /* at most KN_CHART_MARKS */
    double y_min, y_max; /* both 0: fitted to the points */
    int width, height;   /* pixels; 0: 720 x 400; else from 240 x 160 to 8192 x 8192 */
} kn_chart;

/* Writes the chart to path, through a temporary name: after a failure (KN_ERR_IO) an older file is
 * intact. Text is escaped and shortened where it has no room; titles may be NULL. Long series are
 * thinned to what pixels can show. Without a point to draw, the chart says so. KN_ERR_ARG when a
 * size, y range or number of marks is out of its range. */
KN_API KN_NODISCARD kn_status kn_chart_write(const kn_chart *chart, const char *path,
                                             const kn_allocator *allocator, kn_error *error);

/* The same for several charts, one above the other in one picture. count is 1 or more. */
KN_API KN_NODISCARD kn_status kn_charts_write(const kn_chart *charts, int count, const char *path,
                                              const kn_allocator *allocator, kn_error *error);

/* A confusion matrix: how often each class was taken for which. */
typedef struct kn_matrix_chart {
    const char *title;        /* may be NULL */
    const char *const *names; /* [classes] */
    const int64_t *counts; /* [classes,classes]: the row is the true class, the column what it was
                              taken for; none below zero */
    int classes;
    int width; /* pixels, 240 to 8192; 0: 720. More where many classes need it; the height follows
                */
} kn_matrix_chart;

/* Writes the matrix to path as kn_chart_write does. Cells are shaded by their share of the row, so
 * that rare classes show as well as common ones: right answers in one colour, wrong ones in
 * another. Up to 30 classes, where they fit, cells hold their counts; beyond, colours only.
 * Pointing at a cell says what it is (up to 100 classes). Long names are shortened, and of more
 * than 120 classes only some are named. KN_ERR_ARG for no class, for more than 2000, and for a
 * width out of its range. */
KN_API KN_NODISCARD kn_status kn_matrix_chart_write(const kn_matrix_chart *chart, const char *path,
                                                    const kn_allocator *allocator, kn_error *error);

#ifdef __cplusplus
}
#endif
#endif
