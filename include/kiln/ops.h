/* ops.h - differentiable functions. Each is defined by its PyTorch namesake.
 *
 * An op takes tensors of one device, returns a new step tensor and, when an input wants a gradient,
 * records itself on the tape. On a shape, type or memory error the context holds the reason and the
 * result is NULL; an op given NULL returns NULL and leaves the first error in place. f32 unless
 * said; activations may also be bf16 in add (without broadcasting), neg, exp, log, sqrt, relu,
 * swish, mish, reshape, permute, conv2d, batch_norm, dropout and the pools, and in mean_hw, whose
 * result is f32: for others kn_cast comes first. */
#ifndef KILN_OPS_H
#define KILN_OPS_H

#include <kiln/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- elementwise; two operands broadcast as in NumPy ---- */
KN_API kn_tensor *kn_add(kn_ctx *ctx, kn_tensor *a, kn_tensor *b);
KN_API kn_tensor *kn_sub(kn_ctx *ctx, kn_tensor *a, kn_tensor *b);
KN_API kn_tensor *kn_mul(kn_ctx *ctx, kn_tensor *a, kn_tensor *b);
KN_API kn_tensor *kn_div(kn_ctx *ctx, kn_tensor *a, kn_tensor *b);
KN_API kn_tensor *kn_eq(kn_ctx *ctx, kn_tensor *a,
                        kn_tensor *b); /* f32 or i32 -> u8 0/1; no gradient */
KN_API kn_tensor *kn_neg(kn_ctx *ctx, kn_tensor *x);
KN_API kn_tensor *kn_exp(kn_ctx *ctx, kn_tensor *x);
KN_API kn_tensor *kn_log(kn_ctx *ctx, kn_tensor *x);
KN_API kn_tensor *kn_sqrt(kn_ctx *ctx, kn_tensor *x);
KN_API kn_tensor *kn_relu(kn_ctx *ctx, kn_tensor *x); /* gradient 0 at 0 */
/* x * sigmoid(x): Ramachandran, Zoph, Le, "Searching for Activation Functions" (2017); PyTorch's
 * silu. */
KN_API kn_tensor *kn_swish(kn_ctx *ctx, kn_tensor *x);
/* x * tanh(log(1 + exp(x))): Misra, "Mish" (2019). */
KN_API kn_tensor *kn_mish(kn_ctx *ctx, kn_tensor *x);

/* ---- shape and type ---- */
KN_API kn_tensor *kn_reshape(kn_ctx *ctx, kn_tensor *x,
                             kn_shape shape); /* one dim may be -1; shares */
KN_API kn_tensor *kn_permute(kn_ctx *ctx, kn_tensor *x, const int *axes); /* rank entries; copies */
/* Differentiable between f32 and bf16 (round to nearest even). f32 to an integer type truncates. */
KN_API kn_tensor *kn_cast(kn_ctx *ctx, kn_tensor *x, kn_dtype dtype);

/* ---- reductions ---- */

/* The axes to reduce: bit i set reduces axis i. KN_ALL reduces all. */
typedef uint32_t kn_axes;
#define KN_AXIS(i) ((kn_axes)1u << (i))
#define KN_ALL     ((kn_axes)0xff)

typedef struct kn_reduce_opts {
    bool keep;    /* reduced axes stay, with length 1 */
    bool no_bias; /* kn_std: divide by n, not by n - 1 */
} kn_reduce_opts;

KN_API kn_tensor *kn_sum(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts);
KN_API kn_tensor *kn_mean(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts);
/* torch.amax: the gradient is shared equally among equal maxima. NaN if any element is NaN. */
KN_API kn_tensor *kn_max(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts);
KN_API kn_tensor *kn_std(kn_ctx *ctx, kn_tensor *x, kn_axes axes, kn_reduce_opts opts);
/* [...,C] -> [...] i32: the first largest of the last axis. No gradient. */
KN_API kn_tensor *kn_argmax(kn_ctx *ctx, kn_tensor *x);

/* torch.gather: out[i][j] = x[i][index[i][j]] for axis 1, and so on. index is i32 of x's rank, no
 * larger than x off the axis; out has its shape. An index outside x is KN_ERR_ARG. */
KN_API kn_tensor *kn_gather(kn_ctx *ctx, kn_tensor *x, int axis, kn_tensor *index);

/* ---- products ---- */
/* [M,K] x [K,N] -> [M,N]; with equal leading axes, one product for each: [B,M,K] x [B,K,N]. */
KN_API kn_tensor *kn_matmul(kn_ctx *ctx, kn_tensor *a, kn_tensor *b);
/* x [N,I], weight [O,I], bias [O] or NULL -> [N,O]. A NULL bias is "none", not an error. */
KN_API kn_tensor *kn_linear_op(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_tensor *bias);

typedef struct kn_conv2d_opts {
    int stride;  /* 0: 1 */
    int padding; /* on each side */
    bool relu;   /* fused: the result is max(conv, 0), bit for bit kn_relu's */
} kn_conv2d_opts;

/* x [N,H,W,I], weight [O,I,KH,KW] (kernel 1 to 7), bias [O] or NULL -> [N,OH,OW,O] with
 * OH = (H + 2 padding - KH) / stride + 1. Cross-correlation, as in PyTorch. */
KN_API kn_tensor *kn_conv2d(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_tensor *bias,
                            kn_conv2d_opts opts);

/* [N,H,W,C] -> [N,C]: the mean over H and W (PyTorch's AdaptiveAvgPool2d(1), flattened). */
KN_API kn_tensor *kn_mean_hw(kn_ctx *ctx, kn_tensor *x);

typedef struct kn_pool_opts {
    int kernel;  /* 0: 2; windows are kernel x kernel, at most 15 */
    int stride;  /* 0: the kernel */
    int padding; /* on each side, at most kernel / 2 */
    bool ceil;   /* a last window that lies only partly on the input counts too */
} kn_pool_opts;

/* [N,H,W,C] -> [N,OH,OW,C] with OH = (H + 2 padding - kernel) / stride + 1, rounded down, or up
 * with ceil. The largest of each window; padding is never the largest. The gradient goes to the
 * first largest. PyTorch's max_pool2d. */
KN_API kn_tensor *kn_max_pool(kn_ctx *ctx, kn_tensor *x, kn_pool_opts opts);
/* The mean of each window; padding counts as zeros, what lies beyond it (ceil) does not count.
 * PyTorch's avg_pool2d. */
KN_API kn_tensor *kn_avg_pool(kn_ctx *ctx, kn_tensor *x, kn_pool_opts opts);

/* ---- normalisation, dropout ---- */

typedef struct kn_batch_norm_op_opts {
    /* [C] each, of the module's lifetime. In training they are moved towards the batch's statistics
     * (the variance without the bias of a sample), and may be NULL; else they are what normalises.
     */
    kn_tensor *running_mean, *running_var;
    kn_tensor *batches; /* i64, one number: counts training batches; may be NULL */
    bool training;
    double momentum;     /* 0: 0.1, the batch's share in the running statistics */
    double eps;          /* 0: 1e-5, added to the variance */
    bool relu;           /* fused: the result is max(., 0), bit for bit kn_relu's */
    kn_tensor *residual; /* of x's shape but not x, added before the relu; NULL: none */
} kn_batch_norm_op_opts;

/* x [...,C], weight [C], bias [C] -> [...,C]: (x - mean) / sqrt(var + eps) * weight + bias, with
 * mean and variance over all axes but the last. Ioffe, Szegedy, "Batch Normalization" (2015).
 * KN_ERR_SHAPE when a training batch has one value a channel. */
KN_API kn_tensor *kn_batch_norm_op(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_tensor *bias,
                                   kn_batch_norm_op_opts opts);

/* kn_batch_norm_op of kn_conv2d's result, bit for bit: x [N,H,W,I], weight [O,I,KH,KW], gamma and
 * beta [O], the norm's residual [N,OH,OW,O] -> [N,OH,OW,O]. Where no gradient is recorded and the
 * norm does not train, in one pass over the result, with no room for what lies between. */
KN_API kn_tensor *kn_conv2d_norm(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_conv2d_opts conv,
                                 kn_tensor *gamma, kn_tensor *beta, kn_batch_norm_op_opts norm);

/* Each element is zero with probability p, else divided by 1 - p: Srivastava et al., "Dropout"
 * (2014). Which ones is a function of the context's seed, layer and step. p in [0, 1). */
KN_API kn_tensor *kn_dropout_op(kn_ctx *ctx, kn_tensor *x, double p, uint16_t layer, uint32_t step);

/* ---- losses: logits [N,C], target i32 [N] ---- */
KN_API kn_tensor *kn_logsumexp(kn_ctx *ctx, kn_tensor *x);   /* last axis; max subtracted first */
KN_API kn_tensor *kn_log_softmax(kn_ctx *ctx, kn_tensor *x); /* last axis; stable */
KN_API kn_tensor *kn_softmax(kn_ctx *ctx, kn_tensor *x);     /* last axis; stable */
/* -mean(log_probs[i][target[i]]): []. A target outside [0,C) is KN_ERR_ARG. */
KN_API kn_tensor *kn_nll(kn_ctx *ctx, kn_tensor *log_probs, kn_tensor *target);
/* nll(log_softmax(logits), target), in one kernel: []. */
KN_API kn_tensor *kn_cross_entropy(kn_ctx *ctx, kn_tensor *logits, kn_tensor *target);

/* What cross entropy can be asked for beside the plain one. No gradient flows into any of these. */
typedef struct kn_cross_entropy_opts {
    /* PyTorch's label_smoothing, 0 to 1: the target gets 1 - smoothing + smoothing / C, every other
     * class smoothing / C (Szegedy et al., "Rethinking the Inception Architecture", 2016). */
    double smoothing;
    kn_tensor *class_weights; /* f32 [C] or NULL, not negative: each sample's loss times its
                                 target's, and the mean divided by their sum, as in PyTorch */
    kn_tensor *target2;       /* i32 [N] with lambda f32 [N], or both NULL: MixUp's second target */
    kn_tensor *lambda;        /* the share of target, 0 to 1; target2 has the rest */
} kn_cross_entropy_opts;

/* The mean over the samples of
 *     lambda * ce(logits, target) + (1 - lambda) * ce(logits, target2): [].
 * With class weights a sample's weight is mixed alike, lambda * w[target] + (1 - lambda) *
 * w[target2], and the sum over the samples divided by the sum of these; fastai divides it by N, and
 * so differs from its own loss without mixing. Where lambda is 1 everywhere, and with no option at
 * all, the bits are those of the loss without. All weights 0: NaN. A target outside [0,C), a
 * lambda or smoothing outside [0,1]: KN_ERR_ARG.
 *
 *     kn_cross_entropy_with(ctx, preds, y, (kn_cross_entropy_opts){.smoothing = 0.1})
 */
KN_API kn_tensor *kn_cross_entropy_with(kn_ctx *ctx, kn_tensor *logits, kn_tensor *target,
                                        kn_cross_entropy_opts opts);

#ifdef __cplusplus
}
#endif
#endif
