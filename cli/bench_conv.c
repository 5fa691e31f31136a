/* bench_conv.c - the convolutions of a network, one by one: forward, gradient of the input,
 * gradient of the weights, on the device (in bf16 too, where it has that) and by oneDNN. The first
 * layer's input has no gradient. */
#include "bench.h"

#include "backend/backend.h"

#include <kiln/random.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct layer {
    const char *model;
    int count; /* how many such it has */
    int64_t side, in, out, kernel, stride;
    bool first;
} layer;

static const layer layers[] = {
    {"simple_cnn", 1, 64, 3, 16, 3, 2, true},   {"simple_cnn", 1, 32, 16, 32, 3, 2, false},
    {"simple_cnn", 1, 16, 32, 64, 3, 2, false}, {"simple_cnn", 1, 8, 64, 128, 3, 2, false},
    {"resnet18", 1, 128, 3, 64, 7, 2, true},    {"resnet18", 4, 32, 64, 64, 3, 1, false},
    {"resnet18", 1, 32, 64, 128, 3, 2, false},  {"resnet18", 1, 32, 64, 128, 1, 2, false},
    {"resnet18", 3, 16, 128, 128, 3, 1, false}, {"resnet18", 1, 16, 128, 256, 3, 2, false},
    {"resnet18", 1, 16, 128, 256, 1, 2, false}, {"resnet18", 3, 8, 256, 256, 3, 1, false},
    {"resnet18", 1, 8, 256, 512, 3, 2, false},  {"resnet18", 1, 8, 256, 512, 1, 2, false},
    {"resnet18", 3, 4, 512, 512, 3, 1, false},
};

typedef enum pass { FORWARD, DATA, WEIGHTS, PASSES } pass;
static const char *const pass_name[PASSES] = {"forward", "data", "weights"};

typedef struct job {
    kn_device *device;
    kn_conv_dims dims;
    pass pass;
    bool bf16; /* x, y and the result of the first two passes */
    float *x, *w, *y, *result;
    uint64_t version; /* moves at each run, as it does in training */
} job;

static kn_status run_bf16(job *j) {
    kn_device *d = j->device;
    kn_weights w = {j->w, 1, j->version++};
    const kn_bf16 *x = (const void *)j->x, *y = (const void *)j->y;
    switch (j->pass) {
    case FORWARD:
        return d->bf16->conv(d, &j->dims, x, w, NULL, false, (void *)j->result);
    case DATA:
        return d->bf16->conv_grad_data(d, &j->dims, y, w, (void *)j->result);
    default:
        return d->bf16->conv_grad_weights(d, &j->dims, x, y, j->result, NULL);
    }
}

static kn_status run(void *arg) {
    job *j = arg;
    if (j->bf16)
        return run_bf16(j);
    const kn_backend *ops = j->device->ops;
    kn_weights w = {j->w, 1, j->version++};
    switch (j->pass) {
    case FORWARD:
        return ops->conv(j->device, &j->dims, j->x, w, NULL, false, j->result);
    case DATA:
        return ops->conv_grad_data(j->device, &j->dims, j->y, w, j->result);
    default:
        return ops->conv_grad_weights(j->device, &j->dims, j->x, j->y, j->result, NULL);
    }
}

static int64_t numbers_in(const kn_conv_dims *c) {
    return c->n * c->h * c->w * c->in;
}

static int64_t numbers_out(const kn_conv_dims *c) {
    return c->n * c->out_h * c->out_w * c->out;
}

static int64_t numbers_weights(const kn_conv_dims *c) {
    return c->out * c->in * c->kernel_h * c->kernel_w;
}

static int64_t numbers_result(const job *j) {
    return j->pass == FORWARD ? numbers_out(&j->dims)
           : j->pass == DATA  ? numbers_in(&j->dims)
                              : numbers_weights(&j->dims);
}

/* ---- right first ---- */

static double result_at(const job *j, int64_t i) {
    bool half = j->bf16 && j->pass != WEIGHTS;
    return half ? kn_bf16_value(((const kn_bf16 *)(const void *)j->result)[i])
                : (double)j->result[i];
}

/* Of two pictures, against plain loops. */
static kn_status check(bench *b, const job *timed) {
    kn_ctx *ctx = b->s->ctx;
    job j = *timed, plain;
    j.dims.n = 2;
    plain = j;
    plain.device = kn_device_open(ctx, "reference");
    int64_t n = numbers_result(&j);
    plain.result = kn_alloc(ctx, (size_t)n * sizeof *plain.result, "a convolution's check");
    if (plain.device == NULL || plain.result == NULL)
        return kn_ctx_status(ctx);
    double off = 0, size = 0;
    kn_status status = run(&j);
    if (status == KN_OK)
        status = run(&plain);
    for (int64_t i = 0; i < n && status == KN_OK; i++) {
        double want = result_at(&plain, i), d = result_at(&j, i) - want;
        off += d * d;
        size += want * want;
    }
    kn_free(ctx, plain.result);
    j.device->ops->forget(j.device, 1);
    if (status == KN_OK && !(sqrt(off) <= (j.bf16 ? 1e-2 : 1e-4) * sqrt(size)))
        status = kn_fail(ctx, KN_ERR_DEVICE, "%s: a convolution (%s) is wrong by %.2g of its size",
                         kn_device_name(j.device), pass_name[j.pass], sqrt(off / size));
    return status;
}

/* ---- then fast ---- */

static void tell(bench *b, const layer *l, const job *j, double seconds, double bf16,
                 double onednn) {
    const kn_conv_dims *c = &j->dims;
    double work = 2.0 * (double)(numbers_out(c) * c->in * c->kernel_h * c->kernel_w);
    double share = b->peak > 0 ? work / seconds / b->peak : NAN;
    char shape[64];
    kn_text t = {0};
    snprintf(shape, sizeof shape, "[%d,%d,%d,%d] %dx%d/%d -> %d", (int)c->n, (int)c->h, (int)c->w,
             (int)c->in, (int)c->kernel_h, (int)c->kernel_w, (int)c->stride, (int)c->out);
    if (b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "conv");
        line_string(&t, "model", l->model);
        line_int(&t, "count", l->count);
        line_string(&t, "shape", shape);
        line_string(&t, "pass", pass_name[j->pass]);
        line_real(&t, "ms", seconds * 1e3);
        line_real(&t, "gflops", work / seconds * 1e-9);
        line_real(&t, "of_peak", share);
        line_real(&t, "bf16_ms", bf16 > 0 ? bf16 * 1e3 : NAN);
        line_real(&t, "onednn_ms", onednn > 0 ? onednn * 1e3 : NAN);
        line_close(&t);
    } else {
        kn_text_printf(&t, "%-28s %dx %-8s %8.2f ms %5.0f GFLOP/s", shape, l->count,
                       pass_name[j->pass], seconds * 1e3, work / seconds * 1e-9);
        if (b->peak > 0)
            kn_text_printf(&t, " %4.0f%%", 100 * share);
        if (bf16 > 0)
            kn_text_printf(&t, " %8.2f ms", bf16 * 1e3);
        if (onednn > 0)
            kn_text_printf(&t, " %8.2f ms", onednn * 1e3);
        kn_text_append(&t, "\n", 1);
    }
    report_out(&b->s->r, &t);
}

/* Checked, then timed. 0: it failed. */
static double time_pass(bench *b, job *j, kn_status *status) {
    double seconds = 0;
    if (*status == KN_OK)
        *status = check(b, j);
    if (*status == KN_OK)
        seconds = bench_time(run, j, status);
    j->device->ops->forget(j->device, 1);
    return seconds;
}

/* The numbers of x and y as bf16, in their place. */
static void halve(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        kn_bf16 half = kn_bf16_from(x[i]);
        memcpy((char *)x + (size_t)i * sizeof half, &half, sizeof half);
    }
}

/* oneDNN may be missing: then onednn is NULL. */
static kn_status time_layer(bench *b, const layer *l, job *j, kn_device *onednn) {
    kn_status status = KN_OK;
    job other = *j, half = *j;
    other.device = onednn;
    half.bf16 = true;
    double seconds[PASSES] = {0}, by_onednn[PASSES] = {0}, bf16[PASSES] = {0};
    int wanted[PASSES] = {1, !l->first, 1};
    for (int p = 0; p < PASSES; p++) {
        j->pass = other.pass = half.pass = (pass)p;
        seconds[p] = wanted[p] ? time_pass(b, j, &status) : 0;
        by_onednn[p] = wanted[p] && onednn != NULL ? time_pass(b, &other, &status) : 0;
    }
    halve(j->x, numbers_in(&j->dims));
    halve(j->y, numbers_out(&j->dims));
    for (int p = 0; p < PASSES && j->device->bf16 != NULL; p++) {
        half.pass = (pass)p;
        bf16[p] = wanted[p] ? time_pass(b, &half, &status) : 0;
    }
    for (int p = 0; p < PASSES && status == KN_OK; p++) {
        j->pass = (pass)p;
        b->convolutions += l->count * seconds[p];
        b->onednn += l->count * by_onednn[p];
        b->bf16_convolutions += l->count * bf16[p];
        if (wanted[p])
            tell(b, l, j, seconds[p], bf16[p], by_onednn[p]);
    }
    return status;
}

/* At random: of numbers that repeat sums may be small, and what is rounded large beside them. */
static float *some(kn_ctx *ctx, uint16_t stream, int64_t n) {
    float *x = kn_alloc(ctx, (size_t)n * sizeof *x, "a convolution's numbers");
    kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, stream, 0, 0);
    for (int64_t i = 0; x != NULL && i < n; i++)
        x[i] = kn_rng_uniform(&rng) - 0.5F;
    return x;
}

static kn_status bench_layer(bench *b, const layer *l, int batch, kn_device *onednn) {
    kn_ctx *ctx = b->s->ctx;
    int64_t padding = l->kernel / 2, out = (l->side + 2 * padding - l->kernel) / l->stride + 1;
    kn_conv_dims c = {.n = batch,
                      .h = l->side,
                      .w = l->side,
                      .in = l->in,
                      .out = l->out,
                      .kernel_h = l->kernel,
                      .kernel_w = l->kernel,
                      .stride = l->stride,
                      .padding = padding,
                      .out_h = out,
                      .out_w = out};
    int64_t most = numbers_in(&c) > numbers_out(&c) ? numbers_in(&c) : numbers_out(&c);
    most = numbers_weights(&c) > most ? numbers_weights(&c) : most;
    job j = {.device = kn_device_default(ctx),
             .dims = c,
             .x = some(ctx, 0, numbers_in(&c)),
             .w = some(ctx, 1, numbers_weights(&c)),
             .y = some(ctx, 2, numbers_out(&c)),
             .result = some(ctx, 3, most)};
    kn_status status = kn_ctx_status(ctx);
    if (status == KN_OK)
        status = time_layer(b, l, &j, onednn);
    kn_free(ctx, j.x);
    kn_free(ctx, j.w);
    kn_free(ctx, j.y);
    kn_free(ctx, j.result);
    return status;
}

kn_status bench_conv(bench *b, const bench_net *net) {
    kn_ctx *ctx = b->s->ctx;
    kn_device *device = kn_device_default(ctx), *onednn = kn_device_open(ctx, "onednn");
    kn_error_take(ctx); /* not built in */
    if (strcmp(kn_device_name(device), "onednn") == 0)
        onednn = NULL;
    b->convolutions = b->onednn = b->bf16_convolutions = 0;
    if (!b->s->r.json) {
        kn_text t = {0};
        kn_text_printf(&t, "\n%s, %d pictures of %d by %d; f32%s%s\n", net->model, net->batch,
                       net->size, net->size, device->bf16 != NULL ? ", bf16" : "",
                       onednn != NULL ? ", f32 by oneDNN" : "");
        report_out(&b->s->r, &t);
    }
    kn_status status = KN_OK;
    for (size_t i = 0; i < KN_COUNT(layers) && status == KN_OK; i++)
        if (strcmp(layers[i].model, net->model) == 0)
            status = bench_layer(b, &layers[i], net->batch, onednn);
    return status;
}
