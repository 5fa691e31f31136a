/* test_cli_eval.c - kiln eval beyond loss and accuracy: figures that agree with each other and with
 * predict, and the files that -o writes. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"
#include "support/svg.h"

#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 7, TRAIN = 6, VALID = 5, ALL = CLASSES * VALID };

#define RUN_WELL(out, ...) COMMAND_WELL(out, HERE, __VA_ARGS__)

static int prepare(void **state) {
    (void)state;
    char out[8192];
    tree_make(root);
    command_data(root, "d", CLASSES, TRAIN, VALID);
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--epochs", "3", "-o", "run", "-q", "-b",
             "8", "--img-size", "32", "--threads", "2");
    RUN_WELL(out, "eval", "run/model.safetensors", "d", "-o", "ev", "--threads", "2");
    return 0;
}

/* ---- stdout ---- */

/* The first line is what it always was. */
static void test_lines(void **state) {
    (void)state;
    char out[8192], json[16384], loss[COMMAND_VALUE], acc[COMMAND_VALUE], want[256];
    RUN_WELL(out, "eval", "run/model.safetensors", "d", "--threads", "2");
    RUN_WELL(json, "eval", "run/model.safetensors", "d", "--threads", "2", "--json");
    assert_int_equal(command_lines(json), 1);
    assert_memory_equal(json, "{\"event\":\"eval\",\"n\":35,\"loss\":", 30);
    command_value(json, "eval", 0, "loss", loss);
    command_value(json, "eval", 0, "acc", acc);
    snprintf(want, sizeof want, "35 pictures: loss %.4f, accuracy %.4f\ntop-5 accuracy ",
             atof(loss), atof(acc));
    assert_memory_equal(out, want, strlen(want));
    check_contains(out, "\nclass          precision   recall       f1         n\narrow  ");
    check_contains(out, "\nmean  ");
    check_contains(out, "\nweighted mean  ");
    check_contains(out, "\nmost confused\nlabel ");
    assert_null(strstr(out, "files"));
    assert_false(root_has("eval")); /* nothing is written without -o */
}

/* Where OpenMP may not give as many threads as are asked for, the figures are the same. */
static void test_fewer_threads(void **state) {
    (void)state;
    static char two[16384], one[16384];
    char loss[2][COMMAND_VALUE];
    RUN_WELL(two, "eval", "run/model.safetensors", "d", "--json", "--threads", "2");
    setenv("OMP_THREAD_LIMIT", "1", 1);
    RUN_WELL(one, "eval", "run/model.safetensors", "d", "--json", "--threads", "2");
    unsetenv("OMP_THREAD_LIMIT");
    command_value(two, "eval", 0, "loss", loss[0]);
    command_value(one, "eval", 0, "loss", loss[1]);
    assert_true(fabs(atof(loss[0]) - atof(loss[1])) < 1e-4);
}

/* Pictures of 64 by 64 become 32 by 32: by decoding them so, or by resizing. */
static void test_fast_decoding(void **state) {
    (void)state;
    static char exact[16384], fast[16384];
    char loss[2][COMMAND_VALUE], prob[2][COMMAND_VALUE];
    RUN_WELL(exact, "eval", "run/model.safetensors", "d", "--json", "--decode", "exact");
    RUN_WELL(fast, "eval", "run/model.safetensors", "d", "--json", "--decode", "fast");
    command_value(exact, "eval", 0, "loss", loss[0]);
    command_value(fast, "eval", 0, "loss", loss[1]);
    assert_string_not_equal(loss[0], loss[1]);
    assert_true(fabs(atof(loss[0]) - atof(loss[1])) < 0.05);
    RUN_WELL(exact, "predict", "run/model.safetensors", "d/valid", "--json");
    RUN_WELL(fast, "predict", "run/model.safetensors", "d/valid", "--json", "--decode", "fast");
    int differ = 0;
    for (int i = 0; i < ALL; i++) {
        command_value(exact, "{\"path\"", i, "prob", prob[0]);
        command_value(fast, "{\"path\"", i, "prob", prob[1]);
        differ += strcmp(prob[0], prob[1]) != 0;
        assert_true(fabs(atof(prob[0]) - atof(prob[1])) < 0.05);
    }
    assert_true(differ > 0);
}

static double number_at(const char *json, const char *key, int n) {
    const char *at = json;
    for (int i = 0; i <= n; i++) {
        at = strstr(at, key);
        assert_non_null(at);
        at += strlen(key);
    }
    return atof(at);
}

/* Recall weighted by support is accuracy; supports add up; top-5 lies above it. */
static void test_figures_agree(void **state) {
    (void)state;
    char json[16384];
    RUN_WELL(json, "eval", "run/model.safetensors", "d", "--json");
    double acc = number_at(json, "\"acc\":", 0), top5 = number_at(json, "\"top5_acc\":", 0),
           sum = 0;
    const char *weighted = strstr(json, "\"weighted\":"), *classes = strstr(json, "\"per_class\":");
    assert_non_null(weighted);
    assert_non_null(classes);
    assert_true(fabs(number_at(weighted, "\"recall\":", 0) - acc) < 1e-8);
    assert_true(top5 >= acc && top5 <= 1);
    for (int i = 0; i < CLASSES; i++) {
        assert_int_equal(lround(number_at(classes, "\"n\":", i)), VALID);
        sum += number_at(classes, "\"recall\":", i) / CLASSES;
    }
    assert_true(fabs(sum - acc) < 1e-8);
}

/* Few classes have no top 5. */
static void test_few_classes(void **state) {
    (void)state;
    char out[8192];
    command_data(root, "few", 2, 4, 2);
    RUN_WELL(out, "train", "--recipe", "chapter", "few", "--epochs", "1", "-o", "few-run", "-q",
             "-b", "4", "--img-size", "16");
    RUN_WELL(out, "eval", "few-run/model.safetensors", "few", "--json");
    assert_null(strstr(out, "top5"));
    RUN_WELL(out, "eval", "few-run/model.safetensors", "few");
    assert_null(strstr(out, "top-5"));
}

/* ---- test-time augmentation, and the most probable classes ---- */

/* eval and predict mean the same by --tta, and it is not what they say without. */
static void test_tta(void **state) {
    (void)state;
    char plain[16384], json[16384], out[16384], truth[COMMAND_VALUE], label[COMMAND_VALUE];
    int right = 0;
    RUN_WELL(plain, "eval", "run/model.safetensors", "d", "--json", "--threads", "2");
    RUN_WELL(json, "eval", "run/model.safetensors", "d", "--json", "--tta", "--threads", "2");
    check_contains(json, "\"tta\":true,");
    assert_true(number_at(json, "\"loss\":", 0) != number_at(plain, "\"loss\":", 0));
    RUN_WELL(out, "predict", "run/model.safetensors", "d/valid", "--json", "--tta", "--threads",
             "2");
    for (int i = 0; i < ALL; i++) {
        command_value(out, "\"path\"", i, "label", label);
        command_value(out, "\"path\"", i, "path", truth);
        right += strncmp(truth + strlen("\"d/valid/"), label + 1, strlen(label) - 2) == 0;
    }
    assert_int_equal(right, lround(number_at(json, "\"acc\":", 0) * ALL));
}

static void test_top(void **state) {
    (void)state;
    char out[16384], label[COMMAND_VALUE];
    RUN_WELL(out, "predict", "run/model.safetensors", "d/valid/ring", "--top", "3", "--json");
    for (char *line = out; *line != '\0'; line = strchr(line, '\n') + 1) {
        const char *top = strstr(line, "\"top\":[{\"label\":");
        assert_non_null(top);
        double last = 2, first = number_at(line, "\"prob\":", 0);
        for (int k = 0; k < 3; k++) {
            double prob = number_at(top, "\"prob\":", k);
            assert_true(prob <= last && (k > 0 || prob == first));
            last = prob;
        }
        command_value(line, "path", 0, "label", label);
        assert_memory_equal(top + strlen("\"top\":[{\"label\":"), label, strlen(label));
    }
    RUN_WELL(out, "predict", "run/model.safetensors", "d/valid/ring/000.jpg", "-k", "100");
    int columns = 0;
    for (const char *c = strstr(out, "  0."); c != NULL; c = strstr(c + 1, "  0."))
        columns++;
    assert_int_equal(columns, CLASSES); /* no more than there are */
    RUN_WELL(out, "predict", "run/model.safetensors", "d/valid/ring/000.jpg", "--json");
    assert_null(strstr(out, "\"top\""));
}

/* ---- files ---- */

static void test_confusion_svg(void **state) {
    (void)state;
    static char svg[65536];
    root_read("ev/confusion.svg", svg, sizeof svg);
    svg_check(svg);
    check_contains(svg, ">Confusion matrix<");
    check_contains(svg, ">crescent<");
}

/* The matrix's sum is all pictures, its diagonal the right ones. */
static void test_confusion_csv(void **state) {
    (void)state;
    char text[4096], json[16384];
    int sum = 0, right = 0, row = 0;
    root_read("ev/confusion.csv", text, sizeof text);
    assert_memory_equal(text, "label,arrow,bars,circle,", 24);
    assert_int_equal(command_lines(text), CLASSES + 1);
    for (char *line = strchr(text, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1, row++) {
        const char *cell = line;
        for (int column = 0; column < CLASSES; column++) {
            cell = strchr(cell, ',') + 1;
            sum += atoi(cell);
            right += column == row ? atoi(cell) : 0;
        }
    }
    assert_int_equal(sum, ALL);
    RUN_WELL(json, "eval", "run/model.safetensors", "d", "--json");
    assert_int_equal(right, lround(number_at(json, "\"acc\":", 0) * ALL));
    root_read("ev/per_class.csv", text, sizeof text);
    assert_memory_equal(text, "label,precision,recall,f1,n\narrow,", 34);
    assert_int_equal(command_lines(text), CLASSES + 1);
}

/* predictions.csv says of each picture what predict says. */
static void test_predictions_csv(void **state) {
    (void)state;
    char text[16384], out[16384], prob[COMMAND_VALUE], label[COMMAND_VALUE];
    root_read("ev/predictions.csv", text, sizeof text);
    RUN_WELL(out, "predict", "run/model.safetensors", "d/valid", "--json", "--threads", "2");
    assert_int_equal(command_lines(text), ALL + 1);
    assert_memory_equal(text, "path,label,predicted,prob,label_prob,rank,loss\n", 47);
    char *line = strchr(text, '\n') + 1;
    for (int i = 0; i < ALL; i++, line = strchr(line, '\n') + 1) {
        char path[128], truth[32], predicted[40];
        double p, own, loss;
        int rank;
        assert_int_equal(sscanf(line, "%127[^,],%31[^,],%31[^,],%lf,%lf,%d,%lf", path, truth,
                                predicted + 1, &p, &own, &rank, &loss),
                         7);
        predicted[0] = '"';
        strcat(predicted, "\"");
        command_value(out, path, 0, "label", label);
        command_value(out, path, 0, "prob", prob);
        assert_string_equal(predicted, label);
        assert_true(fabs(p - atof(prob)) < 1e-6);
        assert_true(fabs(loss + log(own)) < 1e-4);
        assert_true(rank >= 1 && rank <= CLASSES);
        assert_memory_equal(path + strlen("d/valid/"), truth, strlen(truth));
        assert_int_equal(rank == 1, memcmp(truth, predicted + 1, strlen(truth)) == 0);
    }
}

/* train ends with the matrix of the model that it saved. */
static void test_confusion_of_training(void **state) {
    (void)state;
    char of_training[4096], of_eval[4096];
    root_read("run/confusion.csv", of_training, sizeof of_training);
    root_read("ev/confusion.csv", of_eval, sizeof of_eval);
    assert_string_equal(of_training, of_eval);
    assert_true(root_has("run/confusion.svg"));
}

static void test_never_overwritten(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "eval", "run/model.safetensors", "d", "-o", "run");
    command_expect(&run, 2);
    assert_string_equal(run.out, "");
    check_contains(run.err, "kiln: run: already holds something");
    command_free(&run);
}

/* A file that cannot be written whole leaves no half of a folder. */
static void test_disk_full(void **state) {
    (void)state;
    command_run run;
    command_opts opts = HERE;
    opts.file_limit = 600;
    COMMAND(&run, opts, "eval", "run/model.safetensors", "d", "-o", "full");
    command_skip_if_openmp_stopped(&run);
    command_expect(&run, 1);
    check_contains(run.err, "kiln: full/");
    assert_memory_equal(run.out, "35 pictures: loss ", 18); /* what was computed is told */
    assert_null(strstr(run.out, "files"));
    assert_false(root_has("full"));
    command_free(&run);
}

/* Names that CSV must quote come back whole. */
static void test_odd_names(void **state) {
    (void)state;
    char out[8192], text[4096];
    command_data(root, "odd", 2, 4, 2);
    static const char *const parts[] = {"train", "valid"};
    for (int i = 0; i < 2; i++) {
        char from[TREE_PATH + 256], to[TREE_PATH + 256];
        snprintf(from, sizeof from, "%s/odd/%s/arrow", root, parts[i]);
        snprintf(to, sizeof to, "%s/odd/%s/a \"b\", c", root, parts[i]);
        assert_int_equal(rename(from, to), 0);
    }
    RUN_WELL(out, "train", "--recipe", "chapter", "odd", "--epochs", "1", "-o", "odd-run", "-q",
             "-b", "4", "--img-size", "16");
    RUN_WELL(out, "eval", "odd-run/model.safetensors", "odd", "-o", "odd-ev", "--json");
    check_contains(out, "\"output\":\"odd-ev\"");
    root_read("odd-ev/confusion.csv", text, sizeof text);
    check_contains(text, "label,\"a \"\"b\"\", c\",bars\n");
    root_read("odd-ev/predictions.csv", text, sizeof text);
    check_contains(text, "\"odd/valid/a \"\"b\"\", c/000.jpg\",\"a \"\"b\"\", c\",");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_fewer_threads),
        cmocka_unit_test(test_fast_decoding),
        cmocka_unit_test(test_figures_agree),
        cmocka_unit_test(test_few_classes),
        cmocka_unit_test(test_tta),
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_confusion_svg),
        cmocka_unit_test(test_confusion_csv),
        cmocka_unit_test(test_predictions_csv),
        cmocka_unit_test(test_confusion_of_training),
        cmocka_unit_test(test_never_overwritten),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_odd_names),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
