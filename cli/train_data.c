/* train_data.c - from DATA to loaders: split, datasets, and how they are read. */
#include "bad_images.h"
#include "home.h"
#include "train.h"

#include <stdio.h>
#include <string.h>

static kn_augment augmentation(const args *a) {
    kn_augment augment = {0};
    kn_augment_preset(a->aug, &augment);
    if (a->crop_min > 0)
        augment.crop_min = (float)a->crop_min;
    if (a->no_flip)
        augment.flip = 0;
    return augment;
}

/* A network that learned from crops, which keep the aspect about, is best shown the like. */
static void settle_resize(args *a) {
    if (augmentation(a).crop_min > 0 && !args_given(a, "resize"))
        a->resize = kn_resize_name(KN_RESIZE_CROP);
}

kn_resize_method train_resize(const train *t) {
    kn_resize_method method = KN_RESIZE_SQUASH;
    kn_resize_find(t->s->a.resize, &method);
    return method;
}

kn_dataset *train_set(train *t, const kn_labelled *items, int count) {
    args *a = &t->s->a;
    settle_resize(a);
    kn_image_opts opts = {
        .resize = train_resize(t), .augment = augmentation(a), .fast_decode = args_fast_decode(a)};
    return kn_image_dataset(t->s->ctx, items, count, a->img_size, opts);
}

/* Pictures to validate on are never augmented. */
static kn_dataset *valid_set(train *t, const kn_labelled *items, int count) {
    kn_image_opts opts = {.resize = train_resize(t)};
    return kn_image_dataset(t->s->ctx, items, count, t->s->a.img_size, opts);
}

kn_loader_opts train_loading(const args *a) {
    return (kn_loader_opts){.workers = a->workers,
                            .max_image_memory = (size_t)a->max_image_memory << 20,
                            .skip_bad = bad_images_skipped(a)};
}

/* ---- samples kept ---- */

static const char *const cache_name[] = {"auto", "ram", "disk", "off"}; /* as kn_cache_kind */

static kn_cache_kind cache_kind(const args *a) {
    int kind = 0;
    while (strcmp(cache_name[kind], a->cache) != 0)
        kind++;
    return (kn_cache_kind)kind;
}

/* Both sets; files go into a folder of their own, if there is a place for it. */
static kn_status open_caches(train *t) {
    kn_ctx *ctx = t->s->ctx;
    char folder[PATH_MAX], home[PATH_MAX];
    kn_error error = {0};
    kn_cache_opts opts = {.kind = cache_kind(&t->s->a)};
    if (home_path(home, &error) == KN_OK && home_join(folder, home, "/.samples", &error) == KN_OK)
        opts.folder = folder;
    else if (opts.kind == KN_CACHE_DISK)
        return kn_fail_with(ctx, &error);
    size_t given = (size_t)t->s->a.cache_memory << 20;
    opts.memory = (given > 0 ? given : kn_cache_memory()) + 1; /* for both; 0 would ask again */
    t->valid_kept = kn_cached_dataset(ctx, t->valid_set, opts);
    if (t->valid_kept == NULL)
        return kn_ctx_status(ctx);
    kn_cache_state valid = kn_cached_dataset_state(t->valid_kept);
    if (valid.kind == KN_CACHE_RAM)
        opts.memory -= (size_t)valid.bytes < opts.memory ? (size_t)valid.bytes : opts.memory - 1;
    t->train_kept = kn_cached_dataset(ctx, t->train_set, opts);
    if (t->train_kept == NULL)
        return kn_ctx_status(ctx);
    /* What "auto" became, for args.json; with augmentation, which never keeps in files, the sets
     * may differ: then what was asked for stays. */
    kn_cache_kind kind = kn_cached_dataset_state(t->train_kept).kind;
    if (!t->train_set->varies || kind == valid.kind)
        t->s->a.cache = cache_name[kind];
    return KN_OK;
}

static void tell_cache(const train *t, const char *what, const kn_dataset *kept) {
    static const char *const where[] = {"", "in memory", "in a file", "not kept"};
    if (kept == NULL)
        return;
    kn_cache_state s = kn_cached_dataset_state(kept);
    if (t->s->a.verbose)
        report_note(&t->s->r, "%s pictures: %.0f MB, %s%s%s", what, (double)s.bytes / 1e6,
                    s.pictures > 0 ? "whole, " : "", where[s.kind],
                    s.found > 0 ? ", from an earlier run" : "");
    if (t->s->a.verbose && s.crowded)
        report_note(&t->s->r, "%s pictures: %lld of %lld kept", what, (long long)s.pictures,
                    (long long)kept->cls->len(kept));
    char text[sizeof((kn_error *)0)->message + 64];
    if (s.given_up != NULL) {
        snprintf(text, sizeof text, "decoded pictures are not kept: %s", s.given_up);
        report_warning(&t->s->r, text);
    }
    if (s.damaged > 0) {
        snprintf(text, sizeof text, "%lld kept %s pictures were damaged and are decoded anew",
                 (long long)s.damaged, what);
        report_warning(&t->s->r, text);
    }
}

/* After the first epoch all that fit are kept. A JPEG is decoded smaller where it is more than
 * twice as large as the largest crop wants it: sides of 4 --img-size, about. */
void train_tell_room(const train *t) {
    kn_cache_state s = kn_cached_dataset_state(t->train_kept);
    double side = t->s->a.img_size, wanted = 4 * side * 4 * side;
    bool large = (double)s.bytes / 3 >= wanted * (double)s.pictures; /* or none fits */
    if (!s.crowded || !large || args_fast_decode(&t->s->a))
        return;
    report_note(&t->s->r,
                "%lld of %lld training pictures fit into --cache-memory, decoded; --decode fast "
                "makes large JPEGs smaller",
                (long long)s.pictures, (long long)t->train_kept->cls->len(t->train_kept));
}

void train_tell_cache(const train *t) {
    tell_cache(t, "training", t->train_kept);
    tell_cache(t, "validation", t->valid_kept);
}

/* ---- loaders ---- */

static void open_loaders(train *t) {
    const args *a = &t->s->a;
    kn_loader_opts valid = train_loading(a), training = train_loading(a);
    training.shuffle = true;
    /* Of the others each has norms; the last maps of small pictures have one number a channel. */
    if (strcmp(a->model, "simple_cnn") != 0)
        training.least_batch = 2;
    t->loaders.valid = kn_loader_new(t->s->ctx, t->valid_kept, 2 * a->batch_size, valid);
    t->loaders.train = kn_loader_new(t->s->ctx, t->train_kept, a->batch_size, training);
}

kn_status train_open_data(train *t, const char *folder) {
    kn_ctx *ctx = t->s->ctx;
    kn_split_opts opts = {.valid_pct = t->s->a.valid_pct};
    kn_status status = kn_split_folder(ctx, folder, opts, &t->split);
    if (status == KN_OK)
        status = data_warn_of_split(t->s, &t->split);
    if (status != KN_OK)
        return status;
    args *a = &t->s->a;
    if (!args_given(a, "batch-size"))
        a->batch_size = recipe_batch(a->recipe, t->split.train_count, a->batch_size);
    t->train_set = train_set(t, t->split.train, t->split.train_count);
    t->valid_set = valid_set(t, t->split.valid, t->split.valid_count);
    if (t->train_set == NULL || t->valid_set == NULL)
        return kn_ctx_status(ctx);
    if (open_caches(t) != KN_OK)
        return kn_ctx_status(ctx);
    open_loaders(t);
    return kn_ctx_status(ctx);
}

void train_close_data(train *t) {
    kn_loader_free(t->loaders.train);
    kn_loader_free(t->loaders.valid);
    kn_dataset_free(t->train_kept);
    kn_dataset_free(t->valid_kept);
    kn_dataset_free(t->train_set);
    kn_dataset_free(t->valid_set);
    kn_split_free(t->s->ctx, &t->split);
}
