/* winograd.h - 3x3 convolutions with a stride of 1 by Winograd's method: the three passes. */
#ifndef KN_BACKEND_WINOGRAD_H
#define KN_BACKEND_WINOGRAD_H

#include "backend/correlation.h"
#include "backend/winograd_tile.h"

/* The side of the squares, 2 or 4, by which a correlation with these tiles, and a weight gradient,
 * are best done; 0: they cannot be done so, or are too small. */
int kn_winograd_side(const kn_tile_kernels *tile, const kn_correlation *c);
int kn_winograd_gradient_side(const kn_tile_kernels *tile, const kn_conv_dims *c);

/* As their namesakes in correlation.h; packed is [places, cols / 16, depth, 16] numbers. */
int64_t kn_winograd_packed(const kn_correlation *c, int side);
void kn_winograd_pack(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c, int side,
                      const float *weights, void *packed);
kn_status kn_winograd_run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                          int side, const void *in, const void *packed, const float *bias,
                          bool relu, void *out);

/* With weights as they are, which are transformed on the way: for those that are multiplied once.
 * The same bits. Only where takes_new. */
bool kn_winograd_takes_new(const kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                           int side);
kn_status kn_winograd_run_new(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                              int side, const void *in, const float *weights, const float *bias,
                              bool relu, void *out);

/* dw [out,in,3,3]. */
kn_status kn_winograd_gradient(kn_device *d, const kn_tile_kernels *tile, const kn_conv_dims *c,
                               int side, const void *x, const void *dy, float *dw);

/* Of n images of h x w results, and so many weights (in times out): 4 where squares of four by four
 * save enough products, 2 where there are so many of two by two, else 0. */
int kn_winograd_choose(const kn_tile_kernels *tile, int64_t n, int64_t h, int64_t w,
                       int64_t weights, int64_t squares);

#endif
