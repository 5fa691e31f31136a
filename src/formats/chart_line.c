/* chart_line.c - a series as a path: broken where points are missing, clipped to the plot, and
 * thinned to what pixels can show, so that a chart of 100,000 steps is no larger than one of 1,000.
 */
#include "formats/chart_parts.h"

#include <math.h>

enum { DOTS_A_COLUMN = 4 }; /* more would hide each other */

typedef struct {
    double x, y; /* pixels */
} point;

typedef struct {
    kn_text *path, *dots;
    const kn_plot *plot;
    bool all_dots;
    double dot_column; /* the last pixel column with circles, and how many it has */
    int dots_there;
    point last;  /* of the run */
    int run;     /* points of the run so far */
    bool down;   /* the path ends at last: the next segment needs no move */
    bool column; /* points are held back, all in one pixel column: */
    point low, high;
    bool low_first;
} tracer;

bool kn_series_has(const kn_series *series, int i, bool log_x) {
    double x = series->x[i], y = series->y[i];
    return fabs(x) <= KN_CHART_HUGE && fabs(y) <= KN_CHART_HUGE && (!log_x || x > KN_CHART_TINY);
}

static point place(const kn_plot *plot, double x, double y) {
    double along = (kn_axis_scale(&plot->x, x) - plot->x.low) / (plot->x.high - plot->x.low);
    double up = (y - plot->y.low) / (plot->y.high - plot->y.low);
    up = fmin(fmax(up, -1e6), 1e6); /* a point far outside a given range: keeps the sums finite */
    return (point){plot->left + along * (plot->right - plot->left),
                   plot->bottom - up * (plot->bottom - plot->top)};
}

static void move_to(kn_text *path, const char *verb, point p) {
    kn_text_printf(path, "%s", verb);
    kn_chart_number(path, p.x);
    kn_text_printf(path, ",");
    kn_chart_number(path, p.y);
}

static void dot(tracer *pen, point p) {
    if (p.y < pen->plot->top || p.y > pen->plot->bottom)
        return;
    if (floor(p.x) != pen->dot_column)
        pen->dots_there = 0;
    pen->dot_column = floor(p.x);
    if (++pen->dots_there > DOTS_A_COLUMN)
        return;
    kn_text_printf(pen->dots, "<circle cx=\"");
    kn_chart_number(pen->dots, p.x);
    kn_text_printf(pen->dots, "\" cy=\"");
    kn_chart_number(pen->dots, p.y);
    kn_text_printf(pen->dots, "\" r=\"3\"/>\n");
}

/* The part of a..b that lies in the plot (Liang and Barsky's clipping, vertical only: the x axis
 * always holds all points). */
static void segment(tracer *pen, point a, point b) {
    double from = 0, to = 1, dy = b.y - a.y;
    double enter = (pen->plot->top - a.y) / dy, leave = (pen->plot->bottom - a.y) / dy;
    if (dy == 0 && (a.y < pen->plot->top || a.y > pen->plot->bottom))
        to = -1;
    else if (dy != 0) {
        from = fmax(from, fmin(enter, leave));
        to = fmin(to, fmax(enter, leave));
    }
    if (from > to) {
        pen->down = false;
        return;
    }
    point start = {a.x + from * (b.x - a.x), a.y + from * dy};
    point end = {a.x + to * (b.x - a.x), a.y + to * dy};
    if (!pen->down || from > 0)
        move_to(pen->path, "M", start);
    move_to(pen->path, " ", end);
    pen->down = to >= 1;
}

static void add(tracer *pen, point p) {
    if (pen->run > 0)
        segment(pen, pen->last, p);
    pen->last = p;
    pen->run++;
    if (pen->all_dots)
        dot(pen, p);
}

static void flush_column(tracer *pen) {
    if (!pen->column)
        return;
    pen->column = false;
    bool one = pen->low.x == pen->high.x && pen->low.y == pen->high.y;
    if (!one)
        add(pen, pen->low_first ? pen->low : pen->high);
    add(pen, pen->low_first ? pen->high : pen->low);
}

/* Holds p back while points fall into its pixel column. */
static void hold(tracer *pen, point p) {
    if (pen->column && floor(p.x) != floor(pen->low.x))
        flush_column(pen);
    if (!pen->column) {
        pen->column = true;
        pen->low = pen->high = p;
        pen->low_first = true;
    } else if (p.y > pen->low.y) { /* pixels grow downwards */
        pen->low = p;
        pen->low_first = false;
    } else if (p.y < pen->high.y) {
        pen->high = p;
        pen->low_first = true;
    }
}

static void end_run(tracer *pen) {
    flush_column(pen);
    if (pen->run == 1 && !pen->all_dots)
        dot(pen, pen->last);
    pen->run = 0;
    pen->down = false;
}

/* Points a pixel. */
static double density(const kn_series *series, const kn_plot *plot) {
    int count = 0;
    for (int i = 0; i < series->count; i++)
        count += kn_series_has(series, i, plot->x.log);
    return count / (plot->right - plot->left);
}

/* Pixels that the line goes up and down for each that it goes along: noise wants a thin line, a
 * long smooth curve does not. */
static double steepness(const kn_series *series, const kn_plot *plot) {
    double sum = 0;
    for (int i = 1; i < series->count; i++)
        if (kn_series_has(series, i - 1, plot->x.log) && kn_series_has(series, i, plot->x.log))
            sum += fabs(place(plot, series->x[i], series->y[i]).y -
                        place(plot, series->x[i - 1], series->y[i - 1]).y);
    return sum / (plot->right - plot->left);
}

void kn_series_draw(kn_text *t, const kn_series *series, const kn_plot *plot, const char *class) {
    kn_text dots = {.allocator = t->allocator};
    double points = density(series, plot);
    tracer pen = {.path = t, .dots = &dots, .plot = plot};
    pen.all_dots =
        !series->faint && points < 1.0 / 12; /* circles that do not run into each other */
    bool noise = points > 2 && steepness(series, plot) > 3;
    kn_text_printf(t, "<g class=\"%s%s\">\n<path d=\"", class, noise ? " dense" : "");
    for (int i = 0; i < series->count; i++) {
        if (!kn_series_has(series, i, plot->x.log))
            end_run(&pen);
        else if (pen.all_dots)
            add(&pen, place(plot, series->x[i], series->y[i]));
        else
            hold(&pen, place(plot, series->x[i], series->y[i]));
    }
    end_run(&pen);
    kn_text_printf(t, "\"/>\n");
    if (dots.length > 0)
        kn_text_append(t, dots.data, dots.length);
    kn_text_printf(t, "</g>\n");
    t->failed = t->failed || dots.failed;
    kn_text_free(&dots);
}
