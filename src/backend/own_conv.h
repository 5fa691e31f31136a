/* own_conv.h - convolutions and large products by Kiln's own loops, for processors with AVX2 or
 * AVX-512 (docs/design.md, "Measured"). */
#ifndef KN_BACKEND_OWN_CONV_H
#define KN_BACKEND_OWN_CONV_H

#include "backend/backend.h"
#include "backend/conv_tile.h"

typedef struct kn_own_conv kn_own_conv;

/* By one kind of tile kernels. NULL with device->error set on failure. */
kn_own_conv *kn_own_conv_open(kn_device *d, const kn_tile_kernels *tile);
void kn_own_conv_close(kn_own_conv *o);
void kn_own_conv_forget(kn_own_conv *o, uint64_t id);

kn_status kn_own_conv_forward(kn_own_conv *o, const kn_conv_dims *c, const float *x, kn_weights w,
                              const float *bias, bool relu, float *y);
kn_status kn_own_conv_grad_data(kn_own_conv *o, const kn_conv_dims *c, const float *dy,
                                kn_weights w, float *dx);
kn_status kn_own_conv_grad_weights(kn_own_conv *o, const kn_conv_dims *c, const float *x,
                                   const float *dy, float *dw, float *db);

/* The same for bf16, where kn_own_conv_bf16_can: not for 17 or 19 channels and the like. */
bool kn_own_conv_bf16_can(const kn_conv_dims *c);
kn_status kn_own_conv_forward_bf16(kn_own_conv *o, const kn_conv_dims *c, const kn_bf16 *x,
                                   kn_weights w, const float *bias, bool relu, kn_bf16 *y);
kn_status kn_own_conv_grad_data_bf16(kn_own_conv *o, const kn_conv_dims *c, const kn_bf16 *dy,
                                     kn_weights w, kn_bf16 *dx);
kn_status kn_own_conv_grad_weights_bf16(kn_own_conv *o, const kn_conv_dims *c, const kn_bf16 *x,
                                        const kn_bf16 *dy, float *dw, float *db);

/* Whether these loops pay for a product of this size; and the product. */
bool kn_own_matmul_pays(const kn_matmul_dims *m);
kn_status kn_own_matmul(kn_own_conv *o, const kn_matmul_dims *m, const float *a, const float *b,
                        const float *bias, float *c);

#endif
