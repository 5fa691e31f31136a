/* resize.c - resizing a part of a picture to another width and height with Pillow's bytes.
 *
 * Each axis is one filter (resize_axis.c). Its sums are exact integers, so their order is free;
 * rounding to a byte happens once after each axis, so which axis comes first matters
 * (height_first). An axis that only shifts by whole samples is skipped: its weights are 1 and 0.
 *
 * A row is resized by splitting it into a contiguous line of 16-bit samples for each channel, a
 * height by adding up whole rows (resize_kernel.h). */
#include "core/ctx.h"
#include "formats/picture.h"
#include "formats/resize_axis.h"
#include "formats/resize_kernel.h"

#include <string.h>

enum { MAX_SIDE = 1 << 28 };

/* What the reader's scratch holds. Kept while the sizes and the box stay the same. */
typedef struct plan {
    kn_resize_axis x, y;
    bool height_first;
    /* One channel of a row each. Padded taps read past the samples' end: what they find there has
     * no weight, but must be there. */
    int16_t *line[3];
    size_t line_bytes;
    uint8_t *middle; /* after the first pass: [rows,out_w,3], or [out_h,columns,3] if height is
                        first */
    double *weights; /* of one output, while the axes are filled */
    const kn_resize_kernels *kernels;
} plan;

/* ---- the plan ---- */

/* A piece of the block, or, while base is NULL, only its size counted. */
static void *carve(uint8_t *base, size_t *used, size_t count, size_t size) {
    void *piece = base != NULL ? base + *used : NULL;
    *used += (count * size + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
    return piece;
}

/* Room for the taps of the whole input, which has the most: then the plan of another box of the
 * same picture fits, too. Returns those taps. */
static size_t lay_axis(kn_resize_axis *a, uint8_t *base, size_t *used) {
    size_t out = (size_t)a->out, taps = (size_t)kn_resize_axis_taps((float)a->in, a->out);
    a->first = carve(base, used, out, sizeof *a->first);
    a->used = carve(base, used, out, sizeof *a->used);
    a->high = carve(base, used, out * taps, sizeof *a->high);
    a->low = carve(base, used, out * taps, sizeof *a->low);
    return taps;
}

/* Pillow 13 reduces a tall picture's height first, by this rule, which does not look at the box;
 * earlier versions never did. */
static bool height_first(int h, int w, int out_h, int out_w) {
    return out_h < h && (int64_t)h - out_h > 2 * ((int64_t)w - out_w);
}

/* Returns the bytes of the plan with all that it points to. */
static size_t lay_out(plan *p, uint8_t *base) {
    size_t used = 0;
    carve(base, &used, 1, sizeof *p);
    size_t x_taps = lay_axis(&p->x, base, &used), y_taps = lay_axis(&p->y, base, &used);
    size_t taps = x_taps > y_taps ? x_taps : y_taps;
    p->line_bytes = ((size_t)p->x.in + x_taps) * sizeof *p->line[0];
    for (int c = 0; c < 3; c++)
        p->line[c] = carve(base, &used, 1, p->line_bytes);
    p->weights = carve(base, &used, taps, sizeof *p->weights);
    size_t middle_w = (size_t)(p->height_first ? p->x.in : p->x.out);
    size_t middle_h = (size_t)(p->height_first ? p->y.out : p->y.in);
    p->middle = carve(base, &used, middle_w * middle_h, 3);
    return used;
}

static bool same_axis(const kn_resize_axis *a, const kn_resize_axis *b) {
    return a->in == b->in && a->out == b->out && a->from == b->from && a->to == b->to;
}

static kn_status plan_for(kn_image_reader *r, const plan *wanted, plan **out, kn_error *error) {
    *out = r->resize.data;
    if (*out != NULL && same_axis(&(*out)->x, &wanted->x) && same_axis(&(*out)->y, &wanted->y))
        return KN_OK;
    plan p = *wanted;
    p.x.taps = kn_resize_axis_taps(p.x.to - p.x.from, p.x.out);
    p.y.taps = kn_resize_axis_taps(p.y.to - p.y.from, p.y.out);
    p.height_first = height_first(p.y.in, p.x.in, p.y.out, p.x.out);
    p.kernels = kn_resize_best();
    size_t bytes = lay_out(&p, NULL), limit = kn_reader_limit(r);
    if (bytes > limit)
        return kn_error_set(error, KN_ERR_LIMIT,
                            "resize: %d x %d to %d x %d pixels takes %zu bytes, the limit is %zu",
                            p.x.in, p.y.in, p.x.out, p.y.out, bytes, limit);
    uint8_t *base = kn_reader_room(r, &r->resize, bytes);
    if (base == NULL)
        return kn_error_set(error, KN_ERR_MEMORY, "resize: out of memory: %zu bytes", bytes);
    lay_out(&p, base);
    for (int c = 0; c < 3; c++)
        memset(p.line[c], 0, p.line_bytes);
    kn_resize_axis_fill(&p.x, p.weights);
    kn_resize_axis_fill(&p.y, p.weights);
    *out = memcpy(base, &p, sizeof p);
    return KN_OK;
}

/* ---- the two passes ---- */

/* Input row y begins at in + y * down; out is [rows,out_w,3]. */
static void resize_width(plan *p, const uint8_t *in, ptrdiff_t down, int rows, uint8_t *out) {
    const kn_resize_axis *a = &p->x;
    const kn_filter f = {
        .count = a->out, .taps = a->taps, .first = a->first, .high = a->high, .low = a->low};
    for (int y = 0; y < rows; y++, out += (ptrdiff_t)a->out * 3, in += down) {
        p->kernels->split(in, a->count, p->line[0], p->line[1], p->line[2]);
        for (int c = 0; c < 3; c++)
            p->kernels->filter(&f, p->line[c], out + c);
    }
}

/* The same; out is [out_h,bytes], a row's bytes being columns and channels. */
static void resize_height(const plan *p, const uint8_t *in, ptrdiff_t down, ptrdiff_t bytes,
                          uint8_t *out) {
    const kn_resize_axis *a = &p->y;
    for (int y = 0; y < a->out; y++, out += bytes) {
        ptrdiff_t at = (ptrdiff_t)y * a->taps;
        p->kernels->add_rows(in + a->first[y] * down, down, a->used[y], a->high + at, a->low + at,
                             bytes, out);
    }
}

static void run(plan *p, const uint8_t *pixels, uint8_t *out) {
    ptrdiff_t row = (ptrdiff_t)p->x.in * 3, columns = (ptrdiff_t)p->x.count * 3;
    ptrdiff_t out_row = (ptrdiff_t)p->x.out * 3;
    const uint8_t *in = pixels + p->y.begin * row + (ptrdiff_t)p->x.begin * 3;
    if (kn_resize_axis_copies(&p->y)) {
        const uint8_t *top = pixels + (ptrdiff_t)p->y.from * row + (ptrdiff_t)p->x.begin * 3;
        resize_width(p, top, row, p->y.out, out);
    } else if (kn_resize_axis_copies(&p->x)) {
        const uint8_t *left = pixels + p->y.begin * row + (ptrdiff_t)p->x.from * 3;
        resize_height(p, left, row, out_row, out);
    } else if (p->height_first) {
        resize_height(p, in, row, columns, p->middle);
        resize_width(p, p->middle, columns, p->y.out, out);
    } else {
        resize_width(p, in, row, p->y.count, p->middle);
        resize_height(p, p->middle, out_row, out_row, out);
    }
}

static void copy_box(const plan *p, const uint8_t *pixels, uint8_t *out) {
    size_t row = (size_t)p->x.in * 3, out_row = (size_t)p->x.out * 3;
    const uint8_t *in = pixels + (size_t)p->y.from * row + (size_t)p->x.from * 3;
    for (int y = 0; y < p->y.out; y++)
        memcpy(out + (size_t)y * out_row, in + (size_t)y * row, out_row);
}

/* False for NaN, too. */
static bool axis_is_good(const kn_resize_axis *a) {
    return a->in >= 1 && a->out >= 1 && a->in <= MAX_SIDE && a->out <= MAX_SIDE && a->from >= 0 &&
           a->to > a->from && a->to <= (float)a->in;
}

kn_status kn_image_resize_box(kn_image_reader *r, const uint8_t *pixels, int h, int w, kn_box box,
                              uint8_t *out, int out_h, int out_w, kn_error *error) {
    plan wanted = {.x = {.in = w, .out = out_w, .from = box.left, .to = box.right},
                   .y = {.in = h, .out = out_h, .from = box.top, .to = box.bottom}};
    if (!axis_is_good(&wanted.x) || !axis_is_good(&wanted.y))
        return kn_error_set(error, KN_ERR_ARG,
                            "resize: (%g, %g) to (%g, %g) of %d x %d to %d x %d pixels, expected "
                            "1 to %d a side and a box inside",
                            (double)box.left, (double)box.top, (double)box.right,
                            (double)box.bottom, w, h, out_w, out_h, MAX_SIDE);
    if (kn_resize_axis_copies(&wanted.x) && kn_resize_axis_copies(&wanted.y)) {
        copy_box(&wanted, pixels, out);
        return KN_OK;
    }
    plan *p = NULL;
    kn_status status = plan_for(r, &wanted, &p, error);
    if (status != KN_OK)
        return status;
    run(p, pixels, out);
    return KN_OK;
}

kn_status kn_image_resize(kn_image_reader *r, const uint8_t *pixels, int h, int w, uint8_t *out,
                          int out_h, int out_w, kn_error *error) {
    kn_box all = {0, 0, (float)w, (float)h};
    return kn_image_resize_box(r, pixels, h, w, all, out, out_h, out_w, error);
}
