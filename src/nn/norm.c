/* norm.c - batch normalisation as a layer, and fused with what follows it in a block. */
#include "nn/parts.h"

#include <kiln/ops.h>

#include <stdio.h>

typedef struct batch_norm {
    kn_module base;
    kn_param *weight, *bias;
    kn_tensor *mean, *var, *batches;
    double momentum, eps;
} batch_norm;

static kn_batch_norm_op_opts opts_of(const batch_norm *b, kn_tensor *residual, bool relu) {
    return (kn_batch_norm_op_opts){.running_mean = b->mean,
                                   .running_var = b->var,
                                   .batches = b->batches,
                                   .training = kn_module_training(&b->base),
                                   .momentum = b->momentum,
                                   .eps = b->eps,
                                   .relu = relu,
                                   .residual = residual};
}

static kn_tensor *norm_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    batch_norm *b = (batch_norm *)m;
    return kn_batch_norm_op(ctx, x, kn_param_value(b->weight), kn_param_value(b->bias),
                            opts_of(b, NULL, false));
}

static void norm_describe(const kn_module *m, char *text, size_t size) {
    snprintf(text, size, "%lld", (long long)((const batch_norm *)m)->weight->value.numel);
}

static const kn_module_class norm_class = {
    .name = "BatchNorm", .forward = norm_forward, .describe = norm_describe, .norm = true};

kn_module *kn_batch_norm(kn_ctx *ctx, int channels, kn_batch_norm_opts opts) {
    if (channels < 1) {
        kn_fail(ctx, KN_ERR_ARG, "batch_norm: %d channels", channels);
        return NULL;
    }
    batch_norm *b = kn_module_new(ctx, &norm_class, sizeof *b);
    if (b == NULL)
        return NULL;
    kn_module *m = &b->base;
    b->momentum = opts.momentum;
    b->eps = opts.eps;
    b->weight = kn_module_param(m, "weight", KN_SHAPE(channels));
    b->bias = kn_module_param(m, "bias", KN_SHAPE(channels));
    b->mean = kn_module_buffer(m, "running_mean", KN_F32, KN_SHAPE(channels));
    b->var = kn_module_buffer(m, "running_var", KN_F32, KN_SHAPE(channels));
    b->batches = kn_module_buffer(m, "num_batches_tracked", KN_I64, KN_SCALAR);
    bool good = b->weight != NULL && b->bias != NULL && b->mean != NULL && b->var != NULL &&
                b->batches != NULL;
    if (good && !opts.zero)
        good = kn_init_constant(ctx, b->weight, 1) == KN_OK;
    if (good) {
        kn_device *d = b->var->device;
        kn_tensor_touch(b->var);
        good = d->ops->fill(d, channels, 1, kn_f32_out(b->var)) == KN_OK;
    }
    return kn_made(m, good);
}

kn_tensor *kn_act_apply(kn_ctx *ctx, kn_act act, kn_tensor *x) {
    switch (act) {
    case KN_ACT_RELU:
        return kn_relu(ctx, x);
    case KN_ACT_SWISH:
        return kn_swish(ctx, x);
    case KN_ACT_MISH:
        return kn_mish(ctx, x);
    case KN_ACT_NONE:
        break;
    }
    return x;
}

kn_tensor *kn_conv_norm_act(kn_module *conv, kn_module *norm, kn_act act, kn_tensor *x,
                            kn_tensor *residual) {
    kn_ctx *ctx = norm->state->ctx;
    batch_norm *b = (batch_norm *)norm;
    kn_conv2d_opts how;
    kn_tensor *weight = kn_bare_conv(conv, &how);
    if (norm->cls != &norm_class || kn_module_hooked(norm)) {
        kn_tensor *y = kn_forward(norm, kn_forward(conv, x));
        return kn_act_apply(ctx, act, residual != NULL ? kn_add(ctx, y, residual) : y);
    }
    bool relu = act == KN_ACT_RELU;
    kn_tensor *gamma = kn_param_value(b->weight), *beta = kn_param_value(b->bias);
    kn_batch_norm_op_opts opts = opts_of(b, residual, relu);
    kn_tensor *y = weight != NULL ? kn_conv2d_norm(ctx, x, weight, how, gamma, beta, opts)
                                  : kn_batch_norm_op(ctx, kn_forward(conv, x), gamma, beta, opts);
    return kn_act_apply(ctx, relu ? KN_ACT_NONE : act, y);
}
