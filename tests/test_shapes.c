/* test_shapes.c - the data set that Kiln draws: the same for the same seed, whole or not there,
 * never in the way of other files. */
#include "support/check.h"
#include "support/counted.h"
#include "support/tree.h"

#include "core/ctx.h"
#include "data/shapes.h"

#include <kiln/image.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = KN_SHAPES_SIZE * KN_SHAPES_SIZE * 3, SEED = 42 };

static const uint64_t golden = 0x15F2666A6B958F62u;

typedef struct fixture {
    counted memory;
    kn_ctx *ctx;
    char root[TREE_PATH - 64], set[TREE_PATH];
} fixture;

static int begin(void **state) {
    fixture *f = calloc(1, sizeof *f);
    char root[TREE_PATH];
    f->ctx = counted_ctx(&f->memory, "reference");
    tree_make(root);
    snprintf(f->root, sizeof f->root, "%.*s", (int)sizeof f->root - 1, root);
    snprintf(f->set, sizeof f->set, "%s/shapes", f->root);
    *state = f;
    return 0;
}

static int end(void **state) {
    fixture *f = *state;
    tree_remove(f->root);
    counted_ctx_free(&f->memory, f->ctx);
    free(f);
    return 0;
}

/* One whole set for the tests that only look at it: drawing one takes seconds under a sanitizer. */
static fixture *shared;

static int draw_shared(void **state) {
    int failed = begin(state);
    shared = *state;
    return failed != 0 || kn_shapes_write(shared->ctx, shared->set, SEED) != KN_OK;
}

static int remove_shared(void **state) {
    (void)state;
    void *fixed = shared;
    return end(&fixed);
}

/* ---- helpers ---- */

/* FNV-1a. */
static uint64_t hash(uint64_t h, const void *data, size_t bytes) {
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

static const uint64_t hash_start = 0xCBF29CE484222325u;

static void write_set(fixture *f, const char *folder, uint64_t seed) {
    kn_status status = kn_shapes_write(f->ctx, folder, seed);
    check_good(f->ctx, folder);
    assert_int_equal(status, KN_OK);
}

static void write_fails(fixture *f, const char *folder, kn_status status, const char *part) {
    assert_int_equal(kn_shapes_write(f->ctx, folder, SEED), status);
    check_error(f->ctx, status, part);
}

static int entries_of(const char *folder) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int count = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return count;
}

/* Of every file's name below the folder and its bytes, in order. */
static uint64_t hash_set(fixture *f, const char *folder) {
    static unsigned char data[1 << 16];
    kn_files files;
    uint64_t h = hash_start;
    assert_int_equal(kn_files_scan(f->ctx, folder, &files), KN_OK);
    assert_int_equal(files.count, KN_SHAPES_TRAIN + KN_SHAPES_VALID);
    for (int i = 0; i < files.count; i++) {
        const char *name = files.path[i] + files.root_length;
        FILE *file = fopen(files.path[i], "rb");
        assert_non_null(file);
        size_t bytes = fread(data, 1, sizeof data, file);
        assert_true(bytes > 500 && bytes < sizeof data);
        fclose(file);
        h = hash(hash(h, name, strlen(name)), data, bytes);
    }
    kn_files_free(f->ctx, &files);
    return h;
}

/* ---- drawing ---- */

static void test_classes_are_sorted(void **state) {
    (void)state;
    for (int c = 1; c < KN_SHAPES_CLASSES; c++)
        assert_true(strcmp(kn_shapes_class(c - 1), kn_shapes_class(c)) < 0);
}

static uint64_t hash_drawn(uint64_t seed, uint32_t split, uint32_t index, int figure) {
    static uint8_t pixels[BYTES];
    memset(pixels, 1, sizeof pixels);
    kn_shapes_draw(seed, split, index, figure, pixels);
    return hash(hash_start, pixels, sizeof pixels);
}

/* Committed: the same on every machine and in every build. */
static void test_pixels_are_known(void **state) {
    (void)state;
    uint64_t h = hash_start;
    for (uint32_t split = 0; split < 2; split++)
        for (uint32_t i = 0; i < 40; i++) {
            uint64_t one = hash_drawn(SEED, split, i, (int)(i % KN_SHAPES_CLASSES));
            h = hash(h, &one, sizeof one);
        }
    if (h != golden)
        fail_msg("the pictures changed: %#llx", (unsigned long long)h);
}

static void test_each_picture_is_its_own(void **state) {
    (void)state;
    uint64_t h = hash_drawn(SEED, 0, 5, 5);
    assert_true(h == hash_drawn(SEED, 0, 5, 5));
    assert_true(h != hash_drawn(SEED + 1, 0, 5, 5));
    assert_true(h != hash_drawn(SEED, 1, 5, 5));
    assert_true(h != hash_drawn(SEED, 0, 15, 5));
    assert_true(h != hash_drawn(SEED, 0, 5, 6));
}

/* ---- the set ---- */

static void test_set_is_balanced(void **state) {
    (void)state;
    fixture *f = shared;
    kn_split split;
    assert_int_equal(kn_split_folder(f->ctx, f->set, (kn_split_opts){0}, &split), KN_OK);
    assert_true(split.by_folder);
    assert_int_equal(split.train_count, KN_SHAPES_TRAIN);
    assert_int_equal(split.valid_count, KN_SHAPES_VALID);
    assert_int_equal(split.vocab.count, KN_SHAPES_CLASSES);
    int train[KN_SHAPES_CLASSES] = {0}, valid[KN_SHAPES_CLASSES] = {0};
    for (int i = 0; i < split.train_count; i++)
        train[split.train[i].label]++;
    for (int i = 0; i < split.valid_count; i++)
        valid[split.valid[i].label]++;
    for (int c = 0; c < KN_SHAPES_CLASSES; c++) {
        assert_string_equal(split.vocab.name[c], kn_shapes_class(c));
        assert_int_equal(train[c], KN_SHAPES_TRAIN / KN_SHAPES_CLASSES);
        assert_int_equal(valid[c], KN_SHAPES_VALID / KN_SHAPES_CLASSES);
    }
    assert_string_equal(split.train[0].path + split.files.root_length, "/train/arrow/0001.jpg");
    kn_split_free(f->ctx, &split);
    assert_int_equal(entries_of(f->root), 1); /* nothing beside it */
    assert_int_equal(entries_of(f->set), 3);  /* train, valid, the marker */
}

/* What a file holds is the picture of its place: train/CLASS/N is picture (N - 1) * 10 + class. */
static void test_files_hold_the_pictures(void **state) {
    (void)state;
    fixture *f = shared;
    static uint8_t pixels[BYTES];
    char path[TREE_PATH + 64];
    kn_image_reader reader = {0};
    kn_image image;
    for (int figure = 0; figure < KN_SHAPES_CLASSES; figure++) {
        snprintf(path, sizeof path, "%s/valid/%s/0007.jpg", f->set, kn_shapes_class(figure));
        assert_int_equal(kn_image_read(&reader, path, &image, NULL), KN_OK);
        assert_int_equal(image.height, KN_SHAPES_SIZE);
        assert_int_equal(image.width, KN_SHAPES_SIZE);
        kn_shapes_draw(SEED, 1, (uint32_t)(60 + figure), figure, pixels);
        long difference = 0;
        for (int i = 0; i < BYTES; i++)
            difference += labs((long)pixels[i] - image.pixels[i]);
        assert_true(difference / BYTES < 12); /* what JPEG loses; another picture is 40 away */
    }
    kn_image_reader_free(&reader);
}

/* And an empty folder is filled. */
static void test_same_seed_same_bytes(void **state) {
    fixture *f = *state;
    tree_folder(f->root, "shapes");
    write_set(f, f->set, SEED);
    assert_int_equal(entries_of(f->set), 3);
    assert_true(hash_set(f, f->set) == hash_set(f, shared->set));
}

static void test_a_whole_set_is_left_alone(void **state) {
    (void)state;
    fixture *f = shared;
    char path[TREE_PATH + 64];
    struct stat before, after;
    snprintf(path, sizeof path, "%s/train/star/0001.jpg", f->set);
    assert_int_equal(stat(path, &before), 0);
    snprintf(path, sizeof path, "%s//", f->set); /* a slash more is the same folder */
    write_set(f, path, SEED);
    snprintf(path, sizeof path, "%s/train/star/0001.jpg", f->set);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

/* ---- what is in the way ---- */

static void test_other_files_are_left_alone(void **state) {
    fixture *f = *state;
    tree_touch(f->root, "shapes");
    write_fails(f, f->set, KN_ERR_DATA, "is not a folder");
    assert_int_equal(unlink(f->set), 0);
    tree_touch(f->root, "shapes/mine.txt");
    write_fails(f, f->set, KN_ERR_DATA, f->set);
    write_fails(f, f->set, KN_ERR_DATA, "holds other files");
    assert_int_equal(entries_of(f->set), 1);
    tree_put(f->root, "shapes/shapes.txt", "Kiln shapes, version 0, seed 42\n", 32);
    write_fails(f, f->set, KN_ERR_DATA, "\"Kiln shapes, version 0, seed 42\"");
    assert_int_equal(entries_of(f->set), 2);
    assert_int_equal(entries_of(f->root), 1);
}

static void test_another_seed_is_told(void **state) {
    fixture *f = *state;
    write_set(f, f->set, SEED + 1);
    write_fails(f, f->set, KN_ERR_DATA, "seed 43");
    write_set(f, f->set, SEED + 1);
    assert_true(hash_set(f, f->set) != hash_set(f, shared->set));
}

static void test_bad_places(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/missing/shapes", f->root);
    write_fails(f, path, KN_ERR_IO, path);
    write_fails(f, "", KN_ERR_ARG, "empty");
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    write_fails(f, path, KN_ERR_LIMIT, "too long");
}

/* A file-size limit stands for a full disk: the write fails in the middle of a picture. */
static void test_a_failed_write_leaves_nothing(void **state) {
    fixture *f = *state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 3000, .rlim_max = old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    kn_status status = kn_shapes_write(f->ctx, f->set, SEED);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, KN_ERR_IO);
    check_error(f->ctx, KN_ERR_IO, ".jpg: cannot write");
    assert_int_equal(entries_of(f->root), 0);
}

static void test_no_memory(void **state) {
    fixture *f = *state;
    for (int failures = 0; failures < 2; failures++) {
        f->memory.fail_at = f->memory.made + failures + 1;
        assert_int_equal(kn_shapes_write(f->ctx, f->set, SEED), KN_ERR_MEMORY);
        check_error(f->ctx, KN_ERR_MEMORY, "memory");
        assert_int_equal(entries_of(f->root), 0);
    }
    f->memory.fail_at = 0;
}

/* Two processes at the same time: both succeed, one set is there, nothing is left beside it. */
static void test_processes_at_once(void **state) {
    fixture *f = *state;
    pid_t child[2];
    for (size_t i = 0; i < KN_COUNT(child); i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0)
            _exit(kn_shapes_write(f->ctx, f->set, SEED) == KN_OK ? 0 : 1);
    }
    for (size_t i = 0; i < KN_COUNT(child); i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_int_equal(entries_of(f->root), 1);
    assert_true(hash_set(f, f->set) == hash_set(f, shared->set));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_sorted),
        cmocka_unit_test(test_pixels_are_known),
        cmocka_unit_test(test_each_picture_is_its_own),
        cmocka_unit_test(test_set_is_balanced),
        cmocka_unit_test(test_files_hold_the_pictures),
        cmocka_unit_test_setup_teardown(test_same_seed_same_bytes, begin, end),
        cmocka_unit_test(test_a_whole_set_is_left_alone),
        cmocka_unit_test_setup_teardown(test_other_files_are_left_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_another_seed_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_places, begin, end),
        cmocka_unit_test_setup_teardown(test_a_failed_write_leaves_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_no_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_processes_at_once, begin, end),
    };
    return cmocka_run_group_tests(tests, draw_shared, remove_shared);
}
