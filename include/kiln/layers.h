/* layers.h - initialisation, layers and models. */
#ifndef KILN_LAYERS_H
#define KILN_LAYERS_H

#include <kiln/module.h>
#include <kiln/ops.h>

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

KN_API kn_status kn_init_normal(kn_ctx *ctx, kn_param *p, double std);    /* with mean 0 */
KN_API kn_status kn_init_uniform(kn_ctx *ctx, kn_param *p, double bound); /* in [-bound, bound) */
KN_API kn_status kn_init_constant(kn_ctx *ctx, kn_param *p, double value);

/* How a layer's weight begins. Biases begin as zeros, but for KN_INIT_UNIFORM. */
typedef enum kn_init {
    KN_INIT_CHAPTER,     /* kaiming where relu follows, else xavier */
    KN_INIT_KAIMING,     /* normal, std sqrt(2 / fan_in): fastai's models */
    KN_INIT_KAIMING_OUT, /* normal, std sqrt(2 / fan_out): torchvision's convolutions */
    KN_INIT_UNIFORM      /* weight and bias in +-1 / sqrt(fan_in): PyTorch's own default */
} kn_init;

/* ---- layers; each constructor returns NULL with the context's error set on failure ---- */

typedef struct kn_conv_opts {
    int stride; /* 0: 1 */
    int kernel; /* 0: 3; odd; padding is kernel / 2 */
    bool no_bias;
    bool no_act; /* no relu after it, and xavier instead of kaiming initialisation */
    kn_init init;
} kn_conv_opts;

/* The chapter's ConvLayer: convolution, then relu. "weight" [out,in,k,k], "bias" [out].
 * [N,H,W,in] -> [N,OH,OW,out]. */
KN_API kn_module *kn_conv_layer(kn_ctx *ctx, int in, int out, kn_conv_opts opts);

/* "weight" [out,in] (xavier), "bias" [out] (zeros). [N,in] -> [N,out]. */
KN_API kn_module *kn_linear(kn_ctx *ctx, int in, int out);
/* The same with another beginning. */
KN_API kn_module *kn_linear_init(kn_ctx *ctx, int in, int out, kn_init init);

/* [N,H,W,C] -> [N,C], the mean over H and W. */
KN_API kn_module *kn_adaptive_pool(kn_ctx *ctx);

typedef struct kn_batch_norm_opts {
    double momentum; /* 0: 0.1, the batch's share in the running statistics */
    double eps;      /* 0: 1e-5 */
    bool zero;       /* the weight begins as 0, not 1 */
} kn_batch_norm_opts;

/* [...,C] -> [...,C]: kn_batch_norm_op; by the batch's statistics in training, by the running ones
 * otherwise. "weight" [C] (ones), "bias" [C] (zeros); buffers "running_mean" (zeros), "running_var"
 * (ones) [C] and "num_batches_tracked" i64 []. */
KN_API kn_module *kn_batch_norm(kn_ctx *ctx, int channels, kn_batch_norm_opts opts);

typedef enum kn_act { KN_ACT_RELU, KN_ACT_SWISH, KN_ACT_MISH, KN_ACT_NONE } kn_act;

KN_API kn_module *kn_activation(kn_ctx *ctx, kn_act act);            /* shapes stay */
KN_API kn_module *kn_max_pool_layer(kn_ctx *ctx, kn_pool_opts opts); /* shapes as kn_max_pool */
KN_API kn_module *kn_avg_pool_layer(kn_ctx *ctx, kn_pool_opts opts); /* shapes as kn_avg_pool */

/* kn_dropout_op in training, nothing otherwise. Which elements it drops is a function of the seed,
 * of the how-many-th dropout of the context it is, and of kn_ctx_set_step (the Learner's doing): a
 * loop of one's own must call that, or each step drops the same. */
KN_API kn_module *kn_dropout(kn_ctx *ctx, double p);

/* One after the other; children are named "layers.0", "layers.1", ... Takes ownership of the
 * modules, also on failure; a NULL among them (whose constructor failed) makes the result NULL. */
KN_API kn_module *kn_sequential_of(kn_ctx *ctx, kn_module *const *modules, int count);
/* The same as a list. C does not say in which order it makes them, and initial weights follow the
 * order: where that must not depend on the compiler, make the modules one by one. Not for C++,
 * which has no such arrays: kn_sequential_of. */
#define kn_sequential(ctx, ...)                                                                    \
    kn_sequential_of((ctx), (kn_module *[]){__VA_ARGS__},                                          \
                     (int)(sizeof((kn_module *[]){__VA_ARGS__}) / sizeof(kn_module *)))

/* ---- models ---- */

/* The chapter's: four stride-2 ConvLayers 3-16-32-64-128, AdaptivePool, Linear to the classes.
 * 98,730 numbers for 10 classes. [N,H,W,3] -> [N,classes]. */
KN_API kn_module *kn_simple_cnn(kn_ctx *ctx, int classes);

/* He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2015), with torchvision's
 * names, shapes and initialisation, so that its weights fit; depth is 18, 34 or 50 (with the stride
 * in the 3x3 convolution). resnet18 with 10 classes: 11,181,642 numbers in 62 parameters.
 * [N,H,W,3] -> [N,classes]. */
KN_API kn_module *kn_resnet(kn_ctx *ctx, int depth, int classes);

typedef struct kn_xresnet_opts {
    kn_act act;
    double dropout; /* probability in [0, 1), before the last layer; 0: none */
} kn_xresnet_opts;

/* fastai's xresnet: He et al., "Bag of Tricks for Image Classification" (2018): three 3x3
 * convolutions first, average pooling in the shortcuts, the last normalisation of each block begins
 * as zero. With fastai's names; depth is 18, 34 or 50. [N,H,W,3] -> [N,classes]. */
KN_API kn_module *kn_xresnet(kn_ctx *ctx, int depth, int classes, kn_xresnet_opts opts);

/* A model by its name on the command line ("simple_cnn", "resnet18", ...); KN_ERR_ARG when there is
 * none such. */
KN_API kn_module *kn_model_new(kn_ctx *ctx, const char *name, int classes);

/* The same without random weights, which are zeros, for who fills them from a file: drawing those
 * of the larger models takes a second. */
KN_API kn_module *kn_model_empty(kn_ctx *ctx, const char *name, int classes);

/* Parts such a model's parameters into three groups by depth: early body, late body, head. fastai's
 * for resnets and xresnets (the late body begins at layer3, and after the stem). */
KN_API kn_status kn_model_split(kn_module *model, const char *name);

/* The i-th known name; NULL past the last. */
KN_API const char *kn_model_name(int i);

#ifdef __cplusplus
}
#endif
#endif
