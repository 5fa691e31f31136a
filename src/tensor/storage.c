/* storage.c - the caching pools of devices: a buffer that a step gives back is there for the next,
 * so that a warm step asks the system for nothing. */
#include "tensor/engine.h"

#include <assert.h>
#include <stdio.h>

/* ---- size classes ---- */

/* Class 4k + q holds (4 + q) * 2^(k + 4) bytes: 64, 80, 96, 112, 128, 160, ... At most a fifth of a
 * buffer is unused. */
static size_t bin_size(int bin) {
    return (size_t)(4 + bin % 4) << (bin / 4 + 4);
}

static int bin_for(size_t bytes) {
    if (bytes <= 64)
        return 0;
    int bin = 4 * (57 - __builtin_clzll(bytes - 1)); /* the class of the power of two below */
    while (bin < KN_POOL_BINS && bin_size(bin) < bytes)
        bin++;
    return bin;
}

/* ---- pools ---- */

void kn_pool_trim(kn_pool *pool) {
    for (int bin = 0; bin < KN_POOL_BINS; bin++)
        while (pool->bin[bin] != NULL) {
            kn_storage *s = pool->bin[bin];
            pool->bin[bin] = s->next;
            pool->device.ops->free(&pool->device, s->data);
            pool->taken -= bin_size(bin);
            kn_free(pool->ctx, s);
        }
}

kn_pool *kn_pool_of(kn_ctx *ctx, kn_device *device) {
    kn_pool *pool = ctx->engine->pools;
    while (pool != NULL && &pool->device != device)
        pool = pool->next;
    assert(pool != NULL && "a device of another context");
    return pool;
}

static void *ask(kn_pool *pool, int bin, size_t bytes) {
    kn_device *d = &pool->device;
    bool room = !kn_device_is_host(d) || kn_host_has_room(pool, bytes);
    return room ? d->ops->alloc(d, bin_size(bin)) : NULL;
}

static void fail_for_memory(kn_ctx *ctx, const kn_pool *pool, size_t bytes) {
    char left[64] = "";
    if (pool->room.most > 0)
        snprintf(left, sizeof left, ", %llu of %llu left", (unsigned long long)pool->room.reach,
                 (unsigned long long)pool->room.most);
    kn_fail(ctx, KN_ERR_MEMORY,
            "out of memory on device %s: a tensor of %zu bytes, %zu in use%s; smaller batches, "
            "pictures or models take less",
            pool->device.name, bytes, pool->taken, left);
}

kn_storage *kn_storage_get(kn_ctx *ctx, kn_device *device, size_t bytes) {
    kn_pool *pool = kn_pool_of(ctx, device);
    int bin = bin_for(bytes);
    if (bin >= KN_POOL_BINS) {
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: a tensor of %zu bytes", bytes);
        return NULL;
    }
    kn_storage *s = pool->bin[bin];
    if (s != NULL) {
        pool->bin[bin] = s->next;
        s->refs = 1;
        return s;
    }
    s = kn_calloc(ctx, 1, sizeof *s, "a tensor's buffer");
    if (s == NULL)
        return NULL;
    s->data = ask(pool, bin, bytes);
    if (s->data == NULL) { /* other classes may hold what is needed */
        kn_pool_trim(pool);
        s->data = ask(pool, bin, bytes);
    }
    if (s->data == NULL) {
        kn_free(ctx, s);
        fail_for_memory(ctx, pool, bytes);
        return NULL;
    }
    pool->taken += bin_size(bin);
    *s = (kn_storage){.pool = pool, .data = s->data, .refs = 1, .bin = bin};
    return s;
}

void kn_storage_drop(kn_storage *s) {
    if (s == NULL || --s->refs > 0)
        return;
    s->next = s->pool->bin[s->bin];
    s->pool->bin[s->bin] = s;
}

/* A bin's buffers by their addresses, the lowest first; few, and mostly in order. */
static void sort_bin(kn_storage **first) {
    kn_storage *sorted = NULL;
    while (*first != NULL) {
        kn_storage *s = *first;
        *first = s->next;
        kn_storage **at = &sorted;
        while (*at != NULL && (*at)->data < s->data)
            at = &(*at)->next;
        s->next = *at;
        *at = s;
    }
    *first = sorted;
}

static bool is_sorted(const kn_storage *s) {
    while (s != NULL && s->next != NULL && s->data < s->next->data)
        s = s->next;
    return s == NULL || s->next == NULL;
}

void kn_pools_settle(kn_ctx *ctx) {
    for (kn_pool *pool = ctx->engine->pools; pool != NULL; pool = pool->next) {
        kn_device *d = &pool->device;
        if (!d->ops->async)
            continue;
        for (int bin = 0; bin < KN_POOL_BINS; bin++)
            if (!is_sorted(pool->bin[bin]))
                sort_bin(&pool->bin[bin]);
        (void)d->ops->submit(d); /* a failure stays in the context */
    }
}

size_t kn_step_memory(const kn_ctx *ctx) {
    size_t bytes = 0;
    if (ctx->engine != NULL)
        for (const kn_pool *pool = ctx->engine->pools; pool != NULL; pool = pool->next)
            bytes += pool->taken;
    return bytes;
}

/* ---- the engine ---- */

static void engine_free(kn_ctx *ctx) {
    kn_engine *e = ctx->engine;
    kn_step_end(ctx);
    while (e->pools != NULL) {
        kn_pool *pool = e->pools;
        e->pools = pool->next;
        kn_pool_trim(pool);
        pool->device.ops->close(&pool->device);
        kn_free(ctx, pool);
    }
    for (size_t i = 0; i < e->block_count; i++)
        kn_free(ctx, e->block[i]);
    kn_free(ctx, e->block);
    kn_free(ctx, e->live);
    kn_free(ctx, e->free_header);
    kn_free(ctx, e->node);
    kn_free(ctx, e);
    ctx->engine = NULL;
}

kn_engine *kn_engine_get(kn_ctx *ctx) {
    if (ctx->engine == NULL) {
        ctx->engine = kn_calloc(ctx, 1, sizeof *ctx->engine, "the tensor engine");
        if (ctx->engine == NULL)
            return NULL;
        ctx->engine->tape = 1;
        ctx->engine->recording = true;
        ctx->engine_free = engine_free;
    }
    return ctx->engine;
}
