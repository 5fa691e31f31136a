/* conv_gradient.c - see conv_gradient.h. The gradient of the weight [o,i,y,x] is the product of
 * channel o of dy with channel i of the input, moved by (y,x), summed over all pixels. Some images
 * at a time:
 *
 *   dy is turned into channels [out, pixels], so that six channels are six streams of numbers;
 *   the input is laid out in panels [ceil(in / 16), image, row, column, 16], with its padding, so
 *   that a move of the kernel is another start in the same panel;
 *   each thread takes a panel and six channels and adds up their tiles, a band of rows after the
 *   other, all places of the kernel on a band while it is in the cache.
 *
 * With few channels, as in the first layer, a panel of 16 would be nearly empty. There the windows
 * themselves are laid out, as if each were a pixel with in * kernel_h * kernel_w channels. */
#include "backend/conv_gradient.h"

#include "backend/cpu_loops.h"

#include <string.h>

/* Pixels of a band, numbers of the images that are laid out at a time, and items for each thread.
 */
enum { SHALLOW = 16, BAND = 256, LAID_OUT = 1 << 20, PAD = 16, SHARES = 4 };

typedef struct gradient {
    const kn_conv_dims *c;
    const kn_tile_kernels *tile;
    const float *x, *dy; /* of the images at hand */
    float *dw, *db;
    bool windows; /* laid out as windows */
    /* What is laid out: images of rows x cols pixels, of `channels`; the kernel moves over it by
     * kernel_h x kernel_w places and steps of stride. */
    int64_t rows, cols, channels, kernel_h, kernel_w, stride;
    int64_t panels, groups, sets; /* groups: of six output channels; sets: of groups */
    int64_t images, at_hand;      /* images: at most */
    int64_t line;                 /* numbers from channel to channel in turned */
    float *turned, *laid, *sums;
    int64_t *run_at; /* [images * out_h] */
    bool add;        /* to earlier images */
} gradient;

static int64_t at_least_one(int64_t n) {
    return n < 1 ? 1 : n;
}

static gradient plan(const kn_conv_dims *c, int threads) {
    bool windows = c->in < SHALLOW;
    gradient g = {.c = c,
                  .windows = windows,
                  .rows = windows ? c->out_h : (c->out_h - 1) * c->stride + c->kernel_h,
                  .cols = windows ? c->out_w : (c->out_w - 1) * c->stride + c->kernel_w,
                  .channels = windows ? c->in * c->kernel_h * c->kernel_w : c->in,
                  .kernel_h = windows ? 1 : c->kernel_h,
                  .kernel_w = windows ? 1 : c->kernel_w,
                  .stride = windows ? 1 : c->stride};
    g.panels = (g.channels + KN_TILE_COLS - 1) / KN_TILE_COLS;
    g.groups = (c->out + KN_TILE_ROWS - 1) / KN_TILE_ROWS;
    g.sets = at_least_one(SHARES * threads / g.panels);
    g.sets = g.sets < g.groups ? g.sets : g.groups;
    int64_t image = g.rows * g.cols * g.panels * KN_TILE_COLS;
    g.images = at_least_one(LAID_OUT / image);
    g.images = g.images < c->n ? g.images : c->n;
    g.line = g.images * c->out_h * c->out_w + PAD; /* no power of two: lines meet in no cache set */
    return g;
}

/* ---- layouts ---- */

/* Channels of dy, an image an item. */
static void turn_image(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    int64_t pixels = g->c->out_h * g->c->out_w;
    (void)worker;
    g->tile->transpose(g->dy + item * pixels * g->c->out, g->c->out, pixels,
                       g->turned + item * pixels, g->line);
}

static float *laid_at(const gradient *g, int64_t panel, int64_t row) {
    return g->laid + (panel * g->images * g->rows + row) * g->cols * KN_TILE_COLS;
}

/* Spreads a pixel's channels over the panels. */
static void lay_pixel(const gradient *g, const float *from, float *to) {
    int64_t next = g->images * g->rows * g->cols * KN_TILE_COLS, left = g->channels;
    for (; left >= KN_TILE_COLS; left -= KN_TILE_COLS, from += KN_TILE_COLS, to += next)
        memcpy(to, from, KN_TILE_COLS * sizeof *to);
    if (left > 0) {
        memcpy(to, from, (size_t)left * sizeof *to);
        memset(to + left, 0, (size_t)(KN_TILE_COLS - left) * sizeof *to);
    }
}

static void lay_nothing(const gradient *g, int64_t row, int64_t begin, int64_t end) {
    for (int64_t p = 0; p < g->panels && begin < end; p++)
        memset(laid_at(g, p, row) + begin * KN_TILE_COLS, 0,
               (size_t)((end - begin) * KN_TILE_COLS) * sizeof(float));
}

/* Item: a row of an image, padding included. */
static void lay_row(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    const kn_conv_dims *c = g->c;
    int64_t image = item / g->rows, y = item % g->rows - c->padding;
    (void)worker;
    if (y < 0 || y >= c->h) {
        lay_nothing(g, item, 0, g->cols);
        return;
    }
    int64_t begin = c->padding < g->cols ? c->padding : g->cols;
    int64_t end = c->padding + c->w < g->cols ? c->padding + c->w : g->cols;
    lay_nothing(g, item, 0, begin);
    const float *from = g->x + (image * c->h + y) * c->w * c->in;
    float *to = laid_at(g, 0, item) + begin * KN_TILE_COLS;
    for (int64_t x = begin; x < end; x++, from += c->in, to += KN_TILE_COLS)
        lay_pixel(g, from, to);
    lay_nothing(g, item, end > begin ? end : begin, g->cols);
}

/* The window whose top left is (y,x), its numbers as [kernel_h,kernel_w,in]. */
static void window(const kn_conv_dims *c, const float *image, int64_t y, int64_t x, float *to) {
    int64_t begin = x < 0 ? -x : 0, end = x + c->kernel_w > c->w ? c->w - x : c->kernel_w;
    bool whole = begin == 0 && end == c->kernel_w;
    for (int64_t ky = 0; ky < c->kernel_h; ky++, to += c->kernel_w * c->in) {
        bool inside = y + ky >= 0 && y + ky < c->h && begin < end;
        if (!whole || !inside)
            memset(to, 0, (size_t)(c->kernel_w * c->in) * sizeof *to);
        if (inside)
            memcpy(to + begin * c->in, image + ((y + ky) * c->w + x + begin) * c->in,
                   (size_t)((end - begin) * c->in) * sizeof *to);
    }
}

/* Item: a row of windows. */
static void lay_windows(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    const kn_conv_dims *c = g->c;
    float one[SHALLOW * 7 * 7];
    const float *image = g->x + item / c->out_h * c->h * c->w * c->in;
    int64_t y = item % c->out_h * c->stride - c->padding;
    float *to = laid_at(g, 0, item);
    (void)worker;
    for (int64_t x = 0; x < c->out_w; x++, to += KN_TILE_COLS) {
        window(c, image, y, x * c->stride - c->padding, one);
        lay_pixel(g, one, to);
    }
}

static void lay_out(kn_device *d, gradient *g) {
    const kn_conv_dims *c = g->c;
    kn_cpu_each(d, g->at_hand, turn_image, g);
    kn_cpu_each(d, g->at_hand * g->rows, g->windows ? lay_windows : lay_row, g);
    for (int64_t row = 0; row < g->at_hand * c->out_h; row++) {
        int64_t first = row / c->out_h * g->rows + row % c->out_h * g->stride;
        g->run_at[row] = first * g->cols * KN_TILE_COLS;
    }
}

/* ---- sums ---- */

static float *sums_at(const gradient *g, int64_t panel, int64_t place, int64_t channel) {
    return g->sums +
           ((panel * g->kernel_h * g->kernel_w + place) * g->c->out + channel) * KN_TILE_COLS;
}

/* One place of the kernel on a band of runs. */
static void add_places(const gradient *g, kn_gradient_tile *t, int64_t panel, int64_t channel) {
    for (int64_t y = 0; y < g->kernel_h; y++)
        for (int64_t x = 0; x < g->kernel_w; x++) {
            t->b = laid_at(g, panel, 0) + (y * g->cols + x) * KN_TILE_COLS;
            t->sums = sums_at(g, panel, y * g->kernel_w + x, channel);
            g->tile->gradient(t);
        }
}

/* Item: a panel and some groups of channels. Where a group has fewer than six, the last stands in
 * for those that are not. */
static void add_up(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    const kn_conv_dims *c = g->c;
    int64_t panel = item / g->sets, set = item % g->sets, runs = g->at_hand * c->out_h;
    int64_t first = g->groups * set / g->sets, last = g->groups * (set + 1) / g->sets;
    int64_t band = at_least_one(BAND / c->out_w);
    kn_gradient_tile t = {.pixels = c->out_w, .a_step = 1, .b_step = g->stride * KN_TILE_COLS};
    (void)worker;
    for (int64_t run = 0; run < runs; run += band) {
        t.run_at = g->run_at + run;
        t.runs = runs - run < band ? runs - run : band;
        t.add = g->add || run > 0;
        for (int64_t channel = first * KN_TILE_ROWS; channel < last * KN_TILE_ROWS;
             channel += KN_TILE_ROWS) {
            t.rows = c->out - channel < KN_TILE_ROWS ? c->out - channel : KN_TILE_ROWS;
            const float *a = g->turned + channel * g->line + run * c->out_w;
            for (int64_t r = 0; r < KN_TILE_ROWS; r++)
                t.a[r] = a + (r < t.rows ? r : t.rows - 1) * g->line;
            add_places(g, &t, panel, channel);
        }
    }
}

static void add_bias(const void *args, int worker, int64_t channel) {
    const gradient *g = args;
    const float *line = g->turned + channel * g->line;
    int64_t pixels = g->at_hand * g->c->out_h * g->c->out_w;
    double sum = 0;
    (void)worker;
    for (int64_t i = 0; i < pixels; i++)
        sum += (double)line[i];
    g->db[channel] = (g->add ? g->db[channel] : 0) + (float)sum;
}

/* Into the order of the weights, an output channel an item. */
static void write_channel(const void *args, int worker, int64_t channel) {
    const gradient *g = args;
    const kn_conv_dims *c = g->c;
    int64_t places = c->kernel_h * c->kernel_w;
    float *dw = g->dw + channel * c->in * places;
    (void)worker;
    for (int64_t i = 0; i < g->channels; i++) {
        const float *from = sums_at(g, i / KN_TILE_COLS, 0, channel) + i % KN_TILE_COLS;
        if (g->windows) {
            dw[i % c->in * places + i / c->in] = *from;
            continue;
        }
        for (int64_t place = 0; place < places; place++)
            dw[i * places + place] = from[place * c->out * KN_TILE_COLS];
    }
}

static size_t numbers(int64_t n) {
    return ((size_t)n * sizeof(float) + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

static kn_status make_room(kn_device *d, gradient *g) {
    const kn_conv_dims *c = g->c;
    size_t turned = numbers(c->out * g->line);
    size_t laid = numbers(g->panels * g->images * g->rows * g->cols * KN_TILE_COLS);
    size_t sums = numbers(g->panels * g->kernel_h * g->kernel_w * c->out * KN_TILE_COLS);
    char *room = kn_cpu_scratch(d, turned + laid + sums +
                                       (size_t)(g->images * c->out_h) * sizeof *g->run_at);
    if (room == NULL)
        return d->error->status;
    g->turned = (float *)(void *)room;
    g->laid = (float *)(void *)(room + turned);
    g->sums = (float *)(void *)(room + turned + laid);
    g->run_at = (int64_t *)(void *)(room + turned + laid + sums);
    return KN_OK;
}

kn_status kn_conv_gradient(kn_device *d, const kn_tile_kernels *tile, const kn_conv_dims *c,
                           const float *x, const float *dy, float *dw, float *db) {
    gradient g = plan(c, d->threads);
    g.tile = tile;
    g.dw = dw;
    g.db = db;
    kn_status status = make_room(d, &g);
    for (int64_t image = 0; image < c->n && status == KN_OK; image += g.images) {
        g.at_hand = c->n - image < g.images ? c->n - image : g.images;
        g.x = x + image * c->h * c->w * c->in;
        g.dy = dy + image * c->out_h * c->out_w * c->out;
        g.add = image > 0;
        lay_out(d, &g);
        kn_cpu_each(d, g.panels * g.sets, add_up, &g);
        if (db != NULL)
            kn_cpu_each(d, c->out, add_bias, &g);
    }
    if (status == KN_OK)
        kn_cpu_each(d, c->out, write_channel, &g);
    return status;
}
