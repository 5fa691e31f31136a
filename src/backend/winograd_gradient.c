/* winograd_gradient.c - the gradient of 3x3 weights by Winograd's method, see winograd_tile.h. Some
 * squares at a time are transformed, then each of the 16 places is a matrix product of its own,
 * [out,squares] x [squares,in]. Where there are many squares and few channels, each thread does
 * that alone, with a part of the squares and sums of its own: nobody waits, and what one processor
 * laid out no other reads. Where there are few squares, and so many more sums, each thread takes a
 * block of the weights, of which it multiplies all places and transforms the sums back before they
 * leave its cache. Else the threads share the products by panels of 16 input channels.
 *
 * A unit, see conv_tile.h, is a number of one square, or in bf16 those of two. */
#include "backend/cpu_loops.h"
#include "backend/winograd.h"

#include <string.h>

/* Units that are laid out at a time: as many as fit so many, but no fewer than a tile wants to run
 * on. The same for who does it alone, whose sums are of that many weights at most, and whose part
 * is no smaller. Units, and channels, of an item that transforms. Units that keep what is read
 * together out of one set of the cache. */
enum { LAID_OUT = 1 << 19, LEAST = 256 };
enum { ALONE_LAID_OUT = 1 << 17, ALONE_LEAST = 64, ALONE_WEIGHTS = 1 << 14, ALONE_PART = 512 };
enum { SOME = 8, CHANNELS = 64, PAD = 16, TAPS = 9 };

/* So few units for each panel of a tile, and at least so many weights, are done by blocks of so
 * many panels and CHANNELS output channels. */
enum { FEW = 64, BLOCK_WEIGHTS = 1 << 16, BLOCK_PANELS = 2 };

enum { LEAST_SQUARES = 16 }; /* that pay */

typedef struct gradient {
    const kn_conv_dims *c;
    const kn_tile_kernels *tile;
    const kn_winograd_kernels *kernels;
    const char *x, *dy, *zeros; /* zeros: for what is outside an image */
    float *dw;
    int64_t size;                  /* bytes of a number of x and dy */
    int64_t across, down, units;   /* squares across and down an image; units in all */
    int64_t at_once, first, count; /* laid out at most; of those at hand: the first, how many */
    int64_t parts;                 /* with sums of their own */
    bool alone;                    /* each by one thread; else the threads share one */
    bool blocks;                   /* of weights: sums are one block's, of each worker */
    int64_t laid_panel, laid_step; /* units from panel to panel, from place to place */
    int64_t grad_unit, grad_step;  /* from unit to unit, from place to place */
    int64_t sums_step, sums_panel; /* from place to place, from panel to panel */
    int64_t panel, channel, end;   /* of sums: the first panel; channels [channel, end) */
    float *laid, *grad, *sums;
    char *room;                   /* of each worker, for two transformed squares */
    int64_t room_size, room_step; /* bytes, numbers from place to place */
    int32_t at[LEAST];            /* where units are in a panel */
    bool add;
} gradient;

int kn_winograd_gradient_side(const kn_tile_kernels *tile, const kn_conv_dims *c) {
    bool can = c->kernel_h == 3 && c->kernel_w == 3 && c->stride == 1 && c->in % KN_PANEL == 0 &&
               c->out % KN_PANEL == 0;
    return can ? kn_winograd_choose(tile, c->n, c->out_h, c->out_w, c->in * c->out, LEAST_SQUARES)
               : 0;
}

/* ---- transforms ---- */

static const void *pixel(const gradient *g, const char *image, int64_t h, int64_t w,
                         int64_t channels, int64_t y, int64_t x) {
    bool inside = y >= 0 && y < h && x >= 0 && x < w;
    return inside ? image + (y * w + x) * channels * g->size : g->zeros;
}

/* A square of pixels of an image [h,w,channels], from (y, x) on. */
static void find(const gradient *g, const char *image, const int64_t of[3], int64_t y, int64_t x,
                 int side, const void **in) {
    for (int64_t i = y; i < y + side; i++)
        for (int64_t j = x; j < x + side; j++)
            *in++ = pixel(g, image, of[0], of[1], of[2], i, j);
}

/* The input's window of a square. A square beyond the last is one outside its image. */
static void find_window(const gradient *g, int64_t square, const void *in[KN_PLACES]) {
    const kn_conv_dims *c = g->c;
    int64_t image = square / (g->across * g->down), side = g->kernels->side;
    int64_t y = square / g->across % g->down * side, x = square % g->across * side;
    const char *from = g->x + image * c->h * c->w * c->in * g->size;
    int64_t of[3] = {image < c->n ? c->h : 0, c->w, c->in}; /* none: all of it is outside */
    find(g, from, of, y - c->padding, x - c->padding, g->kernels->window, in);
}

static void find_grad(const gradient *g, int64_t square, const void *in[KN_SIDE * KN_SIDE]) {
    const kn_conv_dims *c = g->c;
    int64_t image = square / (g->across * g->down), side = g->kernels->side;
    int64_t y = square / g->across % g->down * side, x = square % g->across * side;
    const char *from = g->dy + image * c->out_h * c->out_w * c->out * g->size;
    int64_t of[3] = {image < c->n ? c->out_h : 0, c->out_w, c->out};
    find(g, from, of, y, x, g->kernels->side, in);
}

/* Unit i of those at hand is a square. */
static void transform_one(const gradient *g, int64_t i) {
    kn_winograd_in in = {.channels = g->c->in,
                         .step = g->laid_step,
                         .panel = g->laid_panel,
                         .out = g->laid + i * KN_PANEL};
    find_window(g, g->first + i, in.in);
    g->kernels->in(&in);
    kn_winograd_grad dy = {
        .channels = g->c->out, .step = g->grad_step, .out = g->grad + i * g->grad_unit};
    find_grad(g, g->first + i, dy.in);
    g->kernels->grad(&dy);
}

/* Unit i is two squares, which are transformed each, then laid side by side. */
static void transform_two(const gradient *g, int64_t i, char *room) {
    const kn_conv_dims *c = g->c;
    int64_t square = (g->first + i) * 2, step = g->room_step * g->size;
    char *half[2] = {room, room + g->kernels->places * step};
    for (int s = 0; s < 2; s++) {
        kn_winograd_in in = {
            .channels = c->in, .step = g->room_step, .panel = KN_PANEL, .out = half[s]};
        find_window(g, square + s, in.in);
        g->kernels->in(&in);
    }
    for (int64_t f = 0; f < g->kernels->places; f++)
        g->tile->pair(half[0] + f * step, half[1] + f * step, c->in, g->laid_panel,
                      g->laid + f * g->laid_step + i * KN_PANEL);
    for (int s = 0; s < 2; s++) {
        kn_winograd_grad dy = {.channels = c->out, .step = g->room_step, .out = half[s]};
        find_grad(g, square + s, dy.in);
        g->kernels->grad(&dy);
    }
    for (int64_t f = 0; f < g->kernels->places; f++)
        g->tile->pair(half[0] + f * step, half[1] + f * step, c->out, KN_PANEL,
                      g->grad + f * g->grad_step + i * g->grad_unit);
}

static void transform_some(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    int64_t begin = item * SOME, end = g->count - begin < SOME ? g->count : begin + SOME;
    for (int64_t i = begin; i < end; i++)
        if (g->tile->unit > 1)
            transform_two(g, i, g->room + worker * g->room_size);
        else
            transform_one(g, i);
}

/* ---- products ---- */

static float *sums_of(const gradient *g, int64_t f, int64_t panel, int64_t channel) {
    return g->sums + f * g->sums_step + (panel - g->panel) * g->sums_panel +
           (channel - g->channel) * KN_PANEL;
}

/* Place f, units from `begin` on, some panels: all output channels that there are sums of. */
static void multiply_panels(const gradient *g, int64_t f, int64_t begin, int64_t panel,
                            int panels) {
    int64_t rows = g->tile->rows, left = g->count - begin;
    const float *grad = g->grad + f * g->grad_step + begin * g->grad_unit;
    kn_gradient_tile t = {.panels = panels,
                          .at = g->at,
                          .pixels = left < LEAST ? left : LEAST,
                          .a_step = g->grad_unit,
                          .add = g->add || begin > 0};
    for (int p = 0; p < panels; p++)
        t.b[p] = g->laid + f * g->laid_step + (panel + p) * g->laid_panel + begin * KN_PANEL;
    for (int64_t channel = g->channel; channel < g->end; channel += rows) {
        t.rows = g->end - channel < rows ? g->end - channel : rows;
        for (int64_t r = 0; r < rows; r++)
            t.a[r] = grad + channel + (r < t.rows ? r : t.rows - 1);
        for (int p = 0; p < panels; p++)
            t.sums[p] = sums_of(g, f, panel + p, channel);
        g->tile->gradient(&t);
    }
}

static int64_t groups_of(const gradient *g) {
    int64_t panels = g->c->in / KN_PANEL, at_once = g->tile->panels;
    return (panels + at_once - 1) / at_once;
}

/* Item: a place and as many panels as a tile takes. */
static void multiply(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    int64_t groups = groups_of(g), f = item / groups, panel = item % groups * g->tile->panels;
    int64_t left = g->c->in / KN_PANEL - panel;
    (void)worker;
    for (int64_t begin = 0; begin < g->count; begin += LEAST)
        multiply_panels(g, f, begin, panel, left < g->tile->panels ? (int)left : g->tile->panels);
}

/* Item: a part, from the transforms to its sums. */
static void do_part(const void *args, int worker, int64_t part) {
    gradient g = *(const gradient *)args;
    int64_t begin = g.units * part / g.parts, end = g.units * (part + 1) / g.parts;
    g.laid += worker * g.kernels->places * g.laid_step;
    g.grad += worker * g.kernels->places * g.grad_step;
    g.sums += part * g.kernels->places * g.sums_step;
    for (g.first = begin; g.first < end; g.first += g.at_once) {
        g.count = end - g.first < g.at_once ? end - g.first : g.at_once;
        g.add = g.first > begin;
        for (int64_t item = 0; item * SOME < g.count; item++)
            transform_some(&g, worker, item);
        for (int64_t item = 0; item < g.kernels->places * groups_of(&g); item++)
            multiply(&g, worker, item);
    }
}

/* The parts' sums of some channels of a panel, added up in the first's. */
static void add_parts(const gradient *g, int64_t panel, int64_t begin, int64_t end) {
    for (int64_t f = 0; f < g->kernels->places; f++) {
        float *sum = sums_of(g, f, panel, begin);
        for (int64_t part = 1; part < g->parts; part++)
            for (int64_t i = 0; i < (end - begin) * KN_PANEL; i++)
                sum[i] += sum[part * g->kernels->places * g->sums_step + i];
    }
}

/* The gradients of a panel and some output channels. */
static void put(const gradient *g, int64_t panel, int64_t begin, int64_t end) {
    for (int64_t channel = begin; channel < end; channel++) {
        float dg[TAPS * KN_PANEL];
        g->kernels->weights_grad(sums_of(g, 0, panel, channel), g->sums_step, dg);
        g->tile->transpose(dg, KN_PANEL, KN_PANEL, TAPS,
                           g->dw + (channel * g->c->in + panel * KN_PANEL) * TAPS, TAPS);
    }
}

/* Item: a panel and some output channels. */
static void transform_back(const void *args, int worker, int64_t item) {
    const gradient *g = args;
    const kn_conv_dims *c = g->c;
    int64_t panels = c->in / KN_PANEL, panel = item % panels, begin = item / panels * CHANNELS;
    int64_t end = c->out - begin < CHANNELS ? c->out : begin + CHANNELS;
    (void)worker;
    add_parts(g, panel, begin, end);
    put(g, panel, begin, end);
}

static int64_t blocks_across(const gradient *g) {
    return (g->c->in / KN_PANEL + BLOCK_PANELS - 1) / BLOCK_PANELS;
}

/* Item: a block, from its products to the gradients. So FEW units are fewer than LEAST. */
static void do_block(const void *args, int worker, int64_t item) {
    gradient g = *(const gradient *)args;
    int64_t panels = g.c->in / KN_PANEL, across = blocks_across(&g), at_once = g.tile->panels;
    g.panel = item % across * BLOCK_PANELS;
    int64_t last = panels - g.panel < BLOCK_PANELS ? panels : g.panel + BLOCK_PANELS;
    g.channel = item / across * CHANNELS;
    g.end = g.c->out - g.channel < CHANNELS ? g.c->out : g.channel + CHANNELS;
    g.sums += worker * g.kernels->places * g.sums_step;
    for (int64_t f = 0; f < g.kernels->places; f++)
        for (int64_t panel = g.panel; panel < last; panel += at_once)
            multiply_panels(&g, f, 0, panel,
                            (int)(last - panel < at_once ? last - panel : at_once));
    for (int64_t panel = g.panel; panel < last; panel++)
        put(&g, panel, g.channel, g.end);
}

/* ---- all ---- */

static int64_t lines(int64_t bytes) {
    return (bytes + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

/* The wider of both sides is what a pixel outside, and a transformed square, have room for. */
static kn_status make_room(kn_device *d, gradient *g) {
    const kn_conv_dims *c = g->c;
    int64_t channels = c->in > c->out ? c->in : c->out, unit = (int64_t)sizeof(float);
    int64_t zeros = lines(channels * g->size), places = g->kernels->places;
    int64_t laid_out = g->alone ? d->threads : 1;
    int64_t laid = lines(laid_out * places * g->laid_step * unit);
    int64_t grad = lines(laid_out * places * g->grad_step * unit);
    int64_t sums = lines((g->blocks ? d->threads : g->parts) * places * g->sums_step * unit);
    g->room_step = channels + 2 * PAD;
    g->room_size = g->tile->unit > 1 ? lines(2 * places * g->room_step * g->size) : 0;
    int64_t rooms = d->threads * g->room_size;
    char *room = kn_cpu_scratch(d, (size_t)(zeros + laid + grad + sums + rooms));
    if (room == NULL)
        return d->error->status;
    memset(room, 0, (size_t)zeros);
    g->zeros = room;
    g->laid = (float *)(void *)(room + zeros);
    g->grad = (float *)(void *)(room + zeros + laid);
    g->sums = (float *)(void *)(room + zeros + laid + grad);
    g->room = room + zeros + laid + grad + sums;
    return KN_OK;
}

/* What is laid out at a time, and by whom. */
static void divide(const kn_device *d, gradient *g) {
    int64_t channels = g->kernels->places * (g->c->in + g->c->out), parts = g->units / ALONE_PART;
    g->alone = g->c->in * g->c->out <= ALONE_WEIGHTS && parts >= d->threads;
    g->parts = 1;
    if (g->alone && d->threads > 1) /* more than threads: nobody waits long for the last */
        g->parts = parts < 4 * d->threads ? parts : 4 * d->threads;
    int64_t least = g->alone ? ALONE_LEAST : LEAST;
    int64_t fit = (g->alone ? ALONE_LAID_OUT : LAID_OUT) / channels;
    g->at_once = fit > least ? fit / least * least : least;
    g->at_once = g->at_once < g->units ? g->at_once : g->units;
    g->blocks =
        !g->alone && g->units <= FEW * g->tile->panels && g->c->in * g->c->out >= BLOCK_WEIGHTS;
}

/* All threads, all units at once. */
static void do_blocks(kn_device *d, gradient *g) {
    g->count = g->units;
    kn_cpu_each(d, (g->count + SOME - 1) / SOME, transform_some, g);
    kn_cpu_each(d, blocks_across(g) * ((g->c->out + CHANNELS - 1) / CHANNELS), do_block, g);
}

/* All threads, some units after the other. */
static void do_shared(kn_device *d, gradient *g) {
    for (g->first = 0; g->first < g->units; g->first += g->at_once) {
        g->count = g->units - g->first < g->at_once ? g->units - g->first : g->at_once;
        g->add = g->first > 0;
        kn_cpu_each(d, (g->count + SOME - 1) / SOME, transform_some, g);
        kn_cpu_each(d, g->kernels->places * groups_of(g), multiply, g);
    }
}

kn_status kn_winograd_gradient(kn_device *d, const kn_tile_kernels *tile, const kn_conv_dims *c,
                               int side, const void *x, const void *dy, float *dw) {
    gradient g = {.c = c,
                  .tile = tile,
                  .kernels = kn_winograd_for(tile, side),
                  .x = x,
                  .dy = dy,
                  .dw = dw,
                  .size = (int64_t)sizeof(float) / tile->unit,
                  .across = (c->out_w + side - 1) / side,
                  .down = (c->out_h + side - 1) / side};
    g.units = (c->n * g.across * g.down + tile->unit - 1) / tile->unit;
    for (int i = 0; i < LEAST; i++)
        g.at[i] = i * KN_PANEL;
    divide(d, &g);
    g.laid_panel = g.at_once * KN_PANEL + PAD;
    g.laid_step = c->in / KN_PANEL * g.laid_panel + PAD;
    g.grad_unit = c->out + PAD;
    g.grad_step = g.at_once * g.grad_unit + PAD;
    g.end = c->out;
    g.sums_panel = (g.blocks ? CHANNELS : c->out) * KN_PANEL;
    g.sums_step = (g.blocks ? BLOCK_PANELS : c->in / KN_PANEL) * g.sums_panel + PAD;
    kn_status status = make_room(d, &g);
    if (status != KN_OK)
        return status;
    if (g.blocks) {
        do_blocks(d, &g);
        return KN_OK;
    }
    if (g.alone)
        kn_cpu_each(d, g.parts, do_part, &g);
    else
        do_shared(d, &g);
    kn_cpu_each(d, c->in / KN_PANEL * ((c->out + CHANNELS - 1) / CHANNELS), transform_back, &g);
    return KN_OK;
}
