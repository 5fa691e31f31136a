/* conv.cu - the table's convolutions: for each shape the way that computes it is chosen once, of
 * cuDNN's plans and the plain kernels; then weights are packed, and it runs. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/cudnn.cuh"
#include "backend/cuda/plans.cuh"
#include "backend/cuda/weights.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { BUCKETS = 256, CANDIDATES = 4, TIMED = 3, EIGHT = 8 };

/* A way to compute a form. Without a plan: the plain kernels. Bias and relu have a kernel of their
 * own: cuDNN's relu makes 0 of NaN, and a plan with them in it would round otherwise than one
 * without. */
struct way {
    kn_conv_form form; /* as the caller has it */
    kn_cudnn_plan *plan;
    bool fused;     /* bias and relu are in the plan */
    bool wide;      /* the gradient of weights comes in f32 */
    int64_t padded; /* input channels of the plan */
    size_t workspace;
    way *next; /* in its bucket */
};

struct kn_cuda_convolutions {
    kn_cudnn *cudnn; /* NULL: plain kernels only */
    bool tf32;
    way *bucket[BUCKETS];
    kn_packed_table packed;
    cudaEvent_t began, ended;
};

/* ---- opened at the first convolution ---- */

static kn_cuda_convolutions *opened(kn_device *d) {
    kn_cuda *cuda = kn_cuda_of(d);
    const char *told = getenv("KILN_CUDA_CONV"), *tf32 = getenv("KILN_CUDA_TF32");
    if (cuda->convolutions != NULL)
        return cuda->convolutions;
    kn_cuda_convolutions *c = static_cast<kn_cuda_convolutions *>(calloc(1, sizeof *c));
    if (c == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: convolutions on device cuda:%d", d->ordinal);
        return NULL;
    }
    cuda->convolutions = c;
    c->tf32 = tf32 != NULL && strcmp(tf32, "1") == 0;
    bool plain = told != NULL && strcmp(told, "plain") == 0;
    if (!plain)
        c->cudnn = kn_cudnn_new(d);
    if ((!plain && c->cudnn == NULL) ||
        kn_cuda_check(d, cudaEventCreate(&c->began), "an event") != KN_OK ||
        kn_cuda_check(d, cudaEventCreate(&c->ended), "an event") != KN_OK) {
        kn_cuda_convolutions_free(d);
        return NULL;
    }
    return c;
}

static void drop_way(way *w) {
    kn_cudnn_plan_free(w->plan);
    free(w);
}

void kn_cuda_convolutions_free(kn_device *d) {
    kn_cuda_convolutions *c = kn_cuda_of(d)->convolutions;
    if (c == NULL)
        return;
    for (way *&first : c->bucket)
        while (first != NULL) {
            way *gone = first;
            first = gone->next;
            drop_way(gone);
        }
    kn_packed_free(&c->packed);
    kn_cudnn_free(c->cudnn);
    if (c->began != NULL)
        cudaEventDestroy(c->began);
    if (c->ended != NULL)
        cudaEventDestroy(c->ended);
    free(c);
    kn_cuda_of(d)->convolutions = NULL;
}

extern "C" void kn_cuda_forget(kn_device *d, uint64_t id) {
    if (kn_cuda_of(d)->convolutions != NULL)
        kn_packed_forget(d, &kn_cuda_of(d)->convolutions->packed, id);
}

/* ---- one run of a way ---- */

/* Forward: in x, weights, bias; out y. Data: dy, weights; dx. Weights: x, dy; dw [O,I,KH,KW]. */
struct operands {
    const void *a, *b;
    kn_weights weights;
    const float *bias;
    bool relu;
    void *out;
};

static size_t up(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

static size_t element(const way *w) {
    return w->form.bf16 ? sizeof(kn_bf16) : sizeof(float);
}

static size_t weights_bytes(const way *w) {
    const kn_conv_dims *c = &w->form.dims;
    size_t size = w->form.pass == KN_PASS_WEIGHTS && w->wide ? sizeof(float) : element(w);
    return up(static_cast<size_t>(c->out * c->kernel_h * c->kernel_w * w->padded) * size);
}

/* What comes out before the bias is added: bf16 is rounded to after it, once. */
static size_t sums_bytes(const way *w) {
    const kn_conv_dims *c = &w->form.dims;
    return w->form.pass == KN_PASS_FORWARD && w->wide
               ? up(static_cast<size_t>(c->n * c->out_h * c->out_w * c->out) * sizeof(float))
               : 0;
}

static size_t image_bytes(const way *w) {
    const kn_conv_dims *c = &w->form.dims;
    return w->padded != c->in ? up(static_cast<size_t>(c->n * c->h * c->w * w->padded) * element(w))
                              : 0;
}

static size_t scratch_of(const way *w) {
    size_t plain = w->plan == NULL && w->form.pass == KN_PASS_WEIGHTS
                       ? up(kn_cuda_plain_grad_weights_scratch(&w->form.dims))
                       : 0;
    return up(w->workspace) + weights_bytes(w) + image_bytes(w) + sums_bytes(w) + plain;
}

static kn_status execute_call(kn_device *d, cudaStream_t stream, const void *args) {
    return kn_cudnn_execute(d, stream, static_cast<const kn_cudnn_run *>(args));
}

static kn_status run_plan(kn_device *d, const way *w, const void *a, const void *b, void *out,
                          void *workspace) {
    static const char *const name[] = {"conv", "conv_grad_data", "conv_grad_weights"};
    kn_cudnn_run run = {kn_cuda_of(d)->convolutions->cudnn, w->plan, a, b, out, workspace};
    return kn_cuda_submit(d, name[w->form.pass], execute_call, &run, sizeof run);
}

/* The packed weights: a parameter's copy, or one in room. NULL with the error set. */
static const void *packed_weights(kn_device *d, const way *w, kn_weights weights, void *room) {
    const kn_conv_dims *c = &w->form.dims;
    bool as_they_are = !w->form.bf16 && c->kernel_h * c->kernel_w == 1 && w->padded == c->in &&
                       reinterpret_cast<uintptr_t>(weights.data) % 16 == 0;
    if (as_they_are)
        return weights.data;
    if (weights.id != 0)
        return kn_packed_get(d, &kn_cuda_of(d)->convolutions->packed, c, w->padded, w->form.bf16,
                             weights);
    kn_status status = kn_cuda_pack_weights(d, c, w->padded, w->form.bf16, weights.data, room);
    return status == KN_OK ? room : NULL;
}

static kn_status run_forward(kn_device *d, const way *w, const operands *o, const void *packed,
                             char *image, void *workspace) {
    const kn_conv_form *f = &w->form;
    const kn_conv_dims *c = &f->dims;
    const void *x = o->a;
    char *sums = static_cast<char *>(workspace) + up(w->workspace);
    kn_status status = KN_OK;
    if (w->plan == NULL)
        return kn_cuda_plain_conv(d, c, f->bf16, x, packed, o->bias, o->relu, o->out);
    if (w->padded != c->in) {
        status = kn_cuda_pad_channels(d, c->n * c->h * c->w, c->in, w->padded, f->bf16, x, image);
        x = image;
    }
    if (status == KN_OK)
        status = run_plan(d, w, x, packed, w->wide ? sums : o->out, workspace);
    if (status == KN_OK && (o->bias != NULL || o->relu))
        status = kn_cuda_bias_relu(d, c->n * c->out_h * c->out_w, c->out, f->bf16,
                                   w->wide ? reinterpret_cast<float *>(sums) : NULL, o->bias,
                                   o->relu, o->out);
    return status;
}

static kn_status run_weights(kn_device *d, const way *w, const operands *o, char *room, char *image,
                             void *workspace) {
    const kn_conv_form *f = &w->form;
    const kn_conv_dims *c = &f->dims;
    const void *x = o->a;
    float *dw = static_cast<float *>(o->out);
    kn_status status = KN_OK;
    if (w->plan == NULL)
        return kn_cuda_plain_grad_weights(d, c, f->bf16, x, o->b, dw, workspace);
    if (w->padded != c->in) {
        status = kn_cuda_pad_channels(d, c->n * c->h * c->w, c->in, w->padded, f->bf16, x, image);
        x = image;
    }
    bool direct = (!f->bf16 || w->wide) && w->padded == c->in && c->kernel_h * c->kernel_w == 1 &&
                  reinterpret_cast<uintptr_t>(dw) % 16 == 0;
    if (status == KN_OK)
        status = run_plan(d, w, x, o->b, direct ? static_cast<void *>(dw) : room, workspace);
    return status == KN_OK && !direct
               ? kn_cuda_unpack_weights(d, c, w->padded, f->bf16 && !w->wide, room, dw)
               : status;
}

/* room: scratch_of(w) bytes. */
static kn_status run_way(kn_device *d, const way *w, const operands *o, char *room) {
    const kn_conv_form *f = &w->form;
    char *weights = room, *image = weights + weights_bytes(w), *workspace = image + image_bytes(w);
    if (f->pass == KN_PASS_WEIGHTS)
        return run_weights(d, w, o, weights, image, workspace);
    const void *packed = packed_weights(d, w, o->weights, weights);
    if (packed == NULL)
        return d->error->status;
    if (f->pass == KN_PASS_FORWARD)
        return run_forward(d, w, o, packed, image, workspace);
    return w->plan != NULL ? run_plan(d, w, o->a, packed, o->out, workspace)
                           : kn_cuda_plain_grad_data(d, &f->dims, f->bf16, o->a, packed, o->out);
}

/* ---- choosing ---- */

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
static kn_conv_form plan_form(const way *w) {
    kn_conv_form f = w->form;
    f.dims.in = w->padded;
    f.wide = w->wide;
    return f;
}

static way *new_way(const kn_conv_form *f, int64_t padded, bool wide) {
    way *w = static_cast<way *>(calloc(1, sizeof *w));
    if (w == NULL)
        return NULL;
    w->form = *f;
    w->padded = padded;
    w->wide = wide;
    return w;
}

/* "plain", or "WIDE PADDED engine ...". */
static void way_text(const way *w, char *text) {
    char plan[KN_PLAN_CHOICE - 40];
    if (w->plan == NULL) {
        snprintf(text, KN_PLAN_CHOICE, "plain");
        return;
    }
    kn_cudnn_plan_text(w->plan, plan, sizeof plan);
    snprintf(text, KN_PLAN_CHOICE, "%d %lld %s", w->wide, static_cast<long long>(w->padded), plan);
}

static way *way_from(kn_device *d, const kn_conv_form *f, const char *text) {
    int wide, length = 0;
    long long padded;
    if (strcmp(text, "plain") == 0)
        return new_way(f, f->dims.in, false);
    kn_cudnn *cudnn = kn_cuda_of(d)->convolutions->cudnn;
    if (cudnn == NULL || sscanf(text, "%d %lld %n", &wide, &padded, &length) < 2 ||
        padded < f->dims.in || padded > f->dims.in + EIGHT)
        return NULL;
    way *w = new_way(f, padded, wide != 0);
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
static int add_plans(kn_device *d, const kn_conv_form *f, int64_t padded, bool wide, int most,
                     way **list, int count) {
    kn_cudnn_plan *plan[CANDIDATES];
    way model = {};
    model.form = *f;
    model.padded = padded;
    model.wide = wide;
    kn_conv_form form = plan_form(&model);
    int found = kn_cudnn_plans(d, kn_cuda_of(d)->convolutions->cudnn, &form, plan, most);
    for (int i = 0; i < found; i++) {
        way *w = new_way(f, padded, wide);
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
static int candidates(kn_device *d, const kn_conv_form *f, int most, way **list) {
    int count = 0;
    int64_t in = f->dims.in, padded = (in + EIGHT - 1) / EIGHT * EIGHT;
    bool odd = f->bf16 && padded != in;
    if (kn_cuda_of(d)->convolutions->cudnn != NULL && !(odd && f->pass == KN_PASS_DATA)) {
        int64_t channels = odd ? padded : in;
        bool wide = f->bf16 && (f->pass == KN_PASS_WEIGHTS || f->bias);
        bool narrow = !f->bias || !f->bf16;
        if (wide)
            count = add_plans(d, f, channels, true, most, list, count);
        if (narrow && (count == 0 || most > 1))
            count = add_plans(d, f, channels, false, most, list, count);
    }
    if (count == 0 || (most > 1 && kn_cuda_is_first(&f->dims))) {
        list[count] = new_way(f, in, false);
        count += list[count] != NULL;
    }
    return count;
}

/* Milliseconds of one run; negative: it fails, and that is no error of the caller's. */
static float time_of(kn_device *d, const way *w, const operands *o) {
    kn_cuda *cuda = kn_cuda_of(d);
    kn_cuda_convolutions *c = cuda->convolutions;
    kn_error *error = d->error, ignored = {};
    float ms = -1;
    char *room = static_cast<char *>(kn_cuda_scratch(d, scratch_of(w)));
    if (room == NULL)
        return -1;
    d->error = &ignored;
    bool fine = run_way(d, w, o, room) == KN_OK && kn_cuda_wait(d) == KN_OK &&
                cudaEventRecord(c->began, cuda->stream) == cudaSuccess;
    for (int i = 0; i < TIMED && fine; i++)
        fine = run_way(d, w, o, room) == KN_OK && kn_cuda_flush(d) == KN_OK;
    fine = fine && cudaEventRecord(c->ended, cuda->stream) == cudaSuccess &&
           cudaEventSynchronize(c->ended) == cudaSuccess &&
           cudaEventElapsedTime(&ms, c->began, c->ended) == cudaSuccess;
    d->error = error;
    return fine ? ms / TIMED : -1;
}

/* The quickest of them, timed on the operands themselves: what they leave in the result is written
 * once more by the run that follows. The first without a plan file: every run must choose alike. */
static way *choose(kn_device *d, const kn_conv_form *f, const operands *o) {
    way *list[MOST_WAYS + 1], *best = NULL;
    int count = candidates(d, f, d->plans != NULL ? CANDIDATES : 1, list);
    float least = -1;
    for (int i = 0; i < count; i++) {
        float ms = d->plans != NULL && count > 1 ? time_of(d, list[i], o) : 0;
        bool better = ms >= 0 && (best == NULL || ms < least);
        if (better) {
            if (best != NULL)
                drop_way(best);
            best = list[i];
            least = ms;
        } else {
            drop_way(list[i]);
        }
    }
    return best;
}

static size_t bucket_of(const kn_conv_form *f) {
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(f);
    size_t hash = 0;
    for (size_t i = 0; i < sizeof *f; i++)
        hash = hash * 31 + bytes[i];
    return hash % BUCKETS;
}

static const way *way_for(kn_device *d, const kn_conv_form *f, const operands *o) {
    kn_cuda_convolutions *c = kn_cuda_of(d)->convolutions;
    size_t bucket = bucket_of(f);
    char key[KN_PLAN_KEY], text[KN_PLAN_CHOICE];
    way *w = c->bucket[bucket];
    while (w != NULL && memcmp(&w->form, f, sizeof *f) != 0)
        w = w->next;
    if (w != NULL)
        return w;
    key_of(d, f, key);
    bool known = kn_cuda_plan_find(d, key, text);
    w = known ? way_from(d, f, text) : NULL;
    if (w == NULL) {
        w = choose(d, f, o);
        if (w != NULL) {
            way_text(w, text);
            kn_cuda_plan_add(d, key, text);
        }
    }
    if (w == NULL) {
        kn_cuda_fail(d, KN_ERR_DEVICE, "device cuda:%d: no way to compute the convolution %s",
                     d->ordinal, key);
        return NULL;
    }
    w->next = c->bucket[bucket];
    c->bucket[bucket] = w;
    return w;
}

/* ---- the table's functions ---- */

static kn_conv_form form_of(const kn_cuda_convolutions *c, const kn_conv_dims *dims,
                            kn_conv_pass pass, bool bf16) {
    kn_conv_form f;
    memset(&f, 0, sizeof f); /* it is compared and hashed byte by byte */
    f.dims = *dims;
    f.pass = pass;
    f.bf16 = bf16;
    f.tf32 = c->tf32 && !bf16;
    return f;
}

/* `more` bytes of scratch behind what the way takes. */
static kn_status run(kn_device *d, const kn_conv_form *f, const operands *o, size_t more,
                     char **behind) {
    const way *w = way_for(d, f, o);
    if (w == NULL)
        return d->error->status;
    size_t own = scratch_of(w);
    char *room = static_cast<char *>(kn_cuda_scratch(d, own + more));
    if (room == NULL)
        return KN_ERR_MEMORY;
    if (behind != NULL)
        *behind = room + own;
    return run_way(d, w, o, room);
}

static kn_status forward(kn_device *d, const kn_conv_dims *dims, bool bf16, const void *x,
                         kn_weights w, const float *bias, bool relu, void *y) {
    kn_cuda_convolutions *c = opened(d);
    if (c == NULL)
        return d->error->status;
    kn_conv_form f = form_of(c, dims, KN_PASS_FORWARD, bf16);
    f.bias = bias != NULL;
    operands o = {x, NULL, w, bias, relu, y};
    return run(d, &f, &o, 0, NULL);
}

static kn_status grad_data(kn_device *d, const kn_conv_dims *dims, bool bf16, const void *dy,
                           kn_weights w, void *dx) {
    kn_cuda_convolutions *c = opened(d);
    if (c == NULL)
        return d->error->status;
    kn_conv_form f = form_of(c, dims, KN_PASS_DATA, bf16);
    operands o = {dy, NULL, w, NULL, false, dx};
    return run(d, &f, &o, 0, NULL);
}

static kn_status grad_weights(kn_device *d, const kn_conv_dims *dims, bool bf16, const void *x,
                              const void *dy, float *dw, float *db) {
    kn_cuda_convolutions *c = opened(d);
    if (c == NULL)
        return d->error->status;
    kn_conv_form f = form_of(c, dims, KN_PASS_WEIGHTS, bf16);
    operands o = {x, dy, {NULL, 0, 0}, NULL, false, dw};
    int64_t rows = dims->n * dims->out_h * dims->out_w;
    char *sums = NULL;
    kn_status status =
        run(d, &f, &o, db != NULL ? kn_cuda_column_sums_scratch(rows, dims->out) : 0, &sums);
    return status == KN_OK && db != NULL
               ? kn_cuda_column_sums(d, rows, dims->out, bf16, dy, db, sums)
               : status;
}

extern "C" kn_status kn_cuda_conv(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                                  const float *bias, bool relu, float *y) {
    return forward(d, c, false, x, w, bias, relu, y);
}
extern "C" kn_status kn_cuda_conv_grad_data(kn_device *d, const kn_conv_dims *c, const float *dy,
                                            kn_weights w, float *dx) {
    return grad_data(d, c, false, dy, w, dx);
}
extern "C" kn_status kn_cuda_conv_grad_weights(kn_device *d, const kn_conv_dims *c, const float *x,
                                               const float *dy, float *dw, float *db) {
    return grad_weights(d, c, false, x, dy, dw, db);
}
extern "C" kn_status kn_cuda_bf16_conv(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x,
                                       kn_weights w, const float *bias, bool relu, kn_bf16 *y) {
    return forward(d, c, true, x, w, bias, relu, y);
}
extern "C" kn_status kn_cuda_bf16_conv_grad_data(kn_device *d, const kn_conv_dims *c,
                                                 const kn_bf16 *dy, kn_weights w, kn_bf16 *dx) {
    return grad_data(d, c, true, dy, w, dx);
}
extern "C" kn_status kn_cuda_bf16_conv_grad_weights(kn_device *d, const kn_conv_dims *c,
                                                    const kn_bf16 *x, const kn_bf16 *dy, float *dw,
                                                    float *db) {
    return grad_weights(d, c, true, x, dy, dw, db);
}
