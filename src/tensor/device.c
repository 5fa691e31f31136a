/* device.c - devices: opened once a context, by name, with a pool each. */
#include "tensor/engine.h"

#include "core/file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "cuda:2" is number 2 of its kind, "cuda" number 0. */
static int ordinal_of(const char *name) {
    const char *colon = strchr(name, ':');
    return colon != NULL ? (int)strtol(colon + 1, NULL, 10) : 0; /* checked by kn_backend_find */
}

/* The plan file's folder: the device makes the file when it has something to say. */
static void make_plans_folder(kn_ctx *ctx) {
    char folder[sizeof ctx->plans];
    kn_error error = {0};
    snprintf(folder, sizeof folder, "%s", ctx->plans);
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder)
        return;
    *slash = '\0';
    if (kn_folder_make(folder, &error) != KN_OK)
        kn_report(ctx, KN_LOG_WARNING, "%s; every run measures anew", error.message);
}

static kn_device *open_device(kn_ctx *ctx, const kn_backend *backend, int ordinal) {
    kn_engine *e = ctx->engine;
    for (kn_pool *pool = e->pools; pool != NULL; pool = pool->next)
        if (pool->device.ops == backend && pool->device.ordinal == ordinal)
            return &pool->device;
    kn_pool *pool = kn_calloc(ctx, 1, sizeof *pool, "a device");
    if (pool == NULL)
        return NULL;
    pool->ctx = ctx;
    pool->device = (kn_device){.ops = backend,
                               .ordinal = ordinal,
                               .plans = ctx->plans[0] != '\0' ? ctx->plans : NULL,
                               .allocator = &ctx->allocator,
                               .error = &ctx->error,
                               .threads = ctx->threads};
    char number[16] = "";
    if (ordinal > 0)
        snprintf(number, sizeof number, ":%d", ordinal);
    snprintf(pool->device.name, sizeof pool->device.name, "%s%s", backend->name, number);
    if (backend->open(&pool->device) != KN_OK) {
        kn_free(ctx, pool);
        return NULL;
    }
    pool->next = e->pools;
    e->pools = pool;
    if (backend->async)
        make_plans_folder(ctx);
    return &pool->device;
}

kn_device *kn_device_open(kn_ctx *ctx, const char *name) {
    bool well = kn_ctx_status(ctx) == KN_OK;
    kn_engine *e = kn_engine_get(ctx);
    const kn_backend *backend = e != NULL ? kn_backend_find(name, &ctx->error) : NULL;
    kn_device *device = backend != NULL ? open_device(ctx, backend, ordinal_of(name)) : NULL;
    if (device != NULL || backend == NULL || !backend->async || strcmp(name, "auto") != 0 || !well)
        return device;
    /* Nobody asked for this one by its name: it is there, and does not work. */
    kn_error why = kn_error_take(ctx);
    kn_report(ctx, KN_LOG_WARNING, "%s; goes on on cpu", why.message);
    return kn_device_open(ctx, "cpu");
}

kn_device *kn_device_default(kn_ctx *ctx) {
    kn_engine *e = kn_engine_get(ctx);
    if (e == NULL)
        return NULL;
    if (e->current == NULL)
        e->current = kn_device_open(ctx, ctx->device);
    return e->current;
}

void kn_device_use(kn_ctx *ctx, kn_device *device) {
    assert(device != NULL);
    kn_pool_of(ctx, device);
    ctx->engine->current = device;
}

bool kn_device_is_host(const kn_device *device) {
    return !device->ops->async;
}

const char *kn_device_name(const kn_device *device) {
    return device->name;
}

bool kn_device_can(const kn_device *device, kn_dtype dtype) {
    return dtype == KN_F32 || (dtype == KN_BF16 && device->bf16 != NULL);
}

const char *kn_device_about(const kn_device *device) {
    return device->about;
}
