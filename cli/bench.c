/* bench.c - kiln bench: what this machine can do, and how near to it Kiln comes. */
#include "bench.h"

#include "backend/peak.h"

#include "core/clock.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- taking a time ---- */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_time(kn_status (*once)(void *arg), void *arg, kn_status *status) {
    enum { WARM_UP = 2, LEAST = 5, MOST = 101 };
    double seconds[MOST], all = 0;
    int count = 0;
    for (int i = -WARM_UP; i < LEAST || (i < MOST && all < 0.5); i++) {
        double began = kn_clock();
        *status = once(arg);
        if (*status != KN_OK)
            return NAN;
        if (i < 0)
            continue;
        seconds[count] = kn_clock() - began;
        all += seconds[count++];
    }
    qsort(seconds, (size_t)count, sizeof *seconds, by_size);
    return (seconds[count / 2] + seconds[(count - 1) / 2]) / 2;
}

kn_status bench_wait(kn_ctx *ctx) {
    kn_item(ctx, kn_zeros(ctx, KN_F32, KN_SCALAR)); /* reading a number waits for all before it */
    kn_step_end(ctx);
    return kn_ctx_status(ctx);
}

/* ---- the machine ---- */

static void tell_machine(bench *b) {
    int threads = kn_ctx_threads(b->s->ctx);
    double copy = b->copy = kn_peak_copy(threads);
    kn_device *d = kn_device_default(b->s->ctx);
    b->peak = kn_peak_flops(threads);
    kn_text t = {0};
    if (b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "machine");
        line_string(&t, "device", kn_device_about(d));
        line_int(&t, "threads", threads);
        line_real(&t, "fma_gflops", b->peak > 0 ? b->peak * 1e-9 : NAN);
        line_real(&t, "copy_gb_per_s", copy * 1e-9);
        line_close(&t);
    } else {
        kn_text_printf(&t, "device    %s\n", kn_device_about(d));
        if (b->peak > 0)
            kn_text_printf(&t, "FMA peak  %.0f GFLOP/s in f32\n", b->peak * 1e-9);
        kn_text_printf(&t, "copying   %.1f GB/s, read and written\n", copy * 1e-9);
    }
    report_out(&b->s->r, &t);
}

static void tell_memory(bench *b) {
    struct rusage usage;
    kn_text t = {0};
    int64_t bytes = getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss << 10 : 0;
    if (b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "memory");
        line_int(&t, "peak_memory", bytes);
        line_close(&t);
    } else
        kn_text_printf(&t, "\nmemory    %.0f MB at most\n", (double)bytes / 1e6);
    report_out(&b->s->r, &t);
}

/* ---- the command ---- */

static bool wanted(const session *s, const char *part) {
    return strcmp(s->a.only, "all") == 0 || strcmp(s->a.only, part) == 0;
}

/* On a device with memory of its own: what copying moves there, and whole steps. Its kernels are
 * timed by its vendor's tools. */
static kn_status bench_async(bench *b) {
    static const bench_net nets[] = {
        {"simple_cnn", 128, 64, true}, {"resnet18", 128, 128, true}, {"xresnet50", 128, 128, true}};
    kn_status status = bench_device_copy(b);
    for (size_t i = 0; i < KN_COUNT(nets) && status == KN_OK; i++)
        if (wanted(b->s, nets[i].model))
            status = bench_step(b, &nets[i]);
    return status;
}

static kn_status bench_host(bench *b) {
    static const bench_net nets[] = {
        {"simple_cnn", 128, 64, false}, {"resnet18", 32, 128, false}, {"xresnet50", 32, 128, true}};
    tell_machine(b); /* always: the others are held against it */
    kn_status status = wanted(b->s, "pictures") ? bench_pictures(b) : KN_OK;
    if (status == KN_OK && wanted(b->s, "ops"))
        status = bench_ops(b);
    for (size_t i = 0; i < KN_COUNT(nets) && status == KN_OK; i++) {
        if (!wanted(b->s, nets[i].model))
            continue;
        status = nets[i].steps_only ? KN_OK : bench_conv(b, &nets[i]);
        if (status == KN_OK)
            status = bench_step(b, &nets[i]);
    }
    return status;
}

int bench_run(session *s) {
    bench b = {.s = s};
    kn_device *d = kn_device_default(s->ctx);
    if (d == NULL || (kn_device_is_host(d) ? bench_host(&b) : bench_async(&b)) != KN_OK)
        return session_fail(s);
    tell_memory(&b);
    return EXIT_DONE;
}
