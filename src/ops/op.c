/* op.c - see op.h. */
#include "ops/op.h"

static bool is_there(kn_ctx *ctx, const char *op, const kn_tensor *x, int number) {
    if (x == NULL && kn_ctx_status(ctx) == KN_OK) /* else the error is there already */
        kn_fail(ctx, KN_ERR_STATE, "%s: operand %d is NULL", op, number);
    return x != NULL;
}

static bool all_there(kn_ctx *ctx, const char *op, kn_tensor *const *in, int count) {
    for (int i = 0; i < count; i++)
        if (!is_there(ctx, op, in[i], i + 1))
            return false;
    return true;
}

static bool fits(kn_ctx *ctx, const char *op, kn_tensor *const *in, int i, kn_dtype dtype) {
    char text[KN_SHAPE_TEXT];
    if (!kn_tensor_usable(ctx, op, in[i]))
        return false;
    if (in[i]->dtype != dtype) {
        kn_fail(ctx, KN_ERR_SHAPE, "%s: operand %d is %s %s, expected %s", op, i + 1,
                kn_dtype_name(in[i]->dtype), kn_shape_text(&in[i]->shape, text),
                kn_dtype_name(dtype));
        return false;
    }
    if (in[i]->device->error != &ctx->error) {
        kn_fail(ctx, KN_ERR_STATE, "%s: operand %d belongs to another context", op, i + 1);
        return false;
    }
    if (in[i]->device != in[0]->device) {
        kn_fail(ctx, KN_ERR_DEVICE, "%s: operand 1 is on %s, operand %d on %s", op,
                kn_device_name(in[0]->device), i + 1, kn_device_name(in[i]->device));
        return false;
    }
    return true;
}

bool kn_op_inputs(kn_ctx *ctx, const char *op, kn_dtype dtype, kn_tensor *const *in, int count) {
    if (!all_there(ctx, op, in, count))
        return false;
    for (int i = 0; i < count; i++)
        if (!fits(ctx, op, in, i, dtype))
            return false;
    return true;
}

bool kn_op_mixed(kn_ctx *ctx, const char *op, kn_tensor *const *in, int count, unsigned images) {
    char text[KN_SHAPE_TEXT];
    if (!all_there(ctx, op, in, count))
        return false;
    kn_dtype dtype = in[0]->dtype == KN_BF16 ? KN_BF16 : KN_F32;
    for (int i = 0; i < count; i++)
        if (!fits(ctx, op, in, i, images >> i & 1 ? dtype : KN_F32))
            return false;
    if (dtype == KN_BF16 && in[0]->device->bf16 == NULL) {
        kn_fail(ctx, KN_ERR_DEVICE, "%s: operand 1 is bf16 %s: " KN_NO_BF16, op,
                kn_shape_text(&in[0]->shape, text), kn_device_name(in[0]->device));
        return false;
    }
    return true;
}

bool kn_op_image(kn_ctx *ctx, const char *op, kn_tensor *x) {
    return kn_op_mixed(ctx, op, &x, 1, 1);
}

bool kn_op_input(kn_ctx *ctx, const char *op, kn_dtype dtype, kn_tensor *x) {
    return kn_op_inputs(ctx, op, dtype, &x, 1);
}

bool kn_op_second(kn_ctx *ctx, const char *op, kn_dtype dtype, kn_tensor *x) {
    return is_there(ctx, op, x, 2) && fits(ctx, op, (kn_tensor *[]){x, x}, 1, dtype);
}

kn_tensor *kn_op_mismatch(kn_ctx *ctx, const char *op, const kn_tensor *a, const char *text,
                          const kn_tensor *b) {
    char a_text[KN_SHAPE_TEXT], b_text[KN_SHAPE_TEXT];
    kn_fail(ctx, KN_ERR_SHAPE, "%s: %s %s %s", op, kn_shape_text(&a->shape, a_text), text,
            kn_shape_text(&b->shape, b_text));
    return NULL;
}

kn_tensor *kn_op_done(kn_ctx *ctx, const kn_op *op, kn_status status, kn_tensor *out,
                      kn_tensor *const *in, int count, const void *args, size_t args_size) {
    if (status != KN_OK || !kn_tape_record(ctx, op, out, in, count, args, args_size))
        return NULL;
    return out;
}
