/* winograd_tile.h - Winograd's transforms on vectors of channels: F(2x2, 3x3), two by two results
 * of a 3x3 kernel from 16 products in place of 36, and F(4x4, 3x3), four by four from 36 in place
 * of 144 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). With matrices
 * A, B and G, y = A' (G g G' . B' d B) A, "." place by place; so dg = G' (B' d B . A dy A') G. They
 * are Toom and Cook's for the points 0, 1, -1 and infinity, for instance
 *
 *     B' = 1  0 -1  0    G = 1    0    0     A' = 1  1  1  0
 *          0  1  1  0        1/2  1/2  1/2        0  1 -1 -1
 *          0 -1  1  0        1/2 -1/2  1/2
 *          0  1  0 -1        0    0    1
 *
 * and for 0, 3/4, -3/4, 4/3, -4/3 and infinity, which round less than the usual 0, 1, -1, 2, -2:
 * with 64 to 512 channels, and sums in numpy, the results are 7e-7 to 13e-7 off (root of the mean
 * square, relative to float64), where those are 11e-7 to 24e-7, F(2x2, 3x3) 2e-7 to 4e-7.
 *
 * In each struct the places of the transformed are `step` numbers apart. Channels are a multiple of
 * 16. Pixels, and what is made of them, are of the tile's kind: f32, or bf16, which is transformed
 * in f32 and rounded once. Sums are f32, and so are weights. */
#ifndef KN_BACKEND_WINOGRAD_TILE_H
#define KN_BACKEND_WINOGRAD_TILE_H

#include "backend/conv_tile.h"

/* At most: results along a side of a square, and places of a window, (side + 2) x (side + 2). */
enum { KN_SIDE = 4, KN_PLACES = (KN_SIDE + 2) * (KN_SIDE + 2) };

/* B' d B of a window, given pixel by pixel; 16 channels of a place lie together, the next 16
 * `panel` numbers on. */
typedef struct kn_winograd_in {
    const void *in[KN_PLACES];
    int64_t channels, step, panel;
    void *out;
} kn_winograd_in;

/* A' m A of sums m, plus bias: a square of pixels. */
typedef struct kn_winograd_out {
    const float *in;
    int64_t channels, step;
    const float *bias; /* [channels] or NULL */
    bool relu;         /* max(0, .), which keeps NaN */
    void *out[KN_SIDE * KN_SIDE];
} kn_winograd_out;

/* A dy A' of a square of pixels. */
typedef struct kn_winograd_grad {
    const void *in[KN_SIDE * KN_SIDE];
    int64_t channels, step;
    void *out;
} kn_winograd_grad;

typedef struct kn_winograd_kernels {
    int side, window, places; /* of a square; side + 2; window x window */
    void (*in)(const kn_winograd_in *w);
    void (*out)(const kn_winograd_out *w);
    void (*grad)(const kn_winograd_grad *w);
    /* G g G' and G' u G for 16 channels at once: g is [9,16], the places of u are step apart. */
    void (*weights)(const float *g, int64_t step, float *u);
    void (*weights_grad)(const float *u, int64_t step, float *g);
} kn_winograd_kernels;

/* Those with the tile's kind of numbers and width of registers, for squares with a side of 2 or 4
 * (bf16: 2; for 4 its 8 bits are too few). */
const kn_winograd_kernels *kn_winograd_for(const kn_tile_kernels *tile, int side);

#endif
