/* conv_tile_bf16.c - see conv_tile.h: the kernels for bf16 images, by the dot products of
 * AVX-512 BF16. A unit is two numbers, and each product adds both: twice the work of f32 in a step.
 * Sums are f32; what is stored is rounded to nearest even once. These instructions take numbers
 * below 2^-126 as zero. */
#include "backend/conv_tile_kinds.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

#define ISA     __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define WEIGHTS __m512i
#define BYTES   2

ISA static inline __attribute__((always_inline)) __m512 add_product(__m512 sum, const void *unit,
                                                                    __m512i w) {
    int32_t two;
    memcpy(&two, unit, sizeof two);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(two), (__m512bh)w);
}

ISA static inline __attribute__((always_inline)) __m512 load_halves(const void *at,
                                                                    __mmask16 mask) {
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(low, 16));
}

ISA static inline __attribute__((always_inline)) void store_halves(void *at, __mmask16 mask,
                                                                   __m512 sums) {
    __m256bh half = _mm512_cvtneps_pbh(sums);
    __m256i bits;
    memcpy(&bits, &half, sizeof bits);
    _mm256_mask_storeu_epi16(at, mask, bits);
}

#define PRODUCT add_product
#define LOAD    load_halves
#define STORE   store_halves
#include "backend/conv_tile_512.h"

/* A row of `from` becomes the lower halves of 16 units, the next the upper ones. */
ISA static void narrow_bf16(const float *from, int64_t depth, void *to) {
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

ISA static void pair_bf16(const void *first, const void *second, int64_t channels, int64_t step,
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
                                      .pixels = tile_pixels,
                                      .gradient = tile_gradient,
                                      .narrow = narrow_bf16,
                                      .pair = pair_bf16,
                                      .transpose = kn_tile_transpose};

#endif
