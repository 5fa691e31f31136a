/* step.c - where the time of a training step goes, or of a prediction.
 *
 *     build/bench/step [STEPS [THREADS [MODEL [BATCH [SIDE [OPT [DTYPE]]]]]]]
 *
 * MODEL is simple_cnn, on BATCH (128) pictures of SIDE x SIDE (64), OPT is sgd (or adamw, muon;
 * none: the pictures' classes are predicted), DTYPE f32 (or bf16), if not given. Each part's median
 * over STEPS steps (200), after a tenth as many to warm up. Convolutions ("normed": with the
 * normalisation that follows) and normalisations are timed inside the step, by a device table that
 * notes the time around each pass; the share of the convolutions' arithmetic in the time is in
 * GFLOP/s. */
#include "backend/backend.h"

#include <kiln/data.h>
#include <kiln/layers.h>
#include <kiln/ops.h>
#include <kiln/optim.h>
#include <kiln/random.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CLASSES = 10, MOST_STEPS = 100000 };

static const char *model_name = "simple_cnn", *opt_name = "sgd", *dtype_name = "f32";
static int batch = 128, side = 64;

/* ---- the parts ---- */

enum part { NORMALISE, FORWARD, LOSS, BACKWARD, OPTIMIZER, STEP, CONVOLUTIONS, NORMS, PARTS };

static const char *const part_name[PARTS] = {"normalise", "forward", "loss",         "backward",
                                             "optimizer", "step",    "convolutions", "norms"};

static double *taken[PARTS]; /* milliseconds a step */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_size);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- convolutions and norms, timed: in f32 and in bf16 ---- */

static const kn_backend *plain;
static kn_backend timed;
static const kn_bf16_kernels *plain_bf16;
static kn_bf16_kernels timed_bf16;
static double convolving, normalising, operations;

/* Each pass of each shape, in the order in which the first step meets them. */
enum { MOST_PASSES = 256 };

typedef struct conv_pass {
    const char *name;
    kn_conv_dims dims;
    int count; /* of a step's */
    double ms; /* of all steps */
} conv_pass;

static conv_pass passes[MOST_PASSES];
static int pass_count;

static conv_pass *find_pass(const char *name, const kn_conv_dims *c) {
    for (int i = 0; i < pass_count; i++)
        if (strcmp(passes[i].name, name) == 0 && memcmp(&passes[i].dims, c, sizeof *c) == 0)
            return &passes[i];
    conv_pass *p = &passes[pass_count < MOST_PASSES - 1 ? pass_count++ : MOST_PASSES - 1];
    *p = (conv_pass){.name = name, .dims = *c};
    return p;
}

static double operations_of(const kn_conv_dims *c) {
    return 2.0 * (double)(c->n * c->out_h * c->out_w * c->out * c->in * c->kernel_h * c->kernel_w);
}

static kn_status convolved(const char *name, double began, const kn_conv_dims *c,
                           kn_status status) {
    double ms = now() - began;
    conv_pass *p = find_pass(name, c);
    p->count++;
    p->ms += ms;
    convolving += ms;
    operations += operations_of(c);
    return status;
}

static kn_status normalised(double began, kn_status status) {
    normalising += now() - began;
    return status;
}

/* The six passes for one type of activations, around those of a table. */
#define TIMED(name, table, number)                                                                 \
    static kn_status name##_conv(kn_device *d, const kn_conv_dims *c, const number *x,             \
                                 kn_weights w, const float *bias, bool relu, number *y) {          \
        double began = now();                                                                      \
        return convolved("forward", began, c, table->conv(d, c, x, w, bias, relu, y));             \
    }                                                                                              \
    static kn_status name##_conv_norm(                                                             \
        kn_device *d, const kn_conv_dims *c, const number *x, kn_weights w, const kn_norm_dims *n, \
        const kn_norm_state *state, const number *residual, number *y) {                           \
        double began = now();                                                                      \
        return convolved("normed", began, c, table->conv_norm(d, c, x, w, n, state, residual, y)); \
    }                                                                                              \
    static kn_status name##_conv_data(kn_device *d, const kn_conv_dims *c, const number *dy,       \
                                      kn_weights w, number *dx) {                                  \
        double began = now();                                                                      \
        return convolved("data", began, c, table->conv_grad_data(d, c, dy, w, dx));                \
    }                                                                                              \
    static kn_status name##_conv_weights(kn_device *d, const kn_conv_dims *c, const number *x,     \
                                         const number *dy, float *dw, float *db) {                 \
        double began = now();                                                                      \
        return convolved("weights", began, c, table->conv_grad_weights(d, c, x, dy, dw, db));      \
    }                                                                                              \
    static kn_status name##_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *state,  \
                                 const number *x, const number *residual, number *y) {             \
        double began = now();                                                                      \
        return normalised(began, table->batch_norm(d, n, state, x, residual, y));                  \
    }                                                                                              \
    static kn_status name##_norm_grad(                                                             \
        kn_device *d, const kn_norm_dims *n, const kn_norm_state *state, const number *x,          \
        const number *y, const number *dy, const kn_norm_grads *grads) {                           \
        double began = now();                                                                      \
        return normalised(began, table->batch_norm_grad(d, n, state, x, y, dy, grads));            \
    }

TIMED(f32, plain, float)
TIMED(bf16, plain_bf16, kn_bf16)

static void time_passes(kn_device *d) {
    plain = d->ops;
    timed = *plain;
    timed.conv = f32_conv;
    timed.conv_norm = plain->conv_norm != NULL ? f32_conv_norm : NULL;
    timed.conv_grad_data = f32_conv_data;
    timed.conv_grad_weights = f32_conv_weights;
    timed.batch_norm = f32_norm;
    timed.batch_norm_grad = f32_norm_grad;
    d->ops = &timed;
    if (d->bf16 == NULL)
        return;
    plain_bf16 = d->bf16;
    timed_bf16 = *plain_bf16;
    timed_bf16.conv = bf16_conv;
    timed_bf16.conv_norm = plain_bf16->conv_norm != NULL ? bf16_conv_norm : NULL;
    timed_bf16.conv_grad_data = bf16_conv_data;
    timed_bf16.conv_grad_weights = bf16_conv_weights;
    timed_bf16.batch_norm = bf16_norm;
    timed_bf16.batch_norm_grad = bf16_norm_grad;
    d->bf16 = &timed_bf16;
}

/* ---- the step ---- */

static uint8_t *pixels; /* [batch,side,side,3] */
static int32_t *labels; /* [batch] */

static bool make_batch(void) {
    size_t bytes = (size_t)batch * (size_t)side * (size_t)side * 3;
    kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, 0, 0, 0);
    pixels = malloc(bytes);
    labels = malloc((size_t)batch * sizeof *labels);
    if (pixels == NULL || labels == NULL)
        return false;
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)kn_rng_below(&rng, 256);
    for (int i = 0; i < batch; i++)
        labels[i] = i % CLASSES;
    return true;
}

static double lap(double *began) {
    double end = now(), lasted = end - *began;
    *began = end;
    return lasted;
}

static kn_status step(kn_ctx *ctx, kn_module *model, kn_optimizer *opt, double spent[PARTS]) {
    static const kn_normalize norm = {{0.5f, 0.5f, 0.5f}, {0.29f, 0.29f, 0.29f}};
    kn_device *device = kn_device_default(ctx);
    kn_tensor *x = kn_from(ctx, KN_U8, KN_SHAPE(batch, side, side, 3), pixels);
    kn_tensor *y = kn_from(ctx, KN_I32, KN_SHAPE(batch), labels);
    convolving = normalising = operations = 0;
    double start = now(), began = start;
    x = kn_normalize_apply(ctx, &norm, kn_to(ctx, x, device));
    spent[NORMALISE] = lap(&began);
    if (strcmp(dtype_name, "bf16") == 0)
        x = kn_cast(ctx, x, KN_BF16);
    kn_tensor *preds = kn_forward(model, x);
    spent[FORWARD] = lap(&began);
    kn_tensor *loss = opt != NULL ? kn_cross_entropy(ctx, preds, y) : kn_softmax(ctx, preds);
    spent[LOSS] = lap(&began);
    kn_status status = opt != NULL ? kn_backward(ctx, loss) : kn_ctx_status(ctx);
    spent[BACKWARD] = lap(&began);
    if (status == KN_OK && opt != NULL)
        status = kn_optimizer_step(opt);
    if (opt != NULL)
        kn_optimizer_zero_grad(opt);
    kn_step_end(ctx);
    spent[OPTIMIZER] = lap(&began);
    spent[STEP] = began - start;
    spent[CONVOLUTIONS] = convolving;
    spent[NORMS] = normalising;
    return status;
}

static kn_status run(kn_ctx *ctx, kn_module *model, kn_optimizer *opt, int steps) {
    int warm_up = steps / 10 + 3;
    for (int i = -warm_up; i < steps; i++) {
        double spent[PARTS];
        if (i == 0)
            pass_count = 0;
        kn_status status = step(ctx, model, opt, spent);
        if (status != KN_OK)
            return status;
        for (int p = 0; i >= 0 && p < PARTS; p++)
            taken[p][i] = spent[p];
    }
    return KN_OK;
}

static void print_table(kn_ctx *ctx, int steps) {
    double ms[PARTS];
    kn_device *device = kn_device_default(ctx);
    printf("%s, %d pictures of %dx%d, %s; %s (%s); medians of %d steps\n", model_name, batch, side,
           side, dtype_name, kn_device_name(device), kn_device_about(device), steps);
    for (int p = 0; p < PARTS; p++)
        ms[p] = median(taken[p], steps);
    for (int p = 0; p < PARTS; p++)
        printf("  %-14s %8.3f ms %5.1f%%\n", part_name[p], ms[p], 100 * ms[p] / ms[STEP]);
    printf("  %.0f pictures a second; convolutions at %.0f GFLOP/s\n", batch * 1e3 / ms[STEP],
           operations / ms[CONVOLUTIONS] * 1e-6);
}

/* Means over all steps. */
static void print_passes(int steps) {
    for (int i = 0; i < pass_count; i++) {
        const conv_pass *p = &passes[i];
        const kn_conv_dims *c = &p->dims;
        printf("  %2dx %-8s [%d,%d,%d,%d] %dx%d/%d -> %-4d %8.3f ms %6.0f GFLOP/s\n",
               p->count / steps, p->name, (int)c->n, (int)c->h, (int)c->w, (int)c->in,
               (int)c->kernel_h, (int)c->kernel_w, (int)c->stride, (int)c->out, p->ms / steps,
               p->count * operations_of(c) / p->ms * 1e-6);
    }
}

/* ---- the program ---- */

static bool whole_number(const char *text, int most, int *out) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 1 || value > most)
        return false;
    *out = (int)value;
    return true;
}

/* None where nothing is learned. */
static kn_optimizer *make_optimizer(kn_module *model) {
    if (strcmp(opt_name, "none") == 0)
        return NULL;
    if (strcmp(opt_name, "muon") == 0)
        return kn_muon(model, 0.01, (kn_muon_opts){0});
    if (strcmp(opt_name, "adamw") == 0)
        return kn_adamw(model, 0.001, (kn_adam_opts){0});
    return kn_sgd(model, 0.01, (kn_sgd_opts){0});
}

static kn_status measure(kn_ctx *ctx, int steps) {
    kn_module *model = kn_model_new(ctx, model_name, CLASSES);
    kn_optimizer *opt = make_optimizer(model);
    kn_status status = kn_ctx_status(ctx);
    if (status == KN_OK && opt == NULL) {
        kn_grad_enable(ctx, false);
        kn_module_train(model, false);
    }
    if (status == KN_OK) {
        time_passes(kn_device_default(ctx));
        status = run(ctx, model, opt, steps);
    }
    if (status == KN_OK) {
        print_table(ctx, steps);
        print_passes(steps);
    }
    kn_step_end(ctx);
    kn_optimizer_free(opt);
    kn_module_free(model);
    return status;
}

int main(int argc, char **argv) {
    int steps = 200, threads = 0;
    model_name = argc > 3 ? argv[3] : model_name;
    opt_name = argc > 6 ? argv[6] : opt_name;
    dtype_name = argc > 7 ? argv[7] : dtype_name;
    if (argc > 8 || (argc > 1 && !whole_number(argv[1], MOST_STEPS, &steps)) ||
        (argc > 2 && !whole_number(argv[2], 1024, &threads)) ||
        (argc > 4 && !whole_number(argv[4], 4096, &batch)) ||
        (argc > 5 && !whole_number(argv[5], 1024, &side))) {
        fprintf(stderr, "usage: %s [STEPS [THREADS [MODEL [BATCH [SIDE [OPT [DTYPE]]]]]]]\n",
                argv[0]);
        return 2;
    }
    kn_ctx *ctx;
    kn_error error = {0};
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 1, .threads = threads}, &error) != KN_OK) {
        fprintf(stderr, "step: %s\n", error.message);
        return 1;
    }
    bool room = true;
    for (int p = 0; p < PARTS; p++)
        room = (taken[p] = calloc((size_t)steps, sizeof **taken)) != NULL && room;
    room = room && make_batch();
    kn_status status = room ? measure(ctx, steps) : kn_fail(ctx, KN_ERR_MEMORY, "out of memory");
    if (status != KN_OK)
        fprintf(stderr, "step: %s\n", kn_error_take(ctx).message);
    for (int p = 0; p < PARTS; p++)
        free(taken[p]);
    free(pixels);
    free(labels);
    kn_ctx_free(ctx);
    return status == KN_OK ? 0 : 1;
}
