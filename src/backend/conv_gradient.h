/* conv_gradient.h - the gradient of a convolution's weights, by Kiln's own tiles. */
#ifndef KN_BACKEND_CONV_GRADIENT_H
#define KN_BACKEND_CONV_GRADIENT_H

#include "backend/backend.h"
#include "backend/conv_tile.h"

/* x and dy are of the tiles' kind; dw [out,in,kernel_h,kernel_w], db [out] or NULL. */
kn_status kn_conv_gradient(kn_device *d, const kn_tile_kernels *tile, const kn_conv_dims *c,
                           const void *x, const void *dy, float *dw, float *db);

#endif
