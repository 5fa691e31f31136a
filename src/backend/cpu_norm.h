/* cpu_norm.h - batch normalisation by running statistics of results where they lie: all of them, or
 * some as they come out of a convolution. */
#ifndef KN_BACKEND_CPU_NORM_H
#define KN_BACKEND_CPU_NORM_H

#include "backend/backend.h"

typedef struct kn_norm_after {
    int64_t rows, channels;
    const float *a, *b; /* y = a y + b (+ residual), and no less than floor: s's inv_std and mean */
    float floor;
    const void *residual; /* NULL: none */
    void *y;
    bool half; /* y and residual are bf16 */
} kn_norm_after;

/* What kn_cpu_batch_norm(n, s) by the running statistics does, bit for bit, to y, where it lies.
 * s's mean and inv_std are taken for it, until all is done. */
kn_norm_after kn_norm_after_of(const kn_norm_dims *n, const kn_norm_state *s, const void *residual,
                               void *y, bool half);

/* Of rows [first, first + count), columns [col, end), in the calling thread: a kn_conv_then. */
void kn_norm_after_some(const void *after, int64_t first, int64_t count, int64_t col, int64_t end);

/* Of all rows, by the device's threads. */
kn_status kn_norm_after_all(kn_device *d, const kn_norm_after *after);

#endif
