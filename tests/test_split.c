/* test_split.c - which pictures of a folder train, which validate, and the class of each. */
#include "support/check.h"
#include "support/counted.h"
#include "support/tree.h"

#include "core/ctx.h"

#include <kiln/data.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    counted memory;
    kn_ctx *ctx;
    char root[TREE_PATH];
} fixture;

static int begin(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->ctx = counted_ctx(&f->memory, "reference");
    tree_make(f->root);
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

/* ---- helpers ---- */

static void put_pictures(const char *root, const char *folder, int count) {
    char name[128];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%04d.jpg", folder, i);
        tree_touch(root, name);
    }
}

static void good(fixture *f, kn_split_opts opts, kn_split *out) {
    kn_status status = kn_split_folder(f->ctx, f->root, opts, out);
    check_good(f->ctx, f->root);
    assert_int_equal(status, KN_OK);
}

/* The message holds part; with root before it when it is a path in root. */
static void fails(fixture *f, kn_split_opts opts, kn_status status, const char *part) {
    char text[TREE_PATH + 128];
    kn_split split;
    snprintf(text, sizeof text, "%s%s", part[0] == '/' && part != f->root ? f->root : "", part);
    assert_int_equal(kn_split_folder(f->ctx, f->root, opts, &split), status);
    check_error(f->ctx, status, text);
    assert_null(split.files.path);
    kn_split_free(f->ctx, &split);
}

static void check_items(const kn_split *split, const kn_labelled *items, int count,
                        const char *const *paths, const int *labels, int want) {
    assert_int_equal(count, want);
    for (int i = 0; i < want; i++) {
        assert_string_equal(items[i].path + split->files.root_length + 1, paths[i]);
        assert_int_equal(items[i].label, labels[i]);
    }
}

static int count_class(const kn_labelled *items, int count, int label) {
    int n = 0;
    for (int i = 0; i < count; i++)
        n += items[i].label == label;
    return n;
}

static const kn_split_opts none = {0};

/* ---- by folder ---- */

static void test_by_folder(void **state) {
    fixture *f = *state;
    static const char *const names[] = {"val", "valid", "validation"};
    for (size_t i = 0; i < KN_COUNT(names); i++) {
        char path[64], root[TREE_PATH];
        kn_split split;
        tree_make(root);
        put_pictures(root, "train/cat", 1);
        put_pictures(root, "train/dog/large", 1);
        put_pictures(root, "train/ant", 2);
        snprintf(path, sizeof path, "%s/dog/small", names[i]);
        put_pictures(root, path, 1);
        snprintf(path, sizeof path, "%s/ant", names[i]);
        put_pictures(root, path, 1);
        put_pictures(root, "test/bee", 1); /* of no use here */
        tree_touch(root, "sheet.png");
        assert_int_equal(kn_split_folder(f->ctx, root, none, &split), KN_OK);
        assert_true(split.by_folder);
        assert_int_equal(split.vocab.count, 3);
        check_items(&split, split.train, split.train_count,
                    (const char *const[]){"train/ant/0000.jpg", "train/ant/0001.jpg",
                                          "train/cat/0000.jpg", "train/dog/large/0000.jpg"},
                    (const int[]){0, 0, 1, 2}, 4);
        char ant[64], dog[64];
        snprintf(ant, sizeof ant, "%s/ant/0000.jpg", names[i]);
        snprintf(dog, sizeof dog, "%s/dog/small/0000.jpg", names[i]);
        check_items(&split, split.valid, split.valid_count, (const char *const[]){ant, dog},
                    (const int[]){0, 2}, 2);
        kn_split_free(f->ctx, &split);
        tree_remove(root);
    }
}

static void test_two_validation_folders(void **state) {
    fixture *f = *state;
    put_pictures(f->root, "train/a", 1);
    put_pictures(f->root, "train/b", 1);
    put_pictures(f->root, "valid/a", 1);
    put_pictures(f->root, "validation/a", 1);
    fails(f, none, KN_ERR_DATA, "holds both valid/ and validation/");
    fails(f, none, KN_ERR_DATA, f->root);
}

static void test_unknown_class(void **state) {
    fixture *f = *state;
    put_pictures(f->root, "train/a", 1);
    put_pictures(f->root, "train/b", 1);
    put_pictures(f->root, "val/b", 1);
    put_pictures(f->root, "val/zebra", 2);
    fails(f, none, KN_ERR_DATA, "/val/zebra: ");
    fails(f, none, KN_ERR_DATA, "\"zebra\" is not among the 2 of the training folders");
}

static void test_pictures_out_of_place(void **state) {
    fixture *f = *state;
    put_pictures(f->root, "a", 2);
    put_pictures(f->root, "b", 2);
    tree_touch(f->root, "stray.png");
    fails(f, none, KN_ERR_DATA, "/stray.png: lies in no class folder");
    put_pictures(f->root, "train/a", 1);
    put_pictures(f->root, "train/b", 1);
    put_pictures(f->root, "val/a", 1);
    kn_split split;
    good(f, none, &split); /* beside train/ and val/ it harms nobody */
    assert_int_equal(split.train_count + split.valid_count, 3);
    kn_split_free(f->ctx, &split);
    tree_touch(f->root, "val/stray.jpg");
    fails(f, none, KN_ERR_DATA, "/val/stray.jpg: lies in no class folder");
    tree_touch(f->root, "train/stray.jpg");
    fails(f, none, KN_ERR_DATA, "/train/stray.jpg: lies in no class folder");
}

static void test_empty_parts(void **state) {
    fixture *f = *state;
    fails(f, none, KN_ERR_DATA, "holds no picture");
    tree_folder(f->root, "train/a");
    put_pictures(f->root, "val/a", 1);
    fails(f, none, KN_ERR_DATA, "/train: holds no picture");
    put_pictures(f->root, "train/a", 1);
    fails(f, none, KN_ERR_DATA, "/train: holds one class (a)");
    put_pictures(f->root, "train/b", 1);
    char path[TREE_PATH + 32];
    snprintf(path, sizeof path, "%s/val/a/0000.jpg", f->root);
    assert_int_equal(remove(path), 0);
    fails(f, none, KN_ERR_DATA, "/val: holds no picture");
}

static void test_bad_roots(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 32];
    kn_split split;
    snprintf(path, sizeof path, "%s/missing", f->root);
    assert_int_equal(kn_split_folder(f->ctx, path, none, &split), KN_ERR_DATA);
    check_error(f->ctx, KN_ERR_DATA, path);
    tree_touch(f->root, "file.jpg");
    snprintf(path, sizeof path, "%s/file.jpg", f->root);
    assert_int_equal(kn_split_folder(f->ctx, path, none, &split), KN_ERR_DATA);
    check_error(f->ctx, KN_ERR_DATA, "file.jpg: is not a folder");
}

/* A folder that is only half of a split is told; a class of that name is a class. */
static void test_half_a_split(void **state) {
    fixture *f = *state;
    char root[TREE_PATH];
    kn_split split;
    put_pictures(f->root, "train/a", 2);
    put_pictures(f->root, "train/b", 2);
    fails(f, none, KN_ERR_DATA, "holds train/ but none of val/, valid/, validation/");
    tree_make(root);
    put_pictures(root, "val/a", 2);
    put_pictures(root, "val/b", 2);
    assert_int_equal(kn_split_folder(f->ctx, root, none, &split), KN_ERR_DATA);
    check_error(f->ctx, KN_ERR_DATA, "holds val/ but no train/");
    tree_remove(root);
    tree_make(root);
    put_pictures(root, "car", 2);
    put_pictures(root, "train", 2);
    assert_int_equal(kn_split_folder(f->ctx, root, none, &split), KN_OK);
    assert_false(split.by_folder);
    assert_int_equal(kn_vocab_index(&split.vocab, "train"), 1);
    assert_int_equal(split.train_count, 2);
    kn_split_free(f->ctx, &split);
    tree_remove(root);
}

/* A class is the first folder, whatever its pictures are sorted into below. */
static void test_folders_in_classes(void **state) {
    fixture *f = *state;
    kn_split split;
    put_pictures(f->root, "cat", 1);
    put_pictures(f->root, "cat/2021", 2);
    put_pictures(f->root, "dog/2021", 2);
    put_pictures(f->root, "dog/2022/spring", 3);
    tree_folder(f->root, "fox/2021");
    tree_folder(f->root, "gnu");
    good(f, none, &split);
    assert_int_equal(split.vocab.count, 2);
    assert_int_equal(split.train_count + split.valid_count, 8);
    for (int i = 0; i < split.train_count; i++)
        assert_int_equal(split.train[i].label,
                         split.train[i].path[split.files.root_length + 1] == 'd');
    assert_int_equal(split.files.empty_folders, 2);
    assert_string_equal(split.files.empty_folder + split.files.root_length, "/fox");
    kn_split_free(f->ctx, &split);
}

/* What was hardly meant as classes is told. */
static void test_folders_that_are_no_classes(void **state) {
    fixture *f = *state;
    char root[TREE_PATH];
    kn_split split;
    put_pictures(f->root, "Train/a", 2);
    put_pictures(f->root, "Train/b", 2);
    fails(f, none, KN_ERR_DATA,
          "holds one class (Train), expected at least two class folders; if "
          "those are in Train, give that folder");
    put_pictures(f->root, "TEST/b", 2);
    fails(f, none, KN_ERR_DATA, "its folders TEST and Train look like sets");
    tree_make(root);
    put_pictures(root, "test", 2);
    put_pictures(root, "training", 2);
    assert_int_equal(kn_split_folder(f->ctx, root, none, &split), KN_OK);
    assert_int_equal(split.vocab.count, 2);
    kn_split_free(f->ctx, &split);
    tree_remove(root);
}

/* ---- by fraction ---- */

static void put_classes(const char *root) {
    put_pictures(root, "one", 1);
    put_pictures(root, "two", 2);
    put_pictures(root, "ten", 10);
    put_pictures(root, "many", 137);
}

static void check_fraction(fixture *f, double percent, const int held[4]) {
    static const char *const names[] = {"many", "one", "ten", "two"};
    static const int sizes[] = {137, 1, 10, 2};
    kn_split split;
    good(f, (kn_split_opts){.valid_pct = percent}, &split);
    assert_false(split.by_folder);
    assert_int_equal(split.vocab.count, 4);
    assert_int_equal(split.train_count + split.valid_count, 150);
    for (int c = 0; c < 4; c++) {
        assert_string_equal(split.vocab.name[c], names[c]);
        assert_int_equal(count_class(split.valid, split.valid_count, c), held[c]);
        assert_int_equal(count_class(split.train, split.train_count, c), sizes[c] - held[c]);
    }
    /* Each picture once, in the order of the paths, with the class of its folder. */
    for (int i = 0, t = 0, v = 0; i < split.files.count; i++) {
        bool trains = t < split.train_count && split.train[t].path == split.files.path[i];
        const kn_labelled *item = trains ? &split.train[t++] : &split.valid[v++];
        assert_ptr_equal(item->path, split.files.path[i]);
        assert_non_null(strstr(item->path, split.vocab.name[item->label]));
    }
    kn_split_free(f->ctx, &split);
}

static void test_fraction(void **state) {
    fixture *f = *state;
    put_classes(f->root);
    check_fraction(f, 0, (const int[]){27, 0, 2, 1});
    check_fraction(f, 20, (const int[]){27, 0, 2, 1});
    check_fraction(f, 50, (const int[]){69, 0, 5, 1});
    check_fraction(f, 0.001, (const int[]){1, 0, 1, 1});
    check_fraction(f, 99.999, (const int[]){136, 0, 9, 1});
}

static bool same_valid(const kn_split *a, const kn_split *b) {
    if (a->valid_count != b->valid_count)
        return false;
    for (int i = 0; i < a->valid_count; i++)
        if (strcmp(a->valid[i].path, b->valid[i].path) != 0)
            return false;
    return true;
}

static void test_fraction_follows_the_seed(void **state) {
    fixture *f = *state;
    kn_split a, b, c;
    kn_ctx *other;
    put_classes(f->root);
    good(f, none, &a);
    good(f, none, &b);
    assert_true(same_valid(&a, &b));
    assert_int_equal(kn_ctx_new(&other, (kn_ctx_opts){.seed = 2}, NULL), KN_OK);
    assert_int_equal(kn_split_folder(other, f->root, none, &c), KN_OK);
    assert_false(same_valid(&a, &c));
    kn_split_free(f->ctx, &a);
    kn_split_free(f->ctx, &b);
    kn_split_free(other, &c);
    kn_ctx_free(other);
}

static void test_too_few(void **state) {
    fixture *f = *state;
    put_pictures(f->root, "a", 5);
    fails(f, none, KN_ERR_DATA, "holds one class (a)");
    char root[TREE_PATH];
    kn_split split;
    tree_make(root);
    put_pictures(root, "a", 1);
    put_pictures(root, "b", 1);
    assert_int_equal(kn_split_folder(f->ctx, root, none, &split), KN_ERR_DATA);
    check_error(f->ctx, KN_ERR_DATA, "none can be held out");
    tree_remove(root);
}

static void test_percent(void **state) {
    fixture *f = *state;
    put_classes(f->root);
    static const double bad[] = {-1, -0.001, 100, 101, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < KN_COUNT(bad); i++)
        fails(f, (kn_split_opts){.valid_pct = bad[i]}, KN_ERR_ARG, "validation percentage");
}

/* ---- a model's classes ---- */

static void test_given_vocab(void **state) {
    fixture *f = *state;
    kn_vocab vocab;
    kn_split split;
    put_pictures(f->root, "train/b", 2);
    put_pictures(f->root, "train/c", 1);
    put_pictures(f->root, "val/c", 3);
    const char *const names[] = {"a", "b", "c", "d"};
    assert_int_equal(kn_vocab_from(f->ctx, names, 4, &vocab), KN_OK);
    good(f, (kn_split_opts){.vocab = &vocab}, &split);
    assert_int_equal(split.vocab.count, 4);
    assert_int_equal(count_class(split.train, split.train_count, 1), 2);
    assert_int_equal(count_class(split.valid, split.valid_count, 2), 3);
    kn_split_free(f->ctx, &split);
    vocab.count = 2;
    fails(f, (kn_split_opts){.vocab = &vocab}, KN_ERR_DATA, "/train/c: ");
    fails(f, (kn_split_opts){.vocab = &vocab}, KN_ERR_DATA, "not among the 2 of the model");
    vocab.count = 4;
    kn_vocab_free(f->ctx, &vocab);
}

static void test_valid_only(void **state) {
    fixture *f = *state;
    kn_vocab vocab;
    kn_split split;
    const char *const names[] = {"a", "b", "c"};
    assert_int_equal(kn_vocab_from(f->ctx, names, 3, &vocab), KN_OK);
    const kn_split_opts opts = {.vocab = &vocab, .valid_only = true};
    put_pictures(f->root, "b", 4); /* a folder of classes, one of them */
    good(f, opts, &split);
    assert_int_equal(split.train_count, 0);
    assert_int_equal(split.valid_count, 4);
    assert_int_equal(split.valid[0].label, 1);
    kn_split_free(f->ctx, &split);
    put_pictures(f->root, "val/c", 2); /* a validation folder, no training */
    good(f, opts, &split);
    assert_true(split.by_folder);
    assert_int_equal(split.valid_count, 2);
    assert_int_equal(split.valid[1].label, 2);
    kn_split_free(f->ctx, &split);
    fails(f, (kn_split_opts){.valid_only = true}, KN_ERR_DATA, "no train/ to take the classes");
    put_pictures(f->root, "train/z", 5); /* not looked at */
    good(f, opts, &split);
    assert_int_equal(split.train_count, 0);
    assert_int_equal(split.valid_count, 2);
    kn_split_free(f->ctx, &split);
    put_pictures(f->root, "train/c", 5); /* looked at for the classes only */
    good(f, (kn_split_opts){.valid_only = true}, &split);
    assert_int_equal(split.train_count, 0);
    assert_int_equal(split.valid_count, 2);
    assert_int_equal(split.valid[0].label, 0);
    kn_split_free(f->ctx, &split);
    kn_vocab_free(f->ctx, &vocab);
}

/* ---- memory ---- */

/* Each allocation fails in turn; what was allocated before is freed (end checks it). */
static void test_every_allocation_fails(void **state) {
    fixture *f = *state;
    put_pictures(f->root, "a", 3);
    put_pictures(f->root, "b", 3);
    int failures = 0;
    for (;; failures++) {
        kn_split split;
        f->memory.refused = 0;
        f->memory.fail_at = f->memory.made + failures + 1;
        kn_status status = kn_split_folder(f->ctx, f->root, none, &split);
        kn_split_free(f->ctx, &split);
        if (f->memory.refused == 0) {
            assert_int_equal(status, KN_OK);
            break;
        }
        assert_int_equal(status, KN_ERR_MEMORY);
        check_error(f->ctx, KN_ERR_MEMORY, "out of memory");
    }
    f->memory.fail_at = 0;
    assert_true(failures > 15);
}

/* ---- real pictures ---- */

static void test_imagenette(void **state) {
    fixture *f = *state;
    const char *folder = getenv("KILN_TEST_DATA");
    kn_split split;
    if (folder == NULL) {
        print_message("SKIPPED: Imagenette's counts: KILN_TEST_DATA is not set\n");
        skip();
    }
    assert_int_equal(kn_split_folder(f->ctx, folder, none, &split), KN_OK);
    assert_true(split.by_folder);
    assert_int_equal(split.train_count, 9469);
    assert_int_equal(split.valid_count, 3925);
    assert_int_equal(split.vocab.count, 10);
    assert_string_equal(split.vocab.name[0], "n01440764");
    assert_string_equal(split.vocab.name[9], "n03888257");
    kn_split_free(f->ctx, &split);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_by_folder, begin, end),
        cmocka_unit_test_setup_teardown(test_two_validation_folders, begin, end),
        cmocka_unit_test_setup_teardown(test_unknown_class, begin, end),
        cmocka_unit_test_setup_teardown(test_pictures_out_of_place, begin, end),
        cmocka_unit_test_setup_teardown(test_empty_parts, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_roots, begin, end),
        cmocka_unit_test_setup_teardown(test_half_a_split, begin, end),
        cmocka_unit_test_setup_teardown(test_folders_in_classes, begin, end),
        cmocka_unit_test_setup_teardown(test_folders_that_are_no_classes, begin, end),
        cmocka_unit_test_setup_teardown(test_fraction, begin, end),
        cmocka_unit_test_setup_teardown(test_fraction_follows_the_seed, begin, end),
        cmocka_unit_test_setup_teardown(test_too_few, begin, end),
        cmocka_unit_test_setup_teardown(test_percent, begin, end),
        cmocka_unit_test_setup_teardown(test_given_vocab, begin, end),
        cmocka_unit_test_setup_teardown(test_valid_only, begin, end),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails, begin, end),
        cmocka_unit_test_setup_teardown(test_imagenette, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
