/* conv_tile_avx512.c - see conv_tile.h: the f32 kernels for AVX-512. Tiles of 8 rows: the pointers
 * to them fill the general registers, their sums with two panels half of the vector registers. Each
 * loop is there for one panel and for two. */
#include "backend/conv_tile_kinds.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))
#define INLINE AVX512 static inline __attribute__((always_inline))

enum { ROWS = KN_TILE_ROWS };

/* The columns of panel p that are stored. */
INLINE __mmask16 stored(int64_t cols, int p) {
    int64_t left = cols - p * KN_PANEL;
    unsigned mask = left >= KN_PANEL ? 0xffffU : left > 0 ? (1U << left) - 1U : 0;
    return (__mmask16)mask;
}

/* What the sums begin with. */
INLINE void begin(const kn_pixel_tile *t, const int panels, __m512 sum[2][ROWS]) {
    bool add = t->add;
    const float *bias = t->bias;
#pragma GCC unroll 2
    for (int p = 0; p < 2; p++) {
        __mmask16 mask = stored(t->cols, p);
        __m512 first = _mm512_setzero_ps();
        if (p < panels && !add && bias != NULL)
            first = _mm512_loadu_ps(bias + p * KN_PANEL);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[p][r] = first;
        if (p < panels && add) {
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sum[p][r] = _mm512_maskz_loadu_ps(mask, (const float *)t->out[r] + p * KN_PANEL);
        }
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
    for (int r = 0; r < ROWS; r++)
        _mm512_mask_storeu_ps((float *)t->out[r] + p * KN_PANEL, mask, sum[r]);
}

/* Two panels of sums. */
INLINE void add_wide(const kn_pixel_tile *t, __m512 sum[2][ROWS]) {
    const float *w0 = t->weights[0], *w1 = t->weights[1];
    const void *const *in = t->in;
    int64_t depth = t->depth;
    for (int64_t tap = 0; tap < t->taps; tap++, in += ROWS) {
        const float *a[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            a[r] = in[r];
        for (int64_t k = 0; k < depth; k++, w0 += KN_PANEL, w1 += KN_PANEL) {
            __m512 first = _mm512_load_ps(w0), second = _mm512_load_ps(w1);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                __m512 n = _mm512_set1_ps(a[r][k]);
                sum[0][r] = _mm512_fmadd_ps(n, first, sum[0][r]);
                sum[1][r] = _mm512_fmadd_ps(n, second, sum[1][r]);
            }
        }
    }
}

/* One panel, whose even and odd depths have sums of their own: eight sums would wait for each
 * other. */
INLINE void add_narrow(const kn_pixel_tile *t, __m512 sum[2][ROWS]) {
    const float *w = t->weights[0];
    const void *const *in = t->in;
    int64_t depth = t->depth;
    for (int64_t tap = 0; tap < t->taps; tap++, in += ROWS) {
        const float *a[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            a[r] = in[r];
        int64_t k = 0;
        for (; k + 1 < depth; k += 2, w += 2 * KN_PANEL) {
            __m512 first = _mm512_load_ps(w), second = _mm512_load_ps(w + KN_PANEL);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                sum[0][r] = _mm512_fmadd_ps(_mm512_set1_ps(a[r][k]), first, sum[0][r]);
                sum[1][r] = _mm512_fmadd_ps(_mm512_set1_ps(a[r][k + 1]), second, sum[1][r]);
            }
        }
        if (k < depth) {
            __m512 last = _mm512_load_ps(w);
            w += KN_PANEL;
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sum[0][r] = _mm512_fmadd_ps(_mm512_set1_ps(a[r][k]), last, sum[0][r]);
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

AVX512 static void pixels_avx512(const kn_pixel_tile *t) {
    if (t->panels > 1)
        pixels(t, 2);
    else
        pixels(t, 1);
}

INLINE void gradient(const kn_gradient_tile *t, const int panels) {
    __m512 sum[2][ROWS];
    const float *a[ROWS], *b0 = t->b[0], *b1 = t->b[panels - 1];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        a[r] = t->a[r];
        sum[0][r] = sum[1][r] = _mm512_setzero_ps();
    }
    const int32_t *b_at = t->at, *end = b_at + t->pixels;
    int64_t at = 0, a_step = t->a_step;
    for (; b_at < end; b_at++, at += a_step) {
        __m512 first = _mm512_load_ps(b0 + *b_at);
        __m512 second = panels > 1 ? _mm512_load_ps(b1 + *b_at) : first;
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            __m512 n = _mm512_set1_ps(a[r][at]);
            sum[0][r] = _mm512_fmadd_ps(n, first, sum[0][r]);
            if (panels > 1)
                sum[1][r] = _mm512_fmadd_ps(n, second, sum[1][r]);
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

AVX512 static void gradient_avx512(const kn_gradient_tile *t) {
    if (t->panels > 1)
        gradient(t, 2);
    else
        gradient(t, 1);
}

const kn_tile_kernels kn_tile_avx512 = {.name = "AVX-512",
                                        .rows = ROWS,
                                        .panels = KN_TILE_PANELS,
                                        .unit = 1,
                                        .wide = true,
                                        .pixels = pixels_avx512,
                                        .gradient = gradient_avx512,
                                        .transpose = kn_tile_transpose};

#endif
