/* test_weights.c - starting from weights of other programs: halves, batch norm's counters, a head
 * for other classes, and what is said of a file that does not fit. */
#include <kiln/kiln.h>

#include "core/ctx.h"
#include "support/model_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/kiln-weights-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(path, sizeof path, "%s/w.st", mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* ---- a network of two matrices, with a norm's buffers between them ---- */

static const kn_module_class net_class = {.name = "Net"};

static kn_module *new_net(kn_ctx *ctx, int classes, bool counter) {
    kn_module *m = kn_module_new(ctx, &net_class, sizeof *m);
    assert_non_null(kn_module_child(m, "body", kn_linear(ctx, 3, 2)));
    kn_module *bn = kn_module_new(ctx, &net_class, sizeof *bn);
    assert_non_null(kn_module_buffer(bn, "running_mean", KN_F32, KN_SHAPE(2)));
    if (counter)
        assert_non_null(kn_module_buffer(bn, "num_batches_tracked", KN_I32, KN_SHAPE(1)));
    assert_non_null(kn_module_child(m, "bn", bn));
    assert_non_null(kn_module_child(m, "fc", kn_linear(ctx, 2, classes)));
    return m;
}

/* All parameters and the running mean, one after the other. */
static int read_net(kn_module *m, float *out) {
    kn_named_list all;
    int count = 0;
    assert_int_equal(kn_module_state_list(m, &all), KN_OK);
    for (int i = 0; i < all.count; i++) {
        const kn_named *n = &all.item[i];
        const kn_tensor *t = n->param != NULL ? kn_param_value(n->param) : n->buffer;
        if (kn_tensor_dtype(t) != KN_F32)
            continue;
        int numel = (int)kn_tensor_numel(t);
        size_t bytes = (size_t)numel * sizeof *out;
        assert_int_equal(kn_tensor_read(kn_module_ctx(m), t, out + count, bytes), KN_OK);
        count += numel;
    }
    kn_named_free(kn_module_ctx(m), &all);
    return count;
}

/* Registration order: body.weight 6, body.bias 2, bn.running_mean 2, fc.weight 2 a class, fc.bias 1
 * a class. */
enum { BODY = 10, MOST = 64 };

static const float body_weight[6] = {1, 2, 3, -4, 0.5F, 0}, two[2] = {7, 8};
static const float head[8] = {1, 2, 3, 4, 5, 6, 7, 8}, head_bias[4] = {9, 10, 11, 12};
static const int64_t tracked = 1234;

/* A file whose head has so many classes; bias of as many unless told otherwise. */
static void write_file(int classes, int biases) {
    const kn_st_entry entry[] = {{"body.weight", KN_F32, {2, {2, 3}}, body_weight},
                                 {"body.bias", KN_F32, {1, {2}}, two},
                                 {"bn.running_mean", KN_F32, {1, {2}}, two},
                                 {"bn.num_batches_tracked", KN_I64, {0, {0}}, &tracked},
                                 {"fc.weight", KN_F32, {2, {classes, 2}}, head},
                                 {"fc.bias", KN_F32, {1, {biases}}, head_bias}};
    assert_int_equal(kn_st_write(path, entry, KN_COUNT(entry), NULL, 0, NULL, NULL), KN_OK);
}

static const kn_weights_opts replace = {.replace_head = true};

/* ---- what fits ---- */

/* One file has the counter and the model not, one model has it as another type. */
static void counters_may_be_there_or_not(void **state) {
    kn_ctx *ctx = *state;
    float have[MOST];
    for (int counter = 0; counter < 2; counter++) {
        kn_module *m = new_net(ctx, 4, counter);
        write_file(4, 4);
        kn_weights_report report;
        assert_int_equal(kn_weights_load_with(m, path, replace, &report), KN_OK);
        assert_int_equal(read_net(m, have), BODY + 12);
        assert_memory_equal(have, body_weight, sizeof body_weight);
        assert_memory_equal(have + 8, two, sizeof two);
        assert_memory_equal(have + BODY, head, sizeof head);
        assert_memory_equal(have + BODY + 8, head_bias, sizeof head_bias);
        assert_string_equal(report.head, "fc");
        assert_false(report.head_replaced);
        assert_int_equal(report.file_classes, 4);
        assert_int_equal(report.converted, 0);
        assert_false(report.has_norm);
        kn_module_free(m);
    }
    kn_module *m = new_net(ctx, 4, true);
    const kn_st_entry without[] = {{"body.weight", KN_F32, {2, {2, 3}}, body_weight},
                                   {"body.bias", KN_F32, {1, {2}}, two},
                                   {"bn.running_mean", KN_F32, {1, {2}}, two},
                                   {"fc.weight", KN_F32, {2, {4, 2}}, head},
                                   {"fc.bias", KN_F32, {1, {4}}, head_bias}};
    assert_int_equal(kn_st_write(path, without, KN_COUNT(without), NULL, 0, NULL, NULL), KN_OK);
    assert_int_equal(kn_weights_load(m, path), KN_OK);
    kn_module_free(m);
}

static void halves_are_converted(void **state) {
    kn_ctx *ctx = *state;
    static const uint16_t f16[6] = {0x3C00, 0xC000, 0x3555, 0x0001, 0x7BFF, 0x8000};
    static const uint16_t bf16[2] = {0x3F80, 0xC020};
    static const float want[8] = {1, -2, 0x1.554p-2F, 0x1p-24F, 65504, -0.0F, 1, -2.5F};
    const kn_st_entry entry[] = {{"weight", KN_F16, {2, {2, 3}}, f16},
                                 {"bias", KN_BF16, {1, {2}}, bf16}};
    assert_int_equal(kn_st_write(path, entry, 2, NULL, 0, NULL, NULL), KN_OK);
    kn_module *m = kn_linear(ctx, 3, 2);
    kn_weights_report report;
    float have[8];
    assert_int_equal(kn_weights_load_with(m, path, (kn_weights_opts){0}, &report), KN_OK);
    assert_int_equal(report.converted, 2);
    assert_string_equal(report.head, ""); /* the module is the head itself, and has no name */
    assert_int_equal(read_params(m, false, have), 8);
    assert_memory_equal(have, want, sizeof want);
    kn_module_free(m);
}

/* A file of Kiln's own says how its pictures were normalised. */
static void model_files_tell_their_norm(void **state) {
    kn_ctx *ctx = *state;
    static const kn_normalize norm = {{0.25F, 0.5F, 0.125F}, {0.5F, 0.25F, 1}};
    static const char *const names[] = {"a", "b"};
    kn_vocab vocab;
    assert_int_equal(kn_vocab_from(ctx, names, 2, &vocab), KN_OK);
    const kn_model_info info = {
        .arch = "simple_cnn", .vocab = &vocab, .size = 32, .norm = &norm, .batch_size = 8};
    kn_module *m = kn_simple_cnn(ctx, 2), *other = kn_simple_cnn(ctx, 3);
    assert_int_equal(kn_model_save(m, &info, path), KN_OK);
    kn_weights_report report;
    assert_int_equal(kn_weights_load_with(other, path, replace, &report), KN_OK);
    assert_true(report.has_norm && report.head_replaced);
    assert_string_equal(report.head, "layers.5");
    assert_int_equal(report.file_classes, 2);
    assert_memory_equal(&report.norm, &norm, sizeof norm);
    kn_module_free(other);
    kn_module_free(m);
    kn_vocab_free(ctx, &vocab);
}

/* ---- a head for other classes ---- */

static void a_head_for_other_classes_is_left(void **state) {
    kn_ctx *ctx = *state;
    float before[MOST], have[MOST];
    for (int classes = 3; classes <= 5; classes += 2) { /* fewer, and more, than the file's 4 */
        kn_module *m = new_net(ctx, classes, false);
        int count = read_net(m, before);
        write_file(4, 4);
        assert_int_equal(kn_weights_load(m, path), KN_ERR_FORMAT); /* not asked for */
        check_error(ctx, KN_ERR_FORMAT, "fc.weight is f32 [4,2]");
        kn_weights_report report;
        assert_int_equal(kn_weights_load_with(m, path, replace, &report), KN_OK);
        assert_int_equal(read_net(m, have), count);
        assert_memory_equal(have, body_weight, sizeof body_weight);
        assert_memory_equal(have + 8, two, sizeof two);
        assert_memory_equal(have + BODY, before + BODY, (size_t)(count - BODY) * sizeof *have);
        assert_true(report.head_replaced);
        assert_int_equal(report.file_classes, 4);
        kn_module_free(m);
    }
}

/* Only the number of classes may differ. */
static void other_differences_are_refused(void **state) {
    kn_ctx *ctx = *state;
    float before[MOST], have[MOST];
    kn_module *m = new_net(ctx, 3, false);
    int count = read_net(m, before);
    write_file(4, 2); /* whose bias is no bias of it */
    assert_int_equal(kn_weights_load_with(m, path, replace, NULL), KN_ERR_FORMAT);
    check_error(ctx, KN_ERR_FORMAT, "fc.bias is f32 [2], expected f32 [3]");
    const kn_st_entry entry[] = {{"body.weight", KN_F32, {2, {2, 3}}, body_weight},
                                 {"body.bias", KN_F32, {1, {2}}, two},
                                 {"bn.running_mean", KN_F32, {1, {2}}, two},
                                 {"fc.weight", KN_F32, {2, {2, 4}}, head}, /* other inputs */
                                 {"fc.bias", KN_F32, {1, {2}}, head_bias},
                                 {"fc.extra", KN_F32, {1, {2}}, two}};
    assert_int_equal(kn_st_write(path, entry, KN_COUNT(entry), NULL, 0, NULL, NULL), KN_OK);
    assert_int_equal(kn_weights_load_with(m, path, replace, NULL), KN_ERR_FORMAT);
    check_error(ctx, KN_ERR_FORMAT,
                "(0 missing, 1 unknown, 2 of another shape or type): fc.weight");
    assert_int_equal(read_net(m, have), count);
    assert_memory_equal(have, before, (size_t)count * sizeof *have);
    kn_module_free(m);
}

/* ---- a file for quite another model ---- */

static int logged;

static void count_lines(void *user, kn_log_level level, const char *line) {
    (void)user;
    (void)level;
    logged += strncmp(line, "weights: ", 9) == 0;
}

/* The message has the counts and what room there is; the log has all. */
static void long_lists_are_counted(void **state) {
    (void)state;
    kn_ctx *ctx;
    kn_error error = {0};
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){.device = "cpu", .log = count_lines}, &error),
                     KN_OK);
    enum { EXTRA = 200 };
    static char name[EXTRA][48];
    kn_st_entry entry[EXTRA];
    for (int i = 0; i < EXTRA; i++) {
        snprintf(name[i], sizeof name[i], "encoder.layer.%d.weight", i);
        entry[i] = (kn_st_entry){name[i], KN_F32, {1, {2}}, two};
    }
    assert_int_equal(kn_st_write(path, entry, EXTRA, NULL, 0, NULL, NULL), KN_OK);
    kn_module *m = kn_linear(ctx, 3, 2);
    logged = 0;
    assert_int_equal(kn_weights_load(m, path), KN_ERR_FORMAT);
    error = kn_error_take(ctx);
    check_contains(error.message, "(2 missing, 200 unknown, 0 of another shape or type): missing "
                                  "weight; missing bias; unknown encoder.layer.0.weight; ");
    check_contains(error.message, "; and ");
    assert_string_equal(error.message + strlen(error.message) - 5, " more");
    assert_int_equal(logged, EXTRA + 2);
    kn_module_free(m);
    kn_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(counters_may_be_there_or_not),  MODEL_CASE(halves_are_converted),
        MODEL_CASE(model_files_tell_their_norm),   MODEL_CASE(a_head_for_other_classes_is_left),
        MODEL_CASE(other_differences_are_refused), cmocka_unit_test(long_lists_are_counted),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
