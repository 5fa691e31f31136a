/* conv_tile.h - the two inner loops of the convolutions that Kiln does itself: a tile of a few rows
 * by one or two panels of 16 columns of sums, which stay in registers until they are whole. How
 * many fit depends on the registers: 6 rows by one panel with AVX2, 8 by two with AVX-512.
 *
 * What one step of a loop multiplies is a unit, four bytes of an image: a number in f32, two that
 * lie next to each other in bf16. */
#ifndef KN_BACKEND_CONV_TILE_H
#define KN_BACKEND_CONV_TILE_H

#include <kiln/base.h>

enum { KN_PANEL = 16, KN_TILE_ROWS = 8, KN_TILE_PANELS = 2 }; /* the last two: at most */

/* out[r][0..cols) = bias, or what is there, + sum over taps and depth of in[tap][r][k] *
 * weights[panel][tap][k][column].
 * The rows are pixels found by pointers (Dukhan, "The Indirect Convolution Algorithm", 2019), so
 * that padding, stride and borders cost nothing here. */
typedef struct kn_pixel_tile {
    const void *const *in; /* [taps][rows], each to depth units */
    int64_t taps, depth;
    int panels;
    const void *weights[KN_TILE_PANELS]; /* [taps,depth,16] units */
    const float *bias;                   /* [panels * 16], or NULL */
    void *out[KN_TILE_ROWS];             /* numbers of the image's kind */
    int64_t cols;                        /* 1 to 16 * panels of the columns are stored */
    bool add;                            /* to what is there, in place of the bias */
    bool relu;                           /* max(0, .), which keeps NaN */
    bool sums;                           /* out is f32 whatever the images are */
} kn_pixel_tile;

/* sums [rows,16] (+)= over pixels of a[r][pixel] * b[panel][pixel][column]: a piece of a weight
 * gradient. Row r of a is one channel of the output's gradient; b are panels of 16 channels of the
 * input. A pixel is a unit: of two pixels in bf16. */
typedef struct kn_gradient_tile {
    const void *a[KN_TILE_ROWS]; /* a pixel every a_step units */
    int panels;
    const void *b[KN_TILE_PANELS];
    const int32_t *at; /* [pixels], where each begins in b, in units */
    int64_t pixels, a_step;
    float *sums[KN_TILE_PANELS]; /* row r at r * 16 */
    int64_t rows;                /* so many of them are stored */
    bool add;                    /* to what is there */
} kn_gradient_tile;

typedef struct kn_tile_kernels {
    const char *name;
    int rows, panels; /* of a tile */
    int unit;         /* numbers in a unit */
    bool wide;        /* registers of 16 numbers, else 8 */
    void (*pixels)(const kn_pixel_tile *t);
    void (*gradient)(const kn_gradient_tile *t);
    /* Weights of a panel in the image's kind: units [ceil(depth / 2),16] of from [depth,16], the
     * rest 0. NULL: they are as they have to be. */
    void (*narrow)(const float *from, int64_t depth, void *to);
    /* Two pixels' numbers side by side, in units: 16 of them at `to`, the next 16 `step` units on;
     * 0 beyond the channels. NULL: a unit is a number of one pixel. */
    void (*pair)(const void *first, const void *second, int64_t channels, int64_t step, void *to);
    /* to[c][p] = from[p][c] for c < channels, p < pixels; rows of either are its step apart. */
    void (*transpose)(const float *from, int64_t from_step, int64_t channels, int64_t pixels,
                      float *to, int64_t to_step);
} kn_tile_kernels;

/* Those for this processor. NULL: it has no AVX2, and Kiln no others. */
const kn_tile_kernels *kn_tile_best(void);

/* Those for bf16. NULL: this processor has no AVX-512 BF16. */
const kn_tile_kernels *kn_tile_bf16_best(void);

/* Every f32 kind that this processor has, the best first: for the tests. NULL beyond the last. */
const kn_tile_kernels *kn_tile_nth(int i);

#endif
