/* test_cli_faults.c - every call of the command that asks the system for something is made to fail,
 * each of them once, and from there on for ever. No crash, no hang, no memory or file left behind;
 * a message with a reason and an exit code that is not 0; what was saved before is intact. Each
 * place in the program that calls is failed at least once; with KILN_TEST_FULL each call. */
#include "support/check.h"
#include "support/command.h"
#include "support/faults.h"
#include "support/pictures.h"
#include "support/tree.h"

#include "core/ctx.h"

#include <kiln/checkpoint.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[TREE_PATH];

#define HERE                                                                                       \
    (command_opts) {                                                                               \
        .folder = root, .home = root                                                               \
    }

static void put_png(const char *name) {
    unsigned char data[PICTURE_MAX];
    made_picture picture;
    FILE *list = NULL;
    bool found = false;
    while (made_next(&list, &picture) && list != NULL)
        if (strstr(picture.name, ".png") != NULL && !found) {
            found = true;
            tree_put(root, name, data, made_load(picture.name, data));
        }
    assert_true(found);
}

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 2, 8, 4);
    command_data(root, "bad", 2, 12, 4);
    tree_put(root, "bad/train/bars/001.jpg", "no picture", 10);
    command_data(root, "photos", 2, 8, 8);
    put_png("bad/train/arrow/grey.png");
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
    void (*before)(void);
    int code;    /* that it ends with, undisturbed */
    bool trains; /* into the folder out, which is new, or was given up by an earlier training */
    bool resumes;
    bool repeats; /* says the same each time */
    bool reports; /* what it cannot find out is part of what it says */
    bool slow;    /* not each call, with KILN_TEST_FULL either, but each place */
    bool late;    /* with KILN_TEST_FULL only */
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
static const char *const by_onednn[] = {"train",  "d",        SMALL,       "-o",
                                        "out",    "--model",  "xresnet18", "--device",
                                        "onednn", "--epochs", "1",         NULL};
static const char *const runs_folder[] = {"train", "photos/train", SMALL, "--epochs", "1", NULL};
static const char *const drawn[] = {
    "train",  "shapes", "--recipe", "chapter",  "-b", "64", "--img-size", "32",
    ONE_EACH, "-q",     "--json",   "--epochs", "1",  "-o", "out",        NULL};
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
static const char *const check_sheet[] = {"check",   "photos/train", "-j",    "1",
                                          "--sheet", "-o",           "sheet", NULL};
static const char *const eval_bare[] = {"eval",       "--weights", "bare.safetensors", "--model",
                                        "simple_cnn", "d",         ONE_EACH,           "-o",
                                        "out",        "-q",        "--json",           NULL};
static const char *const predict_files[] = {"predict",
                                            "model/model.safetensors",
                                            "d/valid/bars/001.jpg",
                                            "bad/train/arrow/grey.png",
                                            "missing.jpg",
                                            "bad/train/bars/001.jpg",
                                            ONE_EACH,
                                            "-k",
                                            "2",
                                            "--json",
                                            NULL};
static const char *const check_bad[] = {"check", "bad", "-j", "1", "--json", NULL};
static const char *const info[] = {"info", "model/model.safetensors", "d", "--shapes", NULL};
static const char *const doctor[] = {"doctor", NULL};

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

/* The model's tensors alone. */
static void write_bare(void) {
    char from[TREE_PATH + 64], to[TREE_PATH + 64];
    kn_st_file *file;
    snprintf(from, sizeof from, "%s/model/model.safetensors", root);
    snprintf(to, sizeof to, "%s/bare.safetensors", root);
    assert_int_equal(kn_st_open(&file, from, NULL, NULL), KN_OK);
    assert_int_equal(kn_st_write(to, file->tensor, file->tensors, NULL, 0, NULL, NULL), KN_OK);
    kn_st_close(file);
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
    write_bare();
    copy_folder("model", "half");
    char path[TREE_PATH + 64], other[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/half/previous.ckpt", root); /* of the first epoch's end */
    snprintf(other, sizeof other, "%s/half/last.ckpt", root);
    assert_int_equal(rename(path, other), 0);
    tree_put(root, "half/next.ckpt.tmp-1", "of a process that was killed", 20);
    COMMAND(&run, HERE, "train", "d", TWICE, "-o", "out", "--cache", "disk");
    command_expect(&run, 0);
    command_free(&run);
    copy_folder(".samples", "samples");
    made = true;
}

static void make_empty(void) {
    tree_folder(root, "out");
}

static void one_run(void) {
    remove_folder("runs");
    tree_folder(root, "runs/1");
}

/* Another byte there; at < 0: from the end. */
static void flip(const char *path, long at) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(byte ^ 0x55, f);
    assert_int_equal(fclose(f), 0);
}

/* Of the kept samples the one file has a wrong header, the other a wrong pixel; and there is one
 * that nobody used for long. */
static void damage_samples(void) {
    char path[TREE_PATH + 512];
    struct dirent *e;
    copy_folder("samples", ".samples");
    tree_put(root, ".samples/aged.samples", "old", 3);
    snprintf(path, sizeof path, "%s/.samples", root);
    DIR *list = opendir(path);
    assert_non_null(list);
    for (int n = 0; (e = readdir(list)) != NULL;) {
        const struct timespec past[2] = {{1000000, 0}, {1000000, 0}};
        snprintf(path, sizeof path, "%s/.samples/%s", root, e->d_name);
        if (strcmp(e->d_name, "aged.samples") == 0)
            assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
        else if (strstr(e->d_name, ".samples") != NULL)
            flip(path, n++ == 0 ? 17 : -1);
    }
    closedir(list);
}

static const disturbed commands[] = {
    {"train", train, .trains = true},
    {"train, a cache file is made", disk, .without = ".samples", .trains = true},
    {"train from a cache file", disk, .trains = true},
    {"train from damaged cache files", disk, .before = damage_samples, .trains = true},
    {"train, much at once", much, .before = make_empty, .trains = true},
    {"train, other much", pasted, .trains = true, .slow = true},
    {"train on weights", tuned, .trains = true, .slow = true},
    {"train a residual net", residual, .trains = true, .slow = true, .late = true},
    {"train it by oneDNN", by_onednn, .trains = true, .slow = true, .late = true},
    {"train by plain loops", plain, .trains = true, .slow = true, .late = true},
    {"train into runs/2", runs_folder, .before = one_run, .slow = true},
    {"train on what is drawn first", drawn, .without = "shapes-1", .trains = true, .slow = true,
     .late = true},
    {"resume", resume, .trains = true, .resumes = true},
    {"lr-find", find, .slow = true},
    {"predict", predict, .repeats = true},
    {"predict files", predict_files, .code = 3, .repeats = true},
    {"eval", eval, .slow = false},
    {"eval bare weights", eval_bare, .slow = true},
    {"explain", explain, .slow = true},
    {"check", check, .repeats = true},
    {"check and draw", check_sheet, .without = "sheet", .slow = true},
    {"check what is bad", check_bad, .code = 3, .repeats = true},
    {"info", info, .repeats = true},
    {"doctor", doctor, .reports = true},
};

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
    if (r->leaks > 0 || r->other_leaks > undisturbed.other_leaks || r->open > 0)
        fail_msg("%s: code %d; not given back: %ld blocks, of libraries %ld, among them one by %s; "
                 "%ld files\n%s",
                 what, run->code, r->leaks, r->other_leaks, r->leak, r->open, run->err);
}

static void run_disturbed(const disturbed *d, const fault *f, const char *which, command_run *run) {
    if (d->resumes)
        copy_folder("half", "out");
    else
        remove_folder("out");
    if (d->without != NULL)
        remove_folder(d->without);
    if (d->before != NULL)
        d->before();
    fault_set(root, f->function, which, f->how);
    command_start(run, HERE, d->arguments);
    command_wait(run);
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
    {"open", "die", true}, /* a crash at each step of each save */
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

static void disturb_all(const disturbed *d, const fault *f, const fault_report *all) {
    enum { CRASHES = 6 };
    bool full = getenv("KILN_TEST_FULL") != NULL, dies = strcmp(f->how, "die") == 0;
    long places = dies ? 0 : by_place(d, f, all), numbers = 0;
    if (full && !d->slow)
        numbers = by_number(d, f, all->calls, all->calls);
    else if (dies)
        numbers = by_number(d, f, all->calls, CRASHES);
    if (all->calls > 0)
        print_message(
            "%s: %s %s: %ld calls, %d ways to them; failed %ld new places and %ld calls\n", d->name,
            f->function, f->how, all->calls, all->count, places, numbers);
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
    make_models();
    for (size_t c = 0; c < KN_COUNT(commands); c++)
        if (!commands[c].late || getenv("KILN_TEST_FULL") != NULL)
            disturb_command(&commands[c]);
    char tried[COMMAND_PATH];
    command_path("tests/fault-places.txt", tried);
    print_message("%ld addresses of calls were on the way to a call that failed; %ld runs\n",
                  fault_write_tried(tried), runs);
}

/* ---- libraries that run on their own account ---- */

/* What memory or threads refused to a library inside itself come to: nobody but the library can
 * answer. What was saved stays whole even then. Counted, for SECURITY.md. */
static void disturb_library(const char *library, const fault *f) {
    static const char *const two[] = {"train", "d",        TWICE, "--threads",          "2", "-o",
                                      "out",   "--device", "cpu", "--checkpoint-every", "0", NULL};
    static const disturbed d = {"train with two threads", two, .trains = true};
    fault_report all, r;
    command_run run;
    long well = 0, told = 0, ended = 0, crashed = 0;
    setenv("KILN_FAIL_IN", library, 1);
    run_disturbed(&d, f, "0", &run);
    command_expect(&run, 0);
    command_free(&run);
    assert_true(fault_report_read(&all, root));
    for (int i = 0; i < all.count; i++) {
        run_disturbed(&d, f, all.ways[i], &run);
        bool lived = fault_report_read(&r, root);
        fault_report_free(&r);
        well += run.code == 0;
        told += run.code != 0 && strstr(run.err, "kiln: ") != NULL;
        ended += lived && run.code != 0 && strstr(run.err, "kiln: ") == NULL;
        crashed += !lived && run.code > 128;
        expect_intact(&d, library);
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
    static const char *const libraries[] = {"libgomp", "libdnnl", "libstdc++", "libcrypto"};
    static const fault some[] = {
        {"alloc", "12", true}, {"alloc", "12+", true}, {"thread", "11+", true}};
    if (getenv("KILN_TEST_FULL") == NULL) {
        print_message("SKIPPED: faults inside libraries take minutes: KILN_TEST_FULL is not set\n");
        skip();
    }
    make_models();
    for (size_t i = 0; i < KN_COUNT(libraries); i++)
        for (size_t f = 0; f < KN_COUNT(some); f++)
            disturb_library(libraries[i], &some[f]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_fault_does_harm),
        cmocka_unit_test(faults_in_libraries_harm_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
