/* random.c - what is drawn from Philox4x32-10. */
#include <kiln/random.h>

#include "core/philox.h"

#include <math.h>

void kn_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
    kn_philox_block(key, counter, out);
}

kn_rng kn_rng_at(uint64_t seed, kn_purpose purpose, uint16_t layer, uint32_t epoch,
                 uint32_t sample) {
    return (kn_rng){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, sample, epoch, (uint32_t)purpose << 16 | layer},
        .used = 4,
    };
}

uint32_t kn_rng_u32(kn_rng *rng) {
    if (rng->used == 4) {
        kn_philox(rng->key, rng->counter, rng->block);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

float kn_rng_uniform(kn_rng *rng) {
    return (float)(kn_rng_u32(rng) >> 8) * 0x1p-24f;
}

uint32_t kn_rng_below(kn_rng *rng, uint32_t n) {
    uint64_t product = (uint64_t)kn_rng_u32(rng) * n;
    if ((uint32_t)product < n) {
        uint32_t threshold = (uint32_t)-n % n;
        while ((uint32_t)product < threshold)
            product = (uint64_t)kn_rng_u32(rng) * n;
    }
    return (uint32_t)(product >> 32);
}

float kn_rng_normal(kn_rng *rng) {
    /* u in (0, 1], so that the logarithm is finite. In double: no platform's logf matters. */
    double u = ((double)(kn_rng_u32(rng) >> 8) + 1.0) * 0x1p-24;
    double v = (double)(kn_rng_u32(rng) >> 8) * 0x1p-24;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

void kn_rng_shuffle(kn_rng *rng, uint32_t *order, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = kn_rng_below(rng, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

void kn_shuffle(uint64_t seed, kn_purpose purpose, uint32_t epoch, uint32_t *order, uint32_t n) {
    kn_rng rng = kn_rng_at(seed, purpose, 0, epoch, 0);
    kn_rng_shuffle(&rng, order, n);
}
