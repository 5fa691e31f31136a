/* predict_files.c - see predict_files.h. */
#include "predict_files.h"

#include "core/ctx.h"

#include <string.h>
#include <sys/stat.h>

/* ---- the dataset; get runs on the loader's threads, each item on one ---- */

static int64_t files_len(const kn_dataset *ds) {
    return (int64_t)((const predict_files *)ds)->count;
}

static kn_status read_picture(const kn_dataset *ds, kn_sample *s, const char *path,
                              kn_error *error) {
    const predict_files *f = (const predict_files *)ds;
    kn_image image;
    kn_error resizing = {0}; /* which knows no path */
    s->reader->least_side = f->opts.fast_decode ? ds->height : 0;
    kn_status status = kn_image_read(s->reader, path, &image, error);
    if (status != KN_OK)
        return status;
    status = kn_image_fit(s->reader, image.pixels, image.height, image.width, f->opts.resize,
                          s->slot, ds->height, ds->width, &resizing);
    return status == KN_OK ? KN_OK : kn_error_set(error, status, "%s: %s", path, resizing.message);
}

static kn_status files_get(const kn_dataset *ds, kn_sample *s) {
    const predict_files *f = (const predict_files *)ds;
    predict_item *item = &f->item[s->index];
    kn_error error = {0};
    *s->label = 0;
    memset(s->slot, 0, (size_t)ds->height * (size_t)ds->width * 3);
    if (item->error != NULL)
        return KN_OK;
    kn_status status = read_picture(ds, s, item->path, &error);
    if (status == KN_OK)
        return KN_OK;
    if (status == KN_ERR_MEMORY)
        return kn_error_set(s->error, status, "%s", error.message);
    item->error = kn_mem_strdup(kn_ctx_allocator(f->ctx), error.message);
    return item->error != NULL ? KN_OK : kn_error_set(s->error, KN_ERR_MEMORY, "%s", error.message);
}

static const kn_dataset_class files_class = {.len = files_len, .get = files_get};

/* ---- listing ---- */

static kn_status add(predict_files *f, const char *path, const char *error) {
    void *array = f->item;
    if (!kn_mem_grow(kn_ctx_allocator(f->ctx), &array, &f->room, f->count + 1, sizeof *f->item))
        return kn_fail(f->ctx, KN_ERR_MEMORY, "out of memory: the list of pictures");
    f->item = array;
    f->item[f->count] = (predict_item){.path = path};
    if (error != NULL) {
        f->item[f->count].error = kn_strdup(f->ctx, error);
        if (f->item[f->count].error == NULL)
            return KN_ERR_MEMORY;
    }
    f->count++;
    return KN_OK;
}

static kn_status add_folder(predict_files *f, const char *path) {
    void *array = f->scan;
    if (!kn_mem_grow(kn_ctx_allocator(f->ctx), &array, &f->scan_room, f->scans + 1,
                     sizeof *f->scan))
        return kn_fail(f->ctx, KN_ERR_MEMORY, "out of memory: the list of folders");
    f->scan = array;
    kn_files *files = &f->scan[f->scans];
    *files = (kn_files){0};
    kn_status status = kn_files_scan(f->ctx, path, files);
    f->scans++;
    if (status == KN_ERR_MEMORY)
        return status;
    if (status != KN_OK) {
        kn_error error = kn_error_take(f->ctx);
        return add(f, path, error.message);
    }
    for (int i = 0; i < files->count && status == KN_OK; i++)
        status = add(f, files->path[i], NULL);
    return status;
}

kn_status predict_files_open(predict_files *f, kn_ctx *ctx, char *const *word, int words, int size,
                             kn_image_opts opts) {
    *f = (predict_files){
        .base = {.cls = &files_class, .height = size, .width = size}, .ctx = ctx, .opts = opts};
    kn_status status = KN_OK;
    for (int i = 0; i < words && status == KN_OK; i++) {
        struct stat st;
        bool folder = stat(word[i], &st) == 0 && S_ISDIR(st.st_mode);
        status = folder ? add_folder(f, word[i]) : add(f, word[i], NULL);
    }
    return status;
}

void predict_files_free(predict_files *f) {
    for (size_t i = 0; i < f->count; i++)
        kn_free(f->ctx, f->item[i].error);
    for (size_t i = 0; i < f->scans; i++)
        kn_files_free(f->ctx, &f->scan[i]);
    if (f->ctx != NULL) {
        kn_free(f->ctx, f->item);
        kn_free(f->ctx, f->scan);
    }
    *f = (predict_files){0};
}
