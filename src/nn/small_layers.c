/* small_layers.c - layers without parameters: activations, pooling, dropout. */
#include "nn/parts.h"

#include <kiln/ops.h>

#include <assert.h>
#include <stdio.h>

/* ---- activation ---- */

typedef struct activation {
    kn_module base;
    kn_act act;
} activation;

static kn_tensor *act_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    return kn_act_apply(ctx, ((activation *)m)->act, x);
}

static const kn_module_class act_class[] = {
    [KN_ACT_RELU] = {.name = "ReLU", .forward = act_forward},
    [KN_ACT_SWISH] = {.name = "Swish", .forward = act_forward},
    [KN_ACT_MISH] = {.name = "Mish", .forward = act_forward},
    [KN_ACT_NONE] = {.name = "Identity", .forward = act_forward},
};

kn_module *kn_activation(kn_ctx *ctx, kn_act act) {
    assert(act >= KN_ACT_RELU && act <= KN_ACT_NONE);
    activation *a = kn_module_new(ctx, &act_class[act], sizeof *a);
    if (a == NULL)
        return NULL;
    a->act = act;
    return &a->base;
}

/* ---- pooling ---- */

typedef struct pool {
    kn_module base;
    kn_pool_opts opts;
} pool;

static kn_tensor *max_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    return kn_max_pool(ctx, x, ((pool *)m)->opts);
}

static kn_tensor *avg_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    return kn_avg_pool(ctx, x, ((pool *)m)->opts);
}

static void pool_describe(const kn_module *m, char *text, size_t size) {
    kn_pool_opts o = ((const pool *)m)->opts;
    snprintf(text, size, "kernel %d, stride %d", o.kernel, o.stride);
}

static const kn_module_class max_class = {.name = "MaxPool",
                                          .forward = max_forward,
                                          .describe = pool_describe},
                             avg_class = {.name = "AvgPool",
                                          .forward = avg_forward,
                                          .describe = pool_describe};

static kn_module *pool_layer(kn_ctx *ctx, const kn_module_class *cls, kn_pool_opts opts) {
    pool *p = kn_module_new(ctx, cls, sizeof *p);
    if (p == NULL)
        return NULL;
    p->opts = opts;
    p->opts.kernel = opts.kernel == 0 ? 2 : opts.kernel;
    p->opts.stride = opts.stride == 0 ? p->opts.kernel : opts.stride;
    return &p->base;
}

kn_module *kn_max_pool_layer(kn_ctx *ctx, kn_pool_opts opts) {
    return pool_layer(ctx, &max_class, opts);
}

kn_module *kn_avg_pool_layer(kn_ctx *ctx, kn_pool_opts opts) {
    return pool_layer(ctx, &avg_class, opts);
}

/* ---- dropout ---- */

typedef struct dropout {
    kn_module base;
    double p;
    uint16_t layer;
} dropout;

static kn_tensor *dropout_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    const dropout *d = (const dropout *)m;
    return kn_module_training(m) && d->p > 0 ? kn_dropout_op(ctx, x, d->p, d->layer, ctx->step) : x;
}

static void dropout_describe(const kn_module *m, char *text, size_t size) {
    snprintf(text, size, "p %g", ((const dropout *)m)->p);
}

static const kn_module_class dropout_class = {
    .name = "Dropout", .forward = dropout_forward, .describe = dropout_describe};

kn_module *kn_dropout(kn_ctx *ctx, double p) {
    if (!(p >= 0 && p < 1)) {
        kn_fail(ctx, KN_ERR_ARG, "dropout: probability %g, expected 0 or more, below 1", p);
        return NULL;
    }
    dropout *d = kn_module_new(ctx, &dropout_class, sizeof *d);
    if (d == NULL)
        return NULL;
    d->p = p;
    d->layer = ctx->dropouts++;
    return &d->base;
}
