/* product.c - matrix product and the linear layer's function. */
#include "ops/op.h"

/* d(loss)/d(t) = a b, as a matrix product written into t's gradient. */
static kn_status give_matmul(kn_ctx *ctx, kn_tensor *t, kn_matmul_dims m, const float *a,
                             const float *b) {
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dt = kn_grad_open(ctx, t, &slot, &status);
    if (dt == NULL)
        return status;
    return kn_grad_close(&slot, t->device->ops->matmul(t->device, &m, a, b, NULL, dt));
}

/* ---- matmul ---- */

/* c = a b: da = dc b^T, db = a^T dc. */
static kn_status matmul_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    const kn_matmul_dims *m = (const void *)node->args;
    kn_tensor *a = node->in[0], *b = node->in[1];
    kn_status status = give_matmul(
        ctx, a,
        (kn_matmul_dims){.batch = m->batch, .m = m->m, .n = m->k, .k = m->n, .trans_b = true}, dy,
        kn_f32(b));
    if (status != KN_OK)
        return status;
    return give_matmul(
        ctx, b,
        (kn_matmul_dims){.batch = m->batch, .m = m->k, .n = m->n, .k = m->m, .trans_a = true},
        kn_f32(a), dy);
}

static const kn_op op_matmul = {"matmul", matmul_backward, .reads = {KN_D2, KN_D1}};

kn_tensor *kn_matmul(kn_ctx *ctx, kn_tensor *a, kn_tensor *b) {
    if (!kn_op_inputs(ctx, "matmul", KN_F32, (kn_tensor *[]){a, b}, 2))
        return NULL;
    int rank = a->shape.rank;
    bool fits =
        rank >= 2 && b->shape.rank == rank && a->shape.dim[rank - 1] == b->shape.dim[rank - 2];
    kn_matmul_dims m = {.batch = 1};
    for (int i = 0; fits && i < rank - 2; i++) {
        fits = a->shape.dim[i] == b->shape.dim[i];
        m.batch *= a->shape.dim[i];
    }
    if (!fits)
        return kn_op_mismatch(ctx, "matmul", a, "does not multiply with", b);
    kn_shape shape = a->shape;
    m.m = shape.dim[rank - 2];
    m.k = shape.dim[rank - 1];
    m.n = shape.dim[rank - 1] = b->shape.dim[rank - 1];
    kn_tensor *y = kn_tensor_new(ctx, a->device, KN_F32, shape);
    if (y == NULL)
        return NULL;
    kn_status status =
        a->device->ops->matmul(a->device, &m, kn_f32(a), kn_f32(b), NULL, kn_f32_out(y));
    return kn_op_done(ctx, &op_matmul, status, y, (kn_tensor *[]){a, b}, 2, &m, sizeof m);
}

/* ---- linear ---- */

/* y = x w^T + b: dx = dy w, dw = dy^T x, db = sum of dy's rows. */
static kn_status linear_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0], *w = node->in[1], *bias = node->in[2];
    int64_t rows = x->shape.dim[0], in = w->shape.dim[1], out = w->shape.dim[0];
    kn_status status = give_matmul(
        ctx, x, (kn_matmul_dims){.batch = 1, .m = rows, .n = in, .k = out}, dy, kn_f32(w));
    if (status == KN_OK)
        status = give_matmul(
            ctx, w, (kn_matmul_dims){.batch = 1, .m = out, .n = in, .k = rows, .trans_a = true}, dy,
            kn_f32(x));
    kn_grad_slot slot;
    float *db = kn_grad_open(ctx, bias, &slot, &status);
    if (db == NULL)
        return status;
    kn_reduction sum = {.kind = KN_SUM, .x = node->out->shape, .axes = 1, .count = rows};
    return kn_grad_close(&slot, x->device->ops->reduce(x->device, &sum, dy, db));
}

static const kn_op op_linear = {"linear", linear_backward, .reads = {KN_D2, KN_D1}};

kn_tensor *kn_linear_op(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_tensor *bias) {
    kn_tensor *in[3] = {x, weight, bias};
    int count = bias != NULL ? 3 : 2;
    if (!kn_op_inputs(ctx, "linear", KN_F32, in, count))
        return NULL;
    if (x->shape.rank != 2 || weight->shape.rank != 2 || x->shape.dim[1] != weight->shape.dim[1])
        return kn_op_mismatch(ctx, "linear", x, "does not fit weight", weight);
    if (bias != NULL && (bias->shape.rank != 1 || bias->shape.dim[0] != weight->shape.dim[0]))
        return kn_op_mismatch(ctx, "linear", bias, "is no bias for weight", weight);
    kn_matmul_dims m = {.batch = 1,
                        .m = x->shape.dim[0],
                        .n = weight->shape.dim[0],
                        .k = x->shape.dim[1],
                        .trans_b = true};
    kn_tensor *y = kn_tensor_new(ctx, x->device, KN_F32, KN_SHAPE(m.m, m.n));
    if (y == NULL)
        return NULL;
    kn_status status = x->device->ops->matmul(x->device, &m, kn_f32(x), kn_f32(weight),
                                              bias != NULL ? kn_f32(bias) : NULL, kn_f32_out(y));
    return kn_op_done(ctx, &op_linear, status, y, in, count, NULL, 0);
}
