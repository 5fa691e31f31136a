/* winograd_tile.c - see winograd_tile.h. */
#include "backend/winograd_tile.h"

#include "backend/conv_tile.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX2   __attribute__((target("avx2,fma")))
#define INLINE AVX2 static inline __attribute__((always_inline))

enum { LANES = 8 };

/* ---- one vector through each matrix ---- */

INLINE void times_b(const __m256 d[4], __m256 t[4]) {
    t[0] = _mm256_sub_ps(d[0], d[2]);
    t[1] = _mm256_add_ps(d[1], d[2]);
    t[2] = _mm256_sub_ps(d[2], d[1]);
    t[3] = _mm256_sub_ps(d[1], d[3]);
}

INLINE void times_a(const __m256 m[4], __m256 y[2]) {
    y[0] = _mm256_add_ps(_mm256_add_ps(m[0], m[1]), m[2]);
    y[1] = _mm256_sub_ps(_mm256_sub_ps(m[1], m[2]), m[3]);
}

INLINE void times_a_back(const __m256 y[2], __m256 m[4]) {
    m[0] = y[0];
    m[1] = _mm256_add_ps(y[0], y[1]);
    m[2] = _mm256_sub_ps(y[0], y[1]);
    m[3] = _mm256_sub_ps(_mm256_setzero_ps(), y[1]);
}

INLINE void times_g(const __m256 g[3], __m256 u[4]) {
    __m256 half = _mm256_set1_ps(0.5f), ends = _mm256_add_ps(g[0], g[2]);
    u[0] = g[0];
    u[1] = _mm256_mul_ps(half, _mm256_add_ps(ends, g[1]));
    u[2] = _mm256_mul_ps(half, _mm256_sub_ps(ends, g[1]));
    u[3] = g[2];
}

INLINE void times_g_back(const __m256 u[4], __m256 g[3]) {
    __m256 half = _mm256_set1_ps(0.5f);
    __m256 sum = _mm256_mul_ps(half, _mm256_add_ps(u[1], u[2]));
    g[0] = _mm256_add_ps(u[0], sum);
    g[1] = _mm256_mul_ps(half, _mm256_sub_ps(u[1], u[2]));
    g[2] = _mm256_add_ps(sum, u[3]);
}

/* ---- squares: the rows through the matrix, then the columns ---- */

AVX2 static void in_avx2(const kn_winograd_in *w) {
    float *to = w->out;
    int64_t step = w->step, next = w->panel - LANES;
    for (int64_t k = 0; k < w->channels; k += LANES) {
        __m256 t[4][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            __m256 d[4], column[4];
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                d[y] = _mm256_loadu_ps(w->in[4 * y + x] + k);
            times_b(d, column);
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; y++) {
            __m256 row[4];
            times_b(t[y], row);
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++)
                _mm256_storeu_ps(to + (4 * y + x) * step, row[x]);
        }
        to += k % (2 * LANES) == 0 ? LANES : next;
    }
}

AVX2 static void out_avx2(const kn_winograd_out *w) {
    for (int64_t k = 0; k < w->channels; k += LANES) {
        __m256 t[2][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            __m256 m[4], column[2];
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                m[y] = _mm256_loadu_ps(w->in + (4 * y + x) * w->step + k);
            times_a(m, column);
            t[0][x] = column[0];
            t[1][x] = column[1];
        }
        __m256 bias = w->bias != NULL ? _mm256_loadu_ps(w->bias + k) : _mm256_setzero_ps();
#pragma GCC unroll 2
        for (int y = 0; y < 2; y++) {
            __m256 row[2];
            times_a(t[y], row);
#pragma GCC unroll 2
            for (int x = 0; x < 2; x++) {
                row[x] = _mm256_add_ps(row[x], bias);
                if (w->relu)
                    row[x] = _mm256_max_ps(_mm256_setzero_ps(), row[x]);
                _mm256_storeu_ps(w->out[2 * y + x] + k, row[x]);
            }
        }
    }
}

AVX2 static void grad_avx2(const kn_winograd_grad *w) {
    for (int64_t k = 0; k < w->channels; k += LANES) {
        __m256 t[4][2];
#pragma GCC unroll 2
        for (int x = 0; x < 2; x++) {
            __m256 y[2] = {_mm256_loadu_ps(w->in[x] + k), _mm256_loadu_ps(w->in[2 + x] + k)};
            __m256 column[4];
            times_a_back(y, column);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                t[i][x] = column[i];
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; y++) {
            __m256 row[4];
            times_a_back(t[y], row);
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++)
                _mm256_storeu_ps(w->out + (4 * y + x) * w->step + k, row[x]);
        }
    }
}

AVX2 static void weights_avx2(const float *g, int64_t step, float *u) {
    for (int k = 0; k < KN_TILE_COLS; k += LANES) {
        __m256 t[4][3];
#pragma GCC unroll 3
        for (int x = 0; x < 3; x++) {
            __m256 d[3], column[4];
#pragma GCC unroll 3
            for (int y = 0; y < 3; y++)
                d[y] = _mm256_loadu_ps(g + (3 * y + x) * KN_TILE_COLS + k);
            times_g(d, column);
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; y++) {
            __m256 row[4];
            times_g(t[y], row);
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++)
                _mm256_storeu_ps(u + (4 * y + x) * step + k, row[x]);
        }
    }
}

AVX2 static void weights_grad_avx2(const float *u, int64_t step, float *g) {
    for (int k = 0; k < KN_TILE_COLS; k += LANES) {
        __m256 t[3][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            __m256 d[4], column[3];
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                d[y] = _mm256_loadu_ps(u + (4 * y + x) * step + k);
            times_g_back(d, column);
#pragma GCC unroll 3
            for (int y = 0; y < 3; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 3
        for (int y = 0; y < 3; y++) {
            __m256 row[3];
            times_g_back(t[y], row);
#pragma GCC unroll 3
            for (int x = 0; x < 3; x++)
                _mm256_storeu_ps(g + (3 * y + x) * KN_TILE_COLS + k, row[x]);
        }
    }
}

static const kn_winograd_kernels avx2 = {in_avx2, out_avx2, grad_avx2, weights_avx2,
                                         weights_grad_avx2};

const kn_winograd_kernels *kn_winograd_best(void) {
    return kn_tile_best() != NULL ? &avx2 : NULL;
}

#else

const kn_winograd_kernels *kn_winograd_best(void) {
    return NULL;
}

#endif
