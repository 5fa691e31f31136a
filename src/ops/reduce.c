/* reduce.c - sums, means, maxima over axes, and picking elements. */
#include "ops/op.h"

#include "ops/broadcast.h"

/* ---- sum, mean, max ---- */

/* Shape of the result, without the reduced axes or (keep) with length 1 there. False, with the
 * error set, when an axis is not there. */
static bool reduced_shape(kn_ctx *ctx, const char *op, const kn_tensor *x, kn_axes axes, bool keep,
                          kn_shape *shape, kn_reduction *r) {
    char text[KN_SHAPE_TEXT];
    kn_axes all = ((kn_axes)1 << x->shape.rank) - 1;
    if (axes != KN_ALL && (axes & ~all) != 0) {
        kn_fail(ctx, KN_ERR_SHAPE, "%s: axes 0x%x of %s", op, axes, kn_shape_text(&x->shape, text));
        return false;
    }
    r->x = x->shape;
    r->axes = axes & all;
    r->count = 1;
    *shape = (kn_shape){0};
    for (int i = 0; i < x->shape.rank; i++) {
        bool reduced = r->axes >> i & 1;
        if (reduced)
            r->count *= x->shape.dim[i];
        if (!reduced || keep)
            shape->dim[shape->rank++] = reduced ? 1 : x->shape.dim[i];
    }
    return true;
}

/* The result's shape with the reduced axes as 1, for broadcasting back over x. */
static kn_shape kept_shape(const kn_reduction *r) {
    kn_shape shape = r->x;
    for (int i = 0; i < shape.rank; i++)
        if (r->axes >> i & 1)
            shape.dim[i] = 1;
    return shape;
}

static kn_status sum_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    const kn_reduction *r = (const void *)node->args;
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    kn_shape kept = kept_shape(r);
    kn_bcast loop = kn_broadcast_loop(&x->shape, &kept, &kept);
    float scale = r->kind == KN_MEAN ? 1 / (float)r->count : 1;
    return kn_grad_close(&slot, x->device->ops->expand(x->device, &loop, scale, dy, dx));
}

static kn_status max_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(&slot, x->device->ops->max_grad(x->device, (const void *)node->args,
                                                         kn_f32(x), kn_f32(node->out), dy, dx));
}

static kn_tensor *reduce(kn_ctx *ctx, const kn_op *op, kn_reduce_kind kind, kn_tensor *x,
                         kn_axes axes, bool keep) {
    kn_reduction r = {.kind = kind};
    kn_shape shape;
    if (!kn_op_input(ctx, op->name, KN_F32, x) ||
        !reduced_shape(ctx, op->name, x, axes, keep, &shape, &r))
        return NULL;
    char text[KN_SHAPE_TEXT];
    if (kind == KN_MAX && r.count == 0) {
        kn_fail(ctx, KN_ERR_SHAPE, "max: %s has no element to choose",
                kn_shape_text(&x->shape, text));
        return NULL;
    }
    kn_tensor *y = kn_tensor_new(ctx, x->device, KN_F32, shape);
    if (y == NULL)
        return NULL;
    kn_status status = x->device->ops->reduce(x->device, &r, kn_f32(x), kn_f32_out(y));
    return kn_op_done(ctx, op, status, y, &x, 1, &r, sizeof r);
}

static const kn_op op_sum = {.name = "sum", .backward = sum_backward},
                   op_mean = {.name = "mean", .backward = sum_backward},
                   op_max = {"max", max_backward, .reads = {KN_D1, [KN_NODE_OUT] = KN_D1}};

kn_tensor *kn_sum(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts) {
    return reduce(ctx, &op_sum, KN_SUM, x, axes, opts.keep);
}

kn_tensor *kn_mean(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts) {
    return reduce(ctx, &op_mean, KN_MEAN, x, axes, opts.keep);
}

kn_tensor *kn_max(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts) {
    return reduce(ctx, &op_max, KN_MAX, x, axes, opts.keep);
}

/* The square root of a variance. Equal numbers have variance 0, where sqrt is infinitely steep:
 * their gradient is 0, as in PyTorch. */
static kn_status root_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_device *d = x->device;
    const float *y = kn_f32(node->out);
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    status = d->ops->unary_grad(d, KN_SQRT, x->numel, kn_f32(x), y, dy, dx);
    if (status == KN_OK) /* relu's gradient: 0 where y is */
        status = d->ops->unary_grad(d, KN_RELU, x->numel, NULL, y, dx, dx);
    return kn_grad_close(&slot, status);
}

static const kn_op op_root = {"std", root_backward, .reads = {[KN_NODE_OUT] = KN_D1}};

static kn_tensor *root(kn_ctx *ctx, kn_tensor *x) {
    kn_tensor *y = x != NULL ? kn_tensor_new(ctx, x->device, KN_F32, x->shape) : NULL;
    if (y == NULL)
        return NULL;
    kn_status status = x->device->ops->unary(x->device, KN_SQRT, x->numel, kn_f32(x), y->data);
    return kn_op_done(ctx, &op_root, status, y, &x, 1, NULL, 0);
}

/* From the ops above: its gradient follows. */
kn_tensor *kn_std(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts) {
    kn_reduction r = {.kind = KN_SUM};
    kn_shape shape;
    if (!kn_op_input(ctx, "std", KN_F32, x) ||
        !reduced_shape(ctx, "std", x, axes, opts.keep, &shape, &r))
        return NULL;
    kn_tensor *mean = kn_mean(ctx, x, axes, (kn_reduce_opts){.keep = true});
    kn_tensor *off = kn_sub(ctx, x, mean);
    kn_tensor *total = kn_sum(ctx, kn_mul(ctx, off, off), axes, opts);
    float divisor = (float)(opts.no_bias || r.count == 0 ? r.count : r.count - 1); /* 0 / 0: NaN */
    kn_tensor *one = kn_tensor_new(ctx, x->device, KN_F32, KN_SCALAR);
    if (one == NULL || x->device->ops->fill(x->device, 1, divisor, kn_f32_out(one)) != KN_OK)
        return NULL;
    return root(ctx, kn_div(ctx, total, one));
}

/* ---- argmax, gather ---- */

kn_tensor *kn_argmax(kn_ctx *ctx, kn_tensor *x) {
    if (!kn_op_input(ctx, "argmax", KN_F32, x))
        return NULL;
    char text[KN_SHAPE_TEXT];
    kn_shape shape = x->shape;
    int64_t cols = shape.rank > 0 ? shape.dim[shape.rank - 1] : 0;
    if (cols == 0) {
        kn_fail(ctx, KN_ERR_SHAPE, "argmax: %s has no element to choose",
                kn_shape_text(&x->shape, text));
        return NULL;
    }
    shape.dim[--shape.rank] = 0;
    kn_tensor *y = kn_tensor_new(ctx, x->device, KN_I32, shape);
    if (y == NULL ||
        x->device->ops->argmax(x->device, x->numel / cols, cols, kn_f32(x), y->data) != KN_OK)
        return NULL;
    return y;
}

static kn_status gather_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(&slot, x->device->ops->gather_grad(x->device, (const void *)node->args,
                                                            node->in[1]->data, dy, dx));
}

static const kn_op op_gather = {"gather", gather_backward, .reads = {[1] = KN_D1}};

kn_tensor *kn_gather(kn_ctx *ctx, kn_tensor *x, int axis, kn_tensor *index) {
    if (!kn_op_input(ctx, "gather", KN_F32, x) || !kn_op_second(ctx, "gather", KN_I32, index))
        return NULL;
    if (x->device != index->device) {
        kn_fail(ctx, KN_ERR_DEVICE, "gather: x is on %s, the index on %s",
                kn_device_name(x->device), kn_device_name(index->device));
        return NULL;
    }
    int rank = x->shape.rank, at = axis < 0 ? axis + rank : axis;
    bool fits = index->shape.rank == rank && at >= 0 && at < rank;
    for (int i = 0; fits && i < rank; i++)
        fits = i == at || index->shape.dim[i] <= x->shape.dim[i];
    if (!fits)
        return kn_op_mismatch(ctx, "gather", x, "does not fit index", index);
    kn_gather_dims g = {.x = x->shape, .index = index->shape, .axis = at};
    kn_tensor *y = kn_tensor_new(ctx, x->device, KN_F32, index->shape);
    if (y == NULL)
        return NULL;
    kn_status status = x->device->ops->gather(x->device, &g, kn_f32(x), index->data, kn_f32_out(y));
    return kn_op_done(ctx, &op_gather, status, y, (kn_tensor *[]){x, index}, 2, &g, sizeof g);
}
