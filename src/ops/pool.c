/* pool.c - maxima and means over windows. */
#include "ops/op.h"

enum { MAX_KERNEL = 15 }; /* a place in the window fits a byte */

static int64_t out_side(int64_t in, const kn_pool_dims *p, bool ceil) {
    int64_t room = in + 2 * p->padding - p->kernel;
    if (room < 0 && (!ceil || room + p->stride <= 0))
        return 0; /* rounded up it is a window that hangs over, if it is any */
    int64_t out = (room + (ceil ? p->stride - 1 : 0)) / p->stride + 1;
    /* A window that begins in the padding at the end would see nothing of the input. */
    return ceil && (out - 1) * p->stride >= in + p->padding ? out - 1 : out;
}

/* The shape rule. False with the error set. */
static bool pool_dims(kn_ctx *ctx, const char *op, const kn_tensor *x, kn_pool_opts opts,
                      kn_pool_dims *p) {
    char text[KN_SHAPE_TEXT];
    int kernel = opts.kernel == 0 ? 2 : opts.kernel,
        stride = opts.stride == 0 ? kernel : opts.stride;
    kn_shape_text(&x->shape, text);
    if (kernel < 1 || kernel > MAX_KERNEL || stride < 1 || opts.padding < 0 ||
        opts.padding > kernel / 2)
        return kn_fail(ctx, KN_ERR_ARG,
                       "%s: kernel %d, stride %d, padding %d; kernels are 1 to %d, strides 1 or "
                       "more, padding up to half the kernel",
                       op, kernel, stride, opts.padding, MAX_KERNEL) == KN_OK;
    if (x->shape.rank != 4)
        return kn_fail(ctx, KN_ERR_SHAPE, "%s: %s, expected [N,H,W,C]", op, text) == KN_OK;
    const int64_t *dim = x->shape.dim;
    *p = (kn_pool_dims){.n = dim[0],
                        .h = dim[1],
                        .w = dim[2],
                        .c = dim[3],
                        .kernel = kernel,
                        .stride = stride,
                        .padding = opts.padding};
    if (dim[1] < 1 || dim[2] < 1)
        return kn_fail(ctx, KN_ERR_SHAPE, "%s: %s is too small for a window of %d", op, text,
                       kernel) == KN_OK;
    p->out_h = out_side(p->h, p, opts.ceil);
    p->out_w = out_side(p->w, p, opts.ceil);
    if (p->out_h < 1 || p->out_w < 1)
        return kn_fail(ctx, KN_ERR_SHAPE, "%s: %s is too small for a window of %d", op, text,
                       kernel) == KN_OK;
    return true;
}

/* ---- max ---- */

typedef struct max_args {
    kn_pool_dims dims;
    kn_tensor *which; /* u8, of the result's shape: the place of each maximum */
} max_args;

static kn_status max_pool_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    const max_args *args = (const void *)node->args;
    kn_device *d = node->out->device;
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, node->in[0], &slot, &status);
    if (dx == NULL)
        return status;
    const uint8_t *which = args->which->data;
    status = kn_grad_close(&slot, node->out->dtype == KN_BF16
                                      ? d->bf16->max_pool_grad(d, &args->dims, which, dy, dx)
                                      : d->ops->max_pool_grad(d, &args->dims, which, dy, dx));
    kn_tensor_release(args->which);
    return status;
}

static const kn_op op_max_pool = {.name = "max_pool", .backward = max_pool_backward};

kn_tensor *kn_max_pool(kn_ctx *ctx, kn_tensor *x, kn_pool_opts opts) {
    max_args args = {0};
    if (!kn_op_image(ctx, "max_pool", x) || !pool_dims(ctx, "max_pool", x, opts, &args.dims))
        return NULL;
    const kn_pool_dims *p = &args.dims;
    kn_shape shape = KN_SHAPE(p->n, p->out_h, p->out_w, p->c);
    kn_tensor *y = kn_tensor_new(ctx, x->device, x->dtype, shape);
    args.which = y != NULL ? kn_tensor_new(ctx, x->device, KN_U8, shape) : NULL;
    if (args.which == NULL)
        return NULL;
    kn_device *d = x->device;
    kn_status status = x->dtype == KN_BF16
                           ? d->bf16->max_pool(d, p, x->data, y->data, args.which->data)
                           : d->ops->max_pool(d, p, x->data, y->data, args.which->data);
    return kn_op_done(ctx, &op_max_pool, status, y, &x, 1, &args, sizeof args);
}

/* ---- mean ---- */

static kn_status avg_pool_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_device *d = node->out->device;
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *dx = kn_grad_open(ctx, node->in[0], &slot, &status);
    if (dx == NULL)
        return status;
    const kn_pool_dims *p = (const void *)node->args;
    return kn_grad_close(&slot, node->out->dtype == KN_BF16 ? d->bf16->avg_pool_grad(d, p, dy, dx)
                                                            : d->ops->avg_pool_grad(d, p, dy, dx));
}

static const kn_op op_avg_pool = {.name = "avg_pool", .backward = avg_pool_backward};

kn_tensor *kn_avg_pool(kn_ctx *ctx, kn_tensor *x, kn_pool_opts opts) {
    kn_pool_dims p;
    if (!kn_op_image(ctx, "avg_pool", x) || !pool_dims(ctx, "avg_pool", x, opts, &p))
        return NULL;
    kn_tensor *y = kn_tensor_new(ctx, x->device, x->dtype, KN_SHAPE(p.n, p.out_h, p.out_w, p.c));
    if (y == NULL)
        return NULL;
    kn_device *d = x->device;
    kn_status status = x->dtype == KN_BF16 ? d->bf16->avg_pool(d, &p, x->data, y->data)
                                           : d->ops->avg_pool(d, &p, x->data, y->data);
    return kn_op_done(ctx, &op_avg_pool, status, y, &x, 1, &p, sizeof p);
}
