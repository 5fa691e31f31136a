/* cpu_dropout.c - dropout on the cpu device: blocks of the generator are computed side by side, and
 * give the numbers that kn_rng_at's would. */
#include "backend/cpu_loops.h"

#include "core/multiversion.h"
#include "core/philox.h"

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

/* Uniform numbers from 0 to 1, of the counters {0, first + i, step, word}. */
KN_MULTIVERSION static void draw(uint64_t seed, uint32_t first, uint32_t step, uint32_t word,
                                 float *restrict uniform) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int i = 0; i < SIDE; i++) {
        const uint32_t counter[4] = {0, first + (uint32_t)i, step, word};
        uint32_t drawn[EACH];
        kn_philox_block(key, counter, drawn);
        for (int k = 0; k < EACH; k++)
            uniform[i * EACH + k] = (float)(drawn[k] >> 8) * 0x1p-24f;
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
