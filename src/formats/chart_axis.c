/* chart_axis.c - the ends of an axis, and where its ticks go. A tick is a whole number times a
 * power of ten, and its label is made from those two, so labels have no rounding errors. */
#include "formats/chart_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    GAP_BETWEEN_LABELS = 14, /* pixels, side by side */
    ROW = 34,                /* pixels from one label to that above it */
    COLUMN = 44,             /* the least distance of two ticks of a horizontal axis */
};

/* A range narrower than this part of its values cannot be told apart in their labels. */
static const double narrowest = 1e-6;

/* number x 10^exponent */
typedef struct {
    int64_t number;
    int exponent;
} decimal;

static double value_of(decimal d) {
    return d.exponent >= 0 ? (double)d.number * pow(10, d.exponent)
                           : (double)d.number / pow(10, -d.exponent);
}

double kn_axis_scale(const kn_axis *axis, double value) {
    return axis->log ? log10(value) : value;
}

void kn_axis_fit(kn_axis *axis, double low, double high, double margin) {
    double size = fmax(fabs(low), fabs(high));
    if (axis->log && high - low < 1e-4) { /* a third of a decade on each side */
        low -= 1.0 / 3;
        high += 1.0 / 3;
    } else if (high - low <= fmax(size * narrowest, KN_CHART_TINY)) {
        double around = axis->whole ? 0.5 : size > KN_CHART_TINY ? size / 10 : 1;
        low -= around;
        high += around;
    } else {
        double more = (high - low) * margin;
        low -= more;
        high += more;
    }
    axis->low = low;
    axis->high = high;
}

/* ---- labels ---- */

static void label_plain(char *text, decimal d) {
    int64_t unit = 1, size = d.number < 0 ? -d.number : d.number;
    for (int i = 0; i < abs(d.exponent); i++)
        unit *= 10;
    if (d.exponent >= 0) {
        snprintf(text, KN_CHART_LABEL, "%" PRId64, d.number * unit);
        return;
    }
    text +=
        snprintf(text, KN_CHART_LABEL / 2, "%s%" PRId64 ".", d.number < 0 ? "-" : "", size / unit);
    for (unit /= 10; unit > 0; unit /= 10)
        *text++ = (char)('0' + size / unit % 10);
    *text = '\0';
}

/* 1.5e-7 */
static void label_exponent(char *text, decimal d) {
    char digits[24];
    while (d.number != 0 && d.number % 10 == 0) {
        d.number /= 10;
        d.exponent++;
    }
    int length = snprintf(digits, sizeof digits, "%" PRId64, d.number < 0 ? -d.number : d.number);
    if (d.number == 0)
        snprintf(text, KN_CHART_LABEL, "0");
    else
        snprintf(text, KN_CHART_LABEL, "%s%c%s%se%d", d.number < 0 ? "-" : "", digits[0],
                 length > 1 ? "." : "", digits + 1, d.exponent + length - 1);
}

static bool add_tick(kn_axis *axis, decimal d, bool exponent) {
    double at = kn_axis_scale(axis, value_of(d));
    double slack = (axis->high - axis->low) * 1e-9;
    if (at < axis->low - slack || at > axis->high + slack)
        return true;
    if (axis->ticks == KN_CHART_TICKS)
        return false;
    kn_tick *tick = &axis->tick[axis->ticks++];
    *tick = (kn_tick){.at = fmin(fmax(at, axis->low), axis->high)};
    if (exponent)
        label_exponent(tick->label, d);
    else
        label_plain(tick->label, d);
    return true;
}

/* Whether the labels chosen so far have room. */
static bool labels_fit(const kn_axis *axis, double pixels, bool horizontal) {
    double scale = pixels / (axis->high - axis->low);
    for (int i = 1; i < axis->ticks; i++) {
        const kn_tick *a = &axis->tick[i - 1], *b = &axis->tick[i];
        double need = horizontal ? (kn_chart_text_width(a->label, KN_CHART_SMALL) +
                                    kn_chart_text_width(b->label, KN_CHART_SMALL)) /
                                           2 +
                                       GAP_BETWEEN_LABELS
                                 : ROW / 2.0;
        if ((b->at - a->at) * scale < need)
            return false;
    }
    return true;
}

/* ---- a linear axis: steps of 1, 2 or 5 times a power of ten ---- */

/* Ticks at whole multiples of step between two values. False when there are too many. */
static bool add_multiples(kn_axis *axis, decimal step, double low, double high) {
    double first = ceil(low / value_of(step) - 1e-9), last = floor(high / value_of(step) + 1e-9);
    double largest = fmax(fabs(first), fabs(last)) * value_of(step);
    axis->ticks = 0;
    if (last - first >= KN_CHART_TICKS)
        return false;
    bool exponent = largest >= 1e6 || largest < 1e-3;
    for (int64_t n = (int64_t)first; n <= (int64_t)last; n++)
        if (!add_tick(axis, (decimal){n * step.number, step.exponent}, exponent))
            return false;
    return true;
}

static decimal next_step(decimal step) {
    switch (step.number) {
    case 1:
        return (decimal){2, step.exponent};
    case 2:
        return (decimal){5, step.exponent};
    default:
        return (decimal){1, step.exponent + 1};
    }
}

/* The smallest step whose ticks are distance pixels apart or more, and whose labels fit. */
static void step_up(kn_axis *axis, double low, double high, double pixels, double distance,
                    bool horizontal) {
    double least = (high - low) * distance / pixels;
    decimal step = {1, (int)floor(log10(least))};
    if (axis->whole && step.exponent < 0)
        step.exponent = 0;
    while (value_of(step) < least * (1 - 1e-9) && value_of(step) < high - low)
        step = next_step(step);
    while (!add_multiples(axis, step, low, high) || !labels_fit(axis, pixels, horizontal))
        step = next_step(step); /* ends: at last there is one tick or none */
}

static void choose_linear(kn_axis *axis, double low, double high, double pixels, bool horizontal) {
    double distance = horizontal ? COLUMN : ROW;
    step_up(axis, low, high, pixels, distance, horizontal);
    if (axis->ticks < 3) /* a small chart: closer ticks are better than none to compare with */
        step_up(axis, low, high, pixels, distance / 2, horizontal);
}

/* ---- a logarithmic axis: decades, and 2 and 5 times them where there is room ---- */

static void add_decades(kn_axis *axis, const int *multiple, int multiples, int apart) {
    int first = (int)floor(axis->low), last = (int)floor(axis->high);
    axis->ticks = 0;
    for (int e = first; e <= last; e++)
        for (int m = 0; m < multiples && e % apart == 0; m++)
            if (!add_tick(axis, (decimal){multiple[m], e}, e < -3 || e > 5)) {
                axis->ticks = 0; /* too many: as good as none */
                return;
            }
}

static int by_place(const void *a, const void *b) {
    double p = ((const kn_tick *)a)->at, q = ((const kn_tick *)b)->at;
    return (p > q) - (p < q);
}

/* Marks at 2 to 9 times each decade, which show that the axis is logarithmic. */
static void add_minor(kn_axis *axis) {
    kn_axis marks = *axis;
    add_decades(&marks, (const int[]){1, 2, 3, 4, 5, 6, 7, 8, 9}, 9, 1);
    int labelled = axis->ticks;
    if (labelled + marks.ticks > KN_CHART_TICKS)
        return;
    for (int i = 0; i < marks.ticks; i++) {
        bool taken = false;
        for (int k = 0; k < labelled; k++)
            taken = taken || fabs(axis->tick[k].at - marks.tick[i].at) < 1e-6;
        if (!taken)
            axis->tick[axis->ticks++] = (kn_tick){.at = marks.tick[i].at, .minor = true};
    }
    qsort(axis->tick, (size_t)axis->ticks, sizeof axis->tick[0], by_place);
}

static void choose_log(kn_axis *axis, double pixels, bool horizontal) {
    add_decades(axis, (const int[]){1, 2, 5}, 3, 1);
    if (axis->ticks < 3 && axis->high - axis->low < 1) {
        choose_linear(axis, pow(10, axis->low), pow(10, axis->high), pixels, horizontal);
        return;
    }
    if (axis->ticks > 0 && labels_fit(axis, pixels, horizontal)) {
        add_minor(axis);
        return;
    }
    for (int apart = 1; apart <= 1000; apart += apart < 10 ? 1 : 10) {
        add_decades(axis, (const int[]){1}, 1, apart);
        if (axis->ticks == 0 || !labels_fit(axis, pixels, horizontal))
            continue;
        if (apart == 1)
            add_minor(axis);
        return;
    }
    axis->ticks = 0;
}

void kn_axis_choose_ticks(kn_axis *axis, double pixels, bool horizontal) {
    axis->ticks = 0;
    if (axis->log)
        choose_log(axis, pixels, horizontal);
    else
        choose_linear(axis, axis->low, axis->high, pixels, horizontal);
}
