/* conv.c - each convolution of a network, alone: forward, gradient of the input, gradient of the
 * weights.
 *
 *     build/bench/conv [DEVICE [THREADS [REPEATS]]]
 *
 * The shapes are simple_cnn's (batch 128, 64x64) and resnet18's (batch 32, 128x128). Prints the
 * median time of each pass over REPEATS (9) and its GFLOP/s. */
#include "backend/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct row {
    const char *net;
    int count; /* how many such a step has */
    int64_t n, side, in, out, kernel, stride;
} row;

static const row rows[] = {
    {"simple_cnn", 1, 128, 64, 3, 16, 3, 2},   {"simple_cnn", 1, 128, 32, 16, 32, 3, 2},
    {"simple_cnn", 1, 128, 16, 32, 64, 3, 2},  {"simple_cnn", 1, 128, 8, 64, 128, 3, 2},
    {"resnet18", 1, 32, 128, 3, 64, 7, 2},     {"resnet18", 4, 32, 32, 64, 64, 3, 1},
    {"resnet18", 1, 32, 32, 64, 128, 3, 2},    {"resnet18", 1, 32, 32, 64, 128, 1, 2},
    {"resnet18", 3, 32, 16, 128, 128, 3, 1},   {"resnet18", 1, 32, 16, 128, 256, 3, 2},
    {"resnet18", 1, 32, 16, 128, 256, 1, 2},   {"resnet18", 3, 32, 8, 256, 256, 3, 1},
    {"resnet18", 1, 32, 8, 256, 512, 3, 2},    {"resnet18", 1, 32, 8, 256, 512, 1, 2},
    {"resnet18", 3, 32, 4, 512, 512, 3, 1},    {"xresnet stem", 1, 32, 128, 3, 32, 3, 2},
    {"xresnet stem", 1, 32, 64, 32, 32, 3, 1}, {"xresnet stem", 1, 32, 64, 32, 64, 3, 1},
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *numbers(int64_t n) {
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 63) / 64 * 64);
    for (int64_t i = 0; x != NULL && i < n; i++)
        x[i] = (float)(i * 7 % 13) / 13 - 0.5f;
    return x;
}

enum { PASSES = 3, MOST_REPEATS = 1000 };
static double total[PASSES];

static kn_status pass(kn_device *d, int which, const kn_conv_dims *c, float *x, float *w, float *y,
                      uint64_t version) {
    kn_weights weights = {w, 1, version};
    switch (which) {
    case 0:
        return d->ops->conv(d, c, x, weights, NULL, false, y);
    case 1:
        return d->ops->conv_grad_data(d, c, y, weights, x);
    default:
        return d->ops->conv_grad_weights(d, c, x, y, w, NULL);
    }
}

static kn_status measure(kn_device *d, const row *r, int repeats) {
    kn_conv_dims c = {r->n,      r->side,   r->side,       r->in, r->out, r->kernel,
                      r->kernel, r->stride, r->kernel / 2, 0,     0};
    c.out_h = c.out_w = (r->side + 2 * c.padding - r->kernel) / r->stride + 1;
    float *x = numbers(c.n * c.h * c.w * c.in), *y = numbers(c.n * c.out_h * c.out_w * c.out);
    float *w = numbers(c.out * c.in * c.kernel_h * c.kernel_w);
    double work = 2e-6 * (double)(c.n * c.out_h * c.out_w * c.out * c.in * c.kernel_h * c.kernel_w);
    kn_status status = x == NULL || y == NULL || w == NULL ? KN_ERR_MEMORY : KN_OK;
    printf("%-12s %dx [%3d,%3d,%3d,%3d] %dx%d/%d -> %3d", r->net, r->count, (int)c.n, (int)c.h,
           (int)c.w, (int)c.in, (int)c.kernel_h, (int)c.kernel_w, (int)c.stride, (int)c.out);
    for (int which = 0; which < PASSES && status == KN_OK; which++) {
        double ms[MOST_REPEATS];
        for (int i = -2; i < repeats && status == KN_OK; i++) {
            double began = now();
            status = pass(d, which, &c, x, w, y, (uint64_t)(i + 3));
            ms[i < 0 ? 0 : i] = now() - began;
        }
        qsort(ms, (size_t)repeats, sizeof *ms, by_size);
        total[which] += r->count * ms[repeats / 2];
        printf(" %8.2f ms %4.0f", ms[repeats / 2], work / ms[repeats / 2]);
    }
    printf("\n");
    d->ops->forget(d, 1);
    free(x);
    free(y);
    free(w);
    return status;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "cpu";
    int threads = argc > 2 ? atoi(argv[2]) : 0, repeats = argc > 3 ? atoi(argv[3]) : 9;
    if (argc > 4 || repeats < 1 || repeats > MOST_REPEATS) {
        fprintf(stderr, "usage: %s [DEVICE [THREADS [REPEATS]]]\n", argv[0]);
        return 2;
    }
    kn_ctx *ctx;
    kn_error error = {0};
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.threads = threads}, &error) != KN_OK) {
        fprintf(stderr, "conv: %s\n", error.message);
        return 1;
    }
    kn_device *d = kn_device_open(ctx, name);
    kn_status status = d == NULL ? kn_ctx_status(ctx) : KN_OK;
    if (status == KN_OK)
        printf("%s (%s); ms and GFLOP/s of forward, data, weights\n", kn_device_name(d),
               kn_device_about(d));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && status == KN_OK; i++)
        status = measure(d, &rows[i], repeats);
    if (status == KN_OK)
        printf("all: %.1f %.1f %.1f ms\n", total[0], total[1], total[2]);
    else
        fprintf(stderr, "conv: %s\n", kn_error_take(ctx).message);
    kn_ctx_free(ctx);
    return status == KN_OK ? 0 : 1;
}
