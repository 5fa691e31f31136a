/* disturbed.c - see disturbed.h. */
#include "support/disturbed.h"

#include "support/check.h"
#include "support/pictures.h"
#include "support/tree.h"

#include "core/ctx.h"

#include <kiln/safetensors.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EACH  "--threads 1 -j 1"
#define SMALL "--recipe chapter -b 8 --img-size 32 -q --json " EACH
#define TWICE SMALL " --epochs 2"
#define MODEL "model/model.safetensors"

/* Words at spaces. */
static void start_line(command_run *run, command_opts opts, const char *line) {
    enum { WORDS = 48 };
    char text[512], *rest = NULL;
    const char *word[WORDS + 1] = {NULL};
    assert_true(strlen(line) < sizeof text);
    memcpy(text, line, strlen(line) + 1);
    int count = 0;
    for (char *w = strtok_r(text, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
        assert_true(count < WORDS);
        word[count++] = w;
    }
    command_start(run, opts, word);
}

/* ---- what lies ready ---- */

static void put_png(const char *root, const char *name) {
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

static void remove_folder(const char *root, const char *name) {
    char path[TREE_PATH + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (stat(path, &st) == 0)
        tree_remove(path);
}

/* A copy by the system's own means: what is tested must not be what tests. */
static void copy_folder(const char *root, const char *from, const char *to) {
    char line[3 * TREE_PATH];
    remove_folder(root, to);
    snprintf(line, sizeof line, "cp -r '%s/%s' '%s/%s'", root, from, root, to);
    assert_int_equal(system(line), 0); // NOLINT(cert-env33-c): paths of our own
}

/* The model's tensors alone. */
static void write_bare(const char *root) {
    char from[TREE_PATH + 64], to[TREE_PATH + 64];
    kn_st_file *file;
    snprintf(from, sizeof from, "%s/model/model.safetensors", root);
    snprintf(to, sizeof to, "%s/bare.safetensors", root);
    assert_int_equal(kn_st_open(&file, from, NULL, NULL), KN_OK);
    assert_int_equal(kn_st_write(to, file->tensor, file->tensors, NULL, 0, NULL, NULL), KN_OK);
    kn_st_close(file);
}

/* A model, and a training that was left in the middle. */
static void make_models(const char *root) {
    command_run run;
    command_opts here = {.folder = root, .home = root};
    start_line(&run, here, "train d " TWICE " -o model");
    command_wait(&run);
    command_expect(&run, 0);
    command_free(&run);
    write_bare(root);
    copy_folder(root, "model", "half");
    char path[TREE_PATH + 64], other[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/half/previous.ckpt", root); /* of the first epoch's end */
    snprintf(other, sizeof other, "%s/half/last.ckpt", root);
    assert_int_equal(rename(path, other), 0);
    tree_put(root, "half/next.ckpt.tmp-1", "of a process that was killed", 20);
    start_line(&run, here, "train d " TWICE " -o out --cache disk");
    command_wait(&run);
    command_expect(&run, 0);
    command_free(&run);
    copy_folder(root, ".samples", "samples");
}

static void make_empty(const char *root) {
    tree_folder(root, "out");
}

static void one_run(const char *root) {
    remove_folder(root, "runs");
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
static void damage_samples(const char *root) {
    char path[TREE_PATH + 512];
    struct dirent *e;
    copy_folder(root, "samples", ".samples");
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

void disturbed_prepare(const char *root) {
    char path[TREE_PATH + 64];
    command_data(root, "d", 2, 8, 4);
    command_data(root, "photos", 2, 8, 8);
    command_data(root, "bad", 2, 12, 4);
    tree_put(root, "bad/train/bars/001.jpg", "no picture", 10);
    put_png(root, "bad/train/arrow/grey.png");
    snprintf(path, sizeof path, "%s/bad/train/bars/nowhere.jpg", root);
    assert_int_equal(symlink("nothing there", path), 0);
    make_models(root);
}

/* ---- the commands ---- */

static const disturbed commands[] = {
    {"train", "train d " TWICE " -o out --cache ram --checkpoint-every 0", .trains = true},
    {"train, a cache file is made", "train d " TWICE " -o out --cache disk", .without = ".samples",
     .trains = true},
    {"train from a cache file", "train d " TWICE " -o out --cache disk", .trains = true},
    {"train from damaged cache files", "train d " TWICE " -o out --cache disk",
     .before = damage_samples, .trains = true},
    {"train, much at once",
     "train bad " TWICE " -o out --on-bad-image skip --activations --ema 0.9 --mixup 0.4 "
     "--opt ranger --aug strong --class-weights balanced --clip 1",
     .before = make_empty, .trains = true},
    {"train, other much",
     "train d " TWICE " -o out --cutmix 1 --opt muon --lr auto --smoothing 0.1 --accumulate 2 "
     "--patience 1 --dtype bf16",
     .trains = true, .slow = true},
    {"train on weights",
     "train d " SMALL " -o out --weights " MODEL " --fine-tune 1 --opt adamw --device onednn",
     .trains = true, .slow = true},
    {"train a residual net", "train d " SMALL " -o out --model xresnet18 --device cpu --epochs 1",
     .trains = true, .slow = true, .late = true},
    {"train it by oneDNN", "train d " SMALL " -o out --model xresnet18 --device onednn --epochs 1",
     .trains = true, .slow = true, .late = true},
    {"train by plain loops", "train d " TWICE " -o out --device reference", .trains = true,
     .slow = true, .late = true},
    {"train into runs/2", "train photos/train " SMALL " --epochs 1", .before = one_run,
     .slow = true},
    {"train on what is drawn first",
     "train shapes --recipe chapter -b 64 --img-size 32 " EACH " -q --json --epochs 1 -o out",
     .without = "shapes-1", .trains = true, .slow = true, .late = true},
    {"resume", "train --resume out -q --json", .trains = true, .resumes = true},
    {"lr-find", "lr-find d --recipe chapter -b 8 --img-size 32 " EACH " -q -o out", .slow = true},
    {"predict", "predict " MODEL " d/valid " EACH, .repeats = true},
    {"predict files",
     "predict " MODEL " d/valid/bars/001.jpg bad/train/arrow/grey.png missing.jpg "
     "bad/train/bars/001.jpg -k 2 --json " EACH,
     .code = 3, .repeats = true},
    {"eval", "eval " MODEL " d " EACH " -o out --tta", .slow = false},
    {"eval bare weights",
     "eval --weights bare.safetensors --model simple_cnn d " EACH " -o out -q --json",
     .slow = true},
    {"explain", "explain " MODEL " d " EACH " -o out -k 3 -q", .slow = true},
    {"check", "check d -j 1", .repeats = true},
    {"check and draw", "check photos/train -j 1 --sheet -o sheet", .without = "sheet",
     .slow = true},
    {"check what is bad", "check bad -j 1 --json", .code = 3, .repeats = true},
    {"info", "info " MODEL " d --shapes", .repeats = true},
    {"doctor", "doctor", .reports = true},
};

const disturbed *disturbed_command(int i) {
    return (size_t)i < KN_COUNT(commands) ? &commands[i] : NULL;
}

const disturbed disturbed_on_two_threads = {
    "train on two threads",
    "train d --recipe chapter -b 8 --img-size 32 --threads 2 -j 1 -q --json --epochs 2 -o out "
    "--device cpu --checkpoint-every 0",
    .trains = true};

void disturbed_set_up(const char *root, const disturbed *d) {
    if (d->resumes)
        copy_folder(root, "half", "out");
    else
        remove_folder(root, "out");
    if (d->without != NULL)
        remove_folder(root, d->without);
    if (d->before != NULL)
        d->before(root);
}

void disturbed_run(const char *root, const disturbed *d, command_run *run) {
    start_line(run, (command_opts){.folder = root, .home = root}, d->line);
    command_wait(run);
}
