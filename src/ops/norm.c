/* norm.c - batch normalisation, fused with the addition of a residual and relu; and dropout. */
#include "ops/op.h"

#include <assert.h>

/* ---- batch norm ---- */

typedef struct norm_args {
    kn_norm_dims dims;
    kn_tensor *mean, *inv_std; /* [C], of this batch or the running ones */
} norm_args;

static kn_status batch_norm_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    const norm_args *args = (const void *)node->args;
    kn_device *d = node->out->device;
    kn_tensor *x = node->in[0], *weight = node->in[1];
    kn_norm_state state = {.weight = kn_f32(weight),
                           .mean = kn_f32_out(args->mean),
                           .inv_std = kn_f32_out(args->inv_std)};
    kn_status status = KN_OK;
    kn_grad_slot slot[4];
    void *grad[4];
    for (int i = 0; i < 4; i++)
        grad[i] = kn_grad_open(ctx, node->in[i], &slot[i], &status);
    kn_norm_grads grads = {.x = grad[0], .weight = grad[1], .bias = grad[2], .residual = grad[3]};
    if (status == KN_OK)
        status = x->dtype == KN_BF16 ? d->bf16->batch_norm_grad(d, &args->dims, &state, x->data,
                                                                node->out->data, dy, &grads)
                                     : d->ops->batch_norm_grad(d, &args->dims, &state, x->data,
                                                               node->out->data, dy, &grads);
    for (int i = 0; i < 4; i++)
        if (grad[i] != NULL)
            status = kn_grad_close(&slot[i], status);
    return status;
}

/* By the running statistics or the batch's, without and with relu. */
enum { ALL = KN_D1 | KN_D2 | KN_D3 | KN_D4 };
static const kn_op op_batch_norm[2][2] = {
    {{"batch_norm", batch_norm_backward, .reads = {KN_D2, KN_D1}},
     {"batch_norm", batch_norm_backward, .reads = {KN_D2, KN_D1, [KN_NODE_OUT] = ALL}}},
    {{"batch_norm", batch_norm_backward, .reads = {KN_D1 | KN_D2, KN_D1}},
     {"batch_norm", batch_norm_backward, .reads = {KN_D1 | KN_D2, KN_D1, [KN_NODE_OUT] = ALL}}}};

static bool is_row(const kn_tensor *t, int64_t channels) {
    return t->shape.rank == 1 && t->shape.dim[0] == channels;
}

/* The shape rule. False with the error set. */
static bool norm_dims(kn_ctx *ctx, const kn_tensor *x, kn_tensor *const *rows, int count,
                      kn_batch_norm_op_opts opts, kn_norm_dims *n) {
    char text[KN_SHAPE_TEXT];
    int rank = x->shape.rank;
    kn_shape_text(&x->shape, text);
    if (rank < 2)
        return kn_fail(ctx, KN_ERR_SHAPE, "batch_norm: %s, expected [...,C]", text) == KN_OK;
    int64_t channels = x->shape.dim[rank - 1];
    *n = (kn_norm_dims){.rows = channels > 0 ? x->numel / channels : 0,
                        .channels = channels,
                        .batch = opts.training,
                        .relu = opts.relu,
                        .eps = opts.eps > 0 ? (float)opts.eps : 1e-5f,
                        .momentum = opts.momentum > 0 ? (float)opts.momentum : 0.1f};
    for (int i = 0; i < count; i++)
        if (!is_row(rows[i], channels))
            return kn_op_mismatch(ctx, "batch_norm", rows[i], "does not fit", x) != NULL;
    if (opts.residual != NULL && !kn_shape_equal(&opts.residual->shape, &x->shape))
        return kn_op_mismatch(ctx, "batch_norm", opts.residual, "is no residual for", x) != NULL;
    if (opts.training && n->rows < 2)
        return kn_fail(ctx, KN_ERR_SHAPE,
                       "batch_norm: %s has %lld values a channel; training needs 2 or more", text,
                       (long long)n->rows) == KN_OK;
    return true;
}

/* weight, bias and, where there are any, the running statistics into rows. False with the error
 * set. */
static bool norm_rows(kn_ctx *ctx, kn_tensor *weight, kn_tensor *bias, kn_batch_norm_op_opts opts,
                      kn_tensor **rows, int *count) {
    rows[0] = weight;
    rows[1] = bias;
    *count = 2;
    if (opts.training && opts.running_mean == NULL && opts.running_var == NULL)
        return true;
    if (opts.running_mean == NULL || opts.running_var == NULL)
        return kn_fail(ctx, KN_ERR_STATE, "batch_norm: there are no running statistics") == KN_OK;
    rows[2] = opts.running_mean;
    rows[3] = opts.running_var;
    *count = 4;
    return true;
}

static bool counter_fits(kn_ctx *ctx, const kn_tensor *batches, const kn_device *d) {
    if (batches == NULL ||
        (batches->dtype == KN_I64 && batches->numel == 1 && batches->device == d))
        return true;
    kn_fail(ctx, KN_ERR_SHAPE,
            "batch_norm: the counter of batches is %s, %lld of them, on %s; "
            "expected one i64 on x's device",
            kn_dtype_name(batches->dtype), (long long)batches->numel,
            kn_device_name(batches->device));
    return false;
}

static void touch(kn_tensor *t) {
    if (t != NULL)
        kn_tensor_touch(t);
}

enum { X_AND_RESIDUAL = 1 << 0 | 1 << 3 }; /* of in: activations */

bool kn_op_norm(kn_ctx *ctx, const kn_tensor *x, kn_tensor *weight, kn_tensor *bias,
                kn_batch_norm_op_opts opts, kn_norm_dims *dims, kn_norm_state *state,
                kn_tensor *room[2]) {
    kn_tensor *rows[4];
    int count = 0;
    if (!norm_rows(ctx, weight, bias, opts, rows, &count) ||
        !kn_op_inputs(ctx, "batch_norm", KN_F32, rows, count) ||
        !norm_dims(ctx, x, rows, count, opts, dims) || !counter_fits(ctx, opts.batches, x->device))
        return false;
    room[0] = kn_tensor_new(ctx, x->device, KN_F32, weight->shape);
    room[1] = room[0] != NULL ? kn_tensor_new(ctx, x->device, KN_F32, weight->shape) : NULL;
    if (room[1] == NULL)
        return false;
    *state = (kn_norm_state){.weight = kn_f32(weight),
                             .bias = kn_f32(bias),
                             .running_mean = count == 4 ? kn_f32_out(rows[2]) : NULL,
                             .running_var = count == 4 ? kn_f32_out(rows[3]) : NULL,
                             .batches = opts.batches != NULL ? opts.batches->data : NULL,
                             .mean = kn_f32_out(room[0]),
                             .inv_std = kn_f32_out(room[1])};
    return true;
}

kn_tensor *kn_batch_norm_op(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_tensor *bias,
                            kn_batch_norm_op_opts opts) {
    kn_tensor *in[4] = {x, weight, bias, opts.residual}, *room[2];
    int inputs = opts.residual != NULL ? 4 : 3;
    norm_args args;
    kn_norm_state state;
    assert(opts.residual != x || x == NULL); /* one gradient would overwrite the other */
    if (!kn_op_mixed(ctx, "batch_norm", in, inputs, X_AND_RESIDUAL) ||
        !kn_op_norm(ctx, x, weight, bias, opts, &args.dims, &state, room))
        return NULL;
    if (weight == bias) { /* one gradient would overwrite the other */
        kn_fail(ctx, KN_ERR_ARG, "batch_norm: weight and bias are one tensor");
        return NULL;
    }
    args.mean = room[0];
    args.inv_std = room[1];
    kn_device *d = x->device;
    kn_tensor *y = kn_tensor_new(ctx, d, x->dtype, x->shape);
    if (y == NULL)
        return NULL;
    const void *residual = opts.residual != NULL ? opts.residual->data : NULL;
    kn_status status = x->dtype == KN_BF16
                           ? d->bf16->batch_norm(d, &args.dims, &state, x->data, residual, y->data)
                           : d->ops->batch_norm(d, &args.dims, &state, x->data, residual, y->data);
    if (opts.training) {
        touch(opts.running_mean);
        touch(opts.running_var);
        touch(opts.batches);
    }
    return kn_op_done(ctx, &op_batch_norm[opts.training][opts.relu], status, y, in, inputs, &args,
                      sizeof args);
}

/* ---- dropout ---- */

typedef struct dropout_args {
    float keep;
    kn_dropout_place place;
} dropout_args;

/* Of x, or of a gradient of x's kind. */
static kn_status run_dropout(const dropout_args *args, const kn_tensor *x, const void *from,
                             void *to) {
    kn_device *d = x->device;
    return x->dtype == KN_BF16 ? d->bf16->dropout(d, x->numel, args->keep, args->place, from, to)
                               : d->ops->dropout(d, x->numel, args->keep, args->place, from, to);
}

static kn_status dropout_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    const dropout_args *args = (const void *)node->args;
    kn_tensor *x = node->in[0];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, x, &slot, &status);
    return dx == NULL ? status : kn_grad_close(&slot, run_dropout(args, x, dy, dx));
}

static const kn_op op_dropout = {.name = "dropout", .backward = dropout_backward};

kn_tensor *kn_dropout_op(kn_ctx *ctx, kn_tensor *x, double p, uint16_t layer, uint32_t step) {
    if (!kn_op_image(ctx, "dropout", x))
        return NULL;
    if (!(p >= 0 && p < 1)) {
        kn_fail(ctx, KN_ERR_ARG, "dropout: probability %g, expected 0 or more, below 1", p);
        return NULL;
    }
    dropout_args args = {.keep = (float)(1 - p),
                         .place = {.seed = ctx->seed, .layer = layer, .step = step}};
    kn_tensor *y = kn_tensor_new(ctx, x->device, x->dtype, x->shape);
    if (y == NULL)
        return NULL;
    kn_status status = run_dropout(&args, x, x->data, y->data);
    return kn_op_done(ctx, &op_dropout, status, y, &x, 1, &args, sizeof args);
}
