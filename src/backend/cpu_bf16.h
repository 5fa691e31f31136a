/* cpu_bf16.h - the cpu device's kernels for bf16; see kn_bf16_kernels for what each does. */
#ifndef KN_BACKEND_CPU_BF16_H
#define KN_BACKEND_CPU_BF16_H

#include "backend/backend.h"

kn_status kn_cpu_cast(kn_device *d, kn_dtype from, kn_dtype to, int64_t n, const void *x, void *y);

kn_status kn_cpu_unary_bf16(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x,
                            kn_bf16 *y);
kn_status kn_cpu_unary_grad_bf16(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x,
                                 const kn_bf16 *y, const kn_bf16 *dy, kn_bf16 *dx);
kn_status kn_cpu_add_bf16(kn_device *d, int64_t n, const kn_bf16 *a, const kn_bf16 *b, kn_bf16 *y);
kn_status kn_cpu_batch_norm_bf16(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const kn_bf16 *x, const kn_bf16 *residual, kn_bf16 *y);
kn_status kn_cpu_batch_norm_grad_bf16(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                      const kn_bf16 *x, const kn_bf16 *y, const kn_bf16 *dy,
                                      const kn_norm_grads *grads);
kn_status kn_cpu_max_pool_bf16(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y,
                               uint8_t *which);
kn_status kn_cpu_max_pool_grad_bf16(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                                    const kn_bf16 *dy, kn_bf16 *dx);
kn_status kn_cpu_avg_pool_bf16(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y);
kn_status kn_cpu_avg_pool_grad_bf16(kn_device *d, const kn_pool_dims *p, const kn_bf16 *dy,
                                    kn_bf16 *dx);
kn_status kn_cpu_mean_hw_bf16(kn_device *d, int64_t n, int64_t hw, int64_t c, const kn_bf16 *x,
                              float *y);
kn_status kn_cpu_mean_hw_grad_bf16(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                                   kn_bf16 *dx);

#endif
