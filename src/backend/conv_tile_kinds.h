/* conv_tile_kinds.h - the kinds of tile kernels, one file each. Which of them the processor can
 * run, conv_tile.c finds out. */
#ifndef KN_BACKEND_CONV_TILE_KINDS_H
#define KN_BACKEND_CONV_TILE_KINDS_H

#include "backend/conv_tile.h"

extern const kn_tile_kernels kn_tile_avx2, kn_tile_avx512, kn_tile_bf16;

/* The transpose of all. */
void kn_tile_transpose(const float *from, int64_t from_step, int64_t channels, int64_t pixels,
                       float *to, int64_t to_step);

#endif
