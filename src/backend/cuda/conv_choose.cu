/* conv_choose.cu - which way computes a convolution: what the plan file says, else what is found
 * here, of cuDNN's plans and the plain kernels. A way counts only if it makes of random operands
 * what the plain kernels do. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/conv_trial.cuh"
#include "backend/cuda/plans.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { CANDIDATES = 4, TIMED = 3, EIGHT = 8 };

void kn_way_free(kn_way *w) {
    kn_cudnn_plan_free(w->plan);
    free(w);
}

static kn_way *new_way(const kn_conv_form *f, int64_t padded, bool wide) {
    kn_way *w = static_cast<kn_way *>(calloc(1, sizeof *w));
    if (w == NULL)
        return NULL;
    w->form = *f;
    w->padded = padded;
    w->wide = wide;
    return w;
}

kn_way *kn_way_plain(kn_device *d, const kn_conv_form *f) {
    kn_way *w = new_way(f, f->dims.in, false);
    if (w == NULL)
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: a convolution on device cuda:%d",
                     d->ordinal);
    return w;
}

/* ---- names ---- */

/* Batches of nearly a size share a choice: an epoch's last need not be measured, too. */
static long long rounded_up(int64_t n) {
    long long size = 1;
    while (size < n)
        size *= 2;
    return size;
}

static void key_of(kn_device *d, const kn_conv_form *f, char *key) {
    const kn_conv_dims *c = &f->dims;
    const long long n[] = {rounded_up(c->n), c->h,      c->w,       c->in,    c->out,  c->kernel_h,
                           c->kernel_w,      c->stride, c->padding, c->out_h, c->out_w};
    int at = snprintf(key, KN_PLAN_KEY, "%s cudnn%zu tried %s%s%s pass%d", kn_cuda_of(d)->name,
                      kn_cuda_cudnn_version(), f->bf16 ? "bf16" : "f32", f->tf32 ? " tf32" : "",
                      f->bias && f->bf16 ? " bias" : "", f->pass);
    for (long long v : n)
        at += snprintf(key + at, static_cast<size_t>(KN_PLAN_KEY - at), " %lld", v);
}

/* What a plan is made for: perhaps with more channels. */
static kn_conv_form plan_form(const kn_way *w) {
    kn_conv_form f = w->form;
    f.dims.in = w->padded;
    f.wide = w->wide;
    return f;
}

/* "plain", or "WIDE PADDED engine ...". */
static void way_text(const kn_way *w, char *text) {
    char plan[KN_PLAN_CHOICE - 40];
    if (w->plan == NULL) {
        snprintf(text, KN_PLAN_CHOICE, "plain");
        return;
    }
    kn_cudnn_plan_text(w->plan, plan, sizeof plan);
    snprintf(text, KN_PLAN_CHOICE, "%d %lld %s", w->wide, static_cast<long long>(w->padded), plan);
}

static kn_way *way_from(kn_device *d, const kn_conv_form *f, const char *text) {
    int wide, length = 0;
    long long padded;
    if (strcmp(text, "plain") == 0)
        return new_way(f, f->dims.in, false);
    kn_cudnn *cudnn = kn_cuda_of(d)->convolutions->cudnn;
    if (cudnn == NULL || sscanf(text, "%d %lld %n", &wide, &padded, &length) < 2 ||
        padded < f->dims.in || padded > f->dims.in + EIGHT)
        return NULL;
    kn_way *w = new_way(f, padded, wide != 0);
    if (w == NULL)
        return NULL;
    kn_conv_form form = plan_form(w);
    w->plan = kn_cudnn_plan_from(d, cudnn, &form, text + length);
    if (w->plan == NULL) {
        free(w);
        return NULL;
    }
    w->workspace = kn_cudnn_workspace(w->plan);
    return w;
}

/* Adds ways with cuDNN's plans for one kind of form to a list. */
static int add_plans(kn_device *d, const kn_conv_form *f, int64_t padded, bool wide, kn_way **list,
                     int count) {
    kn_cudnn_plan *plan[CANDIDATES];
    kn_way model = {};
    model.form = *f;
    model.padded = padded;
    model.wide = wide;
    kn_conv_form form = plan_form(&model);
    int found = kn_cudnn_plans(d, kn_cuda_of(d)->convolutions->cudnn, &form, plan, CANDIDATES);
    for (int i = 0; i < found; i++) {
        kn_way *w = new_way(f, padded, wide);
        if (w == NULL) {
            kn_cudnn_plan_free(plan[i]);
            continue;
        }
        w->plan = plan[i];
        w->workspace = kn_cudnn_workspace(plan[i]);
        list[count++] = w;
    }
    return count;
}

enum { MOST_WAYS = 2 * CANDIDATES };

/* All that are worth timing, the likeliest first. */
static int candidates(kn_device *d, const kn_conv_form *f, kn_way **list) {
    int count = 0;
    int64_t in = f->dims.in, padded = (in + EIGHT - 1) / EIGHT * EIGHT;
    bool odd = f->bf16 && padded != in;
    if (kn_cuda_of(d)->convolutions->cudnn != NULL && !(odd && f->pass == KN_PASS_DATA)) {
        int64_t channels = odd ? padded : in;
        bool wide = f->bf16 && (f->pass == KN_PASS_WEIGHTS || f->bias);
        bool narrow = !f->bias || !f->bf16;
        if (wide)
            count = add_plans(d, f, channels, true, list, count);
        if (narrow)
            count = add_plans(d, f, channels, false, list, count);
    }
    if (count == 0 || kn_cuda_is_first(&f->dims)) {
        list[count] = new_way(f, in, false);
        count += list[count] != NULL;
    }
    return count;
}

/* ---- is it right? ---- */

static void tell_off(kn_device *d, const kn_way *w, float off, const char *then) {
    char key[KN_PLAN_KEY], text[KN_PLAN_CHOICE];
    key_of(d, &w->form, key);
    way_text(w, text);
    fprintf(stderr, "cuda: %s: \"%s\" is off by %g%s\n", key, text, static_cast<double>(off), then);
}

static bool is_right(kn_device *d, kn_way *w, const kn_trial *t) {
    float off = kn_trial_off(d, w, t);
    bool right = off <= kn_trial_allowed(&w->form);
    if (!right && kn_cuda_of(d)->debug)
        tell_off(d, w, off, ": not used");
    return right;
}

void kn_way_check(kn_device *d, const kn_way *w, const kn_operands *o) {
    float off = kn_way_off(d, w, o);
    if (!(off <= kn_trial_allowed(&w->form)))
        tell_off(d, w, off, "");
}

/* ---- is it quick? ---- */

/* Keeps the device busy while the host asks for what is to be timed. */
static __global__ void delay_kernel(long long ticks) {
    long long began = clock64();
    while (clock64() - began < ticks) {
    }
}

static bool delay(cudaStream_t stream) {
    long long ticks = 600000;
    void *params[] = {&ticks};
    return cudaLaunchKernel(KN_CUDA_KERNEL_OF(delay_kernel), 1, 1, params, 0, stream) ==
           cudaSuccess;
}

/* Milliseconds of one run on the device, of a way that ran before; negative: it fails. */
static float time_of(kn_device *d, const kn_way *w, const kn_operands *o) {
    kn_cuda *cuda = kn_cuda_of(d);
    kn_cuda_convolutions *c = cuda->convolutions;
    float ms = -1;
    char *room = static_cast<char *>(kn_cuda_scratch(d, kn_way_scratch(w)));
    if (room == NULL || kn_cuda_wait(d) != KN_OK)
        return -1;
    bool fine = delay(cuda->stream) && cudaEventRecord(c->began, cuda->stream) == cudaSuccess;
    for (int i = 0; i < TIMED && fine; i++)
        fine = kn_way_run(d, w, o, room) == KN_OK && kn_cuda_flush(d) == KN_OK;
    fine = fine && cudaEventRecord(c->ended, cuda->stream) == cudaSuccess &&
           cudaEventSynchronize(c->ended) == cudaSuccess &&
           cudaEventElapsedTime(&ms, c->began, c->ended) == cudaSuccess;
    return fine ? ms / TIMED : -1;
}

/* The quickest of a list that is right, which this keeps or frees; without a plan file the first,
 * as every run must choose alike. NULL: none is. That one fails is no error of the caller's. */
static kn_way *best_of(kn_device *d, kn_way **list, int count, const kn_trial *t) {
    kn_way *best = NULL;
    kn_error *error = d->error, ignored = {};
    bool timed = d->plans != NULL;
    float least = -1;
    d->error = &ignored;
    for (int i = 0; i < count; i++) {
        bool right = (timed || best == NULL) && is_right(d, list[i], t);
        float ms = !right ? -1 : timed && count > 1 ? time_of(d, list[i], &t->operands) : 0;
        bool better = ms >= 0 && (best == NULL || ms < least);
        if (better && best != NULL)
            kn_way_free(best);
        if (better) {
            best = list[i];
            least = ms;
        } else {
            kn_way_free(list[i]);
        }
        ignored = {};
    }
    d->error = error;
    return best;
}

static kn_way *choose(kn_device *d, const kn_conv_form *f) {
    kn_way *list[MOST_WAYS + 1], *best = NULL;
    kn_trial trial;
    int count = candidates(d, f, list);
    if (count == 1 && list[0]->plan == NULL)
        return list[0];
    if (count > 0 && kn_trial_begin(d, f, &trial) != KN_OK) {
        for (int i = 0; i < count; i++)
            kn_way_free(list[i]);
        return NULL;
    }
    if (count > 0) {
        best = best_of(d, list, count, &trial);
        kn_trial_end(d, &trial);
    }
    return best != NULL ? best : kn_way_plain(d, f);
}

kn_way *kn_way_choose(kn_device *d, const kn_conv_form *f) {
    char key[KN_PLAN_KEY], text[KN_PLAN_CHOICE];
    key_of(d, f, key);
    kn_way *w = kn_cuda_plan_find(d, key, text) ? way_from(d, f, text) : NULL;
    if (w != NULL)
        return w;
    w = choose(d, f);
    if (w == NULL)
        return NULL;
    way_text(w, text);
    kn_cuda_plan_add(d, key, text);
    return w;
}
