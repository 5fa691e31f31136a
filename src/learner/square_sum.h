/* square_sum.h - the sum of the squares of all gradients, or all weights, or a tensor, added up on
 * the device in double: the norm that clipping looks at, and finite only if every number is. */
#ifndef KN_LEARNER_SQUARE_SUM_H
#define KN_LEARNER_SQUARE_SUM_H

#include "nn/module.h"

typedef struct kn_square_sum {
    kn_ctx *ctx;
    kn_device *device;
    kn_storage *total; /* one double */
} kn_square_sum;

/* Each begins with 0; x is f32. */
kn_status kn_square_sum_tensor(kn_square_sum *s, const kn_tensor *x);
kn_status kn_square_sum_gradients(kn_square_sum *s, const kn_pack *pack);
kn_status kn_square_sum_read(const kn_square_sum *s, double *out);
void kn_square_sum_free(kn_square_sum *s);

/* Neighbouring segments from *at on that have gradients: their first number and how many. False:
 * there are no more. */
bool kn_gradient_range(const kn_pack *pack, int *at, int64_t *offset, int64_t *length);

#endif
