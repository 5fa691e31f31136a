/* data.c - the chapter's section on data: from a folder of pictures to batches of numbers.
 *
 * Files are found and split, a dataset of our own reads one picture at a time, the loader's threads
 * collate them into batches, and the first batch tells how to normalise all of them.
 *
 * usage: data [IMAGENETTE]   (else KILN_TEST_DATA, else Kiln's own shapes, drawn here) */
#include <kiln/kiln.h>

#include <stdio.h>
#include <stdlib.h>

/* A dataset is two functions: how many samples there are, and how to get one of them. */
typedef struct photos {
    kn_dataset base;
    const kn_labelled *items;
    int count;
} photos;

static int64_t photos_len(const kn_dataset *ds) {
    return ((const photos *)ds)->count;
}

/* Runs on the loader's threads: all it needs, and where to report to, is in the sample. */
static kn_status photos_get(const kn_dataset *ds, kn_sample *s) {
    const kn_labelled *item = &((const photos *)ds)->items[s->index];
    kn_image image;
    kn_status status = kn_image_read(s->reader, item->path, &image, s->error);
    if (status != KN_OK)
        return status;
    *s->label = item->label;
    return kn_image_resize(s->reader, image.pixels, image.height, image.width, s->slot, ds->height,
                           ds->width, s->error);
}

static const kn_dataset_class photos_class = {.len = photos_len, .get = photos_get};

static void show_split(const kn_split *split) {
    const kn_labelled *first = &split->train[0];
    printf("%d files: %d to train on, %d to validate on\n", split->files.count, split->train_count,
           split->valid_count);
    printf("%d classes:", split->vocab.count);
    for (int i = 0; i < split->vocab.count; i++)
        printf(" %s", split->vocab.name[i]);
    printf("\nfirst: %s, class %d\n", first->path + split->files.root_length + 1, first->label);
}

/* The mean and the standard deviation of each channel, before and after. */
static void show_normalised(kn_ctx *ctx, const kn_batch *batch) {
    kn_normalize norm = {0};
    kn_normalize_from(ctx, batch, &norm);
    printf("first batch: mean %.3f %.3f %.3f, std %.3f %.3f %.3f\n", norm.mean[0], norm.mean[1],
           norm.mean[2], norm.std[0], norm.std[1], norm.std[2]);

    kn_shape shape = KN_SHAPE(batch->n, batch->height, batch->width, 3);
    kn_tensor *x = kn_from(ctx, KN_U8, shape, batch->pixels);
    x = kn_normalize_apply(ctx, &norm, x);                          /* [N,H,W,3] */
    kn_axes pixels = KN_AXIS(0) | KN_AXIS(1) | KN_AXIS(2);          /* all but the channel */
    kn_tensor *mean = kn_mean(ctx, x, pixels, (kn_reduce_opts){0}); /* [3] */
    kn_tensor *std = kn_std(ctx, x, pixels, (kn_reduce_opts){0});   /* [3] */
    float m[3] = {0}, s[3] = {0};
    kn_tensor_read(ctx, mean, m, sizeof m);
    kn_tensor_read(ctx, std, s, sizeof s);
    printf("normalised:  mean %.3f %.3f %.3f, std %.3f %.3f %.3f\n", m[0], m[1], m[2], s[0], s[1],
           s[2]);
    kn_step_end(ctx);
}

static void show_batches(kn_ctx *ctx, kn_loader *loader) {
    kn_batch batch;
    bool got = true;
    int count = 0, last = 0;
    kn_loader_start(loader, 0);
    while (kn_loader_next(loader, &batch, &got) == KN_OK && got) {
        if (count++ == 0) {
            printf("a batch: pixels u8 [%d,%d,%d,3], labels i32 [%d]\n", batch.n, batch.height,
                   batch.width, batch.n);
            show_normalised(ctx, &batch);
        }
        last = batch.n;
        kn_loader_release(loader, &batch);
    }
    printf("%d batches, the last of %d\n", count, last);
}

int main(int argc, char **argv) {
    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 42}, &error) != KN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const char *folder = argc > 1 ? argv[1] : getenv("KILN_TEST_DATA");
    if (folder == NULL) {
        folder = "kiln-shapes";
        kn_shapes_write(ctx, folder, 42);
    }
    kn_split split = {0};
    if (kn_split_folder(ctx, folder, (kn_split_opts){0}, &split) == KN_OK) {
        show_split(&split);
        photos train = {
            {.cls = &photos_class, .height = 64, .width = 64}, split.train, split.train_count};
        kn_loader *loader = kn_loader_new(ctx, &train.base, 128, (kn_loader_opts){.shuffle = true});
        if (loader != NULL)
            show_batches(ctx, loader);
        kn_loader_free(loader);
    }
    kn_split_free(ctx, &split);

    error = kn_error_take(ctx);
    if (error.status)
        fprintf(stderr, "%s\n", error.message);
    kn_ctx_free(ctx);
    return error.status ? 1 : 0;
}
