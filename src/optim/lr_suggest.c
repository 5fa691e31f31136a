/* lr_suggest.c - which rate a curve of losses over rates speaks for: four readings, as the library
 * fastai defines them, so that a curve gives the same numbers here and there. */
#include "core/ctx.h"

#include <kiln/lr_find.h>

#include <math.h>

enum { FEWEST = 4, SLIDE_WIDTH = 15 };

/* Slopes of the loss that differ by less count as equal. */
static const double slide_threshold = 0.005;

/* length[i]: of the longest decreasing subsequence of loss[0..i] that ends with loss[i]. The valley
 * is the first of the longest, taken as if its points lay side by side; the suggestion lies one
 * third and half of another third into it. */
static double valley(const double *lr, const double *loss, int count, int *length) {
    int end = 0, start = 0;
    for (int i = 0; i < count; i++) {
        length[i] = 1;
        for (int j = 0; j < i; j++)
            if (loss[i] < loss[j] && length[i] <= length[j])
                length[i] = length[j] + 1;
        if (length[i] > length[end]) {
            end = i;
            start = end - length[end];
        }
    }
    double third = (end - start) / 3.0;
    int at = start + (int)third + (int)(third / 2);
    return lr[at > 0 ? at : 0]; /* -1 for a fall of two points at the very start */
}

static double steep(const double *lr, const double *loss, int count) {
    int best = 0;
    double lowest = INFINITY;
    for (int i = 0; i + 1 < count; i++) {
        double slope = (loss[i + 1] - loss[i]) / (log(lr[i + 1]) - log(lr[i]));
        if (slope < lowest) {
            lowest = slope;
            best = i;
        }
    }
    return lr[best];
}

static double minimum(const double *lr, const double *loss, int count) {
    int best = 0;
    for (int i = 1; i < count; i++)
        if (loss[i] < loss[best])
            best = i;
    return lr[best] / 10;
}

/* The slope a point: central differences, one-sided at the ends. */
static double slope_at(const double *loss, int count, int i) {
    if (i == 0)
        return loss[1] - loss[0];
    if (i == count - 1)
        return loss[i] - loss[i - 1];
    return (loss[i + 1] - loss[i - 1]) / 2;
}

/* A ruler of fixed width slides down from the end while the slopes at its two ends differ: it stops
 * where the curve is even. */
static double slide(const double *lr, const double *loss, int count) {
    int right = count - 1, left = right - SLIDE_WIDTH;
    if (left < 0)
        return NAN;
    double found = lr[left];
    for (; left >= 0; left--, right--) {
        double change = slope_at(loss, count, right) - slope_at(loss, count, left);
        if (!(fabs(change) > slide_threshold))
            break;
        found = lr[left];
    }
    return found;
}

kn_status kn_lr_suggest(kn_ctx *ctx, const double *lr, const double *loss, int count,
                        kn_lr_suggestion *out) {
    *out = (kn_lr_suggestion){NAN, NAN, NAN, NAN};
    if (count < FEWEST)
        return KN_OK;
    int *length = kn_calloc(ctx, (size_t)count, sizeof *length, "the rate finder");
    if (length == NULL)
        return KN_ERR_MEMORY;
    *out = (kn_lr_suggestion){.valley = valley(lr, loss, count, length),
                              .steep = steep(lr, loss, count),
                              .minimum = minimum(lr, loss, count),
                              .slide = slide(lr, loss, count)};
    kn_free(ctx, length);
    return KN_OK;
}
