/* layers.c - the chapter's layers. */
#include "nn/init.h"
#include "nn/parts.h"

#include <kiln/ops.h>

#include <stdio.h>

kn_module *kn_made(kn_module *m, bool good) {
    if (good)
        return m;
    kn_module_free(m);
    return NULL;
}

/* ---- ConvLayer ---- */

typedef struct conv_layer {
    kn_module base;
    kn_param *weight, *bias;
    int stride, padding;
    bool act;
} conv_layer;

/* Who watches the module sees it step by step; the bits are the same. */
static kn_tensor *conv_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    conv_layer *c = (conv_layer *)m;
    bool fuse = c->act && !kn_module_hooked(m);
    kn_tensor *y = kn_conv2d(
        ctx, x, kn_param_value(c->weight), c->bias != NULL ? kn_param_value(c->bias) : NULL,
        (kn_conv2d_opts){.stride = c->stride, .padding = c->padding, .relu = fuse});
    return c->act && !fuse ? kn_relu(ctx, y) : y;
}

static const kn_module_class conv_class;

kn_tensor *kn_bare_conv(const kn_module *m, kn_conv2d_opts *opts) {
    const conv_layer *c = (const conv_layer *)m;
    if (m->cls != &conv_class || c->bias != NULL || c->act || kn_module_hooked(m))
        return NULL;
    *opts = (kn_conv2d_opts){.stride = c->stride, .padding = c->padding};
    return kn_param_value(c->weight);
}

static void conv_describe(const kn_module *m, char *text, size_t size) {
    const conv_layer *c = (const conv_layer *)m;
    const int64_t *w = c->weight->value.shape.dim;
    snprintf(text, size, "%lld -> %lld, kernel %lld, stride %d%s%s", (long long)w[1],
             (long long)w[0], (long long)w[2], c->stride, c->bias == NULL ? ", no bias" : "",
             c->act ? ", relu" : "");
}

static int64_t conv_macs(const kn_module *m, const kn_shape *x, const kn_shape *y) {
    const conv_layer *c = (const conv_layer *)m;
    (void)x;
    return kn_shape_numel(y) * (c->weight->value.numel / c->weight->value.shape.dim[0]);
}

static const kn_module_class conv_class = {
    .name = "ConvLayer", .forward = conv_forward, .describe = conv_describe, .macs = conv_macs};

kn_module *kn_conv_layer(kn_ctx *ctx, int in, int out, kn_conv_opts opts) {
    int kernel = opts.kernel == 0 ? 3 : opts.kernel, stride = opts.stride == 0 ? 1 : opts.stride;
    if (in < 1 || out < 1 || kernel < 1 || kernel > 7 || kernel % 2 == 0 || stride < 1) {
        kn_fail(ctx, KN_ERR_ARG,
                "conv_layer: %d -> %d, kernel %d, stride %d; kernels are 1, 3, 5 or 7", in, out,
                kernel, stride);
        return NULL;
    }
    conv_layer *c = kn_module_new(ctx, &conv_class, sizeof *c);
    if (c == NULL)
        return NULL;
    c->stride = stride;
    c->padding = kernel / 2;
    c->act = !opts.no_act;
    c->weight = kn_module_param(&c->base, "weight", KN_SHAPE(out, in, kernel, kernel));
    if (!opts.no_bias)
        c->bias = kn_module_param(&c->base, "bias", KN_SHAPE(out));
    bool good = c->weight != NULL && (opts.no_bias || c->bias != NULL);
    return kn_made(&c->base,
                   good && kn_init_layer(ctx, opts.init, c->act, c->weight, c->bias) == KN_OK);
}

/* ---- Linear ---- */

typedef struct linear {
    kn_module base;
    kn_param *weight, *bias;
} linear;

static kn_tensor *linear_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    linear *l = (linear *)m;
    if (x != NULL && x->dtype == KN_BF16) /* the end of the activations */
        x = kn_cast(ctx, x, KN_F32);
    return kn_linear_op(ctx, x, kn_param_value(l->weight), kn_param_value(l->bias));
}

static void linear_describe(const kn_module *m, char *text, size_t size) {
    const int64_t *w = ((const linear *)m)->weight->value.shape.dim;
    snprintf(text, size, "%lld -> %lld", (long long)w[1], (long long)w[0]);
}

static int64_t linear_macs(const kn_module *m, const kn_shape *x, const kn_shape *y) {
    (void)x;
    return kn_shape_numel(y) * ((const linear *)m)->weight->value.shape.dim[1];
}

static const kn_module_class linear_class = {
    .name = "Linear", .forward = linear_forward, .describe = linear_describe, .macs = linear_macs};

kn_module *kn_linear_init(kn_ctx *ctx, int in, int out, kn_init init) {
    if (in < 1 || out < 1) {
        kn_fail(ctx, KN_ERR_ARG, "linear: %d -> %d", in, out);
        return NULL;
    }
    linear *l = kn_module_new(ctx, &linear_class, sizeof *l);
    if (l == NULL)
        return NULL;
    l->weight = kn_module_param(&l->base, "weight", KN_SHAPE(out, in));
    l->bias = kn_module_param(&l->base, "bias", KN_SHAPE(out));
    bool good = l->weight != NULL && l->bias != NULL;
    return kn_made(&l->base, good && kn_init_layer(ctx, init, false, l->weight, l->bias) == KN_OK);
}

kn_module *kn_linear(kn_ctx *ctx, int in, int out) {
    return kn_linear_init(ctx, in, out, KN_INIT_CHAPTER);
}

/* ---- AdaptivePool ---- */

static kn_tensor *pool_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    (void)m;
    return kn_mean_hw(ctx, x);
}

static const kn_module_class pool_class = {.name = "AdaptivePool", .forward = pool_forward};

kn_module *kn_adaptive_pool(kn_ctx *ctx) {
    return kn_module_new(ctx, &pool_class, sizeof(kn_module));
}

/* ---- Sequential ---- */

static kn_tensor *sequential_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    size_t mark = kn_step_mark(ctx);
    for (int i = 0; i < kn_module_child_count(m); i++) {
        x = kn_forward(kn_module_child_at(m, i), x);
        kn_step_release_since(ctx, mark, x); /* without a tape, layer i's input is done with */
    }
    return x;
}

static const kn_module_class sequential_class = {.name = "Sequential",
                                                 .forward = sequential_forward};

static kn_module *sequence(kn_ctx *ctx, const char *prefix, kn_module *const *modules, int count) {
    kn_module *m = kn_module_new(ctx, &sequential_class, sizeof *m);
    bool good = m != NULL;
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d", prefix, i);
        if (good)
            good = kn_module_child(m, name, modules[i]) != NULL;
        else
            kn_module_free(modules[i]);
    }
    return kn_made(m, good);
}

kn_module *kn_sequential_of(kn_ctx *ctx, kn_module *const *modules, int count) {
    return sequence(ctx, "layers.", modules, count);
}

kn_module *kn_sequence(kn_ctx *ctx, kn_module *const *modules, int count) {
    return sequence(ctx, "", modules, count);
}
