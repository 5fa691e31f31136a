/* models.c - the chapter's network, and finding one by its name. */
#include "core/ctx.h"

#include <kiln/layers.h>

#include <string.h>

kn_module *kn_simple_cnn(kn_ctx *ctx, int classes) {
    kn_module *layer[] = {NULL, NULL, NULL, NULL, NULL, NULL};
    layer[0] = kn_conv_layer(ctx, 3, 16, (kn_conv_opts){.stride = 2});   /* [N,H/2,W/2,16] */
    layer[1] = kn_conv_layer(ctx, 16, 32, (kn_conv_opts){.stride = 2});  /* [N,H/4,W/4,32] */
    layer[2] = kn_conv_layer(ctx, 32, 64, (kn_conv_opts){.stride = 2});  /* [N,H/8,W/8,64] */
    layer[3] = kn_conv_layer(ctx, 64, 128, (kn_conv_opts){.stride = 2}); /* [N,H/16,W/16,128] */
    layer[4] = kn_adaptive_pool(ctx);                                    /* [N,128] */
    layer[5] = kn_linear(ctx, 128, classes);                             /* [N,classes] */
    return kn_sequential_of(ctx, layer, 6);
}

static kn_module *simple_cnn(kn_ctx *ctx, int depth, int classes) {
    (void)depth;
    return kn_simple_cnn(ctx, classes);
}

static kn_module *xresnet(kn_ctx *ctx, int depth, int classes) {
    return kn_xresnet(ctx, depth, classes, (kn_xresnet_opts){0});
}

static kn_module *xresnet_swish(kn_ctx *ctx, int depth, int classes) {
    return kn_xresnet(ctx, depth, classes, (kn_xresnet_opts){.act = KN_ACT_SWISH});
}

static kn_module *xresnet_mish(kn_ctx *ctx, int depth, int classes) {
    return kn_xresnet(ctx, depth, classes, (kn_xresnet_opts){.act = KN_ACT_MISH});
}

static const struct {
    const char *name;
    kn_module *(*make)(kn_ctx *ctx, int depth, int classes);
    int depth;
    const char *start[2]; /* of the later body and of the head, for kn_model_split */
} models[] = {{"simple_cnn", simple_cnn, 0, {"layers.2", "layers.5"}},
              {"resnet18", kn_resnet, 18, {"layer3", "fc"}},
              {"resnet34", kn_resnet, 34, {"layer3", "fc"}},
              {"resnet50", kn_resnet, 50, {"layer3", "fc"}},
              {"xresnet18", xresnet, 18, {"4", "11"}},
              {"xresnet34", xresnet, 34, {"4", "11"}},
              {"xresnet50", xresnet, 50, {"4", "11"}},
              {"xresnet18-swish", xresnet_swish, 18, {"4", "11"}},
              {"xresnet34-swish", xresnet_swish, 34, {"4", "11"}},
              {"xresnet50-swish", xresnet_swish, 50, {"4", "11"}},
              {"xresnet18-mish", xresnet_mish, 18, {"4", "11"}},
              {"xresnet34-mish", xresnet_mish, 34, {"4", "11"}},
              {"xresnet50-mish", xresnet_mish, 50, {"4", "11"}}};

const char *kn_model_name(int i) {
    return i >= 0 && (size_t)i < sizeof models / sizeof models[0] ? models[i].name : NULL;
}

kn_module *kn_model_new(kn_ctx *ctx, const char *name, int classes) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strcmp(models[i].name, name) == 0)
            return models[i].make(ctx, models[i].depth, classes);
    kn_fail(ctx, KN_ERR_ARG, "model %s: unknown", name);
    return NULL;
}

kn_module *kn_model_empty(kn_ctx *ctx, const char *name, int classes) {
    ctx->no_init = true;
    kn_module *model = kn_model_new(ctx, name, classes);
    ctx->no_init = false;
    return model;
}

kn_status kn_model_split(kn_module *model, const char *name) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strcmp(models[i].name, name) == 0)
            return kn_module_split(model, models[i].start, 2);
    return kn_fail(kn_module_ctx(model), KN_ERR_ARG, "model %s: unknown", name);
}
