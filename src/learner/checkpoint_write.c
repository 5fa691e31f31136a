/* checkpoint_write.c - a checkpoint from a training: one walk counts, a second copies all of it to
 * host memory, then the file is written, synced and given its name. */
#include "core/file.h"
#include "learner/checkpoint.h"

#include "tensor/tensor.h"

#include <stdio.h>
#include <string.h>

void kn_checkpoint_writer_free(kn_checkpoint_writer *w) {
    for (size_t i = 0; i < w->entry_room; i++) /* entries may count what found no room */
        kn_free(w->ctx, (void *)(uintptr_t)w->entry[i].name);
    kn_free(w->ctx, w->entry);
    kn_free(w->ctx, w->data);
    *w = (kn_checkpoint_writer){0};
}

/* ---- collecting ---- */

/* Names are copied at the first checkpoint, and found again at the next as long as nothing changed.
 */
static kn_status name_entry(kn_checkpoint_writer *w, const char *name) {
    kn_st_entry *e = &w->entry[w->entries];
    if (e->name != NULL && strcmp(e->name, name) == 0)
        return KN_OK;
    kn_free(w->ctx, (void *)(uintptr_t)e->name);
    e->name = kn_mem_strdup(&w->ctx->allocator, name);
    return e->name != NULL ? KN_OK
                           : kn_fail(w->ctx, KN_ERR_MEMORY, "out of memory: a checkpoint's names");
}

/* The next entry; its bytes at *room, NULL while counting. */
static kn_status add(kn_checkpoint_writer *w, const char *name, kn_dtype dtype,
                     const kn_shape *shape, void **room) {
    size_t bytes = (size_t)kn_shape_numel(shape) * kn_dtype_size(dtype), at = w->bytes;
    w->bytes += (bytes + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
    *room = NULL;
    if (w->counting) {
        w->entries++;
        return KN_OK;
    }
    if (w->entries == w->entry_room || w->bytes > w->data_room)
        return kn_fail(w->ctx, KN_ERR_STATE, "checkpoint: %s was not there a moment ago", name);
    kn_status status = name_entry(w, name);
    if (status != KN_OK)
        return status;
    kn_st_entry *e = &w->entry[w->entries++];
    *room = w->data + at;
    e->dtype = dtype;
    e->shape = *shape;
    e->data = *room;
    return KN_OK;
}

static kn_status add_tensor(void *user, const char *name, kn_tensor *t) {
    kn_checkpoint_writer *w = user;
    void *room;
    kn_status status = add(w, name, t->dtype, &t->shape, &room);
    return status == KN_OK && room != NULL ? kn_tensor_read(w->ctx, t, room, kn_tensor_bytes(t))
                                           : status;
}

static kn_status add_values(void *user, const char *name, kn_dtype dtype, const kn_shape *shape,
                            void *value) {
    void *room;
    kn_status status = add(user, name, dtype, shape, &room);
    size_t bytes = (size_t)kn_shape_numel(shape) * kn_dtype_size(dtype);
    if (status == KN_OK && room != NULL && bytes > 0)
        memcpy(room, value, bytes);
    return status;
}

static kn_status make_room(kn_checkpoint_writer *w) {
    if (w->entries > w->entry_room) {
        size_t more = w->entries + 16;
        kn_st_entry *entry = kn_calloc(w->ctx, more, sizeof *entry, "a checkpoint");
        if (entry == NULL)
            return KN_ERR_MEMORY;
        for (size_t i = 0; i < w->entry_room; i++)
            entry[i] = w->entry[i];
        kn_free(w->ctx, w->entry);
        w->entry = entry;
        w->entry_room = more;
    }
    if (w->bytes <= w->data_room)
        return KN_OK;
    kn_free(w->ctx, w->data);
    size_t more = w->bytes + w->bytes / 16; /* the history grows */
    w->data = kn_alloc(w->ctx, more, "a checkpoint");
    w->data_room = w->data != NULL ? more : 0;
    return w->data != NULL ? KN_OK : KN_ERR_MEMORY;
}

static kn_status walk(kn_checkpoint_writer *w, kn_learner *l, int64_t trained) {
    kn_checkpoint_place place = kn_checkpoint_place_of(l, trained);
    int64_t number[KN_CHECKPOINT_NUMBERS];
    kn_shape shape = KN_SHAPE(KN_CHECKPOINT_NUMBERS);
    kn_checkpoint_sink sink = {add_tensor, add_values, w};
    w->entries = w->bytes = 0;
    kn_checkpoint_place_pack(&place, number);
    kn_status status = add_values(w, KN_CHECKPOINT_PLACE, KN_I64, &shape, number);
    return status == KN_OK ? kn_checkpoint_walk(l, &sink) : status;
}

static kn_status collect(kn_checkpoint_writer *w, kn_learner *l, int64_t trained) {
    w->counting = true;
    kn_status status = walk(w, l, trained);
    w->counting = false;
    if (status == KN_OK)
        status = make_room(w);
    return status == KN_OK ? walk(w, l, trained) : status;
}

/* ---- files ---- */

/* The last becomes the previous one, the new the last: at every moment one of them is whole under a
 * name that is looked for. */
static kn_status rotate(const char *folder, const char *next, kn_error *error) {
    char last[KN_PATH_MAX], previous[KN_PATH_MAX];
    kn_status status = kn_path_join(previous, folder, kn_checkpoint_previous, error);
    if (status == KN_OK)
        status = kn_path_join(last, folder, kn_checkpoint_last, error);
    if (status == KN_OK)
        status = kn_file_move(last, previous, true, error);
    return status == KN_OK ? kn_file_move(next, last, false, error) : status;
}

kn_status kn_checkpoint_write(kn_checkpoint_writer *w, kn_learner *l, int64_t trained,
                              const char *folder, const kn_st_meta *meta, int metas) {
    enum { MOST_META = 16 };
    kn_st_meta all[MOST_META] = {{"kiln.version", "\"" KN_VERSION "\""},
                                 {KN_CHECKPOINT_KIND, "\"checkpoint\""}};
    char hex[65], sum[68], path[KN_PATH_MAX];
    int count = 2;
    kn_error *error = &l->ctx->error;
    if (metas < 0 || metas + 3 > MOST_META)
        return kn_fail(l->ctx, KN_ERR_ARG, "checkpoint: %d words of metadata, the limit is %d",
                       metas, MOST_META - 3);
    for (int i = 0; i < metas; i++)
        all[count++] = meta[i];
    kn_status status = kn_path_join(path, folder, kn_checkpoint_next, error);
    if (status == KN_OK)
        status = collect(w, l, trained);
    if (status == KN_OK)
        status = kn_checkpoint_sum(w->entry, (int)w->entries, all, count, hex, error);
    if (status != KN_OK)
        return status;
    snprintf(sum, sizeof sum, "\"%s\"", hex);
    all[count++] = (kn_st_meta){KN_CHECKPOINT_SHA256, sum};
    status = kn_st_write(path, w->entry, (int)w->entries, all, count, &l->ctx->allocator, error);
    return status == KN_OK ? rotate(folder, path, error) : status;
}
