/* own_conv.h - convolutions and large products by Kiln's own loops, for processors with AVX2 or
 * AVX-512 (docs/design.md, "Measured"). */
#ifndef KN_BACKEND_OWN_CONV_H
#define KN_BACKEND_OWN_CONV_H

#include "backend/backend.h"
#include "backend/correlation.h"

typedef struct kn_own_conv kn_own_conv;

/* By one kind of tile kernels, which says what kind of numbers images are: x, y, dx and dy below.
 * NULL with device->error set on failure. */
kn_own_conv *kn_own_conv_open(kn_device *d, const kn_tile_kernels *tile);
void kn_own_conv_close(kn_own_conv *o);
void kn_own_conv_forget(kn_own_conv *o, uint64_t id);

/* Whether forward and the input's gradient can be done so: not bf16 with 17 or 19 channels and the
 * like. */
bool kn_own_conv_can(const kn_own_conv *o, const kn_conv_dims *c);

/* then: NULL, or what is done with the results. */
kn_status kn_own_conv_forward(kn_own_conv *o, const kn_conv_dims *c, const void *x, kn_weights w,
                              const float *bias, bool relu, const kn_conv_then *then, void *y);
kn_status kn_own_conv_grad_data(kn_own_conv *o, const kn_conv_dims *c, const void *dy, kn_weights w,
                                void *dx);
kn_status kn_own_conv_grad_weights(kn_own_conv *o, const kn_conv_dims *c, const void *x,
                                   const void *dy, float *dw, float *db);

/* Whether these loops pay for a product of this size; and the product, of f32. */
bool kn_own_matmul_pays(const kn_matmul_dims *m);
kn_status kn_own_matmul(kn_own_conv *o, const kn_matmul_dims *m, const float *a, const float *b,
                        const float *bias, float *c);

#endif
