/* own_conv.c - see own_conv.h. */
#include "support/own_conv.h"

#include "support/check.h"
#include "support/numbers.h"

#include <stdlib.h>

void own_need_tiles(void) {
    if (kn_tile_best() == NULL) {
        print_message("SKIPPED: this processor has no AVX2\n");
        skip();
    }
}

bool own_open(own_place *p, const kn_tile_kernels *tile, int threads) {
    own_need_tiles();
    kn_error error = {0};
    assert_int_equal(kn_ctx_new(&p->ctx, (kn_ctx_opts){.threads = threads}, &error), KN_OK);
    p->device = kn_device_open(p->ctx, "cpu");
    assert_non_null(p->device);
    p->own = kn_own_conv_open(p->device, tile);
    return p->own != NULL;
}

void own_close(own_place *p) {
    kn_own_conv_close(p->own);
    kn_ctx_free(p->ctx);
}

float *own_some(unsigned stream, int64_t n) {
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 64) / 64 * 64);
    assert_non_null(x);
    numbers_fill(WIDE, stream, 0, n, x);
    return x;
}

static const kn_conv_dims shapes[OWN_SHAPES] = {
    /* n, h, w, in, out, kernel_h, kernel_w, stride, padding; the output's size is computed */
    {3, 8, 8, 16, 16, 3, 3, 1, 1, 0, 0},   /* Winograd */
    {2, 7, 5, 32, 48, 3, 3, 1, 1, 0, 0},   /* its squares over the border */
    {3, 9, 6, 16, 32, 3, 3, 1, 0, 0, 0},   /* no padding */
    {1, 5, 5, 32, 16, 3, 3, 1, 3, 0, 0},   /* more than the kernel needs */
    {1, 1, 1, 16, 16, 3, 3, 1, 1, 0, 0},   /* one pixel */
    {5, 4, 4, 128, 144, 3, 3, 1, 1, 0, 0}, /* weights beyond the cache */
    {2, 3, 3, 144, 200, 3, 3, 1, 1, 0, 0}, /* and few pixels: threads share columns */
    {1, 5, 4, 96, 250, 1, 1, 1, 0, 0, 0},  /* likewise */
    {40, 8, 8, 32, 32, 3, 3, 1, 1, 0, 0},  /* squares of four by four */
    {6, 22, 17, 16, 32, 3, 3, 1, 0, 0, 0}, /* over the border, no padding */
    {6, 13, 14, 32, 16, 3, 3, 1, 3, 0, 0}, /* more than the kernel needs */
    {8, 8, 7, 144, 128, 3, 3, 1, 1, 0, 0}, /* deep: one block, shared */
    {4, 6, 6, 320, 64, 3, 3, 1, 1, 0, 0},  /* new weights in several parts */
    {4, 6, 7, 96, 224, 3, 3, 1, 1, 0, 0},  /* and several columns */
    {1, 8, 8, 272, 256, 3, 3, 1, 1, 0, 0}, /* enough weights for blocks of their gradient */
    {2, 8, 7, 256, 272, 3, 3, 1, 1, 0, 0}, /* squares of four by four, a block's rest */
    {7, 45, 39, 32, 16, 3, 3, 1, 1, 0, 0}, /* enough for parts of the weights' gradient */
    {2, 33, 31, 3, 16, 3, 3, 2, 1, 0, 0},  /* a first layer */
    {1, 37, 41, 3, 20, 7, 7, 2, 3, 0, 0},  /* another */
    {2, 9, 9, 1, 7, 5, 5, 3, 2, 0, 0},     /* grey */
    {3, 16, 15, 16, 33, 3, 3, 2, 1, 0, 0}, /* a rest of columns */
    {2, 12, 10, 24, 40, 3, 3, 1, 1, 0, 0}, /* no multiple of 16 */
    {2, 9, 9, 48, 24, 1, 1, 1, 0, 0, 0},   /* 1x1 */
    {2, 9, 8, 16, 32, 1, 1, 2, 0, 0, 0},   /* with a stride */
    {2, 23, 19, 20, 7, 4, 4, 3, 2, 0, 0},  /* even, and a stride of 3 */
    {1, 6, 40, 16, 18, 1, 5, 1, 1, 0, 0},  /* wide */
    {1, 40, 6, 17, 16, 5, 2, 2, 1, 0, 0},  /* tall */
    {1, 3, 3, 16, 16, 2, 2, 5, 0, 0, 0},   /* pixels that no window meets */
    {20, 4, 4, 64, 70, 3, 3, 2, 1, 0, 0},  /* many images to a band */
    {1, 70, 70, 16, 16, 3, 3, 2, 1, 0, 0}, /* several bands to an image */
    {2, 66, 66, 8, 16, 3, 3, 1, 1, 0, 0},  /* windows, several bands */
};

kn_conv_dims own_sized(kn_conv_dims c) {
    c.out_h = (c.h + 2 * c.padding - c.kernel_h) / c.stride + 1;
    c.out_w = (c.w + 2 * c.padding - c.kernel_w) / c.stride + 1;
    return c;
}

kn_bf16 *own_halves(const float *x, int64_t n) {
    kn_bf16 *half = aligned_alloc(64, ((size_t)n * sizeof *half + 64) / 64 * 64);
    assert_non_null(half);
    for (int64_t i = 0; i < n; i++)
        half[i] = kn_bf16_from(x[i]);
    return half;
}

kn_conv_dims own_shape(size_t i) {
    return own_sized(shapes[i]);
}
