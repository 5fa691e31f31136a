/* cpu_loops.h - kernels of the cpu device that walk whole activations or all parameters. */
#ifndef KN_BACKEND_CPU_LOOPS_H
#define KN_BACKEND_CPU_LOOPS_H

#include "backend/backend.h"

/* ---- sharing work among the threads ---- */

typedef void (*kn_range_fn)(const void *args, int64_t begin, int64_t end);

/* Calls fn over [0, n) in one range a thread, cut at multiples of unit; in one range when work, in
 * numbers touched, is too little to share. */
kn_status kn_cpu_over(kn_device *d, int64_t n, int64_t unit, int64_t work, kn_range_fn fn,
                      const void *args);

/* For sums: [0, n) in parts whose results are then put together in their order. The number of parts
 * depends on the device's threads and the arguments alone. */
typedef void (*kn_part_fn)(const void *args, int part, int64_t begin, int64_t end);
int kn_cpu_parts(const kn_device *d, int64_t n, int64_t work);
void kn_cpu_in_parts(kn_device *d, int64_t n, int parts, kn_part_fn fn, const void *args);

/* Calls fn for each of the items [0, n), each thread taking the next one when it is done with its
 * last: for items of unequal length that do not depend on each other. worker is below the device's
 * number of threads, and names room that one thread has to itself. */
typedef void (*kn_item_fn)(const void *args, int worker, int64_t item);
void kn_cpu_each(kn_device *d, int64_t n, kn_item_fn fn, const void *args);

/* Room for a kernel, valid to the next call. NULL with device->error set when there is none. */
void *kn_cpu_scratch(kn_device *d, size_t bytes);
void kn_cpu_scratch_free(kn_device *d);

/* ---- kernels ---- */

kn_status kn_cpu_stats(kn_device *d, int64_t n, float near, const float *x, double *out);

kn_status kn_cpu_unary(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y);
kn_status kn_cpu_unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx);
/* The same in the calling thread. */
void kn_cpu_unary_here(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y);
void kn_cpu_unary_grad_here(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx);
kn_status kn_cpu_binary(kn_device *d, kn_binary_kind kind, kn_dtype dtype, const kn_bcast *loop,
                        const void *a, const void *b, void *y);
kn_status kn_cpu_axpy(kn_device *d, int64_t n, float alpha, const float *x, float *y);
kn_status kn_cpu_mean_hw(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *x, float *y);
kn_status kn_cpu_mean_hw_grad(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              float *dx);
kn_status kn_cpu_batch_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const float *x, const float *residual, float *y);
kn_status kn_cpu_batch_norm_grad(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const float *x, const float *y, const float *dy,
                                 const kn_norm_grads *grads);
kn_status kn_cpu_dropout(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                         const float *x, float *y);
kn_status kn_cpu_max_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y,
                          uint8_t *which);
kn_status kn_cpu_max_pool_grad(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const float *dy, float *dx);
kn_status kn_cpu_avg_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y);
kn_status kn_cpu_avg_pool_grad(kn_device *d, const kn_pool_dims *p, const float *dy, float *dx);
kn_status kn_cpu_normalize(kn_device *d, int64_t n, const uint8_t *x, const float mean[3],
                           const float std[3], float *y);
kn_status kn_cpu_mix_rows(kn_device *d, int64_t rows, int64_t cols, const float *x,
                          const int32_t *partner, const float *lambda, float *y);
kn_status kn_cpu_mix_box(kn_device *d, const kn_mix_box *box, const float *x,
                         const int32_t *partner, float *y);

#endif
