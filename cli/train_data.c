/* train_data.c - from DATA to loaders: split, datasets, and how they are read. */
#include "train.h"

static kn_dataset *make_set(train *t, const kn_labelled *items, int count) {
    return kn_image_dataset(t->s->ctx, items, count, t->s->a.img_size, (kn_image_opts){0});
}

static kn_loader_opts loading(const args *a) {
    return (kn_loader_opts){.workers = a->workers,
                            .max_image_memory = (size_t)a->max_image_memory << 20};
}

static void open_loaders(train *t) {
    const args *a = &t->s->a;
    kn_loader_opts valid = loading(a), training = loading(a);
    training.shuffle = true;
    t->loaders.valid = kn_loader_new(t->s->ctx, t->valid_set, 2 * a->batch_size, valid);
    t->loaders.train = kn_loader_new(t->s->ctx, t->train_set, a->batch_size, training);
}

kn_status train_open_data(train *t, const char *folder) {
    kn_ctx *ctx = t->s->ctx;
    kn_split_opts opts = {.valid_pct = t->s->a.valid_pct};
    kn_status status = kn_split_folder(ctx, folder, opts, &t->split);
    if (status != KN_OK)
        return status;
    t->train_set = make_set(t, t->split.train, t->split.train_count);
    t->valid_set = make_set(t, t->split.valid, t->split.valid_count);
    if (t->train_set == NULL || t->valid_set == NULL)
        return kn_ctx_status(ctx);
    open_loaders(t);
    return kn_ctx_status(ctx);
}

void train_close_data(train *t) {
    kn_loader_free(t->loaders.train);
    kn_loader_free(t->loaders.valid);
    kn_dataset_free(t->train_set);
    kn_dataset_free(t->valid_set);
    kn_split_free(t->s->ctx, &t->split);
}
