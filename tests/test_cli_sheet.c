/* test_cli_sheet.c - kiln check --sheet: the pictures that training will see, in a file that
 * replaces none. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"
#include "support/svg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 6, 3);
    return 0;
}

/* The command ends so, and says that on stdout. */
static void expect(int code, const char *said, const char *const *arguments) {
    command_run run;
    command_start(&run, HERE, arguments);
    command_wait(&run);
    command_expect(&run, code);
    check_contains(code == 2 || code == 1 ? run.err : run.out, said);
    command_free(&run);
}

#define EXPECT(code, said, ...)                                                                    \
    expect((code), (said), (const char *const[]){"check", __VA_ARGS__, NULL})

/* The picture of the n-th tile, as text. */
static const char *tile(const char *svg, int n, size_t *length) {
    for (int i = 0; i <= n; i++) {
        svg = strstr(svg, "base64,");
        assert_non_null(svg);
        svg += 7;
    }
    *length = strcspn(svg, "\"");
    return svg;
}

static void it_is_what_training_sees(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "d", "--recipe", "chapter", "--epochs", "1", "-o", "run", "-b",
            "8", "--img-size", "24", "--aug", "strong", "--threads", "1", "-q");
    command_expect(&run, 0);
    command_free(&run);
    EXPECT(0, "\nsheet    seen/sheet.svg\n", "d", "--sheet", "-o", "seen", "--recipe", "chapter",
           "--img-size", "24", "--aug", "strong");
    char *want = root_text("run/sheet.svg"), *have = root_text("seen/sheet.svg");
    svg_check(have);
    assert_int_equal(svg_count(have, "<image "), 18); /* all there are: a batch may hold 64 */
    for (int i = 0; i < 8; i++) {
        size_t a_length, b_length;
        const char *a = tile(want, i, &a_length), *b = tile(have, i, &b_length);
        assert_int_equal(a_length, b_length);
        assert_memory_equal(a, b, a_length);
    }
    free(want);
    free(have);
}

static void folders_above_are_made(void **state) {
    (void)state;
    EXPECT(0, "\nsheet    above/of/it/sheet.svg\n", "d", "--sheet", "-o", "above/of/it");
    assert_true(root_has("above/of/it/sheet.svg"));
}

static void nothing_is_overwritten(void **state) {
    (void)state;
    EXPECT(0, "\nsheet    sheet.svg\n", "d", "--sheet");
    char *first = root_text("sheet.svg");
    EXPECT(0, "\nsheet    sheet-2.svg\n", "d", "--sheet", "--img-size", "32");
    EXPECT(0, ",\"sheet\":\"sheet-3.svg\"}\n", "d", "--sheet", "--json");
    char *again = root_text("sheet.svg"), *third = root_text("sheet-3.svg");
    assert_string_equal(again, first);
    assert_string_equal(third, first); /* the same words, the same bytes */
    free(first);
    free(again);
    free(third);
}

static void without_it_nothing_is_drawn_or_ignored(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "check", "d", "--json");
    command_expect(&run, 0);
    assert_null(strstr(run.out, "sheet"));
    command_free(&run);
    EXPECT(2, "--img-size goes with --sheet", "d", "--img-size", "32");
    EXPECT(2, "--aug goes with --sheet", "d", "--aug", "light");
    EXPECT(2, "--output goes with --sheet", "d", "-o", "x");
}

static void bad_pictures_are_left_out(void **state) {
    (void)state;
    command_data(root, "some", 2, 3, 1);
    tree_touch(root, "some/train/arrow/0.jpg");
    EXPECT(3, "\nsheet    some-bad/sheet.svg\n", "some", "--sheet", "-o", "some-bad");
    char *svg = root_text("some-bad/sheet.svg");
    svg_check(svg);
    assert_int_equal(svg_count(svg, "<image "), 6);
    free(svg);
    tree_touch(root, "none/train/a/0.jpg");
    tree_touch(root, "none/train/b/0.jpg");
    tree_touch(root, "none/valid/a/0.jpg");
    EXPECT(3, "bad      3\n", "none", "--sheet", "-o", "none-good");
    assert_false(root_has("none-good"));
}

static void a_failed_write_leaves_nothing(void **state) {
    (void)state;
    command_run run;
    command_opts small = HERE;
    small.file_limit = 1000;
    COMMAND(&run, small, "check", "d", "--sheet", "-o", "full");
    command_expect(&run, 1);
    check_contains(run.err, "full/sheet.svg: ");
    command_free(&run);
    assert_false(root_has("full"));
    EXPECT(1, "d/train/arrow/000.jpg/such: cannot make the folder: ", "d", "--sheet", "-o",
           "d/train/arrow/000.jpg/such");
    EXPECT(1, "d/train/arrow/000.jpg/sheet.svg: ", "d", "--sheet", "-o", "d/train/arrow/000.jpg");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_training_sees),
        cmocka_unit_test(folders_above_are_made),
        cmocka_unit_test(nothing_is_overwritten),
        cmocka_unit_test(without_it_nothing_is_drawn_or_ignored),
        cmocka_unit_test(bad_pictures_are_left_out),
        cmocka_unit_test(a_failed_write_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
