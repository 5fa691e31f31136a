/* normalize.c - the mean and spread of a batch, and taking them out of every other. */
#include <kiln/data.h>

#include "tensor/tensor.h"

#include <math.h>

/* Pixels are bytes, so 256 counts a channel hold all there is to know, exactly. */
kn_status kn_normalize_from(kn_ctx *ctx, const kn_batch *batch, kn_normalize *out) {
    int64_t count[3][256] = {{0}};
    int64_t pixels = (int64_t)batch->n * batch->height * batch->width;
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++)
            count[c][batch->pixels[i * 3 + c]]++;
    kn_normalize norm;
    for (int c = 0; c < 3; c++) {
        double sum = 0, spread = 0;
        bool varies = true;
        for (int v = 0; v < 256; v++) {
            varies = varies && count[c][v] != pixels; /* exact, which spread > 0 is not */
            sum += (double)count[c][v] * v / 255;
        }
        if (!varies)
            return kn_fail(ctx, KN_ERR_DATA,
                           "normalize: channel %d of the first batch (%d pictures) does not vary, "
                           "so its mean and std have to be given (--mean, --std)",
                           c, batch->n);
        double mean = sum / (double)pixels;
        for (int v = 0; v < 256; v++)
            spread += (double)count[c][v] * (v / 255.0 - mean) * (v / 255.0 - mean);
        norm.mean[c] = (float)mean;
        norm.std[c] = (float)sqrt(spread / (double)(pixels - 1));
    }
    *out = norm;
    return KN_OK;
}

kn_tensor *kn_normalize_apply(kn_ctx *ctx, const kn_normalize *norm, kn_tensor *x) {
    if (x == NULL || !kn_tensor_usable(ctx, "normalize", x))
        return NULL;
    char text[KN_SHAPE_TEXT];
    int rank = x->shape.rank;
    if (x->dtype != KN_U8 || rank < 1 || x->shape.dim[rank - 1] != 3) {
        kn_fail(ctx, KN_ERR_SHAPE, "normalize: %s %s, expected u8 [N,H,W,3]",
                kn_dtype_name(x->dtype), kn_shape_text(&x->shape, text));
        return NULL;
    }
    kn_tensor *y = kn_tensor_new(ctx, x->device, KN_F32, x->shape);
    if (y == NULL || x->device->ops->normalize(x->device, x->numel / 3, x->data, norm->mean,
                                               norm->std, kn_f32_out(y)) != KN_OK)
        return NULL;
    return y;
}
