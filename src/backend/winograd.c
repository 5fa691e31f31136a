/* winograd.c - see winograd.h: forward and the gradient of the input. Squares of results are cut
 * into blocks, which the threads take in turn. A block's windows are transformed, then each of
 * their 16 or 36 places is a matrix product of its own, [squares,depth] x [depth,cols], then the
 * results are transformed back. Few squares of a deep layer are one block, and the threads share
 * its products, so that each reads a part of the weights, not all; where these are new, so that
 * nobody else will read them, each transforms what it multiplies next. */
#include "backend/winograd.h"

#include "backend/cpu_loops.h"
#include "backend/winograd_weights.h"

#include <string.h>

/* Squares of a block: few, so that both sides of the products stay in the cache, or more where the
 * weights do not fit there and are read anew for each block. Numbers between two places beyond what
 * is there, so that the places of a channel do not meet in one set of the cache. */
enum { BLOCK = 48, LARGE_BLOCK = 96, LARGE = 1 << 18, PAD = 16, UNIT = 4 /* bytes */ };

/* Squares that are one block for all threads, where the weights are LARGE; and the columns of a
 * product that a thread takes at a time. */
enum { FEW = 64, GROUP = 128 };

/* So many squares are one block where the weights are LARGE and new; of these a thread transforms
 * so many columns at a time, or half as many so that there is work for all, and as much of their
 * depth as fits into its own cache. */
enum { NEW_SQUARES = 128, NEW_COLS = 64, NEW_BYTES = 600 << 10 };

/* Transforming the weights, and reading nearly twice as many, costs about as much as so many
 * squares save: in bf16 more, whose products take half the time. Those of squares of four by four
 * are twice as many again, which so many products have to be worth; more so where they are too many
 * for the last cache. */
enum { LEAST_SQUARES = 16, LEAST_SQUARES_BF16 = 32 };
enum { LEAST_SAVED = 200, LEAST_SAVED_HUGE = 400, HUGE_WEIGHTS = 1 << 17 };

static int64_t squares_of(int64_t n, int64_t h, int64_t w, int side) {
    return n * ((h + side - 1) / side) * ((w + side - 1) / side);
}

int kn_winograd_choose(const kn_tile_kernels *tile, int64_t n, int64_t h, int64_t w,
                       int64_t weights, int64_t squares) {
    int64_t two = squares_of(n, h, w, 2), four = squares_of(n, h, w, 4);
    int64_t saved = weights >= HUGE_WEIGHTS ? LEAST_SAVED_HUGE : LEAST_SAVED;
    if (two < squares)
        return 0;
    return tile->unit == 1 && 16 * two - 36 * four >= saved ? 4 : 2;
}

int kn_winograd_side(const kn_tile_kernels *tile, const kn_correlation *c) {
    int64_t least = tile->unit > 1 ? LEAST_SQUARES_BF16 : LEAST_SQUARES;
    bool can = c->kernel_h == 3 && c->kernel_w == 3 && c->in_step == 1 && c->out_step == 1 &&
               c->depth % KN_PANEL == 0 && c->cols % KN_PANEL == 0;
    return can ? kn_winograd_choose(tile, c->n, c->grid_h, c->grid_w, c->depth * c->cols, least)
               : 0;
}

/* ---- a block ---- */

typedef struct run_args {
    const kn_correlation *c;
    const kn_tile_kernels *tile;
    const kn_winograd_kernels *kernels;
    const char *in, *zeros; /* zeros: [depth] */
    const char *packed;     /* all weights; NULL: they are new, and plain */
    const float *plain;
    const float *bias;
    char *out;
    bool relu;
    int64_t size;                         /* bytes of a number of in and out */
    int64_t across, down, squares, block; /* squares across and down an image, in all, of a block */
    int64_t in_step, out_step;            /* between two places */
    /* Of each worker, or of one block for all: the sums, and what they are of. Of each worker: a
     * pixel for results outside the image. */
    char *room, *waste;
    int64_t in_at, room_size, waste_size; /* bytes */
    char *slabs; /* of each worker: some new weights, of so many depths at most */
    int64_t slab_size, slab_depth, slab_cols;
} run_args;

/* Weights of columns from `col` on and depths [from, from + depth), places so many numbers apart.
 */
typedef struct slab {
    const char *at;
    int64_t place, col, from, depth;
} slab;

static slab all_weights(const run_args *a) {
    return (slab){a->packed, a->c->cols * a->c->depth, 0, 0, a->c->depth};
}

typedef struct square {
    int64_t image, y, x; /* y, x: of the first result */
} square;

static square square_at(const run_args *a, int64_t i) {
    return (square){.image = i / (a->across * a->down),
                    .y = i / a->across % a->down * a->kernels->side,
                    .x = i % a->across * a->kernels->side};
}

static void transform_in(const run_args *a, square s, void *to) {
    const kn_correlation *c = a->c;
    int64_t pixel = c->depth * a->size;
    const char *image = a->in + s.image * c->in_h * c->in_w * pixel;
    kn_winograd_in w = {.channels = c->depth, .step = a->in_step, .panel = KN_PANEL, .out = to};
    int i = 0;
    for (int64_t y = c->in_y + s.y; y < c->in_y + s.y + a->kernels->window; y++)
        for (int64_t x = c->in_x + s.x; x < c->in_x + s.x + a->kernels->window; x++) {
            bool inside = y >= 0 && y < c->in_h && x >= 0 && x < c->in_w;
            w.in[i++] = inside ? image + (y * c->in_w + x) * pixel : a->zeros;
        }
    a->kernels->in(&w);
}

static void transform_out(const run_args *a, square s, const float *from, int worker) {
    const kn_correlation *c = a->c;
    int64_t pixel = c->cols * a->size;
    char *image = a->out + s.image * c->out_h * c->out_w * pixel;
    kn_winograd_out w = {
        .in = from, .channels = c->cols, .step = a->out_step, .bias = a->bias, .relu = a->relu};
    char *waste = a->waste + worker * a->waste_size;
    int i = 0;
    for (int64_t y = s.y; y < s.y + a->kernels->side; y++)
        for (int64_t x = s.x; x < s.x + a->kernels->side; x++) {
            bool inside = y < c->out_h && x < c->out_w;
            w.out[i++] = inside ? image + (y * c->out_w + x) * pixel : waste;
        }
    a->kernels->out(&w);
}

/* So many squares from i on, up to `most`, lie beside each other in one image. */
static int64_t beside(const run_args *a, int64_t i, int64_t most) {
    int64_t left = a->across - i % a->across;
    return left < most ? left : most;
}

/* Squares [begin, begin + count), whose sums begin at `from`: their results, and what follows them,
 * as many as lie in a row at a time. */
static void put_squares(const run_args *a, int64_t begin, int64_t count, const float *from,
                        int worker) {
    const kn_correlation *c = a->c;
    for (int64_t i = begin, some; i < begin + count; i += some, from += some * c->cols) {
        some = beside(a, i, begin + count - i);
        for (int64_t s = 0; s < some; s++)
            transform_out(a, square_at(a, i + s), from + s * c->cols, worker);
        if (c->then == NULL)
            continue;
        square s = square_at(a, i);
        int64_t width = some * a->kernels->side, bottom = s.y + a->kernels->side;
        width = width < c->out_w - s.x ? width : c->out_w - s.x;
        for (int64_t y = s.y; y < bottom && y < c->out_h; y++)
            c->then->run(c->then->args, (s.image * c->out_h + y) * c->out_w + s.x, width, 0,
                         c->cols);
    }
}

/* Place f: the block's squares, a tile's rows at a time, times the panels of columns [col, end);
 * added to what is there, if these are not the first depths. Beyond the last square there is room
 * for whatever a tile leaves. */
static void multiply(const run_args *a, const slab *w, int64_t f, int64_t count, int64_t col,
                     int64_t end, const char *in, float *out) {
    const kn_correlation *c = a->c;
    int rows = a->tile->rows;
    int64_t most = a->tile->panels * KN_PANEL;
    for (; col < end; col += most) {
        int64_t cols = end - col < most ? end - col : most;
        kn_pixel_tile t = {.taps = 1,
                           .depth = w->depth * a->size / UNIT,
                           .panels = (int)(cols / KN_PANEL),
                           .cols = cols,
                           .add = w->from > 0,
                           .sums = true};
        for (int p = 0; p < t.panels; p++)
            t.weights[p] =
                w->at + (f * w->place + (col - w->col + p * KN_PANEL) * w->depth) * a->size;
        for (int64_t i = 0; i < count; i += rows) {
            const void *row[KN_TILE_ROWS];
            for (int64_t r = 0; r < rows; r++) {
                row[r] = in + ((i + r) * c->depth + w->from) * a->size;
                t.out[r] = out + (i + r) * c->cols + col;
            }
            t.in = row;
            a->tile->pixels(&t);
        }
    }
}

static void run_block(const void *args, int worker, int64_t item) {
    const run_args *a = args;
    const kn_correlation *c = a->c;
    char *room = a->room + worker * a->room_size, *in = room + a->in_at;
    float *out = (float *)(void *)room;
    int64_t begin = item * a->block, left = a->squares - begin;
    int64_t count = left < a->block ? left : a->block;
    slab w = all_weights(a);
    for (int64_t i = 0; i < count; i++)
        transform_in(a, square_at(a, begin + i), in + i * c->depth * a->size);
    for (int64_t f = 0; f < a->kernels->places; f++)
        multiply(a, &w, f, count, 0, c->cols, in + f * a->in_step * a->size, out + f * a->out_step);
    put_squares(a, begin, count, out, worker);
}

/* ---- one block, shared ---- */

static void in_of_square(const void *args, int worker, int64_t i) {
    const run_args *a = args;
    (void)worker;
    transform_in(a, square_at(a, i), a->room + a->in_at + i * a->c->depth * a->size);
}

static int64_t groups_of(const run_args *a) {
    return (a->c->cols + GROUP - 1) / GROUP;
}

static void multiply_place(const run_args *a, const slab *w, int64_t f, int64_t col, int64_t end) {
    multiply(a, w, f, a->squares, col, end, a->room + a->in_at + f * a->in_step * a->size,
             (float *)(void *)a->room + f * a->out_step);
}

/* Item: a place and a group of columns. */
static void multiply_group(const void *args, int worker, int64_t item) {
    const run_args *a = args;
    int64_t groups = groups_of(a), f = item / groups, col = item % groups * GROUP;
    int64_t end = a->c->cols - col < GROUP ? a->c->cols : col + GROUP;
    slab w = all_weights(a);
    (void)worker;
    multiply_place(a, &w, f, col, end);
}

/* Item: some columns, whose weights are new. */
static void multiply_new(const void *args, int worker, int64_t item) {
    const run_args *a = args;
    const kn_correlation *c = a->c;
    int64_t col = item * a->slab_cols, left_cols = c->cols - col;
    int64_t end = left_cols < a->slab_cols ? c->cols : col + a->slab_cols;
    kn_winograd_weights weights = {c, a->tile, a->kernels, a->plain};
    char *at = a->slabs + worker * a->slab_size;
    for (int64_t from = 0; from < c->depth; from += a->slab_depth) {
        int64_t left = c->depth - from, depth = left < a->slab_depth ? left : a->slab_depth;
        slab w = {at, (end - col) * depth + PAD, col, from, depth};
        kn_winograd_some(&weights, col, end, from, depth, w.place, at);
        for (int64_t f = 0; f < a->kernels->places; f++)
            multiply_place(a, &w, f, col, end);
    }
}

static void out_of_square(const void *args, int worker, int64_t i) {
    const run_args *a = args;
    put_squares(a, i, 1, (float *)(void *)a->room + i * a->c->cols, worker);
}

static void run_shared(kn_device *d, const run_args *a) {
    kn_cpu_each(d, a->squares, in_of_square, a);
    if (a->packed != NULL)
        kn_cpu_each(d, a->kernels->places * groups_of(a), multiply_group, a);
    else
        kn_cpu_each(d, (a->c->cols + a->slab_cols - 1) / a->slab_cols, multiply_new, a);
    kn_cpu_each(d, a->squares, out_of_square, a);
}

static int64_t whole(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* How many columns of new weights a thread takes at a time. */
static int64_t new_cols(const kn_device *d, const kn_correlation *c) {
    return c->cols / d->threads >= NEW_COLS ? NEW_COLS : NEW_COLS / 2;
}

/* A part of a product's depth is added up after another only in a tile's whole panels: of one panel
 * alone the sums have an order of their own, and the bits would not be those of packed weights. */
bool kn_winograd_takes_new(const kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                           int side) {
    return side > 0 && kn_winograd_packed(c, side) >= LARGE &&
           squares_of(c->n, c->grid_h, c->grid_w, side) <= NEW_SQUARES &&
           c->cols / d->threads >= NEW_COLS / 2 && c->cols % (tile->panels * KN_PANEL) == 0;
}

static void plan_slabs(const kn_device *d, run_args *a) {
    int64_t places = a->kernels->places, depth = a->c->depth;
    a->slab_cols = new_cols(d, a->c);
    int64_t fit = NEW_BYTES / (places * a->slab_cols * a->size) / KN_PANEL * KN_PANEL;
    a->slab_depth = fit < depth ? fit : depth;
    a->slab_size = whole(places * (a->slab_cols * a->slab_depth + PAD) * a->size, KN_ALIGN);
}

/* Where all lies: blocks, the room for them, and, for new weights, that for some of these. */
static kn_status make_room(kn_device *d, run_args *a, int side, bool shared) {
    const kn_correlation *c = a->c;
    int64_t places = a->kernels->places, rows = a->tile->rows;
    int64_t most = kn_winograd_packed(c, side) >= LARGE ? LARGE_BLOCK : BLOCK;
    int64_t blocks = shared ? 1 : whole((a->squares + most - 1) / most, d->threads);
    a->block = whole((a->squares + blocks - 1) / blocks, rows);
    a->in_step = a->block * c->depth + PAD;
    a->out_step = a->block * c->cols + PAD;
    a->in_at = places * a->out_step * (int64_t)sizeof(float);
    a->room_size = whole(a->in_at + places * a->in_step * a->size, KN_ALIGN);
    a->waste_size = whole(c->cols * a->size, KN_ALIGN);
    if (a->packed == NULL)
        plan_slabs(d, a);
    int64_t zeros = whole(c->depth * a->size, KN_ALIGN);
    int64_t rooms = (shared ? 1 : d->threads) * a->room_size;
    int64_t slabs = d->threads * a->slab_size;
    char *room = kn_cpu_scratch(d, (size_t)(zeros + rooms + slabs + d->threads * a->waste_size));
    if (room == NULL)
        return d->error->status;
    memset(room, 0, (size_t)zeros);
    a->zeros = room;
    a->room = room + zeros;
    a->slabs = a->room + rooms;
    a->waste = a->slabs + slabs;
    return KN_OK;
}

/* packed, or else plain, which are new. */
static kn_status run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c, int side,
                     const void *in, const void *packed, const float *plain, const float *bias,
                     bool relu, void *out) {
    run_args a = {.c = c,
                  .tile = tile,
                  .kernels = kn_winograd_for(tile, side),
                  .in = in,
                  .packed = packed,
                  .plain = plain,
                  .bias = bias,
                  .out = out,
                  .relu = relu,
                  .size = UNIT / tile->unit,
                  .across = (c->grid_w + side - 1) / side,
                  .down = (c->grid_h + side - 1) / side,
                  .squares = squares_of(c->n, c->grid_h, c->grid_w, side)};
    if (a.squares == 0)
        return KN_OK;
    bool large = kn_winograd_packed(c, side) >= LARGE;
    bool shared = packed == NULL || (large && a.squares <= FEW);
    kn_status status = make_room(d, &a, side, shared);
    if (status == KN_OK && shared)
        run_shared(d, &a);
    else if (status == KN_OK)
        kn_cpu_each(d, (a.squares + a.block - 1) / a.block, run_block, &a);
    return status;
}

kn_status kn_winograd_run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                          int side, const void *in, const void *packed, const float *bias,
                          bool relu, void *out) {
    return run(d, tile, c, side, in, packed, NULL, bias, relu, out);
}

kn_status kn_winograd_run_new(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                              int side, const void *in, const float *weights, const float *bias,
                              bool relu, void *out) {
    return run(d, tile, c, side, in, NULL, weights, bias, relu, out);
}
