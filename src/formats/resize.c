/* resize.c - resizing to another width and height with Pillow's bytes.
 *
 * Each axis is one filter: an output sample is a weighted sum of the input samples around it. The
 * weights are the bicubic curve (a = -0.5), widened by the factor of the reduction, normalised to
 * the sum 1 in double and then rounded to 22 bits after the point. Sums are exact integers, so
 * their order is free; rounding to a byte happens once after each axis, so which axis comes first
 * matters (height_first). To equal Pillow, the weights must be rounded the same way, and an axis
 * that does not change be skipped.
 *
 * Both axes run the same kernel (resize_kernel.h) over a contiguous line of 16-bit samples: a
 * channel of a row, then a channel of a column. */
#include "core/ctx.h"
#include "formats/picture.h"
#include "formats/resize_kernel.h"

#include <math.h>
#include <string.h>

enum { MAX_SIDE = 1 << 28 };

/* The weights of one axis. Output i is sum over k of line[first[i] + k] * weight(i, k). */
typedef struct axis {
    int in, out;
    int taps; /* of every output, padding included */
    int *first, *used;
    int16_t *high, *low; /* [out,taps] */
} axis;

/* What the reader's scratch holds. Kept while the four sizes stay the same. */
typedef struct plan {
    axis x, y;
    bool height_first;
    int top, rows; /* input rows that have a weight */
    /* One channel of a row or a column each. Padded taps read past the samples' end: what they find
     * there has no weight, but must be there. */
    int16_t *line[3];
    size_t line_bytes;
    uint8_t *middle; /* after the first pass: [out_w,3,rows], or [out_h,w,3] if height is first */
    double *weights; /* of one output, while the axes are filled */
    const kn_resize_kernels *kernels;
} plan;

/* ---- weights ---- */

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double reduction(int in, int out) {
    double scale = (double)in / out;
    return scale > 1 ? scale : 1;
}

static int padded_taps(int in, int out) {
    int taps = (int)ceil(2 * reduction(in, out)) * 2 + 1;
    return (taps + KN_TAP_LANES - 1) / KN_TAP_LANES * KN_TAP_LANES;
}

/* The weights of output i as doubles. Returns their number, *first the input they begin at. */
static int weigh(const axis *a, int i, double *weight, int *first) {
    double scale = (double)a->in / a->out, widening = reduction(a->in, a->out);
    double centre = (i + 0.5) * scale, support = 2 * widening, narrowing = 1 / widening, sum = 0;
    int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
    low = low > 0 ? low : 0;
    high = high < a->in ? high : a->in;
    for (int k = 0; k < high - low; k++) {
        weight[k] = cubic((k + low - centre + 0.5) * narrowing);
        sum += weight[k];
    }
    for (int k = 0; k < high - low; k++)
        if (sum != 0)
            weight[k] /= sum;
    *first = low;
    return high - low;
}

static void fill_axis(axis *a, double *weight) {
    for (int i = 0; i < a->out; i++) {
        int16_t *high = a->high + (size_t)i * (size_t)a->taps;
        int16_t *low = a->low + (size_t)i * (size_t)a->taps;
        memset(high, 0, (size_t)a->taps * sizeof *high);
        memset(low, 0, (size_t)a->taps * sizeof *low);
        a->used[i] = weigh(a, i, weight, &a->first[i]);
        for (int k = 0; k < a->used[i]; k++) {
            double scaled = weight[k] * (1 << KN_WEIGHT_BITS);
            int fixed = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
            int upper = fixed >> KN_LOW_BITS; /* floor, so the lower half is never negative */
            high[k] = (int16_t)upper;
            low[k] = (int16_t)(fixed - upper * (1 << KN_LOW_BITS));
        }
    }
}

/* ---- the plan ---- */

/* A piece of the block, or, while base is NULL, only its size counted. */
static void *carve(uint8_t *base, size_t *used, size_t count, size_t size) {
    void *piece = base != NULL ? base + *used : NULL;
    *used += (count * size + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
    return piece;
}

static void lay_axis(axis *a, uint8_t *base, size_t *used) {
    size_t out = (size_t)a->out, taps = (size_t)a->taps;
    a->first = carve(base, used, out, sizeof *a->first);
    a->used = carve(base, used, out, sizeof *a->used);
    a->high = carve(base, used, out * taps, sizeof *a->high);
    a->low = carve(base, used, out * taps, sizeof *a->low);
}

/* Pillow 13 reduces a tall picture's height first, by this rule; earlier versions never did. */
static bool height_first(int h, int w, int out_h, int out_w) {
    return out_h < h && (int64_t)h - out_h > 2 * ((int64_t)w - out_w);
}

/* Returns the bytes of the plan with all that it points to. */
static size_t lay_out(plan *p, uint8_t *base) {
    size_t used = 0;
    carve(base, &used, 1, sizeof *p);
    lay_axis(&p->x, base, &used);
    lay_axis(&p->y, base, &used);
    size_t side = (size_t)(p->x.in > p->y.in ? p->x.in : p->y.in);
    size_t taps = (size_t)(p->x.taps > p->y.taps ? p->x.taps : p->y.taps);
    p->line_bytes = (side + taps) * sizeof *p->line[0];
    for (int c = 0; c < 3; c++)
        p->line[c] = carve(base, &used, 1, p->line_bytes);
    p->weights = carve(base, &used, taps, sizeof *p->weights);
    size_t middle_w = (size_t)(p->height_first ? p->x.in : p->x.out);
    size_t middle_h = (size_t)(p->height_first ? p->y.out : p->y.in);
    p->middle = carve(base, &used, middle_w * middle_h, 3);
    return used;
}

static void fill(plan *p) {
    for (int c = 0; c < 3; c++)
        memset(p->line[c], 0, p->line_bytes);
    fill_axis(&p->x, p->weights);
    fill_axis(&p->y, p->weights);
    int last = p->y.out - 1;
    p->top = p->y.first[0];
    p->rows = p->y.first[last] + p->y.used[last] - p->top;
    for (int i = 0; i <= last; i++)
        p->y.first[i] -= p->top;
}

static bool plan_fits(const plan *p, int h, int w, int out_h, int out_w) {
    return p != NULL && p->x.in == w && p->y.in == h && p->x.out == out_w && p->y.out == out_h;
}

static kn_status plan_for(kn_image_reader *r, int h, int w, int out_h, int out_w, plan **out,
                          kn_error *error) {
    *out = r->resize.data;
    if (plan_fits(*out, h, w, out_h, out_w))
        return KN_OK;
    plan p = {.x = {.in = w, .out = out_w, .taps = padded_taps(w, out_w)},
              .y = {.in = h, .out = out_h, .taps = padded_taps(h, out_h)},
              .height_first = height_first(h, w, out_h, out_w),
              .kernels = kn_resize_best()};
    size_t bytes = lay_out(&p, NULL), limit = kn_reader_limit(r);
    if (bytes > limit)
        return kn_error_set(error, KN_ERR_LIMIT,
                            "resize: %d x %d to %d x %d pixels takes %zu bytes, the limit is %zu",
                            w, h, out_w, out_h, bytes, limit);
    uint8_t *base = kn_reader_room(r, &r->resize, bytes);
    if (base == NULL)
        return kn_error_set(error, KN_ERR_MEMORY, "resize: out of memory: %zu bytes", bytes);
    lay_out(&p, base);
    fill(&p);
    *out = memcpy(base, &p, sizeof p);
    return KN_OK;
}

/* ---- the two passes ---- */

static void filter(const plan *p, const axis *a, const int16_t *line, uint8_t *out,
                   ptrdiff_t stride) {
    kn_filter f = {
        .count = a->out, .taps = a->taps, .first = a->first, .high = a->high, .low = a->low};
    p->kernels->filter(&f, line, out, stride);
}

/* Output (y, x, c) goes to out[y * down + (x * 3 + c) * channel]. */
static void resize_width(plan *p, const uint8_t *in, int rows, uint8_t *out, ptrdiff_t down,
                         ptrdiff_t channel) {
    for (int y = 0; y < rows; y++, out += down, in += (ptrdiff_t)p->x.in * 3) {
        p->kernels->split(in, p->x.in, p->line[0], p->line[1], p->line[2]);
        for (int c = 0; c < 3; c++)
            filter(p, &p->x, p->line[c], out + c * channel, 3 * channel);
    }
}

/* Input (y, i) is at in[y * down + i * right], i counting columns and channels. */
static void resize_height(plan *p, const uint8_t *restrict in, ptrdiff_t down, ptrdiff_t right,
                          ptrdiff_t columns, uint8_t *out) {
    int16_t *restrict line = p->line[0];
    for (ptrdiff_t i = 0; i < columns; i++, in += right) {
        for (int y = 0; y < p->rows; y++)
            line[y] = in[y * down];
        filter(p, &p->y, line, out + i, columns);
    }
}

static void run(plan *p, const uint8_t *pixels, uint8_t *out) {
    ptrdiff_t in_row = (ptrdiff_t)p->x.in * 3, out_row = (ptrdiff_t)p->x.out * 3;
    const uint8_t *top = pixels + p->top * in_row;
    if (p->y.in == p->y.out) {
        resize_width(p, pixels, p->y.in, out, out_row, 1);
    } else if (p->x.in == p->x.out) {
        resize_height(p, top, in_row, 1, in_row, out);
    } else if (p->height_first) {
        resize_height(p, top, in_row, 1, in_row, p->middle);
        resize_width(p, p->middle, p->y.out, out, out_row, 1);
    } else {
        resize_width(p, top, p->rows, p->middle, 1, p->rows);
        resize_height(p, p->middle, 1, p->rows, out_row, out);
    }
}

kn_status kn_image_resize(kn_image_reader *r, const uint8_t *pixels, int h, int w, uint8_t *out,
                          int out_h, int out_w, kn_error *error) {
    if (h < 1 || w < 1 || out_h < 1 || out_w < 1 || h > MAX_SIDE || w > MAX_SIDE ||
        out_h > MAX_SIDE || out_w > MAX_SIDE)
        return kn_error_set(error, KN_ERR_ARG,
                            "resize: %d x %d to %d x %d pixels, expected 1 to %d a side", w, h,
                            out_w, out_h, MAX_SIDE);
    if (h == out_h && w == out_w) {
        memcpy(out, pixels, (size_t)h * (size_t)w * 3);
        return KN_OK;
    }
    plan *p = NULL;
    kn_status status = plan_for(r, h, w, out_h, out_w, &p, error);
    if (status != KN_OK)
        return status;
    run(p, pixels, out);
    return KN_OK;
}
