/* test_cli_faults.c - every call of the command that asks the system for something is made to fail,
 * each of them once, and from there on for ever. No crash, no hang, no memory or file left behind;
 * a message with a reason and an exit code that is not 0; what was saved before is intact. Each
 * place in the program that calls is failed at least once; with KILN_TEST_FULL each call. */
#include "support/check.h"
#include "support/command.h"
#include "support/faults.h"
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
    command_data(root, "bad", 2, 12, 4);
    tree_put(root, "bad/train/bars/001.jpg", "no picture", 10);
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
    const char *without; /* a folder that is removed before */
    int code;            /* that it ends with, undisturbed */
    bool trains; /* into the folder out, which is new, or was given up by an earlier training */
    bool resumes;
    bool repeats; /* says the same each time */
    bool reports; /* what it cannot find out is part of what it says */
    bool slow;    /* not each call, with KILN_TEST_FULL either, but each place */
} disturbed;

#define SMALL                                                                                      \
    "--recipe", "chapter", "-b", "8", "--img-size", "32", "--threads", "1", "-j", "1", "-q",       \
        "--json"
#define TWICE    SMALL, "--epochs", "2"
#define ONE_EACH "--threads", "1", "-j", "1"

static const char *const train[] = {
    "train", "d", TWICE, "-o", "out", "--cache", "ram", "--checkpoint-every", "0", NULL};
static const char *const disk[] = {"train", "d", TWICE, "-o", "out", "--cache", "disk", NULL};
static const char *const much[] = {"train",
                                   "bad",
                                   TWICE,
                                   "-o",
                                   "out",
                                   "--on-bad-image",
                                   "skip",
                                   "--activations",
                                   "--ema",
                                   "0.9",
                                   "--mixup",
                                   "0.4",
                                   "--opt",
                                   "ranger",
                                   "--aug",
                                   "strong",
                                   "--class-weights",
                                   "balanced",
                                   "--clip",
                                   "1",
                                   "--cache",
                                   "off",
                                   NULL};
static const char *const pasted[] = {"train",      "d",           TWICE,     "-o",           "out",
                                     "--cutmix",   "1",           "--opt",   "muon",         "--lr",
                                     "auto",       "--smoothing", "0.1",     "--accumulate", "2",
                                     "--patience", "1",           "--dtype", "bf16",         NULL};
static const char *const tuned[] = {
    "train",       "d", SMALL,   "-o",    "out",      "--weights", "model/model.safetensors",
    "--fine-tune", "1", "--opt", "adamw", "--device", "onednn",    NULL};
static const char *const residual[] = {"train",     "d",        SMALL, "-o",       "out", "--model",
                                       "xresnet18", "--device", "cpu", "--epochs", "1",   NULL};
static const char *const plain[] = {"train", "d",        TWICE,       "-o",
                                    "out",   "--device", "reference", NULL};
static const char *const resume[] = {"train", "--resume", "out", "-q", "--json", NULL};
static const char *const find[] = {"lr-find",    "d",  "--recipe",  "chapter", "-b", "8",
                                   "--img-size", "32", "--threads", "1",       "-j", "1",
                                   "-q",         "-o", "out",       NULL};
static const char *const predict[] = {"predict", "model/model.safetensors", "d/valid", ONE_EACH,
                                      NULL};
static const char *const eval[] = {
    "eval", "model/model.safetensors", "d", ONE_EACH, "-o", "out", "--tta", NULL};
static const char *const explain[] = {
    "explain", "model/model.safetensors", "d", ONE_EACH, "-o", "out", "-k", "3", "-q", NULL};
static const char *const check[] = {"check", "d", "-j", "1", NULL};
static const char *const check_bad[] = {"check", "bad", "-j", "1", "--json", NULL};
static const char *const info[] = {"info", "model/model.safetensors", "d", "--shapes", NULL};
static const char *const doctor[] = {"doctor", NULL};

static const disturbed commands[] = {
    {"train", train, NULL, .trains = true},
    {"train, a cache file is made", disk, ".samples", .trains = true},
    {"train from a cache file", disk, NULL, .trains = true},
    {"train, much at once", much, NULL, .trains = true},
    {"train, other much", pasted, NULL, .trains = true, .slow = true},
    {"train on weights", tuned, NULL, .trains = true, .slow = true},
    {"train a residual net", residual, NULL, .trains = true, .slow = true},
    {"train by plain loops", plain, NULL, .trains = true, .slow = true},
    {"resume", resume, NULL, .trains = true, .resumes = true},
    {"lr-find", find, NULL, .slow = true},
    {"predict", predict, NULL, .repeats = true},
    {"eval", eval, NULL, 0, .trains = false},
    {"explain", explain, NULL, .slow = true},
    {"check", check, NULL, .repeats = true},
    {"check what is bad", check_bad, NULL, 3, .repeats = true},
    {"info", info, NULL, .repeats = true},
    {"doctor", doctor, NULL, 0, .reports = true},
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
    COMMAND(&run, HERE, "train", "d", TWICE, "-o", "model");
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
    char said[1 << 14], weights[COMMAND_VALUE];
    long other_leaks;
} outcome;

static outcome undisturbed;

static void keep_outcome(const disturbed *d, const command_run *run, const fault_report *r) {
    undisturbed = (outcome){.of = d, .code = run->code, .other_leaks = r->other_leaks};
    if (run->code != d->code)
        fail_msg("%s: code %d\n%s%s", d->name, run->code, run->out, run->err);
    assert_true(strlen(run->out) < sizeof undisturbed.said);
    memcpy(undisturbed.said, run->out, strlen(run->out) + 1);
    if (d->trains)
        command_value(run->out, "\"event\":\"done\"", 0, "weights_sha256", undisturbed.weights);
}

static void expect_same(const disturbed *d, const command_run *run, const char *what) {
    char got[COMMAND_VALUE];
    if (d->repeats && strcmp(run->out, undisturbed.said) != 0)
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
    if (r->leaks > 0 || r->other_leaks > undisturbed.other_leaks || r->open > 0)
        fail_msg("%s: code %d; not given back: %ld blocks, of libraries %ld, among them one by %s; "
                 "%ld files\n%s",
                 what, run->code, r->leaks, r->other_leaks, r->leak, r->open, run->err);
}

/* Runs it once, with a call that fails; which: as the shim has it. NULL: undisturbed. */
static void disturb(const disturbed *d, const fault *f, const char *which, fault_report *r) {
    char what[FAULT_WAY + 128];
    command_run run;
    snprintf(what, sizeof what, "%s, %s %s, %s", d->name, f->function, which, f->how);
    if (d->resumes)
        copy_folder("half", "out");
    else
        remove_folder("out");
    if (d->without != NULL)
        remove_folder(d->without);
    fault_set(root, f->function, which != NULL ? which : "0", f->how);
    command_start(&run, HERE, d->arguments);
    command_wait(&run);
    fault_clear();
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

/* Each place that calls, as far as it was not failed so by an earlier command. */
static long by_place(const disturbed *d, const fault *f, const fault_report *all) {
    char name[64];
    long tried = 0;
    fault_report r;
    snprintf(name, sizeof name, "%s %s", f->function, f->how);
    for (int i = 0; i < all->count; i++) {
        if (!fault_is_new(name, all->ways[i]))
            continue;
        disturb(d, f, all->ways[i], &r);
        fault_report_free(&r);
        fault_was_tried(name, all->ways[i]);
        tried++;
    }
    return tried;
}

static void disturb_all(const disturbed *d, const fault *f) {
    enum { CRASHES = 6 };
    bool full = getenv("KILN_TEST_FULL") != NULL, dies = strcmp(f->how, "die") == 0;
    fault_report all;
    disturb(d, f, NULL, &all);
    long places = dies ? 0 : by_place(d, f, &all), numbers = 0;
    if (full && !d->slow)
        numbers = by_number(d, f, all.calls, all.calls);
    else if (dies)
        numbers = by_number(d, f, all.calls, CRASHES);
    if (all.calls > 0)
        print_message(
            "%s: %s %s: %ld calls, %d ways to them; failed %ld new places and %ld calls\n", d->name,
            f->function, f->how, all.calls, all.count, places, numbers);
    runs += 1 + places + numbers;
    fault_report_free(&all);
}

static void no_fault_does_harm(void **state) {
    (void)state;
    make_models();
    for (size_t c = 0; c < KN_COUNT(commands); c++)
        for (size_t f = 0; f < KN_COUNT(faults); f++)
            disturb_all(&commands[c], &faults[f]);
    char tried[COMMAND_PATH];
    command_path("tests/fault-places.txt", tried);
    print_message("%ld addresses of calls were on the way to a call that failed; %ld runs\n",
                  fault_write_tried(tried), runs);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_fault_does_harm)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
