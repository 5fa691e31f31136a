/* own_conv.h - what the tests of Kiln's own convolutions share: a device with one kind of tiles,
 * and shapes at whose borders, strides and sizes tiles, panels, bands and blocks have a rest. */
#ifndef KN_TEST_OWN_CONV_H
#define KN_TEST_OWN_CONV_H

#include "backend/own_conv.h"

#include <kiln/kiln.h>

typedef struct own_place {
    kn_ctx *ctx;
    kn_device *device;
    kn_own_conv *own;
} own_place;

/* Skips the test where the processor has no tiles of ours. */
void own_need_tiles(void);
bool own_open(own_place *p, const kn_tile_kernels *tile, int threads);
void own_close(own_place *p);

enum { OWN_SHAPES = 31 };

/* The one of that number, below OWN_SHAPES. */
kn_conv_dims own_shape(size_t i);

/* The output's size filled in. */
kn_conv_dims own_sized(kn_conv_dims c);

/* Numbers of a stream; the same rounded to bf16. Freed by the caller. */
float *own_some(unsigned stream, int64_t n);
kn_bf16 *own_halves(const float *x, int64_t n);

#endif
