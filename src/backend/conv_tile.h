/* conv_tile.h - the two inner loops of the convolutions that Kiln does itself: a tile of 6 rows by
 * 16 columns of sums that stay in registers until they are whole. 12 registers of sums, 2 of
 * weights and 1 of broadcast input fill the 16 that AVX2 has. */
#ifndef KN_BACKEND_CONV_TILE_H
#define KN_BACKEND_CONV_TILE_H

#include <kiln/base.h>

enum { KN_TILE_ROWS = 6, KN_TILE_COLS = 16 };

/* out[r][0..cols) = bias, or what is there, + sum over taps and depth of in[tap][r][k] *
 * weights[tap][k][column].
 * The rows are pixels found by pointers (Dukhan, "The Indirect Convolution Algorithm", 2019), so
 * that padding, stride and borders cost nothing here. */
typedef struct kn_pixel_tile {
    const float *const *in; /* [taps][6], each to depth numbers */
    int64_t taps, depth;
    const float *weights; /* [taps,depth,16] */
    const float *bias;    /* [16], or NULL */
    float *out[KN_TILE_ROWS];
    int64_t cols; /* 1 to 16 of the columns are stored */
    bool add;     /* to what is there, in place of the bias */
    bool relu;    /* max(0, .), which keeps NaN */
} kn_pixel_tile;

/* sums [6,16] (+)= over runs and their pixels of a[r][pixel] * b[pixel][column]: a piece of a
 * weight gradient. A run is a row of an image. Row r of a is one channel of the output's gradient,
 * all pixels behind each other; b is a panel of 16 channels of the input. */
typedef struct kn_gradient_tile {
    const float *a[KN_TILE_ROWS];
    const float *b;
    const int64_t *run_at;  /* [runs], where each run begins in b */
    int64_t runs, pixels;   /* pixels of a run */
    int64_t a_step, b_step; /* from pixel to pixel */
    float *sums;            /* row r at r * 16 */
    int64_t rows;           /* 1 to 6 of them are stored */
    bool add;               /* to what is there */
} kn_gradient_tile;

typedef struct kn_tile_kernels {
    void (*pixels)(const kn_pixel_tile *t);
    void (*gradient)(const kn_gradient_tile *t);
    /* to[c][p] = from[p][c] for c < channels, p < pixels; rows of `to` are to_step apart. */
    void (*transpose)(const float *from, int64_t channels, int64_t pixels, float *to,
                      int64_t to_step);
} kn_tile_kernels;

/* Those for this processor. NULL: it has no AVX2, and Kiln no others. */
const kn_tile_kernels *kn_tile_best(void);

/* Whether this processor has AVX-512. */
bool kn_tile_wide(void);

#endif
