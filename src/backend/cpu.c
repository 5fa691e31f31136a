/* cpu.c - the cpu device: convolution and products by oneDNN or by Kiln's own loops, threads and
 * vector registers for the passes over whole activations; the rest is small and stays with the
 * reference kernels. */
#include "backend/cpu_bf16.h"
#include "backend/cpu_loops.h"
#include "backend/cpu_norm.h"
#include "backend/cpu_optim.h"
#include "backend/onednn.h"
#include "backend/own_conv.h"
#include "backend/reference.h"
#include "backend/wide.h"

#include <stdio.h>
#include <string.h>

/* Convolutions by Kiln's own loops (own) from so many input channels on, else by oneDNN, else
 * plain; in bf16 by Kiln's own (half). */
typedef struct cpu_state {
    kn_own_conv *own, *half;
    int64_t least;
    kn_onednn *onednn;
} cpu_state;

#ifdef KN_HAVE_ONEDNN

static kn_status open_library(kn_device *d, cpu_state *s, char *about, size_t size) {
    s->onednn = kn_onednn_open(d, about, size);
    return s->onednn != NULL ? KN_OK : d->error->status;
}

static void close_library(cpu_state *s) {
    kn_onednn_close(s->onednn);
}

static void forget_library(cpu_state *s, uint64_t id) {
    kn_onednn_forget(s->onednn, id);
}

#define library_matmul kn_onednn_matmul

/* oneDNN could apply the relu itself, but its fused relu (2.6, x86) is max(x, 0) in the operand
 * order that turns NaN into 0: a run that diverged would look healthy. A pass of our own keeps NaN,
 * and finds the values still in cache. */
static kn_status library_conv(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                              const float *bias, bool relu, float *y) {
    kn_status status = kn_onednn_conv(((cpu_state *)d->state)->onednn, c, x, w, bias, y);
    if (status != KN_OK || !relu)
        return status;
    return kn_cpu_unary(d, KN_RELU, c->n * c->out_h * c->out_w * c->out, y, y);
}

static kn_status library_conv_grad_data(kn_device *d, const kn_conv_dims *c, const float *dy,
                                        kn_weights w, float *dx) {
    return kn_onednn_conv_grad_data(((cpu_state *)d->state)->onednn, c, dy, w, dx);
}

/* Of 1x1 kernels with a stride and fewer than 16 input channels, oneDNN 2.6's gradient of the
 * weights writes beyond its own room. */
static bool overruns(const kn_conv_dims *c) {
    return c->kernel_h == 1 && c->kernel_w == 1 && c->stride > 1 && c->in < 16;
}

static kn_status library_conv_grad_weights(kn_device *d, const kn_conv_dims *c, const float *x,
                                           const float *dy, float *dw, float *db) {
    const cpu_state *s = d->state;
    if (overruns(c) && s->own != NULL)
        return kn_own_conv_grad_weights(s->own, c, x, dy, dw, db);
    if (overruns(c))
        return kn_ref_conv_grad_weights(d, c, x, dy, dw, db);
    return kn_onednn_conv_grad_weights(s->onednn, c, x, dy, dw, db);
}

/* In bf16, of windows with few numbers: oneDNN's f32 kernel on some images at a time, widened while
 * they stay in the cache (1.1 ms for simple_cnn's first layer where our windows take 1.7). */
enum { SOME_BYTES = 2 << 20, LEAST_WINDOW = 64 };

static kn_status shallow_grad_weights(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x,
                                      const kn_bf16 *dy, float *dw, float *db) {
    if (overruns(c)) /* whose way needs the scratch room itself */
        return kn_wide_kernels.conv_grad_weights(d, c, x, dy, dw, db);
    int64_t in = c->h * c->w * c->in, out = c->out_h * c->out_w * c->out;
    int64_t weights = c->out * c->in * c->kernel_h * c->kernel_w, sums = weights + c->out;
    int64_t some = SOME_BYTES / ((in + out) * (int64_t)sizeof(float));
    some = some < d->threads ? d->threads : some;
    int64_t times = (c->n + some - 1) / some;
    some = (c->n + times - 1) / times;
    float *room = kn_cpu_scratch(d, (size_t)(some * (in + out) + sums) * sizeof *room);
    if (room == NULL)
        return d->error->status;
    float *wide_x = room, *wide_dy = wide_x + some * in, *part = wide_dy + some * out;
    kn_status status = KN_OK;
    for (int64_t i = 0; i < c->n && status == KN_OK; i += some) {
        kn_conv_dims few = *c;
        few.n = c->n - i < some ? c->n - i : some;
        status = kn_cpu_cast(d, KN_BF16, KN_F32, few.n * in, x + i * in, wide_x);
        if (status == KN_OK)
            status = kn_cpu_cast(d, KN_BF16, KN_F32, few.n * out, dy + i * out, wide_dy);
        float *bias = db == NULL ? NULL : i == 0 ? db : part + weights;
        if (status == KN_OK)
            status = library_conv_grad_weights(d, &few, wide_x, wide_dy, i == 0 ? dw : part, bias);
        if (status == KN_OK && i > 0)
            status = kn_cpu_axpy(d, weights, 1, part, dw);
        if (status == KN_OK && i > 0 && db != NULL)
            status = kn_cpu_axpy(d, c->out, 1, part + weights, db);
    }
    return status;
}

static const kn_tile_kernels *own_tile(void) {
#ifdef __SANITIZE_ADDRESS__
    return NULL; /* checked at each load, ours are twenty times slower: test_own_conv runs them */
#else
    return kn_tile_best();
#endif
}

/* Of a few channels it has kernels that are faster than ours, of more where it uses AVX-512
 * (docs/design.md, "Measured"). */
enum { LEAST_CHANNELS = 16, LEAST_WIDE = 32 };

#else

static kn_status open_library(kn_device *d, cpu_state *s, char *about, size_t size) {
    (void)d;
    (void)s;
    snprintf(about, size, "built without oneDNN");
    return KN_OK;
}

static void close_library(cpu_state *s) {
    (void)s;
}

static void forget_library(cpu_state *s, uint64_t id) {
    (void)s;
    (void)id;
}

#define library_matmul            kn_ref_matmul
#define library_conv              kn_ref_conv
#define library_conv_grad_data    kn_ref_conv_grad_data
#define library_conv_grad_weights kn_ref_conv_grad_weights

static const kn_tile_kernels *own_tile(void) {
    return kn_tile_best();
}

#define shallow_grad_weights kn_wide_kernels.conv_grad_weights
enum { LEAST_CHANNELS = 1, LEAST_WIDE = 1, LEAST_WINDOW = 0 };

#endif

/* ---- bf16: by Kiln's own loops, or in f32 where those cannot ---- */

static kn_status cpu_conv_bf16(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x, kn_weights w,
                               const float *bias, bool relu, kn_bf16 *y) {
    kn_own_conv *half = ((cpu_state *)d->state)->half;
    return kn_own_conv_can(half, c) ? kn_own_conv_forward(half, c, x, w, bias, relu, NULL, y)
                                    : kn_wide_kernels.conv(d, c, x, w, bias, relu, y);
}

static kn_status cpu_conv_norm_bf16(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x,
                                    kn_weights w, const kn_norm_dims *n, const kn_norm_state *s,
                                    const kn_bf16 *residual, kn_bf16 *y) {
    kn_own_conv *half = ((cpu_state *)d->state)->half;
    kn_norm_after after = kn_norm_after_of(n, s, residual, y, true);
    kn_conv_then then = {kn_norm_after_some, &after};
    if (kn_own_conv_can(half, c))
        return kn_own_conv_forward(half, c, x, w, NULL, false, &then, y);
    kn_status status = kn_wide_kernels.conv(d, c, x, w, NULL, false, y);
    return status == KN_OK ? kn_norm_after_all(d, &after) : status;
}

static kn_status cpu_conv_grad_data_bf16(kn_device *d, const kn_conv_dims *c, const kn_bf16 *dy,
                                         kn_weights w, kn_bf16 *dx) {
    kn_own_conv *half = ((cpu_state *)d->state)->half;
    return kn_own_conv_can(half, c) ? kn_own_conv_grad_data(half, c, dy, w, dx)
                                    : kn_wide_kernels.conv_grad_data(d, c, dy, w, dx);
}

static kn_status cpu_conv_grad_weights_bf16(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x,
                                            const kn_bf16 *dy, float *dw, float *db) {
    if (c->n > 0 && c->in * c->kernel_h * c->kernel_w < LEAST_WINDOW)
        return shallow_grad_weights(d, c, x, dy, dw, db);
    return kn_own_conv_grad_weights(((cpu_state *)d->state)->half, c, x, dy, dw, db);
}

/* A dropout draws by each number's place among all: not in pieces. */
static kn_status cpu_dropout_bf16(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                                  const kn_bf16 *x, kn_bf16 *y) {
    return kn_wide_kernels.dropout(d, n, keep, place, x, y);
}

static const kn_bf16_kernels cpu_bf16 = {.unary = kn_cpu_unary_bf16,
                                         .unary_grad = kn_cpu_unary_grad_bf16,
                                         .add = kn_cpu_add_bf16,
                                         .dropout = cpu_dropout_bf16,
                                         .conv = cpu_conv_bf16,
                                         .conv_grad_data = cpu_conv_grad_data_bf16,
                                         .conv_grad_weights = cpu_conv_grad_weights_bf16,
                                         .conv_norm = cpu_conv_norm_bf16,
                                         .batch_norm = kn_cpu_batch_norm_bf16,
                                         .batch_norm_grad = kn_cpu_batch_norm_grad_bf16,
                                         .max_pool = kn_cpu_max_pool_bf16,
                                         .max_pool_grad = kn_cpu_max_pool_grad_bf16,
                                         .avg_pool = kn_cpu_avg_pool_bf16,
                                         .avg_pool_grad = kn_cpu_avg_pool_grad_bf16,
                                         .mean_hw = kn_cpu_mean_hw_bf16,
                                         .mean_hw_grad = kn_cpu_mean_hw_grad_bf16};

/* ---- the device ---- */

static void cpu_close(kn_device *d) {
    cpu_state *s = d->state;
    kn_cpu_scratch_free(d);
    if (s == NULL)
        return;
    kn_own_conv_close(s->own);
    kn_own_conv_close(s->half);
    close_library(s);
    kn_mem_free(d->allocator, s);
    d->state = NULL;
}

static kn_status open_own(kn_device *d, cpu_state *s, const kn_tile_kernels *tile) {
    const kn_tile_kernels *half = kn_tile_bf16_best();
    s->least = tile->wide ? LEAST_WIDE : LEAST_CHANNELS;
    s->own = kn_own_conv_open(d, tile);
    if (s->own != NULL && half != NULL)
        s->half = kn_own_conv_open(d, half);
    if (s->own == NULL || (half != NULL && s->half == NULL))
        return d->error->status;
    d->bf16 = half != NULL ? &cpu_bf16 : NULL;
    return KN_OK;
}

static kn_status open_with(kn_device *d, const kn_tile_kernels *tile) {
    char library[64];
    cpu_state *s = kn_mem_calloc(d->allocator, 1, sizeof *s);
    if (s == NULL)
        return kn_error_set(d->error, KN_ERR_MEMORY, "out of memory: a device's state");
    d->state = s;
    kn_status status = open_library(d, s, library, sizeof library);
    if (status == KN_OK && tile != NULL)
        status = open_own(d, s, tile);
    if (status != KN_OK) {
        cpu_close(d);
        return status;
    }
    char own[64] = "";
    if (tile != NULL)
        snprintf(own, sizeof own, "own convolutions (%s), ", tile->name);
    snprintf(d->about, sizeof d->about, "%s%s%s, %d thread%s", own, library,
             d->bf16 != NULL ? ", bf16" : "", d->threads, d->threads == 1 ? "" : "s");
    return KN_OK;
}

static kn_status cpu_open(kn_device *d) {
    return open_with(d, own_tile());
}

static void cpu_forget(kn_device *d, uint64_t id) {
    cpu_state *s = d->state;
    kn_own_conv_forget(s->own, id);
    kn_own_conv_forget(s->half, id);
    forget_library(s, id);
}

static kn_status cpu_matmul(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                            const float *bias, float *c) {
    cpu_state *s = d->state;
    return s->own != NULL && kn_own_matmul_pays(m) ? kn_own_matmul(s->own, m, a, b, bias, c)
                                                   : library_matmul(d, m, a, b, bias, c);
}

static bool by_own(const cpu_state *s, const kn_conv_dims *c) {
    return s->own != NULL && c->in >= s->least;
}

static kn_status cpu_conv(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                          const float *bias, bool relu, float *y) {
    cpu_state *s = d->state;
    return by_own(s, c) ? kn_own_conv_forward(s->own, c, x, w, bias, relu, NULL, y)
                        : library_conv(d, c, x, w, bias, relu, y);
}

static kn_status cpu_conv_norm(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                               const kn_norm_dims *n, const kn_norm_state *s, const float *residual,
                               float *y) {
    const cpu_state *state = d->state;
    kn_norm_after after = kn_norm_after_of(n, s, residual, y, false);
    kn_conv_then then = {kn_norm_after_some, &after};
    if (by_own(state, c))
        return kn_own_conv_forward(state->own, c, x, w, NULL, false, &then, y);
    kn_status status = library_conv(d, c, x, w, NULL, false, y);
    return status == KN_OK ? kn_norm_after_all(d, &after) : status;
}

static kn_status cpu_conv_grad_data(kn_device *d, const kn_conv_dims *c, const float *dy,
                                    kn_weights w, float *dx) {
    cpu_state *s = d->state;
    return by_own(s, c) ? kn_own_conv_grad_data(s->own, c, dy, w, dx)
                        : library_conv_grad_data(d, c, dy, w, dx);
}

static kn_status cpu_conv_grad_weights(kn_device *d, const kn_conv_dims *c, const float *x,
                                       const float *dy, float *dw, float *db) {
    cpu_state *s = d->state;
    return by_own(s, c) ? kn_own_conv_grad_weights(s->own, c, x, dy, dw, db)
                        : library_conv_grad_weights(d, c, x, dy, dw, db);
}

/* All but the name and the way to open it. */
#define KERNELS                                                                                    \
    .close = cpu_close, .alloc = kn_ref_alloc, .free = kn_ref_free, .copy_in = kn_ref_copy,        \
    .copy_out = kn_ref_copy, .copy = kn_ref_copy, .zero = kn_ref_zero, .forget = cpu_forget,       \
    .fill = kn_ref_fill, .unary = kn_cpu_unary, .unary_grad = kn_cpu_unary_grad,                   \
    .binary = kn_cpu_binary, .expand = kn_ref_expand, .axpy = kn_cpu_axpy, .cast = kn_cpu_cast,    \
    .permute = kn_ref_permute, .reduce = kn_ref_reduce, .max_grad = kn_ref_max_grad,               \
    .put_rows = kn_ref_put_rows, .take_rows = kn_ref_take_rows, .argmax = kn_ref_argmax,           \
    .gather = kn_ref_gather, .gather_grad = kn_ref_gather_grad, .matmul = cpu_matmul,              \
    .conv = cpu_conv, .conv_grad_data = cpu_conv_grad_data,                                        \
    .conv_grad_weights = cpu_conv_grad_weights, .mean_hw = kn_cpu_mean_hw,                         \
    .mean_hw_grad = kn_cpu_mean_hw_grad, .batch_norm = kn_cpu_batch_norm,                          \
    .batch_norm_grad = kn_cpu_batch_norm_grad, .conv_norm = cpu_conv_norm,                         \
    .dropout = kn_cpu_dropout, .max_pool = kn_cpu_max_pool, .max_pool_grad = kn_cpu_max_pool_grad, \
    .avg_pool = kn_cpu_avg_pool, .avg_pool_grad = kn_cpu_avg_pool_grad, .softmax = kn_ref_softmax, \
    .softmax_grad = kn_ref_softmax_grad, .logsumexp = kn_ref_logsumexp,                            \
    .logsumexp_grad = kn_ref_logsumexp_grad, .nll = kn_ref_nll, .nll_grad = kn_ref_nll_grad,       \
    .cross_entropy = kn_ref_cross_entropy, .cross_entropy_grad = kn_ref_cross_entropy_grad,        \
    .normalize = kn_cpu_normalize, .mix_rows = kn_cpu_mix_rows, .mix_box = kn_cpu_mix_box,         \
    .stats = kn_cpu_stats, .track = kn_ref_track, .sgd = kn_cpu_sgd, .adam = kn_cpu_adam,          \
    .muon_momentum = kn_cpu_muon_momentum, .muon_normalize = kn_ref_muon_normalize,                \
    .muon_poly = kn_ref_muon_poly, .muon_step = kn_cpu_muon_step, .lerp = kn_cpu_lerp,             \
    .square_sum = kn_cpu_square_sum, .clip = kn_cpu_clip

const kn_backend kn_backend_cpu = {.name = "cpu", .open = cpu_open, KERNELS};

#ifdef KN_HAVE_ONEDNN

static kn_status onednn_open(kn_device *d) {
    return open_with(d, NULL);
}

const kn_backend kn_backend_onednn = {.name = "onednn", .open = onednn_open, KERNELS};

#endif
