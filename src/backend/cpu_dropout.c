/* cpu_dropout.c - dropout on the cpu device: blocks of the generator are computed side by side, and
 * give the numbers that kn_rng_at's would. */
#include "backend/cpu_loops.h"

#include "core/multiversion.h"

#include <kiln/random.h>

enum {
    SIDE = 64, /* blocks of the generator at once: enough that compilers make vectors of them */
    EACH = 4,  /* numbers of a block */
    UNIT = SIDE * EACH
};

typedef struct drop_job {
    kn_dropout_place place;
    float keep;
    const float *x;
    float *y;
} drop_job;

/* Philox4x32-10 as in core/random.c, for counters {0, first + i, step, word}: uniform numbers from
 * 0 to 1, those of a block beside each other. */
KN_MULTIVERSION static void draw(uint64_t seed, uint32_t first, uint32_t step, uint32_t word,
                                 float *restrict uniform) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0[SIDE], c1[SIDE], c2[SIDE], c3[SIDE];
    for (int i = 0; i < SIDE; i++) {
        c0[i] = 0;
        c1[i] = first + (uint32_t)i;
        c2[i] = step;
        c3[i] = word;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < SIDE; i++) {
            uint32_t a = c0[i], b = c2[i];
            c0[i] = (uint32_t)((uint64_t)b * 0xCD9E8D57u >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)((uint64_t)a * 0xD2511F53u >> 32) ^ c3[i] ^ k1;
            c1[i] = b * 0xCD9E8D57u;
            c3[i] = a * 0xD2511F53u;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < SIDE; i++) {
        uniform[i * EACH] = (float)(c0[i] >> 8) * 0x1p-24f;
        uniform[i * EACH + 1] = (float)(c1[i] >> 8) * 0x1p-24f;
        uniform[i * EACH + 2] = (float)(c2[i] >> 8) * 0x1p-24f;
        uniform[i * EACH + 3] = (float)(c3[i] >> 8) * 0x1p-24f;
    }
}

KN_MULTIVERSION static void drop(int64_t count, float keep, const float *restrict uniform,
                                 const float *x, float *y) {
    for (int64_t i = 0; i < count; i++) {
        float kept = x[i] / keep;
        y[i] = uniform[i] < keep ? kept : 0;
    }
}

/* begin is a multiple of UNIT. */
static void drop_range(const void *args, int64_t begin, int64_t end) {
    const drop_job *j = args;
    uint32_t word = (uint32_t)KN_RANDOM_DROPOUT << 16 | j->place.layer;
    float uniform[UNIT];
    for (int64_t i = begin; i < end; i += UNIT) {
        int64_t count = end - i < UNIT ? end - i : UNIT;
        draw(j->place.seed, (uint32_t)(i / EACH), j->place.step, word, uniform);
        drop(count, j->keep, uniform, j->x + i, j->y + i);
    }
}

kn_status kn_cpu_dropout(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                         const float *x, float *y) {
    drop_job j = {.place = place, .keep = keep, .x = x, .y = y};
    return kn_cpu_over(d, n, UNIT, n, drop_range, &j);
}
