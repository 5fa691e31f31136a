/* random.c - Philox4x32-10 and what is drawn from it. The constants are those of the paper and are
 * checked on its published vectors (tests/test_core.c). */
#include <kiln/random.h>

#include <math.h>

void kn_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
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
