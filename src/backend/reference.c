/* reference.c - the reference device: every kernel as the plainest loop that is right. It is the
 * oracle that other backends are tested against, so sums run in double and nothing is parallel.
 * Here: memory and elementwise; reference_*.c hold the rest. */
#include "backend/reference.h"

#include "backend/wide.h"

#include <math.h>
#include <string.h>

/* ---- memory ---- */

kn_status kn_ref_open(kn_device *d) {
    d->bf16 = &kn_wide_kernels;
    strcpy(d->about, "plain loops, one thread");
    return KN_OK;
}

void kn_ref_close(kn_device *d) {
    (void)d;
}

void *kn_ref_alloc(kn_device *d, size_t bytes) {
    return kn_mem_alloc(d->allocator, bytes);
}

void kn_ref_free(kn_device *d, void *p) {
    kn_mem_free(d->allocator, p);
}

kn_status kn_ref_copy(kn_device *d, void *to, const void *from, size_t bytes) {
    (void)d;
    if (bytes > 0)
        memcpy(to, from, bytes);
    return KN_OK;
}

kn_status kn_ref_zero(kn_device *d, void *to, size_t bytes) {
    (void)d;
    if (bytes > 0)
        memset(to, 0, bytes);
    return KN_OK;
}

void kn_ref_forget(kn_device *d, uint64_t id) {
    (void)d;
    (void)id;
}

/* ---- elementwise ---- */

kn_status kn_ref_fill(kn_device *d, int64_t n, float value, float *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
    return KN_OK;
}

static double softplus(double x) {
    return x > 30 ? x : log1p(exp(x)); /* equal to a double's precision, and exp stays finite */
}

static float unary_value(kn_unary_kind kind, float x) {
    switch (kind) {
    case KN_NEG:
        return -x;
    case KN_EXP:
        return expf(x);
    case KN_LOG:
        return logf(x);
    case KN_SQRT:
        return sqrtf(x);
    case KN_RELU:
        return x < 0 ? 0 : x; /* keeps NaN */
    case KN_SWISH:
        return (float)(x / (1 + exp(-(double)x)));
    case KN_MISH:
        return (float)(x * tanh(softplus(x)));
    }
    return NAN;
}

kn_status kn_ref_unary(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        y[i] = unary_value(kind, x[i]);
    return KN_OK;
}

static float unary_slope(kn_unary_kind kind, float x, float y) {
    double s;
    switch (kind) {
    case KN_NEG:
        return -1;
    case KN_EXP:
        return y;
    case KN_LOG:
        return 1 / x;
    case KN_SQRT:
        return 0.5f / y;
    case KN_RELU:
        return y > 0 ? 1 : 0;
    case KN_SWISH:
        s = 1 / (1 + exp(-(double)x));
        return (float)(s * (1 + x * (1 - s)));
    case KN_MISH:
        s = tanh(softplus(x));
        return (float)(s + x * (1 - s * s) / (1 + exp(-(double)x)));
    }
    return NAN;
}

kn_status kn_ref_unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx) {
    (void)d;
    if (kind == KN_RELU) /* not a product: 0 * infinity is NaN. Where y is NaN, dy passes */
        for (int64_t i = 0; i < n; i++)
            dx[i] = y[i] <= 0 ? 0 : dy[i];
    else
        for (int64_t i = 0; i < n; i++)
            dx[i] = dy[i] * unary_slope(kind, x[i], y[i]);
    return KN_OK;
}

static float binary_value(kn_binary_kind kind, float a, float b) {
    switch (kind) {
    case KN_ADD:
        return a + b;
    case KN_SUB:
        return a - b;
    case KN_MUL:
        return a * b;
    case KN_DIV:
        return a / b;
    case KN_EQ:
        break;
    }
    return NAN;
}

kn_status kn_ref_binary(kn_device *d, kn_binary_kind kind, kn_dtype dtype, const kn_bcast *loop,
                        const void *a, const void *b, void *y) {
    (void)d;
    if (kn_loop_empty(loop))
        return KN_OK;
    int64_t index[KN_MAX_RANK] = {0}, at_a = 0, at_b = 0, i = 0;
    do {
        if (kind != KN_EQ)
            ((float *)y)[i] =
                binary_value(kind, ((const float *)a)[at_a], ((const float *)b)[at_b]);
        else if (dtype == KN_I32)
            ((uint8_t *)y)[i] = ((const int32_t *)a)[at_a] == ((const int32_t *)b)[at_b];
        else
            ((uint8_t *)y)[i] = ((const float *)a)[at_a] == ((const float *)b)[at_b];
        i++;
    } while (kn_odometer(loop, index, &at_a, &at_b));
    return KN_OK;
}

kn_status kn_ref_expand(kn_device *d, const kn_bcast *loop, float scale, const float *a, float *y) {
    (void)d;
    if (kn_loop_empty(loop))
        return KN_OK;
    int64_t index[KN_MAX_RANK] = {0}, at_a = 0, at_b = 0, i = 0;
    do
        y[i++] = scale * a[at_a];
    while (kn_odometer(loop, index, &at_a, &at_b));
    return KN_OK;
}

kn_status kn_ref_axpy(kn_device *d, int64_t n, float alpha, const float *x, float *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        y[i] += alpha * x[i];
    return KN_OK;
}

static double load(kn_dtype dtype, const void *x, int64_t i) {
    switch (dtype) {
    case KN_F32:
        return ((const float *)x)[i];
    case KN_BF16:
        return kn_bf16_value(((const kn_bf16 *)x)[i]);
    case KN_U8:
        return ((const uint8_t *)x)[i];
    case KN_I32:
        return ((const int32_t *)x)[i];
    case KN_I64:
    case KN_F16:
        break;
    }
    return NAN;
}

/* Truncates towards zero; NaN is 0, and what does not fit is the nearest that does. */
static double into(double value, double low, double high) {
    return isnan(value) ? 0 : value < low ? low : value > high ? high : trunc(value);
}

static void store(kn_dtype dtype, void *y, int64_t i, double value) {
    switch (dtype) {
    case KN_F32:
        ((float *)y)[i] = (float)value;
        break;
    case KN_BF16:
        ((kn_bf16 *)y)[i] = kn_bf16_from((float)value);
        break;
    case KN_U8:
        ((uint8_t *)y)[i] = (uint8_t)into(value, 0, UINT8_MAX);
        break;
    case KN_I32:
        ((int32_t *)y)[i] = (int32_t)into(value, INT32_MIN, INT32_MAX);
        break;
    case KN_I64:
    case KN_F16:
        break;
    }
}

kn_status kn_ref_cast(kn_device *d, kn_dtype from, kn_dtype to, int64_t n, const void *x, void *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        store(to, y, i, load(from, x, i));
    return KN_OK;
}

kn_status kn_ref_permute(kn_device *d, const kn_shape *x_shape, const int *axes, size_t size,
                         const void *x, void *y) {
    (void)d;
    kn_bcast loop = {.rank = x_shape->rank};
    for (int i = 0; i < loop.rank; i++) {
        loop.dim[i] = x_shape->dim[axes[i]];
        loop.a_step[i] = 1;
        for (int axis = axes[i] + 1; axis < loop.rank; axis++)
            loop.a_step[i] *= x_shape->dim[axis];
    }
    if (kn_loop_empty(&loop))
        return KN_OK;
    int64_t index[KN_MAX_RANK] = {0}, at_a = 0, at_b = 0;
    char *to = y;
    do {
        memcpy(to, (const char *)x + (size_t)at_a * size, size);
        to += size;
    } while (kn_odometer(&loop, index, &at_a, &at_b));
    return KN_OK;
}

const kn_backend kn_backend_reference = {
    .name = "reference",
    .open = kn_ref_open,
    .close = kn_ref_close,
    .alloc = kn_ref_alloc,
    .free = kn_ref_free,
    .copy_in = kn_ref_copy,
    .copy_out = kn_ref_copy,
    .copy = kn_ref_copy,
    .zero = kn_ref_zero,
    .forget = kn_ref_forget,
    .fill = kn_ref_fill,
    .unary = kn_ref_unary,
    .unary_grad = kn_ref_unary_grad,
    .binary = kn_ref_binary,
    .expand = kn_ref_expand,
    .axpy = kn_ref_axpy,
    .cast = kn_ref_cast,
    .permute = kn_ref_permute,
    .reduce = kn_ref_reduce,
    .max_grad = kn_ref_max_grad,
    .argmax = kn_ref_argmax,
    .put_rows = kn_ref_put_rows,
    .take_rows = kn_ref_take_rows,
    .gather = kn_ref_gather,
    .gather_grad = kn_ref_gather_grad,
    .matmul = kn_ref_matmul,
    .conv = kn_ref_conv,
    .conv_grad_data = kn_ref_conv_grad_data,
    .conv_grad_weights = kn_ref_conv_grad_weights,
    .mean_hw = kn_ref_mean_hw,
    .mean_hw_grad = kn_ref_mean_hw_grad,
    .batch_norm = kn_ref_batch_norm,
    .batch_norm_grad = kn_ref_batch_norm_grad,
    .dropout = kn_ref_dropout,
    .max_pool = kn_ref_max_pool,
    .max_pool_grad = kn_ref_max_pool_grad,
    .avg_pool = kn_ref_avg_pool,
    .avg_pool_grad = kn_ref_avg_pool_grad,
    .softmax = kn_ref_softmax,
    .softmax_grad = kn_ref_softmax_grad,
    .logsumexp = kn_ref_logsumexp,
    .logsumexp_grad = kn_ref_logsumexp_grad,
    .nll = kn_ref_nll,
    .nll_grad = kn_ref_nll_grad,
    .cross_entropy = kn_ref_cross_entropy,
    .cross_entropy_grad = kn_ref_cross_entropy_grad,
    .normalize = kn_ref_normalize,
    .mix_rows = kn_ref_mix_rows,
    .mix_box = kn_ref_mix_box,
    .stats = kn_ref_stats,
    .track = kn_ref_track,
    .sgd = kn_ref_sgd,
    .adam = kn_ref_adam,
    .muon_momentum = kn_ref_muon_momentum,
    .muon_normalize = kn_ref_muon_normalize,
    .muon_poly = kn_ref_muon_poly,
    .muon_step = kn_ref_muon_step,
    .lerp = kn_ref_lerp,
    .square_sum = kn_ref_square_sum,
    .clip = kn_ref_clip,
};
