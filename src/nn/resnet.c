/* resnet.c - residual networks with torchvision's names: "conv1.weight", "bn1.bias",
 * "layer1.0.conv1.weight", "layer2.0.downsample.0.weight", "fc.weight". */
#include "nn/parts.h"

#include <kiln/ops.h>

#include <stdio.h>

enum { MAX_CONVS = 3 };

/* ---- a block ---- */

/* relu(path(x) + shortcut(x)), the path being convolutions with normalisation, and relu between. */
typedef struct block {
    kn_module base;
    kn_module *conv[MAX_CONVS], *norm[MAX_CONVS];
    int convs;
    kn_module *shortcut; /* NULL: x itself */
} block;

static kn_tensor *shortcut_of(const block *b, kn_tensor *x) {
    if (b->shortcut == NULL)
        return x;
    if (kn_module_hooked(b->shortcut))
        return kn_forward(b->shortcut, x);
    return kn_conv_norm_act(kn_module_child_at(b->shortcut, 0), kn_module_child_at(b->shortcut, 1),
                            KN_ACT_NONE, x, NULL);
}

static kn_tensor *block_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    block *b = (block *)m;
    (void)ctx;
    int last = b->convs - 1;
    kn_tensor *residual = shortcut_of(b, x), *y = x;
    if (residual == NULL)
        return NULL;
    for (int i = 0; i < last; i++)
        y = kn_conv_norm_act(b->conv[i], b->norm[i], KN_ACT_RELU, y, NULL);
    return kn_conv_norm_act(b->conv[last], b->norm[last], KN_ACT_RELU, y, residual);
}

static const kn_module_class basic_class = {.name = "BasicBlock", .forward = block_forward};
static const kn_module_class bottleneck_class = {.name = "Bottleneck", .forward = block_forward};

/* A bare convolution, as torchvision begins it. */
static kn_module *conv(kn_ctx *ctx, int in, int out, int kernel, int stride) {
    return kn_conv_layer(ctx, in, out,
                         (kn_conv_opts){.kernel = kernel,
                                        .stride = stride,
                                        .no_bias = true,
                                        .no_act = true,
                                        .init = KN_INIT_KAIMING_OUT});
}

/* Adds "convN" and "bnN". False with the error set. */
static bool add_conv(kn_ctx *ctx, block *b, int in, int out, int kernel, int stride) {
    char name[16];
    int i = b->convs++;
    snprintf(name, sizeof name, "conv%d", i + 1);
    b->conv[i] = kn_module_child(&b->base, name, conv(ctx, in, out, kernel, stride));
    snprintf(name, sizeof name, "bn%d", i + 1);
    b->norm[i] = kn_module_child(&b->base, name, kn_batch_norm(ctx, out, (kn_batch_norm_opts){0}));
    return b->conv[i] != NULL && b->norm[i] != NULL;
}

/* "downsample": a 1x1 convolution where the shapes differ. */
static bool add_shortcut(kn_ctx *ctx, block *b, int in, int out, int stride) {
    if (in == out && stride == 1)
        return true;
    kn_module *part[2] = {conv(ctx, in, out, 1, stride),
                          kn_batch_norm(ctx, out, (kn_batch_norm_opts){0})};
    b->shortcut = kn_module_child(&b->base, "downsample", kn_sequence(ctx, part, 2));
    return b->shortcut != NULL;
}

/* user: whether the blocks are bottlenecks, whose inner width is a quarter of out. */
static kn_module *make_block(kn_ctx *ctx, const void *user, int in, int out, int stride) {
    bool deep = *(const bool *)user;
    int width = deep ? out / 4 : out;
    block *b = kn_module_new(ctx, deep ? &bottleneck_class : &basic_class, sizeof *b);
    if (b == NULL)
        return NULL;
    bool good = deep ? add_conv(ctx, b, in, width, 1, 1) &&
                           add_conv(ctx, b, width, width, 3, stride) &&
                           add_conv(ctx, b, width, out, 1, 1)
                     : add_conv(ctx, b, in, width, 3, stride) && add_conv(ctx, b, width, out, 3, 1);
    return kn_made(&b->base, good && add_shortcut(ctx, b, in, out, stride));
}

kn_module *kn_stage(kn_ctx *ctx, kn_block_fn make, const void *user, int in, int out, int stride,
                    int count) {
    kn_module *blocks[16];
    for (int i = 0; i < count; i++)
        blocks[i] = make(ctx, user, i == 0 ? in : out, out, i == 0 ? stride : 1);
    return kn_sequence(ctx, blocks, count);
}

/* ---- the network ---- */

typedef struct resnet {
    kn_module base;
    kn_module *conv, *norm, *pool, *stage[4], *mean, *head;
} resnet;

static kn_tensor *resnet_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    resnet *r = (resnet *)m;
    size_t mark = kn_step_mark(ctx);
    x = kn_conv_norm_act(r->conv, r->norm, KN_ACT_RELU, x, NULL); /* [N,H/2,W/2,64] */
    x = kn_forward(r->pool, x);                                   /* [N,H/4,W/4,64] */
    for (int i = 0; i < 4; i++) {
        kn_step_release_since(ctx, mark, x); /* without a tape, what came before is done with */
        x = kn_forward(r->stage[i], x);      /* to [N,H/32,W/32,512], or 2048 with bottlenecks */
    }
    return kn_forward(r->head, kn_forward(r->mean, x));
}

static const kn_module_class resnet_class = {.name = "ResNet", .forward = resnet_forward};

/* Blocks of each stage. */
static const struct {
    int depth, count[4];
    bool deep;
} shapes[] = {{18, {2, 2, 2, 2}, false}, {34, {3, 4, 6, 3}, false}, {50, {3, 4, 6, 3}, true}};

kn_module *kn_resnet(kn_ctx *ctx, int depth, int classes) {
    size_t at = 0;
    while (at < KN_COUNT(shapes) && shapes[at].depth != depth)
        at++;
    if (at == KN_COUNT(shapes)) {
        kn_fail(ctx, KN_ERR_ARG, "resnet: depth %d, expected 18, 34 or 50", depth);
        return NULL;
    }
    resnet *r = kn_module_new(ctx, &resnet_class, sizeof *r);
    if (r == NULL)
        return NULL;
    kn_module *m = &r->base;
    bool deep = shapes[at].deep;
    r->conv = kn_module_child(m, "conv1", conv(ctx, 3, 64, 7, 2));
    r->norm = kn_module_child(m, "bn1", kn_batch_norm(ctx, 64, (kn_batch_norm_opts){0}));
    r->pool = kn_module_child(
        m, "maxpool",
        kn_max_pool_layer(ctx, (kn_pool_opts){.kernel = 3, .stride = 2, .padding = 1}));
    int in = 64;
    for (int i = 0; i < 4; i++) {
        char name[16];
        int out = (64 << i) * (deep ? 4 : 1);
        snprintf(name, sizeof name, "layer%d", i + 1);
        r->stage[i] = kn_module_child(
            m, name,
            kn_stage(ctx, make_block, &deep, in, out, i == 0 ? 1 : 2, shapes[at].count[i]));
        in = out;
    }
    r->mean = kn_module_child(m, "avgpool", kn_adaptive_pool(ctx));
    r->head = kn_module_child(m, "fc", kn_linear_init(ctx, in, classes, KN_INIT_UNIFORM));
    return kn_made(m, kn_ctx_status(ctx) == KN_OK && r->head != NULL);
}
