/* cudnn.cpp - in place of src/backend/cuda/cudnn.cu: four engines for each convolution. The
 * quickest is wrong in one number, if that is not zero; the next adds to what it finds in the
 * result's place. Neither must be chosen. The third needs a workspace and leaves what it has there.
 */
#include "host.h"

#include "backend/cuda/cudnn.cuh"
#include "backend/cuda/device_math.cuh"

#include <cstdio>
#include <vector>

enum { WRONG, ADDING, WITH_WORKSPACE, SLOW, ENGINES };
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

typedef std::vector<float> numbers;

static int64_t x_numbers(const kn_conv_dims &c) {
    return c.n * c.h * c.w * c.in;
}
static int64_t w_numbers(const kn_conv_dims &c) {
    return c.out * c.kernel_h * c.kernel_w * c.in;
}
static int64_t y_numbers(const kn_conv_dims &c) {
    return c.n * c.out_h * c.out_w * c.out;
}

static numbers read(const void *from, bool bf16, int64_t count) {
    numbers all(static_cast<size_t>(count));
    for (size_t i = 0; i < all.size(); i++)
        all[i] = bf16 ? kn_wide(static_cast<const kn_half *>(from)[i])
                      : static_cast<const float *>(from)[i];
    return all;
}

/* One pixel's channels x, one place of the kernel w, one output channel's number y. */
static void add_row(kn_conv_pass pass, int64_t in, float *x, float *w, float *y) {
    if (pass == KN_PASS_FORWARD) {
        float sum[8] = {};
        int64_t i = 0;
        for (; i + 8 <= in; i += 8)
            for (int k = 0; k < 8; k++)
                sum[k] += x[i + k] * w[i + k];
        for (; i < in; i++)
            sum[0] += x[i] * w[i];
        for (float part : sum)
            *y += part;
    } else if (pass == KN_PASS_DATA) {
        for (int64_t i = 0; i < in; i++)
            x[i] += w[i] * *y;
    } else {
        for (int64_t i = 0; i < in; i++)
            w[i] += x[i] * *y;
    }
}

static void add_up(const kn_conv_form &f, float *x, float *w, float *y) {
    const kn_conv_dims &c = f.dims;
    int64_t taps = c.kernel_h * c.kernel_w;
    for (int64_t at = 0; at < c.n * c.out_h * c.out_w; at++)
        for (int64_t tap = 0; tap < taps; tap++) {
            int64_t h = at / c.out_w % c.out_h * c.stride - c.padding + tap / c.kernel_w;
            int64_t v = at % c.out_w * c.stride - c.padding + tap % c.kernel_w;
            if (h < 0 || h >= c.h || v < 0 || v >= c.w)
                continue;
            int64_t pixel = (at / (c.out_h * c.out_w) * c.h + h) * c.w + v;
            for (int64_t o = 0; o < c.out; o++)
                add_row(f.pass, c.in, x + pixel * c.in, w + (o * taps + tap) * c.in,
                        y + at * c.out + o);
        }
}

static numbers sums_of(const kn_conv_form &f, const void *a, const void *b) {
    const kn_conv_dims &c = f.dims;
    numbers x = f.pass == KN_PASS_DATA ? numbers(static_cast<size_t>(x_numbers(c)))
                                       : read(a, f.bf16, x_numbers(c));
    numbers w = f.pass == KN_PASS_WEIGHTS ? numbers(static_cast<size_t>(w_numbers(c)))
                                          : read(b, f.bf16, w_numbers(c));
    numbers y = f.pass == KN_PASS_FORWARD
                    ? numbers(static_cast<size_t>(y_numbers(c)))
                    : read(f.pass == KN_PASS_DATA ? a : b, f.bf16, y_numbers(c));
    add_up(f, x.data(), w.data(), y.data());
    return f.pass == KN_PASS_FORWARD ? y : f.pass == KN_PASS_DATA ? x : w;
}

static void compute(const kn_cudnn_plan &plan, const kn_cudnn_run &run) {
    const kn_conv_form &f = plan.form;
    numbers sums = sums_of(f, run.a, run.b);
    if (plan.engine == WRONG && !sums.empty() && sums.back() != 0)
        sums.back() += 1;
    static unsigned char other;
    if (plan.engine == WITH_WORKSPACE)
        memset(run.workspace, ++other, WORKSPACE);
    bool narrow = f.bf16 && !f.wide;
    if (plan.engine == ADDING) {
        numbers found = read(run.out, narrow, static_cast<int64_t>(sums.size()));
        for (size_t i = 0; i < sums.size(); i++)
            sums[i] += found[i];
    }
    for (size_t i = 0; i < sums.size(); i++)
        if (narrow)
            kn_put(static_cast<kn_half *>(run.out) + i, sums[i]);
        else
            static_cast<float *>(run.out)[i] = sums[i];
}

kn_status kn_cudnn_execute(kn_device *d, cudaStream_t stream, const kn_cudnn_run *run) {
    kn_cudnn_plan plan = *run->plan;
    kn_cudnn_run now = *run;
    return kn_cuda_check(
        d, cuda_host_submit(stream, 10 * (1 + plan.engine), [=] { compute(plan, now); }),
        "a convolution");
}
