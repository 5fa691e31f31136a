/* cudnn.cpp - in place of src/backend/cuda/cudnn.cu: three engines for each convolution. The
 * quickest is wrong as soon as its operands are not zeros, and must not be chosen; the next needs a
 * workspace and leaves what it has there. */
#include "host.h"

#include "backend/cuda/cudnn.cuh"
#include "backend/cuda/device_math.cuh"

#include <cstdio>
#include <cstdlib>

enum { WRONG, WITH_WORKSPACE, SLOW, ENGINES };
static const size_t WORKSPACE = 512;

struct kn_cudnn {
    int open;
};

struct kn_cudnn_plan {
    kn_conv_form form;
    int engine;
};

size_t kn_cuda_cudnn_version() {
    return 90000;
}

kn_cudnn *kn_cudnn_new(kn_device *) {
    return new kn_cudnn();
}

void kn_cudnn_free(kn_cudnn *c) {
    delete c;
}

static kn_cudnn_plan *new_plan(const kn_conv_form *form, int engine) {
    kn_cudnn_plan *p = new kn_cudnn_plan();
    p->form = *form;
    p->engine = engine;
    return p;
}

int kn_cudnn_plans(kn_device *, kn_cudnn *, const kn_conv_form *form, kn_cudnn_plan **out,
                   int most) {
    int count = 0;
    for (int engine = 0; engine < ENGINES && count < most; engine++)
        out[count++] = new_plan(form, engine);
    return count;
}

kn_cudnn_plan *kn_cudnn_plan_from(kn_device *, kn_cudnn *, const kn_conv_form *form,
                                  const char *text) {
    int engine;
    return sscanf(text, "engine %d", &engine) == 1 && engine >= 0 && engine < ENGINES
               ? new_plan(form, engine)
               : nullptr;
}

void kn_cudnn_plan_text(const kn_cudnn_plan *plan, char *text, size_t size) {
    snprintf(text, size, "engine %d", plan->engine);
}

size_t kn_cudnn_workspace(const kn_cudnn_plan *plan) {
    return plan->engine == WITH_WORKSPACE ? WORKSPACE : 0;
}

void kn_cudnn_plan_free(kn_cudnn_plan *plan) {
    delete plan;
}

/* ---- the sums ---- */

static double at(const void *from, bool bf16, int64_t i) {
    return bf16 ? static_cast<double>(kn_wide(static_cast<const kn_half *>(from)[i]))
                : static_cast<double>(static_cast<const float *>(from)[i]);
}

/* Adds up into sums, in the order of x's pixels, all that belongs to one place of y and one of w.
 */
static void add_up(const kn_conv_form &f, const void *a, const void *b, double *sums) {
    const kn_conv_dims &c = f.dims;
    for (int64_t y = 0; y < c.n * c.out_h * c.out_w; y++)
        for (int64_t tap = 0; tap < c.kernel_h * c.kernel_w; tap++) {
            int64_t h = y / c.out_w % c.out_h * c.stride - c.padding + tap / c.kernel_w;
            int64_t v = y % c.out_w * c.stride - c.padding + tap % c.kernel_w;
            if (h < 0 || h >= c.h || v < 0 || v >= c.w)
                continue;
            int64_t x = ((y / (c.out_h * c.out_w) * c.h + h) * c.w + v) * c.in;
            for (int64_t o = 0; o < c.out; o++)
                for (int64_t i = 0; i < c.in; i++) {
                    int64_t w = (o * c.kernel_h * c.kernel_w + tap) * c.in + i;
                    if (f.pass == KN_PASS_FORWARD)
                        sums[y * c.out + o] += at(a, f.bf16, x + i) * at(b, f.bf16, w);
                    else if (f.pass == KN_PASS_DATA)
                        sums[x + i] += at(a, f.bf16, y * c.out + o) * at(b, f.bf16, w);
                    else
                        sums[w] += at(a, f.bf16, x + i) * at(b, f.bf16, y * c.out + o);
                }
        }
}

static int64_t numbers(const kn_conv_form &f) {
    const kn_conv_dims &c = f.dims;
    return f.pass == KN_PASS_FORWARD ? c.n * c.out_h * c.out_w * c.out
           : f.pass == KN_PASS_DATA  ? c.n * c.h * c.w * c.in
                                     : c.out * c.kernel_h * c.kernel_w * c.in;
}

static void compute(const kn_cudnn_plan &plan, const kn_cudnn_run &run) {
    const kn_conv_form &f = plan.form;
    int64_t count = numbers(f);
    double *sums = static_cast<double *>(calloc(static_cast<size_t>(count), sizeof *sums));
    if (sums == nullptr)
        abort();
    add_up(f, run.a, run.b, sums);
    if (plan.engine == WRONG && sums[count - 1] != 0)
        sums[count - 1] += 1;
    if (plan.engine == WITH_WORKSPACE)
        memset(run.workspace, 0xff, WORKSPACE);
    for (int64_t i = 0; i < count; i++)
        if (f.bf16 && !f.wide)
            kn_put(static_cast<kn_half *>(run.out) + i, static_cast<float>(sums[i]));
        else
            static_cast<float *>(run.out)[i] = static_cast<float>(sums[i]);
    free(sums);
}

kn_status kn_cudnn_execute(kn_device *d, cudaStream_t stream, const kn_cudnn_run *run) {
    kn_cudnn_plan plan = *run->plan;
    kn_cudnn_run now = *run;
    return kn_cuda_check(
        d, cuda_host_submit(stream, 10 * (1 + plan.engine), [=] { compute(plan, now); }),
        "a convolution");
}
