/* winograd_tile.c - see winograd_tile.h. */
#include "backend/winograd_tile.h"

#include "backend/conv_tile.h"
#include "core/bf16.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/* Of squares of four by four: the points p = 3/4 and q = 4/3, their powers, and what G divides by:
 * the product of a point's differences from the others. */
#define P1 0.75f
#define P2 0.5625f
#define P3 0.421875f
#define Q1 (4.0f / 3)
#define Q2 (16.0f / 9)
#define Q3 (64.0f / 27)
#define GP (1 / (2 * P2 * (P2 - Q2)))
#define GQ (1 / (2 * Q2 * (Q2 - P2)))

#define ISA        __attribute__((target("avx2,fma")))
#define VECTOR     __m256
#define LANES      8
#define NAME(what) what##_8
#define NUMBER     float
#define READ       _mm256_loadu_ps
#define WRITE      _mm256_storeu_ps
#define LOAD       _mm256_loadu_ps
#define STORE      _mm256_storeu_ps
#define SET        _mm256_set1_ps
#define ADD        _mm256_add_ps
#define SUB        _mm256_sub_ps
#define MUL        _mm256_mul_ps
#define MAX        _mm256_max_ps
#define FMA        _mm256_fmadd_ps
#include "backend/winograd_lanes.h"

#define ISA        __attribute__((target("avx512f")))
#define VECTOR     __m512
#define LANES      16
#define NAME(what) what##_16
#define NUMBER     float
#define READ       _mm512_loadu_ps
#define WRITE      _mm512_storeu_ps
#define LOAD       _mm512_loadu_ps
#define STORE      _mm512_storeu_ps
#define SET        _mm512_set1_ps
#define ADD        _mm512_add_ps
#define SUB        _mm512_sub_ps
#define MUL        _mm512_mul_ps
#define MAX        _mm512_max_ps
#define FMA        _mm512_fmadd_ps
#include "backend/winograd_lanes.h"

#define BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

BF16 static inline __attribute__((always_inline)) __m512 read_halves(const kn_bf16 *at) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

BF16 static inline __attribute__((always_inline)) void write_halves(kn_bf16 *at, __m512 x) {
    __m256bh half = _mm512_cvtneps_pbh(x);
    memcpy(at, &half, sizeof half);
}

#define ISA        BF16
#define VECTOR     __m512
#define LANES      16
#define NAME(what) what##_bf16
#define NUMBER     kn_bf16
#define READ       read_halves
#define WRITE      write_halves
#define LOAD       _mm512_loadu_ps
#define STORE      _mm512_storeu_ps
#define SET        _mm512_set1_ps
#define ADD        _mm512_add_ps
#define SUB        _mm512_sub_ps
#define MUL        _mm512_mul_ps
#define MAX        _mm512_max_ps
#include "backend/winograd_lanes.h"

const kn_winograd_kernels *kn_winograd_for(const kn_tile_kernels *tile, int side) {
    if (tile->unit > 1)
        return &kernels_2_bf16;
    if (tile->wide)
        return side == 4 ? &kernels_4_16 : &kernels_2_16;
    return side == 4 ? &kernels_4_8 : &kernels_2_8;
}

#else

const kn_winograd_kernels *kn_winograd_for(const kn_tile_kernels *tile, int side) {
    (void)tile;
    (void)side;
    return NULL;
}

#endif
