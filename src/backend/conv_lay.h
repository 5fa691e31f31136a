/* conv_lay.h - how a weight gradient's worker lays out a band of the images before it multiplies;
 * see conv_gradient.c. */
#ifndef KN_BACKEND_CONV_LAY_H
#define KN_BACKEND_CONV_LAY_H

#include "backend/backend.h"
#include "backend/conv_tile.h"

/* Units that keep lines out of one set of the cache; channels below which windows are laid out. */
enum { KN_LAY_PAD = 16, KN_LAY_SHALLOW = 16 };

typedef struct kn_conv_grad {
    const kn_conv_dims *c;
    const kn_tile_kernels *tile;
    const char *x, *dy;
    float *dw, *db;
    bool windows;
    /* What is laid out has so many channels, and columns a row; the kernel moves over it by
     * kernel_h x kernel_w places, from pixel to pixel by stride. */
    int64_t channels, cols, kernel_h, kernel_w, stride;
    int64_t panels, groups; /* groups: of a tile's output channels */
    int64_t images, runs;   /* of a band: whole images, or so many rows of one */
    int64_t rows;           /* laid out for one image of a band */
    int64_t pixels;         /* of a run, in units */
    int64_t parts, sets;    /* of the images; of the groups: one worker each */
    const char *zeros;      /* a pixel of either side */
    float *room;            /* a worker's: laid, dy */
    float *sums;            /* a part's: [panels,places,out,16] and db, which its sets share */
    int64_t room_size, grad_at, sums_size, bias_at;
    int32_t *at; /* [images * runs * pixels], where each pixel of dy meets a panel */
} kn_conv_grad;

typedef struct kn_band {
    const kn_conv_grad *g;
    float *laid, *grad, *sums, *bias; /* laid and grad count in units */
    int64_t image, images, run, runs; /* the first image and the first of its rows of dy */
    bool add;
} kn_band;

/* Units from panel to panel of what is laid out. */
static inline int64_t kn_laid_panel(const kn_conv_grad *g) {
    return g->images * g->rows * g->cols * KN_PANEL;
}

/* Units between two pixels of dy. */
static inline int64_t kn_laid_grad(const kn_conv_grad *g) {
    return g->c->out + KN_LAY_PAD;
}

/* What the band needs of the input, in panels [ceil(channels / 16), row, column, 16]. In bf16 a
 * unit holds a pixel and the one that the kernel meets next. */
void kn_lay_input(const kn_band *b);

/* dy, its pixels (in bf16: pairs of them) a little further apart, and the sums of its channels. */
void kn_lay_grad(const kn_band *b);

#endif
