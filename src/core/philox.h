/* philox.h - Philox4x32-10 (Salmon and others, "Parallel random numbers: as easy as 1, 2, 3",
 * 2011), for loops that the compiler makes vectors of. The constants are the paper's, and are
 * checked on its published vectors (tests/test_core.c), by way of kn_philox. */
#ifndef KN_CORE_PHILOX_H
#define KN_CORE_PHILOX_H

#include <stdint.h>

static inline void kn_philox_block(const uint32_t key[2], const uint32_t counter[4],
                                   uint32_t out[4]) {
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint32_t n0 = (uint32_t)((uint64_t)0xCD9E8D57u * c2 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)((uint64_t)0xD2511F53u * c0 >> 32) ^ c3 ^ k1;
        c1 = 0xCD9E8D57u * c2;
        c3 = 0xD2511F53u * c0;
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

#endif
