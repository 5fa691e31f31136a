/* conv_lay.c - see conv_lay.h. */
#include "backend/conv_lay.h"

#include <string.h>

static int64_t size_of(const kn_conv_grad *g) {
    return 4 / g->tile->unit; /* bytes of a number */
}

/* Spreads a pixel's channels over the panels: in bf16 with those of the next pixel. */
static void lay_pixel(const kn_conv_grad *g, const char *from, const char *next, float *to) {
    int64_t left = g->channels;
    if (g->tile->pair != NULL) {
        g->tile->pair(from, next, left, kn_laid_panel(g), to);
        return;
    }
    for (; left >= KN_PANEL; left -= KN_PANEL, from += KN_PANEL * 4, to += kn_laid_panel(g))
        memcpy(to, from, KN_PANEL * sizeof *to);
    if (left > 0) {
        memcpy(to, from, (size_t)left * sizeof *to);
        memset(to + left, 0, (size_t)(KN_PANEL - left) * sizeof *to);
    }
}

static void lay_nothing(const kn_conv_grad *g, float *row) {
    for (int64_t p = 0; p < g->panels; p++, row += kn_laid_panel(g))
        memset(row, 0, (size_t)(g->cols * KN_PANEL) * sizeof(float));
}

/* Row y of an image, with the padding to its sides. */
static void lay_row(const kn_conv_grad *g, const char *image, int64_t y, float *to) {
    const kn_conv_dims *c = g->c;
    if (y < 0 || y >= c->h) {
        lay_nothing(g, to);
        return;
    }
    int64_t pixel = c->in * size_of(g);
    const char *from = image + y * c->w * pixel;
    int64_t step = g->stride == c->stride ? 1 : c->stride; /* between the pixels that are wanted */
    int64_t next = step * g->stride;
    for (int64_t i = 0, x = -c->padding; i < g->cols; i++, x += step, to += KN_PANEL)
        lay_pixel(g, x >= 0 && x < c->w ? from + x * pixel : g->zeros,
                  x + next >= 0 && x + next < c->w ? from + (x + next) * pixel : g->zeros, to);
}

/* The window whose top left is (y,x), its numbers as [kernel_h,kernel_w,in]. */
static void window(const kn_conv_grad *g, const char *image, int64_t y, int64_t x, char *to) {
    const kn_conv_dims *c = g->c;
    int64_t begin = x < 0 ? -x : 0, end = x + c->kernel_w > c->w ? c->w - x : c->kernel_w;
    int64_t pixel = c->in * size_of(g);
    bool whole = begin == 0 && end == c->kernel_w;
    for (int64_t ky = 0; ky < c->kernel_h; ky++, to += c->kernel_w * pixel) {
        bool inside = y + ky >= 0 && y + ky < c->h && begin < end;
        if (!whole || !inside)
            memset(to, 0, (size_t)(c->kernel_w * pixel));
        if (inside)
            memcpy(to + begin * pixel, image + ((y + ky) * c->w + x + begin) * pixel,
                   (size_t)((end - begin) * pixel));
    }
}

static void lay_windows(const kn_conv_grad *g, const char *image, int64_t y, float *to) {
    const kn_conv_dims *c = g->c;
    char two[2][KN_LAY_SHALLOW * KN_MOST_KERNEL * KN_MOST_KERNEL * sizeof(float)];
    window(g, image, y, -c->padding, two[0]);
    for (int64_t x = 0; x < c->out_w; x++, to += KN_PANEL) {
        char *one = two[x % 2], *next = two[(x + 1) % 2];
        if (x + 1 < c->out_w)
            window(g, image, y, (x + 1) * c->stride - c->padding, next);
        lay_pixel(g, one, x + 1 < c->out_w ? next : g->zeros, to);
    }
}

void kn_lay_input(const kn_band *b) {
    const kn_conv_grad *g = b->g;
    const kn_conv_dims *c = g->c;
    int64_t rows = (b->runs - 1) * g->stride + g->kernel_h;
    int64_t step = g->stride == c->stride ? 1 : c->stride;
    for (int64_t i = 0; i < b->images; i++) {
        const char *image = g->x + (b->image + i) * c->h * c->w * c->in * size_of(g);
        int64_t y = b->run * c->stride - c->padding;
        for (int64_t row = 0; row < rows; row++, y += step) {
            float *to = b->laid + (i * g->rows + row) * g->cols * KN_PANEL;
            if (g->windows)
                lay_windows(g, image, y, to);
            else
                lay_row(g, image, y, to);
        }
    }
}

/* ---- dy ---- */

static void add_bias(int64_t channels, const float *from, float *sum) {
    for (int64_t o = 0; o < channels; o++)
        sum[o] += from[o];
}

static void add_bias_bf16(int64_t channels, const kn_bf16 *from, float *sum) {
    for (int64_t o = 0; o < channels; o++)
        sum[o] += kn_bf16_value(from[o]);
}

static void lay_grad_row(const kn_conv_grad *g, const char *row, float *to) {
    int64_t pixel = g->c->out * size_of(g), unit = g->tile->unit;
    for (int64_t i = 0; i < g->c->out_w; i += unit, row += unit * pixel, to += kn_laid_grad(g))
        if (g->tile->pair == NULL)
            memcpy(to, row, (size_t)pixel);
        else
            g->tile->pair(row, i + 1 < g->c->out_w ? row + pixel : g->zeros, g->c->out, KN_PANEL,
                          to);
}

void kn_lay_grad(const kn_band *b) {
    const kn_conv_grad *g = b->g;
    const kn_conv_dims *c = g->c;
    int64_t pixel = c->out * size_of(g), runs = b->images * b->runs;
    const char *from = g->dy + (b->image * c->out_h + b->run) * c->out_w * pixel;
    for (int64_t run = 0; run < runs; run++)
        lay_grad_row(g, from + run * c->out_w * pixel, b->grad + run * g->pixels * kn_laid_grad(g));
    for (int64_t i = 0; b->bias != NULL && i < runs * c->out_w; i++, from += pixel)
        if (g->tile->unit == 1)
            add_bias(c->out, (const float *)(const void *)from, b->bias);
        else
            add_bias_bf16(c->out, (const kn_bf16 *)(const void *)from, b->bias);
}
