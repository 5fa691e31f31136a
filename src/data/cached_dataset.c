/* cached_dataset.c - a dataset that makes each sample of another once, and keeps it in memory or in
 * a file (cache_file.h); of samples that vary, the pictures they are drawn from (picture_store.h).
 */
#include "core/file.h"
#include "core/memory.h"
#include "data/cache_file.h"
#include "data/cached_dataset.h"
#include "data/picture_store.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { ABSENT = 0, WRITING = 1, THERE = 2 };

typedef struct cached {
    kn_dataset base;
    kn_ctx *ctx;        /* for the end only: get runs on other threads */
    kn_dataset *source; /* borrowed */
    kn_cache_kind kind;
    int64_t samples;
    size_t sample_bytes;
    /* in memory */
    uint8_t *pixels;        /* [samples,H,W,3] */
    int32_t *label;         /* [samples] */
    _Atomic uint8_t *state; /* [samples] */
    /* in a file */
    kn_cache_file *file;
    /* in memory, of a source that varies */
    kn_picture_store *pictures;
} cached;

static int64_t cached_len(const kn_dataset *ds) {
    return ((const cached *)ds)->samples;
}

static bool in_memory(const cached *c, kn_sample *s) {
    if (atomic_load_explicit(&c->state[s->index], memory_order_acquire) != THERE)
        return false;
    memcpy(s->slot, c->pixels + (size_t)s->index * c->sample_bytes, c->sample_bytes);
    *s->label = c->label[s->index];
    return true;
}

static void keep_in_memory(const cached *c, const kn_sample *s) {
    uint8_t absent = ABSENT;
    if (!atomic_compare_exchange_strong(&c->state[s->index], &absent, WRITING))
        return;
    memcpy(c->pixels + (size_t)s->index * c->sample_bytes, s->slot, c->sample_bytes);
    c->label[s->index] = *s->label;
    atomic_store_explicit(&c->state[s->index], THERE, memory_order_release);
}

static kn_status draw_from_kept(const cached *c, kn_sample *s) {
    const kn_dataset_class *cls = c->source->cls;
    kn_image picture;
    kn_status status = KN_OK;
    if (!kn_picture_store_get(c->pictures, s->index, &picture, s->label)) {
        status = cls->read(c->source, s, &picture);
        if (status == KN_OK)
            kn_picture_store_put(c->pictures, s->index, &picture, *s->label);
    }
    return status == KN_OK ? cls->draw(c->source, s, &picture) : status;
}

static kn_status cached_get(const kn_dataset *ds, kn_sample *s) {
    const cached *c = (const cached *)ds;
    if (c->pictures != NULL)
        return draw_from_kept(c, s);
    if ((c->kind == KN_CACHE_RAM && in_memory(c, s)) ||
        (c->kind == KN_CACHE_DISK && kn_cache_file_get(c->file, s->index, s->slot, s->label)))
        return KN_OK;
    kn_status status = c->source->cls->get(c->source, s);
    bool bad = status == KN_ERR_DATA || status == KN_ERR_LIMIT; /* and will be, another time */
    if (bad && c->kind == KN_CACHE_DISK)
        kn_cache_file_leave_out(c->file, s->index);
    if (status != KN_OK)
        return status;
    if (c->kind == KN_CACHE_RAM)
        keep_in_memory(c, s);
    else if (c->kind == KN_CACHE_DISK)
        kn_cache_file_put(c->file, s->index, s->slot, *s->label);
    return KN_OK;
}

static void cached_free(kn_dataset *ds) {
    cached *c = (cached *)ds;
    kn_cache_file_close(c->file);
    kn_picture_store_free(c->pictures);
    kn_free(c->ctx, c->pixels);
    kn_free(c->ctx, c->label);
    kn_free(c->ctx, (void *)c->state);
    kn_free(c->ctx, c);
}

static const kn_dataset_class cached_class = {
    .len = cached_len, .get = cached_get, .free = cached_free};

bool kn_dataset_is_kept(const kn_dataset *ds) {
    return ds->cls == &cached_class && !ds->varies && ((const cached *)ds)->kind != KN_CACHE_OFF;
}

/* ---- which ---- */

/* Whether the disk would still have as much room again. The folder may not be there yet: then the
 * nearest above it that is. */
static bool disk_has_room(const char *folder, size_t bytes) {
    struct statvfs fs;
    char path[KN_PATH_MAX];
    snprintf(path, sizeof path, "%s", folder);
    for (;;) {
        if (statvfs(path, &fs) == 0)
            return (size_t)fs.f_bavail * fs.f_frsize / 2 >= bytes;
        char *slash = strrchr(path, '/');
        if (errno != ENOENT || strcmp(path, "/") == 0 || strcmp(path, ".") == 0)
            return false;
        if (slash == NULL)
            strcpy(path, ".");
        else
            slash[slash == path] = '\0';
    }
}

size_t kn_cache_memory(void) {
    return (size_t)(kn_memory_now("").left / 4);
}

static size_t budget_of(const kn_cache_opts *opts) {
    return opts->memory > 0 ? opts->memory : kn_cache_memory();
}

/* How large pictures are is known when they are read: some of them always fit. */
static kn_cache_kind choose_for_pictures(const cached *c, kn_cache_kind kind) {
    bool in_parts = c->source->cls->read != NULL && c->source->cls->draw != NULL;
    return in_parts && (kind == KN_CACHE_AUTO || kind == KN_CACHE_RAM) ? KN_CACHE_RAM
                                                                       : KN_CACHE_OFF;
}

static kn_cache_kind choose(const cached *c, const kn_cache_opts *opts) {
    size_t bytes = (size_t)c->samples * c->sample_bytes;
    if (c->samples == 0)
        return KN_CACHE_OFF;
    if (c->source->varies)
        return choose_for_pictures(c, opts->kind);
    if (opts->kind != KN_CACHE_AUTO)
        return opts->kind;
    if (bytes <= budget_of(opts))
        return KN_CACHE_RAM;
    bool disk = opts->folder != NULL && c->source->cls->identify != NULL;
    return disk && disk_has_room(opts->folder, bytes) ? KN_CACHE_DISK : KN_CACHE_OFF;
}

/* ---- opening ---- */

static kn_status open_memory(cached *c) {
    size_t samples = (size_t)c->samples;
    if (samples > SIZE_MAX / c->sample_bytes)
        return kn_fail(c->ctx, KN_ERR_MEMORY, "out of memory: %zu samples of %zu bytes", samples,
                       c->sample_bytes);
    c->pixels = kn_mem_alloc(&c->ctx->allocator, samples * c->sample_bytes);
    c->label = kn_mem_alloc(&c->ctx->allocator, samples * sizeof *c->label);
    c->state = kn_mem_calloc(&c->ctx->allocator, samples, sizeof *c->state);
    if (c->pixels != NULL && c->label != NULL && c->state != NULL)
        return KN_OK;
    kn_free(c->ctx, c->pixels);
    kn_free(c->ctx, c->label);
    kn_free(c->ctx, (void *)c->state);
    c->pixels = NULL;
    c->label = NULL;
    c->state = NULL;
    return kn_fail(c->ctx, KN_ERR_MEMORY, "out of memory: %zu bytes for a cache of samples",
                   samples * c->sample_bytes);
}

static kn_status open_file(cached *c, const char *folder) {
    kn_error error = {0};
    kn_cache_form form = {.samples = c->samples, .sample_bytes = c->sample_bytes};
    if (folder == NULL || c->source->cls->identify == NULL)
        return kn_fail(c->ctx, KN_ERR_ARG, "a cache on disk: %s",
                       folder == NULL ? "no folder was given" : "this dataset has no name");
    kn_status status = c->source->cls->identify(c->source, form.name, &error);
    if (status == KN_OK && strspn(form.name, "0123456789abcdef") != sizeof form.name - 1)
        status = kn_error_set(&error, KN_ERR_ARG, "cache: a dataset's name is no 64 hex digits");
    if (status == KN_OK)
        status = kn_cache_file_open(&c->file, &c->ctx->allocator, folder, &form, &error);
    return status == KN_OK ? KN_OK : kn_fail_with(c->ctx, &error);
}

/* What AUTO chose and could not be had is no error: then nothing is kept. */
static kn_status open_cache(cached *c, const kn_cache_opts *opts) {
    kn_status status = KN_OK;
    if (c->kind == KN_CACHE_RAM && c->source->varies) {
        c->pictures = kn_picture_store_new(c->ctx, c->samples, budget_of(opts));
        status = c->pictures != NULL ? KN_OK : kn_ctx_status(c->ctx);
    } else if (c->kind == KN_CACHE_RAM)
        status = open_memory(c);
    else if (c->kind == KN_CACHE_DISK)
        status = open_file(c, opts->folder);
    if (status == KN_OK || opts->kind != KN_CACHE_AUTO)
        return status;
    kn_error_take(c->ctx);
    c->kind = KN_CACHE_OFF;
    return KN_OK;
}

kn_dataset *kn_cached_dataset(kn_ctx *ctx, kn_dataset *ds, kn_cache_opts opts) {
    if (ds == NULL || kn_ctx_status(ctx) != KN_OK)
        return NULL;
    cached *c = kn_calloc(ctx, 1, sizeof *c, "a dataset");
    if (c == NULL)
        return NULL;
    *c = (cached){.base = {&cached_class, ds->height, ds->width, ds->varies},
                  .ctx = ctx,
                  .source = ds,
                  .samples = ds->cls->len(ds),
                  .sample_bytes = (size_t)ds->height * (size_t)ds->width * 3};
    c->kind = choose(c, &opts);
    if (open_cache(c, &opts) == KN_OK)
        return &c->base;
    cached_free(&c->base);
    return NULL;
}

kn_cache_state kn_cached_dataset_state(const kn_dataset *ds) {
    const cached *c = (const cached *)ds;
    kn_cache_state state = {.kind = c->kind, .bytes = c->samples * (int64_t)c->sample_bytes};
    if (c->pictures != NULL) {
        kn_picture_count count = kn_picture_store_count(c->pictures);
        state.pictures = count.pictures;
        state.bytes = (int64_t)count.bytes;
        state.crowded = count.crowded;
    }
    if (c->file != NULL) {
        state.found = kn_cache_file_found(c->file);
        state.damaged = kn_cache_file_damaged(c->file);
        state.given_up = kn_cache_file_given_up(c->file);
    }
    return state;
}
