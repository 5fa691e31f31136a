/* test_cli_lr_find.c - kiln lr-find and kiln train --lr auto: what they print, write and promise.
 */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"
#include "support/svg.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SMALL "-b", "8", "--img-size", "32", "--threads", "2", "--model", "simple_cnn"

/* root holds d, the data. */
static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 24, 4);
    return 0;
}

static const char *text_of(const char *relative) {
    static char text[1 << 18];
    root_read(relative, text, sizeof text);
    return text;
}

static double number_in(const char *text, const char *part, int n, const char *key) {
    char value[COMMAND_VALUE];
    command_value(text, part, n, key, value);
    return strcmp(value, "null") == 0 ? NAN : strtod(value, NULL);
}

static int count(const char *text, const char *part) {
    int found = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        found++;
    return found;
}

/* ---- lr-find ---- */

static void each_step_and_the_suggestions_are_events(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "lr-find", "--recipe", "chapter", "d", "-o", "a", "--json", SMALL);
    command_expect(&run, 0);
    int steps = count(run.out, "\"event\":\"lr\"");
    assert_in_range(steps, 20, 200);
    assert_int_equal(command_lines(run.out), steps + 2); /* data, lr..., suggest */
    double before = 0;
    for (int i = 0; i < steps; i++) {
        double lr = number_in(run.out, "\"event\":\"lr\"", i, "lr");
        assert_true(lr > before);
        assert_true(number_in(run.out, "\"event\":\"lr\"", i, "loss") > 0);
        assert_true(number_in(run.out, "\"event\":\"lr\"", i, "step") == i);
        before = lr;
    }
    static const char *const names[] = {"valley", "steep", "minimum", "slide"};
    for (int i = 0; i < 4; i++) {
        double lr = number_in(run.out, "\"suggest\"", 0, names[i]);
        assert_true(lr > 1e-8 && lr <= 10);
    }
    command_free(&run);

    /* The table has the same curve, the picture the same words; nothing else is there but how it
     * was made. */
    const char *csv = text_of("a/lr_find.csv");
    assert_int_equal(command_lines(csv), steps + 1);
    assert_memory_equal(csv, "step,lr,loss,smooth\n0,", 22);
    const char *svg = text_of("a/lr_find.svg");
    svg_check(svg);
    svg_contains(svg, ">valley ");
    svg_contains(svg, ">slide ");
    svg_contains(svg, ">learning rate</text>");
    assert_int_equal(svg_count(svg, "class=\"mark\""), 4);
    svg_contains(text_of("a/args.json"), "\"command\":\"lr-find\"");
    assert_false(root_has("a/model.safetensors"));
    assert_false(root_has("a/history.csv"));
}

static void the_chapter_raises_by_a_fifth(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "lr-find", "--recipe", "chapter", "d", "-o", "c", "--json", "--mode",
            "chapter", "-b", "36", "--img-size", "32", "--threads", "2");
    command_expect(&run, 0);
    for (int i = 0; i < 20; i++) {
        double lr = number_in(run.out, "\"event\":\"lr\"", i, "lr");
        assert_true(fabs(lr / (1e-6 * pow(1.2, i + 1)) - 1) < 1e-6);
    }
    command_free(&run);
}

static void people_read_lines(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "lr-find", "--recipe", "chapter", "d", "--threads", "2", "-b", "8",
            "--img-size", "32");
    command_expect(&run, 0);
    check_contains(run.out, "valley   ");
    check_contains(run.out, "\nminimum  ");
    check_contains(run.out, "curve    lr-find/1/lr_find.svg");
    assert_int_equal(command_lines(run.out), 5);
    assert_true(root_has("lr-find/1/lr_find.csv"));
    command_free(&run);
    COMMAND(&run, HERE, "lr-find", "--recipe", "chapter", "d", "-o", "lr-find/1", SMALL);
    command_expect(&run, 2);
    check_contains(run.err, "lr-find/1: already holds something");
    command_free(&run);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "lr-find", "--recipe", "chapter", "d", "--epochs", "3");
    command_expect(&run, 2);
    check_contains(run.err, "--epochs is no option of lr-find");
    command_free(&run);
    COMMAND(&run, HERE, "lr-find", "--recipe", "chapter", "none", "-o", "x");
    command_expect(&run, 3);
    assert_false(root_has("x"));
    command_free(&run);
    command_opts small = HERE;
    small.file_limit = 2000; /* the table has no room; what was begun goes away */
    COMMAND(&run, small, "lr-find", "--recipe", "chapter", "d", "-o", "x", SMALL);
    command_expect(&run, 1);
    check_contains(run.err, "x/lr_find.");
    assert_false(root_has("x"));
    command_free(&run);
}

/* ---- train --lr auto ---- */

static void a_found_rate_trains_as_one_given(void **state) {
    (void)state;
    command_run run;
    char found[COMMAND_VALUE], sha[2][COMMAND_VALUE];
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "-o", "auto", "--json", "--epochs",
            "2", "--lr", "auto", SMALL);
    command_expect(&run, 0);
    command_value(run.out, "\"lr_found\"", 0, "lr", found);
    command_value(run.out, "\"done\"", 0, "weights_sha256", sha[0]);
    assert_int_equal(command_lines(run.out), 5); /* data, lr_found, epoch, epoch, done */
    check_contains(run.err, "found: as --lr ");
    check_contains(run.err, found);
    assert_true(fabs(strtod(found, NULL) / number_in(run.out, "\"lr_found\"", 0, "valley") - 1) <
                0.006);
    command_free(&run);
    char want[COMMAND_VALUE + 16];
    snprintf(want, sizeof want, "\"lr\":%s", found);
    check_contains(text_of("auto/args.json"), want); /* what was used */
    check_contains(text_of("auto/lr_find.csv"), "step,lr,loss,smooth\n0,");
    check_contains(text_of("auto/lr_find.svg"), "Learning rate finder");
    check_contains(text_of("auto/report.html"), "Learning rate finder");
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "-o", "given", "--json", "--epochs",
            "2", "--lr", found, SMALL);
    command_expect(&run, 0);
    command_value(run.out, "\"done\"", 0, "weights_sha256", sha[1]);
    assert_string_equal(sha[0], sha[1]);
    command_free(&run);
}

/* Stops it when that file is there. */
static void stop_after(command_run *run, const char *file) {
    while (!root_has(file) && !command_ended(run))
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    kill(run->pid, SIGTERM);
    command_wait(run);
    command_expect(run, 130);
}

/* The page of a training that went on shows how its rate was found, as if it had not been stopped.
 */
static void the_curve_is_there_after_a_stop(void **state) {
    (void)state;
    static const char *const damaged[] = {"s", "step,lr,loss,smooth\n0,1,2,3\n1,0.5,2,3\n",
                                          "step,lr,loss,smooth\n0,1,2,3", "step,lr\n0,1\n"};
    command_run run;
    const char *page;
    command_start(&run, HERE,
                  (const char *const[]){"train", "--recipe", "chapter", "d", "-o", "stopped",
                                        "--epochs", "100000", "--checkpoint-every", "0", "--lr",
                                        "auto", SMALL, NULL});
    stop_after(&run, "stopped/report.html");
    command_free(&run);
    page = text_of("stopped/report.html");
    const char *chart = strstr(page, "Learning rate finder");
    assert_non_null(chart);
    char want[600];
    snprintf(want, sizeof want, "%s", strstr(chart, "valley "));
    for (size_t i = 0; i <= sizeof damaged / sizeof *damaged; i++) {
        char path[TREE_PATH + 64];
        snprintf(path, sizeof path, "%s/stopped/report.html", root);
        assert_int_equal(unlink(path), 0);
        if (i > 0)
            tree_put(root, "stopped/lr_find.csv", damaged[i - 1], strlen(damaged[i - 1]));
        command_start(&run, HERE, (const char *const[]){"train", "--resume", "stopped", NULL});
        stop_after(&run, "stopped/report.html");
        page = text_of("stopped/report.html");
        assert_true((strstr(page, "Learning rate finder") != NULL) == (i == 0));
        assert_true((strstr(run.err, "warning: lr_find.csv") != NULL) == (i > 0));
        if (i == 0)
            check_contains(page, want);
        command_free(&run);
    }
}

/* Pixels so large that no rate works: the run says so, tries what usually does, and ends at NaN. */
static void without_a_rate_the_usual_one_is_taken(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "-o", "none", "--epochs", "1", "--lr",
            "auto", "--mean", "0,0,0", "--std", "1e-30,1e-30,1e-30", SMALL);
    command_expect(&run, 1);
    check_contains(run.err, "warning: --lr auto: no rate found");
    check_contains(run.err, "batches; 0.01 is taken");
    check_contains(run.err, "the loss is");
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_and_the_suggestions_are_events),
        cmocka_unit_test(the_chapter_raises_by_a_fifth),
        cmocka_unit_test(people_read_lines),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_found_rate_trains_as_one_given),
        cmocka_unit_test(the_curve_is_there_after_a_stop),
        cmocka_unit_test(without_a_rate_the_usual_one_is_taken),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
