/* test_cli_go_on.c - what a training can be begun with it can also go on with, and what is left of
 * one that fails: seeds, paths and weights of any kind; pictures that all are bad, or the last;
 * models and messages of no use. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_WELL(out, ...) COMMAND_WELL(out, HERE, __VA_ARGS__)
#define SMALL              "--recipe", "chapter", "-b", "4", "--img-size", "16", "--threads", "1"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 2, 6, 3);
    return 0;
}

static void path_of(const char *name, char path[TREE_PATH + 64]) {
    snprintf(path, TREE_PATH + 64, "%s/%s", root, name);
}

static void move(const char *from, const char *to) {
    char a[TREE_PATH + 64], b[TREE_PATH + 64];
    path_of(from, a);
    path_of(to, b);
    assert_int_equal(rename(a, b), 0);
}

static void put_bad(const char *name) {
    tree_put(root, name, "no picture", 10);
}

/* The last epoch again: the same weights. */
static void goes_on(const char *run, const char *trained, command_opts opts) {
    command_run again;
    char want[COMMAND_VALUE], got[COMMAND_VALUE];
    COMMAND(&again, opts, "train", "--resume", run, "--json");
    command_expect(&again, 0);
    command_value(trained, "\"event\":\"done\"", 0, "weights_sha256", want);
    command_value(again.out, "\"event\":\"done\"", 0, "weights_sha256", got);
    assert_string_equal(got, want);
    command_free(&again);
}

/* ---- any start ---- */

static void any_seed(void **state) {
    (void)state;
    char out[16384];
    static const char *const seeds[] = {"9223372036854775807", "9223372036854775808",
                                        "18446744073709551615"};
    for (int i = 0; i < 3; i++) {
        char run[16];
        snprintf(run, sizeof run, "seed%d", i);
        RUN_WELL(out, "train", "d", SMALL, "--epochs", "1", "--seed", seeds[i], "-o", run,
                 "--json");
        goes_on(run, out, HERE);
    }
}

/* A path may be any bytes, and the command given elsewhere. */
static void any_path(void **state) {
    (void)state;
    char out[16384], elsewhere[TREE_PATH + 64], run[TREE_PATH + 64];
    move("d", "d\xFF");
    RUN_WELL(out, "train", "d\xFF", SMALL, "--epochs", "1", "-o", "bytes", "--json");
    goes_on("bytes", out, HERE);
    tree_folder(root, "elsewhere");
    path_of("elsewhere", elsewhere);
    path_of("bytes", run);
    command_opts opts = HERE;
    opts.folder = elsewhere;
    goes_on(run, out, opts);
    move("d\xFF", "d");
}

static void weights_that_are_gone(void **state) {
    (void)state;
    char out[16384], path[TREE_PATH + 64];
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "1", "-o", "first", "-q");
    move("first/model.safetensors", "weights.st");
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "1", "--weights", "weights.st", "-o", "second",
             "--json");
    path_of("weights.st", path);
    assert_int_equal(unlink(path), 0);
    goes_on("second", out, HERE);
}

/* The page of a training that went on shows what was typed when it began. */
static void what_was_typed(void **state) {
    (void)state;
    char out[16384];
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "1", "-o", "typed", "--json");
    goes_on("typed", out, HERE);
    char *page = root_text("typed/report.html");
    check_contains(page, "kiln train d --recipe chapter --epochs 1 --batch-size 4 --img-size 16 "
                         "--threads 1 --output typed --json<");
    free(page);
}

/* ---- bad pictures ---- */

static void nothing_but_bad_ones(void **state) {
    (void)state;
    command_run run;
    command_data(root, "b", 2, 4, 2);
    put_bad("b/valid/arrow/000.jpg");
    put_bad("b/valid/arrow/001.jpg");
    put_bad("b/valid/bars/000.jpg");
    put_bad("b/valid/bars/001.jpg");
    COMMAND(&run, HERE, "train", "b", SMALL, "--epochs", "1", "--on-bad-image", "skip", "-o",
            "none");
    command_expect(&run, 3);
    check_contains(run.err,
                   "none of the 4 samples could be read, the first: b/valid/arrow/000.jpg");
    assert_null(strstr(run.err, "best so far"));
    command_free(&run);
}

/* Where the last batch of a pass has no picture at all, nothing of what follows a batch is lost. */
static void the_last_is_bad(void **state) {
    (void)state;
    command_run run;
    char text[4096];
    command_data(root, "l", 2, 4, 2);
    put_bad("l/valid/circle/9.jpg"); /* the only one of its class, and the last by path */
    put_bad("l/train/circle/9.jpg");
    COMMAND(&run, HERE, "train", "l", SMALL, "--epochs", "1", "-b", "1", "--on-bad-image", "skip",
            "-o", "last");
    command_expect(&run, 0);
    command_free(&run);
    root_read("last/bad_images.txt", text, sizeof text);
    assert_int_equal(command_lines(text), 2);
    assert_true(root_has("last/last.ckpt"));
}

/* The page says how many there were, and so does whoever counted them. */
static void bad_ones_are_told_of(void **state) {
    (void)state;
    command_run run;
    command_data(root, "w", 2, 6, 3);
    put_bad("w/train/arrow/000.jpg");
    put_bad("w/train/arrow/002.jpg");
    COMMAND(&run, HERE, "train", "w", SMALL, "--epochs", "1", "--on-bad-image", "skip",
            "--class-weights", "balanced", "-o", "weighed");
    command_expect(&run, 0);
    check_contains(run.err, "warning: --class-weights balanced counted the bad pictures, too");
    command_free(&run);
    for (int resumed = 0; resumed < 2; resumed++) {
        char *page = root_text("weighed/report.html");
        check_contains(page, "left out of these</dt><dd>2 bad ones: bad_images.txt<");
        free(page);
        COMMAND(&run, HERE, "train", "--resume", "weighed");
        command_expect(&run, 0);
        command_free(&run);
    }
}

/* ---- other ends ---- */

/* All epochs' time, not that of the process that ended it. */
static void seconds_are_of_all_epochs(void **state) {
    (void)state;
    char out[16384], seconds[COMMAND_VALUE], again[COMMAND_VALUE];
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "5", "-o", "timed", "--json");
    double all = 0;
    for (int epoch = 0; epoch < 5; epoch++) {
        command_value(out, "\"event\":\"epoch\"", epoch, "seconds", seconds);
        all += strtod(seconds, NULL);
    }
    command_value(out, "\"event\":\"done\"", 0, "seconds", seconds);
    assert_true(strtod(seconds, NULL) >= all * 0.99);
    RUN_WELL(out, "train", "--resume", "timed", "--json");
    command_value(out, "\"event\":\"done\"", 0, "seconds", again);
    assert_true(strtod(again, NULL) >= all * 0.99);
}

/* What is named can be read, by a command as it is printed. */
static void the_command_to_try(void **state) {
    (void)state;
    char out[16384];
    command_run run;
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "1", "-o", "-dash");
    check_contains(out, " predict ./-dash/model.safetensors d/");
    /* Nothing is learned: the first epoch stays the best. */
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "2", "--lr", "1e-30", "-o", "taken", "-q");
    move("taken/model.safetensors", "best.st");
    COMMAND(&run, HERE, "train", "--resume", "taken");
    command_expect(&run, 0);
    check_contains(run.err, "warning: taken/model.safetensors is gone, and with it the best "
                            "weights; taken/last.safetensors has the last");
    check_contains(run.out, " predict taken/last.safetensors d/");
    command_free(&run);
}

static void too_much_at_a_time(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "d", SMALL, "--epochs", "2", "--accumulate", "7", "-o", "many");
    command_expect(&run, 2);
    check_contains(run.err, "--accumulate 7: the training has only 6 batches");
    command_free(&run);
}

static void other_class_names(void **state) {
    (void)state;
    char out[16384];
    command_run run;
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "1", "-o", "named", "-q");
    command_data(root, "n", 2, 4, 2);
    move("n/train/bars", "n/train/zebra");
    move("n/valid/bars", "n/valid/zebra");
    COMMAND(&run, HERE, "train", "n", SMALL, "--epochs", "1", "--weights",
            "named/model.safetensors", "-o", "renamed");
    command_expect(&run, 0);
    check_contains(run.err, "its head layers.5 is for 2 other classes, so a new one for 2");
    command_free(&run);
}

/* A model of no numbers says nothing of pictures, and that is said. */
static void a_model_of_nan(void **state) {
    (void)state;
    char path[TREE_PATH + 64], out[16384];
    kn_ctx *ctx;
    kn_loaded_model m;
    command_run run;
    RUN_WELL(out, "train", "d", SMALL, "--epochs", "1", "-o", "nan", "-q");
    path_of("nan/model.safetensors", path);
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){.device = "reference"}, NULL), KN_OK);
    assert_int_equal(kn_model_load(ctx, path, &m), KN_OK);
    kn_named_list all;
    const float nan[2] = {NAN, 0};
    assert_int_equal(kn_module_parameters(m.model, &all), KN_OK);
    kn_tensor *bias = kn_param_value(all.item[all.count - 1].param); /* the head's */
    assert_int_equal(kn_tensor_write(ctx, bias, nan, sizeof nan), KN_OK);
    kn_named_free(ctx, &all);
    kn_model_info info = {.arch = m.arch,
                          .vocab = &m.vocab,
                          .size = m.size,
                          .norm = &m.norm,
                          .batch_size = m.batch_size};
    assert_int_equal(kn_model_save(m.model, &info, path), KN_OK);
    kn_loaded_model_free(ctx, &m);
    kn_ctx_free(ctx);
    static const char *const commands[] = {"predict", "eval", "explain"};
    for (int i = 0; i < 3; i++) {
        COMMAND(&run, HERE, commands[i], "nan/model.safetensors", "d");
        command_expect(&run, 1);
        check_contains(run.err, "the model's probabilities are NaN");
        command_free(&run);
    }
}

/* Whatever a path holds. */
static void a_message_is_one_line(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "info", "no\n\x1B[2Jsuch\xC2\x9B.st");
    command_expect(&run, 1);
    assert_int_equal(command_lines(run.err), 1);
    check_contains(run.err, "no ?[2Jsuch??.st");
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_seed),
        cmocka_unit_test(any_path),
        cmocka_unit_test(weights_that_are_gone),
        cmocka_unit_test(what_was_typed),
        cmocka_unit_test(nothing_but_bad_ones),
        cmocka_unit_test(the_last_is_bad),
        cmocka_unit_test(bad_ones_are_told_of),
        cmocka_unit_test(seconds_are_of_all_epochs),
        cmocka_unit_test(the_command_to_try),
        cmocka_unit_test(too_much_at_a_time),
        cmocka_unit_test(other_class_names),
        cmocka_unit_test(a_model_of_nan),
        cmocka_unit_test(a_message_is_one_line),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
