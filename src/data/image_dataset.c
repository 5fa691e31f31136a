/* image_dataset.c - labelled files as a dataset: read, resize and augment, label. The picture is
 * resized straight into the batch, so a sample costs no copy and, once a thread's buffers have
 * grown, no allocation. */
#include "core/ctx.h"
#include "data/augment.h"
#include "formats/sha256.h"

#include <kiln/data.h>

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

/* Grows when the same file and options give other pixels. */
enum { FORM = 1 };

typedef struct image_dataset {
    kn_dataset base;
    kn_ctx *ctx; /* for the end only: get runs on other threads */
    const kn_labelled *items;
    int count;
    uint64_t seed;
    kn_image_opts opts;
    int least_side; /* of a decoded picture; 0: exact */
} image_dataset;

static int64_t image_len(const kn_dataset *ds) {
    return ((const image_dataset *)ds)->count;
}

static kn_status image_read(const kn_dataset *ds, kn_sample *s, kn_image *picture) {
    const image_dataset *set = (const image_dataset *)ds;
    const kn_labelled *item = &set->items[s->index];
    *s->label = item->label;
    s->reader->least_side = set->least_side;
    return kn_image_read(s->reader, item->path, picture, s->error);
}

static kn_status image_draw(const kn_dataset *ds, kn_sample *s, const kn_image *picture) {
    const image_dataset *set = (const image_dataset *)ds;
    const kn_sample_id id = {set->seed, s->epoch, (uint32_t)s->index};
    kn_error error = {0}; /* of the resizing, which knows no path */
    kn_status status =
        kn_image_sample(s->reader, picture, &set->opts, id, s->slot, ds->height, ds->width, &error);
    return status == KN_OK
               ? KN_OK
               : kn_error_set(s->error, status, "%s: %s", set->items[s->index].path, error.message);
}

static kn_status image_get(const kn_dataset *ds, kn_sample *s) {
    kn_image picture;
    kn_status status = image_read(ds, s, &picture);
    return status == KN_OK ? image_draw(ds, s, &picture) : status;
}

/* A link to nothing is a bad picture, and no failure: in place of what stat did not say, the link
 * itself. */
static bool leads_nowhere(const char *path, struct stat *st) {
    int code = errno;
    bool nowhere =
        lstat(path, st) == 0 && S_ISLNK(st->st_mode) && (code == ENOENT || code == ELOOP);
    errno = code;
    return nowhere;
}

/* What the samples are made of: of each file its path, size, time and label; and how. */
static kn_status image_identify(const kn_dataset *ds, char name[KN_DATASET_NAME], kn_error *error) {
    const image_dataset *set = (const image_dataset *)ds;
    int32_t how[] = {FORM,       ds->height,     ds->width, (int32_t)set->opts.resize,
                     set->count, set->least_side};
    const char *codecs = kn_image_codecs(); /* another version may decode otherwise */
    kn_sha256 h;
    kn_status status = KN_OK;
    kn_sha256_begin(&h);
    kn_sha256_add(&h, how, sizeof how);
    kn_sha256_add(&h, codecs, strlen(codecs) + 1);
    for (int i = 0; i < set->count && status == KN_OK; i++) {
        const kn_labelled *item = &set->items[i];
        struct stat st;
        if (stat(item->path, &st) != 0 && !leads_nowhere(item->path, &st)) {
            status = kn_error_set(error, KN_ERR_IO, "%s: %s", item->path, strerror(errno));
            break;
        }
        int64_t about[] = {(int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec,
                           (int64_t)st.st_mtim.tv_nsec, item->label};
        kn_sha256_add(&h, item->path, strlen(item->path) + 1);
        kn_sha256_add(&h, about, sizeof about);
    }
    kn_status ended = kn_sha256_end(&h, name, status == KN_OK ? error : NULL);
    return status != KN_OK ? status : ended;
}

static void image_free(kn_dataset *ds) {
    kn_free(((image_dataset *)ds)->ctx, ds);
}

static const kn_dataset_class image_class = {
    .len = image_len,
    .get = image_get,
    .free = image_free,
    .identify = image_identify,
    .read = image_read,
    .draw = image_draw,
};

/* No random crop may be smaller than the sample it becomes: its shorter side is at least
 * sqrt(3/4 crop_min) of the picture's. */
static int least_side(int size, const kn_image_opts *opts) {
    double share = opts->augment.crop_min > 0 ? sqrt(0.75 * (double)opts->augment.crop_min) : 1;
    return opts->fast_decode ? (int)fmin(ceil(size / share), 65535) : 0;
}

kn_dataset *kn_image_dataset(kn_ctx *ctx, const kn_labelled *items, int count, int size,
                             kn_image_opts opts) {
    kn_error error = {0};
    if (size < 1 || size > 65535) {
        kn_fail(ctx, KN_ERR_ARG, "image size: %d, expected 1 to 65535", size);
        return NULL;
    }
    if (kn_augment_check(&opts.augment, &error) != KN_OK) {
        kn_fail_with(ctx, &error);
        return NULL;
    }
    image_dataset *ds = kn_calloc(ctx, 1, sizeof *ds, "a dataset");
    if (ds == NULL)
        return NULL;
    *ds = (image_dataset){.base = {&image_class, size, size, kn_augment_varies(&opts.augment)},
                          .ctx = ctx,
                          .items = items,
                          .count = count,
                          .seed = kn_ctx_seed(ctx),
                          .opts = opts,
                          .least_side = least_side(size, &opts)};
    return &ds->base;
}

void kn_dataset_free(kn_dataset *ds) {
    if (ds != NULL && ds->cls->free != NULL)
        ds->cls->free(ds);
}
