/* bench_ops.c - every other kernel of a training, forward and backward: what it moves of memory a
 * second, beside what copying moves. The activations are those of resnet18's first stage, 32
 * pictures of 128 by 128; the parameters four million. Each is first compared with plain loops. */
#include "bench.h"

#include "backend/backend.h"
#include "core/ctx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ROWS = 32 * 32 * 32, /* pixels of the activation */
    CHANNELS = 64,
    N = ROWS * CHANNELS,
    PARAMS = 1 << 22,
    SAMPLES = 256, /* of the head and the loss */
    CLASSES = 1000,
    DEPTH = 512,
    ROOM = PARAMS,
};

typedef struct operands {
    kn_device *device;
    float *a, *b, *c, *out; /* [ROOM] */
    uint8_t *bytes;         /* [ROOM] */
    int32_t *index;         /* [SAMPLES], below SAMPLES */
} operands;

typedef struct kernel {
    const char *name, *pass;
    kn_status (*run)(operands *o);
    int64_t bytes; /* read and written; 0: it is held against the FMA peak, by its products */
    int64_t products;
    kn_status (*prepare)(operands *o); /* what its operands come from; NULL: they are numbers */
} kernel;

static const kn_norm_dims norm_dims = {ROWS, CHANNELS, true, true, 1e-5F, 0.1F};
static const kn_pool_dims pool_dims = {32, 32, 32, CHANNELS, 3, 2, 1, 16, 16};
enum { POOLED = 32 * 16 * 16 * CHANNELS, SCORES = SAMPLES * CLASSES };

/* Weight, bias, mean and deviation lie one after the other in c. */
static kn_norm_state norm_state(const operands *o) {
    return (kn_norm_state){.weight = o->c,
                           .bias = o->c + CHANNELS,
                           .mean = o->c + 2 * (ptrdiff_t)CHANNELS,
                           .inv_std = o->c + 3 * (ptrdiff_t)CHANNELS};
}

static kn_status relu(operands *o) {
    return o->device->ops->unary(o->device, KN_RELU, N, o->a, o->out);
}

static kn_status relu_grad(operands *o) {
    return o->device->ops->unary_grad(o->device, KN_RELU, N, o->a, o->a, o->b, o->out);
}

static kn_status add(operands *o) {
    return o->device->ops->axpy(o->device, N, 1, o->a, o->out);
}

static kn_status norm(operands *o) {
    kn_norm_state s = norm_state(o);
    return o->device->ops->batch_norm(o->device, &norm_dims, &s, o->a, NULL, o->out);
}

static kn_status norm_grad(operands *o) {
    kn_norm_state s = norm_state(o);
    kn_norm_grads to = {o->c + 4 * (ptrdiff_t)CHANNELS, o->c + 5 * (ptrdiff_t)CHANNELS, o->out,
                        NULL};
    return o->device->ops->batch_norm_grad(o->device, &norm_dims, &s, o->a, o->a, o->b, &to);
}

static kn_status max_pool(operands *o) {
    return o->device->ops->max_pool(o->device, &pool_dims, o->a, o->out, o->bytes);
}

static kn_status max_pool_grad(operands *o) {
    return o->device->ops->max_pool_grad(o->device, &pool_dims, o->bytes, o->b, o->out);
}

static kn_status avg_pool(operands *o) {
    return o->device->ops->avg_pool(o->device, &pool_dims, o->a, o->out);
}

static kn_status avg_pool_grad(operands *o) {
    return o->device->ops->avg_pool_grad(o->device, &pool_dims, o->b, o->out);
}

static kn_status mean(operands *o) {
    return o->device->ops->mean_hw(o->device, 32, 1024, CHANNELS, o->a, o->out);
}

static kn_status mean_grad(operands *o) {
    return o->device->ops->mean_hw_grad(o->device, 32, 1024, CHANNELS, o->b, o->out);
}

static kn_status drop(operands *o) {
    kn_dropout_place place = {1, 2, 3};
    return o->device->ops->dropout(o->device, N, 0.5F, place, o->a, o->out);
}

static kn_status linear(operands *o) {
    kn_matmul_dims m = {1, SAMPLES, CLASSES, DEPTH, false, true, false};
    return o->device->ops->matmul(o->device, &m, o->a, o->b, o->c, o->out);
}

static kn_status cross_entropy(operands *o) {
    kn_loss_terms t = {.rows = SAMPLES, .cols = CLASSES, .target = o->index};
    return o->device->ops->cross_entropy(o->device, &t, o->a, o->out, o->out + SCORES);
}

static kn_status cross_entropy_grad(operands *o) {
    kn_loss_terms t = {.rows = SAMPLES, .cols = CLASSES, .target = o->index};
    return o->device->ops->cross_entropy_grad(o->device, &t, o->a, o->b, o->out);
}

static kn_status normalise(operands *o) {
    static const float middle[3] = {0.5F, 0.5F, 0.5F}, spread[3] = {0.3F, 0.3F, 0.3F};
    return o->device->ops->normalize(o->device, N / 3, o->bytes, middle, spread, o->out);
}

static kn_status mixup(operands *o) {
    return o->device->ops->mix_rows(o->device, SAMPLES, N / SAMPLES, o->a, o->index, o->b, o->out);
}

static kn_status sgd(operands *o) {
    kn_sgd_rule rule = {.lr = 1e-3F, .wd = 1e-4F, .momentum = 0.9F};
    return o->device->ops->sgd(o->device, PARAMS, &rule, o->a, o->b, o->out);
}

static kn_status adam(operands *o) {
    kn_adam_rule rule = {0.9F, 0.999F, 0, 0.9999F, 1e-3F, 1, 1e-5F, false};
    return o->device->ops->adam(o->device, PARAMS, &rule, o->a, o->b, o->c, o->out);
}

static kn_status ema(operands *o) {
    return o->device->ops->lerp(o->device, PARAMS, 0.01F, o->a, o->out);
}

#define F32(numbers) ((int64_t)(numbers) * (int64_t)sizeof(float))

static const kernel kernels[] = {
    {"relu", "forward", relu, F32(2 * N), 0, NULL},
    {"relu", "backward", relu_grad, F32(3 * N), 0, NULL},
    {"add", "forward", add, F32(3 * N), 0, NULL},
    {"batch norm, relu", "forward", norm, F32(3 * N), 0, NULL}, /* x is read twice */
    {"batch norm, relu", "backward", norm_grad, F32(7 * N), 0, NULL},
    {"max pool 3x3/2", "forward", max_pool, F32(N + POOLED) + POOLED, 0, NULL},
    {"max pool 3x3/2", "backward", max_pool_grad, F32(N + POOLED) + POOLED, 0, max_pool},
    {"average pool 3x3/2", "forward", avg_pool, F32(N + POOLED), 0, NULL},
    {"average pool 3x3/2", "backward", avg_pool_grad, F32(N + POOLED), 0, NULL},
    {"mean over pixels", "forward", mean, F32(N), 0, NULL},
    {"mean over pixels", "backward", mean_grad, F32(N), 0, NULL},
    {"dropout", "forward", drop, F32(2 * N), 0, NULL},
    {"linear 512 -> 1000", "forward", linear, 0, (int64_t)SAMPLES *CLASSES *DEPTH, NULL},
    {"cross entropy", "forward", cross_entropy, F32(2 * SCORES), 0, NULL},
    {"cross entropy", "backward", cross_entropy_grad, F32(2 * SCORES), 0, NULL},
    {"normalise u8", "forward", normalise, F32(N) + N, 0, NULL},
    {"mixup", "forward", mixup, F32(3 * N), 0, NULL},
    {"sgd, momentum", "step", sgd, F32(5 * PARAMS), 0, NULL},
    {"adamw", "step", adam, F32(7 * PARAMS), 0, NULL},
    {"average of weights", "step", ema, F32(3 * PARAMS), 0, NULL},
};

/* ---- operands ---- */

static kn_status make(kn_ctx *ctx, operands *o) {
    float **buffer[] = {&o->a, &o->b, &o->c, &o->out};
    for (size_t i = 0; i < KN_COUNT(buffer); i++)
        *buffer[i] = kn_alloc(ctx, ROOM * sizeof(float), "operands");
    o->bytes = kn_alloc(ctx, ROOM, "operands");
    o->index = kn_alloc(ctx, SAMPLES * sizeof *o->index, "operands");
    return kn_ctx_status(ctx);
}

/* The same for each run, whatever the one before left: numbers about 0, c between 0 and 1. */
static kn_status fill(const kernel *k, operands *o) {
    for (int64_t i = 0; i < ROOM; i++) {
        uint32_t mixed = (uint32_t)i * 2654435761U >> 8;
        o->a[i] = (float)(mixed % 2001) * 1e-3F - 1;
        o->b[i] = (float)(mixed % 1999) * 5e-4F; /* also shares, and not negative */
        o->c[i] = (float)(mixed % 997) * 1e-3F + 1e-3F;
        o->out[i] = 0.5F;
        o->bytes[i] = (uint8_t)mixed;
    }
    for (int i = 0; i < SAMPLES; i++)
        o->index[i] = (i * 7 + 3) % SAMPLES;
    kn_status status = k->prepare != NULL ? k->prepare(o) : KN_OK;
    for (int64_t i = 0; i < ROOM && k->prepare != NULL; i++)
        o->out[i] = 0.5F;
    return status;
}

static void drop_operands(kn_ctx *ctx, operands *o) {
    void *all[] = {o->a, o->b, o->c, o->out, o->bytes, o->index};
    for (size_t i = 0; i < KN_COUNT(all); i++)
        kn_free(ctx, all[i]);
}

/* ---- one op ---- */

static kn_status check(bench *b, const kernel *k, operands *o, float *want) {
    kn_ctx *ctx = b->s->ctx;
    kn_device *own = o->device, *plain = kn_device_open(ctx, "reference");
    if (plain == NULL)
        return kn_ctx_status(ctx);
    o->device = plain;
    kn_status status = fill(k, o);
    if (status == KN_OK)
        status = k->run(o);
    memcpy(want, o->out, ROOM * sizeof *want);
    o->device = own;
    if (status == KN_OK)
        status = fill(k, o);
    if (status == KN_OK)
        status = k->run(o);
    for (int64_t i = 0; i < ROOM && status == KN_OK; i++)
        if (!(fabsf(o->out[i] - want[i]) <= 1e-4F * (1 + fabsf(want[i]))))
            status = kn_fail(ctx, KN_ERR_DEVICE, "%s: %s %s gives %g at %lld, expected %g",
                             kn_device_name(own), k->name, k->pass, (double)o->out[i], (long long)i,
                             (double)want[i]);
    return status;
}

static void tell(bench *b, const kernel *k, double seconds) {
    kn_text t = {0};
    double bytes = (double)k->bytes / seconds, flops = 2.0 * (double)k->products / seconds;
    if (b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "op");
        line_string(&t, "op", k->name);
        line_string(&t, "pass", k->pass);
        line_real(&t, "ms", seconds * 1e3);
        line_real(&t, "gb_per_s", k->bytes > 0 ? bytes * 1e-9 : NAN);
        line_real(&t, "gflops", k->products > 0 ? flops * 1e-9 : NAN);
        line_close(&t);
    } else if (k->bytes > 0)
        kn_text_printf(&t, "%-20s %-9s %7.3f ms  %6.1f GB/s  %4.0f%% of copying\n", k->name,
                       k->pass, seconds * 1e3, bytes * 1e-9, 100 * bytes / b->copy);
    else
        kn_text_printf(&t, "%-20s %-9s %7.3f ms  %6.0f GFLOP/s  %3.0f%% of the peak\n", k->name,
                       k->pass, seconds * 1e3, flops * 1e-9,
                       b->peak > 0 ? 100 * flops / b->peak : NAN);
    report_out(&b->s->r, &t);
}

typedef struct timed {
    const kernel *kernel;
    operands *o;
} timed;

static kn_status once(void *arg) {
    timed *t = arg;
    return t->kernel->run(t->o);
}

kn_status bench_ops(bench *b) {
    kn_ctx *ctx = b->s->ctx;
    operands o = {.device = kn_device_default(ctx)};
    float *want = kn_alloc(ctx, ROOM * sizeof *want, "operands");
    kn_status status = want != NULL ? make(ctx, &o) : KN_ERR_MEMORY;
    if (!b->s->r.json) {
        kn_text t = {0};
        kn_text_printf(&t, "\nactivations [32,32,32,%d], %d samples of %d classes, %d parameters\n",
                       CHANNELS, SAMPLES, CLASSES, PARAMS);
        report_out(&b->s->r, &t);
    }
    for (size_t i = 0; i < KN_COUNT(kernels) && status == KN_OK; i++) {
        timed t = {&kernels[i], &o};
        status = check(b, &kernels[i], &o, want);
        double seconds = status == KN_OK ? bench_time(once, &t, &status) : 0;
        if (status == KN_OK)
            tell(b, &kernels[i], seconds);
    }
    kn_free(ctx, want);
    drop_operands(ctx, &o);
    return status;
}
