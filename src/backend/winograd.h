/* winograd.h - 3x3 convolutions with a stride of 1 by Winograd's method: the three passes. */
#ifndef KN_BACKEND_WINOGRAD_H
#define KN_BACKEND_WINOGRAD_H

#include "backend/correlation.h"
#include "backend/winograd_tile.h"

/* Whether a correlation with these tiles, and a weight gradient, can be done so, and are big
 * enough: n images of h x w results. */
bool kn_winograd_pays(int64_t n, int64_t h, int64_t w);
bool kn_winograd_can(const kn_tile_kernels *tile, const kn_correlation *c);
bool kn_winograd_gradient_can(const kn_conv_dims *c);

/* As their namesakes in correlation.h; packed is [16, cols / 16, depth, 16] numbers. */
int64_t kn_winograd_packed(const kn_correlation *c);
void kn_winograd_pack(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                      const float *weights, void *packed);
kn_status kn_winograd_run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                          const void *in, const void *packed, const float *bias, bool relu,
                          void *out);

/* dw [out,in,3,3]. */
kn_status kn_winograd_gradient(kn_device *d, const kn_tile_kernels *tile, const kn_conv_dims *c,
                               const void *x, const void *dy, float *dw);

#endif
