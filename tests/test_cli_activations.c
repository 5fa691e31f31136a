/* test_cli_activations.c - kiln train --activations: its files, and that it changes no bit. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"
#include "support/svg.h"

#include <stdio.h>
#include <string.h>

#define SMALL                                                                                      \
    "-b", "8", "--img-size", "32", "--threads", "2", "--model", "simple_cnn", "--epochs", "2",     \
        "--json"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 12, 4);
    return 0;
}

static const char *text_of(const char *relative) {
    static char text[1 << 18];
    root_read(relative, text, sizeof text);
    return text;
}

static void files_are_there_and_the_weights_the_same(void **state) {
    (void)state;
    command_run run;
    char sha[2][COMMAND_VALUE];
    COMMAND(&run, HERE, "train", "d", "-o", "plain", SMALL);
    command_expect(&run, 0);
    command_value(run.out, "\"done\"", 0, "weights_sha256", sha[0]);
    command_free(&run);
    COMMAND(&run, HERE, "train", "d", "-o", "watched", "--activations", SMALL);
    command_expect(&run, 0);
    command_value(run.out, "\"done\"", 0, "weights_sha256", sha[1]);
    command_free(&run);
    assert_string_equal(sha[0], sha[1]);
    /* Two epochs of 5 batches, 5 layers with parameters. */
    assert_int_equal(command_lines(text_of("watched/activations.csv")), 1 + 10 * 5);
    svg_contains(text_of("watched/activations.svg"), ">layers.5</text>");
    svg_contains(text_of("watched/args.json"), "\"activations\":true");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_there_and_the_weights_the_same),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
