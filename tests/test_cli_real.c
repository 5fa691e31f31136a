/* test_cli_real.c - the command at its real work: the shapes data to run.sh's promise, and, where
 * they are, the pictures of Imagenette to the chapter's figures. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KILN_HOME stays that of the tests, so that the shapes are drawn once for all of them. */
#define SHARED_HOME                                                                                \
    (command_opts) {                                                                               \
        .folder = root                                                                             \
    }

static const char *imagenette(void) {
    const char *folder = getenv("KILN_TEST_DATA");
    if (folder == NULL || folder[0] == '\0') {
        print_message("SKIPPED: real pictures: KILN_TEST_DATA is not set\n");
        skip();
    }
    return folder;
}

static double number(const char *text, const char *part, const char *key) {
    char value[COMMAND_VALUE];
    command_value(text, part, 0, key, value);
    return atof(value);
}

/* ---- shapes ---- */

/* With the options of run.sh: 0.95 within a minute on two cores (the minute is for run.sh to keep;
 * sanitizers and busy machines take longer). */
static void test_shapes(void **state) {
    (void)state;
    command_run run;
    bool learns = !test_in_short();
    COMMAND(&run, SHARED_HOME, "train", "--recipe", "chapter", "shapes", "--epochs",
            learns ? "30" : "2", "-b", "32", "-q", "--json", "-o", "shapes-run");
    command_expect(&run, 0);
    check_contains(run.out, "\"train\":2000,\"valid\":500,\"classes\":[\"arrow\",");
    double acc = number(run.out, "\"event\":\"done\"", "best_acc");
    if (learns && acc < 0.95)
        fail_msg("shapes: accuracy %g, expected 0.95", acc);
    command_free(&run);
    COMMAND(&run, SHARED_HOME, "eval", "shapes-run/model.safetensors", "shapes", "--json");
    command_expect(&run, 0);
    assert_true(number(run.out, "eval", "acc") == acc);
    command_free(&run);
}

/* ---- Imagenette ---- */

static void test_check_imagenette(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, SHARED_HOME, "check", imagenette(), "--json");
    command_expect(&run, 0);
    check_contains(run.out, "\"train\":9469,\"valid\":3925,\"classes\":[\"n01440764\",");
    check_contains(run.out, "\"bad\":0,");
    command_free(&run);
}

static void test_one_epoch(void **state) {
    (void)state;
    command_run run;
    if (test_in_short()) {
        print_message("SKIPPED: an epoch on real pictures with sanitizers: for ./test.sh --full\n");
        skip();
    }
    COMMAND(&run, SHARED_HOME, "train", "--recipe", "chapter", imagenette(), "--epochs", "1",
            "--sched", "constant", "-q", "--json", "-o", "one");
    command_expect(&run, 0);
    assert_true(number(run.out, "\"event\":\"data\"", "batches") == 74);
    double loss = number(run.out, "\"event\":\"epoch\"", "train_loss");
    double acc = number(run.out, "\"event\":\"epoch\"", "valid_acc");
    if (loss < 2.05 || loss > 2.25 || acc < 0.18 || acc > 0.36)
        fail_msg("one epoch: loss %g, accuracy %g", loss, acc);
    command_free(&run);
}

/* Within 0.02 of PyTorch's mean of three seeds, 0.47. */
static void test_eight_epochs(void **state) {
    (void)state;
    if (getenv("KILN_TEST_FULL") == NULL) {
        print_message("SKIPPED: eight epochs on real pictures: for ./test.sh --full\n");
        skip();
    }
    static const char *const seeds[] = {"42", "43", "44"};
    double sum = 0;
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        command_run run;
        char folder[32];
        snprintf(folder, sizeof folder, "eight-%s", seeds[i]);
        COMMAND(&run, SHARED_HOME, "train", "--recipe", "chapter", imagenette(), "--seed", seeds[i],
                "-q", "--json", "-o", folder);
        command_expect(&run, 0);
        sum += number(run.out, "\"event\":\"done\"", "valid_acc");
        command_free(&run);
    }
    if (sum / 3 < 0.45 || sum / 3 > 0.50)
        fail_msg("eight epochs, three seeds: accuracy %g", sum / 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_check_imagenette),
        cmocka_unit_test(test_one_epoch),
        cmocka_unit_test(test_eight_epochs),
    };
    return cmocka_run_group_tests(tests, root_make, root_remove);
}
