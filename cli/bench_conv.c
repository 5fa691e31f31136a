/* bench_conv.c - the convolutions of a network, one by one: forward, gradient of the input,
 * gradient of the weights, on the device and by oneDNN. The first layer's input has no gradient. */
#include "bench.h"

#include "backend/backend.h"

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
    float *x, *w, *y, *result;
    uint64_t version; /* moves at each run, as it does in training */
} job;

static kn_status run(void *arg) {
    job *j = arg;
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
        double d = (double)j.result[i] - (double)plain.result[i];
        off += d * d;
        size += (double)plain.result[i] * (double)plain.result[i];
    }
    kn_free(ctx, plain.result);
    j.device->ops->forget(j.device, 1);
    if (status == KN_OK && !(sqrt(off) <= 1e-4 * sqrt(size)))
        status = kn_fail(ctx, KN_ERR_DEVICE, "%s: a convolution (%s) is wrong by %.2g of its size",
                         kn_device_name(j.device), pass_name[j.pass], sqrt(off / size));
    return status;
}

/* ---- then fast ---- */

static void tell(bench *b, const layer *l, const job *j, double seconds, double onednn) {
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
        line_real(&t, "onednn_ms", onednn > 0 ? onednn * 1e3 : NAN);
        line_close(&t);
    } else {
        kn_text_printf(&t, "%-28s %dx %-8s %8.2f ms %5.0f GFLOP/s", shape, l->count,
                       pass_name[j->pass], seconds * 1e3, work / seconds * 1e-9);
        if (b->peak > 0)
            kn_text_printf(&t, " %4.0f%%", 100 * share);
        if (onednn > 0)
            kn_text_printf(&t, " %8.2f ms", onednn * 1e3);
        kn_text_append(&t, "\n", 1);
    }
    report_out(&b->s->r, &t);
}

/* oneDNN may be missing: then onednn is NULL. */
static kn_status time_layer(bench *b, const layer *l, job *j, kn_device *onednn) {
    kn_device *device = j->device;
    kn_status status = KN_OK;
    for (int p = 0; p < PASSES && status == KN_OK; p++) {
        double seconds = 0, by_onednn = 0;
        j->pass = (pass)p;
        if (l->first && j->pass == DATA)
            continue;
        status = check(b, j);
        if (status == KN_OK)
            seconds = bench_time(run, j, &status);
        if (status == KN_OK && onednn != NULL) {
            j->device = onednn;
            by_onednn = bench_time(run, j, &status);
            onednn->ops->forget(onednn, 1);
            j->device = device;
        }
        device->ops->forget(device, 1);
        b->convolutions += l->count * seconds;
        b->onednn += l->count * by_onednn;
        if (status == KN_OK)
            tell(b, l, j, seconds, by_onednn);
    }
    return status;
}

static float *some(kn_ctx *ctx, int64_t n) {
    float *x = kn_alloc(ctx, (size_t)n * sizeof *x, "a convolution's numbers");
    for (int64_t i = 0; x != NULL && i < n; i++)
        x[i] = (float)(i * 7 % 13) / 13 - 0.5F;
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
             .x = some(ctx, numbers_in(&c)),
             .w = some(ctx, numbers_weights(&c)),
             .y = some(ctx, numbers_out(&c)),
             .result = some(ctx, most)};
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
    b->convolutions = b->onednn = 0;
    if (!b->s->r.json) {
        kn_text t = {0};
        kn_text_printf(&t, "\n%s, %d pictures of %d by %d%s\n", net->model, net->batch, net->size,
                       net->size, onednn != NULL ? "; last: by oneDNN" : "");
        report_out(&b->s->r, &t);
    }
    kn_status status = KN_OK;
    for (size_t i = 0; i < KN_COUNT(layers) && status == KN_OK; i++)
        if (strcmp(layers[i].model, net->model) == 0)
            status = bench_layer(b, &layers[i], net->batch, onednn);
    return status;
}
