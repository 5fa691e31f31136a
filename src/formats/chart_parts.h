/* chart_parts.h - what the files of the chart share: axes, text, lines. */
#ifndef KN_FORMATS_CHART_PARTS_H
#define KN_FORMATS_CHART_PARTS_H

#include <kiln/chart.h>

#include "core/text.h"

enum {
    KN_CHART_TICKS = 64,
    KN_CHART_LABEL = 48,
    KN_CHART_SMALL = 12, /* pixels: tick labels */
    KN_CHART_TITLE = 16, /* the title */
    KN_CHART_EDGE = 16,  /* from the chart's edge to anything in it */
    KN_CHART_COLORS = 6,
};

/* How much wider bold text is than plain. */
#define KN_CHART_BOLD 1.12

/* Beyond, numbers are treated as infinite or zero: ticks near the ends of what a double holds would
 * overflow. */
#define KN_CHART_HUGE 1e290
#define KN_CHART_TINY 1e-290

/* The whole chart, whose sizes and range are as kn_chart_write demands: chart.c. */
void kn_chart_svg(kn_text *t, const kn_chart *chart);

/* The same of several, one above the other. */
void kn_charts_svg(kn_text *t, const kn_chart *charts, int count);

/* The same of a matrix: chart_matrix.c. */
void kn_matrix_chart_svg(kn_text *t, const kn_matrix_chart *chart);

/* ---- pieces: chart_pieces.c ---- */

/* The start of the picture: <svg>, the style, the background. "</svg>" ends it. */
void kn_chart_open(kn_text *t, const char *title, int width, int height);

/* An attribute with a coordinate. */
void kn_chart_attribute(kn_text *t, const char *name, double pixels);
void kn_chart_line(kn_text *t, const char *class, double x1, double y1, double x2, double y2);

/* A text that fits into room pixels. more: further attributes, with a leading space. */
void kn_chart_words(kn_text *t, double x, double y, int size, double room, const char *more,
                    const char *s);

/* The same, shortened in the middle. */
void kn_chart_label(kn_text *t, double x, double y, int size, double room, const char *more,
                    const char *s);

/* ---- axes: chart_axis.c ---- */

typedef struct kn_tick {
    double at; /* where, on the axis's scale */
    char label[KN_CHART_LABEL];
    bool minor; /* a mark without label */
} kn_tick;

typedef struct kn_axis {
    double low, high; /* the ends, on the axis's scale: values, or their logarithms (base 10) */
    bool log;
    bool whole; /* whole numbers only: no ticks between them */
    kn_tick tick[KN_CHART_TICKS];
    int ticks;
} kn_axis;

/* A value's place on the scale. */
double kn_axis_scale(const kn_axis *axis, double value);

/* Sets the ends to hold low..high (on the scale), with this part of the range beyond each. An axis
 * of one value is given a range around it. */
void kn_axis_fit(kn_axis *axis, double low, double high, double margin);

/* Chooses ticks for an axis that is so many pixels long. Labels lie side by side if horizontal,
 * else above each other, and never touch. */
void kn_axis_choose_ticks(kn_axis *axis, double pixels, bool horizontal);

/* ---- text: chart_text.c ---- */

/* Pixels a text takes in a wide sans-serif font: an upper estimate, as the viewer's font is not
 * known. */
double kn_chart_text_width(const char *s, double font_size);

/* Appends s as XML text, shortened with an ellipsis to fit into room pixels. What XML cannot hold
 * becomes U+FFFD. */
void kn_chart_text(kn_text *t, const char *s, double font_size, double room);

/* The same, shortened in the middle: names often differ in their ends. */
void kn_chart_name(kn_text *t, const char *s, double font_size, double room);

/* Appends a coordinate, to a tenth of a pixel. */
void kn_chart_number(kn_text *t, double pixels);

/* ---- lines: chart_line.c ---- */

typedef struct kn_plot {
    double left, top, right, bottom; /* pixels */
    kn_axis x, y;
} kn_plot;

/* Whether the point can be drawn at all: finite, and above zero on a logarithmic axis. */
bool kn_series_has(const kn_series *series, int i, bool log_x);

/* Appends a path, and circles for single points, or for all when they are few. Runs of points
 * within a pixel column are replaced by their lowest and highest. class names the line's style. */
void kn_series_draw(kn_text *t, const kn_series *series, const kn_plot *plot, const char *class);

/* ---- marks: chart_marks.c ---- */

enum { KN_MARK_ROW = 16 /* pixels from one label to that above it */ };

/* Whether the mark can be drawn. */
bool kn_mark_has(const kn_mark *mark, bool log_x);

/* The right end of a plot that leaves each label room beside its line, before the pixel end. */
double kn_marks_right(const kn_chart *chart, const kn_plot *plot, double end);

/* How many rows the labels take, so that none touches another or another's line. */
int kn_marks_rows(const kn_chart *chart, const kn_plot *plot);

/* Appends lines and labels above the plot, which has room for so many rows: marks without room are
 * lines alone. */
void kn_marks_draw(kn_text *t, const kn_chart *chart, const kn_plot *plot, int rows);

#endif
