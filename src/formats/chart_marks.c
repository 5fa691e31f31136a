/* chart_marks.c - vertical marks with their labels, like flags: the label begins at the right of
 * its line, above the plot. Marks are laid from right to left; a label that would reach a mark
 * already laid goes a row above that mark's, so that no line runs through a label. */
#include "formats/chart_parts.h"

#include <math.h>

enum { FLAG = 4 /* pixels from the line to its label */, GAP = 6, MOST_WIDTH = 160 };

bool kn_mark_has(const kn_mark *mark, bool log_x) {
    return fabs(mark->x) <= KN_CHART_HUGE && (!log_x || mark->x > KN_CHART_TINY);
}

/* Its place along the x axis, from 0 to 1. */
static double along(const kn_plot *plot, const kn_mark *mark) {
    return (kn_axis_scale(&plot->x, mark->x) - plot->x.low) / (plot->x.high - plot->x.low);
}

static double place(const kn_plot *plot, const kn_mark *mark) {
    return plot->left + along(plot, mark) * (plot->right - plot->left);
}

/* A label takes at most a third of the plot. */
static double room_of(const kn_plot *plot) {
    return fmin(MOST_WIDTH, (plot->right - plot->left) / 3);
}

static double width_of(const kn_plot *plot, const kn_mark *mark) {
    return FLAG + fmin(kn_chart_text_width(mark->label, KN_CHART_SMALL), room_of(plot));
}

double kn_marks_right(const kn_chart *chart, const kn_plot *plot, double end) {
    double right = INFINITY;
    for (int i = 0; i < chart->mark_count; i++) {
        const kn_mark *mark = &chart->marks[i];
        if (kn_mark_has(mark, chart->log_x))
            right = fmin(right, plot->left +
                                    (end - width_of(plot, mark) - plot->left) / along(plot, mark));
    }
    return right;
}

/* order receives the marks from right to left; returns how many there are. */
static int sort(const kn_chart *chart, int order[KN_CHART_MARKS]) {
    int count = 0;
    for (int i = 0; i < chart->mark_count; i++) {
        if (!kn_mark_has(&chart->marks[i], chart->log_x))
            continue;
        int at = count++;
        for (; at > 0 && chart->marks[order[at - 1]].x < chart->marks[i].x; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return count;
}

/* order and row of the marks from right to left; returns how many there are. */
static int lay(const kn_chart *chart, const kn_plot *plot, int order[KN_CHART_MARKS],
               int row[KN_CHART_MARKS]) {
    int count = sort(chart, order);
    for (int i = 0; i < count; i++) {
        const kn_mark *mark = &chart->marks[order[i]];
        double end = place(plot, mark) + width_of(plot, mark) + GAP;
        row[i] = 0;
        for (int k = 0; k < i; k++)
            if (place(plot, &chart->marks[order[k]]) <= end && row[i] <= row[k])
                row[i] = row[k] + 1;
    }
    return count;
}

int kn_marks_rows(const kn_chart *chart, const kn_plot *plot) {
    int order[KN_CHART_MARKS], row[KN_CHART_MARKS], rows = 0;
    int count = lay(chart, plot, order, row);
    for (int i = 0; i < count; i++)
        rows = row[i] >= rows ? row[i] + 1 : rows;
    return rows;
}

void kn_marks_draw(kn_text *t, const kn_chart *chart, const kn_plot *plot, int rows) {
    int order[KN_CHART_MARKS], row[KN_CHART_MARKS];
    int count = lay(chart, plot, order, row);
    for (int i = 0; i < count; i++) {
        const kn_mark *mark = &chart->marks[order[i]];
        double x = place(plot, mark), base = plot->top - 5 - row[i] * KN_MARK_ROW;
        bool labelled = row[i] < rows;
        kn_chart_line(t, "mark", x, labelled ? base - 9 : plot->top, x, plot->bottom);
        if (labelled)
            kn_chart_words(t, x + FLAG, base, KN_CHART_SMALL, room_of(plot), "", mark->label);
    }
}
