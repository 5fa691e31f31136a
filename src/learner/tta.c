/* tta.c - test-time augmentation: the picture and its mirror image are asked, and the mean of the
 * two answers counts. */
#include "tensor/tensor.h"

#include <kiln/ops.h>
#include <kiln/predict.h>

/* u8 [n,H,W,3], columns in reverse, on the context's device. The batch is in host memory. */
static kn_tensor *mirrored(kn_ctx *ctx, const kn_batch *batch) {
    kn_device *host = kn_device_open(ctx, "cpu");
    if (host == NULL)
        return NULL;
    kn_tensor *x =
        kn_tensor_new(ctx, host, KN_U8, KN_SHAPE(batch->n, batch->height, batch->width, 3));
    if (x == NULL)
        return NULL;
    int64_t rows = (int64_t)batch->n * batch->height, width = batch->width;
    uint8_t *to = x->data;
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *from = batch->pixels + r * width * 3 + (width - 1) * 3;
        for (int64_t c = 0; c < width; c++, to += 3, from -= 3) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
    return kn_to(ctx, x, kn_device_default(ctx));
}

/* log((e^a + e^b) / 2), as max(a, b) + log((1 + e^-|a - b|) / 2): neither overflows, nor is the
 * logarithm of a vanishing probability ever taken. */
static kn_tensor *log_mean_exp(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    kn_tensor *rise = kn_relu(ctx, kn_sub(ctx, b, a)), *fall = kn_relu(ctx, kn_sub(ctx, a, b));
    kn_tensor *small = kn_exp(ctx, kn_neg(ctx, kn_add(ctx, rise, fall)));
    kn_tensor *one = kn_full(ctx, KN_SHAPE(1), 1), *two = kn_full(ctx, KN_SHAPE(1), 2);
    kn_tensor *mean = kn_div(ctx, kn_add(ctx, small, one), two);
    return kn_add(ctx, kn_add(ctx, a, rise), kn_log(ctx, mean));
}

/* f32 [n,classes] of pictures u8 [n,H,W,3]. */
static kn_tensor *logits_of(kn_module *model, const kn_normalize *norm, kn_dtype dtype,
                            kn_tensor *x) {
    kn_ctx *ctx = kn_module_ctx(model);
    x = kn_cast(ctx, kn_normalize_apply(ctx, norm, x), dtype);
    return kn_cast(ctx, kn_forward(model, x), KN_F32);
}

/* From the logits of the pictures as they are: log of the mean probabilities. */
static kn_tensor *with_mirror(kn_module *model, const kn_normalize *norm, kn_dtype dtype,
                              const kn_batch *batch, kn_tensor *logits) {
    kn_ctx *ctx = kn_module_ctx(model);
    kn_tensor *plain = kn_log_softmax(ctx, logits);
    kn_tensor *other = logits_of(model, norm, dtype, mirrored(ctx, batch));
    return log_mean_exp(ctx, plain, kn_log_softmax(ctx, other));
}

kn_tensor *kn_predict_batch(kn_module *model, const kn_normalize *norm, const kn_batch *batch,
                            kn_predict_opts opts) {
    if (model == NULL)
        return NULL;
    kn_ctx *ctx = kn_module_ctx(model);
    kn_tensor *x =
        kn_from(ctx, KN_U8, KN_SHAPE(batch->n, batch->height, batch->width, 3), batch->pixels);
    kn_tensor *logits = logits_of(model, norm, opts.dtype, x);
    return opts.tta ? kn_exp(ctx, with_mirror(model, norm, opts.dtype, batch, logits))
                    : kn_softmax(ctx, logits);
}

/* ---- the callback ---- */

typedef struct tta {
    kn_callback base;
    kn_ctx *ctx;
    const kn_normalize *norm;
} tta;

static kn_flow after_pred(kn_callback *cb, kn_learner *l) {
    const tta *t = (const tta *)cb;
    if (l->training)
        return KN_GO;
    kn_tensor *logits = kn_cast(l->ctx, l->preds, KN_F32);
    l->preds = kn_keep(l->ctx, with_mirror(l->model, t->norm, l->dtype, &l->batch, logits));
    return l->preds != NULL ? KN_GO : KN_FAIL;
}

static void free_tta(kn_callback *cb) {
    kn_free(((tta *)cb)->ctx, cb);
}

static const kn_callback_class tta_class = {
    .name = "tta", .order = 10, .after_pred = after_pred, .free = free_tta};

kn_callback *kn_tta_cb(kn_ctx *ctx, const kn_normalize *norm) {
    tta *t = kn_calloc(ctx, 1, sizeof *t, "the test-time augmentation callback");
    if (t == NULL)
        return NULL;
    *t = (tta){.base = {&tta_class}, .ctx = ctx, .norm = norm};
    return &t->base;
}
