/* chart.h - line charts as SVG: legible, labelled, light and dark (as the viewer prefers). */
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
} kn_series;

typedef struct kn_chart {
    const char *title, *x_title, *y_title;
    const kn_series *series;
    int series_count;
    bool log_x;          /* points with x <= 0 are left out */
    double y_min, y_max; /* both 0: fitted to the points */
    int width, height;   /* pixels; 0: 720 x 400; else from 240 x 160 to 8192 x 8192 */
} kn_chart;

/* Writes the chart to path, through a temporary name: after a failure (KN_ERR_IO) an older file is
 * intact. Text is escaped and shortened where it has no room; titles may be NULL. Long series are
 * thinned to what pixels can show. Without a point to draw, the chart says so. KN_ERR_ARG when a
 * size or y range is out of its range. */
KN_API KN_NODISCARD kn_status kn_chart_write(const kn_chart *chart, const char *path,
                                             const kn_allocator *allocator, kn_error *error);

#ifdef __cplusplus
}
#endif
#endif
