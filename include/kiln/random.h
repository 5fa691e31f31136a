/* random.h - randomness as a function, not a state.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC'11)
 * turns (key, counter) into 128 random bits. The key is the run's seed; the counter says what the
 * bits are for: {draw, sample or element, epoch or step, purpose << 16 | layer}. So a shuffle is a
 * function of (seed, epoch) and an augmentation of (seed, epoch, sample): the number of loader
 * threads cannot matter, and resuming a run needs no generator state. */
#ifndef KILN_RANDOM_H
#define KILN_RANDOM_H

#include <kiln/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What random bits are used for: two purposes never share a counter. Values are part of the format
 * of a reproducible run: append, never renumber. */
typedef enum kn_purpose {
    KN_RANDOM_INIT = 1,
    KN_RANDOM_SHUFFLE = 2,
    KN_RANDOM_SPLIT = 3,
    KN_RANDOM_SHAPES = 4,
    KN_RANDOM_USER = 5,
    KN_RANDOM_DROPOUT = 6,
    KN_RANDOM_AUGMENT = 7, /* the layer is the kind of augmentation */
    KN_RANDOM_MIXUP = 8,
    KN_RANDOM_CUTMIX = 9,
    KN_RANDOM_MIX_CHOICE = 10, /* which of the two, where both are there */
} kn_purpose;

/* One block: 4 words from a 2-word key and a 4-word counter. */
KN_API void kn_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

/* A stream of draws at one place of the counter space. A value: copy it freely. */
typedef struct kn_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    unsigned used; /* words of block already given out */
} kn_rng;

KN_API kn_rng kn_rng_at(uint64_t seed, kn_purpose purpose, uint16_t layer, uint32_t epoch,
                        uint32_t sample);
KN_API uint32_t kn_rng_u32(kn_rng *rng);

/* In [0, 1), 24 bits. */
KN_API float kn_rng_uniform(kn_rng *rng);

/* In [0, n), without bias (Lemire, "Fast Random Integer Generation in an Interval", 2019). n > 0.
 */
KN_API uint32_t kn_rng_below(kn_rng *rng, uint32_t n);

/* Mean 0, standard deviation 1 (Box-Muller, two words a draw). */
KN_API float kn_rng_normal(kn_rng *rng);

/* Of the gamma distribution of that shape > 0 and scale 1 (Marsaglia and Tsang, "A Simple Method
 * for Generating Gamma Variables", 2000; a shape below 1 from shape + 1). */
KN_API double kn_rng_gamma(kn_rng *rng, double shape);

/* In [0, 1], of the distribution Beta(a, b), a and b > 0: a ratio of gammas, or where both are at
 * most 1, where those may both be 0, by Johnk's method in logarithms (Devroye, "Non-Uniform Random
 * Variate Generation", 1986, IX.3). How many words a draw takes varies. */
KN_API double kn_rng_beta(kn_rng *rng, double a, double b);

/* Writes a permutation of 0..n-1 into order (Fisher-Yates), drawn from rng. */
KN_API void kn_rng_shuffle(kn_rng *rng, uint32_t *order, uint32_t n);

/* Writes a permutation of 0..n-1 into order (Fisher-Yates), a function of the arguments alone. */
KN_API void kn_shuffle(uint64_t seed, kn_purpose purpose, uint32_t epoch, uint32_t *order,
                       uint32_t n);

#ifdef __cplusplus
}
#endif
#endif
