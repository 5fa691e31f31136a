/* test_cli_bf16.c - kiln train --dtype bf16: it learns what f32 learns, whoever loads the pictures;
 * kiln eval finds its numbers again; a device without it says so. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <kiln/tensor.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 12, 6);
    return 0;
}

static kn_ctx *open_ctx(void) {
    kn_ctx *ctx;
    kn_error error = {0};
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){0}, &error), KN_OK);
    return ctx;
}

static bool cpu_can(void) {
    kn_ctx *ctx = open_ctx();
    bool can = kn_device_can(kn_device_open(ctx, "cpu"), KN_BF16);
    kn_ctx_free(ctx);
    return can;
}

typedef struct result {
    char sha[COMMAND_VALUE], loss[COMMAND_VALUE], valid[COMMAND_VALUE];
} result;

static result train(const char *run_name, const char *device, const char *dtype,
                    const char *workers, const char *model) {
    command_run run;
    result r;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "-o", run_name, "--json", "-b", "8",
            "--img-size", "32", "--epochs", "2", "--device", device, "--dtype", dtype, "-j",
            workers, "--model", model, "--lr", "0.02", "--mean", "0.5,0.5,0.5", "--std",
            "0.3,0.3,0.3");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", r.sha);
    command_value(run.out, "\"event\":\"epoch\"", 1, "train_loss", r.loss);
    command_value(run.out, "\"event\":\"epoch\"", 1, "valid_loss", r.valid);
    command_free(&run);
    return r;
}

static void test_learns_as_f32(void **state) {
    (void)state;
    bool own = cpu_can();
    result whole = train("whole", "reference", "f32", "1", "simple_cnn");
    result slow = train("slow", "reference", "bf16", "1", "simple_cnn");
    assert_true(fabs(atof(slow.loss) - atof(whole.loss)) < 0.02);
    assert_string_not_equal(slow.sha, whole.sha);
    if (!own) {
        print_message("SKIPPED: device cpu has no bf16 here\n");
        return;
    }
    result fast = train("fast", "cpu", "bf16", "1", "simple_cnn");
    assert_true(fabs(atof(fast.loss) - atof(whole.loss)) < 0.02);
    result many = train("many", "cpu", "bf16", "5", "simple_cnn");
    assert_string_equal(many.sha, fast.sha);
}

/* Norms, pools, residuals and a shortcut that is pooled. */
static void test_residual_net(void **state) {
    (void)state;
    if (!cpu_can()) {
        print_message("SKIPPED: device cpu has no bf16 here, and plain loops take too long\n");
        return;
    }
    result whole = train("net32", "cpu", "f32", "1", "xresnet18");
    result half = train("net16", "cpu", "bf16", "1", "xresnet18");
    assert_true(fabs(atof(half.loss) - atof(whole.loss)) < 0.1 * atof(whole.loss));
}

static void test_eval_finds_it_again(void **state) {
    (void)state;
    char loss[COMMAND_VALUE];
    command_run run;
    result r = train("again", "reference", "bf16", "1", "simple_cnn");
    COMMAND(&run, HERE, "eval", "again/last.safetensors", "d", "--json", "--device", "reference",
            "--dtype", "bf16");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"eval\"", 0, "loss", loss);
    assert_string_equal(loss, r.valid);
    command_free(&run);
}

/* The first picture's probability of its label. */
static double probability(const char *dtype) {
    command_run run;
    char prob[COMMAND_VALUE];
    COMMAND(&run, HERE, "predict", "asked/last.safetensors", "d/valid", "--json", "--device",
            "reference", "--dtype", dtype);
    command_expect(&run, 0);
    command_value(run.out, "\"path\"", 0, "prob", prob);
    command_free(&run);
    return atof(prob);
}

static void test_predicts(void **state) {
    (void)state;
    train("asked", "reference", "f32", "1", "simple_cnn");
    double whole = probability("f32"), half = probability("bf16");
    assert_true(fabs(half - whole) > 0 && fabs(half - whole) < 0.02);
}

static void test_says_where_not(void **state) {
    (void)state;
    kn_ctx *ctx = open_ctx();
    kn_device *d = kn_device_open(ctx, "onednn");
    kn_error_take(ctx);
    kn_ctx_free(ctx);
    if (d == NULL) {
        print_message("SKIPPED: built without oneDNN\n");
        return;
    }
    command_run run;
    COMMAND(&run, HERE, "train", "d", "-o", "none", "--device", "onednn", "--dtype", "bf16");
    command_expect(&run, 4);
    check_contains(run.err, "--dtype bf16: device onednn cannot");
    check_contains(run.err, "--dtype f32 works everywhere");
    command_free(&run);
    COMMAND(&run, HERE, "predict", "asked/last.safetensors", "d/valid", "--device", "onednn",
            "--dtype", "bf16");
    command_expect(&run, 4);
    check_contains(run.err, "--dtype bf16: device onednn cannot");
    char path[TREE_PATH + 8];
    snprintf(path, sizeof path, "%s/none", root);
    assert_int_equal(access(path, F_OK), -1);
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns_as_f32),       cmocka_unit_test(test_residual_net),
        cmocka_unit_test(test_eval_finds_it_again), cmocka_unit_test(test_predicts),
        cmocka_unit_test(test_says_where_not),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
