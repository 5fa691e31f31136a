/* resize_axis.c - see resize_axis.h. An output sample is a weighted sum of the input samples around
 * it. The weights are the bicubic curve (a = -0.5), widened by the factor of the reduction,
 * normalised to the sum 1 in double and then rounded to 22 bits after the point. To equal Pillow,
 * every double has to be computed as there: the curve's formula, the order of the sum, the
 * division. Samples beside the part that is resized have a weight too, as with Pillow's box.
 *
 * A random crop has a new axis for every picture, so this is as much a hot loop as the filtering:
 * the curve is computed without branches, for a compiler to vectorise. */
#include "formats/resize_axis.h"

#include "formats/resize_kernel.h"

#include <math.h>
#include <string.h>

static inline double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    double near = ((a + 2) * x - (a + 3)) * x * x + 1;
    double far = (((x - 5) * x + 8) * x - 4) * a;
    double outer = x < 2 ? far : 0;
    return x < 1 ? near : outer;
}

static double widening(double scale) {
    return scale > 1 ? scale : 1;
}

bool kn_resize_axis_copies(const kn_resize_axis *a) {
    return a->to - a->from == (float)a->out && a->from == floorf(a->from) && a->out <= a->in;
}

int kn_resize_axis_taps(float length, int out) {
    int taps = (int)ceil(2 * widening((double)length / out)) * 2 + 1;
    if (taps <= KN_FEW_TAPS)
        return KN_FEW_TAPS;
    return (taps + KN_TAP_LANES - 1) / KN_TAP_LANES * KN_TAP_LANES;
}

/* The weights of output i as doubles. Returns their number, *first the input they begin at. */
static int weigh(const kn_resize_axis *a, int i, double *restrict weight, int *first) {
    double scale = (double)(a->to - a->from) / a->out; /* the difference in float, as Pillow */
    double support = 2 * widening(scale), narrowing = 1 / widening(scale);
    double centre = (double)a->from + (i + 0.5) * scale, sum = 0;
    int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
    low = low > 0 ? low : 0;
    high = high < a->in ? high : a->in;
    for (int k = 0; k < high - low; k++)
        weight[k] = cubic((k + low - centre + 0.5) * narrowing);
    for (int k = 0; k < high - low; k++)
        sum += weight[k];
    for (int k = 0; k < high - low && sum != 0; k++)
        weight[k] /= sum;
    *first = low;
    return high - low;
}

/* To fixed point, in two halves. */
static void split_weights(const double *restrict weight, int used, int16_t *restrict high,
                          int16_t *restrict low) {
    for (int k = 0; k < used; k++) {
        double scaled = weight[k] * (1 << KN_WEIGHT_BITS);
        int fixed = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
        int upper = fixed >> KN_LOW_BITS; /* floor, so the lower half is never negative */
        high[k] = (int16_t)upper;
        low[k] = (int16_t)(fixed - upper * (1 << KN_LOW_BITS));
    }
}

void kn_resize_axis_fill(kn_resize_axis *a, double *weights) {
    size_t taps = (size_t)a->taps;
    int end = 0;
    memset(a->high, 0, (size_t)a->out * taps * sizeof *a->high);
    memset(a->low, 0, (size_t)a->out * taps * sizeof *a->low);
    for (int i = 0; i < a->out; i++) {
        a->used[i] = weigh(a, i, weights, &a->first[i]);
        split_weights(weights, a->used[i], a->high + (size_t)i * taps, a->low + (size_t)i * taps);
        end = a->first[i] + a->used[i];
    }
    a->begin = a->first[0];
    a->count = end - a->begin;
    for (int i = 0; i < a->out; i++)
        a->first[i] -= a->begin;
}
