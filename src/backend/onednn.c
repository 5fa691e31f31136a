/* onednn.c - convolutions by oneDNN. Images stay plain NHWC; weights are plain OIHW outside and in
 * the library's own blocked form inside, because its fast kernels exist only for that. A primitive
 * is built once a shape and kept; packed weights are kept as long as the parameter's version.
 *
 * The calls that oneDNN 3 changed (descriptors by value, creation in two steps) are all in the
 * section "oneDNN 2", so that a second one can stand beside it. */
#include "backend/onednn.h"
#include "backend/onednn_team.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

typedef enum conv_kind { CONV_FORWARD, CONV_DATA, CONV_WEIGHTS } conv_kind;

/* What a primitive depends on. Compared byte by byte: zero it before filling. */
typedef struct conv_key {
    kn_conv_dims dims;
    int64_t kind, bias;
    int64_t team; /* threads that it is planned for */
} conv_key;

/* Weights in the blocked form of one primitive. */
typedef struct packed {
    uint64_t id, version;
    void *data;
    struct packed *next;
} packed;

typedef struct conv_entry {
    conv_key key;
    dnnl_primitive_t primitive;
    dnnl_primitive_t
        reorder; /* weights OIHW -> blocked, for CONV_WEIGHTS back; NULL: already OIHW */
    dnnl_memory_t image_in, image_out, bias, weights, plain;
    size_t packed_bytes;
    packed *packs;
    struct conv_entry *next;
} conv_entry;

struct kn_onednn {
    kn_device *device;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    conv_entry *entry; /* most recently used first */
    int entries;
};

/* A net has at most some hundreds; pictures of ever other sizes would make ever more. */
enum { MOST_ENTRIES = 512 };

static kn_status failed(kn_device *d, const char *what, dnnl_status_t code) {
    kn_status status = code == dnnl_out_of_memory ? KN_ERR_MEMORY : KN_ERR_DEVICE;
    return kn_error_set(d->error, status, "oneDNN: %s failed with status %d", what, (int)code);
}

/* ---- oneDNN 2 ---- */

typedef dnnl_memory_desc_t layout;

static dnnl_status_t layout_of(layout *l, int rank, const int64_t *dim, dnnl_format_tag_t tag) {
    dnnl_dims_t dims = {0};
    memcpy(dims, dim, (size_t)rank * sizeof *dim);
    return dnnl_memory_desc_init_by_tag(l, rank, dims, dnnl_f32, tag);
}

typedef struct conv_layouts {
    layout x, y, bias, weights_any, weights_plain;
    dnnl_dims_t stride, padding, padding_end;
} conv_layouts;

/* Padding at the end is what makes the output as large as asked, and may be less than at the start.
 */
static dnnl_status_t layouts_of(conv_layouts *l, const kn_conv_dims *c) {
    int64_t x[4] = {c->n, c->in, c->h, c->w}, y[4] = {c->n, c->out, c->out_h, c->out_w};
    int64_t w[4] = {c->out, c->in, c->kernel_h, c->kernel_w};
    l->stride[0] = l->stride[1] = c->stride;
    l->padding[0] = l->padding[1] = c->padding;
    l->padding_end[0] = (c->out_h - 1) * c->stride + c->kernel_h - c->h - c->padding;
    l->padding_end[1] = (c->out_w - 1) * c->stride + c->kernel_w - c->w - c->padding;
    dnnl_status_t code = layout_of(&l->x, 4, x, dnnl_nhwc);
    if (code == dnnl_success)
        code = layout_of(&l->y, 4, y, dnnl_nhwc);
    if (code == dnnl_success)
        code = layout_of(&l->bias, 1, &c->out, dnnl_a);
    if (code == dnnl_success)
        code = layout_of(&l->weights_any, 4, w, dnnl_format_tag_any);
    if (code == dnnl_success)
        code = layout_of(&l->weights_plain, 4, w, dnnl_oihw);
    return code;
}

static dnnl_status_t forward_desc(dnnl_primitive_desc_t *pd, const conv_layouts *l, bool bias,
                                  dnnl_engine_t engine) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t code = dnnl_convolution_forward_desc_init(
        &desc, dnnl_forward_training, dnnl_convolution_direct, &l->x, &l->weights_any,
        bias ? &l->bias : NULL, &l->y, l->stride, l->padding, l->padding_end);
    return code != dnnl_success ? code : dnnl_primitive_desc_create(pd, &desc, NULL, engine, NULL);
}

static dnnl_status_t data_desc(dnnl_primitive_desc_t *pd, const conv_layouts *l,
                               dnnl_engine_t engine, dnnl_primitive_desc_t forward) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t code = dnnl_convolution_backward_data_desc_init(
        &desc, dnnl_convolution_direct, &l->x, &l->weights_any, &l->y, l->stride, l->padding,
        l->padding_end);
    return code != dnnl_success ? code
                                : dnnl_primitive_desc_create(pd, &desc, NULL, engine, forward);
}

static dnnl_status_t weights_desc(dnnl_primitive_desc_t *pd, const conv_layouts *l, bool bias,
                                  dnnl_engine_t engine, dnnl_primitive_desc_t forward) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t code = dnnl_convolution_backward_weights_desc_init(
        &desc, dnnl_convolution_direct, &l->x, &l->weights_any, bias ? &l->bias : NULL, &l->y,
        l->stride, l->padding, l->padding_end);
    return code != dnnl_success ? code
                                : dnnl_primitive_desc_create(pd, &desc, NULL, engine, forward);
}

static dnnl_status_t reorder_between(dnnl_primitive_t *reorder, const layout *from,
                                     const layout *to, dnnl_engine_t engine) {
    dnnl_primitive_desc_t pd;
    dnnl_status_t code = dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL);
    if (code != dnnl_success)
        return code;
    code = dnnl_primitive_create(reorder, pd);
    dnnl_primitive_desc_destroy(pd);
    return code;
}

static const layout *layout_query(dnnl_primitive_desc_t pd, dnnl_query_t what) {
    return dnnl_primitive_desc_query_md(pd, what, 0);
}

static bool layout_same(const layout *a, const layout *b) {
    return dnnl_memory_desc_equal(a, b) != 0;
}

static size_t layout_bytes(const layout *l) {
    return dnnl_memory_desc_get_size(l);
}

/* ---- entries ---- */

static dnnl_status_t primitive_desc(kn_onednn *o, const conv_key *key, const conv_layouts *l,
                                    dnnl_primitive_desc_t *pd) {
    dnnl_primitive_desc_t forward;
    dnnl_status_t code = forward_desc(&forward, l, key->bias, o->engine);
    if (code != dnnl_success || key->kind == CONV_FORWARD) {
        *pd = forward;
        return code;
    }
    code = key->kind == CONV_DATA ? data_desc(pd, l, o->engine, forward)
                                  : weights_desc(pd, l, key->bias, o->engine, forward);
    dnnl_primitive_desc_destroy(forward);
    return code;
}

static dnnl_status_t memory_at(kn_onednn *o, dnnl_memory_t *m, const layout *l) {
    return dnnl_memory_create(m, l, o->engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t build(kn_onednn *o, conv_entry *e) {
    conv_layouts l;
    dnnl_primitive_desc_t pd;
    dnnl_status_t code = layouts_of(&l, &e->key.dims);
    if (code == dnnl_success)
        code = primitive_desc(o, &e->key, &l, &pd);
    if (code != dnnl_success)
        return code;
    bool back = e->key.kind == CONV_WEIGHTS;
    layout weights = *layout_query(pd, back ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    e->packed_bytes = layout_bytes(&weights);
    code = dnnl_primitive_create(&e->primitive, pd);
    dnnl_primitive_desc_destroy(pd);
    if (code == dnnl_success && !layout_same(&weights, &l.weights_plain))
        code = back ? reorder_between(&e->reorder, &weights, &l.weights_plain, o->engine)
                    : reorder_between(&e->reorder, &l.weights_plain, &weights, o->engine);
    const struct {
        dnnl_memory_t *memory;
        const layout *layout;
    } part[] = {{&e->image_in, &l.x},
                {&e->image_out, &l.y},
                {&e->bias, &l.bias},
                {&e->weights, &weights},
                {&e->plain, &l.weights_plain}};
    for (size_t i = 0; i < KN_COUNT(part) && code == dnnl_success; i++)
        code = memory_at(o, part[i].memory, part[i].layout);
    return code;
}

static void free_entry(kn_onednn *o, conv_entry *e) {
    dnnl_memory_t memory[] = {e->image_in, e->image_out, e->bias, e->weights, e->plain};
    for (size_t i = 0; i < KN_COUNT(memory); i++)
        if (memory[i] != NULL)
            dnnl_memory_destroy(memory[i]);
    if (e->primitive != NULL)
        dnnl_primitive_destroy(e->primitive);
    if (e->reorder != NULL)
        dnnl_primitive_destroy(e->reorder);
    while (e->packs != NULL) {
        packed *p = e->packs;
        e->packs = p->next;
        kn_mem_free(o->device->allocator, p->data);
        kn_mem_free(o->device->allocator, p);
    }
    kn_mem_free(o->device->allocator, e);
}

static void put_first(kn_onednn *o, conv_entry *e) {
    e->next = o->entry;
    o->entry = e;
}

/* The entry of that key, which becomes the first; NULL: there is none. */
static conv_entry *find(kn_onednn *o, const conv_key *key) {
    for (conv_entry **link = &o->entry; *link != NULL; link = &(*link)->next) {
        conv_entry *e = *link;
        if (memcmp(&e->key, key, sizeof *key) != 0)
            continue;
        *link = e->next;
        put_first(o, e);
        return e;
    }
    return NULL;
}

static void free_last(kn_onednn *o) {
    conv_entry **link = &o->entry;
    while ((*link)->next != NULL)
        link = &(*link)->next;
    free_entry(o, *link);
    *link = NULL;
    o->entries--;
}

/* The entry for a shape and pass, built at its first use. NULL with the error set. */
static conv_entry *entry_for(kn_onednn *o, conv_kind kind, const kn_conv_dims *c, bool bias,
                             const team *t) {
    conv_key key;
    memset(&key, 0, sizeof key);
    key.dims = *c;
    key.kind = kind;
    key.bias = bias;
    key.team = t->size;
    conv_entry *e = find(o, &key);
    if (e != NULL)
        return e;
    if (o->entries == MOST_ENTRIES)
        free_last(o);
    e = kn_mem_calloc(o->device->allocator, 1, sizeof *e);
    if (e == NULL) {
        kn_error_set(o->device->error, KN_ERR_MEMORY, "out of memory: a convolution's plan");
        return NULL;
    }
    e->key = key;
    dnnl_status_t code = build(o, e);
    if (code != dnnl_success) {
        char what[160];
        snprintf(
            what, sizeof what,
            "building a convolution of [%lld,%lld,%lld,%lld] with [%lld,%lld,%lld,%lld], stride "
            "%lld, padding %lld",
            (long long)c->n, (long long)c->h, (long long)c->w, (long long)c->in, (long long)c->out,
            (long long)c->in, (long long)c->kernel_h, (long long)c->kernel_w, (long long)c->stride,
            (long long)c->padding);
        failed(o->device, what, code);
        free_entry(o, e);
        return NULL;
    }
    put_first(o, e);
    o->entries++;
    return e;
}

/* ---- packed weights ---- */

static void at(dnnl_memory_t memory, const void *data) {
    dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data); /* inputs are only read */
}

static kn_status execute(kn_onednn *o, dnnl_primitive_t primitive, int count,
                         const dnnl_exec_arg_t *args, const char *what) {
    dnnl_status_t code = dnnl_primitive_execute(primitive, o->stream, count, args);
    if (code == dnnl_success)
        code = dnnl_stream_wait(o->stream);
    return code == dnnl_success ? KN_OK : failed(o->device, what, code);
}

/* The place for this parameter's blocked copy. NULL with the error set. */
static packed *pack_for(kn_onednn *o, conv_entry *e, uint64_t id) {
    for (packed *p = e->packs; p != NULL; p = p->next)
        if (p->id == id)
            return p;
    const kn_allocator *a = o->device->allocator;
    packed *p = kn_mem_calloc(a, 1, sizeof *p);
    void *data = p != NULL ? kn_mem_alloc(a, e->packed_bytes) : NULL;
    if (data == NULL) {
        kn_mem_free(a, p);
        kn_error_set(o->device->error, KN_ERR_MEMORY, "out of memory: %zu bytes of packed weights",
                     e->packed_bytes);
        return NULL;
    }
    *p = (packed){.id = id, .version = UINT64_MAX, .data = data, .next = e->packs};
    e->packs = p;
    return p;
}

/* Points e->weights at the weights in the primitive's form. */
static kn_status place_weights(kn_onednn *o, conv_entry *e, kn_weights w) {
    if (e->reorder == NULL) {
        at(e->weights, w.data);
        return KN_OK;
    }
    packed *p = pack_for(o, e, w.id);
    if (p == NULL)
        return KN_ERR_MEMORY;
    at(e->weights, p->data);
    if (w.id != 0 && p->version == w.version)
        return KN_OK;
    at(e->plain, w.data);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, e->plain}, {DNNL_ARG_TO, e->weights}};
    kn_status status = execute(o, e->reorder, 2, args, "packing weights");
    p->version = status == KN_OK ? w.version : UINT64_MAX;
    return status;
}

void kn_onednn_forget(kn_onednn *o, uint64_t id) {
    for (conv_entry *e = o->entry; e != NULL; e = e->next)
        for (packed **link = &e->packs; *link != NULL;) {
            packed *p = *link;
            if (p->id != id) {
                link = &p->next;
                continue;
            }
            *link = p->next;
            kn_mem_free(o->device->allocator, p->data);
            kn_mem_free(o->device->allocator, p);
        }
}

/* ---- the three passes ---- */

static kn_status forward(kn_onednn *o, const kn_conv_dims *c, const float *x, kn_weights w,
                         const float *bias, float *y, const team *t) {
    conv_entry *e = entry_for(o, CONV_FORWARD, c, bias != NULL, t);
    kn_status status = e == NULL ? o->device->error->status : place_weights(o, e, w);
    if (status != KN_OK)
        return status;
    at(e->image_in, x);
    at(e->image_out, y);
    at(e->bias, bias);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, e->image_in},
                              {DNNL_ARG_WEIGHTS, e->weights},
                              {DNNL_ARG_DST, e->image_out},
                              {DNNL_ARG_BIAS, e->bias}};
    return execute(o, e->primitive, bias != NULL ? 4 : 3, args, "convolution");
}

kn_status kn_onednn_conv(kn_onednn *o, const kn_conv_dims *c, const float *x, kn_weights w,
                         const float *bias, float *y) {
    team t = enter(o->device);
    kn_status status = forward(o, c, x, w, bias, y, &t);
    leave(t);
    return status;
}

static kn_status grad_data(kn_onednn *o, const kn_conv_dims *c, const float *dy, kn_weights w,
                           float *dx, const team *t) {
    conv_entry *e = entry_for(o, CONV_DATA, c, false, t);
    kn_status status = e == NULL ? o->device->error->status : place_weights(o, e, w);
    if (status != KN_OK)
        return status;
    at(e->image_in, dx);
    at(e->image_out, dy);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_DIFF_DST, e->image_out},
                              {DNNL_ARG_WEIGHTS, e->weights},
                              {DNNL_ARG_DIFF_SRC, e->image_in}};
    return execute(o, e->primitive, 3, args, "convolution backward (data)");
}

kn_status kn_onednn_conv_grad_data(kn_onednn *o, const kn_conv_dims *c, const float *dy,
                                   kn_weights w, float *dx) {
    team t = enter(o->device);
    kn_status status = grad_data(o, c, dy, w, dx, &t);
    leave(t);
    return status;
}

static kn_status grad_weights(kn_onednn *o, const kn_conv_dims *c, const float *x, const float *dy,
                              float *dw, float *db, const team *t) {
    conv_entry *e = entry_for(o, CONV_WEIGHTS, c, db != NULL, t);
    if (e == NULL)
        return o->device->error->status;
    packed *blocked = e->reorder != NULL ? pack_for(o, e, 0) : NULL;
    if (e->reorder != NULL && blocked == NULL)
        return KN_ERR_MEMORY;
    at(e->weights, blocked != NULL ? blocked->data : dw);
    at(e->image_in, x);
    at(e->image_out, dy);
    at(e->bias, db);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, e->image_in},
                              {DNNL_ARG_DIFF_DST, e->image_out},
                              {DNNL_ARG_DIFF_WEIGHTS, e->weights},
                              {DNNL_ARG_DIFF_BIAS, e->bias}};
    kn_status status =
        execute(o, e->primitive, db != NULL ? 4 : 3, args, "convolution backward (weights)");
    if (status != KN_OK || blocked == NULL)
        return status;
    at(e->plain, dw);
    dnnl_exec_arg_t back[] = {{DNNL_ARG_FROM, e->weights}, {DNNL_ARG_TO, e->plain}};
    return execute(o, e->reorder, 2, back, "unpacking a weight gradient");
}

kn_status kn_onednn_conv_grad_weights(kn_onednn *o, const kn_conv_dims *c, const float *x,
                                      const float *dy, float *dw, float *db) {
    team t = enter(o->device);
    kn_status status = grad_weights(o, c, x, dy, dw, db, &t);
    leave(t);
    return status;
}

/* ---- open and close ---- */

static const char *isa_name(dnnl_cpu_isa_t isa) {
    switch ((int)isa) {
    case dnnl_cpu_isa_sse41:
        return "SSE4.1";
    case dnnl_cpu_isa_avx:
        return "AVX";
    case dnnl_cpu_isa_avx2:
        return "AVX2";
    case dnnl_cpu_isa_avx512_core:
        return "AVX-512";
    case dnnl_cpu_isa_avx512_core_vnni:
        return "AVX-512 VNNI";
    case dnnl_cpu_isa_avx512_core_bf16:
        return "AVX-512 BF16";
    default:
        return "its own choice of instructions";
    }
}

kn_onednn *kn_onednn_open(kn_device *d, char *about, size_t about_size) {
    kn_onednn *o = kn_mem_calloc(d->allocator, 1, sizeof *o);
    if (o == NULL) {
        kn_error_set(d->error, KN_ERR_MEMORY, "out of memory: oneDNN's state");
        return NULL;
    }
    o->device = d;
    dnnl_status_t code = dnnl_engine_create(&o->engine, dnnl_cpu, 0);
    if (code == dnnl_success)
        code = dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags);
    if (code != dnnl_success) {
        failed(d, "opening its CPU engine", code);
        kn_onednn_close(o);
        return NULL;
    }
    const dnnl_version_t *v = dnnl_version();
    snprintf(about, about_size, "oneDNN %d.%d.%d, %s", v->major, v->minor, v->patch,
             isa_name(dnnl_get_effective_cpu_isa()));
    return o;
}

void kn_onednn_close(kn_onednn *o) {
    if (o == NULL)
        return;
    while (o->entry != NULL) {
        conv_entry *e = o->entry;
        o->entry = e->next;
        free_entry(o, e);
    }
    if (o->stream != NULL)
        dnnl_stream_destroy(o->stream);
    if (o->engine != NULL)
        dnnl_engine_destroy(o->engine);
    kn_mem_free(o->device->allocator, o);
}
