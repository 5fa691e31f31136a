/* test_cli_device.c - a training that is interrupted on one device and goes on on another: the same
 * but for the last digits, and said so; on the same device bit for bit. KILN_TEST_DEVICE is one of
 * the two, the other cpu, or reference where that is the first. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <kiln/checkpoint.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { MOST_TRIES = 20 };

#define TRAIN                                                                                      \
    "train", "d", "--recipe", "chapter", "--epochs", "2", "-b", "8", "--img-size", "32", "--lr",   \
        "0.02", "--momentum", "0.9", "--ema", "0.9", "--mixup", "0.4", "--seed", "11",             \
        "--threads", "1", "--json", "--checkpoint-every", "0"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 24, 8);
    return 0;
}

/* Of a training that was interrupted: it stands within an epoch. */
static bool stands_within(const char *name) {
    char path[TREE_PATH + 64];
    kn_checkpoint *c;
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(kn_checkpoint_open(&c, path, NULL, NULL), KN_OK);
    assert_non_null(c);
    kn_checkpoint_place place = kn_checkpoint_at(c);
    kn_checkpoint_close(c);
    return place.batch > 0 && place.batch < place.batches;
}

/* Trains on a device until it is told to stop, after a batch that is not an epoch's last. */
static void interrupt(const char *device, const char *name) {
    char path[TREE_PATH + 64];
    struct stat st;
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        command_run run;
        snprintf(path, sizeof path, "%s/%s/last.ckpt", root, name);
        command_start(&run, HERE,
                      (const char *const[]){TRAIN, "--device", device, "-o", name, NULL});
        while (stat(path, &st) != 0 && !command_ended(&run))
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        kill(run.pid, SIGTERM);
        command_wait(&run);
        bool stopped = run.code == 130 && stands_within(name);
        command_free(&run);
        if (stopped)
            return;
        snprintf(path, sizeof path, "%s/%s", root, name);
        tree_remove(path);
    }
    fail_msg("%s: %d trainings were over before they were interrupted", device, MOST_TRIES);
}

typedef struct result {
    char weights[COMMAND_VALUE];
    double train_loss, valid_loss; /* of the last epoch */
} result;

static result result_of(const char *out) {
    result r;
    char value[COMMAND_VALUE];
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", r.weights);
    command_value(out, "\"epoch\":1", 0, "train_loss", value);
    r.train_loss = strtod(value, NULL);
    command_value(out, "\"epoch\":1", 0, "valid_loss", value);
    r.valid_loss = strtod(value, NULL);
    return r;
}

static void check_move(const char *from, const char *to) {
    command_run run;
    char part[128], path[TREE_PATH + 64];
    bool same = strcmp(from, to) == 0;
    COMMAND(&run, HERE, TRAIN, "--device", from, "-o", "whole");
    command_expect(&run, 0);
    result want = result_of(run.out);
    command_free(&run);
    interrupt(from, "moved");
    COMMAND(&run, HERE, "train", "--resume", "moved", "--json", "--device", to);
    command_expect(&run, 0);
    result got = result_of(run.out);
    print_message("from %s to %s: train_loss %.6f (%.6f), valid_loss %.6f (%.6f)\n", from, to,
                  got.train_loss, want.train_loss, got.valid_loss, want.valid_loss);
    if (same) {
        assert_string_equal(got.weights, want.weights);
    } else {
        snprintf(part, sizeof part, "began on device %s, goes on on %s: the last digits", from, to);
        check_contains(run.err, part);
        assert_true(fabs(got.train_loss - want.train_loss) <= 1e-3 * want.train_loss);
        assert_true(fabs(got.valid_loss - want.valid_loss) <= 1e-3 * want.valid_loss);
    }
    command_free(&run);
    static const char *const runs[] = {"whole", "moved"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", root, runs[i]);
        tree_remove(path);
    }
}

static void it_goes_on_where_it_began(void **state) {
    (void)state;
    check_move(test_device(), test_device());
}

static void it_goes_on_elsewhere(void **state) {
    (void)state;
    check_move(test_device(), test_other_device());
}

static void and_comes_from_elsewhere(void **state) {
    (void)state;
    check_move(test_other_device(), test_device());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_on_where_it_began),
        cmocka_unit_test(it_goes_on_elsewhere),
        cmocka_unit_test(and_comes_from_elsewhere),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
