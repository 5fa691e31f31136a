/* cpu_loops.h - kernels of the cpu device that walk whole activations or all parameters. */
#ifndef KN_BACKEND_CPU_LOOPS_H
#define KN_BACKEND_CPU_LOOPS_H

#include "backend/backend.h"

kn_status kn_cpu_unary(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y);
kn_status kn_cpu_unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx);
kn_status kn_cpu_binary(kn_device *d, kn_binary_kind kind, kn_dtype dtype, const kn_bcast *loop,
                        const void *a, const void *b, void *y);
kn_status kn_cpu_axpy(kn_device *d, int64_t n, float alpha, const float *x, float *y);
kn_status kn_cpu_mean_hw(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *x, float *y);
kn_status kn_cpu_mean_hw_grad(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              float *dx);
kn_status kn_cpu_normalize(kn_device *d, int64_t n, const uint8_t *x, const float mean[3],
                           const float std[3], float *y);
kn_status kn_cpu_sgd(kn_device *d, int64_t n, float *w, const float *g, float *v, bool first,
                     float lr, float wd, float momentum);

#endif
