/* test_cli.c - the command at work on a small data set: what it prints, writes and promises. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <kiln/kiln.h>

#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CLASSES = 3, TRAIN = 12, VALID = 6, EPOCHS = 3 };

static char trained[8192]; /* the training's stdout */

#define RUN_WELL(out, ...) COMMAND_WELL(out, HERE, __VA_ARGS__)
/* Small and the same everywhere: 36 training pictures in 5 batches, 18 to validate on in 2. */
#define SMALL "-b", "8", "--img-size", "32", "--threads", "2"

/* root holds d (the data) and run (a training of it), made once. */
static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", CLASSES, TRAIN, VALID);
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "--epochs", "3", "-o", "run", "--json",
            SMALL);
    command_expect(&run, 0);
    snprintf(trained, sizeof trained, "%s", run.out);
    command_free(&run);
    return 0;
}

/* ---- train ---- */

static void test_train_events(void **state) {
    (void)state;
    static const char *const keys[] = {"train_loss", "train_acc", "valid_loss",     "valid_acc",
                                       "lr",         "seconds",   "train_img_per_s"};
    char value[COMMAND_VALUE];
    assert_int_equal(command_lines(trained), EPOCHS + 2);
    command_value(trained, "\"event\":\"data\"", 0, "train", value);
    assert_string_equal(value, "36");
    command_value(trained, "\"event\":\"data\"", 0, "valid", value);
    assert_string_equal(value, "18");
    command_value(trained, "\"event\":\"data\"", 0, "classes", value);
    assert_string_equal(value, "[\"arrow\",\"bars\",\"circle\"]");
    command_value(trained, "\"event\":\"data\"", 0, "batches", value);
    assert_string_equal(value, "5");
    command_value(trained, "\"event\":\"data\"", 0, "bad", value);
    assert_string_equal(value, "0");
    for (int i = 0; i < EPOCHS; i++)
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            command_value(trained, "\"event\":\"epoch\"", i, keys[k], value);
            assert_true(isdigit((unsigned char)value[0]));
        }
    command_value(trained, "\"event\":\"done\"", 0, "weights_sha256", value);
    assert_int_equal(strlen(value), 66);
    command_value(trained, "\"event\":\"done\"", 0, "peak_memory", value);
    assert_true(atof(value) > 1e6 && atof(value) < 4e9);
    command_value(trained, "\"event\":\"done\"", 0, "run", value);
    assert_string_equal(value, "\"run\"");
    command_value(trained, "\"event\":\"done\"", 0, "model", value);
    assert_string_equal(value, "\"run/model.safetensors\"");
}

/* done's numbers are those of the epochs. */
static void test_train_done(void **state) {
    (void)state;
    char value[COMMAND_VALUE], acc[COMMAND_VALUE], best[COMMAND_VALUE];
    command_value(trained, "\"event\":\"epoch\"", EPOCHS - 1, "valid_acc", value);
    command_value(trained, "\"event\":\"done\"", 0, "valid_acc", acc);
    assert_string_equal(acc, value);
    command_value(trained, "\"event\":\"done\"", 0, "best_epoch", best);
    command_value(trained, "\"event\":\"epoch\"", atoi(best), "valid_acc", acc);
    command_value(trained, "\"event\":\"done\"", 0, "best_acc", value);
    assert_string_equal(acc, value);
    for (int i = 0; i < EPOCHS; i++) {
        command_value(trained, "\"event\":\"epoch\"", i, "valid_acc", value);
        assert_true(atof(value) <= atof(acc));
    }
}

static void test_run_folder(void **state) {
    (void)state;
    static const char *const files[] = {
        "run/args.json",     "run/history.csv",  "run/model.safetensors", "run/last.safetensors",
        "run/loss.svg",      "run/accuracy.svg", "run/schedule.svg",      "run/confusion.svg",
        "run/confusion.csv", "run/sheet.svg",    "run/report.html"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (!root_has(files[i]))
            fail_msg("%s is missing", files[i]);
    char text[4096];
    FILE *f = fopen(root_path("run/args.json"), "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    check_contains(text, "\"data\":\"d\"");
    check_contains(text, "\"epochs\":3,\"batch-size\":8,\"img-size\":32,");
    check_contains(text, "\"seed\":42,");
    check_contains(text, "\"lr\":0.1,\"sched\":\"one-cycle\"");
    check_contains(text, "\"threads\":2,\"activations\":false,\"output\":\"run\"");
    assert_null(strstr(text, "auto")); /* what was used, not what was asked for */
}

static void test_human(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "--epochs", "2", "-o", "human run",
            SMALL);
    command_expect(&run, 0);
    check_contains(run.out, "best accuracy ");
    check_contains(run.out, "\nmodel     human run/model.safetensors\n"
                            "history   human run/history.csv\n"
                            "pictures  human run/loss.svg, accuracy.svg, schedule.svg, "
                            "confusion.svg, sheet.svg\n"
                            "report    human run/report.html\n");
    check_contains(run.out, " predict 'human run/model.safetensors' d/valid/arrow/000.jpg\n");
    check_contains(run.err, "36 pictures to train on, 18 to validate on, 3 classes\n");
    assert_null(strchr(run.err, '\r')); /* no bar: stderr is no terminal */
    assert_int_equal(command_lines(run.err), 2 + 1 + 2);
    command_free(&run);
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "--epochs", "1", "-o", "quiet", "-q",
            SMALL);
    command_expect(&run, 0);
    assert_string_equal(run.err, "");
    check_contains(run.out, "best accuracy ");
    command_free(&run);
}

/* On a terminal there is a bar, which leaves nothing behind. */
static void test_bar(void **state) {
    (void)state;
    command_run run;
    command_opts opts = HERE;
    opts.terminal = true;
    COMMAND(&run, opts, "train", "--recipe", "chapter", "d", "--epochs", "2", "-o", "bar", SMALL);
    command_expect(&run, 0);
    check_contains(run.err, "\r\033[Kepoch 1/2 train [");
    check_contains(run.err, "/5, ");
    check_contains(run.err, " left\r\033[K");
    command_free(&run);
}

/* ---- the same bits ---- */

static void sha_of(const char *seed, const char *workers, char value[COMMAND_VALUE]) {
    char out[8192];
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--epochs", "2", "-q", "--json", "--seed",
             seed, "-j", workers, "-o", "sha", SMALL);
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", value);
    tree_remove(root_path("sha"));
}

static void test_same_bits(void **state) {
    (void)state;
    char first[COMMAND_VALUE], value[COMMAND_VALUE];
    sha_of("1", "1", first);
    static const char *const workers[] = {"1", "2", "8"};
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        sha_of("1", workers[i], value);
        assert_string_equal(value, first);
    }
    sha_of("2", "1", value);
    assert_string_not_equal(value, first);
}

/* ---- eval ---- */

static void check_eval(const char *out, const char *loss, const char *acc) {
    char value[COMMAND_VALUE];
    command_value(out, "\"event\":\"eval\"", 0, "loss", value);
    assert_string_equal(value, loss);
    command_value(out, "\"event\":\"eval\"", 0, "acc", value);
    assert_string_equal(value, acc);
}

static void test_eval_repeats_training(void **state) {
    (void)state;
    char best[COMMAND_VALUE], loss[COMMAND_VALUE], acc[COMMAND_VALUE], out[4096];
    command_value(trained, "\"event\":\"done\"", 0, "best_epoch", best);
    command_value(trained, "\"event\":\"epoch\"", atoi(best), "valid_loss", loss);
    command_value(trained, "\"event\":\"epoch\"", atoi(best), "valid_acc", acc);
    RUN_WELL(out, "eval", "run/model.safetensors", "d", "--json", "--threads", "2", "-j", "3");
    check_eval(out, loss, acc);
    check_contains(out, "\"n\":18,");
    command_value(trained, "\"event\":\"epoch\"", EPOCHS - 1, "valid_loss", loss);
    command_value(trained, "\"event\":\"epoch\"", EPOCHS - 1, "valid_acc", acc);
    RUN_WELL(out, "eval", "run/last.safetensors", "d", "--json", "--threads", "2");
    check_eval(out, loss, acc);
}

/* A folder of classes: the part that train held out comes back by itself, or with the same seed. Of
 * other pictures all count. */
static void test_eval_held_out(void **state) {
    (void)state;
    char best[COMMAND_VALUE], loss[COMMAND_VALUE], acc[COMMAND_VALUE], out[8192];
    RUN_WELL(out, "train", "--recipe", "chapter", "d/train", "--epochs", "2", "-q", "--json",
             "--valid-pct", "30", "--seed", "7", "-o", "held", SMALL);
    check_contains(out, "\"train\":24,\"valid\":12,");
    command_value(out, "\"event\":\"done\"", 0, "best_epoch", best);
    command_value(out, "\"event\":\"epoch\"", atoi(best), "valid_loss", loss);
    command_value(out, "\"event\":\"epoch\"", atoi(best), "valid_acc", acc);
    RUN_WELL(out, "eval", "held/model.safetensors", "d/train", "--json", "--valid-pct", "30",
             "--seed", "7", "--threads", "2");
    check_eval(out, loss, acc);
    check_contains(out, "\"n\":12,");
    RUN_WELL(out, "eval", "held/model.safetensors", "d/train", "--json", "--threads", "2");
    check_eval(out, loss, acc);
    check_contains(out, "\"n\":12,");
    check_contains(out, "\"held_out\":true");
    RUN_WELL(out, "eval", "held/model.safetensors", "d/train", "--json", "--valid-pct", "100");
    check_contains(out, "\"n\":36,");
    assert_null(strstr(out, "held_out"));
    RUN_WELL(out, "eval", "held/model.safetensors", "d/valid", "--json");
    check_contains(out, "\"n\":18,");
    assert_null(strstr(out, "held_out"));
}

/* ---- bare weights ---- */

/* The trained tensors without the metadata. */
static void strip(const char *from, const char *to) {
    char target[TREE_PATH + 256];
    kn_st_file *file;
    kn_error error = {0};
    assert_int_equal(kn_st_open(&file, root_path(from), NULL, &error), KN_OK);
    snprintf(target, sizeof target, "%s", root_path(to));
    assert_int_equal(kn_st_write(target, file->tensor, file->tensors, NULL, 0, NULL, &error),
                     KN_OK);
    kn_st_close(file);
}

static void test_bare_weights(void **state) {
    (void)state;
    char mean[COMMAND_VALUE], std[COMMAND_VALUE], out[16384], loss[COMMAND_VALUE],
        acc[COMMAND_VALUE];
    strip("run/model.safetensors", "bare.st");
    RUN_WELL(out, "info", "run/model.safetensors", "--json");
    command_value(out, "info", 0, "mean", mean);
    command_value(out, "info", 0, "std", std);
    mean[strlen(mean) - 1] = std[strlen(std) - 1] = '\0'; /* the brackets */
    RUN_WELL(out, "eval", "run/model.safetensors", "d", "--json");
    command_value(out, "eval", 0, "loss", loss);
    command_value(out, "eval", 0, "acc", acc);
    RUN_WELL(out, "eval", "--weights", "bare.st", "--model", "simple_cnn", "d", "--json", "--mean",
             mean + 1, "--std", std + 1, "--img-size", "32", "-b", "8");
    check_eval(out, loss, acc);
    RUN_WELL(out, "predict", "--weights", "bare.st", "--model", "simple_cnn",
             "d/valid/arrow/000.jpg", "--json");
    command_value(out, "path", 0, "label", acc);
    assert_true(acc[0] == '"' && isdigit((unsigned char)acc[1]));
    RUN_WELL(out, "predict", "--weights", "bare.st", "--model", "simple_cnn", "d", "--json");
    command_value(out, "path", 0, "label", acc); /* d's folders name the classes */
    assert_true(acc[0] == '"' && isalpha((unsigned char)acc[1]));
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--weights", "bare.st", "--epochs", "1",
             "-q", "--json", "-o", "on", "--lr", "1e-9", "--mean", mean + 1, "--std", std + 1,
             SMALL);
    command_value(out, "epoch", 0, "valid_acc", mean);
    RUN_WELL(out, "eval", "run/model.safetensors", "d", "--json");
    command_value(out, "eval", 0, "acc", acc);
    assert_string_equal(mean, acc);
}

/* ---- predict ---- */

static void test_predict(void **state) {
    (void)state;
    command_run run;
    char probs[COMMAND_VALUE], prob[COMMAND_VALUE], label[COMMAND_VALUE];
    tree_touch(root, "mixed/no picture.jpg");
    COMMAND(&run, HERE, "predict", "run/model.safetensors", "d/valid", "mixed",
            "d/train/bars/001.jpg", "gone.png", "--json");
    command_expect(&run, 3);
    assert_int_equal(command_lines(run.out), CLASSES * VALID + 3);
    assert_int_equal(command_lines(run.err), 2);
    check_contains(run.err, "kiln: mixed/no picture.jpg: ");
    check_contains(run.err, "kiln: gone.png: ");
    check_contains(run.out,
                   "{\"path\":\"mixed/no picture.jpg\",\"error\":\"mixed/no picture.jpg: ");
    check_contains(run.out, "{\"path\":\"gone.png\",\"error\":\"gone.png: ");
    command_value(run.out, "d/train/bars/001.jpg", 0, "probs", probs);
    command_value(run.out, "d/train/bars/001.jpg", 0, "prob", prob);
    command_value(run.out, "d/train/bars/001.jpg", 0, "label", label);
    double p[CLASSES], sum = 0, most = 0;
    assert_int_equal(sscanf(probs, "[%lf,%lf,%lf]", &p[0], &p[1], &p[2]), CLASSES);
    static const char *const names[] = {"\"arrow\"", "\"bars\"", "\"circle\""};
    for (int i = 0; i < CLASSES; i++) {
        sum += p[i];
        most = p[i] > most ? p[i] : most;
    }
    assert_true(fabs(sum - 1) < 1e-5);
    assert_true(fabs(atof(prob) - most) < 1e-12);
    for (int i = 0; i < CLASSES; i++)
        assert_int_equal(p[i] == most, strcmp(label, names[i]) == 0);
    command_free(&run);
}

/* As many right as eval says. */
static void test_predict_agrees(void **state) {
    (void)state;
    char out[8192], value[COMMAND_VALUE];
    int right = 0;
    RUN_WELL(out, "predict", "run/model.safetensors", "d/valid");
    assert_int_equal(command_lines(out), CLASSES * VALID);
    for (char *line = strtok(out, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char label[32], path[256];
        double prob;
        assert_int_equal(sscanf(line, "%31s %lf %255s", label, &prob, path), 3);
        assert_true(prob > 1.0 / CLASSES && prob <= 1);
        right += strncmp(path + strlen("d/valid/"), label, strlen(label)) == 0;
    }
    RUN_WELL(out, "eval", "run/model.safetensors", "d", "--json");
    command_value(out, "eval", 0, "acc", value);
    assert_int_equal(right, (int)lround(atof(value) * CLASSES * VALID));
}

/* ---- check, info, doctor, help ---- */

static void test_check(void **state) {
    (void)state;
    char out[4096];
    RUN_WELL(out, "check", "d", "--json", "-j", "3");
    check_contains(out, "{\"event\":\"check\",\"train\":36,\"valid\":18,\"classes\":[\"arrow\","
                        "\"bars\",\"circle\"],\"bad\":0,");
    check_contains(out, "\"train_per_class\":[12,12,12],\"valid_per_class\":[6,6,6],"
                        "\"width\":{\"min\":96,\"median\":96,\"max\":96},");
    check_contains(out, "\"forms\":{\"RGB\":54,");
    check_contains(out, "\"bad_images\":[],\"same\":0,");
    RUN_WELL(out, "check", "d");
    check_contains(out, "total           36        18\n");
    check_contains(out, "\nbad      0\n");
}

static void test_info(void **state) {
    (void)state;
    char out[8192];
    RUN_WELL(out, "info", "--model", "simple_cnn");
    check_contains(out, "[128,10]                 98,730      3,982,592\n");
    RUN_WELL(out, "info", "--model", "simple_cnn", "--shapes");
    assert_string_equal(out, "input        [128,64,64,3]\n"
                             "layers.0     [128,32,32,16]\n"
                             "layers.1     [128,16,16,32]\n"
                             "layers.2     [128,8,8,64]\n"
                             "layers.3     [128,4,4,128]\n"
                             "layers.4     [128,128]\n"
                             "layers.5     [128,10]\n");
    /* A real batch: d holds 54 pictures and no more. */
    RUN_WELL(out, "info", "--model", "simple_cnn", "d", "--shapes");
    check_contains(out, "input        [54,64,64,3]\n");
    check_contains(out, "layers.5     [54,10]\n");
    RUN_WELL(out, "info", "run/model.safetensors", "d", "--shapes", "-b", "2");
    check_contains(out, "input        [2,32,32,3]\n");
    RUN_WELL(out, "info", "run/model.safetensors", "--json", "-b", "2");
    check_contains(out, "\"classes\":[\"arrow\",\"bars\",\"circle\"]");
    check_contains(out, "\"input\":[2,32,32,3],\"output\":[2,3],\"parameters\":97827,");
}

static void test_doctor_and_help(void **state) {
    (void)state;
    static const char *const commands[] = {"train", "predict", "eval",  "explain",
                                           "check", "info",    "doctor"};
    char out[8192];
    RUN_WELL(out, "doctor");
    check_contains(out, "kiln             " KN_VERSION "\n");
    check_contains(out, "device reference plain loops");
    check_contains(out, root);
    RUN_WELL(out, "--version");
    assert_string_equal(out, "kiln " KN_VERSION "\n");
    RUN_WELL(out, "--help");
    check_contains(out, "  kiln train photos ");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        RUN_WELL(out, commands[i], "--help");
        check_contains(out, commands[i]);
        check_contains(out, "--json");
    }
}

/* ---- run folders ---- */

static void test_numbered_runs(void **state) {
    (void)state;
    char out[8192], value[COMMAND_VALUE];
    tree_folder(root, "runs/7");
    tree_folder(root, "runs/x9");
    for (int i = 8; i < 10; i++) {
        char want[32];
        RUN_WELL(out, "train", "--recipe", "chapter", "d", "--epochs", "1", "-q", "--json", SMALL);
        command_value(out, "done", 0, "run", value);
        snprintf(want, sizeof want, "\"runs/%d\"", i);
        assert_string_equal(value, want);
    }
}

static void test_never_overwritten(void **state) {
    (void)state;
    command_run run;
    struct stat before, after;
    assert_int_equal(stat(root_path("run/model.safetensors"), &before), 0);
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "--epochs", "1", "-o", "run", SMALL);
    command_expect(&run, 2);
    assert_string_equal(run.err, "kiln: run: already holds something; a run is never "
                                 "overwritten\n");
    assert_int_equal(stat(root_path("run/model.safetensors"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtime, after.st_mtime);
    command_free(&run);
}

/* ---- Ctrl-C ---- */

static void interrupt(const char *folder, const char *until, command_run *run) {
    const struct timespec moment = {.tv_nsec = 10000000};
    char wait_for[256];
    command_start(run, HERE,
                  (const char *const[]){"train", "--recipe", "chapter", "d", "--epochs", "100000",
                                        "-o", folder, SMALL, NULL});
    snprintf(wait_for, sizeof wait_for, "%s/%s", folder, until);
    for (int i = 0; i < 6000 && !root_has(wait_for); i++)
        nanosleep(&moment, NULL);
    assert_int_equal(kill(run->pid, SIGINT), 0);
    command_wait(run);
    command_expect(run, 130);
}

static void test_interrupt(void **state) {
    (void)state;
    command_run run;
    char out[4096];
    interrupt("stopped", "last.safetensors", &run);
    check_contains(run.err,
                   "kiln: interrupted and saved; stopped/model.safetensors is the best so far");
    command_free(&run);
    RUN_WELL(out, "eval", "stopped/model.safetensors", "d", "--json");
    assert_true(root_has("stopped/history.csv"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_events),
        cmocka_unit_test(test_train_done),
        cmocka_unit_test(test_run_folder),
        cmocka_unit_test(test_human),
        cmocka_unit_test(test_bar),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_eval_repeats_training),
        cmocka_unit_test(test_eval_held_out),
        cmocka_unit_test(test_bare_weights),
        cmocka_unit_test(test_predict),
        cmocka_unit_test(test_predict_agrees),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_doctor_and_help),
        cmocka_unit_test(test_numbered_runs),
        cmocka_unit_test(test_never_overwritten),
        cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
