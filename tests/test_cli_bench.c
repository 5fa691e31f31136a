/* test_cli_bench.c - kiln bench: it checks before it times, and tells each figure. The figures
 * themselves are the machine's. */
#include "support/check.h"
#include "support/command.h"

#include <stdlib.h>
#include <string.h>

#define HERE                                                                                       \
    (command_opts) {                                                                               \
        .program = NULL                                                                            \
    }

static double number_in(const char *out, const char *part, int n, const char *key) {
    char value[COMMAND_VALUE];
    command_value(out, part, n, key, value);
    return atof(value);
}

static void test_pictures(void **state) {
    (void)state;
    char out[8192];
    COMMAND_WELL(out, HERE, "bench", "--only", "pictures", "--json", "--threads", "1");
    assert_true(number_in(out, "\"machine\"", 0, "copy_gb_per_s") > 0.1);
    assert_true(number_in(out, "\"machine\"", 0, "threads") == 1);
    double decoded = number_in(out, "\"decode\"", 0, "img_per_s");
    double resized = number_in(out, "\"resize\"", 0, "img_per_s");
    assert_true(decoded > 1 && resized > 1);
    assert_true(number_in(out, "\"loader\"", 0, "img_per_s") > 1);
    assert_true(number_in(out, "\"loader\"", 0, "threads") >= 1);
    assert_true(number_in(out, "\"memory\"", 0, "peak_memory") > 1e6);
    assert_null(strstr(out, "\"conv\""));
}

/* Eleven passes of four layers, then the step, then one picture. */
static void test_network(void **state) {
    (void)state;
    static char out[65536];
    COMMAND_WELL(out, HERE, "bench", "--only", "simple_cnn", "--json", "--threads", "1");
    for (int i = 0; i < 11; i++) {
        assert_true(number_in(out, "\"conv\"", i, "ms") > 0);
        assert_true(number_in(out, "\"conv\"", i, "gflops") > 0);
    }
    int steps = strstr(out, "\"dtype\":\"bf16\"") != NULL ? 2 : 1; /* where the processor has it */
    assert_int_equal(command_lines(out), 1 + 11 + 2 * steps + 1);
    for (int i = 0; i < steps; i++) {
        assert_true(number_in(out, "\"predict\"", i, "ms") > 0);
        assert_true(number_in(out, "\"predict\"", i, "batch") == 1);
        assert_true(number_in(out, "\"step\"", i, "ms") > 0);
        assert_true(number_in(out, "\"step\"", i, "convolutions_ms") > 0);
        assert_true(number_in(out, "\"step\"", i, "batch") == 128);
    }
}

/* Each kernel was right before it was timed. */
static void test_ops(void **state) {
    (void)state;
    static char out[16384];
    COMMAND_WELL(out, HERE, "bench", "--only", "ops", "--json", "--threads", "1");
    int rows = command_lines(out) - 2;
    assert_int_equal(rows, 20);
    for (int i = 0; i < rows; i++)
        assert_true(number_in(out, "\"op\",", i, "ms") > 0);
    check_contains(out, "\"op\":\"batch norm, relu\",\"pass\":\"backward\"");
}

/* The deep networks, whose checks take long. */
static void test_deep_networks(void **state) {
    (void)state;
    static char out[65536];
#ifdef __SANITIZE_ADDRESS__
    print_message("SKIPPED: plain loops of deep networks with sanitizers\n");
    skip();
#endif
    if (getenv("KILN_TEST_FULL") == NULL) {
        print_message("SKIPPED: deep networks by plain loops: for ./test.sh --full\n");
        skip();
    }
    COMMAND_WELL(out, HERE, "bench", "--only", "resnet18", "--json");
    assert_true(number_in(out, "\"conv\"", 31, "ms") > 0);
    assert_true(number_in(out, "\"predict\"", 0, "ms") > 0);
    COMMAND_WELL(out, HERE, "bench", "--only", "xresnet50", "--json");
    assert_true(number_in(out, "\"predict\"", 0, "ms") > 0);
}

static void test_lines(void **state) {
    (void)state;
    char out[8192];
    COMMAND_WELL(out, HERE, "bench", "--only", "machine");
    check_contains(out, "device    ");
    check_contains(out, "copying   ");
    check_contains(out, "memory    ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures), cmocka_unit_test(test_network),
        cmocka_unit_test(test_ops),      cmocka_unit_test(test_deep_networks),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
