/* onednn.h - convolution and products on oneDNN, for the cpu device. */
#ifndef KN_BACKEND_ONEDNN_H
#define KN_BACKEND_ONEDNN_H

#include "backend/backend.h"

typedef struct kn_onednn kn_onednn;

/* NULL with device->error set on failure. about names the library and its instruction set. */
kn_onednn *kn_onednn_open(kn_device *d, char *about, size_t about_size);
void kn_onednn_close(kn_onednn *o);
void kn_onednn_forget(kn_onednn *o, uint64_t id);

kn_status kn_onednn_matmul(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                           const float *bias, float *c);
/* Without relu: see cpu.c. */
kn_status kn_onednn_conv(kn_onednn *o, const kn_conv_dims *c, const float *x, kn_weights w,
                         const float *bias, float *y);
kn_status kn_onednn_conv_grad_data(kn_onednn *o, const kn_conv_dims *c, const float *dy,
                                   kn_weights w, float *dx);
kn_status kn_onednn_conv_grad_weights(kn_onednn *o, const kn_conv_dims *c, const float *x,
                                      const float *dy, float *dw, float *db);

#endif
