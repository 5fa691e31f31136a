/* xresnet.c - fastai's residual network, under its names: "0.0.weight" for the first convolution,
 * "0.1.bias" for its normalisation, "4.0.convpath.0.0.weight", "5.0.idpath.1.0.weight", "11.weight"
 * for the last layer. */
#include "nn/parts.h"

#include <kiln/ops.h>

#include <assert.h>
#include <stdio.h>

enum { MAX_CONVS = 3, STEM = 3 };

/* What a network's blocks have in common. */
typedef struct recipe {
    kn_act act;
    int expansion; /* of a block's width in its result: 4 for bottlenecks */
} recipe;

/* ---- convolution, normalisation, activation ---- */

typedef struct conv_norm {
    kn_module base;
    kn_module *conv, *norm;
    kn_act act;
} conv_norm;

/* act(norm(conv(x)) + residual), act being the block's. */
static kn_tensor *conv_norm_add(conv_norm *c, kn_act act, kn_tensor *x, kn_tensor *residual) {
    return kn_conv_norm_act(c->conv, c->norm, act, x, residual);
}

static kn_tensor *conv_norm_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    (void)ctx;
    conv_norm *c = (conv_norm *)m;
    return conv_norm_add(c, c->act, x, NULL);
}

static const kn_module_class conv_norm_class = {.name = "ConvNorm", .forward = conv_norm_forward};

static kn_module *make_conv(kn_ctx *ctx, int in, int out, kn_conv_opts opts, kn_act act,
                            bool zero) {
    conv_norm *c = kn_module_new(ctx, &conv_norm_class, sizeof *c);
    if (c == NULL)
        return NULL;
    opts.no_bias = opts.no_act = true;
    opts.init = KN_INIT_KAIMING;
    c->act = act;
    c->conv = kn_module_child(&c->base, "0", kn_conv_layer(ctx, in, out, opts));
    c->norm =
        kn_module_child(&c->base, "1", kn_batch_norm(ctx, out, (kn_batch_norm_opts){.zero = zero}));
    return kn_made(&c->base, c->conv != NULL && c->norm != NULL);
}

/* ---- a block ---- */

typedef struct block {
    kn_module base;
    kn_act act;
    kn_module *path;     /* a sequence of conv_norm */
    kn_module *shortcut; /* NULL: x itself */
} block;

/* The path's last normalisation adds the shortcut and applies the activation, if nobody watches
 * what it gives alone. */
static kn_tensor *block_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    block *b = (block *)m;
    int last = kn_module_child_count(b->path) - 1;
    kn_module *end = kn_module_child_at(b->path, last);
    kn_tensor *residual = b->shortcut != NULL ? kn_forward(b->shortcut, x) : x, *y = x;
    if (residual == NULL)
        return NULL;
    if (kn_module_hooked(b->path) || kn_module_hooked(end))
        return kn_act_apply(ctx, b->act, kn_add(ctx, kn_forward(b->path, x), residual));
    for (int i = 0; i < last; i++)
        y = kn_forward(kn_module_child_at(b->path, i), y);
    return conv_norm_add((conv_norm *)end, b->act, y, residual);
}

static const kn_module_class block_class = {.name = "ResBlock", .forward = block_forward};

static kn_module *make_path(kn_ctx *ctx, const recipe *r, int in, int out, int stride) {
    int width = out / r->expansion;
    kn_conv_opts one = {.kernel = 1}, three = {.kernel = 3}, strided = {.stride = stride};
    kn_module *part[MAX_CONVS];
    if (r->expansion == 1) {
        part[0] = make_conv(ctx, in, width, strided, r->act, false);
        part[1] = make_conv(ctx, width, out, three, KN_ACT_NONE, true);
        return kn_sequence(ctx, part, 2);
    }
    part[0] = make_conv(ctx, in, width, one, r->act, false);
    part[1] = make_conv(ctx, width, width, strided, r->act, false);
    part[2] = make_conv(ctx, width, out, one, KN_ACT_NONE, true);
    return kn_sequence(ctx, part, 3);
}

/* "idpath": average pooling where the stride is, a 1x1 convolution where the width changes. */
static kn_module *make_shortcut(kn_ctx *ctx, int in, int out, int stride) {
    kn_module *part[2];
    int count = 0;
    if (stride > 1)
        part[count++] = kn_avg_pool_layer(ctx, (kn_pool_opts){.kernel = stride, .ceil = true});
    if (in != out)
        part[count++] = make_conv(ctx, in, out, (kn_conv_opts){.kernel = 1}, KN_ACT_NONE, false);
    return kn_sequence(ctx, part, count);
}

static kn_module *make_block(kn_ctx *ctx, const void *user, int in, int out, int stride) {
    const recipe *r = user;
    block *b = kn_module_new(ctx, &block_class, sizeof *b);
    if (b == NULL)
        return NULL;
    b->act = r->act;
    b->path = kn_module_child(&b->base, "convpath", make_path(ctx, r, in, out, stride));
    bool shortcut = in != out || stride > 1;
    if (shortcut)
        b->shortcut = kn_module_child(&b->base, "idpath", make_shortcut(ctx, in, out, stride));
    return kn_made(&b->base, b->path != NULL && (!shortcut || b->shortcut != NULL));
}

/* ---- the network ---- */

enum { STAGES = 4, PARTS = STEM + 1 + STAGES + 3 };

typedef struct xresnet {
    kn_module base;
    kn_module *part[PARTS];
} xresnet;

static kn_tensor *xresnet_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    xresnet *r = (xresnet *)m;
    size_t mark = kn_step_mark(ctx);
    for (int i = 0; i < PARTS; i++) {
        x = kn_forward(r->part[i], x);
        kn_step_release_since(ctx, mark, x); /* without a tape, layer i's input is done with */
    }
    return x;
}

static const kn_module_class xresnet_class = {.name = "XResNet", .forward = xresnet_forward};

static const struct {
    int depth, count[STAGES], expansion;
} shapes[] = {{18, {2, 2, 2, 2}, 1}, {34, {3, 4, 6, 3}, 1}, {50, {3, 4, 6, 3}, 4}};

/* The layers in order. fastai's sequence has a Flatten after the pooling, which ours does itself:
 * hence the gap in the names. */
static void make_parts(kn_ctx *ctx, size_t shape, int classes, kn_xresnet_opts opts,
                       kn_module **part) {
    static const int stem[STEM + 1] = {3, 32, 32, 64};
    recipe r = {.act = opts.act, .expansion = shapes[shape].expansion};
    int at = 0, in = stem[STEM];
    for (int i = 0; i < STEM; i++) /* [N,H/2,W/2,64] */
        part[at++] = make_conv(ctx, stem[i], stem[i + 1], (kn_conv_opts){.stride = i == 0 ? 2 : 1},
                               opts.act, false);
    part[at++] = kn_max_pool_layer(ctx, (kn_pool_opts){.kernel = 3, .stride = 2, .padding = 1});
    for (int i = 0; i < STAGES; i++) { /* to [N,H/32,W/32,512], or 2048 with bottlenecks */
        int out = (64 << i) * r.expansion;
        part[at++] = kn_stage(ctx, make_block, &r, in, out, i == 0 ? 1 : 2, shapes[shape].count[i]);
        in = out;
    }
    part[at++] = kn_adaptive_pool(ctx);
    part[at++] = kn_dropout(ctx, opts.dropout);
    part[at++] = kn_linear_init(ctx, in, classes, KN_INIT_KAIMING);
}

kn_module *kn_xresnet(kn_ctx *ctx, int depth, int classes, kn_xresnet_opts opts) {
    size_t shape = 0;
    while (shape < KN_COUNT(shapes) && shapes[shape].depth != depth)
        shape++;
    if (shape == KN_COUNT(shapes)) {
        kn_fail(ctx, KN_ERR_ARG, "xresnet: depth %d, expected 18, 34 or 50", depth);
        return NULL;
    }
    assert(opts.act >= KN_ACT_RELU && opts.act <= KN_ACT_NONE);
    kn_module *part[PARTS];
    xresnet *r = kn_module_new(ctx, &xresnet_class, sizeof *r);
    if (r == NULL)
        return NULL;
    make_parts(ctx, shape, classes, opts, part);
    bool good = true;
    for (int i = 0; i < PARTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i < PARTS - 2 ? i : i + 1);
        if (good)
            good = (r->part[i] = kn_module_child(&r->base, name, part[i])) != NULL;
        else
            kn_module_free(part[i]);
    }
    return kn_made(&r->base, good);
}
