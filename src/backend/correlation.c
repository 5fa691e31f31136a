/* correlation.c - see correlation.h. The pixels of the result are cut into blocks, which the
 * threads take in turn. Of a block first the pointers to all its windows are made; then each panel
 * of 16 columns goes over all of its tiles of 6 pixels, so that the panel's weights and the block's
 * part of the image stay in the cache. */
#include "backend/correlation.h"

#include "backend/cpu_loops.h"

#include <string.h>

/* ---- the two kinds ---- */

kn_correlation kn_correlation_forward(const kn_conv_dims *c) {
    return (kn_correlation){.n = c->n,
                            .in_h = c->h,
                            .in_w = c->w,
                            .depth = c->in,
                            .pixel = c->in,
                            .out_h = c->out_h,
                            .out_w = c->out_w,
                            .cols = c->out,
                            .grid_h = c->out_h,
                            .grid_w = c->out_w,
                            .out_step = 1,
                            .in_step = c->stride,
                            .in_y = -c->padding,
                            .in_x = -c->padding,
                            .kernel_h = c->kernel_h,
                            .kernel_w = c->kernel_w,
                            .place_step = 1,
                            .weights_w = c->kernel_w,
                            .col_step = c->in * c->kernel_h * c->kernel_w,
                            .depth_step = c->kernel_h * c->kernel_w};
}

/* One axis of the gradient. Input row i + stride r met kernel row k in output row (i + stride r +
 * padding - k) / stride, for the k that make this whole: first, first + stride, ... . */
typedef struct grad_axis {
    int64_t grid, kernel, in, last; /* last: the kernel row of the window's first */
} grad_axis;

static grad_axis grad_of(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t i) {
    int64_t first = (i + padding) % stride, count = 0;
    if (first < kernel)
        count = (kernel - first - 1) / stride + 1;
    return (grad_axis){.grid = i < size ? (size - i - 1) / stride + 1 : 0,
                       .kernel = count,
                       .in = (i + padding - first) / stride - (count - 1),
                       .last = first + (count - 1) * stride};
}

kn_correlation kn_correlation_grad(const kn_conv_dims *c, int64_t i, int64_t j) {
    grad_axis y = grad_of(c->h, c->kernel_h, c->stride, c->padding, i);
    grad_axis x = grad_of(c->w, c->kernel_w, c->stride, c->padding, j);
    return (kn_correlation){.n = c->n,
                            .in_h = c->out_h,
                            .in_w = c->out_w,
                            .depth = c->out,
                            .pixel = c->out,
                            .out_h = c->h,
                            .out_w = c->w,
                            .cols = c->in,
                            .grid_h = y.grid,
                            .grid_w = x.grid,
                            .out_step = c->stride,
                            .out_y = i,
                            .out_x = j,
                            .in_step = 1,
                            .in_y = y.in,
                            .in_x = x.in,
                            .kernel_h = y.kernel,
                            .kernel_w = x.kernel,
                            .first_y = y.last,
                            .first_x = x.last,
                            .place_step = -c->stride,
                            .weights_w = c->kernel_w,
                            .col_step = c->kernel_h * c->kernel_w,
                            .depth_step = c->in * c->kernel_h * c->kernel_w};
}

/* ---- weights ---- */

static int64_t panels(const kn_correlation *c) {
    return (c->cols + KN_TILE_COLS - 1) / KN_TILE_COLS;
}

static int64_t panel_size(const kn_correlation *c) {
    return c->kernel_h * c->kernel_w * c->depth * KN_TILE_COLS;
}

int64_t kn_correlation_packed(const kn_correlation *c) {
    return panels(c) * panel_size(c);
}

typedef struct pack_args {
    const kn_correlation *c;
    const float *weights;
    float *packed;
} pack_args;

/* Some depths at a time, so that the lines written stay in the cache while all places of the kernel
 * are read, which lie next to each other. */
static void pack_panel(const pack_args *args, int64_t panel) {
    enum { SOME = 16 };
    const kn_correlation *c = args->c;
    int64_t col = panel * KN_TILE_COLS, places = c->kernel_h * c->kernel_w;
    int64_t count = c->cols - col < KN_TILE_COLS ? c->cols - col : KN_TILE_COLS;
    const float *weights = args->weights + col * c->col_step;
    float *to = args->packed + panel * panel_size(c);
    if (count < KN_TILE_COLS)
        memset(to, 0, (size_t)panel_size(c) * sizeof *to);
    for (int64_t begin = 0; begin < c->depth; begin += SOME) {
        int64_t end = c->depth - begin < SOME ? c->depth : begin + SOME;
        for (int64_t place = 0; place < places; place++) {
            int64_t y = c->first_y + c->place_step * (place / c->kernel_w);
            int64_t x = c->first_x + c->place_step * (place % c->kernel_w);
            const float *from = weights + y * c->weights_w + x;
            for (int64_t k = begin; k < end; k++)
                for (int64_t j = 0; j < count; j++)
                    to[(place * c->depth + k) * KN_TILE_COLS + j] =
                        from[j * c->col_step + k * c->depth_step];
        }
    }
}

static void pack_item(const void *args, int worker, int64_t item) {
    (void)worker;
    pack_panel(args, item);
}

void kn_correlation_pack(kn_device *d, const kn_correlation *c, const float *weights,
                         float *packed) {
    pack_args args = {c, weights, packed};
    kn_cpu_each(d, panels(c), pack_item, &args);
}

/* ---- blocks ---- */

/* A tap is what the inner loop reads at one go. Deep pixels: one pixel. Few channels, as in the
 * first layer: a row of the window, whose pixels lie behind each other in the image; at its borders
 * a copy. */
enum { SHALLOW = 16, LEAST_BLOCK = 48, MOST_BLOCK = 384, CACHE = 128 << 10 };

typedef struct run_args {
    const kn_correlation *c;
    const kn_tile_kernels *tile;
    const float *in, *packed, *bias; /* bias: whole panels, the rest 0; or NULL */
    bool relu, by_rows;
    float *out;
    int64_t pixels, block, taps, tap_depth;
    const float *zeros; /* [tap_depth] */
    char *room;         /* of each worker: pointers, copies, a place for what nobody wants */
    size_t room_size, places_at, copies_at, waste_at;
} run_args;

/* How many pixels to a block. Where a panel of weights fills the cache, many pixels share it;
 * elsewhere as many as the cache holds. No fewer blocks than threads can share evenly. */
static int64_t block_of(const kn_correlation *c, int threads) {
    int64_t bytes = (int64_t)sizeof(float), pixels = c->n * c->grid_h * c->grid_w;
    int64_t step = c->in_step < MOST_BLOCK ? c->in_step : MOST_BLOCK;
    int64_t fit = CACHE / (c->depth * bytes * step * step);
    int64_t block = panel_size(c) * bytes > CACHE ? MOST_BLOCK : fit;
    block = block < LEAST_BLOCK ? LEAST_BLOCK : block > MOST_BLOCK ? MOST_BLOCK : block;
    int64_t share = (pixels + 4 * threads - 1) / (4 * threads);
    block = block < share ? block : share < LEAST_BLOCK ? LEAST_BLOCK : share;
    return (block + KN_TILE_ROWS - 1) / KN_TILE_ROWS * KN_TILE_ROWS;
}

/* Where the window's row y, whole, can be read; copied if a border cuts it. */
static const float *row_tap(const run_args *a, const float *image, int64_t y, int64_t x,
                            float *copy) {
    const kn_correlation *c = a->c;
    if (y < 0 || y >= c->in_h || x >= c->in_w || x + c->kernel_w <= 0)
        return a->zeros;
    const float *row = image + y * c->in_w * c->pixel;
    int64_t begin = x < 0 ? -x : 0;
    int64_t end = x + c->kernel_w > c->in_w ? c->in_w - x : c->kernel_w;
    memset(copy, 0, (size_t)a->tap_depth * sizeof *copy);
    memcpy(copy + begin * c->depth, row + (x + begin) * c->depth,
           (size_t)((end - begin) * c->depth) * sizeof *copy);
    return copy;
}

static const float *pixel_tap(const run_args *a, const float *image, int64_t y, int64_t x) {
    const kn_correlation *c = a->c;
    bool inside = y >= 0 && y < c->in_h && x >= 0 && x < c->in_w;
    return inside ? image + (y * c->in_w + x) * c->pixel : a->zeros;
}

/* The pointers to the window at (y0, x0), a tile's rows apart. */
static void find_window(const run_args *a, const float *image, int64_t y0, int64_t x0,
                        const float **tap, float *copy) {
    const kn_correlation *c = a->c;
    int64_t row = c->in_w * c->pixel, across = a->by_rows ? 1 : c->kernel_w;
    if (y0 >= 0 && y0 + c->kernel_h <= c->in_h && x0 >= 0 && x0 + c->kernel_w <= c->in_w) {
        const float *at = image + y0 * row + x0 * c->pixel;
        for (int64_t y = 0; y < c->kernel_h; y++, at += row)
            for (int64_t x = 0; x < across; x++, tap += KN_TILE_ROWS)
                *tap = at + x * c->pixel;
        return;
    }
    for (int64_t y = y0; y < y0 + c->kernel_h; y++, copy += a->tap_depth)
        for (int64_t x = x0; x < x0 + across; x++, tap += KN_TILE_ROWS)
            *tap = a->by_rows ? row_tap(a, image, y, x, copy) : pixel_tap(a, image, y, x);
}

/* The windows of count pixels from `begin` on, and the places of their results. */
static void find_windows(const run_args *a, int64_t begin, int64_t count, const float **taps,
                         float **place, float *copies) {
    const kn_correlation *c = a->c;
    int64_t column = begin % c->grid_w, row = begin / c->grid_w % c->grid_h;
    int64_t image = begin / (c->grid_w * c->grid_h);
    for (int64_t i = 0; i < count; i++, copies += a->taps * a->tap_depth) {
        find_window(a, a->in + image * c->in_h * c->in_w * c->pixel, c->in_y + c->in_step * row,
                    c->in_x + c->in_step * column,
                    taps + i / KN_TILE_ROWS * a->taps * KN_TILE_ROWS + i % KN_TILE_ROWS, copies);
        int64_t y = c->out_y + c->out_step * row, x = c->out_x + c->out_step * column;
        place[i] = a->out + ((image * c->out_h + y) * c->out_w + x) * c->cols;
        if (++column == c->grid_w) {
            column = 0;
            if (++row == c->grid_h) {
                row = 0;
                image++;
            }
        }
    }
}

/* The last tile may have fewer pixels than rows: the others repeat its first, and are wasted. */
static void fill_tile(int64_t taps, int64_t rows, const float **tap) {
    for (int64_t t = 0; t < taps; t++, tap += KN_TILE_ROWS)
        for (int64_t r = rows; r < KN_TILE_ROWS; r++)
            tap[r] = tap[0];
}

static void run_block(const void *args, int worker, int64_t item) {
    const run_args *a = args;
    const kn_correlation *c = a->c;
    if (c->triangle) /* the later, the longer: so the longest comes first */
        item = (a->pixels - 1) / a->block - item;
    char *room = a->room + (size_t)worker * a->room_size;
    const float **taps = (const float **)(void *)room;
    float **place = (float **)(void *)(room + a->places_at);
    float *copies = (float *)(void *)(room + a->copies_at);
    float *waste = (float *)(void *)(room + a->waste_at);
    int64_t begin = item * a->block, left = a->pixels - begin;
    int64_t count = left < a->block ? left : a->block;
    int64_t tiles = (count + KN_TILE_ROWS - 1) / KN_TILE_ROWS, whole = count / KN_TILE_ROWS;
    find_windows(a, begin, count, taps, place, copies);
    if (whole < tiles)
        fill_tile(a->taps, count - whole * KN_TILE_ROWS, taps + whole * a->taps * KN_TILE_ROWS);
    int64_t beyond = c->triangle ? begin + count : c->cols;
    for (int64_t panel = 0; panel * KN_TILE_COLS < beyond; panel++) {
        int64_t col = panel * KN_TILE_COLS;
        kn_pixel_tile t = {.taps = a->taps,
                           .depth = a->tap_depth,
                           .weights = a->packed + panel * panel_size(c),
                           .bias = a->bias != NULL ? a->bias + col : NULL,
                           .cols = c->cols - col < KN_TILE_COLS ? c->cols - col : KN_TILE_COLS,
                           .add = c->add,
                           .relu = a->relu};
        for (int64_t tile = 0; tile < tiles; tile++) {
            t.in = taps + tile * a->taps * KN_TILE_ROWS;
            for (int64_t r = 0, i = tile * KN_TILE_ROWS; r < KN_TILE_ROWS; r++, i++)
                t.out[r] = i < count ? place[i] + col : waste;
            a->tile->pixels(&t);
        }
    }
}

static size_t rounded(size_t bytes) {
    return (bytes + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

/* Room for all workers, behind the zeros and the bias that all share. */
static kn_status make_room(kn_device *d, run_args *a, const float *bias) {
    const kn_correlation *c = a->c;
    size_t zeros = rounded((size_t)a->tap_depth * sizeof(float));
    size_t biases = bias != NULL ? (size_t)(panels(c) * KN_TILE_COLS) * sizeof(float) : 0;
    a->places_at = rounded((size_t)(a->block * a->taps) * sizeof(float *));
    a->copies_at = a->places_at + rounded((size_t)a->block * sizeof(float *));
    a->waste_at = a->copies_at;
    if (a->by_rows)
        a->waste_at += rounded((size_t)(a->block * a->taps * a->tap_depth) * sizeof(float));
    a->room_size = a->waste_at + KN_ALIGN;
    char *room = kn_cpu_scratch(d, zeros + biases + (size_t)d->threads * a->room_size);
    if (room == NULL)
        return d->error->status;
    memset(room, 0, zeros + biases);
    a->zeros = (const float *)(void *)room;
    if (bias != NULL) {
        memcpy(room + zeros, bias, (size_t)c->cols * sizeof *bias);
        a->bias = (const float *)(void *)(room + zeros);
    }
    a->room = room + zeros + biases;
    return KN_OK;
}

kn_status kn_correlation_run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                             const float *in, const float *packed, const float *bias, bool relu,
                             float *out) {
    run_args a = {.c = c,
                  .tile = tile,
                  .in = in,
                  .packed = packed,
                  .relu = relu,
                  .by_rows = c->depth < SHALLOW && c->pixel == c->depth,
                  .out = out,
                  .pixels = c->n * c->grid_h * c->grid_w,
                  .block = block_of(c, d->threads)};
    a.taps = a.by_rows ? c->kernel_h : c->kernel_h * c->kernel_w;
    a.tap_depth = a.by_rows ? c->kernel_w * c->depth : c->depth;
    kn_status status = make_room(d, &a, bias);
    if (status == KN_OK)
        kn_cpu_each(d, (a.pixels + a.block - 1) / a.block, run_block, &a);
    return status;
}
