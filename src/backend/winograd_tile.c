/* winograd_tile.c - see winograd_tile.h. */
#include "backend/winograd_tile.h"

#include "backend/conv_tile.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define ISA        __attribute__((target("avx2,fma")))
#define VECTOR     __m256
#define LANES      8
#define NAME(what) what##_8
#define LOAD       _mm256_loadu_ps
#define STORE      _mm256_storeu_ps
#define SET        _mm256_set1_ps
#define ADD        _mm256_add_ps
#define SUB        _mm256_sub_ps
#define MUL        _mm256_mul_ps
#define MAX        _mm256_max_ps
#include "backend/winograd_lanes.h"

#define ISA        __attribute__((target("avx512f")))
#define VECTOR     __m512
#define LANES      16
#define NAME(what) what##_16
#define LOAD       _mm512_loadu_ps
#define STORE      _mm512_storeu_ps
#define SET        _mm512_set1_ps
#define ADD        _mm512_add_ps
#define SUB        _mm512_sub_ps
#define MUL        _mm512_mul_ps
#define MAX        _mm512_max_ps
#include "backend/winograd_lanes.h"

const kn_winograd_kernels *kn_winograd_for(const kn_tile_kernels *tile) {
    return tile->wide ? &kernels_16 : &kernels_8;
}

#else

const kn_winograd_kernels *kn_winograd_for(const kn_tile_kernels *tile) {
    (void)tile;
    return NULL;
}

#endif
