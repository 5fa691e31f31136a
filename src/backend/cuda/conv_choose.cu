/* conv_choose.cu - which way computes a convolution: what the plan file says, else what is found
 * here, of cuDNN's plans and the plain kernels. A way counts only if its result is the plain
 * kernels'. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/conv_way.cuh"
#include "backend/cuda/device_math.cuh"
#include "backend/cuda/plans.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { CANDIDATES = 4, TIMED = 3, EIGHT = 8 };

void kn_way_free(kn_way *w) {
    kn_cudnn_plan_free(w->plan);
    free(w);
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
    int at = snprintf(key, KN_PLAN_KEY, "%s cudnn%zu %s%s%s pass%d", kn_cuda_of(d)->name,
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

static kn_way *new_way(const kn_conv_form *f, int64_t padded, bool wide) {
    kn_way *w = static_cast<kn_way *>(calloc(1, sizeof *w));
    if (w == NULL)
        return NULL;
    w->form = *f;
    w->padded = padded;
    w->wide = wide;
    return w;
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

enum { THREADS = 256, BLOCKS = 64 };

/* The largest difference, and the largest number of the second: a part of each block. */
template <typename T>
static __global__ void compare_kernel(int64_t n, const T *a, const T *b, float2 *parts) {
    __shared__ float room[2][32];
    float off = 0, size = 0;
    for (int64_t i = kn_thread(); i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        off = kn_larger(off, fabsf(kn_wide(a[i]) - kn_wide(b[i])));
        size = kn_larger(size, fabsf(kn_wide(b[i])));
    }
    off = kn_warp_max(off);
    size = kn_warp_max(size);
    if (threadIdx.x % 32 == 0) {
        room[0][threadIdx.x / 32] = off;
        room[1][threadIdx.x / 32] = size;
    }
    __syncthreads();
    for (unsigned i = 1; i < blockDim.x / 32 && threadIdx.x == 0; i++) {
        off = kn_larger(off, room[0][i]);
        size = kn_larger(size, room[1][i]);
    }
    if (threadIdx.x == 0)
        parts[blockIdx.x] = make_float2(off, size);
}

static int64_t result_numbers(const kn_conv_form *f) {
    const kn_conv_dims *c = &f->dims;
    return f->pass == KN_PASS_FORWARD ? c->n * c->out_h * c->out_w * c->out
           : f->pass == KN_PASS_DATA  ? c->n * c->h * c->w * c->in
                                      : c->out * c->in * c->kernel_h * c->kernel_w;
}

static bool narrow_result(const kn_conv_form *f) {
    return f->bf16 && f->pass != KN_PASS_WEIGHTS;
}

/* The difference of two results in parts of the second's largest number; NaN when something fails.
 * *telling: the second is neither zeros nor NaN. */
static float difference(kn_device *d, const kn_conv_form *f, const void *a, const void *b,
                        bool *telling) {
    float2 host[BLOCKS];
    float off = 0, size = 0;
    int64_t n = result_numbers(f);
    float2 *parts = static_cast<float2 *>(kn_cuda_scratch(d, sizeof host));
    if (parts == NULL)
        return NAN;
    kn_status status =
        narrow_result(f)
            ? kn_cuda_launch(d, "compare", compare_kernel<kn_half>, BLOCKS, THREADS, 0, n,
                             static_cast<const kn_half *>(a), static_cast<const kn_half *>(b),
                             parts)
            : kn_cuda_launch(d, "compare", compare_kernel<float>, BLOCKS, THREADS, 0, n,
                             static_cast<const float *>(a), static_cast<const float *>(b), parts);
    if (status != KN_OK || kn_cuda_copy_out(d, host, parts, sizeof host) != KN_OK)
        return NAN;
    for (float2 part : host) {
        off = part.x > off || part.x != part.x ? part.x : off;
        size = part.y > size || part.y != part.y ? part.y : size;
    }
    *telling = std::isfinite(size) && size > 0;
    return *telling ? off / size : 0;
}

/* What the plain kernels make of the operands, in memory that the caller frees. NULL: no room. */
static void *plain_result(kn_device *d, const kn_conv_form *f, const kn_operands *o) {
    size_t size = narrow_result(f) ? sizeof(kn_bf16) : sizeof(float);
    void *result = kn_cuda_alloc(d, static_cast<size_t>(result_numbers(f)) * size);
    kn_way *plain = new_way(f, f->dims.in, false);
    char *room =
        plain != NULL ? static_cast<char *>(kn_cuda_scratch(d, kn_way_scratch(plain))) : NULL;
    kn_operands own = *o;
    own.out = result;
    bool good = result != NULL && room != NULL && kn_way_run(d, plain, &own, room) == KN_OK &&
                kn_cuda_wait(d) == KN_OK;
    free(plain);
    if (good)
        return result;
    cudaFree(result);
    return NULL;
}

static float allowed(const kn_conv_form *f) {
    return f->bf16 || f->tf32 ? 2e-2f : 3e-5f;
}

static void tell_off(kn_device *d, const kn_way *w, float off, const char *then) {
    char key[KN_PLAN_KEY], text[KN_PLAN_CHOICE];
    key_of(d, &w->form, key);
    way_text(w, text);
    fprintf(stderr, "cuda: %s: \"%s\" is off by %g%s\n", key, text, static_cast<double>(off), then);
}

/* Runs a way once and holds its result against the plain one; NULL: there is no room for one. */
static bool is_right(kn_device *d, kn_way *w, const kn_operands *o, const void *want) {
    char *room = static_cast<char *>(kn_cuda_scratch(d, kn_way_scratch(w)));
    if (room == NULL || kn_way_run(d, w, o, room) != KN_OK || kn_cuda_wait(d) != KN_OK)
        return false;
    w->proved = false;
    float off = want != NULL ? difference(d, &w->form, o->out, want, &w->proved) : 0;
    bool right = off <= allowed(&w->form);
    if (!right && kn_cuda_of(d)->debug)
        tell_off(d, w, off, ": not used");
    return right;
}

void kn_way_check(kn_device *d, const kn_way *w, const kn_operands *o) {
    bool telling;
    void *want = kn_cuda_wait(d) == KN_OK ? plain_result(d, &w->form, o) : NULL;
    float off = want != NULL ? difference(d, &w->form, o->out, want, &telling) : 0;
    if (!(off <= allowed(&w->form)))
        tell_off(d, w, off, "");
    cudaFree(want);
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

/* The quickest that is right; without a plan file the first, as every run must choose alike. That
 * one fails is no error of the caller's. */
static kn_way *choose(kn_device *d, const kn_conv_form *f, const kn_operands *o) {
    kn_way *list[MOST_WAYS + 1], *best = NULL;
    kn_error *error = d->error, ignored = {};
    bool timed = d->plans != NULL;
    float least = -1;
    d->error = &ignored;
    int count = candidates(d, f, list);
    void *want = count > 0 ? plain_result(d, f, o) : NULL;
    for (int i = 0; i < count; i++) {
        bool right = (timed || best == NULL) && is_right(d, list[i], o, want);
        float ms = !right ? -1 : timed && count > 1 ? time_of(d, list[i], o) : 0;
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
    cudaFree(want);
    d->error = error;
    if (best == NULL) {
        best = new_way(f, f->dims.in, false);
        if (best != NULL)
            best->proved = true; /* the plain kernels are what others are held against */
    }
    return best;
}

kn_way *kn_way_choose(kn_device *d, const kn_conv_form *f, const kn_operands *o) {
    char key[KN_PLAN_KEY], text[KN_PLAN_CHOICE];
    key_of(d, f, key);
    kn_way *w = kn_cuda_plan_find(d, key, text) ? way_from(d, f, text) : NULL;
    if (w != NULL) {
        w->proved = true; /* when it was written down */
        return w;
    }
    w = choose(d, f, o);
    if (w == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: a convolution on device cuda:%d",
                     d->ordinal);
        return NULL;
    }
    way_text(w, text);
    if (w->proved)
        kn_cuda_plan_add(d, key, text);
    return w;
}
