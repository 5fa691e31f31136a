/* conv_gradient.c - see conv_gradient.h. The gradient of the weight [o,i,y,x] is the product of
 * channel o of dy with channel i of the input, moved by (y,x), summed over all pixels.
 *
 * Each part of the images has a worker, or several that share its output channels, and sums of its
 * own; the parts are added up in the end, in order. A worker goes through its images band by band.
 * What a band needs of the input it lays out in panels [ceil(in / 16), row, column, 16], with the
 * padding, so that a move of the kernel is another start in the same panel; all of it stays in the
 * worker's cache while every few channels of dy meet every panel at every place of the kernel.
 *
 * With few channels, as in the first layer, a panel of 16 would be nearly empty. There the windows
 * themselves are laid out, as if each were a pixel with in * kernel_h * kernel_w channels. */
#include "backend/conv_gradient.h"

#include "backend/cpu_loops.h"

#include <string.h>

/* Channels below which windows are laid out; pixels of a band; numbers that keep lines out of one
 * set of the cache; channels of an item that writes; the bytes that the parts' sums together may
 * take. */
enum { SHALLOW = 16, BAND = 256, PAD = 16, CHANNELS = 64, SUMS_BYTES = 64 << 20 };

typedef struct gradient {
    const kn_conv_dims *c;
    const kn_tile_kernels *tile;
    const float *x, *dy;
    float *dw, *db;
    bool windows;
    /* What is laid out has so many channels, and columns a row; the kernel moves over it by
     * kernel_h x kernel_w places, from pixel to pixel by stride. */
    int64_t channels, cols, kernel_h, kernel_w, stride;
    int64_t panels, groups; /* groups: of a tile's output channels */
    int64_t images, runs;   /* of a band: whole images, or so many rows of one */
    int64_t rows;           /* laid out for one image of a band */
    int64_t parts, sets;    /* of the images; of the groups: one worker each */
    float *room;            /* a worker's: laid, dy */
    float *sums;            /* a part's: [panels,places,out,16] and db, which its sets share */
    int64_t room_size, grad_at, sums_size, bias_at;
    int64_t *run_at; /* [images * out_h], where each run begins in a panel */
} gradient;

static int64_t at_least_one(int64_t n) {
    return n < 1 ? 1 : n;
}

static int64_t rounded(int64_t n) {
    return (n + KN_PANEL - 1) / KN_PANEL * KN_PANEL;
}

static gradient plan(const kn_tile_kernels *tile, const kn_conv_dims *c, int threads) {
    bool windows = c->in < SHALLOW;
    /* Of a 1x1 kernel only the pixels that it meets are laid out. */
    bool packed = windows || (c->kernel_h == 1 && c->kernel_w == 1);
    gradient g = {.c = c,
                  .tile = tile,
                  .windows = windows,
                  .channels = windows ? c->in * c->kernel_h * c->kernel_w : c->in,
                  .cols = packed ? c->out_w : (c->out_w - 1) * c->stride + c->kernel_w,
                  .kernel_h = windows ? 1 : c->kernel_h,
                  .kernel_w = windows ? 1 : c->kernel_w,
                  .stride = packed ? 1 : c->stride};
    g.panels = (g.channels + KN_PANEL - 1) / KN_PANEL;
    g.groups = (c->out + tile->rows - 1) / tile->rows;
    g.images = at_least_one(BAND / (c->out_h * c->out_w));
    g.images = g.images < c->n ? g.images : c->n;
    g.runs = at_least_one(BAND / c->out_w);
    g.runs = g.runs < c->out_h ? g.runs : c->out_h;
    g.rows = (g.runs - 1) * g.stride + g.kernel_h;
    int64_t sums = g.panels * g.kernel_h * g.kernel_w * c->out * KN_PANEL;
    int64_t fit = at_least_one(SUMS_BYTES / (sums * (int64_t)sizeof(float)));
    g.parts = threads < fit ? threads : fit;
    g.parts = g.parts < c->n ? g.parts : c->n;
    g.sets = at_least_one(threads / g.parts);
    g.sets = g.sets < g.groups ? g.sets : g.groups;
    g.grad_at = g.panels * g.images * g.rows * g.cols * KN_PANEL;
    g.room_size = g.grad_at + rounded(g.images * g.runs * c->out_w * (c->out + PAD));
    g.bias_at = sums;
    g.sums_size = sums + rounded(c->out);
    return g;
}

/* ---- laying out ---- */

typedef struct band {
    const gradient *g;
    float *laid, *grad, *sums, *bias;
    int64_t image, images, run, runs; /* the first image and the first of its rows of dy */
    bool add;
} band;

static float *laid_row(const band *b, int64_t row) {
    return b->laid + row * b->g->cols * KN_PANEL;
}

static int64_t laid_panel(const gradient *g) {
    return g->images * g->rows * g->cols * KN_PANEL;
}

/* Spreads a pixel's channels over the panels. */
static void lay_pixel(const gradient *g, const float *from, float *to) {
    int64_t next = laid_panel(g), left = g->channels;
    for (; left >= KN_PANEL; left -= KN_PANEL, from += KN_PANEL, to += next)
        memcpy(to, from, KN_PANEL * sizeof *to);
    if (left > 0) {
        memcpy(to, from, (size_t)left * sizeof *to);
        memset(to + left, 0, (size_t)(KN_PANEL - left) * sizeof *to);
    }
}

static void lay_nothing(const gradient *g, float *row, int64_t begin, int64_t end) {
    for (int64_t p = 0; p < g->panels && begin < end; p++, row += laid_panel(g))
        memset(row + begin * KN_PANEL, 0, (size_t)((end - begin) * KN_PANEL) * sizeof(float));
}

/* Row y of an image, with the padding to its sides. */
static void lay_row(const gradient *g, const float *image, int64_t y, float *to) {
    const kn_conv_dims *c = g->c;
    if (y < 0 || y >= c->h) {
        lay_nothing(g, to, 0, g->cols);
        return;
    }
    const float *from = image + y * c->w * c->in;
    int64_t step = g->stride == c->stride ? 1 : c->stride; /* between the pixels that are wanted */
    for (int64_t i = 0, x = -c->padding; i < g->cols; i++, x += step, to += KN_PANEL)
        if (x >= 0 && x < c->w)
            lay_pixel(g, from + x * c->in, to);
        else
            lay_nothing(g, to, 0, 1);
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

static void lay_windows(const gradient *g, const float *image, int64_t y, float *to) {
    const kn_conv_dims *c = g->c;
    float one[SHALLOW * 7 * 7];
    for (int64_t x = 0; x < c->out_w; x++, to += KN_PANEL) {
        window(c, image, y, x * c->stride - c->padding, one);
        lay_pixel(g, one, to);
    }
}

static void lay_input(const band *b) {
    const gradient *g = b->g;
    const kn_conv_dims *c = g->c;
    int64_t rows = (b->runs - 1) * g->stride + g->kernel_h,
            step = g->stride == c->stride ? 1 : c->stride;
    for (int64_t i = 0; i < b->images; i++) {
        const float *image = g->x + (b->image + i) * c->h * c->w * c->in;
        int64_t y = b->run * c->stride - c->padding;
        for (int64_t row = 0; row < rows; row++, y += step) {
            float *to = laid_row(b, i * g->rows + row);
            if (g->windows)
                lay_windows(g, image, y, to);
            else
                lay_row(g, image, y, to);
        }
    }
}

/* dy, its pixels a little further apart, and the sums of its channels. */
static void lay_grad(const band *b) {
    const kn_conv_dims *c = b->g->c;
    const float *from = b->g->dy + (b->image * c->out_h + b->run) * c->out_w * c->out;
    float *to = b->grad;
    int64_t pixels = b->images * b->runs * c->out_w;
    for (int64_t i = 0; i < pixels; i++, from += c->out, to += c->out + PAD)
        memcpy(to, from, (size_t)c->out * sizeof *to);
    if (b->bias == NULL)
        return;
    for (int64_t i = 0; i < pixels; i++, from -= c->out)
        for (int64_t o = 0; o < c->out; o++)
            b->bias[o] += from[o - c->out];
}

/* ---- sums ---- */

/* Some panels, at all places, for a tile's channels. Where there are fewer, the last stands in for
 * the rest. */
static void add_tiles(const band *b, int64_t panel, int panels, int64_t channel) {
    const gradient *g = b->g;
    int64_t out = g->c->out, rows = g->tile->rows, left = out - channel;
    int64_t places = g->kernel_h * g->kernel_w;
    kn_gradient_tile t = {.panels = panels,
                          .run_at = g->run_at,
                          .runs = b->images * b->runs,
                          .pixels = g->c->out_w,
                          .a_step = out + PAD,
                          .b_step = g->stride * KN_PANEL,
                          .rows = left < rows ? left : rows,
                          .add = b->add};
    for (int64_t r = 0; r < rows; r++)
        t.a[r] = b->grad + channel + (r < t.rows ? r : t.rows - 1);
    for (int64_t place = 0; place < places; place++) {
        int64_t at = place / g->kernel_w * g->cols + place % g->kernel_w;
        for (int p = 0; p < panels; p++) {
            t.b[p] = b->laid + (panel + p) * laid_panel(g) + at * KN_PANEL;
            t.sums[p] = b->sums + (((panel + p) * places + place) * out + channel) * KN_PANEL;
        }
        g->tile->gradient(&t);
    }
}

/* A band, for the groups of channels [first, end). */
static void add_band(const band *b, int64_t first, int64_t end) {
    const gradient *g = b->g;
    for (int64_t p = 0; p < g->panels; p += g->tile->panels) {
        int64_t left = g->panels - p;
        int panels = left < g->tile->panels ? (int)left : g->tile->panels;
        for (int64_t i = first; i < end; i++)
            add_tiles(b, p, panels, i * g->tile->rows);
    }
}

static void work(const void *args, int worker, int64_t from, int64_t to) {
    const gradient *g = args;
    const kn_conv_dims *c = g->c;
    int64_t part = worker / g->sets, set = worker % g->sets;
    float *room = g->room + worker * g->room_size, *sums = g->sums + part * g->sums_size;
    (void)from;
    (void)to;
    band b = {.g = g,
              .laid = room,
              .grad = room + g->grad_at,
              .sums = sums,
              .bias = set == 0 && g->db != NULL ? sums + g->bias_at : NULL};
    int64_t first = g->groups * set / g->sets, end = g->groups * (set + 1) / g->sets;
    int64_t last = c->n * (part + 1) / g->parts;
    if (b.bias != NULL)
        memset(b.bias, 0, (size_t)c->out * sizeof *b.bias);
    for (b.image = c->n * part / g->parts; b.image < last; b.image += b.images) {
        b.images = last - b.image < g->images ? last - b.image : g->images;
        for (b.run = 0; b.run < c->out_h; b.run += b.runs) {
            b.runs = c->out_h - b.run < g->runs ? c->out_h - b.run : g->runs;
            lay_input(&b);
            lay_grad(&b);
            add_band(&b, first, end);
            b.add = true;
        }
    }
}

/* ---- the parts together, in the order of the weights ---- */

/* A panel of one output channel. */
static void write_panel(const gradient *g, int64_t panel, int64_t channel) {
    const kn_conv_dims *c = g->c;
    int64_t all = c->kernel_h * c->kernel_w, places = g->kernel_h * g->kernel_w;
    int64_t first = panel * KN_PANEL, left = g->channels - first;
    int64_t lanes = left < KN_PANEL ? left : KN_PANEL;
    float *dw = g->dw + channel * c->in * all;
    for (int64_t part = 0; part < g->parts; part++) {
        const float *from =
            g->sums + part * g->sums_size + (panel * places * c->out + channel) * KN_PANEL;
        for (int64_t place = 0; place < places; place++, from += c->out * KN_PANEL)
            for (int64_t j = 0, i = first; j < lanes; j++, i++) {
                float *to = g->windows ? dw + i % c->in * all + i / c->in : dw + i * all + place;
                *to = (part > 0 ? *to : 0) + from[j];
            }
    }
}

/* Item: a panel of some output channels. */
static void write_some(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    int64_t begin = item / g->panels * CHANNELS, end = begin + CHANNELS;
    (void)worker;
    for (int64_t channel = begin; channel < end && channel < g->c->out; channel++)
        write_panel(g, item % g->panels, channel);
}

static void write_bias(const gradient *g) {
    for (int64_t o = 0; o < g->c->out; o++) {
        g->db[o] = 0;
        for (int64_t part = 0; part < g->parts; part++)
            g->db[o] += g->sums[part * g->sums_size + g->bias_at + o];
    }
}

static kn_status make_room(kn_device *d, gradient *g) {
    int64_t workers = g->parts * g->sets, runs = g->images * g->runs;
    size_t room = (size_t)(workers * g->room_size + g->parts * g->sums_size) * sizeof *g->room;
    char *p = kn_cpu_scratch(d, room + (size_t)runs * sizeof *g->run_at);
    if (p == NULL)
        return d->error->status;
    g->room = (float *)(void *)p;
    g->sums = g->room + workers * g->room_size;
    g->run_at = (int64_t *)(void *)(p + room);
    for (int64_t i = 0; i < runs; i++) {
        int64_t row = i / g->runs * g->rows + i % g->runs * g->stride;
        g->run_at[i] = row * g->cols * KN_PANEL;
    }
    return KN_OK;
}

kn_status kn_conv_gradient(kn_device *d, const kn_tile_kernels *tile, const kn_conv_dims *c,
                           const float *x, const float *dy, float *dw, float *db) {
    gradient g = plan(tile, c, d->threads);
    g.x = x;
    g.dy = dy;
    g.dw = dw;
    g.db = db;
    kn_status status = make_room(d, &g);
    if (status != KN_OK)
        return status;
    int workers = (int)(g.parts * g.sets);
    kn_cpu_in_parts(d, workers, workers, work, &g);
    kn_cpu_each(d, g.panels * ((c->out + CHANNELS - 1) / CHANNELS), write_some, &g);
    if (db != NULL)
        write_bias(&g);
    return KN_OK;
}
