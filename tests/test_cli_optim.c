/* test_cli_optim.c - kiln train with each optimizer and schedule, and what it does around a step:
 * the same bits again, the rates that were asked for, and the averaged weights in the files. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLASSES = 3, TRAIN = 8, VALID = 4, EPOCHS = 2, STEPS = EPOCHS * CLASSES * TRAIN / 8 };

#define RUN_WELL(out, ...) COMMAND_WELL(out, HERE, __VA_ARGS__)
#define SMALL              "-b", "8", "--img-size", "32", "--threads", "2", "--epochs", "2", "-q", "--json"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", CLASSES, TRAIN, VALID);
    return 0;
}

/* Each optimizer, without and with everything around it: another result than the others', and the
 * same from any number of loader threads. */
static void test_optimizers(void **state) {
    (void)state;
    static const char *const optimizers[] = {"sgd", "adamw", "radam", "ranger", "muon"};
    enum { COUNT = sizeof optimizers / sizeof optimizers[0] };
    char out[8192], sha[2 * COUNT][COMMAND_VALUE], again[COMMAND_VALUE], folder[64];
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < 3; k++) {
            snprintf(folder, sizeof folder, "%s-%d", optimizers[i], k);
            const char *workers = k == 2 ? "3" : "1";
            if (k == 0)
                RUN_WELL(out, "train", "--recipe", "chapter", "d", "-o", folder, "-j", workers,
                         "--lr", "0.01", "--opt", optimizers[i], SMALL);
            else
                RUN_WELL(out, "train", "--recipe", "chapter", "d", "-o", folder, "-j", workers,
                         "--lr", "0.01", "--opt", optimizers[i], "--momentum", "0.8", "--sched",
                         "one-cycle-cos", "--clip", "0.5", "--accumulate", "2", "--ema", "0.9",
                         SMALL);
            command_value(out, "\"event\":\"done\"", 0, "weights_sha256",
                          k < 2 ? sha[2 * i + k] : again);
        }
    assert_string_equal(again, sha[2 * COUNT - 1]);
    for (int i = 0; i < COUNT; i++) {
        assert_string_not_equal(sha[2 * i], sha[2 * i + 1]);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(sha[2 * i], sha[2 * k]);
    }
}

static void test_nesterov_and_bias(void **state) {
    (void)state;
    char out[8192], sha[4][COMMAND_VALUE];
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "-o", "n0", "--momentum", "0.9", "--wd",
             "0.1", SMALL);
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", sha[0]);
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "-o", "n1", "--momentum", "0.9", "--wd",
             "0.1", "--nesterov", SMALL);
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", sha[1]);
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "-o", "n2", "--momentum", "0.9", "--wd",
             "0.1", "--no-bias-wd", SMALL);
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", sha[2]);
    assert_string_not_equal(sha[0], sha[1]);
    assert_string_not_equal(sha[0], sha[2]);
}

/* The rate that an epoch reports is that of its last step. */
static void test_schedules(void **state) {
    (void)state;
    char out[8192], value[COMMAND_VALUE], folder[64];
    for (int kind = 0; kn_schedule_name((kn_schedule_kind)kind) != NULL; kind++)
        for (int warm = 0; warm < (kind == KN_SCHED_COSINE ? 2 : 1); warm++) {
            kn_schedule s = {.kind = (kn_schedule_kind)kind, .warmup = warm ? 1.5 / EPOCHS : 0};
            snprintf(folder, sizeof folder, "s-%d-%d", kind, warm);
            RUN_WELL(out, "train", "--recipe", "chapter", "d", "-o", folder, "--lr", "0.02",
                     "--sched", kn_schedule_name(s.kind), "--warmup", warm ? "1.5" : "0", SMALL);
            for (int epoch = 0; epoch < EPOCHS; epoch++) {
                double last = (double)(epoch + 1) * STEPS / EPOCHS - 1;
                double want = kn_schedule_lr(&s, 0.02, last / STEPS);
                command_value(out, "\"event\":\"epoch\"", epoch, "lr", value);
                if (!(fabs(strtod(value, NULL) - want) <= 1e-8))
                    fail_msg("%s, epoch %d: %s, expected %g", folder, epoch, value, want);
            }
        }
}

/* What was validated is what the files hold: the averages. */
static void test_averages_are_saved(void **state) {
    (void)state;
    char raw[8192], out[8192], trained[COMMAND_VALUE], value[COMMAND_VALUE];
    RUN_WELL(raw, "train", "--recipe", "chapter", "d", "-o", "raw", "--opt", "muon", "--lr", "0.02",
             SMALL);
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "-o", "ema", "--opt", "muon", "--lr", "0.02",
             "--ema", "0.7", SMALL);
    for (int epoch = 0; epoch < EPOCHS; epoch++) { /* training goes on with the raw weights */
        command_value(raw, "\"event\":\"epoch\"", epoch, "train_loss", trained);
        command_value(out, "\"event\":\"epoch\"", epoch, "train_loss", value);
        assert_string_equal(value, trained);
    }
    command_value(raw, "\"event\":\"epoch\"", EPOCHS - 1, "valid_loss", value);
    command_value(out, "\"event\":\"epoch\"", EPOCHS - 1, "valid_loss", trained);
    assert_string_not_equal(value, trained);
    RUN_WELL(out, "eval", "ema/last.safetensors", "d", "--json", "--threads", "2");
    command_value(out, "\"event\":\"eval\"", 0, "loss", value);
    assert_string_equal(value, trained);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizers),
        cmocka_unit_test(test_nesterov_and_bias),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_averages_are_saved),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
