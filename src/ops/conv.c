/* conv.c - two-dimensional convolution, fused with bias and relu, and the pooling over whole maps.
 */
#include "ops/op.h"

typedef struct conv_args {
    kn_conv_dims dims;
    bool relu;
} conv_args;

kn_weights kn_op_weights(const kn_tensor *w) {
    return (kn_weights){.data = kn_f32(w), .id = w->id, .version = kn_tensor_version(w)};
}

static kn_status run_forward(const kn_conv_dims *c, const kn_tensor *x, const kn_tensor *w,
                             const float *bias, bool relu, kn_tensor *y) {
    kn_device *d = x->device;
    return x->dtype == KN_BF16 ? d->bf16->conv(d, c, x->data, kn_op_weights(w), bias, relu, y->data)
                               : d->ops->conv(d, c, x->data, kn_op_weights(w), bias, relu, y->data);
}

static kn_status run_grad_data(const kn_conv_dims *c, const kn_tensor *x, const kn_tensor *w,
                               const void *dy, void *dx) {
    kn_device *d = x->device;
    return x->dtype == KN_BF16 ? d->bf16->conv_grad_data(d, c, dy, kn_op_weights(w), dx)
                               : d->ops->conv_grad_data(d, c, dy, kn_op_weights(w), dx);
}

static kn_status run_grad_weights(const kn_conv_dims *c, const kn_tensor *x, const void *dy,
                                  float *dw, float *db) {
    kn_device *d = x->device;
    return x->dtype == KN_BF16 ? d->bf16->conv_grad_weights(d, c, x->data, dy, dw, db)
                               : d->ops->conv_grad_weights(d, c, x->data, dy, dw, db);
}

static kn_status conv_backward_from(kn_ctx *ctx, kn_node *node, const void *dy) {
    const conv_args *args = (const void *)node->args;
    kn_tensor *x = node->in[0], *w = node->in[1], *bias = node->in[2];
    kn_status status = KN_OK;
    kn_grad_slot x_slot, w_slot, b_slot;
    void *dx = kn_grad_open(ctx, x, &x_slot, &status);
    if (dx != NULL)
        status = kn_grad_close(&x_slot, run_grad_data(&args->dims, x, w, dy, dx));
    float *dw = kn_grad_open(ctx, w, &w_slot, &status);
    float *db = kn_grad_open(ctx, bias, &b_slot, &status);
    kn_storage *unwanted = NULL; /* the kernel writes dw even when only the bias is trained */
    if (dw == NULL && db != NULL) {
        unwanted = kn_storage_get(ctx, x->device, (size_t)w->numel * sizeof(float));
        status = unwanted == NULL ? kn_ctx_status(ctx) : status;
    }
    if (status == KN_OK && (dw != NULL || db != NULL))
        status = run_grad_weights(&args->dims, x, dy, dw != NULL ? dw : unwanted->data, db);
    kn_storage_drop(unwanted);
    if (dw != NULL)
        status = kn_grad_close(&w_slot, status);
    if (db != NULL)
        status = kn_grad_close(&b_slot, status);
    return status;
}

static kn_status conv_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    const conv_args *args = (const void *)node->args;
    kn_tensor *y = node->out;
    kn_device *d = y->device;
    if (!args->relu)
        return conv_backward_from(ctx, node, dy);
    /* Nobody reads the gradient of a result after this, unless it is kept: masked in place. */
    kn_storage *room = NULL;
    void *masked = y->grad->data;
    if (y->kept) {
        room = kn_storage_get(ctx, d, kn_tensor_bytes(y));
        if (room == NULL)
            return kn_ctx_status(ctx);
        masked = room->data;
    }
    kn_status status = y->dtype == KN_BF16
                           ? d->bf16->unary_grad(d, KN_RELU, y->numel, NULL, y->data, dy, masked)
                           : d->ops->unary_grad(d, KN_RELU, y->numel, NULL, y->data, dy, masked);
    if (status == KN_OK)
        status = conv_backward_from(ctx, node, masked);
    kn_storage_drop(room);
    return status;
}

/* Without and with relu. */
static const kn_op op_conv2d[2] = {
    {"conv2d", conv_backward, .reads = {KN_D2, KN_D1}},
    {"conv2d", conv_backward, .reads = {KN_D2, KN_D1, [KN_NODE_OUT] = KN_D1 | KN_D2 | KN_D3}}};

bool kn_op_conv_dims(kn_ctx *ctx, const kn_tensor *x, const kn_tensor *w, const kn_tensor *bias,
                     kn_conv2d_opts opts, kn_conv_dims *c) {
    char a[KN_SHAPE_TEXT], b[KN_SHAPE_TEXT];
    kn_shape_text(&x->shape, a);
    kn_shape_text(&w->shape, b);
    if (x->shape.rank != 4 || w->shape.rank != 4)
        return kn_fail(ctx, KN_ERR_SHAPE,
                       "conv2d: input %s, weight %s, expected [N,H,W,I] and [O,I,KH,KW]", a,
                       b) == KN_OK;
    const int64_t *xd = x->shape.dim, *wd = w->shape.dim;
    int64_t stride = opts.stride == 0 ? 1 : opts.stride, padding = opts.padding;
    *c = (kn_conv_dims){.n = xd[0],
                        .h = xd[1],
                        .w = xd[2],
                        .in = xd[3],
                        .out = wd[0],
                        .kernel_h = wd[2],
                        .kernel_w = wd[3],
                        .stride = stride,
                        .padding = padding};
    if (wd[1] != xd[3])
        return kn_fail(ctx, KN_ERR_SHAPE, "conv2d: input %s, weight %s expects %lld channels", a, b,
                       (long long)wd[1]) == KN_OK;
    if (stride < 1 || opts.padding < 0 || wd[2] < 1 || wd[2] > KN_MOST_KERNEL || wd[3] < 1 ||
        wd[3] > KN_MOST_KERNEL)
        return kn_fail(ctx, KN_ERR_ARG,
                       "conv2d: kernel %lldx%lld, stride %d, padding %d; kernels are 1 to 7, "
                       "strides 1 or more",
                       (long long)wd[2], (long long)wd[3], opts.stride, opts.padding) == KN_OK;
    int64_t h = xd[1] + 2 * padding - wd[2], width = xd[2] + 2 * padding - wd[3];
    if (xd[0] < 1 || xd[3] < 1 || wd[0] < 1 || h < 0 || width < 0)
        return kn_fail(ctx, KN_ERR_SHAPE, "conv2d: input %s is too small for weight %s", a, b) ==
               KN_OK;
    c->out_h = h / stride + 1;
    c->out_w = width / stride + 1;
    if (bias != NULL && (bias->shape.rank != 1 || bias->shape.dim[0] != wd[0]))
        return kn_op_mismatch(ctx, "conv2d", bias, "is no bias for weight", w) != NULL;
    return true;
}

kn_tensor *kn_conv2d(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_tensor *bias,
                     kn_conv2d_opts opts) {
    kn_tensor *in[3] = {x, weight, bias};
    int count = bias != NULL ? 3 : 2;
    conv_args args = {.relu = opts.relu};
    if (!kn_op_mixed(ctx, "conv2d", in, count, 1) ||
        !kn_op_conv_dims(ctx, x, weight, bias, opts, &args.dims))
        return NULL;
    const kn_conv_dims *c = &args.dims;
    kn_tensor *y =
        kn_tensor_new(ctx, x->device, x->dtype, KN_SHAPE(c->n, c->out_h, c->out_w, c->out));
    if (y == NULL)
        return NULL;
    kn_status status = run_forward(c, x, weight, bias != NULL ? kn_f32(bias) : NULL, opts.relu, y);
    return kn_op_done(ctx, &op_conv2d[opts.relu], status, y, in, count, &args, sizeof args);
}

/* ---- mean over H and W ---- */

static kn_status mean_hw_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_device *d = x->device;
    const int64_t *dim = x->shape.dim;
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    int64_t pixels = dim[1] * dim[2];
    return kn_grad_close(&slot, x->dtype == KN_BF16
                                    ? d->bf16->mean_hw_grad(d, dim[0], pixels, dim[3], dy, dx)
                                    : d->ops->mean_hw_grad(d, dim[0], pixels, dim[3], dy, dx));
}

static const kn_op op_mean_hw = {.name = "mean_hw", .backward = mean_hw_backward};

kn_tensor *kn_mean_hw(kn_ctx *ctx, kn_tensor *x) {
    if (!kn_op_image(ctx, "mean_hw", x))
        return NULL;
    char text[KN_SHAPE_TEXT];
    const int64_t *dim = x->shape.dim;
    if (x->shape.rank != 4 || dim[1] * dim[2] == 0) {
        kn_fail(ctx, KN_ERR_SHAPE, "mean_hw: %s, expected [N,H,W,C]",
                kn_shape_text(&x->shape, text));
        return NULL;
    }
    kn_device *d = x->device;
    kn_tensor *y = kn_tensor_new(ctx, d, KN_F32, KN_SHAPE(dim[0], dim[3]));
    if (y == NULL)
        return NULL;
    int64_t pixels = dim[1] * dim[2];
    kn_status status = x->dtype == KN_BF16
                           ? d->bf16->mean_hw(d, dim[0], pixels, dim[3], x->data, y->data)
                           : d->ops->mean_hw(d, dim[0], pixels, dim[3], x->data, y->data);
    return kn_op_done(ctx, &op_mean_hw, status, y, &x, 1, NULL, 0);
}
