/* test_cli_check.c - kiln check finds pictures that are the same, pixel for pixel, and says what is
 * wrong with that; every command tells what it does not read. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 4, 2);
    return 0;
}

/* A copy with a comment in it: other bytes, the same pixels. */
static void copy_with_comment(const char *from, const char *to) {
    static unsigned char data[1 << 16];
    static const char comment[] = "\xff\xfe\0\x07hello";
    char path[TREE_PATH + 128];
    snprintf(path, sizeof path, "%s/%s", root, from);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t size = fread(data, 1, sizeof data / 2, f), extra = sizeof comment - 1;
    fclose(f);
    memmove(data + 2 + extra, data + 2, size - 2);
    memcpy(data + 2, comment, extra);
    tree_put(root, to, data, size + extra);
}

static void expect_numbers(const char *out, int same, int both, int differ) {
    const char *const keys[] = {"same", "in_both_sets", "classes_differ"};
    const int want[] = {same, both, differ};
    for (int i = 0; i < 3; i++) {
        char value[COMMAND_VALUE];
        command_value(out, "\"event\":\"check\"", 0, keys[i], value);
        assert_int_equal(atoi(value), want[i]);
    }
}

static void doubles_are_found(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "check", "d", "--json");
    command_expect(&run, 0);
    expect_numbers(run.out, 0, 0, 0);
    command_free(&run);
    /* Twice in one class: told, and nothing wrong. */
    copy_with_comment("d/train/arrow/001.jpg", "d/train/arrow/copy.jpg");
    COMMAND(&run, HERE, "check", "d", "--json");
    command_expect(&run, 0);
    expect_numbers(run.out, 1, 0, 0);
    check_contains(run.out, "\"paths\":[\"d/train/arrow/001.jpg\",\"d/train/arrow/copy.jpg\"],"
                            "\"both_sets\":false,\"classes_differ\":false");
    command_free(&run);
    COMMAND(&run, HERE, "check", "d");
    command_expect(&run, 0);
    check_contains(run.out, "\ndoubles  1; in both sets 0, of different classes 0\n");
    command_free(&run);
    copy_with_comment("d/train/bars/000.jpg", "d/valid/bars/leak.jpg");
    copy_with_comment("d/train/bars/002.jpg", "d/train/circle/wrong.jpg");
    COMMAND(&run, HERE, "check", "d");
    command_expect(&run, 3);
    check_contains(run.out, "\ndoubles  3; in both sets 1, of different classes 1\n");
    check_contains(run.err, "d/valid/bars/leak.jpg: is the same picture as d/train/bars/000.jpg, "
                            "and one of them is to validate on\n");
    check_contains(run.err, "d/train/circle/wrong.jpg: is the same picture as "
                            "d/train/bars/002.jpg, of another class\n");
    assert_int_equal(command_lines(run.err), 2);
    command_free(&run);
}

/* Pictures of other kinds, and a class that is a link, are never passed over in silence. */
static void passed_over_is_told(void **state) {
    (void)state;
    static const char *const others = "kiln: warning: o/arrow/a.HEIC and 1 more are passed over: "
                                      "only JPEG and PNG files are read\n",
                             *const link = "kiln: warning: o/circle is passed over: links to "
                                           "folders are not followed\n";
    char path[TREE_PATH + 16];
    command_run run;
    copy_with_comment("d/train/arrow/000.jpg", "o/arrow/0.jpg");
    copy_with_comment("d/train/arrow/002.jpg", "o/arrow/1.jpg");
    copy_with_comment("d/train/bars/000.jpg", "o/bars/0.jpg");
    copy_with_comment("d/train/bars/001.jpg", "o/bars/1.jpg");
    tree_touch(root, "o/bars/b.webp");
    tree_touch(root, "o/arrow/a.HEIC");
    snprintf(path, sizeof path, "%s/o/circle", root);
    assert_int_equal(symlink("../d/train/circle", path), 0);

    COMMAND(&run, HERE, "check", "o", "--json");
    command_expect(&run, 0);
    check_contains(run.out, "\"other_pictures\":2,\"folder_links\":1,");
    command_free(&run);
    COMMAND(&run, HERE, "check", "o");
    command_expect(&run, 0);
    check_contains(run.err, others);
    check_contains(run.err, link);
    command_free(&run);
    COMMAND(&run, HERE, "train", "o", "--recipe", "chapter", "--epochs", "1", "--img-size", "16",
            "--output", "run", "-q");
    command_expect(&run, 0);
    check_contains(run.err, others);
    check_contains(run.err, link);
    command_free(&run);
    static const char *const using[] = {"predict", "eval"};
    for (int i = 0; i < 2; i++) {
        COMMAND(&run, HERE, using[i], "run/model.safetensors", "o");
        command_expect(&run, 0);
        check_contains(run.err, others);
        check_contains(run.err, link);
        command_free(&run);
    }
}

/* A split under other names, and folders and classes that come to nothing. */
static void odd_folders_are_told(void **state) {
    (void)state;
    static const char *const where[] = {"Train", "Val"};
    static const char *const classes[] = {"arrow", "bars"};
    char from[64], to[64];
    command_run run;
    for (int i = 0; i < 4; i++) {
        snprintf(from, sizeof from, "d/train/%s/00%d.jpg", classes[i % 2], i / 2);
        snprintf(to, sizeof to, "t/%s/%s/%d.jpg", where[i / 2], classes[i % 2], i / 2);
        copy_with_comment(from, to);
    }
    COMMAND(&run, HERE, "check", "t");
    command_expect(&run, 3);
    check_contains(run.err, "t: its folders Train and Val look like sets");
    command_free(&run);
    COMMAND(&run, HERE, "check", "d"); /* a split that is one */
    assert_null(strstr(run.err, "warning"));
    command_free(&run);
    tree_folder(root, "t/Train/circle/none");
    copy_with_comment("d/train/bars/002.jpg", "t/Train/bars/9.jpg");
    COMMAND(&run, HERE, "train", "t/Train", "--recipe", "chapter", "--epochs", "1", "--img-size",
            "16", "--output", "odd", "-q");
    command_expect(&run, 0);
    check_contains(run.err,
                   "warning: t/Train/circle is no class: it holds no picture that is read");
    check_contains(run.err, "warning: class arrow has no picture to validate on");
    command_free(&run);
}

/* Beside train/ and val/ nothing else is read; a class that was put there would not be missed. */
static void folders_beside_the_sets(void **state) {
    (void)state;
    command_run run;
    tree_folder(root, "d/runs/1"); /* holds no picture */
    copy_with_comment("d/train/bars/002.jpg", "d/test/bars/1.jpg");
    COMMAND(&run, HERE, "check", "d");
    assert_null(strstr(run.err, "passed over"));
    command_free(&run);
    copy_with_comment("d/train/bars/002.jpg", "d/orchid/1.jpg");
    COMMAND(&run, HERE, "check", "d");
    check_contains(run.err, "warning: d/orchid is passed over: it lies beside the folders of the "
                            "sets");
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_are_found), cmocka_unit_test(passed_over_is_told),
        cmocka_unit_test(odd_folders_are_told), cmocka_unit_test(folders_beside_the_sets)};
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
