/* elementwise.c - functions of each element, and of two operands with broadcasting. */
#include "ops/op.h"

#include "ops/broadcast.h"

/* ---- one operand ---- */

static kn_status unary_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_unary_kind kind = *(const kn_unary_kind *)(const void *)node->args;
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    kn_device *d = x->device;
    const void *y = node->out->data;
    return kn_grad_close(&slot, x->dtype == KN_BF16
                                    ? d->bf16->unary_grad(d, kind, x->numel, x->data, y, dy, dx)
                                    : d->ops->unary_grad(d, kind, x->numel, x->data, y, dy, dx));
}

static kn_tensor *unary(kn_ctx *ctx, const kn_op *op, kn_unary_kind kind, kn_tensor *x) {
    if (!kn_op_image(ctx, op->name, x))
        return NULL;
    kn_device *d = x->device;
    kn_tensor *y = kn_tensor_new(ctx, d, x->dtype, x->shape);
    if (y == NULL)
        return NULL;
    kn_status status = x->dtype == KN_BF16 ? d->bf16->unary(d, kind, x->numel, x->data, y->data)
                                           : d->ops->unary(d, kind, x->numel, x->data, y->data);
    return kn_op_done(ctx, op, status, y, &x, 1, &kind, sizeof kind);
}

#define READS_X .reads = {KN_D1}
#define READS_Y .reads = {[KN_NODE_OUT] = KN_D1}
static const kn_op op_neg = {.name = "neg", .backward = unary_backward},
                   op_exp = {"exp", unary_backward, READS_Y},
                   op_log = {"log", unary_backward, READS_X},
                   op_sqrt = {"sqrt", unary_backward, READS_Y},
                   op_relu = {"relu", unary_backward, READS_Y},
                   op_swish = {"swish", unary_backward, READS_X},
                   op_mish = {"mish", unary_backward, READS_X};

kn_tensor *kn_neg(kn_ctx *ctx, kn_tensor *x) {
    return unary(ctx, &op_neg, KN_NEG, x);
}
kn_tensor *kn_exp(kn_ctx *ctx, kn_tensor *x) {
    return unary(ctx, &op_exp, KN_EXP, x);
}
kn_tensor *kn_log(kn_ctx *ctx, kn_tensor *x) {
    return unary(ctx, &op_log, KN_LOG, x);
}
kn_tensor *kn_sqrt(kn_ctx *ctx, kn_tensor *x) {
    return unary(ctx, &op_sqrt, KN_SQRT, x);
}
kn_tensor *kn_relu(kn_ctx *ctx, kn_tensor *x) {
    return unary(ctx, &op_relu, KN_RELU, x);
}
kn_tensor *kn_swish(kn_ctx *ctx, kn_tensor *x) {
    return unary(ctx, &op_swish, KN_SWISH, x);
}
kn_tensor *kn_mish(kn_ctx *ctx, kn_tensor *x) {
    return unary(ctx, &op_mish, KN_MISH, x);
}

/* ---- two operands ---- */

static kn_tensor *binary_forward(kn_ctx *ctx, const char *name, kn_binary_kind kind, kn_tensor *a,
                                 kn_tensor *b, kn_status *status) {
    kn_dtype dtype = kind == KN_EQ && a != NULL && a->dtype == KN_I32 ? KN_I32 : KN_F32;
    kn_shape shape;
    if (!kn_op_inputs(ctx, name, dtype, (kn_tensor *[]){a, b}, 2))
        return NULL;
    if (!kn_broadcast_shape(&a->shape, &b->shape, &shape))
        return kn_op_mismatch(ctx, name, a, "does not broadcast with", b);
    kn_bcast loop = kn_broadcast_loop(&shape, &a->shape, &b->shape);
    kn_tensor *y = kn_tensor_new(ctx, a->device, kind == KN_EQ ? KN_U8 : KN_F32, shape);
    if (y != NULL)
        *status = a->device->ops->binary(a->device, kind, dtype, &loop, a->data, b->data, y->data);
    return y;
}

/* d(loss)/d(t) from a gradient of the result's shape: summed over the axes t was broadcast along,
 * then scaled. */
static kn_status give(kn_ctx *ctx, kn_tensor *t, const kn_shape *shape, float scale,
                      const float *dy) {
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dt = kn_grad_open(ctx, t, &slot, &status);
    if (dt == NULL)
        return status;
    kn_device *d = t->device;
    kn_reduction sum = kn_broadcast_undo(shape, &t->shape);
    if (sum.axes == 0) {
        kn_bcast same = {.rank = 1, .dim = {t->numel}, .a_step = {1}};
        return kn_grad_close(&slot, d->ops->expand(d, &same, scale, dy, dt));
    }
    status = d->ops->reduce(d, &sum, dy, dt);
    if (status == KN_OK && scale != 1) {
        kn_storage *negated = kn_storage_get(ctx, d, (size_t)t->numel * sizeof(float));
        kn_bcast same = {.rank = 1, .dim = {t->numel}, .a_step = {1}};
        status = negated == NULL ? kn_ctx_status(ctx)
                                 : d->ops->copy(d, negated->data, dt, (size_t)t->numel * 4);
        if (status == KN_OK)
            status = d->ops->expand(d, &same, scale, negated->data, dt);
        kn_storage_drop(negated);
    }
    return kn_grad_close(&slot, status);
}

static kn_status add_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_status status = give(ctx, node->in[0], &node->out->shape, 1, dy);
    return status != KN_OK ? status : give(ctx, node->in[1], &node->out->shape, 1, dy);
}

static kn_status sub_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_status status = give(ctx, node->in[0], &node->out->shape, 1, dy);
    return status != KN_OK ? status : give(ctx, node->in[1], &node->out->shape, -1, dy);
}

/* Gives t the gradient sign * (dy kind other), other being broadcast to dy's shape; then, for a
 * quotient's divisor, times the quotient again. */
static kn_status give_product(kn_ctx *ctx, kn_tensor *t, const kn_tensor *out, kn_binary_kind kind,
                              const kn_tensor *other, const kn_tensor *again, const float *dy) {
    if (!t->wants_grad)
        return KN_OK;
    kn_device *d = t->device;
    kn_storage *product = kn_storage_get(ctx, d, (size_t)out->numel * sizeof(float));
    if (product == NULL)
        return kn_ctx_status(ctx);
    kn_bcast loop = kn_broadcast_loop(&out->shape, &out->shape, &other->shape);
    kn_status status = d->ops->binary(d, kind, KN_F32, &loop, dy, other->data, product->data);
    kn_storage *both = NULL;
    if (status == KN_OK && again != NULL) {
        kn_bcast same = kn_broadcast_loop(&out->shape, &out->shape, &out->shape);
        both = kn_storage_get(ctx, d, (size_t)out->numel * sizeof(float));
        status = both == NULL ? kn_ctx_status(ctx)
                              : d->ops->binary(d, KN_MUL, KN_F32, &same, product->data, again->data,
                                               both->data);
    }
    if (status == KN_OK)
        status = give(ctx, t, &out->shape, again != NULL ? -1 : 1,
                      again != NULL ? both->data : product->data);
    kn_storage_drop(both);
    kn_storage_drop(product);
    return status;
}

static kn_status mul_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *a = node->in[0], *b = node->in[1];
    kn_status status = give_product(ctx, a, node->out, KN_MUL, b, NULL, dy);
    return status != KN_OK ? status : give_product(ctx, b, node->out, KN_MUL, a, NULL, dy);
}

/* d(a/b)/da = 1/b; d(a/b)/db = -(a/b)/b. */
static kn_status div_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *a = node->in[0], *b = node->in[1];
    kn_status status = give_product(ctx, a, node->out, KN_DIV, b, NULL, dy);
    return status != KN_OK ? status : give_product(ctx, b, node->out, KN_DIV, b, node->out, dy);
}

static kn_tensor *binary(kn_ctx *ctx, const kn_op *op, kn_binary_kind kind, kn_tensor *a,
                         kn_tensor *b) {
    kn_status status = KN_OK;
    kn_tensor *y = binary_forward(ctx, op->name, kind, a, b, &status);
    if (y == NULL)
        return NULL;
    return kn_op_done(ctx, op, status, y, (kn_tensor *[]){a, b}, 2, NULL, 0);
}

static const kn_op op_add = {.name = "add", .backward = add_backward},
                   op_sub = {.name = "sub", .backward = sub_backward},
                   op_mul = {"mul", mul_backward, .reads = {KN_D2, KN_D1}},
                   op_div = {"div", div_backward,
                             .reads = {[1] = KN_D1 | KN_D2, [KN_NODE_OUT] = KN_D2}};

/* ---- the sum of two activations in bf16, of one shape ---- */

static kn_status add_bf16_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_status status = KN_OK;
    for (int i = 0; i < 2; i++) {
        kn_grad_slot slot;
        kn_tensor *t = node->in[i];
        void *dt = kn_grad_open(ctx, t, &slot, &status);
        if (dt != NULL)
            status =
                kn_grad_close(&slot, t->device->ops->copy(t->device, dt, dy, kn_tensor_bytes(t)));
    }
    return status;
}

static const kn_op op_add_bf16 = {.name = "add", .backward = add_bf16_backward};

static kn_tensor *add_bf16(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    kn_tensor *in[2] = {a, b};
    if (!kn_op_mixed(ctx, "add", in, 2, 3))
        return NULL;
    if (!kn_shape_equal(&a->shape, &b->shape))
        return kn_op_mismatch(ctx, "add", a, "in bf16 has another shape than", b);
    kn_device *d = a->device;
    kn_tensor *y = kn_tensor_new(ctx, d, KN_BF16, a->shape);
    if (y == NULL)
        return NULL;
    kn_status status = d->bf16->add(d, a->numel, a->data, b->data, y->data);
    return kn_op_done(ctx, &op_add_bf16, status, y, in, 2, NULL, 0);
}

kn_tensor *kn_add(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    if (a != NULL && b != NULL && a->dtype == KN_BF16 && b->dtype == KN_BF16)
        return add_bf16(ctx, a, b);
    return binary(ctx, &op_add, KN_ADD, a, b);
}

kn_tensor *kn_sub(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    return binary(ctx, &op_sub, KN_SUB, a, b);
}

kn_tensor *kn_mul(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    return binary(ctx, &op_mul, KN_MUL, a, b);
}

kn_tensor *kn_div(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    return binary(ctx, &op_div, KN_DIV, a, b);
}

kn_tensor *kn_eq(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    kn_status status = KN_OK;
    kn_tensor *y = binary_forward(ctx, "eq", KN_EQ, a, b, &status);
    return status == KN_OK ? y : NULL;
}
