/* shape.c - the same numbers in another shape, order or type. */
#include "ops/op.h"

/* ---- reshape ---- */

static kn_status reshape_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(&slot, x->device->ops->copy(x->device, dx, dy, kn_tensor_bytes(x)));
}

static const kn_op op_reshape = {.name = "reshape", .backward = reshape_backward};

/* Replaces a single -1 by what is left; false when the counts do not agree. */
static bool complete(kn_shape *shape, int64_t numel) {
    int64_t known = 1;
    int open = -1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == -1 && open < 0)
            open = i;
        else if (shape->dim[i] < 0 || __builtin_mul_overflow(known, shape->dim[i], &known))
            return false;
    }
    if (open < 0)
        return known == numel;
    if (known == 0 || numel % known != 0)
        return false;
    shape->dim[open] = numel / known;
    return true;
}

kn_tensor *kn_reshape(kn_ctx *ctx, kn_tensor *x, kn_shape shape) {
    if (!kn_op_input(ctx, "reshape", x != NULL ? x->dtype : KN_F32, x))
        return NULL;
    char from[KN_SHAPE_TEXT], to[KN_SHAPE_TEXT];
    kn_shape full = shape;
    if (!complete(&full, x->numel)) {
        kn_fail(ctx, KN_ERR_SHAPE, "reshape: %s does not fit into %s",
                kn_shape_text(&x->shape, from), kn_shape_text(&shape, to));
        return NULL;
    }
    kn_tensor *y = kn_tensor_alias(ctx, x, full);
    return y == NULL ? NULL : kn_op_done(ctx, &op_reshape, KN_OK, y, &x, 1, NULL, 0);
}

/* ---- permute ---- */

typedef struct permute_args {
    int axes[KN_MAX_RANK];
} permute_args;

static kn_status permute_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    const permute_args *args = (const void *)node->args;
    int inverse[KN_MAX_RANK] = {0};
    for (int i = 0; i < x->shape.rank; i++)
        inverse[args->axes[i]] = i;
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(&slot, x->device->ops->permute(x->device, &node->out->shape, inverse,
                                                        kn_dtype_size(x->dtype), dy, dx));
}

static const kn_op op_permute = {.name = "permute", .backward = permute_backward};

kn_tensor *kn_permute(kn_ctx *ctx, kn_tensor *x, const int *axes) {
    if (!kn_op_input(ctx, "permute", x != NULL ? x->dtype : KN_F32, x))
        return NULL;
    permute_args args = {0};
    kn_shape shape = {.rank = x->shape.rank};
    unsigned seen = 0;
    for (int i = 0; i < shape.rank; i++) {
        if (axes[i] < 0 || axes[i] >= shape.rank || seen >> axes[i] & 1) {
            char text[KN_SHAPE_TEXT];
            kn_fail(ctx, KN_ERR_SHAPE, "permute: axis %d at place %d of %s is no permutation",
                    axes[i], i, kn_shape_text(&x->shape, text));
            return NULL;
        }
        seen |= 1u << axes[i];
        args.axes[i] = axes[i];
        shape.dim[i] = x->shape.dim[axes[i]];
    }
    kn_tensor *y = kn_tensor_new(ctx, x->device, x->dtype, shape);
    if (y == NULL)
        return NULL;
    kn_status status = x->device->ops->permute(x->device, &x->shape, args.axes,
                                               kn_dtype_size(x->dtype), x->data, y->data);
    return kn_op_done(ctx, &op_permute, status, y, &x, 1, &args, sizeof args);
}

/* ---- cast ---- */

static kn_status cast_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(
        &slot, x->device->ops->cast(x->device, node->out->dtype, x->dtype, x->numel, dy, dx));
}

static const kn_op op_cast = {.name = "cast", .backward = cast_backward};

kn_tensor *kn_cast(kn_ctx *ctx, kn_tensor *x, kn_dtype dtype) {
    if (!kn_op_input(ctx, "cast", x != NULL ? x->dtype : KN_F32, x))
        return NULL;
    if (x->dtype == dtype)
        return x;
    if (x->dtype == KN_I64 || x->dtype == KN_F16) {
        kn_fail(ctx, KN_ERR_SHAPE, "cast: operand 1 is %s, which is for files",
                kn_dtype_name(x->dtype));
        return NULL;
    }
    kn_tensor *y = kn_tensor_new(ctx, x->device, dtype, x->shape);
    if (y == NULL)
        return NULL;
    kn_status status = x->device->ops->cast(x->device, x->dtype, dtype, x->numel, x->data, y->data);
    bool floats =
        (x->dtype == KN_F32 || x->dtype == KN_BF16) && (dtype == KN_F32 || dtype == KN_BF16);
    return kn_op_done(ctx, &op_cast, status, y, &x, floats ? 1 : 0, NULL, 0);
}
