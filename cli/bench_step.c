/* bench_step.c - a whole training step: normalise, forward, loss, backward, optimizer; and the
 * prediction of one picture. */
#include "bench.h"

#include "core/ctx.h"
#include "tensor/tensor.h"

#include <kiln/data.h>
#include <kiln/layers.h>
#include <kiln/ops.h>
#include <kiln/optim.h>

#include <math.h>
#include <stdlib.h>

enum { CLASSES = 10, CHECKED = 8 /* pictures */, ROUNDS = 50 };

typedef struct stepper {
    kn_ctx *ctx;
    kn_device *device;
    kn_module *model;
    kn_optimizer *opt;
    kn_dtype dtype;
    int batch, size;
    bool predicts;    /* nothing is learned */
    kn_tensor pixels; /* u8 [batch,size,size,3], on the device */
    kn_tensor labels; /* i32 [batch] */
    int rounds;       /* steps that are timed as one */
} stepper;

static kn_tensor *forward(stepper *s) {
    static const kn_normalize norm = {{0.5F, 0.5F, 0.5F}, {0.29F, 0.29F, 0.29F}};
    kn_tensor *x = kn_normalize_apply(s->ctx, &norm, &s->pixels);
    return kn_forward(s->model, kn_cast(s->ctx, x, s->dtype));
}

/* The probabilities of one picture, read: what somebody waits for. */
static kn_status predict(void *arg) {
    stepper *s = arg;
    float probs[CLASSES];
    kn_tensor_read(s->ctx, kn_softmax(s->ctx, forward(s)), probs, sizeof probs);
    kn_step_end(s->ctx);
    return kn_ctx_status(s->ctx);
}

static kn_status step(void *arg) {
    stepper *s = arg;
    kn_tensor *loss = kn_cross_entropy(s->ctx, forward(s), &s->labels);
    kn_status status = kn_backward(s->ctx, loss);
    if (status == KN_OK)
        status = kn_optimizer_step(s->opt);
    kn_optimizer_zero_grad(s->opt);
    kn_step_end(s->ctx);
    return status;
}

/* An asynchronous device is waited for when the last of some steps is asked for, as in a training.
 */
static kn_status steps(void *arg) {
    stepper *s = arg;
    kn_status status = KN_OK;
    for (int i = 0; i < s->rounds && status == KN_OK; i++)
        status = step(s);
    return status == KN_OK && s->rounds > 1 ? bench_wait(s->ctx) : status;
}

static kn_status fill_batch(stepper *s) {
    size_t bytes = kn_tensor_bytes(&s->pixels);
    uint8_t *pixels = kn_alloc(s->ctx, bytes, "pictures");
    int32_t *labels = kn_alloc(s->ctx, (size_t)s->batch * sizeof *labels, "labels");
    bool room = pixels != NULL && labels != NULL;
    for (size_t i = 0; i < bytes && room; i++)
        pixels[i] = (uint8_t)(i * 2654435761U >> 13);
    for (int i = 0; i < s->batch && room; i++)
        labels[i] = i % CLASSES;
    if (room && kn_tensor_write(s->ctx, &s->pixels, pixels, bytes) == KN_OK)
        kn_tensor_write(s->ctx, &s->labels, labels, (size_t)s->batch * sizeof *labels);
    kn_free(s->ctx, pixels);
    kn_free(s->ctx, labels);
    return kn_ctx_status(s->ctx);
}

static kn_status open_stepper(stepper *s, kn_ctx *ctx, const char *model, kn_device *device) {
    s->ctx = ctx;
    s->device = device;
    s->rounds = kn_device_is_host(device) || s->predicts ? 1 : s->size > 64 ? ROUNDS / 5 : ROUNDS;
    kn_grad_enable(ctx, !s->predicts);
    kn_status status =
        kn_tensor_init(ctx, &s->pixels, device, KN_U8, KN_SHAPE(s->batch, s->size, s->size, 3));
    if (status == KN_OK)
        status = kn_tensor_init(ctx, &s->labels, device, KN_I32, KN_SHAPE(s->batch));
    if (status == KN_OK)
        status = fill_batch(s);
    if (status != KN_OK)
        return status;
    s->model = kn_model_new(ctx, model, CLASSES);
    if (s->model != NULL && kn_module_to(s->model, device) == KN_OK) {
        kn_module_train(s->model, !s->predicts);
        s->opt = s->predicts ? NULL : kn_sgd(s->model, 0.01, (kn_sgd_opts){0});
    }
    return kn_ctx_status(ctx);
}

static void close_stepper(stepper *s) {
    kn_grad_enable(s->ctx, true);
    kn_optimizer_free(s->opt);
    kn_module_free(s->model);
    kn_tensor_clear(&s->pixels);
    kn_tensor_clear(&s->labels);
}

/* ---- is it right? ---- */

/* What a few small pictures give: plain loops are slow, so a quarter of the size must do. */
typedef struct result {
    double loss;
    float *grads; /* [count], of all parameters; NULL of a prediction */
    size_t count;
} result;

static kn_status read_result(stepper *s, result *r) {
    const kn_pack *pack = s->predicts ? NULL : kn_module_pack(s->model);
    kn_tensor *loss = kn_cross_entropy(s->ctx, forward(s), &s->labels);
    r->loss = kn_item(s->ctx, loss);
    if (pack != NULL && kn_backward(s->ctx, loss) == KN_OK) {
        r->count = (size_t)kn_tensor_numel(pack->grads);
        r->grads = malloc(r->count * sizeof *r->grads);
        if (r->grads == NULL)
            kn_fail(s->ctx, KN_ERR_MEMORY, "out of memory: a gradient to check");
        else
            kn_tensor_read(s->ctx, pack->grads, r->grads, r->count * sizeof *r->grads);
    }
    kn_step_end(s->ctx);
    return kn_ctx_status(s->ctx);
}

/* A context of its own, so that the weights are the same on each device. */
static kn_status result_on(bench *b, const bench_net *net, const char *device, kn_dtype dtype,
                           bool predicts, result *r) {
    stepper s = {.dtype = dtype, .batch = CHECKED, .size = net->size / 4, .predicts = predicts};
    kn_ctx_opts opts = {.seed = 1, .threads = kn_ctx_threads(b->s->ctx), .device = device};
    kn_error error = {0};
    kn_ctx *ctx;
    if (kn_ctx_new(&ctx, opts, &error) != KN_OK)
        return kn_fail_with(b->s->ctx, &error);
    kn_device *d = kn_device_default(ctx);
    kn_status status = d != NULL ? open_stepper(&s, ctx, net->model, d) : kn_ctx_status(ctx);
    if (status == KN_OK)
        status = read_result(&s, r);
    if (d != NULL)
        close_stepper(&s);
    error = kn_error_take(ctx);
    kn_ctx_free(ctx);
    return status == KN_OK ? KN_OK : kn_fail_with(b->s->ctx, &error);
}

/* |got - want| / |want|. */
static double apart(const result *got, const result *want) {
    double difference = 0, size = 0;
    if (got->grads == NULL || want->grads == NULL)
        return 0;
    for (size_t i = 0; i < want->count; i++) {
        double off = (double)got->grads[i] - (double)want->grads[i];
        difference += off * off;
        size += (double)want->grads[i] * (double)want->grads[i];
    }
    return sqrt(difference / size);
}

typedef struct limits {
    double loss, gradient; /* of the size of each */
} limits;

/* How far from plain loops. In f32 gradients are off by 1e-5, but one rounding that takes a number
 * across relu's 0 makes 2 % of it where norms divide by the spread of few numbers. A device whose
 * engines round more has more of these: an input off by 1e-4 changes the gradient of xresnet50 by
 * 2.5 %, that of resnet18 by 4 %. In bf16 they are many: plain loops and Zen 5 are 0.27 (xresnet50)
 * and 0.44 (resnet18) from each other, and either as far from f32's. */
static limits allowed(const kn_device *d, kn_dtype dtype) {
    return dtype != KN_F32        ? (limits){2e-2, 0.75}
           : kn_device_is_host(d) ? (limits){1e-3, 5e-2}
                                  : (limits){1e-2, 0.2};
}

static kn_status check(bench *b, const bench_net *net, kn_dtype dtype, bool predicts) {
    kn_ctx *ctx = b->s->ctx;
    const kn_device *d = kn_device_default(ctx);
    const char *device = kn_device_name(d);
    limits most = allowed(d, dtype);
    result got = {0}, want = {0};
    kn_status status = result_on(b, net, "reference", dtype, predicts, &want);
    if (status == KN_OK)
        status = result_on(b, net, device, dtype, predicts, &got);
    double off = status == KN_OK ? apart(&got, &want) : 0;
    if (status == KN_OK && !(fabs(got.loss - want.loss) <= most.loss * want.loss))
        status = kn_fail(ctx, KN_ERR_DEVICE, "%s: %s in %s has a loss of %g, expected %g", device,
                         net->model, kn_dtype_name(dtype), got.loss, want.loss);
    if (status == KN_OK && !(off <= most.gradient))
        status =
            kn_fail(ctx, KN_ERR_DEVICE, "%s: the gradient of %s in %s is off by %g of its size",
                    device, net->model, kn_dtype_name(dtype), off);
    free(got.grads);
    free(want.grads);
    return status;
}

/* ---- what it took ---- */

static void tell_prediction(bench *b, const bench_net *net, kn_dtype dtype, double seconds) {
    kn_text t = {0};
    if (b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "predict");
        line_string(&t, "model", net->model);
        line_string(&t, "dtype", kn_dtype_name(dtype));
        line_int(&t, "batch", 1);
        line_int(&t, "img_size", net->size);
        line_real(&t, "ms", seconds * 1e3);
        line_close(&t);
    } else
        kn_text_printf(&t, "one picture predicted, %-4s %.3f ms\n", kn_dtype_name(dtype),
                       seconds * 1e3);
    report_out(&b->s->r, &t);
}

static void tell_step(bench *b, const bench_net *net, kn_dtype dtype, double seconds) {
    double own = dtype == KN_F32 ? b->convolutions : b->bf16_convolutions;
    kn_text t = {0};
    if (b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "step");
        line_string(&t, "model", net->model);
        line_string(&t, "dtype", kn_dtype_name(dtype));
        line_int(&t, "batch", net->batch);
        line_int(&t, "img_size", net->size);
        line_real(&t, "ms", seconds * 1e3);
        line_real(&t, "img_per_s", net->batch / seconds);
        line_real(&t, "convolutions_ms", net->steps_only ? NAN : own * 1e3);
        line_real(&t, "onednn_convolutions_ms",
                  b->onednn > 0 && !net->steps_only ? b->onednn * 1e3 : NAN);
        line_close(&t);
    } else {
        if (net->steps_only && dtype == KN_F32)
            kn_text_printf(&t, "\n%s, %d pictures of %d by %d\n", net->model, net->batch, net->size,
                           net->size);
        kn_text_printf(&t, "step %-4s %.*f ms, %.0f pictures a second", kn_dtype_name(dtype),
                       seconds < 0.01 ? 3 : 1, seconds * 1e3, net->batch / seconds);
        if (!net->steps_only)
            kn_text_printf(&t, "; %.2f times its convolutions", seconds / own);
        if (!net->steps_only && b->onednn > 0)
            kn_text_printf(&t, ", %.2f times those by oneDNN in f32", seconds / b->onednn);
        kn_text_append(&t, "\n", 1);
    }
    report_out(&b->s->r, &t);
}

static kn_status time_step(bench *b, const bench_net *net, kn_dtype dtype, bool predicts) {
    stepper s = {.dtype = dtype,
                 .batch = predicts ? 1 : net->batch,
                 .size = net->size,
                 .predicts = predicts};
    kn_status status = check(b, net, dtype, predicts);
    double seconds = NAN;
    if (status == KN_OK) {
        status = open_stepper(&s, b->s->ctx, net->model, kn_device_default(b->s->ctx));
        if (status == KN_OK)
            seconds = bench_time(predicts ? predict : steps, &s, &status) / s.rounds;
        close_stepper(&s);
    }
    if (status == KN_OK)
        (predicts ? tell_prediction : tell_step)(b, net, dtype, seconds);
    return status;
}

kn_status bench_step(bench *b, const bench_net *net) {
    bool bf16 = kn_device_can(kn_device_default(b->s->ctx), KN_BF16);
    kn_status status = KN_OK;
    for (int predicts = 0; predicts < 2; predicts++) {
        if (status == KN_OK)
            status = time_step(b, net, KN_F32, predicts);
        if (status == KN_OK && bf16)
            status = time_step(b, net, KN_BF16, predicts);
    }
    return status;
}
