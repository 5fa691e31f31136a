/* test_cli_recipes.c - what kiln train does when it is asked for nothing in particular, and the
 * recipes beside it; on pictures so few and small that it takes seconds. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL "-b", "4", "--img-size", "32", "--epochs", "1", "--threads", "2"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 2, 6, 3);
    return 0;
}

/* args.json of the run: every value that was used, the found rate too. */
static void check_args(const char *run, const char *recipe, const char *model, const char *aug) {
    char path[TREE_PATH + 64], text[4096], value[COMMAND_VALUE], want[64];
    snprintf(path, sizeof path, "%s/%s/args.json", root, run);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    const char *const pairs[][2] = {
        {"recipe", recipe}, {"model", model}, {"aug", aug}, {"resize", "crop"}, {"opt", "muon"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        snprintf(want, sizeof want, "\"%s\"", pairs[i][1]);
        command_value(text, "version", 0, pairs[i][0], value);
        assert_string_equal(value, want);
    }
    command_value(text, "version", 0, "lr", value);
    assert_true(strtod(value, NULL) > 0);
    command_value(text, "version", 0, "img-size", value);
    assert_string_equal(value, "32");
}

static void test_nothing_asked(void **state) {
    (void)state;
    command_run run;
    if (test_in_short()) /* the finder's steps are of a residual network with Muon */
        COMMAND(&run, HERE, "train", "d", "-o", "none", SMALL, "--lr", "0.02");
    else
        COMMAND(&run, HERE, "train", "d", "-o", "none", SMALL);
    command_expect(&run, 0);
    check_contains(run.out, "best accuracy");
    command_free(&run);
    check_args("none", "quick", "xresnet18", "standard");
    COMMAND(&run, HERE, "eval", "none/model.safetensors", "d", "--json");
    command_expect(&run, 0);
    command_free(&run);
}

static void test_best(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "d", "-o", "best", SMALL, "--recipe", "best");
    command_expect(&run, 0);
    check_contains(run.out, "best accuracy");
    command_free(&run);
    check_args("best", "best", "xresnet18", "standard");
}

static void test_help_shows_a_recipes_values(void **state) {
    (void)state;
    static const struct {
        const char *recipe, *said, *model;
    } recipes[] = {{"quick", "those of --recipe quick):", "(xresnet18)"},
                   {"best", "those of --recipe best):", "(xresnet18)"},
                   {"chapter", "those of --recipe chapter):", "(simple_cnn)"}};
    command_run run;
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        COMMAND(&run, HERE, "train", "--recipe", recipes[i].recipe, "--help");
        command_expect(&run, 0);
        check_contains(run.out, recipes[i].said);
        check_contains(run.out, recipes[i].model);
        command_free(&run);
    }
    COMMAND(&run, HERE, "train", "--help");
    check_contains(run.out, recipes[0].said);
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_asked),
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_help_shows_a_recipes_values),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
