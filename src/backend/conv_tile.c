/* conv_tile.c - see conv_tile.h: the choice, and the kernels for AVX2. */
#include "backend/conv_tile.h"

#include "backend/conv_tile_kinds.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))

enum { ROWS = 6, LANES = 8 }; /* 12 registers of sums, 2 of weights, 1 of input, of the 16 */

typedef struct sums {
    __m256 v[ROWS][2];
} sums;

/* One step of the sums: six numbers, each times the same sixteen. Written as a macro: the sums must
 * be plain variables of the loop, or they would live in memory. */
#define STEP(s, a0, a1, a2, a3, a4, a5, low, high)                                                 \
    do {                                                                                           \
        __m256 n_;                                                                                 \
        ROW(s, 0, a0, low, high);                                                                  \
        ROW(s, 1, a1, low, high);                                                                  \
        ROW(s, 2, a2, low, high);                                                                  \
        ROW(s, 3, a3, low, high);                                                                  \
        ROW(s, 4, a4, low, high);                                                                  \
        ROW(s, 5, a5, low, high);                                                                  \
    } while (0)
#define ROW(s, r, a, low, high)                                                                    \
    n_ = _mm256_broadcast_ss(a);                                                                   \
    (s).v[r][0] = _mm256_fmadd_ps(n_, low, (s).v[r][0]);                                           \
    (s).v[r][1] = _mm256_fmadd_ps(n_, high, (s).v[r][1])

AVX2 static inline __attribute__((always_inline)) void store_row(const kn_pixel_tile *t, int r,
                                                                 __m256 low, __m256 high) {
    if (t->relu) { /* in this order a NaN of the sum is kept */
        low = _mm256_max_ps(_mm256_setzero_ps(), low);
        high = _mm256_max_ps(_mm256_setzero_ps(), high);
    }
    float *out = t->out[r];
    if (t->cols == KN_PANEL) {
        _mm256_storeu_ps(out, low);
        _mm256_storeu_ps(out + LANES, high);
        return;
    }
    float row[KN_PANEL];
    _mm256_storeu_ps(row, low);
    _mm256_storeu_ps(row + LANES, high);
    memcpy(out, row, (size_t)t->cols * sizeof *row);
}

/* What the sums of row r begin with. */
AVX2 static inline __attribute__((always_inline)) void load_row(const kn_pixel_tile *t, int r,
                                                                __m256 row[2]) {
    float some[KN_PANEL] = {0};
    const float *from = some;
    if (t->add && t->cols == KN_PANEL)
        from = t->out[r];
    else if (t->add)
        memcpy(some, t->out[r], (size_t)t->cols * sizeof *some);
    else if (t->bias != NULL)
        from = t->bias;
    row[0] = _mm256_loadu_ps(from);
    row[1] = _mm256_loadu_ps(from + LANES);
}

AVX2 static void pixels_avx2(const kn_pixel_tile *t) {
    sums s;
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
        load_row(t, r, s.v[r]);
    const float *w = t->weights[0];
    const void *const *in = t->in;
    int64_t depth = t->depth;
    for (int64_t tap = 0; tap < t->taps; tap++, in += ROWS) {
        const float *a0 = in[0], *a1 = in[1], *a2 = in[2], *a3 = in[3], *a4 = in[4], *a5 = in[5];
#pragma GCC unroll 2
        for (int64_t k = 0; k < depth; k++, w += KN_PANEL) {
            __m256 low = _mm256_load_ps(w), high = _mm256_load_ps(w + LANES);
            STEP(s, a0 + k, a1 + k, a2 + k, a3 + k, a4 + k, a5 + k, low, high);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
        store_row(t, r, s.v[r][0], s.v[r][1]);
}

AVX2 static void gradient_avx2(const kn_gradient_tile *t) {
    sums s;
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
        s.v[r][0] = s.v[r][1] = _mm256_setzero_ps();
    const float *a0 = t->a[0], *a1 = t->a[1], *a2 = t->a[2];
    const float *a3 = t->a[3], *a4 = t->a[4], *a5 = t->a[5];
    const float *panel = t->b[0];
    const int32_t *b_at = t->at, *end = b_at + t->pixels;
    int64_t at = 0, a_step = t->a_step;
#pragma GCC unroll 2
    for (; b_at < end; b_at++, at += a_step) {
        __m256 low = _mm256_load_ps(panel + *b_at), high = _mm256_load_ps(panel + *b_at + LANES);
        STEP(s, a0 + at, a1 + at, a2 + at, a3 + at, a4 + at, a5 + at, low, high);
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        if (r >= t->rows)
            break;
        float *to = t->sums[0] + r * KN_PANEL;
        if (t->add) {
            s.v[r][0] = _mm256_add_ps(s.v[r][0], _mm256_load_ps(to));
            s.v[r][1] = _mm256_add_ps(s.v[r][1], _mm256_load_ps(to + LANES));
        }
        _mm256_store_ps(to, s.v[r][0]);
        _mm256_store_ps(to + LANES, s.v[r][1]);
    }
}

/* Eight by eight numbers: pairs, then fours, then halves change places. */
AVX2 static inline __attribute__((always_inline)) void
transpose_8(const float *from, int64_t from_step, float *to, int64_t to_step) {
    __m256 row[8], pair[8], four[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        row[i] = _mm256_loadu_ps(from + i * from_step);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        four[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
        four[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
        four[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
        four[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_step, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_step,
                         _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
    }
}

AVX2 void kn_tile_transpose(const float *from, int64_t from_step, int64_t channels, int64_t pixels,
                            float *to, int64_t to_step) {
    int64_t whole_c = channels & ~7, whole_p = pixels & ~7;
    for (int64_t p = 0; p < whole_p; p += 8)
        for (int64_t c = 0; c < whole_c; c += 8)
            transpose_8(from + p * from_step + c, from_step, to + c * to_step + p, to_step);
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = p < whole_p ? whole_c : 0; c < channels; c++)
            to[c * to_step + p] = from[p * from_step + c];
}

const kn_tile_kernels kn_tile_avx2 = {.name = "AVX2",
                                      .rows = ROWS,
                                      .panels = 1,
                                      .unit = 1,
                                      .pixels = pixels_avx2,
                                      .gradient = gradient_avx2,
                                      .transpose = kn_tile_transpose};

const kn_tile_kernels *kn_tile_nth(int i) {
    const kn_tile_kernels *has[3] = {NULL};
    int count = 0;
    if (__builtin_cpu_supports("avx512f"))
        has[count++] = &kn_tile_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        has[count++] = &kn_tile_avx2;
    return i < count ? has[i] : NULL;
}

const kn_tile_kernels *kn_tile_bf16_best(void) {
    bool can = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl");
    return can ? &kn_tile_bf16 : NULL;
}

#else

const kn_tile_kernels *kn_tile_nth(int i) {
    (void)i;
    return NULL;
}

const kn_tile_kernels *kn_tile_bf16_best(void) {
    return NULL;
}

#endif

const kn_tile_kernels *kn_tile_best(void) {
    return kn_tile_nth(0);
}
