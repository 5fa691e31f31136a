/* correlation.c - see correlation.h. The pixels of the result are cut into blocks, and where there
 * are more weights than image their columns into groups; the threads take a block of a group in
 * turn. Of a block first the pointers to all its windows are made; then each panel of 16 columns,
 * or two, goes over all of its tiles of pixels, so that the panel's weights and the block's part of
 * the image stay in the cache. */
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

/* ---- taps ---- */

/* A tap is what the inner loop reads at one go. Deep pixels: one pixel. Few channels, as in the
 * first layer: a row of the window, whose pixels lie behind each other in the image; at its borders
 * a copy. */
enum { SHALLOW = 16, UNIT = 4 /* bytes */ };

typedef struct tap_plan {
    bool by_rows;
    int64_t taps, depth; /* of a tap, in units */
    int64_t reach;       /* pixels that a window's row reads */
} tap_plan;

static tap_plan plan_taps(const kn_tile_kernels *tile, const kn_correlation *c) {
    int64_t unit = tile->unit;
    if (c->depth >= SHALLOW || c->pixel != c->depth)
        return (tap_plan){false, c->kernel_h * c->kernel_w, c->depth / unit, c->kernel_w};
    /* The last unit may hold a number of the pixel behind the row: its weight is 0. */
    int64_t numbers = c->kernel_w * c->depth, over = numbers % unit != 0;
    return (tap_plan){true, c->kernel_h, (numbers + unit - 1) / unit, c->kernel_w + over};
}

bool kn_correlation_can(const kn_tile_kernels *tile, const kn_correlation *c) {
    return c->depth < SHALLOW || c->depth % tile->unit == 0;
}

/* ---- weights ---- */

static int64_t panels(const kn_correlation *c) {
    return (c->cols + KN_PANEL - 1) / KN_PANEL;
}

/* In units. */
static int64_t panel_size(const tap_plan *p) {
    return p->taps * p->depth * KN_PANEL;
}

int64_t kn_correlation_packed(const kn_tile_kernels *tile, const kn_correlation *c) {
    tap_plan p = plan_taps(tile, c);
    return panels(c) * panel_size(&p);
}

typedef struct pack_args {
    const kn_tile_kernels *tile;
    const kn_correlation *c;
    tap_plan plan;
    const float *weights;
    char *packed;
} pack_args;

/* Depths [begin, end) of one place of the kernel for a panel's columns: to[k][16]. */
static void gather(const pack_args *args, int64_t col, int64_t place, int64_t begin, int64_t end,
                   float *to) {
    const kn_correlation *c = args->c;
    int64_t count = c->cols - col < KN_PANEL ? c->cols - col : KN_PANEL;
    int64_t y = c->first_y + c->place_step * (place / c->kernel_w);
    int64_t x = c->first_x + c->place_step * (place % c->kernel_w);
    const float *from = args->weights + col * c->col_step + y * c->weights_w + x;
    if (count == KN_PANEL && c->col_step == 1) {
        for (int64_t k = begin; k < end; k++, to += KN_PANEL)
            memcpy(to, from + k * c->depth_step, KN_PANEL * sizeof *to);
        return;
    }
    if (count == KN_PANEL && c->depth_step == 1) {
        args->tile->transpose(from + begin, c->col_step, end - begin, KN_PANEL, to, KN_PANEL);
        return;
    }
    if (count < KN_PANEL)
        memset(to, 0, (size_t)((end - begin) * KN_PANEL) * sizeof *to);
    for (int64_t k = begin; k < end; k++, to += KN_PANEL)
        for (int64_t j = 0; j < count; j++)
            to[j] = from[j * c->col_step + k * c->depth_step];
}

/* Where a place's depths from k on go, when a number is a unit or they are even. */
static void *packed_at(const pack_args *args, int64_t panel, int64_t place, int64_t k) {
    int64_t unit = (place * args->c->depth + k) / args->tile->unit;
    return args->packed + (panel * panel_size(&args->plan) + unit * KN_PANEL) * UNIT;
}

/* Some depths at a time, so that the lines written stay in the cache while all places of the kernel
 * are read, which lie next to each other. */
static void pack_deep(const pack_args *args, int64_t panel) {
    enum { SOME = 16 };
    const kn_correlation *c = args->c;
    float some[SOME * KN_PANEL];
    for (int64_t begin = 0; begin < c->depth; begin += SOME) {
        int64_t end = c->depth - begin < SOME ? c->depth : begin + SOME;
        for (int64_t place = 0; place < c->kernel_h * c->kernel_w; place++) {
            void *to = packed_at(args, panel, place, begin);
            gather(args, panel * KN_PANEL, place, begin, end,
                   args->tile->narrow != NULL ? some : to);
            if (args->tile->narrow != NULL)
                args->tile->narrow(some, end - begin, to);
        }
    }
}

static void pack_rows(const pack_args *args, int64_t panel) {
    const kn_correlation *c = args->c;
    float some[KN_MOST_KERNEL * SHALLOW * KN_PANEL];
    for (int64_t y = 0; y < c->kernel_h; y++) {
        int64_t unit = panel * panel_size(&args->plan) + y * args->plan.depth * KN_PANEL;
        float *row = args->tile->narrow != NULL ? some : (float *)(void *)args->packed + unit;
        for (int64_t x = 0; x < c->kernel_w; x++)
            gather(args, panel * KN_PANEL, y * c->kernel_w + x, 0, c->depth,
                   row + x * c->depth * KN_PANEL);
        if (args->tile->narrow != NULL)
            args->tile->narrow(some, c->kernel_w * c->depth, args->packed + unit * UNIT);
    }
}

static void pack_item(const void *args, int worker, int64_t item) {
    const pack_args *a = args;
    (void)worker;
    if (a->plan.by_rows)
        pack_rows(a, item);
    else
        pack_deep(a, item);
}

void kn_correlation_pack(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                         const float *weights, void *packed) {
    pack_args args = {tile, c, plan_taps(tile, c), weights, packed};
    kn_cpu_each(d, panels(c), pack_item, &args);
}

/* ---- blocks ---- */

enum { LEAST_BLOCK = 48, MOST_BLOCK = 384, CACHE = 128 << 10 };

typedef struct run_args {
    const kn_correlation *c;
    const kn_tile_kernels *tile;
    tap_plan plan;
    const char *in, *packed;
    const float *bias; /* whole panels, the rest 0; or NULL */
    bool relu;
    char *out;
    int64_t size;                  /* bytes of a number */
    int64_t pixels, block, rows;   /* rows: of a tile */
    int64_t blocks, group, groups; /* group: panels of one */
    const char *zeros;             /* a tap's */
    char *room; /* of each worker: pointers, copies, a place for what nobody wants */
    size_t room_size, places_at, copies_at, waste_at;
} run_args;

/* So many parts of the work for a thread even out what one takes longer than another. */
enum { PARTS = 4 };

/* How many panels to a group. A thread reads all of a group's weights for each of its blocks: where
 * they are more than the image and the pixels no more than a block, as for single pictures in a
 * deep layer, threads share the columns, not the pixels. */
static int64_t group_of(const run_args *a, int threads) {
    const kn_correlation *c = a->c;
    int64_t all = panels(c), image = c->n * c->in_h * c->in_w * c->depth * a->size;
    if (c->triangle || a->pixels > MOST_BLOCK || all * panel_size(&a->plan) * UNIT <= image)
        return all;
    int64_t share = (all + PARTS * threads - 1) / (PARTS * threads), most = a->tile->panels;
    return (share + most - 1) / most * most;
}

/* How many pixels to a block. Where a panel of weights fills the cache, many pixels share it;
 * elsewhere as many as the cache holds. No fewer parts than threads can share evenly. */
static int64_t block_of(const run_args *a, int threads) {
    const kn_correlation *c = a->c;
    int64_t pixels = c->n * c->grid_h * c->grid_w, rows = a->tile->rows;
    int64_t step = c->in_step < MOST_BLOCK ? c->in_step : MOST_BLOCK;
    int64_t fit = CACHE / (c->depth * a->size * step * step);
    int64_t block = panel_size(&a->plan) * UNIT > CACHE ? MOST_BLOCK : fit;
    block = block < LEAST_BLOCK ? LEAST_BLOCK : block > MOST_BLOCK ? MOST_BLOCK : block;
    int64_t parts = (PARTS * threads + a->groups - 1) / a->groups;
    int64_t share = (pixels + parts - 1) / parts;
    block = block < share ? block : share < LEAST_BLOCK ? LEAST_BLOCK : share;
    return (block + rows - 1) / rows * rows;
}

/* Where the window's row y, whole, can be read; copied if a border cuts it. */
static const char *row_tap(const run_args *a, const char *image, int64_t y, int64_t x, char *copy) {
    const kn_correlation *c = a->c;
    int64_t pixel = c->depth * a->size;
    if (y < 0 || y >= c->in_h || x >= c->in_w || x + c->kernel_w <= 0)
        return a->zeros;
    int64_t begin = x < 0 ? -x : 0;
    int64_t end = x + c->kernel_w > c->in_w ? c->in_w - x : c->kernel_w;
    memset(copy, 0, (size_t)(a->plan.depth * UNIT));
    memcpy(copy + begin * pixel, image + (y * c->in_w + x + begin) * pixel,
           (size_t)((end - begin) * pixel));
    return copy;
}

static const char *pixel_tap(const run_args *a, const char *image, int64_t y, int64_t x) {
    const kn_correlation *c = a->c;
    bool inside = y >= 0 && y < c->in_h && x >= 0 && x < c->in_w;
    return inside ? image + (y * c->in_w + x) * c->pixel * a->size : a->zeros;
}

/* The pointers to a window that a border cuts, at (y0, x0), a tile's rows apart. */
static void find_cut(const run_args *a, const char *image, int64_t y0, int64_t x0, const char **tap,
                     char *copy) {
    const kn_correlation *c = a->c;
    bool by_rows = a->plan.by_rows;
    int64_t across = by_rows ? 1 : c->kernel_w;
    for (int64_t y = y0; y < y0 + c->kernel_h; y++, copy += a->plan.depth * UNIT)
        for (int64_t x = x0; x < x0 + across; x++, tap += a->rows)
            *tap = by_rows ? row_tap(a, image, y, x, copy) : pixel_tap(a, image, y, x);
}

/* And to one that lies inside, which begins at `at`. */
static inline void find_whole(const run_args *a, const char *at, const char **tap) {
    const kn_correlation *c = a->c;
    int64_t pixel = c->pixel * a->size, row = c->in_w * pixel, rows = a->rows;
    int64_t across = a->plan.by_rows ? 1 : c->kernel_w;
    for (int64_t y = 0; y < c->kernel_h; y++, at += row)
        for (int64_t x = 0; x < across; x++, tap += rows)
            *tap = at + x * pixel;
}

/* Some pixels of one row of the grid. */
typedef struct run {
    int64_t image, row, column, count;
} run;

static run run_at(const kn_correlation *c, int64_t pixel, int64_t most) {
    run r = {.column = pixel % c->grid_w,
             .row = pixel / c->grid_w % c->grid_h,
             .image = pixel / (c->grid_w * c->grid_h)};
    int64_t left = c->grid_w - r.column;
    r.count = left < most ? left : most;
    return r;
}

/* Those of a run, which is the block's from its pixel i on. */
static void find_run(const run_args *a, run r, int64_t i, const char **taps, char **place,
                     char *copies) {
    const kn_correlation *c = a->c;
    int64_t pixel = c->pixel * a->size, y0 = c->in_y + c->in_step * r.row;
    int64_t x0 = c->in_x + c->in_step * r.column, out_pixel = c->cols * a->size;
    const char *image = a->in + r.image * c->in_h * c->in_w * pixel;
    const char *line = image + y0 * c->in_w * pixel; /* may lie outside: then it is not used */
    int64_t beyond = y0 >= 0 && y0 + c->kernel_h <= c->in_h ? c->in_w - a->plan.reach + 1 : 0;
    int64_t out_y = c->out_y + c->out_step * r.row, out_x = c->out_x + c->out_step * r.column;
    char *out = a->out + ((r.image * c->out_h + out_y) * c->out_w + out_x) * out_pixel;
    int64_t window = a->plan.taps * a->plan.depth * UNIT, tile = a->plan.taps * a->rows;
    const char **tap = taps + i / a->rows * tile + i % a->rows,
               **last = tap - i % a->rows + a->rows;
    for (int64_t end = i + r.count; i < end;
         i++, x0 += c->in_step, out += c->out_step * out_pixel) {
        if (x0 >= 0 && x0 < beyond)
            find_whole(a, line + x0 * pixel, tap);
        else
            find_cut(a, image, y0, x0, tap, copies + i * window);
        place[i] = out;
        if (++tap == last) {
            tap += tile - a->rows;
            last += tile;
        }
    }
}

/* The windows of count pixels from `begin` on, and the places of their results. */
static void find_windows(const run_args *a, int64_t begin, int64_t count, const char **taps,
                         char **place, char *copies) {
    for (int64_t i = 0; i < count;) {
        run r = run_at(a->c, begin + i, count - i);
        find_run(a, r, i, taps, place, copies);
        i += r.count;
    }
}

/* The last tile may have fewer pixels than rows: the others repeat its first, and are wasted. */
static void fill_tile(const run_args *a, int64_t count, const char **tap) {
    for (int64_t t = 0; t < a->plan.taps; t++, tap += a->rows)
        for (int64_t r = count; r < a->rows; r++)
            tap[r] = tap[0];
}

/* Panels from `panel` on, as many as a tile takes, over all tiles of a block. */
static void run_panels(const run_args *a, int64_t panel, int panels, const char *const *taps,
                       char *const *place, int64_t count, char *waste) {
    const kn_correlation *c = a->c;
    int64_t col = panel * KN_PANEL, left = c->cols - col, most = panels * KN_PANEL;
    kn_pixel_tile t = {.taps = a->plan.taps,
                       .depth = a->plan.depth,
                       .panels = panels,
                       .bias = a->bias != NULL ? a->bias + col : NULL,
                       .cols = left < most ? left : most,
                       .add = c->add,
                       .relu = a->relu};
    for (int p = 0; p < panels; p++)
        t.weights[p] = a->packed + (panel + p) * panel_size(&a->plan) * UNIT;
    for (int64_t i = 0; i < count; i += a->rows, taps += a->plan.taps * a->rows) {
        t.in = (const void *const *)taps;
        for (int64_t r = 0; r < a->rows; r++)
            t.out[r] = i + r < count ? place[i + r] + col * a->size : waste;
        a->tile->pixels(&t);
    }
}

/* The blocks of a group come one after another, so that its weights may stay where they are. */
static void run_block(const void *args, int worker, int64_t item) {
    const run_args *a = args;
    const kn_correlation *c = a->c;
    int64_t first = item / a->blocks * a->group, last = first + a->group;
    item = item % a->blocks;
    if (c->triangle) /* the later, the longer: so the longest comes first */
        item = a->blocks - 1 - item;
    char *room = a->room + (size_t)worker * a->room_size;
    const char **taps = (const char **)(void *)room;
    char **place = (char **)(void *)(room + a->places_at);
    int64_t begin = item * a->block, left = a->pixels - begin;
    int64_t count = left < a->block ? left : a->block;
    int64_t rest = count % a->rows;
    find_windows(a, begin, count, taps, place, room + a->copies_at);
    if (rest > 0)
        fill_tile(a, rest, taps + (count - rest) * a->plan.taps);
    int64_t end = c->triangle ? (begin + count + KN_PANEL - 1) / KN_PANEL : panels(c);
    for (int64_t panel = first; panel < last && panel < end; panel += a->tile->panels) {
        int64_t most = a->tile->panels, there = panels(c) - panel;
        run_panels(a, panel, (int)(there < most ? there : most), taps, place, count,
                   room + a->waste_at);
    }
    if (c->then != NULL)
        c->then->run(c->then->args, begin, count, first * KN_PANEL,
                     last * KN_PANEL < c->cols ? last * KN_PANEL : c->cols);
}

static size_t rounded(size_t bytes) {
    return (bytes + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

/* Room for all workers, behind the zeros and the bias that all share. */
static kn_status make_room(kn_device *d, run_args *a, const float *bias) {
    const kn_correlation *c = a->c;
    int64_t taps = a->block * a->plan.taps;
    size_t zeros = rounded((size_t)(a->plan.depth * UNIT));
    size_t biases = bias != NULL ? (size_t)(panels(c) * KN_PANEL) * sizeof(float) : 0;
    a->places_at = rounded((size_t)taps * sizeof(char *));
    a->copies_at = a->places_at + rounded((size_t)a->block * sizeof(char *));
    a->waste_at = a->copies_at;
    if (a->plan.by_rows)
        a->waste_at += rounded((size_t)(taps * a->plan.depth * UNIT));
    a->room_size = a->waste_at + rounded(KN_TILE_PANELS * KN_PANEL * sizeof(float));
    char *room = kn_cpu_scratch(d, zeros + biases + (size_t)d->threads * a->room_size);
    if (room == NULL)
        return d->error->status;
    memset(room, 0, zeros + biases);
    a->zeros = room;
    if (bias != NULL) {
        memcpy(room + zeros, bias, (size_t)c->cols * sizeof *bias);
        a->bias = (const float *)(void *)(room + zeros);
    }
    a->room = room + zeros + biases;
    return KN_OK;
}

kn_status kn_correlation_run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                             const void *in, const void *packed, const float *bias, bool relu,
                             void *out) {
    run_args a = {.c = c,
                  .tile = tile,
                  .plan = plan_taps(tile, c),
                  .in = in,
                  .packed = packed,
                  .relu = relu,
                  .out = out,
                  .size = UNIT / tile->unit,
                  .pixels = c->n * c->grid_h * c->grid_w,
                  .rows = tile->rows};
    if (a.pixels == 0 || c->cols == 0)
        return KN_OK;
    a.group = group_of(&a, d->threads);
    a.groups = (panels(c) + a.group - 1) / a.group;
    a.block = block_of(&a, d->threads);
    a.blocks = (a.pixels + a.block - 1) / a.block;
    kn_status status = make_room(d, &a, bias);
    if (status == KN_OK)
        kn_cpu_each(d, a.blocks * a.groups, run_block, &a);
    return status;
}
