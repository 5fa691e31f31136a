/* tensor.c - tensors of the step and of the model: making, reading, releasing. */
#include "tensor/engine.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- headers ---- */

enum { HEADER_BLOCK = 64 };

/* A debug build waits with reusing a header until this many others are free, so that a pointer kept
 * beyond its step meets a dead header and not somebody else's. */
#ifdef KN_DEBUG
enum { QUARANTINE = 4096 };
#else
enum { QUARANTINE = 0 };
#endif

static bool make_headers(kn_ctx *ctx, kn_engine *e) {
    void *blocks = e->block, *queue = e->free_header;
    size_t want = (e->block_count + 1) * HEADER_BLOCK;
    bool room = kn_mem_grow(&ctx->allocator, &blocks, &e->block_capacity, e->block_count + 1,
                            sizeof *e->block);
    e->block = blocks;
    /* All headers there are fit into the ring, so that freeing one cannot fail. The ring is unwound
     * first: growing keeps the order only from its start. */
    if (room && e->free_capacity < want) {
        size_t capacity = want * 2;
        kn_tensor **grown = kn_mem_alloc(&ctx->allocator, capacity * sizeof *grown);
        room = grown != NULL;
        if (room) {
            for (size_t i = 0; i < e->free_count; i++)
                grown[i] = e->free_header[(e->free_first + i) % e->free_capacity];
            kn_free(ctx, queue);
            e->free_header = grown;
            e->free_capacity = capacity;
            e->free_first = 0;
        }
    }
    kn_tensor *block = room ? kn_mem_calloc(&ctx->allocator, HEADER_BLOCK, sizeof *block) : NULL;
    if (block == NULL) {
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: %d tensor headers", HEADER_BLOCK);
        return false;
    }
    e->block[e->block_count++] = block;
    /* At the front: new ones are used first, and those that died wait at the back. */
    e->free_first = (e->free_first + e->free_capacity - HEADER_BLOCK) % e->free_capacity;
    e->free_count += HEADER_BLOCK;
    for (size_t i = 0; i < HEADER_BLOCK; i++)
        e->free_header[(e->free_first + i) % e->free_capacity] = &block[i];
    return true;
}

kn_tensor *kn_header_new(kn_ctx *ctx) {
    kn_engine *e = kn_engine_get(ctx);
    if (e == NULL)
        return NULL;
    void *live = e->live;
    bool room =
        kn_mem_grow(&ctx->allocator, &live, &e->live_capacity, e->live_count + 1, sizeof *e->live);
    e->live = live;
    if (!room) {
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: a step of %zu tensors", e->live_count);
        return NULL;
    }
    if (e->free_count <= QUARANTINE && !make_headers(ctx, e))
        return NULL;
    kn_tensor *t = e->free_header[e->free_first];
    e->free_first = (e->free_first + 1) % e->free_capacity;
    e->free_count--;
    *t = (kn_tensor){.ctx = ctx, .alive = true, .node = -1};
    e->live[e->live_count++] = t;
    return t;
}

static void drop_buffers(kn_tensor *t) {
    kn_storage_drop(t->storage);
    t->storage = NULL;
    t->data = NULL;
    t->grad = NULL; /* a step tensor's own gradient is on the live list itself */
    t->grad_live = false;
}

void kn_step_end(kn_ctx *ctx) {
    kn_engine *e = ctx->engine;
    if (e == NULL)
        return;
    kn_tape_clear(e);
    for (size_t i = 0; i < e->live_count; i++) {
        kn_tensor *t = e->live[i];
        drop_buffers(t);
        t->alive = false;
        e->free_header[(e->free_first + e->free_count++) % e->free_capacity] = t;
    }
    e->live_count = 0;
    kn_pools_settle(ctx);
}

bool kn_tensor_usable(kn_ctx *ctx, const char *op, const kn_tensor *t) {
    assert(t->alive && "a tensor was used after its step ended");
    if (!t->released)
        return true;
    char text[KN_SHAPE_TEXT];
    kn_fail(ctx, KN_ERR_STATE, "%s: tensor %s was released after its last use; kn_keep holds it",
            op, kn_shape_text(&t->shape, text));
    return false;
}

/* ---- making ---- */

static bool good_shape(kn_ctx *ctx, const kn_shape *shape) {
    assert(shape->rank >= 0 && shape->rank <= KN_MAX_RANK);
    int64_t numel = 1;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0 || __builtin_mul_overflow(numel, shape->dim[i], &numel) ||
            numel > INT64_MAX / 8) {
            char text[KN_SHAPE_TEXT];
            kn_fail(ctx, KN_ERR_SHAPE, "tensor: a shape %s is negative or too large",
                    kn_shape_text(shape, text));
            return false;
        }
    return true;
}

static kn_tensor *shaped(kn_ctx *ctx, kn_device *device, kn_dtype dtype, const kn_shape *shape) {
    if (device == NULL || !good_shape(ctx, shape))
        return NULL;
    kn_tensor *t = kn_header_new(ctx);
    if (t == NULL)
        return NULL;
    t->device = device;
    t->dtype = dtype;
    t->shape = *shape;
    t->numel = kn_shape_numel(shape);
    return t;
}

kn_tensor *kn_tensor_new(kn_ctx *ctx, kn_device *device, kn_dtype dtype, kn_shape shape) {
    assert(dtype != KN_I64 && dtype != KN_F16 && "i64 and f16 are for files");
    kn_tensor *t = shaped(ctx, device, dtype, &shape);
    if (t == NULL)
        return NULL;
    t->storage = kn_storage_get(ctx, device, (size_t)t->numel * kn_dtype_size(dtype));
    if (t->storage == NULL)
        return NULL;
    t->data = t->storage->data;
    return t;
}

kn_tensor *kn_tensor_borrow(kn_ctx *ctx, kn_device *device, kn_dtype dtype, kn_shape shape,
                            const void *data) {
    kn_tensor *t = shaped(ctx, device, dtype, &shape);
    if (t != NULL)
        t->data = (void *)(uintptr_t)data; /* step tensors are only written by who makes them */
    return t;
}

kn_tensor *kn_tensor_alias(kn_ctx *ctx, kn_tensor *t, kn_shape shape) {
    kn_tensor *alias = shaped(ctx, t->device, t->dtype, &shape);
    if (alias == NULL)
        return NULL;
    assert(alias->numel == t->numel);
    alias->storage = t->storage;
    if (alias->storage != NULL)
        alias->storage->refs++;
    alias->data = t->data;
    alias->of = t->of != NULL ? t->of : t;
    return alias;
}

kn_tensor *kn_zeros(kn_ctx *ctx, kn_dtype dtype, kn_shape shape) {
    kn_tensor *t = kn_tensor_new(ctx, kn_device_default(ctx), dtype, shape);
    if (t != NULL &&
        t->device->ops->zero(t->device, t->data, (size_t)t->numel * kn_dtype_size(dtype)) != KN_OK)
        return NULL;
    return t;
}

kn_tensor *kn_full(kn_ctx *ctx, kn_shape shape, float value) {
    kn_tensor *t = kn_tensor_new(ctx, kn_device_default(ctx), KN_F32, shape);
    if (t != NULL && t->device->ops->fill(t->device, t->numel, value, t->data) != KN_OK)
        return NULL;
    return t;
}

kn_tensor *kn_from(kn_ctx *ctx, kn_dtype dtype, kn_shape shape, const void *data) {
    kn_tensor *t = kn_tensor_new(ctx, kn_device_default(ctx), dtype, shape);
    if (t != NULL && t->device->ops->copy_in(t->device, t->data, data,
                                             (size_t)t->numel * kn_dtype_size(dtype)) != KN_OK)
        return NULL;
    return t;
}

/* Where one of the devices is the host's memory, straight; else by way of it. */
static kn_status move(kn_ctx *ctx, kn_tensor *to, const kn_tensor *from) {
    kn_device *there = to->device, *here = from->device;
    size_t bytes = kn_tensor_bytes(from);
    if (kn_device_is_host(here))
        return there->ops->copy_in(there, to->data, from->data, bytes);
    if (kn_device_is_host(there))
        return here->ops->copy_out(here, to->data, from->data, bytes);
    void *host = kn_alloc(ctx, bytes > 0 ? bytes : 1, "a copy between devices");
    if (host == NULL)
        return KN_ERR_MEMORY;
    kn_status status = here->ops->copy_out(here, host, from->data, bytes);
    if (status == KN_OK)
        status = there->ops->copy_in(there, to->data, host, bytes);
    kn_free(ctx, host);
    return status;
}

kn_tensor *kn_to(kn_ctx *ctx, kn_tensor *t, kn_device *device) {
    if (t == NULL || device == NULL || !kn_tensor_usable(ctx, "to", t))
        return NULL;
    if (t->device == device)
        return t;
    kn_tensor *moved = kn_tensor_new(ctx, device, t->dtype, t->shape);
    return moved != NULL && move(ctx, moved, t) == KN_OK ? moved : NULL;
}

/* ---- model tensors ---- */

kn_status kn_tensor_reserve(kn_ctx *ctx, kn_tensor *t, kn_device *device, kn_dtype dtype,
                            kn_shape shape) {
    if (device == NULL || !good_shape(ctx, &shape))
        return ctx->error.status;
    *t = (kn_tensor){.ctx = ctx,
                     .device = device,
                     .dtype = dtype,
                     .shape = shape,
                     .numel = kn_shape_numel(&shape),
                     .alive = true,
                     .model = true,
                     .node = -1,
                     .id = ++ctx->serial};
    t->storage = kn_storage_get(ctx, device, kn_tensor_bytes(t));
    if (t->storage == NULL)
        return ctx->error.status;
    t->data = t->storage->data;
    return KN_OK;
}

kn_status kn_tensor_init(kn_ctx *ctx, kn_tensor *t, kn_device *device, kn_dtype dtype,
                         kn_shape shape) {
    kn_status status = kn_tensor_reserve(ctx, t, device, dtype, shape);
    return status == KN_OK ? device->ops->zero(device, t->data, kn_tensor_bytes(t)) : status;
}

void kn_tensor_touch(kn_tensor *t) {
    if (t->of != NULL)
        t = t->of;
    t->version++;
    if (t->storage == NULL)
        return;
    t->storage->version++;
    if (!t->part)
        t->storage->whole++;
}

/* What its storage adds to t's own count. */
static uint64_t storage_version(const kn_tensor *t) {
    return t->storage == NULL ? 0 : t->part ? t->storage->whole : t->storage->version;
}

uint64_t kn_tensor_version(const kn_tensor *t) {
    if (t->of != NULL)
        t = t->of;
    return t->version + storage_version(t);
}

/* Views of it are from here on tensors of their own, which hold the buffer. */
static void leave_views(kn_ctx *ctx, const kn_tensor *t) {
    kn_engine *e = ctx->engine;
    for (size_t i = 0; e != NULL && i < e->live_count; i++) {
        kn_tensor *view = e->live[i];
        if (view->of != t)
            continue;
        view->of = NULL;
        view->version = kn_tensor_version(t) - storage_version(view);
    }
}

void kn_tensor_place(kn_tensor *t, kn_storage *storage, size_t byte_offset) {
    uint64_t version = kn_tensor_version(t);
    if (t->model)
        leave_views(t->ctx, t);
    t->zeros = false;
    storage->refs++;
    kn_storage_drop(t->storage);
    t->storage = storage;
    t->data = (char *)storage->data + byte_offset;
    t->part = true;
    t->version = version - storage_version(t); /* the same data: the same sum, modulo 2^64 */
}

void kn_tensor_exchange(kn_tensor *a, kn_tensor *b) {
    assert(a->model && b->model && a->device == b->device && a->dtype == b->dtype &&
           kn_shape_equal(&a->shape, &b->shape));
    uint64_t version_a = kn_tensor_version(a), version_b = kn_tensor_version(b);
    leave_views(a->ctx, a);
    leave_views(b->ctx, b);
    kn_storage *storage = a->storage;
    void *data = a->data;
    bool part = a->part;
    a->storage = b->storage;
    a->data = b->data;
    a->part = b->part;
    b->storage = storage;
    b->data = data;
    b->part = part;
    a->version = version_a + 1 - storage_version(a); /* as in kn_tensor_place, of other data */
    b->version = version_b + 1 - storage_version(b);
}

/* After a write by the user. A gradient that was written counts as there. */
static void written(kn_tensor *t) {
    kn_tensor_touch(t);
    t->zeros = false;
    if (t->grad_of != NULL)
        t->grad_of->grad_live = true;
}

void kn_tensor_clear(kn_tensor *t) {
    if (t->ctx != NULL) {
        kn_tape_lose(t->ctx, t);
        leave_views(t->ctx, t);
    }
    if (t->device != NULL)
        t->device->ops->forget(t->device, t->id);
    kn_storage_drop(t->storage);
    *t = (kn_tensor){.node = -1};
}

/* ---- reading and writing ---- */

static void assert_alive(const kn_tensor *t) {
    assert(t->alive && "a tensor was used after its step ended");
    (void)t; /* where assert is nothing */
}

kn_dtype kn_tensor_dtype(const kn_tensor *t) {
    if (t == NULL)
        return KN_F32;
    assert_alive(t);
    return t->dtype;
}

const kn_shape *kn_tensor_shape(const kn_tensor *t) {
    static const kn_shape none = {0};
    if (t == NULL)
        return &none;
    assert_alive(t);
    return &t->shape;
}

int64_t kn_tensor_dim(const kn_tensor *t, int axis) {
    if (t == NULL)
        return 0;
    assert_alive(t);
    int at = axis < 0 ? axis + t->shape.rank : axis;
    assert(at >= 0 && at < t->shape.rank);
    return t->shape.dim[at];
}

int64_t kn_tensor_numel(const kn_tensor *t) {
    if (t == NULL)
        return 0;
    assert_alive(t);
    return t->numel;
}

kn_device *kn_tensor_device(const kn_tensor *t) {
    assert_alive(t);
    return t->device;
}

static kn_status check_bytes(kn_ctx *ctx, const char *op, const kn_tensor *t, size_t bytes) {
    if (t == NULL)
        return kn_ctx_status(ctx) != KN_OK
                   ? kn_ctx_status(ctx)
                   : kn_fail(ctx, KN_ERR_STATE, "%s: there is no tensor", op);
    if (!kn_tensor_usable(ctx, op, t))
        return KN_ERR_STATE;
    size_t own = (size_t)t->numel * kn_dtype_size(t->dtype);
    char text[KN_SHAPE_TEXT];
    if (bytes != own)
        return kn_fail(ctx, KN_ERR_SHAPE, "%s: %zu bytes for a tensor %s of %zu bytes", op, bytes,
                       kn_shape_text(&t->shape, text), own);
    return KN_OK;
}

kn_status kn_tensor_read(kn_ctx *ctx, const kn_tensor *t, void *out, size_t bytes) {
    kn_status status = check_bytes(ctx, "tensor_read", t, bytes);
    return status != KN_OK ? status : t->device->ops->copy_out(t->device, out, t->data, bytes);
}

kn_status kn_tensor_write(kn_ctx *ctx, kn_tensor *t, const void *data, size_t bytes) {
    kn_status status = check_bytes(ctx, "tensor_write", t, bytes);
    if (status != KN_OK)
        return status;
    written(t);
    return t->device->ops->copy_in(t->device, t->data, data, bytes);
}

kn_status kn_tensor_copy(kn_ctx *ctx, kn_tensor *to, const kn_tensor *from) {
    char want[KN_SHAPE_TEXT], got[KN_SHAPE_TEXT];
    if (to == NULL || from == NULL)
        return kn_ctx_status(ctx) != KN_OK
                   ? kn_ctx_status(ctx)
                   : kn_fail(ctx, KN_ERR_STATE, "tensor_copy: there is no tensor");
    if (!kn_tensor_usable(ctx, "tensor_copy", to) || !kn_tensor_usable(ctx, "tensor_copy", from))
        return KN_ERR_STATE;
    if (to->dtype != from->dtype || !kn_shape_equal(&to->shape, &from->shape))
        return kn_fail(ctx, KN_ERR_SHAPE, "tensor_copy: %s %s into %s %s",
                       kn_dtype_name(from->dtype), kn_shape_text(&from->shape, got),
                       kn_dtype_name(to->dtype), kn_shape_text(&to->shape, want));
    if (to->device != from->device)
        return kn_fail(ctx, KN_ERR_DEVICE, "tensor_copy: from %s to %s",
                       kn_device_name(from->device), kn_device_name(to->device));
    if (to->data == from->data)
        return KN_OK;
    written(to);
    return to->device->ops->copy(to->device, to->data, from->data,
                                 (size_t)to->numel * kn_dtype_size(to->dtype));
}

double kn_item(kn_ctx *ctx, const kn_tensor *t) {
    char text[KN_SHAPE_TEXT];
    if (t == NULL && kn_ctx_status(ctx) == KN_OK)
        kn_fail(ctx, KN_ERR_STATE, "item: there is no tensor");
    if (t == NULL || !kn_tensor_usable(ctx, "item", t))
        return NAN;
    if (t->numel != 1) {
        kn_fail(ctx, KN_ERR_SHAPE, "item: tensor %s has not one element",
                kn_shape_text(&t->shape, text));
        return NAN;
    }
    union {
        float f32;
        uint8_t u8;
        int32_t i32;
        int64_t i64;
        kn_bf16 bf16;
    } value;
    if (t->dtype == KN_F16) {
        kn_fail(ctx, KN_ERR_SHAPE, "item: f16 is for files");
        return NAN;
    }
    if (kn_tensor_read(ctx, t, &value, kn_dtype_size(t->dtype)) != KN_OK)
        return NAN;
    if (t->dtype == KN_BF16)
        return (double)kn_bf16_value(value.bf16);
    if (t->dtype == KN_I64)
        return (double)value.i64;
    return t->dtype == KN_U8 ? value.u8 : t->dtype == KN_I32 ? value.i32 : (double)value.f32;
}

/* ---- lifetimes within the step ---- */

kn_tensor *kn_keep(kn_ctx *ctx, kn_tensor *t) {
    if (t != NULL && kn_tensor_usable(ctx, "keep", t))
        t->kept = true;
    return t;
}

void kn_tensor_release(kn_tensor *t) {
    if (t->kept || t->model || t->released)
        return;
    t->version += storage_version(t); /* for those that are views of it */
    kn_storage_drop(t->storage);
    t->storage = NULL;
    t->data = NULL;
    t->released = true;
}

size_t kn_step_mark(kn_ctx *ctx) {
    return ctx->engine != NULL ? ctx->engine->live_count : 0;
}

void kn_step_release_since(kn_ctx *ctx, size_t mark, const kn_tensor *result) {
    kn_engine *e = ctx->engine;
    if (e == NULL || e->recording)
        return;
    for (size_t i = mark; i < e->live_count; i++)
        if (e->live[i] != result && !(e->live[i]->node >= 0 && e->live[i]->tape == e->tape))
            kn_tensor_release(e->live[i]);
}
