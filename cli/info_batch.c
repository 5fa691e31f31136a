/* info_batch.c - see info_batch.h. */
#include "info_batch.h"

#include "predict_files.h"

/* What one without a model file is normalised by, since nothing says better. */
static kn_normalize norm_of(const kn_loaded_model *m) {
    kn_normalize norm = m->norm;
    for (int c = 0; c < 3 && m->norm.std[0] <= 0; c++) {
        norm.mean[c] = (float)imagenet_mean[c];
        norm.std[c] = (float)imagenet_std[c];
    }
    return norm;
}

static kn_tensor *first_batch(session *s, const kn_loaded_model *m, predict_files *files,
                              kn_loader *loader) {
    kn_ctx *ctx = s->ctx;
    kn_normalize norm = norm_of(m);
    kn_tensor *x = NULL;
    kn_batch batch;
    bool got = false;
    if (kn_loader_start(loader, 0) != KN_OK || kn_loader_next(loader, &batch, &got) != KN_OK)
        return NULL;
    for (int i = 0; i < batch.n; i++) /* got: there is a picture */
        if (files->item[batch.index[i]].error != NULL)
            kn_fail(ctx, KN_ERR_DATA, "%s", files->item[batch.index[i]].error);
    if (kn_ctx_status(ctx) == KN_OK)
        x = kn_normalize_apply(
            ctx, &norm,
            kn_to(
                ctx,
                kn_from(ctx, KN_U8, KN_SHAPE(batch.n, batch.height, batch.width, 3), batch.pixels),
                kn_device_default(ctx)));
    kn_loader_release(loader, &batch);
    return x;
}

static kn_tensor *read_batch(session *s, const kn_loaded_model *m, char *folder) {
    kn_ctx *ctx = s->ctx;
    predict_files files = {0};
    kn_loader *loader = NULL;
    kn_tensor *x = NULL;
    kn_loader_opts opts = {.workers = s->a.workers,
                           .max_image_memory = (size_t)s->a.max_image_memory << 20};
    kn_image_opts fit = {.resize = m->resize};
    kn_status status = predict_files_open(&files, ctx, &folder, 1, m->size, fit);
    if (status == KN_OK && files.count == 0)
        status = kn_fail(ctx, KN_ERR_DATA, "%s: holds no pictures", folder);
    if (status == KN_OK)
        loader = kn_loader_new(ctx, &files.base, s->a.batch_size, opts);
    if (loader != NULL)
        x = first_batch(s, m, &files, loader);
    kn_loader_free(loader);
    predict_files_free(&files);
    return x;
}

kn_tensor *info_batch(session *s, const kn_loaded_model *m, const char *name, int *code) {
    char folder[PATH_MAX];
    kn_tensor *x = NULL;
    *code = EXIT_DONE;
    if (name == NULL)
        x = kn_zeros(s->ctx, KN_F32, KN_SHAPE(s->a.batch_size, m->size, m->size, 3));
    else if ((*code = data_folder(s, name, folder)) == EXIT_DONE)
        x = read_batch(s, m, folder);
    if (x == NULL && *code == EXIT_DONE)
        *code = session_fail(s);
    return x;
}
