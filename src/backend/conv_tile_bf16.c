/* conv_tile_bf16.c - see conv_tile.h: the kernels for bf16 images, by the dot products of
 * AVX-512 BF16. A unit is two numbers, and each product adds both: twice the work of f32 in a step.
 * Sums are f32; what is stored is rounded to nearest even once. These instructions take numbers
 * below 2^-126 as zero. */
#include "backend/conv_tile_kinds.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

#define BF16   __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define INLINE BF16 static inline __attribute__((always_inline))

enum { ROWS = KN_TILE_ROWS, UNIT = 4 /* bytes */ };

/* The columns of panel p that are stored. */
INLINE __mmask16 stored(int64_t cols, int p) {
    int64_t left = cols - p * KN_PANEL;
    unsigned mask = left >= KN_PANEL ? 0xffffU : left > 0 ? (1U << left) - 1U : 0;
    return (__mmask16)mask;
}

/* What the sums begin with. */
INLINE void begin(const kn_pixel_tile *t, const int panels, __m512 sum[2][ROWS]) {
    const float *bias = t->bias;
#pragma GCC unroll 2
    for (int p = 0; p < 2; p++) {
        __m512 first = _mm512_setzero_ps();
        if (p < panels && bias != NULL)
            first = _mm512_loadu_ps(bias + p * KN_PANEL);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[p][r] = first;
    }
}

/* Panel p, whole or what there is of it. */
INLINE void finish(const kn_pixel_tile *t, int p, __m512 sum[ROWS]) {
    __mmask16 mask = stored(t->cols, p);
    if (t->relu) { /* in this order a NaN of the sum is kept */
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[r] = _mm512_max_ps(_mm512_setzero_ps(), sum[r]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        __m256bh half = _mm512_cvtneps_pbh(sum[r]);
        __m256i bits;
        memcpy(&bits, &half, sizeof bits);
        _mm256_mask_storeu_epi16((uint16_t *)t->out[r] + p * KN_PANEL, mask, bits);
    }
}

/* sum + the unit at a, for all columns, times w. */
INLINE __m512 add_product(__m512 sum, const char *a, __m512i w) {
    int32_t unit;
    memcpy(&unit, a, sizeof unit);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(unit), (__m512bh)w);
}

/* Two panels of sums. */
INLINE void add_wide(const kn_pixel_tile *t, __m512 sum[2][ROWS]) {
    const char *w0 = t->weights[0], *w1 = t->weights[1];
    const void *const *in = t->in;
    int64_t bytes = t->depth * UNIT;
    for (int64_t tap = 0; tap < t->taps; tap++, in += ROWS) {
        const char *a[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            a[r] = in[r];
        for (int64_t k = 0; k < bytes; k += UNIT, w0 += UNIT * KN_PANEL, w1 += UNIT * KN_PANEL) {
            __m512i first = _mm512_load_si512(w0), second = _mm512_load_si512(w1);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                sum[0][r] = add_product(sum[0][r], a[r] + k, first);
                sum[1][r] = add_product(sum[1][r], a[r] + k, second);
            }
        }
    }
}

/* One panel, whose even and odd units have sums of their own: eight sums would wait for each
 * other. */
INLINE void add_narrow(const kn_pixel_tile *t, __m512 sum[2][ROWS]) {
    const char *w = t->weights[0];
    const void *const *in = t->in;
    int64_t bytes = t->depth * UNIT;
    for (int64_t tap = 0; tap < t->taps; tap++, in += ROWS) {
        const char *a[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            a[r] = in[r];
        int64_t k = 0;
        for (; k + UNIT < bytes; k += 2 * UNIT, w += 2 * UNIT * KN_PANEL) {
            __m512i first = _mm512_load_si512(w), second = _mm512_load_si512(w + UNIT * KN_PANEL);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                sum[0][r] = add_product(sum[0][r], a[r] + k, first);
                sum[1][r] = add_product(sum[1][r], a[r] + k + UNIT, second);
            }
        }
        if (k < bytes) {
            __m512i last = _mm512_load_si512(w);
            w += UNIT * KN_PANEL;
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sum[0][r] = add_product(sum[0][r], a[r] + k, last);
        }
    }
}

INLINE void pixels(const kn_pixel_tile *t, const int panels) {
    __m512 sum[2][ROWS];
    begin(t, panels, sum);
    if (panels > 1) {
        add_wide(t, sum);
        finish(t, 1, sum[1]);
    } else {
        add_narrow(t, sum);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[0][r] = _mm512_add_ps(sum[0][r], sum[1][r]);
    }
    finish(t, 0, sum[0]);
}

BF16 static void pixels_bf16(const kn_pixel_tile *t) {
    if (t->panels > 1)
        pixels(t, 2);
    else
        pixels(t, 1);
}

INLINE void gradient(const kn_gradient_tile *t, const int panels) {
    __m512 sum[2][ROWS];
    const char *a[ROWS], *b0 = t->b[0], *b1 = t->b[panels - 1];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        a[r] = t->a[r];
        sum[0][r] = sum[1][r] = _mm512_setzero_ps();
    }
    const int32_t *b_at = t->at, *end = b_at + t->pixels;
    int64_t at = 0, a_step = t->a_step * UNIT;
    for (; b_at < end; b_at++, at += a_step) {
        __m512i first = _mm512_load_si512(b0 + (int64_t)*b_at * UNIT);
        __m512i second = panels > 1 ? _mm512_load_si512(b1 + (int64_t)*b_at * UNIT) : first;
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            sum[0][r] = add_product(sum[0][r], a[r] + at, first);
            if (panels > 1)
                sum[1][r] = add_product(sum[1][r], a[r] + at, second);
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < panels; p++)
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            if (r >= t->rows)
                break;
            float *to = t->sums[p] + r * KN_PANEL;
            _mm512_store_ps(to, t->add ? _mm512_add_ps(sum[p][r], _mm512_load_ps(to)) : sum[p][r]);
        }
}

BF16 static void gradient_bf16(const kn_gradient_tile *t) {
    if (t->panels > 1)
        gradient(t, 2);
    else
        gradient(t, 1);
}

/* A row of `from` becomes the lower halves of 16 units, the next the upper ones. */
BF16 static void narrow_bf16(const float *from, int64_t depth, void *to) {
    uint16_t order[2 * KN_PANEL], *out = to;
    for (int i = 0; i < 2 * KN_PANEL; i++)
        order[i] = (uint16_t)(i / 2 + i % 2 * KN_PANEL);
    __m512i places = _mm512_loadu_si512(order);
    for (int64_t k = 0; k < depth; k += 2, out += 2 * KN_PANEL) {
        __m512 low = _mm512_loadu_ps(from + k * KN_PANEL), high = _mm512_setzero_ps();
        if (k + 1 < depth)
            high = _mm512_loadu_ps(from + (k + 1) * KN_PANEL);
        __m512bh both = _mm512_cvtne2ps_pbh(high, low);
        _mm512_storeu_si512(out, _mm512_permutexvar_epi16(places, (__m512i)both));
    }
}

BF16 static void pair_bf16(const void *first, const void *second, int64_t channels, int64_t step,
                           void *to) {
    const uint16_t *low = first, *high = second;
    char *out = to;
    for (; channels > 0; channels -= KN_PANEL, low += KN_PANEL, high += KN_PANEL) {
        __mmask16 some = stored(channels, 0);
        __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, low));
        __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, high));
        _mm512_storeu_si512(out, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
        out += step * UNIT;
    }
}

const kn_tile_kernels kn_tile_bf16 = {.name = "AVX-512 BF16",
                                      .rows = ROWS,
                                      .panels = KN_TILE_PANELS,
                                      .unit = 2,
                                      .wide = true,
                                      .pixels = pixels_bf16,
                                      .gradient = gradient_bf16,
                                      .narrow = narrow_bf16,
                                      .pair = pair_bf16};

#endif
