/* test_cli_aug.c - the command with augmentation and resize methods: the same bits for any number
 * of loader threads, and pictures validated, evaluated and predicted as they were trained. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include "data/shapes.h"

#include <kiln/kiln.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 3, TRAIN = 8, VALID = 4 };

#define RUN_WELL(out, ...) COMMAND_WELL(out, HERE, __VA_ARGS__)
#define SMALL              "-b", "8", "--img-size", "32", "--threads", "2", "--epochs", "2", "-q", "--json"

static char *path_of(const char *relative) {
    static char path[TREE_PATH + 256];
    snprintf(path, sizeof path, "%s/%s", root, relative);
    return path;
}

/* Shapes in pictures of many aspects: only on those do the resize methods differ. */
static void draw(const char *part, uint32_t split, int class, int count) {
    static uint8_t pixels[KN_SHAPES_SIZE * KN_SHAPES_SIZE * 3];
    char name[256];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "d/%s/%s", part, kn_shapes_class(class));
        tree_folder(root, name);
        snprintf(name, sizeof name, "d/%s/%s/%d.jpg", part, kn_shapes_class(class), i);
        kn_shapes_draw(1, split, (uint32_t)(class * 100 + i), class, pixels);
        int narrow = KN_SHAPES_SIZE / 2 + 3 * i;
        assert_int_equal(kn_image_write_jpeg(path_of(name), pixels, i % 2 ? KN_SHAPES_SIZE : narrow,
                                             i % 2 ? narrow : KN_SHAPES_SIZE, 90, NULL),
                         KN_OK);
    }
}

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    for (int c = 0; c < CLASSES; c++) {
        draw("train", 0, c, TRAIN);
        draw("valid", 1, c, VALID);
    }
    return 0;
}

static void check_args(const char *part) {
    char text[4096];
    FILE *f = fopen(path_of("run/args.json"), "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    check_contains(text, part);
}

/* Pictures are mixed too: what is drawn for a batch must not depend on who read it either. */
static void sha_of(const char *aug, const char *workers, char value[COMMAND_VALUE]) {
    char out[8192];
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--aug", aug, "-j", workers, "--mixup",
             "0.4", "-o", "run", SMALL);
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", value);
    tree_remove(path_of("run"));
}

static void test_same_bits(void **state) {
    (void)state;
    static const char *const workers[] = {"1", "2", "8"};
    char strong[COMMAND_VALUE], value[COMMAND_VALUE];
    sha_of("strong", "1", strong);
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        sha_of("strong", workers[i], value);
        assert_string_equal(value, strong);
    }
    sha_of("standard", "1", value);
    assert_string_not_equal(value, strong);
    sha_of("none", "1", value);
    assert_string_not_equal(value, strong);
}

/* The file says how; eval then repeats training's validation, and another method does not. */
static void check_repeats(const char *trained, const char *method, const char *other) {
    char loss[COMMAND_VALUE], value[COMMAND_VALUE], out[8192];
    command_value(trained, "\"event\":\"epoch\"", 1, "valid_loss", loss);
    RUN_WELL(out, "info", "run/last.safetensors", "--json");
    command_value(out, "\"event\":\"info\"", 0, "resize", value);
    assert_memory_equal(value + 1, method, strlen(method));
    RUN_WELL(out, "eval", "run/last.safetensors", "d", "--json", "--threads", "2");
    command_value(out, "\"event\":\"eval\"", 0, "loss", value);
    assert_string_equal(value, loss);
    RUN_WELL(out, "eval", "run/last.safetensors", "d", "--json", "--threads", "2", "--resize",
             other);
    command_value(out, "\"event\":\"eval\"", 0, "loss", value);
    assert_string_not_equal(value, loss);
}

static void check_predicts(const char *method, const char *other) {
    char prob[COMMAND_VALUE], value[COMMAND_VALUE], out[8192];
    const char *model = "run/last.safetensors", *picture = "d/valid/arrow/0.jpg";
    RUN_WELL(out, "predict", model, picture, "--json");
    command_value(out, "path", 0, "prob", prob);
    RUN_WELL(out, "predict", model, picture, "--json", "--resize", method);
    command_value(out, "path", 0, "prob", value);
    assert_string_equal(value, prob);
    RUN_WELL(out, "predict", model, picture, "--json", "--resize", other);
    command_value(out, "path", 0, "prob", value);
    assert_string_not_equal(value, prob);
}

static void test_methods(void **state) {
    (void)state;
    static const char *const methods[] = {"squash", "crop", "pad", "squash"};
    char out[8192];
    for (int i = 0; i < 3; i++) {
        RUN_WELL(out, "train", "--recipe", "chapter", "d", "--resize", methods[i], "-o", "run",
                 SMALL);
        check_repeats(out, methods[i], methods[i + 1]);
        check_predicts(methods[i], methods[i + 1]);
        tree_remove(path_of("run"));
    }
}

/* Trained on crops, validated on the middle; what is given counts. */
static void test_method_of_crops(void **state) {
    (void)state;
    char out[8192];
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--aug", "strong", "-o", "run", SMALL);
    check_args("\"resize\":\"crop\",\"aug\":\"strong\"");
    check_repeats(out, "crop", "squash");
    tree_remove(path_of("run"));
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--aug", "light", "--resize", "squash", "-o",
             "run", SMALL);
    check_args("\"resize\":\"squash\",\"aug\":\"light\"");
    check_repeats(out, "squash", "crop");
    tree_remove(path_of("run"));
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--crop-min", "0.5", "-o", "run", SMALL);
    check_args("\"resize\":\"crop\",\"aug\":\"none\",\"crop-min\":0.5");
    tree_remove(path_of("run"));
}

/* --no-flip and --crop-min change what a preset says, and nothing else does the same. */
static void test_overrides(void **state) {
    (void)state;
    char out[8192], sha[4][COMMAND_VALUE];
    static const char *const lines[4][3] = {{"--aug=standard", "-j1", "-j1"},
                                            {"--aug=standard", "--no-flip", "-j1"},
                                            {"--aug=standard", "--crop-min", "0.9"},
                                            {"--aug=none", "--crop-min", "0.35"}};
    for (int i = 0; i < 4; i++) {
        RUN_WELL(out, "train", "--recipe", "chapter", "d", lines[i][0], lines[i][1], lines[i][2],
                 "-o", "run", SMALL);
        command_value(out, "\"event\":\"done\"", 0, "weights_sha256", sha[i]);
        tree_remove(path_of("run"));
    }
    assert_string_not_equal(sha[0], sha[1]);
    assert_string_not_equal(sha[0], sha[2]);
    assert_string_equal(sha[1], sha[3]); /* standard without its mirror images is its crops */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_method_of_crops),
        cmocka_unit_test(test_overrides),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
