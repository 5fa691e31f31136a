/* test_data.c - scanning a folder for pictures, and the classes' numbers. */
#include "support/check.h"
#include "support/counted.h"
#include "support/tree.h"

#include "core/ctx.h"

#include <kiln/data.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* ---- files ---- */

/* The relative paths found below root, in order. */
static void check_found(fixture *f, const char *root, const char *const *want, int count) {
    kn_files files;
    kn_status status = kn_files_scan(f->ctx, root, &files);
    check_good(f->ctx, root);
    assert_int_equal(status, KN_OK);
    assert_int_equal(files.count, count);
    for (int i = 0; i < count; i++)
        assert_string_equal(files.path[i] + files.root_length + 1, want[i]);
    kn_files_free(f->ctx, &files);
}

static void scan_fails(fixture *f, const char *root, kn_status status, const char *part) {
    kn_files files;
    assert_int_equal(kn_files_scan(f->ctx, root, &files), status);
    check_error(f->ctx, status, part);
    kn_files_free(f->ctx, &files);
}

static void test_sorted_bytewise(void **state) {
    fixture *f = *state;
    /* '-' < '/' < 'B' < 'a' < 0xC3: by the whole path, not folder by folder. */
    const char *const want[] = {"B/1.jpg", "a-b/1.jpg", "a/10.jpg",
                                "a/2.jpg", "a/b/1.jpg", "\xC3\xA4/1.jpg"};
    for (size_t i = KN_COUNT(want); i-- > 0;)
        tree_touch(f->root, want[i]);
    check_found(f, f->root, want, KN_COUNT(want));
}

static void test_endings(void **state) {
    fixture *f = *state;
    const char *const want[] = {"1.jpg", "2.JPG",   "3.jpeg", "4.JpEg", "5.png",
                                "6.PNG", "7.a.png", "8.jfif", "9.JPE",  "a b\n.jpg"};
    const char *const others[] = {"jpg", "a.gif", "a.jpg.txt", "a.jpgx", "b.tar.gz", "png", "c."};
    for (size_t i = 0; i < KN_COUNT(want); i++)
        tree_touch(f->root, want[i]);
    for (size_t i = 0; i < KN_COUNT(others); i++)
        tree_touch(f->root, others[i]);
    check_found(f, f->root, want, KN_COUNT(want));
}

/* Whatever order the folder has: the first is the first by path. */
static void test_passed_over(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 16];
    kn_files files;
    static const char *const others[] = {"b/3.WebP", "b/1.heic", "b/2.gif", "c/1.tiff"};
    tree_touch(f->root, "a/1.jpg");
    tree_touch(f->root, "a/notes.txt");
    tree_touch(f->root, "a/.hidden.heic");
    assert_int_equal(kn_files_scan(f->ctx, f->root, &files), KN_OK);
    assert_int_equal(files.other_pictures + files.folder_links, 0);
    assert_null(files.other_picture);
    assert_null(files.folder_link);
    kn_files_free(f->ctx, &files);

    for (size_t i = 0; i < KN_COUNT(others); i++)
        tree_touch(f->root, others[i]);
    for (char name = 'z'; name > 'w'; name--) {
        snprintf(path, sizeof path, "%s/a/%c", f->root, name);
        assert_int_equal(symlink("..", path), 0);
    }
    assert_int_equal(kn_files_scan(f->ctx, f->root, &files), KN_OK);
    assert_int_equal(files.count, 1);
    assert_int_equal(files.other_pictures, KN_COUNT(others));
    assert_int_equal(files.folder_links, 3);
    assert_string_equal(files.other_picture + files.root_length + 1, "b/1.heic");
    assert_string_equal(files.folder_link + files.root_length + 1, "a/x");
    kn_files_free(f->ctx, &files);
    snprintf(path, sizeof path, "%s/b", f->root);
    scan_fails(f, path, KN_ERR_DATA, "holds no picture (.jpg, .jpeg or .png); pictures of other");
}

static void test_hidden_is_skipped(void **state) {
    fixture *f = *state;
    const char *const want[] = {"a/1.jpg"};
    tree_touch(f->root, "a/1.jpg");
    tree_touch(f->root, "a/.1.jpg");
    tree_touch(f->root, "a/.jpg");
    tree_touch(f->root, ".hidden/1.jpg");
    tree_touch(f->root, "a/.ipynb_checkpoints/1-checkpoint.jpg");
    check_found(f, f->root, want, 1);
}

static void test_links(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 16];
    const char *const want[] = {"a/1.jpg", "a/dangling.jpg", "a/file.jpg"};
    tree_touch(f->root, "a/1.jpg");
    static const char *const links[][2] = {
        {"1.jpg", "a/file.jpg"},        {"nothing", "a/dangling.jpg"}, {"..", "a/circle"},
        {"../a", "a/folder-named.jpg"}, {"1.jpg", "a/not-a-picture"},
    };
    for (size_t i = 0; i < KN_COUNT(links); i++) {
        snprintf(path, sizeof path, "%s/%s", f->root, links[i][1]);
        assert_int_equal(symlink(links[i][0], path), 0);
    }
    check_found(f, f->root, want, KN_COUNT(want));
    /* A root that is a link was named by the user: it is followed. */
    snprintf(path, sizeof path, "%s/a/circle/a", f->root);
    check_found(f, path, (const char *const[]){"1.jpg", "dangling.jpg", "file.jpg"}, 3);
    snprintf(path, sizeof path, "%s/a/circle", f->root);
    check_found(f, path, want, KN_COUNT(want));
}

static void test_only_links_to_folders(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 16];
    snprintf(path, sizeof path, "%s/class", f->root);
    assert_int_equal(symlink("..", path), 0);
    scan_fails(f, f->root, KN_ERR_DATA, "links to folders are not followed");
}

static void test_root_with_slashes(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 16];
    tree_touch(f->root, "a/1.jpg");
    snprintf(path, sizeof path, "%s///", f->root);
    check_found(f, path, (const char *const[]){"a/1.jpg"}, 1);
    kn_files files;
    assert_int_equal(kn_files_scan(f->ctx, path, &files), KN_OK);
    assert_int_equal(files.root_length, strlen(f->root));
    snprintf(path, sizeof path, "%s/a/1.jpg", f->root);
    assert_string_equal(files.path[0], path);
    kn_files_free(f->ctx, &files);
}

static void test_bad_roots(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 16];
    scan_fails(f, f->root, KN_ERR_DATA, f->root); /* empty */
    tree_touch(f->root, "file");
    scan_fails(f, f->root, KN_ERR_DATA, "holds no picture");
    snprintf(path, sizeof path, "%s/file", f->root);
    scan_fails(f, path, KN_ERR_DATA, path);
    scan_fails(f, path, KN_ERR_DATA, "is not a folder");
    snprintf(path, sizeof path, "%s/missing", f->root);
    scan_fails(f, path, KN_ERR_DATA, path);
    scan_fails(f, path, KN_ERR_DATA, "no such folder");
    scan_fails(f, "", KN_ERR_DATA, "empty");
}

/* The superuser may read everything: become somebody else meanwhile. */
static void test_unreadable_folder(void **state) {
    fixture *f = *state;
    char path[TREE_PATH + 16];
    tree_touch(f->root, "a/1.jpg");
    tree_touch(f->root, "locked/1.jpg");
    snprintf(path, sizeof path, "%s/locked", f->root);
    assert_int_equal(chmod(f->root, 0755), 0);
    assert_int_equal(chmod(path, 0), 0);
    uid_t user = geteuid();
    if (user == 0)
        assert_int_equal(seteuid(65534), 0);
    kn_files files;
    kn_status status = kn_files_scan(f->ctx, f->root, &files);
    if (user == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(status, KN_ERR_IO);
    check_error(f->ctx, KN_ERR_IO, path);
    kn_files_free(f->ctx, &files);
}

/* Makes folders of that name inside each other, relative to each other: the whole path may be
 * longer than a path can be. Removes them again from the inside out. */
static void chain(const char *root, const char *name, int levels, bool make) {
    int fd[128];
    fd[0] = open(root, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < levels; i++) {
        assert_true(fd[i] >= 0);
        if (make)
            assert_int_equal(mkdirat(fd[i], name, 0777), 0);
        fd[i + 1] = openat(fd[i], name, O_RDONLY | O_DIRECTORY);
    }
    for (int i = levels; i >= 0; i--) {
        if (!make && i < levels)
            assert_int_equal(unlinkat(fd[i], name, AT_REMOVEDIR), 0);
        close(fd[i]);
    }
}

static void test_limits(void **state) {
    fixture *f = *state;
    tree_touch(f->root, "1.jpg");
    chain(f->root, "d", 63, true); /* the root is the first of 64 */
    check_found(f, f->root, (const char *const[]){"1.jpg"}, 1);
    chain(f->root, "d", 63, false);
    chain(f->root, "d", 64, true);
    scan_fails(f, f->root, KN_ERR_LIMIT, "64 folders deep");
    scan_fails(f, f->root, KN_ERR_LIMIT, "/d/d/d/d/d/d");
    chain(f->root, "d", 64, false);
    char name[251];
    memset(name, 'n', 250);
    name[250] = '\0';
    chain(f->root, name, 20, true);
    scan_fails(f, f->root, KN_ERR_LIMIT, "longer than 4095 bytes: /");
    scan_fails(f, f->root, KN_ERR_LIMIT, f->root);
    chain(f->root, name, 20, false);
    char *longer = malloc(5000);
    memset(longer, 'x', 4999);
    longer[4999] = '\0';
    scan_fails(f, longer, KN_ERR_LIMIT, "longer than");
    free(longer);
}

/* ---- vocab ---- */

static void test_vocab(void **state) {
    fixture *f = *state;
    kn_vocab vocab;
    const char *const names[] = {"dog", "Zebra", "cat", "dog", "\xC3\xA4", "cat", "ca", "dog"};
    const char *const want[] = {"Zebra", "ca", "cat", "dog", "\xC3\xA4"};
    assert_int_equal(kn_vocab_from(f->ctx, names, KN_COUNT(names), &vocab), KN_OK);
    assert_int_equal(vocab.count, KN_COUNT(want));
    for (int i = 0; i < vocab.count; i++) {
        assert_string_equal(vocab.name[i], want[i]);
        assert_int_equal(kn_vocab_index(&vocab, want[i]), i);
    }
    static const char *const unknown[] = {"", "A", "c", "cats", "zebra", "\xFF"};
    for (size_t i = 0; i < KN_COUNT(unknown); i++)
        assert_int_equal(kn_vocab_index(&vocab, unknown[i]), -1);
    kn_vocab_free(f->ctx, &vocab);
    assert_int_equal(kn_vocab_from(f->ctx, NULL, 0, &vocab), KN_OK);
    assert_int_equal(vocab.count, 0);
    assert_int_equal(kn_vocab_index(&vocab, "cat"), -1);
    kn_vocab_free(f->ctx, &vocab);
}

/* ---- memory ---- */

static kn_status scan_and_number(fixture *f) {
    kn_files files;
    kn_vocab vocab = {0};
    const char *const names[] = {"b", "a"};
    kn_status status = kn_files_scan(f->ctx, f->root, &files);
    if (status == KN_OK)
        status = kn_vocab_from(f->ctx, names, 2, &vocab);
    kn_vocab_free(f->ctx, &vocab);
    kn_files_free(f->ctx, &files);
    return status;
}

/* Each allocation fails in turn; what was allocated before is freed (end checks it). */
static void test_every_allocation_fails(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.jpg", i);
        tree_touch(f->root, name);
    }
    tree_touch(f->root, "other.webp");
    int failures = 0;
    for (;; failures++) {
        f->memory.refused = 0;
        f->memory.fail_at = f->memory.made + failures + 1;
        kn_status status = scan_and_number(f);
        if (f->memory.refused == 0) {
            assert_int_equal(status, KN_OK);
            break;
        }
        assert_int_equal(status, KN_ERR_MEMORY);
        check_error(f->ctx, KN_ERR_MEMORY, "out of memory");
    }
    f->memory.fail_at = 0;
    assert_true(failures > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sorted_bytewise, begin, end),
        cmocka_unit_test_setup_teardown(test_endings, begin, end),
        cmocka_unit_test_setup_teardown(test_passed_over, begin, end),
        cmocka_unit_test_setup_teardown(test_hidden_is_skipped, begin, end),
        cmocka_unit_test_setup_teardown(test_links, begin, end),
        cmocka_unit_test_setup_teardown(test_only_links_to_folders, begin, end),
        cmocka_unit_test_setup_teardown(test_root_with_slashes, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_roots, begin, end),
        cmocka_unit_test_setup_teardown(test_unreadable_folder, begin, end),
        cmocka_unit_test_setup_teardown(test_limits, begin, end),
        cmocka_unit_test_setup_teardown(test_vocab, begin, end),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
