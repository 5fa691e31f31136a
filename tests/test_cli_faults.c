/* test_cli_faults.c - every call of the command that asks the system for something is made to fail,
 * each of them once, and from there on for ever. No crash, no hang, no memory or file left behind;
 * a message with a reason and an exit code that is not 0; what was saved before is intact. Each
 * place in the program that calls is failed at least once; with KILN_TEST_FULL each call, and of
 * those for memory each way that leads to one. */
#include "support/check.h"
#include "support/command.h"
#include "support/disturbed.h"
#include "support/faults.h"
#include "support/root.h"

#include "core/ctx.h"

#include <kiln/checkpoint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    disturbed_prepare(root);
    return 0;
}

/* ---- one disturbed run ---- */

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

/* What went well must have gone as if nothing had happened: code, words and weights. */
typedef struct outcome {
    const disturbed *of;
    int code;
    char said[1 << 14], complained[1 << 12], weights[COMMAND_VALUE];
    long other_leaks;
} outcome;

static outcome undisturbed;

static void keep_outcome(const disturbed *d, const command_run *run, const fault_report *r) {
    undisturbed = (outcome){.of = d, .code = run->code, .other_leaks = r->other_leaks};
    if (run->code != d->code)
        fail_msg("%s: code %d\n%s%s", d->name, run->code, run->out, run->err);
    assert_true(strlen(run->out) < sizeof undisturbed.said);
    memcpy(undisturbed.said, run->out, strlen(run->out) + 1);
    assert_true(strlen(run->err) < sizeof undisturbed.complained);
    memcpy(undisturbed.complained, run->err, strlen(run->err) + 1);
    if (d->trains)
        command_value(run->out, "\"event\":\"done\"", 0, "weights_sha256", undisturbed.weights);
}

static void expect_same(const disturbed *d, const command_run *run, const char *what) {
    char got[COMMAND_VALUE];
    /* Where something is wrong anyway, the fault may be one thing more that is complained of. */
    bool more = d->code != 0 && strcmp(run->err, undisturbed.complained) != 0;
    if (d->repeats && strcmp(run->out, undisturbed.said) != 0 && !more)
        fail_msg("%s: went well, and said %s, not %s", what, run->out, undisturbed.said);
    if (!d->trains)
        return;
    command_value(run->out, "\"event\":\"done\"", 0, "weights_sha256", got);
    if (strcmp(got, undisturbed.weights) != 0)
        fail_msg("%s: went well, and the weights are others", what);
}

typedef struct fault {
    const char *function, *how;
    /* May go well: it is tried again, done in another way, or was a picture read ahead for an epoch
     * that was left. */
    bool quiet;
} fault;

static void expect_answer(const disturbed *d, const fault *f, const command_run *run,
                          const fault_report *r, const char *what) {
    bool said = strstr(run->err, "kiln: ") != NULL, died = strcmp(f->how, "die") == 0;
    bool well = run->code == undisturbed.code;
    if (r->failed == 0 && !well)
        fail_msg("%s: undisturbed, code %d\n%s%s", what, run->code, run->out, run->err);
    if (died && r->failed > 0 && run->code != 99)
        fail_msg("%s: code %d after its death", what, run->code);
    if (died)
        return;
    if (r->failed > 0 &&
        ((well && !f->quiet && !d->reports) || (!well && !said) || (!well && run->code == 0)))
        fail_msg("%s: code %d, and said\n%s%s", what, run->code, run->out, run->err);
    if (well)
        expect_same(d, run, what);
    bool at_once = strstr(run->err, "bytes for JSON") != NULL; /* cli/json_memory.c */
    if (at_once && run->code != 4)
        fail_msg("%s: code %d\n%s", what, run->code, run->err);
    if (at_once)
        return;
    if (r->leaks > 0 || r->other_leaks > undisturbed.other_leaks || r->open > 0)
        fail_msg("%s: code %d; not given back: %ld blocks, of libraries %ld, among them one by %s; "
                 "%ld files\n%s",
                 what, run->code, r->leaks, r->other_leaks, r->leak, r->open, run->err);
}

static void run_disturbed(const disturbed *d, const fault *f, const char *which, command_run *run) {
    disturbed_set_up(root, d);
    fault_set(root, f->function, which, f->how);
    disturbed_run(root, d, run);
    fault_clear();
}

/* Runs it once, with a call that fails; which: as the shim has it. NULL: undisturbed. */
static void disturb(const disturbed *d, const fault *f, const char *which, fault_report *r) {
    char what[FAULT_WAY + 128];
    command_run run;
    which = which != NULL ? which : "0";
    snprintf(what, sizeof what, "%s, %s %s, %s", d->name, f->function, which, f->how);
    run_disturbed(d, f, which, &run);
    if (!fault_report_read(r, root) || run.code > 130)
        fail_msg("%s: ended with code %d\n%s%s", what, run.code, run.out, run.err);
    if (undisturbed.of != d)
        keep_outcome(d, &run, r);
    expect_answer(d, f, &run, r, what);
    command_free(&run);
    expect_intact(d, what);
}

/* ---- all of them ---- */

static const fault faults[] = {
    {"open", "5", true},       {"open", "24+", true},
    {"read", "5", true},       {"read", "4", true},
    {"read", "short", true},   {"write", "28", false},
    {"write", "28+", false}, /* a disk that is full from there on */
    {"write", "short+", true}, {"write", "4", true},
    {"pwrite", "28", true},    {"pwrite", "4", true},
    {"pwrite", "short", true}, {"fsync", "5", false},
    {"fsync", "5+", false},    {"rename", "5", false},
    {"rename", "28+", false},  {"mkdir", "28", false},
    {"link", "28", true},      {"unlink", "5", true},
    {"unlink", "5+", true},    {"close", "5", true},
    {"open", "die", true}, /* a crash at each step of each save */
    {"write", "die", true},    {"fsync", "die", true},
    {"rename", "die", true},   {"stat", "5", true},
    {"stat", "5+", true},      {"readlink", "5", true},
    {"opendir", "5", true},    {"readdir", "5", true},
    {"lock", "37", true},      {"utime", "5", true},
    {"madvise", "12", true},   {"thread", "11", true},
    {"thread", "11+", true},   {"spawn", "11", true},
    {"alloc", "12", true},     {"alloc", "12+", false},
};

static long runs;

/* Each call, by its number; or so many, spread over all. */
static long by_number(const disturbed *d, const fault *f, long calls, long most) {
    fault_report r;
    long step = calls <= most ? 1 : calls / most, tried = 0;
    for (long nth = 1; nth <= calls; nth += step, tried++) {
        char which[32];
        snprintf(which, sizeof which, "%ld", nth);
        disturb(d, f, which, &r);
        fault_report_free(&r);
    }
    return tried;
}

/* Each way to a call; or such only as lead by a place that was not failed so before. */
static long by_place(const disturbed *d, const fault *f, const fault_report *all, bool each) {
    char name[64];
    long tried = 0;
    fault_report r;
    snprintf(name, sizeof name, "%s %s", f->function, f->how);
    for (int i = 0; i < all->count; i++) {
        if (!each && !fault_is_new(name, all->ways[i]))
            continue;
        disturb(d, f, all->ways[i], &r);
        fault_report_free(&r);
        fault_was_tried(name, all->ways[i]);
        tried++;
    }
    return tried;
}

static void disturb_all(const disturbed *d, const fault *f, const fault_report *all) {
    enum { CRASHES = 6 };
    bool full = getenv("KILN_TEST_FULL") != NULL, dies = strcmp(f->how, "die") == 0;
    bool memory = strcmp(f->function, "alloc") == 0; /* thousands, of hundreds of kinds */
    bool each = full && !d->slow;
    long places = dies ? 0 : by_place(d, f, all, each && memory), numbers = 0;
    if (each && !memory)
        numbers = by_number(d, f, all->calls, all->calls);
    else if (dies)
        numbers = by_number(d, f, all->calls, CRASHES);
    if (all->calls > 0)
        print_message("%s: %s %s: %ld calls, %d ways to them; failed %ld of these and %ld calls\n",
                      d->name, f->function, f->how, all->calls, all->count, places, numbers);
    runs += places + numbers;
}

/* Faults of one function stand together: its calls are counted once. */
static void disturb_command(const disturbed *d) {
    fault_report all = {0};
    for (size_t f = 0; f < KN_COUNT(faults); f++) {
        if (f == 0 || strcmp(faults[f].function, faults[f - 1].function) != 0) {
            fault_report_free(&all);
            disturb(d, &faults[f], NULL, &all);
            runs++;
        }
        disturb_all(d, &faults[f], &all);
    }
    fault_report_free(&all);
}

static void no_fault_does_harm(void **state) {
    (void)state;
    const disturbed *d;
    for (int i = 0; (d = disturbed_command(i)) != NULL; i++)
        if (!d->late || getenv("KILN_TEST_FULL") != NULL)
            disturb_command(d);
    char tried[COMMAND_PATH];
    command_path("tests/fault-places.txt", tried);
    print_message("%ld addresses of calls were on the way to a call that failed; %ld runs\n",
                  fault_write_tried(tried), runs);
}

/* ---- libraries that run on their own account ---- */

/* What memory or threads refused to a library inside itself come to: nobody but the library can
 * answer. What was saved stays whole even then. Counted, for SECURITY.md. */
static void disturb_library(const char *library, const fault *f) {
    const disturbed *d = &disturbed_on_two_threads;
    fault_report all, r;
    command_run run;
    long well = 0, told = 0, ended = 0, crashed = 0;
    setenv("KILN_FAIL_IN", library, 1);
    run_disturbed(d, f, "0", &run);
    command_expect(&run, 0);
    command_free(&run);
    assert_true(fault_report_read(&all, root));
    for (int i = 0; i < all.count; i++) {
        run_disturbed(d, f, all.ways[i], &run);
        bool lived = fault_report_read(&r, root);
        fault_report_free(&r);
        well += run.code == 0;
        told += run.code != 0 && strstr(run.err, "kiln: ") != NULL;
        ended += lived && run.code != 0 && strstr(run.err, "kiln: ") == NULL;
        crashed += !lived && run.code > 128;
        expect_intact(d, library);
        command_free(&run);
    }
    print_message("in %s, %s %s: %d ways to it; went well %ld, told by Kiln %ld, ended by the "
                  "library %ld, crashed in it %ld\n",
                  library, f->function, f->how, all.count, well, told, ended, crashed);
    fault_report_free(&all);
    unsetenv("KILN_FAIL_IN");
}

static void faults_in_libraries_harm_no_checkpoint(void **state) {
    (void)state;
    /* Of them only libgomp makes threads. */
    static const char *const libraries[] = {"libgomp", "libdnnl", "libstdc++", "libcrypto"};
    static const fault threads = {"thread", "11+", true};
    static const fault some[] = {{"alloc", "12", true}, {"alloc", "12+", true}};
    if (getenv("KILN_TEST_FULL") == NULL) {
        print_message("SKIPPED: faults inside libraries take minutes: KILN_TEST_FULL is not set\n");
        skip();
    }
    disturb_library("libgomp", &threads);
    for (size_t i = 0; i < KN_COUNT(libraries); i++)
        for (size_t f = 0; f < KN_COUNT(some); f++)
            disturb_library(libraries[i], &some[f]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_fault_does_harm),
        cmocka_unit_test(faults_in_libraries_harm_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
