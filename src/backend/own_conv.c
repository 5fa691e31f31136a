/* own_conv.c - see own_conv.h: the three passes, and the packed weights of the first, which are
 * kept as long as the parameter's version stands. Those of the second are made anew each time:
 * weights have mostly changed since the last gradient, and transformed they are up to four times as
 * many. Where they can be transformed on the way, they are packed only when they come a second
 * time. */
#include "backend/own_conv.h"

#include "backend/conv_gradient.h"
#include "backend/own_state.h"
#include "backend/winograd.h"

#include <string.h>

/* One parameter's, packed. What a step tensor (id 0) needs is kept for the room only. */
typedef struct kn_own_pack {
    uint64_t id, version; /* version: the last that came */
    bool ready;           /* data is of that version */
    /* By which method, and what the packed form depends on. */
    int64_t size, shape[9];
    float *data; /* NULL: none yet */
    struct kn_own_pack *next;
} packed;

kn_own_conv *kn_own_conv_open(kn_device *d, const kn_tile_kernels *tile) {
    kn_own_conv *o = kn_mem_calloc(d->allocator, 1, sizeof *o);
    if (o == NULL) {
        kn_error_set(d->error, KN_ERR_MEMORY, "out of memory: the convolutions' state");
        return NULL;
    }
    o->device = d;
    o->tile = tile;
    return o;
}

static void drop(kn_own_conv *o, packed **link) {
    packed *p = *link;
    *link = p->next;
    kn_mem_free(o->device->allocator, p->data);
    kn_mem_free(o->device->allocator, p);
}

void kn_own_conv_close(kn_own_conv *o) {
    if (o == NULL)
        return;
    while (o->packs != NULL)
        drop(o, &o->packs);
    kn_mem_free(o->device->allocator, o->room);
    kn_mem_free(o->device->allocator, o);
}

void kn_own_conv_forget(kn_own_conv *o, uint64_t id) {
    if (o == NULL)
        return;
    for (packed **link = &o->packs; *link != NULL;)
        if ((*link)->id == id)
            drop(o, link);
        else
            link = &(*link)->next;
}

kn_status kn_own_room(kn_own_conv *o, int64_t size, const char *what) {
    const kn_allocator *a = o->device->allocator;
    if ((size_t)size <= o->room_size)
        return KN_OK;
    kn_mem_free(a, o->room);
    o->room = kn_mem_alloc(a, (size_t)size * sizeof *o->room);
    o->room_size = o->room != NULL ? (size_t)size : 0;
    if (o->room == NULL)
        return kn_error_set(o->device->error, KN_ERR_MEMORY, "out of memory: %lld numbers of %s",
                            (long long)size, what);
    return KN_OK;
}

/* What is kept of a parameter, for convolutions of this shape. NULL with the error set. */
static packed *pack_for(kn_own_conv *o, uint64_t id, const kn_conv_dims *c, int side,
                        int64_t size) {
    int64_t shape[] = {side,
                       c->out,
                       c->in,
                       c->kernel_h,
                       c->kernel_w,
                       c->stride,
                       c->padding,
                       c->stride < c->h ? c->stride : c->h,
                       c->stride < c->w ? c->stride : c->w};
    for (packed *p = o->packs; p != NULL; p = p->next)
        if (p->id == id && memcmp(p->shape, shape, sizeof shape) == 0)
            return p;
    packed *p = kn_mem_calloc(o->device->allocator, 1, sizeof *p);
    if (p == NULL) {
        kn_error_set(o->device->error, KN_ERR_MEMORY, "out of memory: a convolution's state");
        return NULL;
    }
    *p = (packed){.id = id, .version = UINT64_MAX, .size = size, .next = o->packs};
    memcpy(p->shape, shape, sizeof shape);
    o->packs = p;
    return p;
}

static kn_status room_for_data(kn_own_conv *o, packed *p) {
    if (p->data == NULL)
        p->data = kn_mem_alloc(o->device->allocator, (size_t)p->size * sizeof *p->data);
    if (p->data == NULL)
        return kn_error_set(o->device->error, KN_ERR_MEMORY, "out of memory: %lld packed weights",
                            (long long)p->size);
    return KN_OK;
}

/* By Winograd's method with squares of that side, or, of 0, plainly. In units. */
static int64_t packed_size(const kn_tile_kernels *tile, const kn_correlation *k, int side) {
    return side > 0 ? kn_winograd_packed(k, side) / tile->unit : kn_correlation_packed(tile, k);
}

static void pack(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *k, int side,
                 const float *weights, float *to) {
    if (side > 0)
        kn_winograd_pack(d, tile, k, side, weights, to);
    else
        kn_correlation_pack(d, tile, k, weights, to);
}

static kn_status run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *k, int side,
                     const void *in, const float *data, const float *bias, bool relu, void *out) {
    return side > 0 ? kn_winograd_run(d, tile, k, side, in, data, bias, relu, out)
                    : kn_correlation_run(d, tile, k, in, data, bias, relu, out);
}

bool kn_own_conv_can(const kn_own_conv *o, const kn_conv_dims *c) {
    kn_correlation forward = kn_correlation_forward(c), back = kn_correlation_grad(c, 0, 0);
    return kn_correlation_can(o->tile, &forward) && kn_correlation_can(o->tile, &back);
}

kn_status kn_own_conv_forward(kn_own_conv *o, const kn_conv_dims *c, const void *x, kn_weights w,
                              const float *bias, bool relu, const kn_conv_then *then, void *y) {
    kn_correlation k = kn_correlation_forward(c);
    k.then = then;
    int side = kn_winograd_side(o->tile, &k);
    packed *p = pack_for(o, w.id, c, side, packed_size(o->tile, &k, side));
    if (p == NULL)
        return o->device->error->status;
    bool again = w.id != 0 && p->version == w.version;
    p->version = w.version;
    p->ready = p->ready && again;
    if (!again && kn_winograd_takes_new(o->device, o->tile, &k, side))
        return kn_winograd_run_new(o->device, o->tile, &k, side, x, w.data, bias, relu, y);
    if (!p->ready) {
        if (room_for_data(o, p) != KN_OK)
            return o->device->error->status;
        pack(o->device, o->tile, &k, side, w.data, p->data);
        p->ready = true;
    }
    return run(o->device, o->tile, &k, side, x, p->data, bias, relu, y);
}

/* A correlation for each place that a pixel can have between the strides. */
kn_status kn_own_conv_grad_data(kn_own_conv *o, const kn_conv_dims *c, const void *dy, kn_weights w,
                                void *dx) {
    /* A stride beyond the image leaves no more places than there are pixels. */
    int64_t down = c->stride < c->h ? c->stride : c->h;
    int64_t across = c->stride < c->w ? c->stride : c->w, count = down * across;
    kn_status status = KN_OK;
    for (int64_t i = 0; i < count && status == KN_OK; i++) {
        kn_correlation k = kn_correlation_grad(c, i / across, i % across);
        int side = kn_winograd_side(o->tile, &k);
        if (kn_winograd_takes_new(o->device, o->tile, &k, side)) /* of stride 1: the only round */
            return kn_winograd_run_new(o->device, o->tile, &k, side, dy, w.data, NULL, false, dx);
        status = kn_own_room(o, packed_size(o->tile, &k, side), "packed weights");
        if (status != KN_OK)
            break;
        pack(o->device, o->tile, &k, side, w.data, o->room);
        status = run(o->device, o->tile, &k, side, dy, o->room, NULL, false, dx);
    }
    return status;
}

kn_status kn_own_conv_grad_weights(kn_own_conv *o, const kn_conv_dims *c, const void *x,
                                   const void *dy, float *dw, float *db) {
    int side = db == NULL ? kn_winograd_gradient_side(o->tile, c) : 0;
    if (side > 0)
        return kn_winograd_gradient(o->device, o->tile, c, side, x, dy, dw);
    return kn_conv_gradient(o->device, o->tile, c, x, dy, dw, db);
}
