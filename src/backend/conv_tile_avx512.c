/* conv_tile_avx512.c - see conv_tile.h: the f32 kernels for AVX-512. A unit is a number. */
#include "backend/conv_tile_kinds.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define ISA     __attribute__((target("avx512f")))
#define WEIGHTS __m512
#define BYTES   4

ISA static inline __attribute__((always_inline)) __m512 add_product(__m512 sum, const void *unit,
                                                                    __m512 w) {
    return _mm512_fmadd_ps(_mm512_set1_ps(*(const float *)unit), w, sum);
}

#define PRODUCT               add_product
#define LOAD(at, mask)        _mm512_maskz_loadu_ps(mask, at)
#define STORE(at, mask, sums) _mm512_mask_storeu_ps(at, mask, sums)
#include "backend/conv_tile_512.h"

const kn_tile_kernels kn_tile_avx512 = {.name = "AVX-512",
                                        .rows = ROWS,
                                        .panels = KN_TILE_PANELS,
                                        .unit = 1,
                                        .wide = true,
                                        .pixels = tile_pixels,
                                        .gradient = tile_gradient,
                                        .transpose = kn_tile_transpose};

#endif
