/* chart.c - a line chart as SVG: what goes where, and the words around the lines. All sizes are
 * known before anything is written, so nothing has to be moved: heights first, then the vertical
 * axis, whose labels give the left margin, then the horizontal one. */
#include "formats/chart_parts.h"

#include "core/file.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 720,
    HEIGHT = 400,
    EDGE = KN_CHART_EDGE,
    AXIS_TITLE_SIZE = 13,
    LEGEND_SIZE = 13,
    LEGEND_ROW = 21,
    LEGEND_SAMPLE = 26, /* the piece of line before a name */
    LEGEND_GAP = 22,    /* between two items */
    LEAST_PLOT = 60,    /* the height that a legend leaves to the lines */
};

typedef struct {
    const kn_chart *chart;
    double width, height;
    kn_plot plot;
    bool empty;    /* no point can be drawn */
    int mark_rows; /* above the plot */
} drawing;

/* ---- pieces ---- */

/* A series' style: so many colours, then the same with other dashes. A faint series has that of the
 * next one that is not. Returns class. */
static const char *style_of(const kn_chart *chart, int series, char class[32]) {
    int style = 0;
    for (int i = 0; i < series; i++)
        style += !chart->series[i].faint;
    snprintf(class, 32, "s%d d%d%s", style % KN_CHART_COLORS,
             (style + style / KN_CHART_COLORS) % KN_CHART_COLORS,
             chart->series[series].faint ? " faint" : "");
    return class;
}

/* ---- the legend ---- */

static bool has_legend(const kn_chart *chart) {
    for (int i = 0; i < chart->series_count; i++)
        if (chart->series[i].name != NULL)
            return true;
    return false;
}

static void write_legend_item(kn_text *t, const kn_chart *chart, int series, double x, double y,
                              double room) {
    char class[32];
    const char *name = chart->series[series].name;
    kn_text_printf(t, "<g class=\"%s\"><path d=\"M", style_of(chart, series, class));
    kn_chart_number(t, x);
    kn_text_printf(t, ",");
    kn_chart_number(t, y - 4.5);
    kn_text_printf(t, " h%d\"/></g>\n", LEGEND_SAMPLE - 6);
    kn_chart_words(t, x + LEGEND_SAMPLE, y, LEGEND_SIZE, room, "", name != NULL ? name : "");
}

/* Lays the legend out from y down, in rows that hold what fits, at most so many, the last of which
 * says how many series had no room. Writes it unless t is NULL. Returns the number of rows. */
static int lay_legend(const drawing *d, kn_text *t, double y, int most_rows) {
    const kn_chart *chart = d->chart;
    double x = EDGE, end = d->width - EDGE;
    char rest[32];
    snprintf(rest, sizeof rest, "and %d more", chart->series_count);
    double rest_width = LEGEND_GAP + kn_chart_text_width(rest, LEGEND_SIZE);
    int row = 0;
    for (int i = 0; i < chart->series_count; i++) {
        const char *name = chart->series[i].name != NULL ? chart->series[i].name : "";
        double width = kn_chart_text_width(name, LEGEND_SIZE);
        bool may_be_last = row == most_rows - 1 && i < chart->series_count - 1;
        double room = end - LEGEND_SAMPLE - (may_be_last ? rest_width : 0);
        if (x > EDGE && x + width > room) {
            if (row == most_rows - 1) {
                snprintf(rest, sizeof rest, "and %d more", chart->series_count - i);
                if (t != NULL)
                    kn_chart_words(t, x, y, LEGEND_SIZE, rest_width, "", rest);
                break;
            }
            row++;
            y += LEGEND_ROW;
            x = EDGE;
            may_be_last = row == most_rows - 1 && i < chart->series_count - 1;
            room = end - LEGEND_SAMPLE - (may_be_last ? rest_width : 0);
        }
        width = fmin(width, room - x);
        if (t != NULL)
            write_legend_item(t, chart, i, x, y, width);
        x += LEGEND_SAMPLE + width + LEGEND_GAP;
    }
    return row + 1;
}

/* ---- layout ---- */

/* The range of what can be drawn; false when there is nothing. */
static bool find_range(const kn_chart *chart, kn_axis *x, kn_axis *y) {
    bool any = false, whole = true;
    double low_x = 0, high_x = 0, low_y = 0, high_y = 0;
    for (int s = 0; s < chart->series_count; s++)
        for (int i = 0; i < chart->series[s].count; i++) {
            if (!kn_series_has(&chart->series[s], i, chart->log_x))
                continue;
            double px = chart->series[s].x[i], py = chart->series[s].y[i];
            low_x = any ? fmin(low_x, px) : px;
            high_x = any ? fmax(high_x, px) : px;
            low_y = any ? fmin(low_y, py) : py;
            high_y = any ? fmax(high_y, py) : py;
            whole = whole && px == floor(px) && fabs(px) < 1e15;
            any = true;
        }
    if (!any)
        return false;
    for (int i = 0; i < chart->mark_count; i++)
        if (kn_mark_has(&chart->marks[i], chart->log_x)) {
            low_x = fmin(low_x, chart->marks[i].x);
            high_x = fmax(high_x, chart->marks[i].x);
        }
    x->log = chart->log_x;
    x->whole = whole && !x->log;
    kn_axis_fit(x, kn_axis_scale(x, low_x), kn_axis_scale(x, high_x), 0.015);
    if (chart->y_min != 0 || chart->y_max != 0) {
        kn_axis_fit(y, chart->y_min, chart->y_max, 0);
        return true;
    }
    kn_axis_fit(y, low_y, high_y, 0.05);
    if (low_y >= 0) /* what is never negative has no axis below zero */
        y->low = fmax(y->low, 0);
    return true;
}

static double widest_label(const kn_axis *axis) {
    double width = 0;
    for (int i = 0; i < axis->ticks; i++)
        width = fmax(width, kn_chart_text_width(axis->tick[i].label, KN_CHART_SMALL));
    return width;
}

/* The plot's left and right ends, and the ticks. */
static void lay_out_across(drawing *d) {
    kn_plot *plot = &d->plot;
    double left = EDGE + (d->chart->y_title != NULL ? AXIS_TITLE_SIZE + 9 : 0);
    plot->right = d->width - EDGE - 4;
    if (d->empty) {
        plot->left = left;
        return;
    }
    kn_axis_choose_ticks(&plot->y, plot->bottom - plot->top, false);
    plot->left = left + ceil(widest_label(&plot->y)) + 8;
    double most = kn_marks_right(d->chart, plot, d->width - EDGE);
    /* Twice: the labels decide how much the last of them needs to its right. */
    plot->right = fmin(plot->right, most);
    for (int i = 0; i < 2; i++) {
        kn_axis_choose_ticks(&plot->x, plot->right - plot->left, true);
        plot->right = d->width - fmax(EDGE + 4, ceil(widest_label(&plot->x) / 2) + 4);
        plot->right = fmin(plot->right, most);
    }
    kn_axis_choose_ticks(&plot->x, plot->right - plot->left, true);
}

/* Marks want rows above the plot. A lower plot may have other ticks, and the marks then other rows:
 * more each time, or it is settled. */
static void lay_out_marks(drawing *d) {
    kn_plot *plot = &d->plot;
    double top = plot->top, room = plot->bottom - top - LEAST_PLOT;
    int most = room > 0 ? (int)(room / KN_MARK_ROW) : 0;
    int wanted = 0;
    do {
        d->mark_rows = wanted;
        plot->top = top + wanted * KN_MARK_ROW;
        lay_out_across(d);
        wanted = d->empty ? 0 : kn_marks_rows(d->chart, plot);
        wanted = wanted < most ? wanted : most;
    } while (wanted > d->mark_rows);
}

/* The plot's rectangle and the ticks. title_base and legend_base receive baselines. */
static void lay_out(drawing *d, double *title_base, double *legend_base, int *legend_rows) {
    const kn_chart *chart = d->chart;
    kn_plot *plot = &d->plot;
    double y = EDGE - 4;
    *title_base = y + KN_CHART_TITLE;
    if (chart->title != NULL)
        y = *title_base + 8;
    plot->bottom = d->height - 32 - (chart->x_title != NULL ? 20 : 0);
    *legend_base = y + LEGEND_SIZE + 3;
    *legend_rows = 0;
    if (has_legend(chart)) {
        int most = (int)((plot->bottom - y - LEAST_PLOT) / LEGEND_ROW);
        *legend_rows = lay_legend(d, NULL, 0, most > 1 ? most : 1);
        y += *legend_rows * LEGEND_ROW + 4;
    }
    plot->top = y + 10;
    lay_out_marks(d);
}

/* ---- the plot ---- */

static void write_x_ticks(kn_text *t, const drawing *d) {
    const kn_plot *plot = &d->plot;
    double scale = (plot->right - plot->left) / (plot->x.high - plot->x.low);
    for (int i = 0; i < plot->x.ticks; i++) {
        const kn_tick *tick = &plot->x.tick[i];
        double x = plot->left + (tick->at - plot->x.low) * scale;
        double half = kn_chart_text_width(tick->label, KN_CHART_SMALL) / 2;
        if (!tick->minor)
            kn_chart_line(t, "grid", x, plot->top, x, plot->bottom);
        kn_chart_line(t, "axis", x, plot->bottom, x, plot->bottom + (tick->minor ? 3 : 5));
        if (!tick->minor && x - half >= 0 && x + half <= d->width)
            kn_chart_words(t, x, plot->bottom + 19, KN_CHART_SMALL, d->width,
                           " class=\"tick\" text-anchor=\"middle\"", tick->label);
    }
}

static void write_y_ticks(kn_text *t, const drawing *d) {
    const kn_plot *plot = &d->plot;
    double scale = (plot->bottom - plot->top) / (plot->y.high - plot->y.low);
    for (int i = 0; i < plot->y.ticks; i++) {
        const kn_tick *tick = &plot->y.tick[i];
        double y = plot->bottom - (tick->at - plot->y.low) * scale;
        kn_chart_line(t, "grid", plot->left, y, plot->right, y);
        kn_chart_words(t, plot->left - 8, y + 4, KN_CHART_SMALL, d->width,
                       " class=\"tick\" text-anchor=\"end\"", tick->label);
    }
}

static void write_axis_titles(kn_text *t, const drawing *d) {
    const kn_plot *plot = &d->plot;
    double x = (plot->left + plot->right) / 2, y = (plot->top + plot->bottom) / 2;
    if (d->chart->x_title != NULL)
        kn_chart_words(t, x, d->height - 12, AXIS_TITLE_SIZE, plot->right - plot->left,
                       " text-anchor=\"middle\"", d->chart->x_title);
    if (d->chart->y_title == NULL)
        return;
    /* Turned about its own centre, so that x and y stay those of the chart. */
    char turn[96];
    int at_x = EDGE + AXIS_TITLE_SIZE - 2, at_y = (int)y;
    snprintf(turn, sizeof turn, " text-anchor=\"middle\" transform=\"rotate(-90 %d %d)\"", at_x,
             at_y);
    kn_chart_words(t, at_x, at_y, AXIS_TITLE_SIZE, plot->bottom - plot->top, turn,
                   d->chart->y_title);
}

static void write_plot(kn_text *t, const drawing *d) {
    const kn_plot *plot = &d->plot;
    char class[32];
    if (!d->empty) {
        write_y_ticks(t, d);
        write_x_ticks(t, d);
        kn_marks_draw(t, d->chart, plot, d->mark_rows);
    }
    kn_chart_line(t, "axis", plot->left, plot->top, plot->left, plot->bottom);
    kn_chart_line(t, "axis", plot->left, plot->bottom, plot->right, plot->bottom);
    if (d->empty)
        kn_chart_words(t, (plot->left + plot->right) / 2, (plot->top + plot->bottom) / 2,
                       KN_CHART_TITLE, d->width, " class=\"tick\" text-anchor=\"middle\"",
                       "no data");
    else
        for (int i = 0; i < 2 * d->chart->series_count; i++) { /* the faint ones first */
            int k = i % d->chart->series_count;
            if (d->chart->series[k].faint == (i < d->chart->series_count))
                kn_series_draw(t, &d->chart->series[k], plot, style_of(d->chart, k, class));
        }
    write_axis_titles(t, d);
}

static int width_of(const kn_chart *chart) {
    return chart->width != 0 ? chart->width : WIDTH;
}

static int height_of(const kn_chart *chart) {
    return chart->height != 0 ? chart->height : HEIGHT;
}

/* Everything but the picture around it. */
static void write_chart(kn_text *t, const kn_chart *chart) {
    drawing drawn = {.chart = chart, .width = width_of(chart), .height = height_of(chart)};
    drawing *d = &drawn;
    double title_base, legend_base;
    int legend_rows;
    d->empty = !find_range(chart, &d->plot.x, &d->plot.y);
    lay_out(d, &title_base, &legend_base, &legend_rows);
    if (chart->title != NULL)
        kn_chart_words(t, EDGE, title_base, KN_CHART_TITLE, (d->width - 2 * EDGE) / KN_CHART_BOLD,
                       " font-weight=\"600\"", chart->title);
    if (legend_rows > 0)
        lay_legend(d, t, legend_base, legend_rows);
    write_plot(t, d);
}

void kn_chart_svg(kn_text *t, const kn_chart *chart) {
    kn_chart_open(t, chart->title, width_of(chart), height_of(chart));
    write_chart(t, chart);
    kn_text_printf(t, "</svg>\n");
}

void kn_charts_svg(kn_text *t, const kn_chart *charts, int count) {
    int width = 0, height = 0;
    for (int i = 0; i < count; i++) {
        width = width_of(&charts[i]) > width ? width_of(&charts[i]) : width;
        height += height_of(&charts[i]);
    }
    kn_chart_open(t, charts[0].title, width, height);
    for (int i = 0, y = 0; i < count; y += height_of(&charts[i]), i++) {
        kn_text_printf(t, "<svg y=\"%d\" width=\"%d\" height=\"%d\">\n", y, width_of(&charts[i]),
                       height_of(&charts[i]));
        write_chart(t, &charts[i]);
        kn_text_printf(t, "</svg>\n");
    }
    kn_text_printf(t, "</svg>\n");
}

static kn_status check_chart(const kn_chart *chart, const char *path, kn_error *error) {
    assert(chart->series_count == 0 || chart->series != NULL);
    assert(chart->mark_count == 0 || chart->marks != NULL);
    int width = width_of(chart), height = height_of(chart);
    if (width < 240 || width > 8192 || height < 160 || height > 8192)
        return kn_error_set(error, KN_ERR_ARG,
                            "%s: a chart of %d x %d pixels, expected 240 x 160 to 8192 x 8192",
                            path, width, height);
    bool given = chart->y_min != 0 || chart->y_max != 0;
    if (given && !(chart->y_min < chart->y_max && fabs(chart->y_min) <= KN_CHART_HUGE &&
                   fabs(chart->y_max) <= KN_CHART_HUGE))
        return kn_error_set(error, KN_ERR_ARG, "%s: a chart's y range must rise and be finite",
                            path);
    if (chart->mark_count > KN_CHART_MARKS)
        return kn_error_set(error, KN_ERR_ARG, "%s: a chart of %d marks, expected %d at most", path,
                            chart->mark_count, KN_CHART_MARKS);
    return KN_OK;
}

static kn_status finish(kn_text *text, const char *path, kn_error *error) {
    kn_status status = text->failed
                           ? kn_error_set(error, KN_ERR_MEMORY, "%s: no memory to draw it", path)
                           : kn_file_write(path, text->data, text->length, error);
    kn_text_free(text);
    return status;
}

kn_status kn_chart_write(const kn_chart *chart, const char *path, const kn_allocator *allocator,
                         kn_error *error) {
    kn_status checked = check_chart(chart, path, error);
    if (checked != KN_OK)
        return checked;
    kn_text text = {.allocator = allocator};
    kn_chart_svg(&text, chart);
    return finish(&text, path, error);
}

kn_status kn_charts_write(const kn_chart *charts, int count, const char *path,
                          const kn_allocator *allocator, kn_error *error) {
    assert(count >= 1);
    for (int i = 0; i < count; i++) {
        kn_status checked = check_chart(&charts[i], path, error);
        if (checked != KN_OK)
            return checked;
    }
    kn_text text = {.allocator = allocator};
    kn_charts_svg(&text, charts, count);
    return finish(&text, path, error);
}
