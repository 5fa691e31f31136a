/* bench_step.c - a whole training step: normalise, forward, loss, backward, optimizer. */
#include "bench.h"

#include "core/ctx.h"
#include "tensor/tensor.h"

#include <kiln/data.h>
#include <kiln/layers.h>
#include <kiln/ops.h>
#include <kiln/optim.h>

#include <math.h>

enum { CLASSES = 10, CHECKED = 4 /* pictures */, ROUNDS = 50 };

typedef struct stepper {
    kn_ctx *ctx;
    kn_device *device;
    kn_module *model;
    kn_optimizer *opt;
    kn_dtype dtype;
    int batch, size;
    kn_tensor pixels; /* u8 [batch,size,size,3], on the device */
    kn_tensor labels; /* i32 [batch] */
    int rounds;       /* steps that are timed as one */
    double loss;      /* of the last step, when wanted */
    bool read_loss;
} stepper;

static kn_status step(void *arg) {
    stepper *s = arg;
    static const kn_normalize norm = {{0.5F, 0.5F, 0.5F}, {0.29F, 0.29F, 0.29F}};
    kn_tensor *x = kn_normalize_apply(s->ctx, &norm, &s->pixels);
    kn_tensor *preds = kn_forward(s->model, kn_cast(s->ctx, x, s->dtype));
    kn_tensor *loss = kn_cross_entropy(s->ctx, preds, &s->labels);
    if (s->read_loss)
        s->loss = kn_item(s->ctx, loss);
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
    s->rounds = kn_device_is_host(device) ? 1 : s->size > 64 ? ROUNDS / 5 : ROUNDS;
    kn_status status =
        kn_tensor_init(ctx, &s->pixels, device, KN_U8, KN_SHAPE(s->batch, s->size, s->size, 3));
    if (status == KN_OK)
        status = kn_tensor_init(ctx, &s->labels, device, KN_I32, KN_SHAPE(s->batch));
    if (status == KN_OK)
        status = fill_batch(s);
    if (status != KN_OK)
        return status;
    s->model = kn_model_new(ctx, model, CLASSES);
    if (s->model != NULL && kn_module_to(s->model, device) == KN_OK)
        s->opt = kn_sgd(s->model, 0.01, (kn_sgd_opts){0});
    return kn_ctx_status(ctx);
}

static void close_stepper(stepper *s) {
    kn_optimizer_free(s->opt);
    kn_module_free(s->model);
    kn_tensor_clear(&s->pixels);
    kn_tensor_clear(&s->labels);
}

/* The loss of a few small pictures after one step: all passes of all layers are in it. Plain loops
 * are slow, so a quarter of the size must do. A context of its own, so that the weights are the
 * same on each device. */
static kn_status loss_on(bench *b, const bench_net *net, const char *device, kn_dtype dtype,
                         double *loss) {
    stepper s = {.dtype = dtype, .batch = CHECKED, .size = net->size / 4, .read_loss = true};
    kn_ctx_opts opts = {.seed = 1, .threads = kn_ctx_threads(b->s->ctx), .device = device};
    kn_error error = {0};
    kn_ctx *ctx;
    if (kn_ctx_new(&ctx, opts, &error) != KN_OK)
        return kn_fail_with(b->s->ctx, &error);
    kn_device *d = kn_device_default(ctx);
    kn_status status = d != NULL ? open_stepper(&s, ctx, net->model, d) : kn_ctx_status(ctx);
    for (int i = 0; i < 2 && status == KN_OK; i++)
        status = step(&s);
    *loss = s.loss;
    if (d != NULL)
        close_stepper(&s);
    error = kn_error_take(ctx);
    kn_ctx_free(ctx);
    return status == KN_OK ? KN_OK : kn_fail_with(b->s->ctx, &error);
}

/* In bf16 the last digits go, and with so few pictures the norms make more of that. In f32 a device
 * with engines of its own may be off by more than the last digits: one H200's xresnet50 was by 0.8
 * %, why is not known. */
static kn_status check(bench *b, const bench_net *net, kn_dtype dtype) {
    kn_ctx *ctx = b->s->ctx;
    const kn_device *d = kn_device_default(ctx);
    const char *device = kn_device_name(d);
    double got = NAN, want = NAN;
    double allowed = dtype != KN_F32 ? 1e-1 : kn_device_is_host(d) ? 1e-3 : 2e-2;
    kn_status status = loss_on(b, net, "reference", dtype, &want);
    if (status == KN_OK)
        status = loss_on(b, net, device, dtype, &got);
    if (status == KN_OK && !(fabs(got - want) <= allowed * fabs(want)))
        status =
            kn_fail(ctx, KN_ERR_DEVICE, "%s: a step of %s in %s ends at a loss of %g, expected %g",
                    device, net->model, kn_dtype_name(dtype), got, want);
    return status;
}

static void tell(bench *b, const bench_net *net, kn_dtype dtype, double seconds) {
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

static kn_status time_step(bench *b, const bench_net *net, kn_dtype dtype) {
    stepper s = {.dtype = dtype, .batch = net->batch, .size = net->size};
    kn_status status = check(b, net, dtype);
    double seconds = NAN;
    if (status == KN_OK) {
        status = open_stepper(&s, b->s->ctx, net->model, kn_device_default(b->s->ctx));
        if (status == KN_OK)
            seconds = bench_time(steps, &s, &status) / s.rounds;
        close_stepper(&s);
    }
    if (status == KN_OK)
        tell(b, net, dtype, seconds);
    return status;
}

kn_status bench_step(bench *b, const bench_net *net) {
    kn_status status = time_step(b, net, KN_F32);
    if (status == KN_OK && kn_device_can(kn_device_default(b->s->ctx), KN_BF16))
        status = time_step(b, net, KN_BF16);
    return status;
}
