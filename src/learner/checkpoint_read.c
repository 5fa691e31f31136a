/* checkpoint_read.c - a checkpoint from its file, checked whole, and back into a training. */
#include "core/file.h"
#include "learner/checkpoint.h"

#include "learner/events.h"
#include "tensor/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct kn_checkpoint {
    kn_allocator allocator;
    kn_st_file *file;
    kn_checkpoint_place place;
    char path[KN_PATH_MAX];
    kn_error passed_over; /* KN_OK: no newer one was */
};

/* ---- reading ---- */

static kn_status check_sum(const kn_checkpoint *c, kn_error *error) {
    char hex[65], quoted[68];
    const kn_st_file *f = c->file;
    const char *kind = kn_st_meta_get(f, KN_CHECKPOINT_KIND);
    const char *sum = kn_st_meta_get(f, KN_CHECKPOINT_SHA256);
    if (kind == NULL || strcmp(kind, "\"checkpoint\"") != 0 || sum == NULL)
        return kn_error_set(error, KN_ERR_FORMAT, "%s: is no checkpoint of Kiln's", c->path);
    kn_error why = {0};
    kn_status status = kn_checkpoint_sum(f->tensor, f->tensors, f->meta, f->metas, hex, &why);
    if (status != KN_OK)
        return kn_error_set(error, status, "%s: %s", c->path, why.message);
    snprintf(quoted, sizeof quoted, "\"%s\"", hex);
    if (strcmp(sum, quoted) == 0)
        return KN_OK;
    return kn_error_set(error, KN_ERR_FORMAT, "%s: damaged: its checksum is not that of its bytes",
                        c->path);
}

static kn_status read_place(kn_checkpoint *c, kn_error *error) {
    int64_t number[KN_CHECKPOINT_NUMBERS];
    const kn_st_entry *e = kn_st_find(c->file, KN_CHECKPOINT_PLACE);
    if (e == NULL || e->dtype != KN_I64 || e->shape.rank != 1 ||
        e->shape.dim[0] != KN_CHECKPOINT_NUMBERS)
        return kn_error_set(error, KN_ERR_FORMAT, "%s: has no place in a training", c->path);
    memcpy(number, e->data, sizeof number);
    if (kn_checkpoint_place_unpack(number, &c->place))
        return KN_OK;
    if (number[0] != KN_CHECKPOINT_VERSION)
        return kn_error_set(error, KN_ERR_FORMAT,
                            "%s: a checkpoint of version %" PRId64 ", expected %d", c->path,
                            number[0], KN_CHECKPOINT_VERSION);
    return kn_error_set(error, KN_ERR_FORMAT, "%s: its place in the training makes no sense",
                        c->path);
}

static kn_status read_file(kn_checkpoint *c, const char *folder, const char *name,
                           kn_error *error) {
    kn_status status = kn_path_join(c->path, folder, name, error);
    if (status == KN_OK)
        status = kn_st_open(&c->file, c->path, &c->allocator, error);
    if (status == KN_OK)
        status = check_sum(c, error);
    if (status == KN_OK)
        status = read_place(c, error);
    if (status != KN_OK) {
        kn_st_close(c->file);
        c->file = NULL;
    }
    return status;
}

static bool is_there(const char *folder, const char *name) {
    char path[KN_PATH_MAX];
    return kn_path_join(path, folder, name, NULL) == KN_OK && kn_file_exists(path);
}

/* The newest that is good. Without last, next is what a stop between two renames left: whole, and
 * newer than previous. */
static kn_status read_newest(kn_checkpoint *c, const char *folder, bool *found, kn_error *error) {
    const char *const name[] = {kn_checkpoint_last, kn_checkpoint_next, kn_checkpoint_previous};
    *found = false;
    for (size_t i = 0; i < KN_COUNT(name); i++) {
        kn_error reason = {0};
        if (!is_there(folder, name[i]))
            continue;
        *found = true;
        if (read_file(c, folder, name[i], &reason) == KN_OK)
            return KN_OK;
        if (reason.status == KN_ERR_MEMORY) { /* which says nothing of the file */
            *error = reason;
            return reason.status;
        }
        if (c->passed_over.status == KN_OK)
            c->passed_over = reason;
    }
    if (*found)
        *error = c->passed_over;
    return *found ? error->status : KN_OK;
}

kn_status kn_checkpoint_open(kn_checkpoint **out, const char *folder, const kn_allocator *allocator,
                             kn_error *error) {
    const kn_allocator *a = allocator != NULL ? allocator : &kn_default_allocator;
    kn_error mine = {0};
    bool found;
    *out = NULL;
    kn_checkpoint *c = kn_mem_calloc(a, 1, sizeof *c);
    if (c == NULL)
        return kn_error_set(error, KN_ERR_MEMORY, "%s: no memory to read its checkpoint", folder);
    c->allocator = *a;
    kn_status status = read_newest(c, folder, &found, &mine);
    if (status == KN_OK && found) {
        *out = c;
        return KN_OK;
    }
    kn_checkpoint_close(c);
    return status == KN_OK ? KN_OK : kn_error_set(error, status, "%s", mine.message);
}

void kn_checkpoint_close(kn_checkpoint *c) {
    if (c == NULL)
        return;
    kn_allocator a = c->allocator;
    kn_st_close(c->file);
    kn_mem_free(&a, c);
}

const char *kn_checkpoint_path(const kn_checkpoint *c) {
    return c->path;
}

const char *kn_checkpoint_passed_over(const kn_checkpoint *c) {
    return c->passed_over.status != KN_OK ? c->passed_over.message : NULL;
}

kn_checkpoint_place kn_checkpoint_at(const kn_checkpoint *c) {
    return c->place;
}

const char *kn_checkpoint_meta(const kn_checkpoint *c, const char *key) {
    return kn_st_meta_get(c->file, key);
}

/* ---- is it of this fit? ---- */

static kn_status differs(kn_learner *l, const kn_checkpoint *c, const char *what, int64_t there,
                         int64_t here) {
    if (there == here)
        return KN_OK;
    return kn_fail(l->ctx, KN_ERR_ARG, "%s: of a training with %s %" PRId64 ", this has %" PRId64,
                   c->path, what, there, here);
}

kn_status kn_checkpoint_fits(kn_learner *l, const kn_checkpoint *c) {
    kn_checkpoint_place here = kn_checkpoint_place_of(l, 0);
    kn_status status = differs(l, c, "epochs:", c->place.epochs, here.epochs);
    if (status == KN_OK)
        status = differs(l, c, "samples:", c->place.samples, here.samples);
    if (status == KN_OK)
        status = differs(l, c, "batches an epoch:", c->place.batches, here.batches);
    if (status == KN_OK)
        status = differs(l, c, "seed", (int64_t)c->place.seed, (int64_t)here.seed);
    if (status == KN_OK && c->place.threads != here.threads)
        kn_report(l->ctx, KN_LOG_WARNING,
                  "%s: was computed on %" PRId64 " threads, now on %" PRId64
                  ": the last digits will differ",
                  c->path, c->place.threads, here.threads);
    return status;
}

/* ---- putting it back ---- */

typedef struct restoring {
    kn_learner *l;
    const kn_checkpoint *c;
    bool *taken; /* [tensors] */
} restoring;

static kn_status take(restoring *r, const char *name, kn_dtype dtype, const kn_shape *shape,
                      const void **data) {
    const kn_st_file *f = r->c->file;
    char want[KN_SHAPE_TEXT], got[KN_SHAPE_TEXT];
    const kn_st_entry *e = kn_st_find(f, name);
    if (e == NULL)
        return kn_fail(r->l->ctx, KN_ERR_ARG, "%s: of another training: it has no %s", r->c->path,
                       name);
    if (e->dtype != dtype || !kn_shape_equal(&e->shape, shape))
        return kn_fail(r->l->ctx, KN_ERR_ARG, "%s: of another training: its %s is %s %s, not %s %s",
                       r->c->path, name, kn_dtype_name(e->dtype), kn_shape_text(&e->shape, got),
                       kn_dtype_name(dtype), kn_shape_text(shape, want));
    r->taken[e - f->tensor] = true;
    *data = e->data;
    return KN_OK;
}

static kn_status put_tensor(void *user, const char *name, kn_tensor *t) {
    restoring *r = user;
    const void *data;
    kn_status status = take(r, name, t->dtype, &t->shape, &data);
    return status == KN_OK ? kn_tensor_write(r->l->ctx, t, data, kn_tensor_bytes(t)) : status;
}

static kn_status put_values(void *user, const char *name, kn_dtype dtype, const kn_shape *shape,
                            void *value) {
    const void *data;
    kn_status status = take(user, name, dtype, shape, &data);
    size_t bytes = (size_t)kn_shape_numel(shape) * kn_dtype_size(dtype);
    if (status == KN_OK && bytes > 0)
        memcpy(value, data, bytes);
    return status;
}

/* What nobody asked for is of a training with something that this has not. */
static kn_status check_all_taken(const restoring *r) {
    const kn_st_file *f = r->c->file;
    for (int i = 0; i < f->tensors; i++)
        if (!r->taken[i] && strcmp(f->tensor[i].name, KN_CHECKPOINT_PLACE) != 0)
            return kn_fail(r->l->ctx, KN_ERR_ARG,
                           "%s: of another training: this one has no place for its %s", r->c->path,
                           f->tensor[i].name);
    return KN_OK;
}

static kn_status tell_callbacks(kn_learner *l) {
    kn_status status = KN_OK;
    for (size_t i = 0; i < l->state->count && status == KN_OK; i++) {
        kn_callback *cb = l->state->callback[i];
        if (cb->cls->restored != NULL)
            status = cb->cls->restored(cb, l);
    }
    return status;
}

kn_status kn_checkpoint_restore(kn_learner *l, const kn_checkpoint *c) {
    restoring r = {.l = l, .c = c};
    kn_checkpoint_sink sink = {put_tensor, put_values, &r};
    r.taken = kn_calloc(l->ctx, (size_t)c->file->tensors + 1, sizeof *r.taken, "a checkpoint");
    if (r.taken == NULL)
        return KN_ERR_MEMORY;
    kn_status status = kn_checkpoint_walk(l, &sink);
    if (status == KN_OK)
        status = check_all_taken(&r);
    kn_free(l->ctx, r.taken);
    return status == KN_OK ? tell_callbacks(l) : status;
}

kn_status kn_learner_resume(kn_learner *l, const kn_checkpoint *c) {
    if (l == NULL)
        return KN_ERR_STATE;
    if (l->state->fitting)
        return kn_fail(l->ctx, KN_ERR_STATE, "learner: a fit is under way");
    l->state->resume = c;
    return KN_OK;
}
