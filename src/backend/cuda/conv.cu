/* conv.cu - the table's convolutions: for each shape the way that computes it is chosen once; then
 * weights are packed, and it runs. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/conv_way.cuh"

#include <cstdlib>
#include <cstring>

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
    c->check = told != NULL && strcmp(told, "check") == 0;
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

static void free_all(kn_way *w) {
    while (w != NULL) {
        kn_way *gone = w;
        w = w->next;
        kn_way_free(gone);
    }
}

void kn_cuda_convolutions_free(kn_device *d) {
    kn_cuda_convolutions *c = kn_cuda_of(d)->convolutions;
    if (c == NULL)
        return;
    for (kn_way *&first : c->bucket)
        free_all(first);
    kn_packed_free(d, &c->packed);
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

static size_t up(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

static size_t element(const kn_way *w) {
    return w->form.bf16 ? sizeof(kn_bf16) : sizeof(float);
}

static size_t weights_bytes(const kn_way *w) {
    const kn_conv_dims *c = &w->form.dims;
    size_t size = w->form.pass == KN_PASS_WEIGHTS && w->wide ? sizeof(float) : element(w);
    return up(static_cast<size_t>(c->out * c->kernel_h * c->kernel_w * w->padded) * size);
}

/* What comes out before the bias is added: bf16 is rounded to after it, once. */
static size_t sums_bytes(const kn_way *w) {
    const kn_conv_dims *c = &w->form.dims;
    return w->form.pass == KN_PASS_FORWARD && w->wide
               ? up(static_cast<size_t>(c->n * c->out_h * c->out_w * c->out) * sizeof(float))
               : 0;
}

static size_t image_bytes(const kn_way *w) {
    const kn_conv_dims *c = &w->form.dims;
    return w->padded != c->in ? up(static_cast<size_t>(c->n * c->h * c->w * w->padded) * element(w))
                              : 0;
}

size_t kn_way_scratch(const kn_way *w) {
    size_t plain = w->plan == NULL && w->form.pass == KN_PASS_WEIGHTS
                       ? up(kn_cuda_plain_grad_weights_scratch(&w->form.dims))
                       : 0;
    return up(w->workspace) + weights_bytes(w) + image_bytes(w) + sums_bytes(w) + plain;
}

static kn_status execute_call(kn_device *d, cudaStream_t stream, const void *args) {
    return kn_cudnn_execute(d, stream, static_cast<const kn_cudnn_run *>(args));
}

static kn_status run_plan(kn_device *d, const kn_way *w, const void *a, const void *b, void *out,
                          void *workspace) {
    static const char *const name[] = {"conv", "conv_grad_data", "conv_grad_weights"};
    kn_cudnn_run run = {kn_cuda_of(d)->convolutions->cudnn, w->plan, a, b, out, workspace};
    kn_touches touches = {};
    kn_touches_add(&touches, a, false);
    kn_touches_add(&touches, b, false);
    kn_touches_add(&touches, out, true);
    kn_touches_add(&touches, w->workspace > 0 ? workspace : NULL, true);
    return kn_cuda_submit(d, name[w->form.pass], execute_call, &run, sizeof run, &touches);
}

/* The packed weights: a parameter's copy, or one in room. NULL with the error set. */
static const void *packed_weights(kn_device *d, const kn_way *w, kn_weights weights, void *room) {
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

static kn_status run_forward(kn_device *d, const kn_way *w, const kn_operands *o,
                             const void *packed, char *image, void *workspace) {
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

static kn_status run_weights(kn_device *d, const kn_way *w, const kn_operands *o, char *room,
                             char *image, void *workspace) {
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
    if (direct)
        kn_cuda_extent(d, dw, static_cast<size_t>(c->out * c->in) * sizeof(float));
    if (status == KN_OK)
        status = run_plan(d, w, x, o->b, direct ? static_cast<void *>(dw) : room, workspace);
    return status == KN_OK && !direct
               ? kn_cuda_unpack_weights(d, c, w->padded, f->bf16 && !w->wide, room, dw)
               : status;
}

/* room: kn_way_scratch(w) bytes. */
kn_status kn_way_run(kn_device *d, const kn_way *w, const kn_operands *o, char *room) {
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

/* ---- the way for a form ---- */

static size_t bucket_of(const kn_conv_form *f) {
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(f);
    size_t hash = 0;
    for (size_t i = 0; i < sizeof *f; i++)
        hash = hash * 31 + bytes[i];
    return hash % KN_WAY_BUCKETS;
}

static const kn_way *way_for(kn_device *d, const kn_conv_form *f) {
    kn_cuda_convolutions *c = kn_cuda_of(d)->convolutions;
    kn_way **first = &c->bucket[bucket_of(f)], *w = *first;
    while (w != NULL && memcmp(&w->form, f, sizeof *f) != 0)
        w = w->next;
    if (w != NULL)
        return w;
    w = kn_way_choose(d, f);
    if (w != NULL) {
        w->next = *first;
        *first = w;
    }
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

static kn_status run(kn_device *d, const kn_conv_form *f, const kn_operands *o) {
    const kn_way *w = way_for(d, f);
    if (w == NULL)
        return d->error->status;
    char *room = static_cast<char *>(kn_cuda_scratch(d, kn_way_scratch(w)));
    if (room == NULL)
        return KN_ERR_MEMORY;
    kn_status status = kn_way_run(d, w, o, room);
    if (status == KN_OK && kn_cuda_of(d)->convolutions->check)
        kn_way_check(d, w, o);
    return status;
}

static kn_status forward(kn_device *d, const kn_conv_dims *dims, bool bf16, const void *x,
                         kn_weights w, const float *bias, bool relu, void *y) {
    kn_cuda_convolutions *c = opened(d);
    if (c == NULL)
        return d->error->status;
    kn_conv_form f = form_of(c, dims, KN_PASS_FORWARD, bf16);
    f.bias = bias != NULL;
    kn_operands o = {x, NULL, w, bias, relu, y};
    return run(d, &f, &o);
}

static kn_status grad_data(kn_device *d, const kn_conv_dims *dims, bool bf16, const void *dy,
                           kn_weights w, void *dx) {
    kn_cuda_convolutions *c = opened(d);
    if (c == NULL)
        return d->error->status;
    kn_conv_form f = form_of(c, dims, KN_PASS_DATA, bf16);
    kn_operands o = {dy, NULL, w, NULL, false, dx};
    return run(d, &f, &o);
}

static kn_status grad_weights(kn_device *d, const kn_conv_dims *dims, bool bf16, const void *x,
                              const void *dy, float *dw, float *db) {
    kn_cuda_convolutions *c = opened(d);
    if (c == NULL)
        return d->error->status;
    kn_conv_form f = form_of(c, dims, KN_PASS_WEIGHTS, bf16);
    kn_operands o = {x, dy, {NULL, 0, 0}, NULL, false, dw};
    kn_status status = run(d, &f, &o);
    return status == KN_OK && db != NULL
               ? kn_cuda_column_sums(d, dims->n * dims->out_h * dims->out_w, dims->out, bf16, dy,
                                     db)
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
