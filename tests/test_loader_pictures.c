/* test_loader_pictures.c - the loader on files: the same bytes whatever the number of threads, and
 * one clear error for each way in which a file can be bad. Runs under ThreadSanitizer too. */
#include "support/slow.h"
#include "support/tree.h"

#include "core/ctx.h"
#include "data/shapes.h"

#include <kiln/image.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 24, SAMPLE = SIZE * SIZE * 3, MADE = 30 };

/* ---- helpers ---- */

typedef struct pictures {
    char root[TREE_PATH];
    char path[MADE][TREE_PATH + 32];
    kn_labelled item[MADE];
} pictures;

/* Each of another height and width, so that a reader's buffers grow and are reused. */
static pictures *make_pictures(void) {
    static uint8_t pixels[KN_SHAPES_SIZE * KN_SHAPES_SIZE * 3];
    pictures *p = calloc(1, sizeof *p);
    assert_non_null(p);
    tree_make(p->root);
    for (int i = 0; i < MADE; i++) {
        kn_shapes_draw(1, 0, (uint32_t)i, i % KN_SHAPES_CLASSES, pixels);
        snprintf(p->path[i], sizeof p->path[i], "%s/%02d.jpg", p->root, i);
        assert_int_equal(kn_image_write_jpeg(p->path[i], pixels, KN_SHAPES_SIZE - i,
                                             KN_SHAPES_SIZE / 2 + i, 90, NULL),
                         KN_OK);
        p->item[i] = (kn_labelled){p->path[i], i % KN_SHAPES_CLASSES};
    }
    return p;
}

static void free_pictures(pictures *p) {
    tree_remove(p->root);
    free(p);
}

/* All pixels and labels of a shuffled epoch, in the order of the batches. */
static void take_epoch(loader_fixture *f, kn_dataset *ds, int workers, uint8_t *pixels,
                       int32_t *labels) {
    kn_loader_opts opts = {.shuffle = true, .workers = workers};
    kn_loader *l = kn_loader_new(f->ctx, ds, 7, opts);
    assert_non_null(l);
    loader_start(f, l, 3);
    for (kn_batch b; loader_next(f, l, &b);) {
        size_t bytes = (size_t)b.n * (size_t)ds->height * (size_t)ds->width * 3;
        memcpy(pixels, b.pixels, bytes);
        memcpy(labels, b.labels, (size_t)b.n * sizeof *labels);
        pixels += bytes;
        labels += b.n;
        kn_loader_release(l, &b);
    }
    kn_loader_free(l);
}

static kn_augment strong(void) {
    kn_augment a = {0};
    assert_true(kn_augment_preset("strong", &a));
    return a;
}

/* With 2 and with 8 threads it is what it is with 1. */
static void check_workers(loader_fixture *f, const kn_labelled *items, int count, int size,
                          kn_image_opts opts) {
    size_t bytes = (size_t)count * (size_t)(size * size * 3);
    kn_dataset *ds = kn_image_dataset(f->ctx, items, count, size, opts);
    assert_non_null(ds);
    uint8_t *want = malloc(bytes), *got = malloc(bytes);
    int32_t *want_labels = malloc((size_t)count * 4), *got_labels = malloc((size_t)count * 4);
    take_epoch(f, ds, 1, want, want_labels);
    for (int workers = 2; workers <= 8; workers += 6) {
        memset(got, 0, bytes);
        take_epoch(f, ds, workers, got, got_labels);
        assert_memory_equal(got, want, bytes);
        assert_memory_equal(got_labels, want_labels, (size_t)count * 4);
    }
    free(want);
    free(got);
    free(want_labels);
    free(got_labels);
    kn_dataset_free(ds);
}

/* ---- tests ---- */

/* The dataset is the reader and the resizer, no more. */
static void test_samples(void **state) {
    loader_fixture *f = *state;
    pictures *p = make_pictures();
    kn_dataset *ds = kn_image_dataset(f->ctx, p->item, MADE, SIZE, (kn_image_opts){0});
    assert_non_null(ds);
    assert_int_equal(ds->cls->len(ds), MADE);
    kn_loader *l = kn_loader_new(f->ctx, ds, 8, (kn_loader_opts){.workers = 3});
    loader_start(f, l, 0);
    kn_image_reader reader = {0};
    uint8_t want[SAMPLE];
    for (kn_batch b; loader_next(f, l, &b);) {
        assert_int_equal(b.height, SIZE);
        assert_int_equal(b.width, SIZE);
        for (int i = 0; i < b.n; i++) {
            const kn_labelled *item = &p->item[b.index[i]];
            kn_image image;
            assert_int_equal(kn_image_read(&reader, item->path, &image, NULL), KN_OK);
            assert_int_equal(kn_image_resize(&reader, image.pixels, image.height, image.width, want,
                                             SIZE, SIZE, NULL),
                             KN_OK);
            assert_memory_equal(b.pixels + i * SAMPLE, want, SAMPLE);
            assert_int_equal(b.labels[i], item->label);
        }
        kn_loader_release(l, &b);
    }
    kn_image_reader_free(&reader);
    kn_loader_free(l);
    kn_dataset_free(ds);
    free_pictures(p);
}

static void test_same_bytes_for_any_workers(void **state) {
    loader_fixture *f = *state;
    pictures *p = make_pictures();
    for (int method = 0; method < 3; method++)
        check_workers(f, p->item, MADE, SIZE,
                      (kn_image_opts){.resize = (kn_resize_method)method, .augment = strong()});
    check_workers(f, p->item, MADE, SIZE, (kn_image_opts){0});
    free_pictures(p);
}

static void test_same_bytes_of_real_pictures(void **state) {
    loader_fixture *f = *state;
    const char *folder = getenv("KILN_TEST_DATA");
    kn_split split;
    if (folder == NULL) {
        print_message("SKIPPED: loading real pictures: KILN_TEST_DATA is not set\n");
        skip();
    }
    assert_int_equal(kn_split_folder(f->ctx, folder, (kn_split_opts){0}, &split), KN_OK);
    check_workers(f, split.valid, 300, 64, (kn_image_opts){0});
    check_workers(f, split.valid, 300, 64, (kn_image_opts){.augment = strong()});
    kn_split_free(f->ctx, &split);
}

/* What the dataset gives in an epoch, without a loader. */
static void get_all(kn_dataset *ds, kn_image_reader *reader, uint32_t epoch, uint8_t *pixels) {
    for (int i = 0; i < MADE; i++) {
        int32_t label;
        kn_error error = {0};
        kn_sample s = {.index = i,
                       .epoch = epoch,
                       .slot = pixels + i * SAMPLE,
                       .label = &label,
                       .reader = reader,
                       .error = &error};
        assert_int_equal(ds->cls->get(ds, &s), KN_OK);
    }
}

/* Augmentation is a function of seed, epoch and index: another epoch shows other pictures, the same
 * epoch the same. Without it every epoch is alike. */
static void test_epochs(void **state) {
    loader_fixture *f = *state;
    pictures *p = make_pictures();
    static uint8_t first[MADE * SAMPLE], got[MADE * SAMPLE];
    kn_image_reader reader = {0};
    for (int on = 0; on < 2; on++) {
        kn_image_opts opts = {.augment = on ? strong() : (kn_augment){0}};
        kn_dataset *ds = kn_image_dataset(f->ctx, p->item, MADE, SIZE, opts);
        get_all(ds, &reader, 0, first);
        get_all(ds, &reader, 1, got);
        for (int i = 0; i < MADE; i++)
            assert_int_equal(memcmp(got + i * SAMPLE, first + i * SAMPLE, SAMPLE) != 0, on);
        get_all(ds, &reader, 0, got);
        assert_memory_equal(got, first, sizeof first);
        kn_dataset_free(ds);
    }
    kn_image_reader_free(&reader);
    free_pictures(p);
}

/* Once every picture was read, the reader's buffers are large enough for any crop of them. */
static void test_warm_samples_allocate_nothing(void **state) {
    loader_fixture *f = *state;
    pictures *p = make_pictures();
    static uint8_t pixels[MADE * SAMPLE];
    kn_image_opts opts = {.augment = strong()};
    opts.augment.rotate_p = 1;
    kn_dataset *ds = kn_image_dataset(f->ctx, p->item, MADE, SIZE, opts);
    counted memory = {0};
    kn_allocator allocator = counted_allocator(&memory);
    kn_image_reader reader = {.allocator = &allocator};
    get_all(ds, &reader, 0, pixels);
    long made = memory.made;
    assert_true(made > 0);
    for (uint32_t epoch = 1; epoch < 10; epoch++)
        get_all(ds, &reader, epoch, pixels);
    assert_int_equal(memory.made, made);
    kn_image_reader_free(&reader);
    kn_dataset_free(ds);
    free_pictures(p);
}

/* Every way to be no picture: the status, and the path in the message. */
static void test_bad_files(void **state) {
    loader_fixture *f = *state;
    pictures *p = make_pictures();
    char head[600];
    FILE *file = fopen(p->path[0], "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
    fclose(file);
    tree_touch(p->root, "text.jpg");
    tree_put(p->root, "empty.jpg", NULL, 0);
    tree_put(p->root, "cut.jpg", head, sizeof head);
    tree_folder(p->root, "folder.jpg");
    static const struct {
        const char *name;
        kn_status status;
    } bad[] = {{"text.jpg", KN_ERR_DATA},
               {"empty.jpg", KN_ERR_DATA},
               {"cut.jpg", KN_ERR_DATA},
               {"missing.jpg", KN_ERR_IO},
               {"folder.jpg", KN_ERR_DATA}};
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        char path[TREE_PATH + 32];
        kn_labelled items[MADE];
        memcpy(items, p->item, sizeof items);
        snprintf(path, sizeof path, "%s/%s", p->root, bad[i].name);
        items[13].path = path;
        kn_dataset *ds = kn_image_dataset(f->ctx, items, MADE, SIZE, (kn_image_opts){0});
        kn_loader *l = kn_loader_new(f->ctx, ds, 10, (kn_loader_opts){.workers = 4});
        loader_start(f, l, 0);
        kn_batch b;
        bool got;
        assert_true(loader_next(f, l, &b));
        assert_int_equal(kn_loader_next(l, &b, &got), bad[i].status);
        assert_false(got);
        check_error(f->ctx, bad[i].status, path);
        assert_true(loader_next(f, l, &b)); /* the one after it is there */
        assert_int_equal(b.index[0], 20);
        kn_loader_free(l);
        kn_dataset_free(ds);
    }
    free_pictures(p);
}

static void test_memory_limit(void **state) {
    loader_fixture *f = *state;
    pictures *p = make_pictures();
    kn_dataset *ds = kn_image_dataset(f->ctx, p->item, MADE, SIZE, (kn_image_opts){0});
    kn_loader_opts opts = {.workers = 2, .max_image_memory = 1000};
    kn_loader *l = kn_loader_new(f->ctx, ds, MADE, opts);
    loader_start(f, l, 0);
    kn_batch b;
    bool got;
    assert_int_equal(kn_loader_next(l, &b, &got), KN_ERR_LIMIT);
    check_error(f->ctx, KN_ERR_LIMIT, p->path[0]);
    kn_loader_free(l);
    kn_dataset_free(ds);
    free_pictures(p);
}

static void test_sizes(void **state) {
    loader_fixture *f = *state;
    static const int bad[] = {0, -1, 65536};
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        assert_null(kn_image_dataset(f->ctx, NULL, 0, bad[i], (kn_image_opts){0}));
        check_error(f->ctx, KN_ERR_ARG, "image size");
    }
    kn_dataset_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_samples, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_same_bytes_for_any_workers, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_same_bytes_of_real_pictures, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_epochs, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_warm_samples_allocate_nothing, loader_begin,
                                        loader_end),
        cmocka_unit_test_setup_teardown(test_bad_files, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_memory_limit, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_sizes, loader_begin, loader_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
