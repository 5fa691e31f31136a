/* test_cli_faults.c - every call of the command that asks the system for something is made to fail,
 * the first, the second and so on until a run passes without: once, and from there on for ever. No
 * crash, no hang; a message with a reason and an exit code that is not 0; what was saved before is
 * intact. With KILN_TEST_FULL each call, else a part of them. */
#include "support/check.h"
#include "support/command.h"
#include "support/tree.h"

#include "core/ctx.h"

#include <kiln/checkpoint.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[TREE_PATH];

#define HERE                                                                                       \
    (command_opts) {                                                                               \
        .folder = root, .home = root                                                               \
    }

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 2, 8, 4);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tree_remove(root);
    return 0;
}

/* ---- the commands that are disturbed ---- */

typedef struct disturbed {
    const char *name;
    const char *const *arguments;
    bool trains; /* into the folder out, which is new, or was given up by an earlier training */
    bool resumes;
    bool repeats; /* says the same each time */
} disturbed;

#define SMALL                                                                                      \
    "--recipe", "chapter", "-b", "8", "--img-size", "32", "--epochs", "2", "--threads", "1", "-j", \
        "1", "-q", "--json"

static const char *const train[] = {
    "train", "d", SMALL, "-o", "out", "--cache", "ram", "--checkpoint-every", "0", NULL};
static const char *const disk[] = {"train", "d", SMALL, "-o", "out", "--cache", "disk", NULL};
static const char *const resume[] = {"train", "--resume", "out", "-q", "--json", NULL};
static const char *const find[] = {"lr-find",    "d",  "--recipe",  "chapter", "-b", "8",
                                   "--img-size", "32", "--threads", "1",       "-j", "1",
                                   "-q",         "-o", "out",       NULL};
static const char *const predict[] = {
    "predict", "model/model.safetensors", "d/valid", "-j", "1", "--threads", "1", NULL};
static const char *const eval[] = {
    "eval", "model/model.safetensors", "d", "-j", "1", "--threads", "1", "-o", "out", NULL};
static const char *const check[] = {"check", "d", "-j", "1", NULL};
static const char *const info[] = {"info", "model/model.safetensors", NULL};

static const disturbed commands[] = {
    {"train", train, true, false, false},     {"train with a cache file", disk, true, false, false},
    {"resume", resume, true, true, false},    {"lr-find", find, false, false, false},
    {"predict", predict, false, false, true}, {"eval", eval, false, false, false},
    {"check", check, false, false, true},     {"info", info, false, false, true},
};

static void remove_folder(const char *name) {
    char path[TREE_PATH + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (stat(path, &st) == 0)
        tree_remove(path);
}

/* A copy by the system's own means: what is tested must not be what tests. */
static void copy_folder(const char *from, const char *to) {
    char line[3 * TREE_PATH];
    remove_folder(to);
    snprintf(line, sizeof line, "cp -r '%s/%s' '%s/%s'", root, from, root, to);
    assert_int_equal(system(line), 0); // NOLINT(cert-env33-c): paths of our own
}

/* A model, and a training that was left in the middle. */
static void make_models(void) {
    static bool made;
    command_run run;
    if (made)
        return;
    COMMAND(&run, HERE, "train", "d", SMALL, "-o", "model");
    command_expect(&run, 0);
    command_free(&run);
    copy_folder("model", "half");
    char path[TREE_PATH + 64], other[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/half/previous.ckpt", root); /* of the first epoch's end */
    snprintf(other, sizeof other, "%s/half/last.ckpt", root);
    assert_int_equal(rename(path, other), 0);
    made = true;
}

/* ---- one disturbed run ---- */

static void set_fault(const char *function, long nth, const char *how) {
    char shim[COMMAND_PATH], value[64], report[TREE_PATH + 64];
    command_path("tests/libfail_calls.so", shim);
    snprintf(value, sizeof value, "%s:%ld:%s", function, nth, how);
    snprintf(report, sizeof report, "%s/report", root);
    remove(report);
    setenv("LD_PRELOAD", shim, 1);
    setenv("KILN_FAIL", value, 1);
    setenv("KILN_FAIL_REPORT", report, 1);
}

static void clear_fault(void) {
    unsetenv("LD_PRELOAD");
    unsetenv("KILN_FAIL");
}

/* False: the program did not live to say. */
static bool read_report(long *calls, long *failed) {
    char path[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/report", root);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    int got = fscanf(f, "%ld %ld", calls, failed); // NOLINT(cert-err34-c): our own numbers
    fclose(f);
    return got == 2;
}

/* What was saved before the fault, and whatever is saved since, can be read. */
static void expect_intact(const disturbed *d, const char *what) {
    kn_checkpoint *c;
    kn_error error = {0};
    char path[TREE_PATH + 64];
    if (!d->trains)
        return;
    snprintf(path, sizeof path, "%s/out", root);
    struct stat st;
    if (stat(path, &st) != 0) {
        assert_false(d->resumes);
        return;
    }
    if (kn_checkpoint_open(&c, path, NULL, &error) != KN_OK)
        fail_msg("%s: %s", what, error.message);
    if (d->resumes)
        assert_non_null(c);
    kn_checkpoint_close(c);
    kn_st_file *model;
    snprintf(path, sizeof path, "%s/out/model.safetensors", root);
    if (stat(path, &st) == 0) {
        assert_int_equal(kn_st_open(&model, path, NULL, &error), KN_OK);
        kn_st_close(model);
    }
}

/* What went well must have gone as if nothing had happened. */
static void expect_same(const disturbed *d, const char *out, const char *what) {
    static char want[COMMAND_VALUE], said[1 << 14];
    static const disturbed *of; /* the command that said it, undisturbed, as its first run is */
    char got[COMMAND_VALUE];
    if (d->repeats && of != d) {
        assert_true(strlen(out) < sizeof said);
        memcpy(said, out, strlen(out) + 1);
        of = d;
    }
    if (d->repeats && strcmp(out, said) != 0)
        fail_msg("%s: went well, and said %s, not %s", what, out, said);
    if (!d->trains)
        return;
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", got);
    if (want[0] == '\0')
        memcpy(want, got, sizeof want); /* of the first run, which nothing disturbs */
    if (strcmp(got, want) != 0)
        fail_msg("%s: went well, and the weights are others", what);
}

/* True: a call was failed. quiet: that may go well in spite of it. */
static bool disturb(const disturbed *d, const char *function, long nth, const char *how,
                    bool quiet) {
    char what[160];
    command_run run;
    long calls = 0, failed = 0;
    snprintf(what, sizeof what, "%s, %s number %ld, %s", d->name, function, nth, how);
    if (d->resumes)
        copy_folder("half", "out");
    else
        remove_folder("out");
    set_fault(function, nth, how);
    command_start(&run, HERE, d->arguments);
    command_wait(&run);
    clear_fault();
    if (!read_report(&calls, &failed) || run.code > 130)
        fail_msg("%s: ended with code %d\n%s%s", what, run.code, run.out, run.err);
    bool said = strstr(run.err, "kiln: ") != NULL;
    if (failed > 0 && !quiet && (run.code == 0 || !said))
        fail_msg("%s: code %d, and said\n%s%s", what, run.code, run.out, run.err);
    if (run.code == 0)
        expect_same(d, run.out, what);
    if (failed == 0 && run.code != 0)
        fail_msg("%s: undisturbed, code %d\n%s%s", what, run.code, run.out, run.err);
    bool died = strcmp(how, "die") == 0;
    if (failed > 0 && died && run.code != 99)
        fail_msg("%s: code %d after its death", what, run.code);
    if (failed > 0 && quiet && run.code != 0 && !said && !died)
        fail_msg("%s: code %d without a word", what, run.code);
    command_free(&run);
    expect_intact(d, what);
    return failed > 0;
}

/* ---- all of them ---- */

typedef struct fault {
    const char *function, *how;
    /* May go well: it is tried again, done in another way, or was a picture read ahead for an epoch
     * that was left. */
    bool quiet;
} fault;

static const fault faults[] = {
    {"open", "5", true},
    {"open", "24+", true},
    {"read", "5", true},
    {"read", "4", true},
    {"read", "short", true},
    {"pread", "5", true},
    {"write", "28", false},
    {"write", "28+", false}, /* a disk that is full from there on */
    {"write", "short+", true},
    {"write", "4", true},
    {"pwrite", "28", true},
    {"fsync", "5", false},
    {"fsync", "5+", false},
    {"rename", "5", false},
    {"rename", "28+", false},
    {"mkdir", "28", false},
    {"open", "die", true}, /* a crash at each step of each save */
    {"write", "die", true},
    {"fsync", "die", true},
    {"rename", "die", true},
    {"stat", "5", true},
    {"opendir", "5", true},
    {"pthread_create", "11", true},
    {"pthread_create", "11+", true},
    {"alloc", "12", true},
    {"alloc", "12+", false},
};

/* Without KILN_TEST_FULL so many of a fault's calls are looked at, spread over all. */
enum { SOME = 6 };

static void no_fault_does_harm(void **state) {
    (void)state;
    bool full = getenv("KILN_TEST_FULL") != NULL;
    make_models();
    for (size_t c = 0; c < KN_COUNT(commands); c++)
        for (size_t f = 0; f < KN_COUNT(faults); f++) {
            long calls = 0, failed = 0, tried = 0;
            disturb(&commands[c], faults[f].function, 1L << 40, faults[f].how, true);
            assert_true(read_report(&calls, &failed));
            long step = full || calls <= SOME ? 1 : calls / SOME;
            for (long nth = 1; nth <= calls; nth += step) {
                disturb(&commands[c], faults[f].function, nth, faults[f].how, faults[f].quiet);
                tried++;
            }
            print_message("%s: %s %s: %ld of %ld calls\n", commands[c].name, faults[f].function,
                          faults[f].how, tried, calls);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_fault_does_harm)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
