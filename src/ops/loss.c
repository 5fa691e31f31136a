/* loss.c - softmax in its forms, and the losses on class indexes. */
#include "ops/op.h"

/* Rows and columns of x seen as rows of logits; false with the error set. */
static bool rows_of(kn_ctx *ctx, const char *op, kn_tensor *x, int64_t *rows, int64_t *cols) {
    char text[KN_SHAPE_TEXT];
    if (!kn_op_input(ctx, op, KN_F32, x))
        return false;
    *cols = x->shape.rank > 0 ? x->shape.dim[x->shape.rank - 1] : 0;
    if (*cols == 0) {
        kn_fail(ctx, KN_ERR_SHAPE, "%s: %s has no last axis to work on", op,
                kn_shape_text(&x->shape, text));
        return false;
    }
    *rows = x->numel / *cols;
    return true;
}

/* ---- logsumexp ---- */

static kn_status logsumexp_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0], *y = node->out;
    int64_t cols = x->shape.dim[x->shape.rank - 1];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(&slot, x->device->ops->logsumexp_grad(x->device, x->numel / cols, cols,
                                                               kn_f32(x), kn_f32(y), dy, dx));
}

static const kn_op op_logsumexp = {"logsumexp", logsumexp_backward,
                                   .reads = {KN_D1, [KN_NODE_OUT] = KN_D1}};

kn_tensor *kn_logsumexp(kn_ctx *ctx, kn_tensor *x) {
    int64_t rows, cols;
    if (!rows_of(ctx, "logsumexp", x, &rows, &cols))
        return NULL;
    kn_shape shape = x->shape;
    shape.dim[--shape.rank] = 0;
    kn_tensor *y = kn_tensor_new(ctx, x->device, KN_F32, shape);
    if (y == NULL)
        return NULL;
    kn_status status = x->device->ops->logsumexp(x->device, rows, cols, kn_f32(x), kn_f32_out(y));
    return kn_op_done(ctx, &op_logsumexp, status, y, &x, 1, NULL, 0);
}

/* ---- softmax, log_softmax ---- */

static kn_status softmax_grad(kn_ctx *ctx, kn_node *node, bool log, const void *dy) {
    kn_tensor *x = node->in[0];
    int64_t cols = x->shape.dim[x->shape.rank - 1];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(&slot, x->device->ops->softmax_grad(x->device, x->numel / cols, cols, log,
                                                             kn_f32(node->out), dy, dx));
}

static kn_status softmax_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    return softmax_grad(ctx, node, false, dy);
}

static kn_status log_softmax_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    return softmax_grad(ctx, node, true, dy);
}

static const kn_op op_softmax = {"softmax", softmax_backward, .reads = {[KN_NODE_OUT] = KN_D1}},
                   op_log_softmax = {"log_softmax", log_softmax_backward,
                                     .reads = {[KN_NODE_OUT] = KN_D1}};

static kn_tensor *softmax(kn_ctx *ctx, const kn_op *op, bool log, kn_tensor *x) {
    int64_t rows, cols;
    if (!rows_of(ctx, op->name, x, &rows, &cols))
        return NULL;
    kn_tensor *y = kn_tensor_new(ctx, x->device, KN_F32, x->shape);
    if (y == NULL)
        return NULL;
    kn_status status =
        x->device->ops->softmax(x->device, rows, cols, log, kn_f32(x), kn_f32_out(y));
    return kn_op_done(ctx, op, status, y, &x, 1, NULL, 0);
}

kn_tensor *kn_softmax(kn_ctx *ctx, kn_tensor *x) {
    return softmax(ctx, &op_softmax, false, x);
}

kn_tensor *kn_log_softmax(kn_ctx *ctx, kn_tensor *x) {
    return softmax(ctx, &op_log_softmax, true, x);
}

/* ---- nll ---- */

/* x [N,C] f32 with target [N] i32 on one device; false with the error set. */
static bool loss_inputs(kn_ctx *ctx, const char *op, kn_tensor *x, kn_tensor *target) {
    if (!kn_op_input(ctx, op, KN_F32, x) || !kn_op_second(ctx, op, KN_I32, target))
        return false;
    if (x->shape.rank != 2 || target->shape.rank != 1 || x->numel == 0 ||
        x->shape.dim[0] != target->shape.dim[0])
        return kn_op_mismatch(ctx, op, x, "does not fit target", target) != NULL;
    if (x->device != target->device)
        return kn_fail(ctx, KN_ERR_DEVICE, "%s: the predictions are on %s, the target on %s", op,
                       kn_device_name(x->device), kn_device_name(target->device)) == KN_OK;
    return true;
}

static kn_status nll_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    kn_tensor *x = node->in[0];
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx == NULL)
        return status;
    return kn_grad_close(&slot,
                         x->device->ops->nll_grad(x->device, x->shape.dim[0], x->shape.dim[1],
                                                  node->in[1]->data, dy, dx));
}

static const kn_op op_nll = {"nll", nll_backward, .reads = {[1] = KN_D1}};

kn_tensor *kn_nll(kn_ctx *ctx, kn_tensor *log_probs, kn_tensor *target) {
    if (!loss_inputs(ctx, "nll", log_probs, target))
        return NULL;
    kn_device *d = log_probs->device;
    kn_tensor *y = kn_tensor_new(ctx, d, KN_F32, KN_SCALAR);
    if (y == NULL)
        return NULL;
    kn_status status = d->ops->nll(d, log_probs->shape.dim[0], log_probs->shape.dim[1],
                                   kn_f32(log_probs), target->data, kn_f32_out(y));
    return kn_op_done(ctx, &op_nll, status, y, (kn_tensor *[]){log_probs, target}, 2, NULL, 0);
}

/* ---- cross_entropy ---- */

static const char name[] = "cross_entropy";

typedef struct loss_args {
    kn_tensor *log_probs; /* kept from forward */
    kn_cross_entropy_opts opts;
} loss_args;

static kn_loss_terms terms_of(const kn_tensor *logits, const kn_tensor *target,
                              const kn_cross_entropy_opts *o) {
    return (kn_loss_terms){.rows = logits->shape.dim[0],
                           .cols = logits->shape.dim[1],
                           .smoothing = o->smoothing,
                           .class_weights = o->class_weights ? kn_f32(o->class_weights) : NULL,
                           .target = target->data,
                           .target2 = o->target2 ? o->target2->data : NULL,
                           .lambda = o->lambda ? kn_f32(o->lambda) : NULL};
}

/* One of the options: f32 or i32, of n numbers, beside the logits; false with the error set. */
static bool option_fits(kn_ctx *ctx, const char *what, kn_dtype dtype, const kn_tensor *logits,
                        int64_t n, kn_tensor *x) {
    char text[KN_SHAPE_TEXT], logits_text[KN_SHAPE_TEXT];
    if (x == NULL) {
        if (kn_ctx_status(ctx) == KN_OK)
            kn_fail(ctx, KN_ERR_STATE, "%s: %s is NULL, the other half of mixing is there", name,
                    what);
        return false;
    }
    if (!kn_op_input(ctx, name, dtype, x))
        return false;
    if (x->shape.rank != 1 || x->numel != n)
        return kn_fail(ctx, KN_ERR_SHAPE, "%s: %s does not fit %s %s", name,
                       kn_shape_text(&logits->shape, logits_text), what,
                       kn_shape_text(&x->shape, text)) == KN_OK;
    if (x->device != logits->device)
        return kn_fail(ctx, KN_ERR_DEVICE, "%s: the predictions are on %s, %s on %s", name,
                       kn_device_name(logits->device), what, kn_device_name(x->device)) == KN_OK;
    return true;
}

static bool all_inputs(kn_ctx *ctx, kn_tensor *logits, kn_tensor *target,
                       const kn_cross_entropy_opts *o) {
    if (!loss_inputs(ctx, name, logits, target))
        return false;
    if (!(o->smoothing >= 0 && o->smoothing <= 1))
        return kn_fail(ctx, KN_ERR_ARG, "%s: smoothing %g, expected 0 to 1", name, o->smoothing) ==
               KN_OK;
    int64_t rows = logits->shape.dim[0], cols = logits->shape.dim[1];
    bool mixed = o->target2 != NULL || o->lambda != NULL;
    return (o->class_weights == NULL ||
            option_fits(ctx, "class_weights", KN_F32, logits, cols, o->class_weights)) &&
           (!mixed || (option_fits(ctx, "target2", KN_I32, logits, rows, o->target2) &&
                       option_fits(ctx, "lambda", KN_F32, logits, rows, o->lambda)));
}

static kn_status cross_entropy_backward(kn_ctx *ctx, kn_node *node, const void *dy) {
    const loss_args *a = (const void *)node->args;
    kn_tensor *x = node->in[0];
    kn_loss_terms terms = terms_of(x, node->in[1], &a->opts);
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *dx = kn_grad_open(ctx, x, &slot, &status);
    if (dx != NULL)
        status = kn_grad_close(&slot, x->device->ops->cross_entropy_grad(
                                          x->device, &terms, kn_f32(a->log_probs), dy, dx));
    kn_tensor_release(a->log_probs);
    return status;
}

static const kn_op op_cross_entropy = {name, cross_entropy_backward,
                                       .reads = {[1] = KN_D1, KN_D1, KN_D1, KN_D1}};

kn_tensor *kn_cross_entropy_with(kn_ctx *ctx, kn_tensor *logits, kn_tensor *target,
                                 kn_cross_entropy_opts opts) {
    if (!all_inputs(ctx, logits, target, &opts))
        return NULL;
    kn_device *d = logits->device;
    loss_args args = {kn_tensor_new(ctx, d, KN_F32, logits->shape), opts};
    kn_tensor *y = kn_tensor_new(ctx, d, KN_F32, KN_SCALAR);
    if (args.log_probs == NULL || y == NULL)
        return NULL;
    kn_loss_terms terms = terms_of(logits, target, &opts);
    kn_status status =
        d->ops->cross_entropy(d, &terms, kn_f32(logits), kn_f32_out(args.log_probs), kn_f32_out(y));
    if (!kn_recording(ctx, &logits, 1)) {
        kn_tensor_release(args.log_probs);
        return status == KN_OK ? y : NULL;
    }
    kn_tensor *in[] = {logits, target, opts.class_weights, opts.target2, opts.lambda};
    return kn_op_done(ctx, &op_cross_entropy, status, y, in, KN_COUNT(in), &args, sizeof args);
}

kn_tensor *kn_cross_entropy(kn_ctx *ctx, kn_tensor *logits, kn_tensor *target) {
    return kn_cross_entropy_with(ctx, logits, target, (kn_cross_entropy_opts){0});
}
