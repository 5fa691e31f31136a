/* chart_matrix.c - a confusion matrix as SVG. As in chart.c all sizes are known before anything is
 * written: the names give the left margin, what is left gives the cells' size, which decides
 * whether counts fit and how many classes are named. */
#include "formats/chart_parts.h"

#include "core/file.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 720,
    MOST_CLASSES = 2000,
    COUNTED = 30,      /* classes up to which cells hold counts */
    EXPLAINED = 100,   /* and up to which pointing at a cell says what it is */
    NAMED = 120,       /* and up to which every class is named: */
    NAMED_CELL = 13,   /* pixels that a name needs */
    LEAST_NAME = 10,   /* the smallest font of a name */
    LARGEST_CELL = 64, /* so that two classes do not fill the screen */
    LEAST_COUNT = 9,   /* the smallest font of a count */
    SWATCHES = 5,
    SWATCH = 14,
    LEGEND_SIZE = 12,
    AXIS_TITLE = 13,
};

/* The height of a row of text, in units of its font's size. */
#define LINE 1.2

static const char row_title[] = "true class", column_title[] = "taken for";
static const char legend_note[] = "1 to 100% of a class";

typedef struct {
    const kn_matrix_chart *chart;
    double width, height;
    double left, top, cell;     /* of the cells */
    double label_room;          /* pixels that the longest name takes */
    int label_size, count_size; /* fonts; count_size 0: no counts */
    int every;                  /* each so many-th class is named */
    bool turned;                /* the columns' names */
    double title_base, legend_base;
    bool long_legend; /* the note has a row of its own */
} layout;

/* ---- layout ---- */

static double widest_name(const kn_matrix_chart *chart, int size) {
    double widest = 0;
    for (int i = 0; i < chart->classes; i++)
        widest = fmax(widest, kn_chart_text_width(chart->names[i], size));
    return ceil(widest);
}

/* The width of the longest count in a font of that size. */
static double widest_count(const kn_matrix_chart *chart, int size) {
    int64_t most = 0;
    char text[32];
    for (size_t i = 0, n = (size_t)chart->classes; i < n * n; i++)
        most = chart->counts[i] > most ? chart->counts[i] : most;
    snprintf(text, sizeof text, "%" PRId64, most);
    return kn_chart_text_width(text, size);
}

/* The largest font in which every count fits into a cell; 0 when none does. */
static int size_for_counts(const kn_matrix_chart *chart, double cell) {
    for (int size = AXIS_TITLE; size >= LEAST_COUNT && chart->classes <= COUNTED; size--)
        if (widest_count(chart, size) <= cell - 4 && size <= cell - 4)
            return size;
    return 0;
}

/* The smallest cell: room for its name, and where that does not make the picture much wider, for
 * its count. */
static double least_cell(const kn_matrix_chart *chart, int width) {
    if (chart->classes > NAMED)
        return fmax(1, floor(1440.0 / chart->classes));
    double counted = ceil(widest_count(chart, LEAST_COUNT)) + 4;
    bool room = chart->classes <= COUNTED && counted * chart->classes <= 1.2 * width;
    return fmax(NAMED_CELL, room ? counted : 0);
}

static double swatches_end(void) {
    static const char *const names[] = {"right", "wrong"};
    double x = KN_CHART_EDGE;
    for (int i = 0; i < 2; i++)
        x += ceil(kn_chart_text_width(names[i], LEGEND_SIZE)) + 6 + SWATCHES * SWATCH + 16;
    return x;
}

/* Small cells want small names, whose width leaves room for larger cells: so the largest font that
 * fits the cells it leaves. */
static void lay_cells(layout *l, int width) {
    const kn_matrix_chart *chart = l->chart;
    double least = least_cell(chart, width);
    for (int size = KN_CHART_SMALL; size >= LEAST_NAME; size--) {
        l->label_size = size;
        l->label_room = fmin(widest_name(chart, size), fmin(fmax(width * 0.28, 60), 180));
        l->left = KN_CHART_EDGE + AXIS_TITLE + 9 + l->label_room + 8;
        double cell = floor((width - KN_CHART_EDGE - l->left) / chart->classes);
        l->cell = fmin(fmax(cell, least), LARGEST_CELL);
        l->every = (int)ceil(LINE * size / l->cell);
        if (l->every == 1 || chart->classes > NAMED)
            return;
    }
}

static void lay_out(layout *l, int width) {
    const kn_matrix_chart *chart = l->chart;
    int n = chart->classes;
    l->width = width;
    l->title_base = KN_CHART_EDGE - 4 + KN_CHART_TITLE;
    double y = chart->title != NULL ? l->title_base + 8 : KN_CHART_EDGE - 4;
    l->legend_base = y + LEGEND_SIZE + 3;
    l->long_legend =
        swatches_end() + kn_chart_text_width(legend_note, LEGEND_SIZE) + KN_CHART_EDGE > width;
    l->top = l->legend_base + (l->long_legend ? 18 : 0) + 14;
    lay_cells(l, width);
    l->count_size = size_for_counts(chart, l->cell);
    l->turned = widest_name(chart, l->label_size) > l->cell - 4;
    double end = l->left + l->cell * n + KN_CHART_EDGE;
    l->width = fmax(end, fmin(width, 420));
    l->height = l->top + l->cell * n + (l->turned ? l->label_room : l->label_size) + 8 +
                AXIS_TITLE + 9 + KN_CHART_EDGE - 4;
}

/* ---- cells ---- */

/* The square root lifts the few per cent that most mistakes are out of the background. */
static double shade_of(double share) {
    return sqrt(share);
}

static void write_square(kn_text *t, bool right, double x, double y, double size, double shade) {
    kn_text_printf(t, "<rect class=\"%s\"", right ? "right" : "wrong");
    kn_chart_attribute(t, "x", x);
    kn_chart_attribute(t, "y", y);
    kn_chart_attribute(t, "width", size);
    kn_chart_attribute(t, "height", size);
    kn_text_printf(t, " fill-opacity=\"");
    kn_text_number(t, round(shade * 1000) / 1000, 3);
    kn_text_printf(t, "\"");
}

static void write_explanation(kn_text *t, const kn_matrix_chart *chart, int row, int column,
                              int64_t count, double total) {
    kn_text_printf(t, "<title>");
    kn_chart_text(t, chart->names[row], LEGEND_SIZE, INFINITY);
    if (row != column) {
        kn_text_printf(t, " taken for ");
        kn_chart_text(t, chart->names[column], LEGEND_SIZE, INFINITY);
    }
    kn_text_printf(t, ": %" PRId64 " of %.0f%s (", count, total, row == column ? " right" : "");
    kn_text_number(t, 100 * (double)count / total, 3);
    kn_text_printf(t, "%%)</title>");
}

static void write_cell(kn_text *t, const layout *l, int row, int column, double total) {
    const kn_matrix_chart *chart = l->chart;
    int64_t count = chart->counts[(size_t)row * (size_t)chart->classes + (size_t)column];
    if (count <= 0) /* most cells of many classes */
        return;
    double x = l->left + column * l->cell, y = l->top + row * l->cell;
    double shade = shade_of((double)count / total), gap = l->cell >= 8 ? 1 : 0;
    write_square(t, row == column, x, y, l->cell - gap, shade);
    if (chart->classes > EXPLAINED) {
        kn_text_printf(t, "/>\n");
        return;
    }
    kn_text_printf(t, ">");
    write_explanation(t, chart, row, column, count, total);
    kn_text_printf(t, "</rect>\n");
    if (l->count_size == 0)
        return;
    char number[32], more[64];
    snprintf(number, sizeof number, "%" PRId64, count);
    snprintf(more, sizeof more, " class=\"%s\" text-anchor=\"middle\" pointer-events=\"none\"",
             shade >= 0.82  ? "on"
             : shade >= 0.6 ? "half"
                            : "off");
    kn_chart_words(t, x + (l->cell - gap) / 2, y + (l->cell - gap) / 2 + l->count_size * 0.36,
                   l->count_size, l->cell, more, number);
}

static void write_cells(kn_text *t, const layout *l) {
    int n = l->chart->classes;
    for (int row = 0; row < n; row++) {
        const int64_t *counts = l->chart->counts + (size_t)row * (size_t)n;
        double total = 0;
        for (int i = 0; i < n; i++)
            total += (double)counts[i];
        for (int column = 0; column < n; column++)
            write_cell(t, l, row, column, total);
    }
}

/* ---- around them ---- */

static void write_frame(kn_text *t, const layout *l) {
    double side = l->cell * l->chart->classes, gap = l->cell >= 8 ? 1 : 0;
    for (int i = 0; i < 2; i++) {
        double at = i == 0 ? -1 : side - gap + 1, start = l->left - 1,
               end = l->left + side - gap + 1;
        kn_chart_line(t, "axis", start, l->top + at, end, l->top + at);
        kn_chart_line(t, "axis", l->left + at, l->top - 1, l->left + at, l->top + side - gap + 1);
    }
}

static void write_names(kn_text *t, const layout *l) {
    int n = l->chart->classes;
    double bottom = l->top + l->cell * n;
    for (int i = 0; i < n; i += l->every) {
        const char *name = l->chart->names[i];
        double middle = (i + 0.5) * l->cell, drop = l->label_size * 0.36;
        kn_chart_label(t, l->left - 8, l->top + middle + drop, l->label_size, l->label_room,
                       " class=\"tick\" text-anchor=\"end\"", name);
        if (!l->turned) {
            kn_chart_label(t, l->left + middle, bottom + l->label_size + 4, l->label_size, l->cell,
                           " class=\"tick\" text-anchor=\"middle\"", name);
            continue;
        }
        char more[112];
        double x = round(l->left + middle + drop), y = round(bottom + 8);
        snprintf(more, sizeof more,
                 " class=\"tick\" text-anchor=\"end\" transform=\"rotate(-90 %.0f %.0f)\"", x, y);
        kn_chart_label(t, x, y, l->label_size, l->label_room, more, name);
    }
}

static void write_titles(kn_text *t, const layout *l) {
    double side = l->cell * l->chart->classes;
    if (l->chart->title != NULL)
        kn_chart_words(t, KN_CHART_EDGE, l->title_base, KN_CHART_TITLE,
                       (l->width - 2 * KN_CHART_EDGE) / KN_CHART_BOLD, " font-weight=\"600\"",
                       l->chart->title);
    /* Beside the cells where they are long enough, else as near as the picture allows. */
    double half = kn_chart_text_width(column_title, AXIS_TITLE) / 2;
    kn_chart_words(t, fmax(l->left + side / 2, KN_CHART_EDGE + half), l->height - 12, AXIS_TITLE,
                   l->width, " text-anchor=\"middle\"", column_title);
    char turn[96];
    int x = KN_CHART_EDGE + AXIS_TITLE - 2;
    int y = (int)fmax(l->top + side / 2, 4 + kn_chart_text_width(row_title, AXIS_TITLE) / 2);
    snprintf(turn, sizeof turn, " text-anchor=\"middle\" transform=\"rotate(-90 %d %d)\"", x, y);
    kn_chart_words(t, x, y, AXIS_TITLE, l->height, turn, row_title);
}

static void write_legend(kn_text *t, const layout *l) {
    static const double share[SWATCHES] = {0.01, 0.05, 0.25, 0.5, 1};
    double x = KN_CHART_EDGE, y = l->legend_base;
    for (int right = 1; right >= 0; right--) {
        const char *name = right ? "right" : "wrong";
        kn_chart_words(t, x, y, LEGEND_SIZE, l->width, "", name);
        x += ceil(kn_chart_text_width(name, LEGEND_SIZE)) + 6;
        for (int i = 0; i < SWATCHES; i++) {
            write_square(t, right, x + i * SWATCH, y - SWATCH + 3, SWATCH - 1, shade_of(share[i]));
            kn_text_printf(t, "/>\n");
        }
        x += SWATCHES * SWATCH + 16;
    }
    if (l->long_legend)
        kn_chart_words(t, KN_CHART_EDGE, y + 18, LEGEND_SIZE, l->width, " class=\"tick\"",
                       legend_note);
    else
        kn_chart_words(t, x, y, LEGEND_SIZE, l->width, " class=\"tick\"", legend_note);
}

void kn_matrix_chart_svg(kn_text *t, const kn_matrix_chart *chart) {
    layout laid = {.chart = chart}, *l = &laid;
    lay_out(l, chart->width != 0 ? chart->width : WIDTH);
    kn_chart_open(t, chart->title != NULL ? chart->title : "confusion matrix", (int)ceil(l->width),
                  (int)ceil(l->height));
    write_legend(t, l);
    write_cells(t, l);
    write_frame(t, l);
    write_names(t, l);
    write_titles(t, l);
    kn_text_printf(t, "</svg>\n");
}

kn_status kn_matrix_chart_write(const kn_matrix_chart *chart, const char *path,
                                const kn_allocator *allocator, kn_error *error) {
    int width = chart->width != 0 ? chart->width : WIDTH;
    if (chart->classes < 1 || chart->classes > MOST_CLASSES)
        return kn_error_set(error, KN_ERR_ARG, "%s: a matrix of %d classes, expected 1 to %d", path,
                            chart->classes, MOST_CLASSES);
    if (width < 240 || width > 8192)
        return kn_error_set(error, KN_ERR_ARG, "%s: a chart %d pixels wide, expected 240 to 8192",
                            path, width);
    assert(chart->names != NULL && chart->counts != NULL);
    kn_text text = {.allocator = allocator};
    kn_matrix_chart_svg(&text, chart);
    kn_status status = text.failed
                           ? kn_error_set(error, KN_ERR_MEMORY, "%s: no memory to draw it", path)
                           : kn_file_write(path, text.data, text.length, error);
    kn_text_free(&text);
    return status;
}
