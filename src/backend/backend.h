/* backend.h - what a device must do: one table of functions.
 *
 * Pointers are device memory, dense and row-major; images are [N,H,W,C], weights [O,I,KH,KW].
 * Shapes were checked by the caller. Every function returns KN_OK or records why not in
 * device->error. Outputs never overlap inputs unless said. */
#ifndef KN_BACKEND_H
#define KN_BACKEND_H

#include "core/bf16.h"
#include "core/ctx.h"

#include <kiln/tensor.h>

typedef struct kn_backend kn_backend;
typedef struct kn_bf16_kernels kn_bf16_kernels;

struct kn_device {
    const kn_backend *ops;
    const kn_bf16_kernels *bf16; /* NULL: this device has none */
    const kn_allocator *allocator;
    kn_error *error; /* of the context that owns the device */
    int threads;
    char name[32];     /* "cpu", "cuda", "cuda:1" */
    int ordinal;       /* which of several: N of "cuda:N" */
    const char *plans; /* a file of measured choices, for backends that have them; NULL: none */
    char about[192];
    void *state; /* the backend's own */
    /* Room for a kernel's partial sums, grown when needed and kept. */
    void *scratch;
    size_t scratch_bytes;
};

typedef enum kn_unary_kind {
    KN_NEG,
    KN_EXP,
    KN_LOG,
    KN_SQRT,
    KN_RELU,
    KN_SWISH,
    KN_MISH
} kn_unary_kind;
typedef enum kn_binary_kind { KN_ADD, KN_SUB, KN_MUL, KN_DIV, KN_EQ } kn_binary_kind;
typedef enum kn_reduce_kind { KN_SUM, KN_MEAN, KN_MAX } kn_reduce_kind;

/* A loop over an output of the given dims; an operand moves by its steps (in elements, 0 where it
 * is broadcast). Neighbouring axes that move alike are already merged. */
typedef struct kn_bcast {
    int rank;
    int64_t dim[KN_MAX_RANK], a_step[KN_MAX_RANK], b_step[KN_MAX_RANK];
} kn_bcast;

/* A reduction of x over the axes whose bit is set; the others stay, in order. */
typedef struct kn_reduction {
    kn_reduce_kind kind;
    kn_shape x;
    uint32_t axes;
    int64_t count; /* elements of x for one of the result */
} kn_reduction;

typedef struct kn_gather_dims {
    kn_shape x, index;
    int axis;
} kn_gather_dims;

/* c [batch,m,n] = op(a) op(b) + bias. op(a) is [m,k], stored [k,m] when trans_a; op(b) is [k,n],
 * stored [n,k] when trans_b. bias is [n], for batch 1 only, or NULL. */
typedef struct kn_matmul_dims {
    int64_t batch, m, n, k;
    bool trans_a, trans_b;
    bool symmetric; /* c is: a device may compute a half and mirror it */
} kn_matmul_dims;

enum { KN_MOST_KERNEL = 7 }; /* sides of a convolution's kernel */

typedef struct kn_conv_dims {
    int64_t n, h, w, in, out, kernel_h, kernel_w, stride, padding, out_h, out_w;
} kn_conv_dims;

/* Batch normalisation of x [rows,channels]. */
typedef struct kn_norm_dims {
    int64_t rows, channels;
    bool batch; /* by the statistics of these rows, which then enter the running ones; else by the
                   running ones */
    bool relu;  /* of the result, after the residual was added */
    float eps, momentum;
} kn_norm_dims;

/* What it works with beside x and y, each [channels]. running_* and batches may be NULL when batch
 * is set: then nothing is tracked. The forward writes mean and inv_std, the backward reads them. */
typedef struct kn_norm_state {
    const float *weight, *bias;
    float *running_mean, *running_var;
    int64_t *batches; /* [1] */
    float *mean, *inv_std;
} kn_norm_state;

/* Where its gradients go; each may be NULL. x's and the residual's are of x's kind. */
typedef struct kn_norm_grads {
    float *weight, *bias;
    void *x, *residual;
} kn_norm_grads;

/* Windows over x [n,h,w,c]; those at the edges are cut off where the padding ends. */
typedef struct kn_pool_dims {
    int64_t n, h, w, c, kernel, stride, padding, out_h, out_w;
} kn_pool_dims;

/* Where a dropout's random numbers come from: kn_rng_at. */
typedef struct kn_dropout_place {
    uint64_t seed;
    uint16_t layer;
    uint32_t step;
} kn_dropout_place;

/* What a cross entropy is made of. A row counts with the weight of its class, all alike when there
 * are none; with target2 and lambda (both or neither) its target is lambda of one class and 1 -
 * lambda of another. */
typedef struct kn_loss_terms {
    int64_t rows, cols;
    double smoothing;
    const float *class_weights;      /* [cols] or NULL */
    const int32_t *target, *target2; /* [rows] */
    const float *lambda;             /* [rows] */
} kn_loss_terms;

/* Pixels [top, bottom) x [left, right) of every picture of a batch [n,h,w,c]. */
typedef struct kn_mix_box {
    int64_t n, h, w, c, top, left, bottom, right;
} kn_mix_box;

/* Weights, with what a backend needs to know whether a packed copy of them is still good. */
typedef struct kn_weights {
    const float *data;
    uint64_t id; /* of the parameter; 0: no parameter, never cached */
    uint64_t version;
} kn_weights;

/* Numbers of one optimizer step; what they do is said at the kernels. */
typedef struct kn_sgd_rule {
    float lr, wd, momentum;
    bool first, nesterov;
} kn_sgd_rule;

typedef struct kn_adam_rule {
    float beta1, beta2, l2, keep, step, root, eps;
    bool plain;
} kn_adam_rule;

struct kn_backend {
    const char *name;
    bool async; /* memory is the device's own, and kernels run after their call returned; what fails
                   there is said by a later call. copy_out waits for what was asked for before it */
    kn_status (*open)(kn_device *d); /* fills about, bf16 and state */
    void (*close)(kn_device *d);

    /* ---- memory ---- */
    void *(*alloc)(kn_device *d, size_t bytes); /* NULL: none left */
    void (*free)(kn_device *d, void *p);
    kn_status (*copy_in)(kn_device *d, void *to, const void *host, size_t bytes);
    kn_status (*copy_out)(kn_device *d, void *host, const void *from, size_t bytes);
    kn_status (*copy)(kn_device *d, void *to, const void *from, size_t bytes);
    kn_status (*zero)(kn_device *d, void *to, size_t bytes);
    /* Rows of so many bytes: y[index[i]] = x[i] for i < n, or y[i] = x[index[i]]. The indices of
     * put_rows differ; none is checked. */
    kn_status (*put_rows)(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                          const void *x, void *y);
    kn_status (*take_rows)(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                           const void *x, void *y);
    /* Bytes that alloc could still give. NULL: memory is the host's. */
    size_t (*room)(kn_device *d);
    /* Of an asynchronous device: begins everything asked for so far. NULL: nothing waits. */
    kn_status (*submit)(kn_device *d);
    /* The parameter with this id is gone or changed shape: drop its packed copies. */
    void (*forget)(kn_device *d, uint64_t id);

    /* ---- elementwise, f32 unless said ---- */
    kn_status (*fill)(kn_device *d, int64_t n, float value, float *y);
    kn_status (*unary)(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y);
    /* dx = dy * f'(x), with y = f(x). dx may be dy. */
    kn_status (*unary_grad)(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx);
    /* y is f32; for KN_EQ u8. dtype is that of a and b: f32, for KN_EQ also i32. */
    kn_status (*binary)(kn_device *d, kn_binary_kind kind, kn_dtype dtype, const kn_bcast *loop,
                        const void *a, const void *b, void *y);
    /* y = scale * a, broadcast. */
    kn_status (*expand)(kn_device *d, const kn_bcast *loop, float scale, const float *a, float *y);
    kn_status (*axpy)(kn_device *d, int64_t n, float alpha, const float *x, float *y); /* y += */
    kn_status (*cast)(kn_device *d, kn_dtype from, kn_dtype to, int64_t n, const void *x, void *y);
    /* y[..] = x with its axes in the given order; size: bytes an element. */
    kn_status (*permute)(kn_device *d, const kn_shape *x_shape, const int *axes, size_t size,
                         const void *x, void *y);

    /* ---- reductions ---- */
    kn_status (*reduce)(kn_device *d, const kn_reduction *r, const float *x, float *y);
    kn_status (*max_grad)(kn_device *d, const kn_reduction *r, const float *x, const float *y,
                          const float *dy, float *dx);
    kn_status (*argmax)(kn_device *d, int64_t rows, int64_t cols, const float *x, int32_t *y);
    kn_status (*gather)(kn_device *d, const kn_gather_dims *g, const float *x, const int32_t *index,
                        float *y);
    /* Writes all of dx. */
    kn_status (*gather_grad)(kn_device *d, const kn_gather_dims *g, const int32_t *index,
                             const float *dy, float *dx);

    /* ---- products ---- */
    kn_status (*matmul)(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                        const float *bias, float *c);
    kn_status (*conv)(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                      const float *bias, bool relu, float *y);
    kn_status (*conv_grad_data)(kn_device *d, const kn_conv_dims *c, const float *dy, kn_weights w,
                                float *dx);
    /* db may be NULL. */
    kn_status (*conv_grad_weights)(kn_device *d, const kn_conv_dims *c, const float *x,
                                   const float *dy, float *dw, float *db);

    /* ---- normalisation, dropout ---- */
    /* y = (x - mean) * inv_std * weight + bias (+ residual, of y's shape, when not NULL). */
    kn_status (*batch_norm)(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const float *x, const float *residual, float *y);
    kn_status (*batch_norm_grad)(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const float *x, const float *y, const float *dy,
                                 const kn_norm_grads *grads);
    /* Both at once, forward only: batch_norm by the running statistics of conv's result, without
     * bias or relu of its own, bit for bit. s's mean and inv_std are room. NULL: no better than the
     * two. */
    kn_status (*conv_norm)(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                           const kn_norm_dims *n, const kn_norm_state *s, const float *residual,
                           float *y);
    /* y = x / keep where a random number is below keep, else 0: its own gradient. */
    kn_status (*dropout)(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                         const float *x, float *y);

    /* ---- pooling and losses ---- */
    kn_status (*mean_hw)(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *x, float *y);
    kn_status (*mean_hw_grad)(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              float *dx);
    /* which [n,out_h,out_w,c] is the place in the window, row by row, of each maximum. */
    kn_status (*max_pool)(kn_device *d, const kn_pool_dims *p, const float *x, float *y,
                          uint8_t *which);
    kn_status (*max_pool_grad)(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const float *dy, float *dx);
    kn_status (*avg_pool)(kn_device *d, const kn_pool_dims *p, const float *x, float *y);
    kn_status (*avg_pool_grad)(kn_device *d, const kn_pool_dims *p, const float *dy, float *dx);
    kn_status (*softmax)(kn_device *d, int64_t rows, int64_t cols, bool log, const float *x,
                         float *y);
    kn_status (*softmax_grad)(kn_device *d, int64_t rows, int64_t cols, bool log, const float *y,
                              const float *dy, float *dx);
    kn_status (*logsumexp)(kn_device *d, int64_t rows, int64_t cols, const float *x, float *y);
    kn_status (*logsumexp_grad)(kn_device *d, int64_t rows, int64_t cols, const float *x,
                                const float *y, const float *dy, float *dx);
    kn_status (*nll)(kn_device *d, int64_t rows, int64_t cols, const float *log_probs,
                     const int32_t *target, float *loss);
    kn_status (*nll_grad)(kn_device *d, int64_t rows, int64_t cols, const int32_t *target,
                          const float *dloss, float *dx);
    /* log_probs [rows,cols] is kept for the gradient. A term that is not there, or a lambda of 1,
     * changes no bit. */
    kn_status (*cross_entropy)(kn_device *d, const kn_loss_terms *t, const float *x,
                               float *log_probs, float *loss);
    kn_status (*cross_entropy_grad)(kn_device *d, const kn_loss_terms *t, const float *log_probs,
                                    const float *dloss, float *dx);

    /* ---- around the model ---- */
    /* y = (x / 255 - mean) / std for n pixels of 3 channels. */
    kn_status (*normalize)(kn_device *d, int64_t n, const uint8_t *x, const float mean[3],
                           const float std[3], float *y);
    /* Row r: lambda[r] * x[r] + (1 - lambda[r]) * x[partner[r]]; where lambda is 1, x's bits. */
    kn_status (*mix_rows)(kn_device *d, int64_t rows, int64_t cols, const float *x,
                          const int32_t *partner, const float *lambda, float *y);
    /* Picture n: x[n], but inside the box x[partner[n]]. */
    kn_status (*mix_box)(kn_device *d, const kn_mix_box *box, const float *x,
                         const int32_t *partner, float *y);
    /* Mean, standard deviation (n - 1) and share of |x| <= near into out[3]. */
    kn_status (*stats)(kn_device *d, int64_t n, float near, const float *x, double *out);
    /* total[0] += rows * *loss, total[1] += rows whose largest pred is the target, total[2] +=
     * rows. */
    kn_status (*track)(kn_device *d, int64_t rows, int64_t cols, const float *preds,
                       const int32_t *target, const float *loss, double *total);

    /* ---- optimizers: one pass over parameters that lie next to each other ---- */
    /* g' = g + wd * w; v = first ? g' : momentum * v + g', when v is not NULL; w -= lr * d, d being
     * g' without v, v with it, g' + momentum * v with Nesterov's. */
    kn_status (*sgd)(kn_device *d, int64_t n, const kn_sgd_rule *rule, const float *g, float *v,
                     float *w);
    /* g' = g + l2 * w; m += (1 - beta1) * (g' - m); v = beta2 * v + (1 - beta2) * g'^2;
     * w = keep * w - step * m / (root * sqrt(v) + eps), or without the divisor when plain. */
    kn_status (*adam)(kn_device *d, int64_t n, const kn_adam_rule *rule, const float *g, float *m,
                      float *v, float *w);
    /* v = momentum * v + g; x = nesterov ? g + momentum * v : v. */
    kn_status (*muon_momentum)(kn_device *d, int64_t n, float momentum, bool nesterov,
                               const float *g, float *v, float *x);
    /* norm[0] = sqrt(trace(gram)) + 1e-7; gram [n,n] /= norm[0]^2. */
    kn_status (*muon_normalize)(kn_device *d, int64_t n, float *gram, float *norm);
    /* q = k[0] I + k[1] a + k[2] a2, all [n,n]. */
    kn_status (*muon_poly)(kn_device *d, int64_t n, const float k[3], const float *a,
                           const float *a2, float *q);
    /* w = keep * w - step / norm[0] * u. */
    kn_status (*muon_step)(kn_device *d, int64_t n, float keep, float step, const float *u,
                           const float *norm, float *w);
    kn_status (*lerp)(kn_device *d, int64_t n, float alpha, const float *x, float *y); /* y += alpha
                                                                                        * (x - y) */
    /* *total += sum of x^2. */
    kn_status (*square_sum)(kn_device *d, int64_t n, const float *x, double *total);
    /* g *= min(1, most / (sqrt(*total) + 1e-6)). */
    kn_status (*clip)(kn_device *d, int64_t n, float most, const double *total, float *g);
};

/* Said of a device, whose name follows, without those below. */
#define KN_NO_BF16                                                                                 \
    "device %s has no bf16 kernels here (cpu has them where the processor has AVX-512 BF16)"

/* Kernels for activations in bf16. Weights are rounded to bf16 where they are multiplied; they, the
 * parameters of norms, statistics and their gradients stay f32. Each computes as its namesake in
 * kn_backend, sums in f32, and rounds what it writes once, to nearest even; batch_norm also before
 * it adds a residual, so that the bits are those of the separate kernels. */
struct kn_bf16_kernels {
    kn_status (*unary)(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x, kn_bf16 *y);
    kn_status (*unary_grad)(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x,
                            const kn_bf16 *y, const kn_bf16 *dy, kn_bf16 *dx);
    /* y may be a or b. */
    kn_status (*add)(kn_device *d, int64_t n, const kn_bf16 *a, const kn_bf16 *b, kn_bf16 *y);
    kn_status (*dropout)(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                         const kn_bf16 *x, kn_bf16 *y);
    kn_status (*conv)(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x, kn_weights w,
                      const float *bias, bool relu, kn_bf16 *y);
    kn_status (*conv_grad_data)(kn_device *d, const kn_conv_dims *c, const kn_bf16 *dy,
                                kn_weights w, kn_bf16 *dx);
    kn_status (*conv_grad_weights)(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x,
                                   const kn_bf16 *dy, float *dw, float *db);
    kn_status (*batch_norm)(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const kn_bf16 *x, const kn_bf16 *residual, kn_bf16 *y);
    kn_status (*batch_norm_grad)(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const kn_bf16 *x, const kn_bf16 *y, const kn_bf16 *dy,
                                 const kn_norm_grads *grads);
    kn_status (*conv_norm)(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x, kn_weights w,
                           const kn_norm_dims *n, const kn_norm_state *s, const kn_bf16 *residual,
                           kn_bf16 *y);
    kn_status (*max_pool)(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y,
                          uint8_t *which);
    kn_status (*max_pool_grad)(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const kn_bf16 *dy, kn_bf16 *dx);
    kn_status (*avg_pool)(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y);
    kn_status (*avg_pool_grad)(kn_device *d, const kn_pool_dims *p, const kn_bf16 *dy, kn_bf16 *dx);
    /* Here the activations end: the means are f32. */
    kn_status (*mean_hw)(kn_device *d, int64_t n, int64_t hw, int64_t c, const kn_bf16 *x,
                         float *y);
    kn_status (*mean_hw_grad)(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              kn_bf16 *dx);
};

/* Plain loops, every kernel: the oracle of the tests. */
extern const kn_backend kn_backend_reference;

/* Threads; Kiln's own loops, and oneDNN where it is quicker and was built in. Without either (no
 * AVX2) convolutions and products are plain loops. */
extern const kn_backend kn_backend_cpu;

/* The same with every convolution and product by oneDNN, to compare with. Only where oneDNN was
 * built in. */
extern const kn_backend kn_backend_onednn;

/* The backend for a device name: "reference", "cpu", "onednn", "cuda", "cuda:N", "auto" (CUDA where
 * it works, else cpu). NULL and *error: there is
 * none. */
const kn_backend *kn_backend_find(const char *name, kn_error *error);

#endif
