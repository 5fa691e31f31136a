/* rotate_row.c - see rotate_row.h. Positions and weights are fixed point, so that walking along a
 * row is an addition and every processor gives the same bytes. */
#include "data/rotate_row.h"

#include <stddef.h>
#include <string.h>

enum { WEIGHT = 11 /* bits of a position that weigh: 255 * 2^22 fits an int */ };

/* ---- plain C ---- */

/* The pixel of 0 to n - 1 that stands for position i. */
static int inside(int i, int n, kn_edge edge) {
    if (edge == KN_EDGE_REPEAT)
        return i < 0 ? 0 : i < n ? i : n - 1;
    i %= 2 * n;
    if (i < 0)
        i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

static inline int weight_of(int64_t position) {
    return (int)(position >> (KN_TURN_POINT - WEIGHT)) & ((1 << WEIGHT) - 1);
}

static void sample(const kn_turn *t, int64_t y, int64_t x, uint8_t *out) {
    int x0 = (int)(x >> KN_TURN_POINT), y0 = (int)(y >> KN_TURN_POINT), x1 = x0 + 1, y1 = y0 + 1;
    int right = weight_of(x), left = (1 << WEIGHT) - right;
    int below = weight_of(y), above = (1 << WEIGHT) - below;
    x0 = inside(x0, t->w, t->edge);
    x1 = inside(x1, t->w, t->edge);
    const uint8_t *upper = t->pixels + (ptrdiff_t)inside(y0, t->h, t->edge) * t->w * 3;
    const uint8_t *lower = t->pixels + (ptrdiff_t)inside(y1, t->h, t->edge) * t->w * 3;
    for (int c = 0; c < 3; c++) {
        int a = upper[x0 * 3 + c] * left + upper[x1 * 3 + c] * right;
        int b = lower[x0 * 3 + c] * left + lower[x1 * 3 + c] * right;
        out[c] = (uint8_t)((a * above + b * below + (1 << (2 * WEIGHT - 1))) >> (2 * WEIGHT));
    }
}

void kn_turn_row_plain(const kn_turn *t, int64_t y, int64_t x, uint8_t *out) {
    for (int i = 0; i < t->w; i++, y += t->down, x += t->right, out += 3)
        sample(t, y, x, out);
}

/* ---- AVX2 ---- */

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* The channels of two neighbours, side by side as 16-bit pairs: what multiply-and-add wants. Reads
 * 8 bytes. */
AVX2 static inline __m128i neighbours(const uint8_t *pixel) {
    const __m128i places = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    return _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i *)(const void *)pixel), places);
}

/* Writes 4 bytes, of which the last is nothing. */
AVX2 static inline void sample_within(const kn_turn *t, int64_t y, int64_t x, uint8_t *out) {
    int right = weight_of(x), below = weight_of(y);
    ptrdiff_t row = (ptrdiff_t)t->w * 3;
    const uint8_t *upper = t->pixels + (y >> KN_TURN_POINT) * row + (x >> KN_TURN_POINT) * 3;
    __m128i across = _mm_set1_epi32(right << 16 | ((1 << WEIGHT) - right));
    __m128i a = _mm_madd_epi16(neighbours(upper), across);
    __m128i b = _mm_madd_epi16(neighbours(upper + row), across);
    a = _mm_mullo_epi32(a, _mm_set1_epi32((1 << WEIGHT) - below));
    b = _mm_mullo_epi32(b, _mm_set1_epi32(below));
    __m128i sum = _mm_add_epi32(_mm_add_epi32(a, b), _mm_set1_epi32(1 << (2 * WEIGHT - 1)));
    __m128i words = _mm_packus_epi32(_mm_srli_epi32(sum, 2 * WEIGHT), _mm_setzero_si128());
    int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(out, &bytes, sizeof bytes);
}

AVX2 static void turn_row_avx2(const kn_turn *t, int64_t y, int64_t x, uint8_t *out) {
    /* So far in that the 8 bytes read of both rows are the picture's. A negative position is large
     * without its sign. */
    const uint64_t most_x = (uint64_t)(t->w > 2 ? t->w - 2 : 0) << KN_TURN_POINT;
    const uint64_t most_y = (uint64_t)(t->h - 1) << KN_TURN_POINT;
    for (int i = 0; i < t->w; i++, y += t->down, x += t->right, out += 3) {
        bool last = i == t->w - 1; /* what follows may not be the picture's */
        if ((uint64_t)x < most_x && (uint64_t)y < most_y && !last)
            sample_within(t, y, x, out);
        else
            sample(t, y, x, out);
    }
}

kn_turn_row *kn_turn_row_best(void) {
    return __builtin_cpu_supports("avx2") ? turn_row_avx2 : kn_turn_row_plain;
}

#else

kn_turn_row *kn_turn_row_best(void) {
    return kn_turn_row_plain;
}

#endif
