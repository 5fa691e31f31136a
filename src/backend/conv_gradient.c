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

#include "backend/conv_lay.h"
#include "backend/cpu_loops.h"

#include <string.h>

/* Pixels of a band; channels of an item that writes; the bytes that the parts' sums together may
 * take. */
enum { BAND = 256, CHANNELS = 64, SUMS_BYTES = 64 << 20 };

static int64_t at_least_one(int64_t n) {
    return n < 1 ? 1 : n;
}

static int64_t rounded(int64_t n) {
    return (n + KN_PANEL - 1) / KN_PANEL * KN_PANEL;
}

static kn_conv_grad plan(const kn_tile_kernels *tile, const kn_conv_dims *c, int threads) {
    bool windows = c->in < KN_LAY_SHALLOW;
    /* Of a 1x1 kernel only the pixels that it meets are laid out. */
    bool packed = windows || (c->kernel_h == 1 && c->kernel_w == 1);
    kn_conv_grad g = {.c = c,
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
    g.pixels = (c->out_w + tile->unit - 1) / tile->unit;
    g.rows = (g.runs - 1) * g.stride + g.kernel_h;
    int64_t sums = g.panels * g.kernel_h * g.kernel_w * c->out * KN_PANEL;
    int64_t fit = at_least_one(SUMS_BYTES / (sums * (int64_t)sizeof(float)));
    g.parts = threads < fit ? threads : fit;
    g.parts = g.parts < c->n ? g.parts : c->n;
    g.sets = at_least_one(threads / g.parts);
    g.sets = g.sets < g.groups ? g.sets : g.groups;
    g.grad_at = g.panels * g.images * g.rows * g.cols * KN_PANEL;
    g.room_size = g.grad_at + rounded(g.images * g.runs * g.pixels * kn_laid_grad(&g));
    g.bias_at = sums;
    g.sums_size = sums + rounded(c->out);
    return g;
}

/* ---- sums ---- */

/* Some panels, at all places, for a tile's channels. Where there are fewer, the last stands in for
 * the rest. */
static void add_tiles(const kn_band *b, int64_t panel, int panels, int64_t channel) {
    const kn_conv_grad *g = b->g;
    int64_t out = g->c->out, rows = g->tile->rows, left = out - channel;
    int64_t places = g->kernel_h * g->kernel_w;
    kn_gradient_tile t = {.panels = panels,
                          .at = g->at,
                          .pixels = b->images * b->runs * g->pixels,
                          .a_step = kn_laid_grad(g),
                          .rows = left < rows ? left : rows,
                          .add = b->add};
    for (int64_t r = 0; r < rows; r++)
        t.a[r] = b->grad + channel + (r < t.rows ? r : t.rows - 1);
    for (int64_t place = 0; place < places; place++) {
        int64_t at = place / g->kernel_w * g->cols + place % g->kernel_w;
        for (int p = 0; p < panels; p++) {
            t.b[p] = b->laid + (panel + p) * kn_laid_panel(g) + at * KN_PANEL;
            t.sums[p] = b->sums + (((panel + p) * places + place) * out + channel) * KN_PANEL;
        }
        g->tile->gradient(&t);
    }
}

/* A band, for the groups of channels [first, end). */
static void add_band(const kn_band *b, int64_t first, int64_t end) {
    const kn_conv_grad *g = b->g;
    for (int64_t p = 0; p < g->panels; p += g->tile->panels) {
        int64_t left = g->panels - p;
        int panels = left < g->tile->panels ? (int)left : g->tile->panels;
        for (int64_t i = first; i < end; i++)
            add_tiles(b, p, panels, i * g->tile->rows);
    }
}

static void work(const void *args, int worker, int64_t from, int64_t to) {
    const kn_conv_grad *g = args;
    const kn_conv_dims *c = g->c;
    int64_t part = worker / g->sets, set = worker % g->sets;
    float *room = g->room + worker * g->room_size, *sums = g->sums + part * g->sums_size;
    (void)from;
    (void)to;
    kn_band b = {.g = g,
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
            kn_lay_input(&b);
            kn_lay_grad(&b);
            add_band(&b, first, end);
            b.add = true;
        }
    }
}

/* ---- the parts together, in the order of the weights ---- */

/* A panel of one output channel. */
static void write_panel(const kn_conv_grad *g, int64_t panel, int64_t channel) {
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
    const kn_conv_grad *g = args;
    int64_t begin = item / g->panels * CHANNELS, end = begin + CHANNELS;
    (void)worker;
    for (int64_t channel = begin; channel < end && channel < g->c->out; channel++)
        write_panel(g, item % g->panels, channel);
}

static void write_bias(const kn_conv_grad *g) {
    for (int64_t o = 0; o < g->c->out; o++) {
        g->db[o] = 0;
        for (int64_t part = 0; part < g->parts; part++)
            g->db[o] += g->sums[part * g->sums_size + g->bias_at + o];
    }
}

static kn_status make_room(kn_device *d, kn_conv_grad *g) {
    int64_t workers = g->parts * g->sets, pixels = g->images * g->runs * g->pixels;
    size_t room = (size_t)(workers * g->room_size + g->parts * g->sums_size) * sizeof *g->room;
    int64_t channels = g->c->in > g->c->out ? g->c->in : g->c->out;
    channels = g->channels > channels ? g->channels : channels;
    size_t zeros = (size_t)rounded(channels) * sizeof(float);
    char *p = kn_cpu_scratch(d, zeros + room + (size_t)pixels * sizeof *g->at);
    if (p == NULL)
        return d->error->status;
    memset(p, 0, zeros);
    g->zeros = p;
    g->room = (float *)(void *)(p + zeros);
    g->sums = g->room + workers * g->room_size;
    g->at = (int32_t *)(void *)(p + zeros + room);
    for (int64_t i = 0; i < pixels; i++) {
        int64_t run = i / g->pixels, unit = i % g->pixels * g->tile->unit;
        int64_t row = run / g->runs * g->rows + run % g->runs * g->stride;
        g->at[i] = (int32_t)((row * g->cols + unit * g->stride) * KN_PANEL);
    }
    return KN_OK;
}

kn_status kn_conv_gradient(kn_device *d, const kn_tile_kernels *tile, const kn_conv_dims *c,
                           const void *x, const void *dy, float *dw, float *db) {
    kn_conv_grad g = plan(tile, c, d->threads);
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
