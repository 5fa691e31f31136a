/* test_cli_loss.c - kiln train with a loss of its own: --mixup, --cutmix, --smoothing,
 * --class-weights; and how it ends early: --patience, and a loss that is no number. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "even", 3, 10, 4);
    return 0;
}

/* Two epochs on pictures of 16x16; run: the folder to write. The words go on at arguments. */
#define TRAIN(run, data, folder, ...)                                                              \
    COMMAND(run, HERE, "train", "--recipe", "chapter", data, "-o", folder, "--json", "-q", "-b",   \
            "8", "--img-size", "16", __VA_ARGS__)

typedef char value[COMMAND_VALUE];

/* ---- bits ---- */

static void fingerprint(const char *data, const char *workers, const char *option,
                        const char *setting, value sha) {
    static int runs;
    char folder[32];
    command_run run;
    snprintf(folder, sizeof folder, "bits%d", runs++);
    TRAIN(&run, data, folder, "--epochs", "2", "-j", workers, option, setting);
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", sha);
    command_free(&run);
}

static void loader_threads_change_no_bit(void **state) {
    (void)state;
    static const char *const options[][2] = {{"--mixup", "0.4"}, {"--cutmix", "1"}};
    value plain, one, eight, other;
    fingerprint("even", "1", "--smoothing", "0", plain);
    for (size_t i = 0; i < 2; i++) {
        fingerprint("even", "1", options[i][0], options[i][1], one);
        fingerprint("even", "8", options[i][0], options[i][1], eight);
        assert_string_equal(one, eight);
        assert_string_not_equal(one, plain);
        fingerprint("even", "1", options[i][0], "0", other); /* 0 is off */
        assert_string_equal(other, plain);
    }
    fingerprint("even", "1", "--smoothing", "0.1", other);
    assert_string_not_equal(other, plain);
}

/* Weights are 1 where all classes have as many pictures, and then change no bit. */
static void weights_follow_the_counts_of_the_classes(void **state) {
    (void)state;
    char command[3 * TREE_PATH + 256];
    value plain, balanced;
    fingerprint("even", "2", "--class-weights", "none", plain);
    fingerprint("even", "2", "--class-weights", "balanced", balanced);
    assert_string_equal(plain, balanced);
    snprintf(command, sizeof command,
             "cp -r %s/even %s/uneven && cd %s/uneven/train && class=$(ls | head -n 1) && "
             "ls $class/* | head -n 7 | xargs rm",
             root, root, root);
    assert_int_equal(system(command), 0);
    fingerprint("uneven", "2", "--class-weights", "none", plain);
    fingerprint("uneven", "2", "--class-weights", "balanced", balanced);
    assert_string_not_equal(plain, balanced);
}

/* ---- validation knows nothing of it ---- */

static void eval_finds_the_validation_loss_again(void **state) {
    (void)state;
    value trained, evaluated;
    command_run run;
    TRAIN(&run, "even", "all", "--epochs", "1", "--mixup", "0.4", "--cutmix", "1", "--smoothing",
          "0.1", "--class-weights", "balanced");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"epoch\"", 0, "valid_loss", trained);
    command_free(&run);
    COMMAND(&run, HERE, "eval", "all/model.safetensors", "even", "--json");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"eval\"", 0, "loss", evaluated);
    assert_string_equal(trained, evaluated);
    command_free(&run);
}

/* The lines of log.jsonl are those of --json. */
static void the_log_has_what_json_says(void **state) {
    (void)state;
    char line[1024];
    command_run run;
    TRAIN(&run, "even", "logged", "--epochs", "3");
    command_expect(&run, 0);
    FILE *f = fopen(root_path("logged/log.jsonl"), "r");
    assert_non_null(f);
    int lines = 0;
    for (; fgets(line, sizeof line, f) != NULL; lines++)
        assert_non_null(strstr(run.out, line));
    assert_int_equal(lines, 3);
    fclose(f);
    command_free(&run);
}

/* ---- early ends ---- */

/* So small a rate moves no prediction: the accuracy stays that of the first epoch. */
static void patience_ends_it(void **state) {
    (void)state;
    value stopped, best;
    command_run run;
    TRAIN(&run, "even", "patient", "--epochs", "9", "--lr", "1e-12", "--patience", "2");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "stopped_early", stopped);
    assert_string_equal(stopped, "true");
    command_value(run.out, "\"event\":\"done\"", 0, "best_epoch", best);
    assert_string_equal(best, "0");
    assert_non_null(strstr(run.out, "\"epoch\":2,"));
    assert_null(strstr(run.out, "\"epoch\":3,"));
    command_free(&run);
    TRAIN(&run, "even", "whole", "--epochs", "2", "--lr", "1e-12", "--patience", "2");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "stopped_early", stopped);
    assert_string_equal(stopped, "false");
    command_free(&run);
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "even", "-o", "told", "-b", "8",
            "--img-size", "16", "--epochs", "9", "--lr", "1e-12", "--patience", "1");
    command_expect(&run, 0);
    assert_non_null(strstr(run.out, "stopped early: 1 epoch without a better accuracy"));
    assert_non_null(strstr(run.out, "in epoch 0; 2 epochs in"));
    command_free(&run);
}

/* Each step multiplies the weights by 1 - lr * wd = -2, so after some epochs the loss overflows. */
static void a_loss_that_is_no_number_ends_it(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "even", "-o", "diverged", "--json", "-b",
            "8", "--img-size", "16", "--epochs", "40", "--sched", "constant", "--lr", "0.003",
            "--wd", "1000");
    command_expect(&run, 1);
    assert_non_null(strstr(run.err, ": the loss is "));
    assert_non_null(strstr(run.err, "a lower learning rate may help"));
    assert_non_null(strstr(run.err, "diverged/model.safetensors is the best so far, of epoch "));
    assert_non_null(strstr(run.out, "\"event\":\"error\""));
    assert_null(strstr(run.out, "\"event\":\"done\""));
    assert_true(root_has("diverged/model.safetensors") && root_has("diverged/log.jsonl"));
    command_free(&run);
    char *page = root_text("diverged/report.html");
    assert_non_null(strstr(page, "ended by a failure after "));
    assert_null(strstr(page, "http-equiv=\"refresh\"")); /* nothing more is to come */
    free(page);
    /* At once: nothing was saved, and the same command may be given again. */
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "even", "-o", "nothing", "-b", "8",
            "--img-size", "16", "--epochs", "2", "--sched", "constant", "--lr", "1000", "--wd",
            "1000");
    command_expect(&run, 1);
    assert_non_null(strstr(run.err, "kiln: epoch 0, batch "));
    assert_null(strstr(run.err, "best so far"));
    assert_false(root_has("nothing"));
    command_free(&run);
}

static void settings_out_of_range_are_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {{"--mixup", "-1"},
                                         {"--cutmix", "x"},
                                         {"--smoothing", "1"},
                                         {"--class-weights", "rare"},
                                         {"--class-weights", "equal"},
                                         {"--patience", "0"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        command_run run;
        COMMAND(&run, HERE, "train", "--recipe", "chapter", "even", bad[i][0], bad[i][1]);
        command_expect(&run, 2);
        assert_non_null(strstr(run.err, bad[i][0]));
        command_free(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loader_threads_change_no_bit),
        cmocka_unit_test(weights_follow_the_counts_of_the_classes),
        cmocka_unit_test(eval_finds_the_validation_loss_again),
        cmocka_unit_test(the_log_has_what_json_says),
        cmocka_unit_test(patience_ends_it),
        cmocka_unit_test(a_loss_that_is_no_number_ends_it),
        cmocka_unit_test(settings_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
