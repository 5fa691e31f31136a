/* cpu_optim.h - kernels of the cpu device that optimizers run over all parameters. */
#ifndef KN_BACKEND_CPU_OPTIM_H
#define KN_BACKEND_CPU_OPTIM_H

#include "backend/backend.h"

kn_status kn_cpu_sgd(kn_device *d, int64_t n, const kn_sgd_rule *rule, const float *g, float *v,
                     float *w);
kn_status kn_cpu_adam(kn_device *d, int64_t n, const kn_adam_rule *rule, const float *g, float *m,
                      float *v, float *w);
kn_status kn_cpu_muon_momentum(kn_device *d, int64_t n, float momentum, bool nesterov,
                               const float *g, float *v, float *x);
kn_status kn_cpu_muon_step(kn_device *d, int64_t n, float keep, float step, const float *u,
                           const float *norm, float *w);
kn_status kn_cpu_lerp(kn_device *d, int64_t n, float alpha, const float *x, float *y);
kn_status kn_cpu_square_sum(kn_device *d, int64_t n, const float *x, double *total);
kn_status kn_cpu_clip(kn_device *d, int64_t n, float most, const double *total, float *g);

#endif
