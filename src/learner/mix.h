/* mix.h - what MixUp and CutMix share: partners, randomness, the loss's second target. */
#ifndef KN_LEARNER_MIX_H
#define KN_LEARNER_MIX_H

#include "core/ctx.h"

#include <kiln/callbacks.h>
#include <kiln/random.h>

/* After the batch is on the device and normalised. */
enum { KN_MIX_ORDER = -80 };

typedef struct kn_mix {
    kn_callback base;
    kn_ctx *ctx;
    double alpha;
    kn_purpose purpose;
    kn_rng rng;      /* of the batch under way */
    uint32_t *order; /* [room]: the batch's partners */
    float *lambda;   /* [room] */
    size_t room;
} kn_mix;

kn_callback *kn_mix_new(kn_ctx *ctx, const kn_callback_class *cls, double alpha,
                        kn_purpose purpose);
void kn_mix_free(kn_callback *cb);

/* An event: checks that the loss will see what is mixed, and takes the memory for a batch. */
kn_flow kn_mix_before_fit(kn_callback *cb, kn_learner *l);

/* False when this batch is not to be mixed: in validation, or the other's turn; or with *flow
 * KN_FAIL. Else rng is that of this batch, and there is room for its n samples. */
bool kn_mix_begin(kn_mix *m, kn_learner *l, int64_t *n, kn_flow *flow);

/* Draws the permutation and returns it on the device: i32 [n]. */
kn_tensor *kn_mix_partners(kn_mix *m, kn_learner *l, int64_t n);

/* y[partner]: i32 [n]. */
kn_tensor *kn_mix_labels(kn_learner *l, kn_tensor *partner);

#endif
