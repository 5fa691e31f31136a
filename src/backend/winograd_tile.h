/* winograd_tile.h - the transforms of Winograd's F(2x2, 3x3) on vectors of channels: two by two
 * results of a 3x3 kernel from 16 products in place of 36 (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2016). With their matrices
 *
 *     B' = 1  0 -1  0    G = 1    0    0     A' = 1  1  1  0
 *          0  1  1  0        1/2  1/2  1/2        0  1 -1 -1
 *          0 -1  1  0        1/2 -1/2  1/2
 *          0  1  0 -1        0    0    1
 *
 * y = A' (G g G' . B' d B) A, "." place by place; so dg = G' (B' d B . A dy A') G. In each struct
 * the 16 places of the transformed are `step` numbers apart. Channels are a multiple of 16.
 *
 * Pixels, and what is made of them, are of the tile's kind: f32, or bf16, which is transformed in
 * f32 and rounded once. Sums are f32, and so are weights. */
#ifndef KN_BACKEND_WINOGRAD_TILE_H
#define KN_BACKEND_WINOGRAD_TILE_H

#include "backend/conv_tile.h"

enum { KN_WINOGRAD = 16 }; /* places */

/* B' d B of a 4x4 window, given pixel by pixel; 16 channels of a place lie together, the next 16
 * `panel` numbers on. */
typedef struct kn_winograd_in {
    const void *in[KN_WINOGRAD];
    int64_t channels, step, panel;
    void *out;
} kn_winograd_in;

/* A' m A of sums m, plus bias: two by two pixels. */
typedef struct kn_winograd_out {
    const float *in;
    int64_t channels, step;
    const float *bias; /* [channels] or NULL */
    bool relu;         /* max(0, .), which keeps NaN */
    void *out[4];
} kn_winograd_out;

/* A dy A' of two by two pixels. */
typedef struct kn_winograd_grad {
    const void *in[4];
    int64_t channels, step;
    void *out;
} kn_winograd_grad;

typedef struct kn_winograd_kernels {
    void (*in)(const kn_winograd_in *w);
    void (*out)(const kn_winograd_out *w);
    void (*grad)(const kn_winograd_grad *w);
    /* G g G' and G' u G for 16 channels at once: g is [9,16], the 16 places of u are step apart. */
    void (*weights)(const float *g, int64_t step, float *u);
    void (*weights_grad)(const float *u, int64_t step, float *g);
} kn_winograd_kernels;

/* Those with the tile's kind of numbers and width of registers. */
const kn_winograd_kernels *kn_winograd_for(const kn_tile_kernels *tile);

#endif
