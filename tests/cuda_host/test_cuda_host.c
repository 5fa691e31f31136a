/* test_cuda_host.c - what a CUDA device does around its kernels, on the host's: steps that are
 * replayed, the plan file, memory that is short, errors that come late. Runs under ctest, which
 * tells where the plugin is. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRAIN                                                                                      \
    "train", "d", "--recipe", "chapter", "--epochs", "3", "-b", "8", "--img-size", "32",           \
        "--momentum", "0.9", "--seed", "11", "--json"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 16, 8);
    return 0;
}

/* A training with one more variable in its environment. */
static void train(command_run *run, const char *device, const char *name, const char *value) {
    if (name != NULL)
        setenv(name, value, 1);
    COMMAND(run, HERE, TRAIN, "--device", device, "-o", "run");
    if (name != NULL)
        unsetenv(name);
    char path[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/run", root);
    if (access(path, F_OK) == 0) /* it got so far */
        tree_remove(path);
}

/* ---- steps as graphs ---- */

static long number_before(const char *text, const char *what) {
    const char *at = strstr(text, what);
    assert_non_null(at);
    while (at > text && (at[-1] == ' ' || (at[-1] >= '0' && at[-1] <= '9')))
        at--;
    return strtol(at, NULL, 10);
}

/* A learning rate that changes with each step changes arguments of the graph. Commands that do not
 * wait for each other come in several orders; where all are in a line they wait. */
static void replayed_steps_are_the_same_steps(void **state) {
    (void)state;
    command_run run;
    char want[COMMAND_VALUE], got[COMMAND_VALUE];
    static const char *const orders[] = {"backward", "forward", "1", "line"};
    train(&run, "cuda", "KILN_CUDA_GRAPHS", "0");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", want);
    command_free(&run);
    setenv("KILN_CUDA_STATS", "1", 1);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        bool line = strcmp(orders[i], "line") == 0;
        if (i == 0)
            setenv("KILN_CUDA_HOST_WATCH", "1", 1); /* who writes what */
        train(&run, "cuda", line ? "KILN_CUDA_GRAPHS" : "KILN_CUDA_HOST_ORDER", orders[i]);
        unsetenv("KILN_CUDA_HOST_WATCH");
        command_expect(&run, 0);
        command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", got);
        assert_string_equal(got, want);
        assert_true(number_before(run.err, " runs replayed") >= 10); /* of 18 steps */
        assert_true(number_before(run.err, " arguments changed") >= 10);
        long all = number_before(run.err, " commands, "),
             longest = number_before(run.err, " of them one after another");
        assert_true(line ? longest == all : longest > 0 && longest < all * 2 / 3);
        command_free(&run);
    }
    unsetenv("KILN_CUDA_STATS");
}

/* ---- the plan file ---- */

static char *read_plans(void) {
    char path[TREE_PATH + 64];
    static char text[65536];
    snprintf(path, sizeof path, "%s/plans/cuda.txt", root);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* The two quickest engines of cudnn.cpp are wrong; the next is chosen, once for all runs. */
static void what_was_chosen_is_kept(void **state) {
    (void)state;
    command_run run;
    char path[TREE_PATH + 64], once[65536], want[COMMAND_VALUE], got[COMMAND_VALUE];
    snprintf(path, sizeof path, "%s/plans/cuda.txt", root);
    remove(path);
    train(&run, "cuda", NULL, NULL);
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", want);
    command_free(&run);
    snprintf(once, sizeof once, "%s", read_plans());
    assert_null(strstr(once, "engine 0"));
    assert_null(strstr(once, "engine 1"));
    assert_non_null(strstr(once, "engine 2"));
    train(&run, "cuda", NULL, NULL);
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", got);
    command_free(&run);
    assert_string_equal(got, want);
    assert_string_equal(read_plans(), once);
}

/* ---- for whoever looks for a fault, or for time ---- */

static void looking_changes_nothing(void **state) {
    (void)state;
    command_run run;
    char want[COMMAND_VALUE], got[COMMAND_VALUE];
    static const char *const ways[][3] = {{"KILN_CUDA_CONV", "check", NULL},
                                          {"KILN_CUDA_TRACE", "1", " one after another\n"},
                                          {"KILN_CUDA_DEBUG", "1", NULL}};
    train(&run, "cuda", NULL, NULL);
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", want);
    command_free(&run);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        train(&run, "cuda", ways[i][0], ways[i][1]);
        command_expect(&run, 0);
        command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", got);
        assert_string_equal(got, want);
        assert_null(strstr(run.err, "is off by")); /* what was chosen is right */
        if (ways[i][2] != NULL)
            check_contains(run.err, ways[i][2]);
        command_free(&run);
    }
}

/* ---- what goes wrong ---- */

static void a_device_without_memory_is_an_error_or_passed_over(void **state) {
    (void)state;
    command_run run;
    train(&run, "cuda", "KILN_CUDA_HOST_MEMORY", "1000");
    command_expect(&run, 4);
    check_contains(run.err, "device cuda:0: counters: out of memory");
    command_free(&run);
    train(&run, "auto", "KILN_CUDA_HOST_MEMORY", "1000");
    command_expect(&run, 0);
    check_contains(run.err, "device cuda:0: counters: out of memory; goes on on cpu");
    command_free(&run);
}

/* Wherever memory ends, it is said in one line with exit code 4, or was enough. */
static void memory_that_ends_is_told(void **state) {
    (void)state;
    int short_of = 0;
    for (long bytes = 1 << 17; bytes <= 1 << 25; bytes += bytes / 4) {
        command_run run;
        char size[32];
        snprintf(size, sizeof size, "%ld", bytes);
        train(&run, "cuda", "KILN_CUDA_HOST_MEMORY", size);
        if (run.code != 0) {
            command_expect(&run, 4);
            check_contains(run.err, "out of memory");
            short_of++;
        }
        command_free(&run);
    }
    print_message("%d sizes were too small\n", short_of);
    assert_true(short_of > 3);
}

static void errors_that_come_late_are_told(void **state) {
    (void)state;
    for (int at = 3; at < 300; at *= 3) {
        command_run run;
        char number[16];
        snprintf(number, sizeof number, "%d", at);
        train(&run, "cuda", "KILN_CUDA_HOST_FAIL", number);
        command_expect(&run, 4);
        check_contains(run.err, "an illegal memory access was encountered, at ");
        command_free(&run);
    }
    command_run run;
    setenv("KILN_CUDA_DEBUG", "1", 1);
    train(&run, "cuda", "KILN_CUDA_HOST_FAIL", "100");
    unsetenv("KILN_CUDA_DEBUG");
    command_expect(&run, 4);
    check_contains(run.err, "an illegal memory access was encountered, at ");
    assert_null(strstr(run.err, "at or before"));
    command_free(&run);
}

/* What was trained on the second goes on there. */
static void the_second_device_is_named(void **state) {
    (void)state;
    command_run run;
    char args[8192], path[TREE_PATH + 64];
    COMMAND(&run, HERE, TRAIN, "--device", "cuda:1", "-o", "second");
    command_expect(&run, 4);
    check_contains(run.err, "cuda:1");
    command_free(&run);
    setenv("KILN_CUDA_HOST_DEVICES", "2", 1);
    COMMAND(&run, HERE, TRAIN, "--device", "cuda:1", "-o", "second");
    unsetenv("KILN_CUDA_HOST_DEVICES");
    command_expect(&run, 0);
    command_free(&run);
    root_read("second/args.json", args, sizeof args);
    check_contains(args, "\"device\":\"cuda:1\"");
    snprintf(path, sizeof path, "%s/second", root);
    tree_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replayed_steps_are_the_same_steps),
        cmocka_unit_test(what_was_chosen_is_kept),
        cmocka_unit_test(looking_changes_nothing),
        cmocka_unit_test(a_device_without_memory_is_an_error_or_passed_over),
        cmocka_unit_test(memory_that_ends_is_told),
        cmocka_unit_test(errors_that_come_late_are_told),
        cmocka_unit_test(the_second_device_is_named),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
