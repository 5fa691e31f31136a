/* finite_ring.h - were the numbers of the last steps finite? For devices that work behind the
 * caller's back: each step leaves the sums of the squares of its loss, gradients and weights on the
 * device, and some steps later all are read at once, so that no step waits. */
#ifndef KN_LEARNER_FINITE_RING_H
#define KN_LEARNER_FINITE_RING_H

#include "nn/module.h"

enum { KN_FINITE_STEPS = 16 };

typedef enum kn_finite_what {
    KN_FINITE_LOSS,
    KN_FINITE_GRADIENTS,
    KN_FINITE_WEIGHTS,
    KN_FINITE_KINDS
} kn_finite_what;

typedef struct kn_finite_place {
    int epoch;
    int64_t batch;
} kn_finite_place;

/* To begin with all but ctx is 0. */
typedef struct kn_finite_ring {
    kn_ctx *ctx;
    kn_device *device;
    kn_storage *sums; /* double [KN_FINITE_STEPS,KN_FINITE_KINDS] */
    kn_finite_place at[KN_FINITE_STEPS];
    int steps; /* that left theirs and were not read */
} kn_finite_ring;

/* Another step begins; the ring must not be full. */
kn_status kn_finite_ring_begin(kn_finite_ring *r, kn_device *device, kn_finite_place at);

/* Adds n numbers of the device to the step's. */
kn_status kn_finite_ring_add(kn_finite_ring *r, kn_finite_what what, int64_t n, const float *x);

bool kn_finite_ring_full(const kn_finite_ring *r);

/* Waits for the steps and empties the ring. *bad is what was not finite first, and *at where; false
 * in *found: all was. */
kn_status kn_finite_ring_read(kn_finite_ring *r, bool *found, kn_finite_what *bad,
                              kn_finite_place *at);

void kn_finite_ring_free(kn_finite_ring *r);

#endif
