/* peak.c - see peak.h. */
#include "backend/peak.h"

#include "core/clock.h"
#include "core/ctx.h"

#include <string.h>

/* ---- multiply-adds ---- */

/* Twelve sums that do not depend on each other: enough to fill two units with a latency of four or
 * five steps each. */
enum { SUMS = 12, ROUNDS = 1 << 16 };

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define PEAK(name, isa, vector, set, fma)                                                          \
    __attribute__((target(isa))) static float name(int rounds) {                                   \
        vector sum[SUMS], factor = set(0.999F), term = set(1e-3F);                                 \
        for (int i = 0; i < SUMS; i++)                                                             \
            sum[i] = set((float)i);                                                                \
        for (int r = 0; r < rounds; r++)                                                           \
            _Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++) sum[i] =                       \
                fma(sum[i], factor, term);                                                         \
        for (int i = 1; i < SUMS; i++)                                                             \
            sum[0] = fma(sum[i], factor, sum[0]);                                                  \
        float one;                                                                                 \
        memcpy(&one, &sum[0], sizeof one);                                                         \
        return one;                                                                                \
    }

PEAK(rounds_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
PEAK(rounds_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)

static float (*best_rounds(int *lanes))(int) {
    bool wide = __builtin_cpu_supports("avx512f");
    *lanes = wide ? 16 : 8;
    if (wide)
        return rounds_avx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? rounds_avx2 : NULL;
}

#else

static float (*best_rounds(int *lanes))(int) {
    *lanes = 0;
    return NULL;
}

#endif

double kn_peak_flops(int threads) {
    enum { TRIES = 5 };
    int lanes, rounds = ROUNDS;
    float (*run)(int) = best_rounds(&lanes);
    double best = 0;
    if (run == NULL)
        return 0;
    for (int i = 0; i < TRIES; i++) {
        volatile float kept = 0; /* or all of it could be left out */
        double began = kn_clock();
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int t = 0; t < threads; t++)
            kept = run(rounds);
        double seconds = kn_clock() - began;
        (void)kept;
        double flops = 2.0 * lanes * SUMS * (double)rounds * threads / seconds;
        best = flops > best ? flops : best;
        if (seconds < 0.05) /* too short to tell: the next try is longer */
            rounds *= 4;
    }
    return best;
}

/* ---- copies ---- */

double kn_peak_copy(int threads) {
    enum { TRIES = 5 };
    size_t bytes = (size_t)64 << 20;
    char *from = kn_mem_alloc(NULL, bytes), *to = kn_mem_alloc(NULL, bytes);
    double best = 0;
    for (int i = 0; i < TRIES && from != NULL && to != NULL; i++) {
        double began = kn_clock();
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int t = 0; t < threads; t++) {
            size_t begin = bytes / (size_t)threads * (size_t)t;
            memcpy(to + begin, from + begin, bytes / (size_t)threads);
        }
        double speed = 2.0 * (double)bytes / (kn_clock() - began);
        best = i > 0 && speed > best ? speed : best; /* the first makes the pages */
        from[i] = to[i + 1];
    }
    kn_mem_free(NULL, from);
    kn_mem_free(NULL, to);
    return best;
}
