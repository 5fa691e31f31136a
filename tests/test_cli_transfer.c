/* test_cli_transfer.c - kiln train from given weights: a head for other classes, the preprocessing
 * they learned with, and fine-tuning. */
#include "core/ctx.h"
#include "data/shapes.h"
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 32768 }; /* numbers of a tensor */
#define SMALL "-b", "8", "--img-size", "32", "--threads", "2", "--model", "simple_cnn"

/* From other to d. */
static void move_class(const char *part, int c) {
    char from[256], to[TREE_PATH + 256];
    snprintf(from, sizeof from, "d/%s", part);
    tree_folder(root, from);
    snprintf(from, sizeof from, "d/%s/%s", part, kn_shapes_class(c));
    snprintf(to, sizeof to, "%s", root_path(from));
    snprintf(from, sizeof from, "other/%s/%s", part, kn_shapes_class(c));
    assert_int_equal(rename(root_path(from), to), 0);
}

/* The start of a text file of a run. */
static const char *text_of(const char *relative) {
    static char text[4096];
    FILE *f = fopen(root_path(relative), "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* root holds d (4 classes of the shapes), other (3 others) and run (a training on d). */
static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "other", 7, 12, 4);
    for (int c = 0; c < 4; c++) {
        move_class("train", c);
        move_class("valid", c);
    }
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "--epochs", "2", "-o", "run", "-q",
            SMALL);
    command_expect(&run, 0);
    command_free(&run);
    return 0;
}

/* ---- weights ---- */

/* Writes run's tensors as another program would, without metadata; without the last so many. */
static void write_bare(const char *to, int leave_out) {
    char target[TREE_PATH + 256];
    kn_st_file *file;
    kn_error error = {0};
    assert_int_equal(kn_st_open(&file, root_path("run/model.safetensors"), NULL, &error), KN_OK);
    snprintf(target, sizeof target, "%s", root_path(to));
    assert_int_equal(
        kn_st_write(target, file->tensor, file->tensors - leave_out, NULL, 0, NULL, &error), KN_OK);
    kn_st_close(file);
}

/* A tensor of a model file of the run folder named, into out; its numbers. */
static int read_tensor(const char *run, const char *file_name, const char *name, float *out) {
    char path[64];
    kn_st_file *file;
    kn_error error = {0};
    snprintf(path, sizeof path, "%s/%s.safetensors", run, file_name);
    assert_int_equal(kn_st_open(&file, root_path(path), NULL, &error), KN_OK);
    const kn_st_entry *e = kn_st_find(file, name);
    assert_non_null(e);
    int count = (int)kn_shape_numel(&e->shape);
    assert_true(count <= MOST);
    assert_true(kn_st_to_f32(e, out));
    kn_st_close(file);
    return count;
}

/* The rate is next to nothing, so what was loaded is what is saved. */
#define LOADS(run, data, weights, out, ...)                                                        \
    COMMAND(run, HERE, "train", "--recipe", "chapter", data, "--weights", weights, "--epochs",     \
            "1", "--sched", "constant", "--lr", "1e-12", "-o", out, __VA_ARGS__, SMALL)

static void test_same_classes(void **state) {
    (void)state;
    static float before[MOST], after[MOST];
    command_run run;
    char value[COMMAND_VALUE], norm[COMMAND_VALUE], mean[COMMAND_VALUE];
    LOADS(&run, "d", "run/model.safetensors", "same", "--json");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"weights\"", 0, "head_replaced", value);
    assert_string_equal(value, "false");
    check_contains(run.err, "weights of run/model.safetensors, the head included");
    command_free(&run);
    int count = read_tensor("run", "model", "layers.5.weight", before);
    assert_int_equal(read_tensor("same", "model", "layers.5.weight", after), count);
    for (int i = 0; i < count; i++)
        assert_true(fabsf(after[i] - before[i]) < 1e-6F);
    COMMAND(&run, HERE, "info", "run/model.safetensors", "--json");
    command_value(run.out, "info", 0, "mean", norm);
    command_free(&run);
    COMMAND(&run, HERE, "info", "same/model.safetensors", "--json");
    command_value(run.out, "info", 0, "mean", mean);
    command_free(&run);
    assert_string_equal(mean, norm); /* the pictures are seen as before */
}

static void test_other_classes(void **state) {
    (void)state;
    static float before[MOST], after[MOST];
    command_run run;
    char value[COMMAND_VALUE];
    write_bare("bare.st", 0);
    LOADS(&run, "other", "bare.st", "three", "--json");
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"weights\"", 0, "head_replaced", value);
    assert_string_equal(value, "true");
    command_value(run.out, "\"event\":\"weights\"", 0, "head", value);
    assert_string_equal(value, "\"layers.5\"");
    command_value(run.out, "\"event\":\"weights\"", 0, "classes", value);
    assert_string_equal(value, "4");
    check_contains(run.err, "weights of bare.st; its head layers.5 is for 4 classes, so a new one "
                            "for 3 takes its place");
    command_free(&run);
    int count = read_tensor("run", "model", "layers.2.weight", before);
    assert_int_equal(read_tensor("three", "model", "layers.2.weight", after), count);
    assert_memory_equal(before, after, (size_t)count * sizeof *after);
    assert_int_equal(read_tensor("three", "model", "layers.5.weight", after), 3 * 128);
    COMMAND(&run, HERE, "info", "three/model.safetensors", "--json");
    command_value(run.out, "info", 0, "mean", value);
    assert_string_equal(value, "[0.485000014,0.456,0.405999988]"); /* bare weights: ImageNet's */
    command_free(&run);
}

static void test_what_does_not_fit(void **state) {
    (void)state;
    command_run run;
    write_bare("part.st", 2);
    LOADS(&run, "d", "part.st", "never", "-q");
    command_expect(&run, 1);
    check_contains(run.err, "part.st: does not fit the model (2 missing, 0 unknown, 0 of another "
                            "shape or type): missing layers.");
    command_free(&run);
    assert_false(root_has("never"));
}

/* ---- fine-tuning ---- */

/* One run of 1 + 3 epochs: the first leaves the body's bits alone. */
static void test_fine_tune(void **state) {
    (void)state;
    static float body[MOST], after[MOST];
    command_run run;
    char value[COMMAND_VALUE];
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "other", "--weights",
            "run/model.safetensors", "--fine-tune", "3", "--lr", "0.05", "-o", "tuned", "--json",
            SMALL);
    command_expect(&run, 0);
    for (int e = 0; e < 4; e++) {
        command_value(run.out, "\"event\":\"epoch\"", e, "epoch", value);
        assert_int_equal(value[0] - '0', e);
    }
    check_contains(run.err, "fine-tuning: 1 epoch of the head alone, then 3 of all");
    command_value(run.out, "\"event\":\"weights\"", 0, "head_replaced", value);
    assert_string_equal(value, "true");
    command_free(&run);
    assert_int_equal(command_lines(text_of("tuned/history.csv")), 5);
    check_contains(text_of("tuned/args.json"), "\"epochs\":4,");
    check_contains(text_of("tuned/args.json"), "\"fine-tune\":3,");
    check_contains(text_of("tuned/args.json"), "\"sched\":\"one-cycle-cos\"");
    int count = read_tensor("run", "model", "layers.0.weight", body);
    assert_int_equal(read_tensor("tuned", "last", "layers.0.weight", after), count);
    assert_true(memcmp(body, after, (size_t)count * sizeof *body) != 0);
}

/* The rate of the head alone is another than that of the whole model, which is what training
 * without fine-tuning looks for; and the body trains afterwards. */
static void test_fine_tune_finds_a_rate(void **state) {
    (void)state;
    static float body[MOST], after[MOST];
    command_run run;
    char head[COMMAND_VALUE], all[COMMAND_VALUE];
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "other", "--weights",
            "run/model.safetensors", "--fine-tune", "1", "--lr", "auto", "-o", "found", "--json",
            SMALL);
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"lr_found\"", 0, "lr", head);
    command_free(&run);
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "other", "--weights",
            "run/model.safetensors", "--epochs", "1", "--lr", "auto", "-o", "whole", "--json",
            SMALL);
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"lr_found\"", 0, "lr", all);
    command_free(&run);
    assert_string_not_equal(head, all);
    int count = read_tensor("run", "model", "layers.0.weight", body);
    assert_int_equal(read_tensor("found", "last", "layers.0.weight", after), count);
    assert_true(memcmp(body, after, (size_t)count * sizeof *body) != 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_classes),           cmocka_unit_test(test_other_classes),
        cmocka_unit_test(test_what_does_not_fit),      cmocka_unit_test(test_fine_tune),
        cmocka_unit_test(test_fine_tune_finds_a_rate),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
