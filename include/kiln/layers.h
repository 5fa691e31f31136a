/* layers.h - initialisation, layers and models. */
#ifndef KILN_LAYERS_H
#define KILN_LAYERS_H

#include <kiln/module.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- initialisation: a function of the context's seed and the order of the calls ---- */

/* Normal with standard deviation sqrt(2 / fan_in): He, Zhang, Ren, Sun, "Delving Deep into
 * Rectifiers" (2015); torch.nn.init.kaiming_normal_ with its defaults' gain for relu. fan_in is
 * weight.dim[1] times the kernel's area. */
KN_API kn_status kn_kaiming_normal(kn_ctx *ctx, kn_param *weight);

/* Normal with standard deviation sqrt(2 / (fan_in + fan_out)): Glorot, Bengio, "Understanding the
 * difficulty of training deep feedforward neural networks" (2010). */
KN_API kn_status kn_xavier_normal(kn_ctx *ctx, kn_param *weight);

/* ---- layers; each constructor returns NULL with the context's error set on failure ---- */

typedef struct kn_conv_opts {
    int stride; /* 0: 1 */
    int kernel; /* 0: 3; odd; padding is kernel / 2 */
    bool no_bias;
    bool no_act; /* no relu after it, and xavier instead of kaiming initialisation */
} kn_conv_opts;

/* The chapter's ConvLayer: convolution, then relu. "weight" [out,in,k,k], "bias" [out].
 * [N,H,W,in] -> [N,OH,OW,out]. */
KN_API kn_module *kn_conv_layer(kn_ctx *ctx, int in, int out, kn_conv_opts opts);

/* "weight" [out,in] (xavier), "bias" [out] (zeros). [N,in] -> [N,out]. */
KN_API kn_module *kn_linear(kn_ctx *ctx, int in, int out);

/* [N,H,W,C] -> [N,C], the mean over H and W. */
KN_API kn_module *kn_adaptive_pool(kn_ctx *ctx);

/* One after the other; children are named "layers.0", "layers.1", ... Takes ownership of the
 * modules, also on failure; a NULL among them (whose constructor failed) makes the result NULL. */
KN_API kn_module *kn_sequential_of(kn_ctx *ctx, kn_module *const *modules, int count);
/* The same as a list. C does not say in which order it makes them, and initial weights follow the
 * order: where that must not depend on the compiler, make the modules one by one. */
#define kn_sequential(ctx, ...)                                                                    \
    kn_sequential_of((ctx), (kn_module *[]){__VA_ARGS__},                                          \
                     (int)(sizeof((kn_module *[]){__VA_ARGS__}) / sizeof(kn_module *)))

/* ---- models ---- */

/* The chapter's: four stride-2 ConvLayers 3-16-32-64-128, AdaptivePool, Linear to the classes.
 * 98,730 numbers for 10 classes. [N,H,W,3] -> [N,classes]. */
KN_API kn_module *kn_simple_cnn(kn_ctx *ctx, int classes);

/* A model by its name on the command line ("simple_cnn"); KN_ERR_ARG when there is none such. */
KN_API kn_module *kn_model_new(kn_ctx *ctx, const char *name, int classes);

/* The i-th known name; NULL past the last. */
KN_API const char *kn_model_name(int i);

#ifdef __cplusplus
}
#endif
#endif
