/* test_cli_errors.c - what goes wrong is told in one clear line that names the path, with the right
 * exit code, and nothing half done is left behind. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define SMALL "--epochs", "1", "-b", "4", "--img-size", "16", "--threads", "1", "-q"

/* The first bytes of a picture that is whole. */
static void truncated(const char *from, const char *to, size_t bytes) {
    unsigned char data[4096];
    FILE *f = fopen(root_path(from), "rb");
    assert_non_null(f);
    assert_true(bytes <= sizeof data);
    assert_int_equal(fread(data, 1, bytes, f), bytes);
    fclose(f);
    tree_put(root, to, data, bytes);
}

/* root holds good (the data), run (a training of it), and a folder for each fault. */
static int prepare(void **state) {
    (void)state;
    static const char *const folders[] = {"good", "text", "empty file", "cut", "zebra"};
    tree_make(root);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        command_data(root, folders[i], 2, 4, 2);
    tree_touch(root, "text/train/arrow/note.jpg");
    tree_put(root, "empty file/valid/bars/nothing.PNG", "", 0);
    truncated("cut/train/arrow/000.jpg", "cut/train/arrow/half.jpeg", 1500);
    truncated("zebra/train/arrow/000.jpg", "zebra/valid/zebra/0.jpg", 1000);
    tree_folder(root, "empty");
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "good", "-o", "run", SMALL);
    command_expect(&run, 0);
    command_free(&run);
    return 0;
}

/* ---- data at fault ---- */

/* It ended so, with one line on stderr that has that in it. */
static void check_line(command_run *run, int code, const char *part) {
    command_expect(run, code);
    assert_int_equal(command_lines(run->err), 1);
    if (strncmp(run->err, "kiln: ", 6) != 0 || strstr(run->err, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, run->err);
    command_free(run);
}

static const struct {
    const char *data, *part;
    bool scan; /* found by listing the files, so that check cannot count */
} faults[] = {
    {"text", "text/train/arrow/note.jpg: is text", false},
    {"empty file", "empty file/valid/bars/nothing.PNG: is empty", false},
    {"cut", "cut/train/arrow/half.jpeg: the JPEG is truncated", false},
    {"zebra", "zebra/valid/zebra: the class \"zebra\" is not among the 2", true},
    {"empty", "empty: holds no picture", true},
    {"missing", "missing: no such folder", true},
    {"text/train/arrow/note.jpg", "text/train/arrow/note.jpg: is no folder", true},
};

static void test_check(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        command_run run;
        COMMAND(&run, HERE, "check", faults[i].data);
        assert_int_equal(run.out[0] == '\0', faults[i].scan);
        if (!faults[i].scan)
            check_contains(run.out, "\nbad      1\n");
        check_line(&run, 3, faults[i].part);
    }
}

static void test_train(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        command_run run;
        COMMAND(&run, HERE, "train", "--recipe", "chapter", faults[i].data, "-o", "never", SMALL);
        assert_string_equal(run.out, "");
        check_line(&run, 3, faults[i].part);
        assert_false(root_has("never")); /* so that the same command can be given again */
    }
}

static void test_eval(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        bool training_only = strstr(faults[i].part, "/train/") != NULL && !faults[i].scan;
        command_run run;
        COMMAND(&run, HERE, "eval", "run/model.safetensors", faults[i].data);
        if (training_only) {
            command_expect(&run, 0);
            command_free(&run);
        } else
            check_line(&run, 3, faults[i].part);
    }
}

static void test_run_as_model(void **state) {
    (void)state;
    static const char *const commands[] = {"predict", "eval", "info", "explain"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        command_run run;
        if (strcmp(commands[i], "info") == 0)
            COMMAND(&run, HERE, "info", "run");
        else
            COMMAND(&run, HERE, commands[i], "run", "good");
        check_line(&run, 1,
                   "run: is a folder, expected a model file: a run's is model.safetensors");
    }
}

static void test_json(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "text", "-o", "never", "--json", SMALL);
    check_contains(run.out,
                   "{\"event\":\"error\",\"message\":\"text/train/arrow/note.jpg: is text");
    check_line(&run, 3, "note.jpg");
    COMMAND(&run, HERE, "check", "cut", "--json");
    check_contains(run.out, "\"bad\":1,");
    check_contains(run.out, "\"bad_images\":[{\"path\":\"cut/train/arrow/half.jpeg\",\"error\":\"");
    assert_int_equal(command_lines(run.out), 1);
    check_line(&run, 3, "half.jpeg");
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "--json", "--epoch", "3");
    assert_string_equal(run.out,
                        "{\"event\":\"error\",\"message\":\"unknown option --epoch; did you "
                        "mean --epochs?\"}\n");
    check_line(&run, 2, "unknown option --epoch; did you mean --epochs?");
}

static void test_image_memory(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "good", "-o", "never", "--epochs", "1",
            "--img-size", "4096", "-b", "1", "--max-image-memory", "1", "-q");
    check_line(&run, 3, "the limit is 1048576");
    COMMAND(&run, HERE, "predict", "run/model.safetensors", "good/valid/arrow/000.jpg",
            "--img-size", "4096", "-b", "1", "--max-image-memory", "1");
    check_line(&run, 3, "good/valid/arrow/000.jpg: ");
}

/* ---- models ---- */

static void test_models(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, "eval", "gone.safetensors", "good");
    check_line(&run, 1, "gone.safetensors: cannot open: No such file");
    COMMAND(&run, HERE, "predict", "good/train/arrow/000.jpg", "good");
    check_line(&run, 1, "good/train/arrow/000.jpg: not a valid safetensors file");
    COMMAND(&run, HERE, "eval", "--weights", "run/model.safetensors", "--model", "simple_cnn",
            "good");
    check_line(&run, 2, "run/model.safetensors: is a model file");
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "good", "-o", "never", "--weights",
            "gone.safetensors", SMALL);
    check_line(&run, 1, "gone.safetensors: cannot open: No such file");
    assert_false(root_has("never"));
}

/* ---- a full disk ---- */

static void test_file_limit(void **state) {
    (void)state;
    command_run run;
    command_opts opts = HERE;
    opts.file_limit = 100000; /* a model takes 400,000 */
    COMMAND(&run, opts, "train", "--recipe", "chapter", "good", "-o", "never", SMALL);
    command_expect(&run, 1);
    check_contains(run.err, "kiln: warning: no checkpoint of epoch 0, batch 2: never/next.ckpt: "
                            "cannot write: File too large\nkiln: never/model.safetensors: cannot "
                            "write: File too large\n");
    assert_int_equal(command_lines(run.err), 2);
    command_free(&run);
    assert_false(root_has("never"));
    opts.file_limit = 100;
    COMMAND(&run, opts, "train", "--recipe", "chapter", "good", "-o", "never", SMALL);
    command_skip_if_openmp_stopped(&run);
    check_line(&run, 1, "never/args.json: cannot write: File too large");
    assert_false(root_has("never"));
}

/* A checkpoint fits, the model does not: what was saved stays, and with room again it goes on. */
static void test_full_disk(void **state) {
    (void)state;
    tree_folder(root, "disk");
    if (mount("none", root_path("disk"), "tmpfs", 0, "size=500k") != 0) {
        print_message("SKIPPED: a small file system cannot be mounted here\n");
        skip();
    }
    command_run run, again, model;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "good", "-o", "disk/run", SMALL);
    bool kept = root_has("disk/run/last.ckpt") && !root_has("disk/run/model.safetensors");
    assert_int_equal(mount("none", root_path("disk"), "tmpfs", MS_REMOUNT, "size=20m"), 0);
    COMMAND(&again, HERE, "train", "--resume", "disk/run", "-q");
    COMMAND(&model, HERE, "eval", "disk/run/model.safetensors", "good");
    assert_int_equal(umount(root_path("disk")), 0);
    check_line(&run, 1, "disk/run/model.safetensors: cannot write: No space left on device");
    assert_true(kept);
    command_expect(&again, 0);
    command_expect(&model, 0);
    command_free(&again);
    command_free(&model);
}

static void test_unwritable(void **state) {
    (void)state;
    command_run run;
    command_opts opts = HERE;
    COMMAND(&run, opts, "train", "--recipe", "chapter", "good", "-o", "run/args.json/x", SMALL);
    check_line(&run, 1, "run/args.json/x: cannot make the folder: ");
    opts.home = "run/args.json/home";
    COMMAND(&run, opts, "check", "shapes");
    check_line(&run, 1, "run/args.json/home: cannot make the folder: ");
}

/* ---- stdout ---- */

static void test_stdout(void **state) {
    (void)state;
    command_run run;
    command_opts full = HERE, closed = HERE;
    full.out = "/dev/full";
    closed.out_closed = true;
    COMMAND(&run, full, "info", "--model", "simple_cnn");
    check_line(&run, 1, "standard output: No space left on device");
    COMMAND(&run, full, "predict", "run/model.safetensors", "good");
    check_line(&run, 1, "standard output: No space left on device");
    COMMAND(&run, full, "--help");
    check_line(&run, 1, "standard output: No space left on device");
    COMMAND(&run, closed, "check", "good");
    check_line(&run, 1, "standard output: Bad file descriptor");
    /* A training that nobody listens to is finished all the same. */
    COMMAND(&run, full, "train", "--recipe", "chapter", "good", "-o", "unheard", "--json", SMALL);
    check_line(&run, 1, "standard output: No space left on device");
    assert_true(root_has("unheard/model.safetensors") && root_has("unheard/schedule.svg"));
    COMMAND(&run, closed, "train", "--recipe", "chapter", "good", "-o", "unheard too", "--json",
            SMALL);
    check_line(&run, 1, "standard output: Bad file descriptor");
    assert_true(root_has("unheard too/last.safetensors"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),     cmocka_unit_test(test_train),
        cmocka_unit_test(test_eval),      cmocka_unit_test(test_run_as_model),
        cmocka_unit_test(test_json),      cmocka_unit_test(test_image_memory),
        cmocka_unit_test(test_models),    cmocka_unit_test(test_file_limit),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_stdout),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
