/* resize_kernel.c - see resize_kernel.h.
 *
 * A weight is split in two 16-bit halves, because multiply-and-add of 16-bit pairs is one
 * instruction on every x86-64, and 32-bit products are not. The halves' sums meet at the end:
 * exact, and below 2^31. Of some thousand rows or columns to one, the lower halves' sum is beyond
 * that for itself; all sums wrap, so what they meet in is right. */
#include "formats/resize_kernel.h"

#include <string.h>

/* ---- plain C, that a compiler turns into SSE2 ---- */

static inline int32_t joined(uint32_t upper, uint32_t lower) {
    return (int32_t)(upper * (1U << KN_LOW_BITS) + lower);
}

static inline int32_t dot(const int16_t *restrict line, const int16_t *restrict high,
                          const int16_t *restrict low, int taps) {
    uint32_t upper = 0, lower = 0;
    for (int k = 0; k < (taps & ~(KN_FEW_TAPS - 1)); k++) {
        upper += (uint32_t)(line[k] * high[k]);
        lower += (uint32_t)(line[k] * low[k]);
    }
    return joined(upper, lower);
}

static uint8_t to_byte(int32_t sum) {
    int32_t value = (int32_t)((uint32_t)sum + (1U << (KN_WEIGHT_BITS - 1))) >> KN_WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void filter_from(const kn_filter *f, int begin, const int16_t *line, uint8_t *out) {
    for (int i = begin; i < f->count; i++) {
        ptrdiff_t at = (ptrdiff_t)i * f->taps;
        out[(ptrdiff_t)i * 3] =
            to_byte(dot(line + f->first[i], f->high + at, f->low + at, f->taps));
    }
}

static void filter_plain(const kn_filter *f, const int16_t *line, uint8_t *out) {
    filter_from(f, 0, line, out);
}

/* Some columns at a time, so that their sums stay in the cache. */
static void add_rows_plain(const uint8_t *in, ptrdiff_t down, int taps, const int16_t *high,
                           const int16_t *low, ptrdiff_t bytes, uint8_t *out) {
    enum { COLUMNS = 64 };
    for (ptrdiff_t begin = 0; begin < bytes; begin += COLUMNS) {
        uint32_t upper[COLUMNS] = {0}, lower[COLUMNS] = {0};
        ptrdiff_t count = bytes - begin < COLUMNS ? bytes - begin : COLUMNS;
        for (int k = 0; k < taps; k++) {
            const uint8_t *row = in + k * down + begin;
            for (ptrdiff_t x = 0; x < count; x++) {
                upper[x] += (uint32_t)(row[x] * high[k]);
                lower[x] += (uint32_t)(row[x] * low[k]);
            }
        }
        for (ptrdiff_t x = 0; x < count; x++)
            out[begin + x] = to_byte(joined(upper[x], lower[x]));
    }
}

static void split_plain(const uint8_t *in, int pixels, int16_t *red, int16_t *green,
                        int16_t *blue) {
    for (int x = 0; x < pixels; x++, in += 3) {
        red[x] = in[0];
        green[x] = in[1];
        blue[x] = in[2];
    }
}

const kn_resize_kernels kn_resize_plain = {split_plain, filter_plain, add_rows_plain};

/* ---- AVX2 ---- */

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Of 16 pixels in three registers, byte 3 i + channel is in register (3 i + channel) / 16: where
 * each register's bytes go, NO where another's does. */
#define NO (-128)
static const int8_t places[3][3][16] = {
    {{0, 3, 6, 9, 12, 15, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, 2, 5, 8, 11, 14, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 1, 4, 7, 10, 13}},
    {{1, 4, 7, 10, 13, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, 0, 3, 6, 9, 12, 15, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 2, 5, 8, 11, 14}},
    {{2, 5, 8, 11, 14, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, 1, 4, 7, 10, 13, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 0, 3, 6, 9, 12, 15}}};
#undef NO

AVX2 static inline __m128i take(const __m128i part[3], int channel) {
    __m128i all = _mm_setzero_si128();
    for (int r = 0; r < 3; r++) {
        __m128i place = _mm_loadu_si128((const __m128i *)(const void *)places[channel][r]);
        all = _mm_or_si128(all, _mm_shuffle_epi8(part[r], place));
    }
    return all;
}

AVX2 static inline void widen(__m128i bytes, int16_t *out) {
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_cvtepu8_epi16(bytes));
}

AVX2 static void split_avx2(const uint8_t *in, int pixels, int16_t *red, int16_t *green,
                            int16_t *blue) {
    int x = 0;
    for (; x + 16 <= pixels; x += 16, in += 48) {
        __m128i part[3];
        for (int r = 0; r < 3; r++)
            part[r] = _mm_loadu_si128((const __m128i *)(const void *)(in + 16 * r));
        widen(take(part, 0), red + x);
        widen(take(part, 1), green + x);
        widen(take(part, 2), blue + x);
    }
    split_plain(in, pixels - x, red + x, green + x, blue + x);
}

/* Eight partial sums of one output. */
AVX2 static inline __m256i partial(const int16_t *in, const int16_t *high, const int16_t *low,
                                   int taps) {
    __m256i upper = _mm256_setzero_si256(), lower = upper;
    for (int k = 0; k < taps; k += KN_TAP_LANES) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(in + k));
        __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(high + k));
        __m256i l = _mm256_loadu_si256((const __m256i *)(const void *)(low + k));
        upper = _mm256_add_epi32(upper, _mm256_madd_epi16(x, h));
        lower = _mm256_add_epi32(lower, _mm256_madd_epi16(x, l));
    }
    return _mm256_add_epi32(_mm256_slli_epi32(upper, KN_LOW_BITS), lower);
}

/* Four sums become four bytes. */
AVX2 static inline void put_four(__m128i sum, uint8_t *out) {
    const __m128i half = _mm_set1_epi32(1 << (KN_WEIGHT_BITS - 1));
    __m128i value = _mm_srai_epi32(_mm_add_epi32(sum, half), KN_WEIGHT_BITS);
    value = _mm_packs_epi32(value, value); /* saturates as to_byte clamps */
    uint32_t bytes = (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(value, value));
    for (int k = 0; k < 4; k++)
        out[k * 3] = (uint8_t)(bytes >> 8 * k);
}

/* Four outputs at a time, so that their partial sums are added up together. */
AVX2 static inline void filter_taps(const kn_filter *f, const int16_t *line, uint8_t *out,
                                    int taps) {
    const int16_t *high = f->high, *low = f->low;
    const int *first = f->first, count = f->count;
    int i = 0;
    for (; i + 4 <= count; i += 4, high += 4 * taps, low += 4 * taps, first += 4) {
        __m256i a = partial(line + first[0], high, low, taps);
        __m256i b = partial(line + first[1], high + taps, low + taps, taps);
        __m256i c = partial(line + first[2], high + 2 * taps, low + 2 * taps, taps);
        __m256i d = partial(line + first[3], high + 3 * taps, low + 3 * taps, taps);
        __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        put_four(_mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1)),
                 out + (ptrdiff_t)i * 3);
    }
    filter_from(f, i, line, out);
}

/* The eight taps of two outputs, side by side: four partial sums of each. */
AVX2 static inline __m256i partial_pair(const int16_t *line, const int *first, const int16_t *high,
                                        const int16_t *low) {
    __m128i one = _mm_loadu_si128((const __m128i *)(const void *)(line + first[0]));
    __m128i two = _mm_loadu_si128((const __m128i *)(const void *)(line + first[1]));
    __m256i x = _mm256_inserti128_si256(_mm256_castsi128_si256(one), two, 1);
    __m256i upper = _mm256_madd_epi16(x, _mm256_loadu_si256((const __m256i *)(const void *)high));
    __m256i lower = _mm256_madd_epi16(x, _mm256_loadu_si256((const __m256i *)(const void *)low));
    return _mm256_add_epi32(_mm256_slli_epi32(upper, KN_LOW_BITS), lower);
}

AVX2 static void filter_few(const kn_filter *f, const int16_t *line, uint8_t *out) {
    const int16_t *high = f->high, *low = f->low;
    int i = 0;
    for (; i + 4 <= f->count; i += 4, high += 4 * KN_FEW_TAPS, low += 4 * KN_FEW_TAPS) {
        const int *first = f->first + i;
        __m256i ab = partial_pair(line, first, high, low);
        __m256i cd = partial_pair(line, first + 2, high + 2 * KN_FEW_TAPS, low + 2 * KN_FEW_TAPS);
        __m256i sums = _mm256_hadd_epi32(ab, cd); /* of a and c below, of b and d above */
        __m128i acbd =
            _mm_hadd_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        put_four(_mm_shuffle_epi32(acbd, _MM_SHUFFLE(3, 1, 2, 0)), out + (ptrdiff_t)i * 3);
    }
    filter_from(f, i, line, out);
}

/* Up to a reduction to two thirds, that of most random crops, 8 taps are enough; to between a third
 * and a quarter there are 16. Neither has a loop over them. */
AVX2 static void filter_avx2(const kn_filter *f, const int16_t *line, uint8_t *out) {
    if (f->taps == KN_FEW_TAPS)
        filter_few(f, line, out);
    else if (f->taps == KN_TAP_LANES)
        filter_taps(f, line, out, KN_TAP_LANES);
    else
        filter_taps(f, line, out, f->taps);
}

AVX2 static inline __m256i two_weights(const int16_t *weight) {
    int32_t both;
    memcpy(&both, weight, sizeof both);
    return _mm256_set1_epi32(both);
}

AVX2 static inline __m256i sixteen(const uint8_t *bytes) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)bytes));
}

AVX2 static inline __m256i rounded(__m256i upper, __m256i lower) {
    const __m256i half = _mm256_set1_epi32(1 << (KN_WEIGHT_BITS - 1));
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(upper, KN_LOW_BITS), lower);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, half), KN_WEIGHT_BITS);
}

/* Sixteen columns and two rows at a time: their bytes side by side are what multiply-and-add of
 * pairs wants. Unpacking and packing both keep to halves of a register, so the order comes back. */
AVX2 static void add_rows_avx2(const uint8_t *in, ptrdiff_t down, int taps, const int16_t *high,
                               const int16_t *low, ptrdiff_t bytes, uint8_t *out) {
    ptrdiff_t x = 0;
    for (; x + 16 <= bytes; x += 16) {
        __m256i upper[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        __m256i lower[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (int k = 0; k < taps; k += 2) {
            const uint8_t *row = in + k * down + x, *next = k + 1 < taps ? row + down : row;
            __m256i a = sixteen(row), b = sixteen(next);
            __m256i h = two_weights(high + k), l = two_weights(low + k);
            __m256i pair[2] = {_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)};
            for (int i = 0; i < 2; i++) {
                upper[i] = _mm256_add_epi32(upper[i], _mm256_madd_epi16(pair[i], h));
                lower[i] = _mm256_add_epi32(lower[i], _mm256_madd_epi16(pair[i], l));
            }
        }
        __m256i words =
            _mm256_packs_epi32(rounded(upper[0], lower[0]), rounded(upper[1], lower[1]));
        __m128i sixteen_bytes =
            _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(void *)(out + x), sixteen_bytes);
    }
    add_rows_plain(in + x, down, taps, high, low, bytes - x, out + x);
}

static const kn_resize_kernels avx2 = {split_avx2, filter_avx2, add_rows_avx2};

const kn_resize_kernels *kn_resize_best(void) {
    return __builtin_cpu_supports("avx2") ? &avx2 : &kn_resize_plain;
}

#else

const kn_resize_kernels *kn_resize_best(void) {
    return &kn_resize_plain;
}

#endif
