/* test_safetensors.c - files of the Python package are read, ours are byte for byte what the golden
 * says (which the Python package accepted), and a failure loses nothing. */
#include <kiln/safetensors.h>

#include "core/ctx.h"
#include "core/file.h"
#include "support/counted.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#define GOLDEN(name) KN_TEST_DIR "/data/safetensors/" name ".safetensors"

/* ---- helpers ---- */

static void *room(void *user, size_t bytes) {
    return *(void **)user = malloc(bytes);
}

static unsigned char *slurp(const char *path, size_t *size) {
    void *data = NULL;
    assert_int_equal(kn_file_read(path, 1 << 26, room, &data, size, NULL), KN_OK);
    return data;
}

static void assert_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

static char folder[] = "/tmp/kiln-safetensors-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(path, sizeof path, "%s/a.st", mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails when a temporary file was left */
}

/* ---- the golden's content, in the order of kiln.safetensors ---- */

static const float weight[6] = {-1.0f, -0.5f, 0.0f, 0.5f, 1.0f, 1.5f};
static const uint8_t odd[3] = {1, 2, 255};
static const uint16_t half[2] = {0x3F80, 0xC020};
static const int32_t count[2] = {-7, 2147483647};
static const int64_t tracked = ((int64_t)1 << 40) + 1;

static const kn_st_entry golden[] = {
    {"layers.0.weight", KN_F32, {2, {2, 3}}, weight},
    {"odd", KN_U8, {1, {3}}, odd},
    {"half", KN_BF16, {2, {2, 1}}, half},
    {"none", KN_F32, {2, {0, 4}}, NULL},
    {"count", KN_I32, {1, {2}}, count},
    {"num_batches_tracked", KN_I64, {0, {0}}, &tracked},
};
static const kn_st_meta golden_meta[] = {
    {"kiln.classes", "[\"a\",\"b\"]"},
    {"quote", "say \"hi\"\n"},
    {"w\xC3\xB6rld", "\xE6\x97\xA5\xE6\x9C\xAC"},
};
enum { GOLDEN_TENSORS = KN_COUNT(golden), GOLDEN_METAS = KN_COUNT(golden_meta) };

static void check_golden(const kn_st_file *file) {
    assert_int_equal(file->tensors, GOLDEN_TENSORS);
    assert_int_equal(file->metas, GOLDEN_METAS);
    for (int i = 0; i < GOLDEN_TENSORS; i++) {
        const kn_st_entry *t = kn_st_find(file, golden[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, golden[i].dtype);
        assert_true(kn_shape_equal(&t->shape, &golden[i].shape));
        size_t bytes = (size_t)kn_shape_numel(&t->shape) * kn_dtype_size(t->dtype);
        if (bytes > 0)
            assert_memory_equal(t->data, golden[i].data, bytes);
    }
    for (int i = 0; i < GOLDEN_METAS; i++)
        assert_string_equal(kn_st_meta_get(file, golden_meta[i].key), golden_meta[i].value);
    assert_null(kn_st_find(file, "layers.0.bias"));
    assert_null(kn_st_meta_get(file, "kiln.arch"));
}

/* ---- reading and writing ---- */

static void reads_what_python_wrote(void **state) {
    (void)state;
    static const char *const files[] = {GOLDEN("python"), GOLDEN("kiln")};
    for (size_t i = 0; i < KN_COUNT(files); i++) {
        kn_st_file *file;
        kn_error error = {0};
        if (kn_st_open(&file, files[i], NULL, &error) != KN_OK)
            fail_msg("%s", error.message);
        check_golden(file);
        for (int k = 1; k < file->tensors; k++) /* in the order of their bytes */
            assert_true((const char *)file->tensor[k].data >=
                        (const char *)file->tensor[k - 1].data);
        kn_st_close(file);
    }
}

static void writes_the_golden_bytes(void **state) {
    (void)state;
    kn_error error = {0};
    assert_int_equal(
        kn_st_write(path, golden, GOLDEN_TENSORS, golden_meta, GOLDEN_METAS, NULL, &error), KN_OK);
    size_t size, expected_size;
    unsigned char *bytes = slurp(path, &size);
    unsigned char *expected = slurp(GOLDEN("kiln"), &expected_size);
    assert_int_equal(size, expected_size);
    assert_memory_equal(bytes, expected, size);
    free(bytes);
    free(expected);
}

static void empty_files_are_valid(void **state) {
    (void)state;
    kn_st_file *file;
    assert_int_equal(kn_st_open(&file, GOLDEN("empty"), NULL, NULL), KN_OK);
    assert_int_equal(file->tensors, 0);
    assert_int_equal(file->metas, 0);
    assert_null(kn_st_find(file, "w"));
    kn_st_close(file);
    assert_int_equal(kn_st_write(path, NULL, 0, NULL, 0, NULL, NULL), KN_OK);
    size_t size;
    unsigned char *bytes = slurp(path, &size);
    assert_int_equal(size, 16);
    assert_memory_equal(bytes, "\x8\0\0\0\0\0\0\0{}      ", 16);
    free(bytes);
    kn_st_close(NULL);
}

/* Larger than the writer's buffer, so that data and header take different ways to the disk. */
static void a_large_tensor_comes_back(void **state) {
    (void)state;
    enum { N = 300001 };
    float *values = malloc(N * sizeof *values);
    for (int i = 0; i < N; i++)
        values[i] = (float)i * 0.25f;
    const kn_st_entry tensors[] = {{"b", KN_U8, {1, {1}}, "x"},
                                   {"a", KN_F32, {3, {1, N, 1}}, values}};
    assert_int_equal(kn_st_write(path, tensors, 2, NULL, 0, NULL, NULL), KN_OK);
    kn_st_file *file;
    assert_int_equal(kn_st_open(&file, path, NULL, NULL), KN_OK);
    assert_string_equal(file->tensor[0].name, "b"); /* the order given, not the alphabet's */
    assert_memory_equal(kn_st_find(file, "a")->data, values, N * sizeof *values);
    kn_st_close(file);
    free(values);
}

/* ---- halves ---- */

/* Written by PyTorch in f16: a normal number, the largest, the smallest, a third, and what is not
 * finite. */
static void published_halves_become_f32(void **state) {
    (void)state;
    static const float want[8] = {1,           -2.5F, 65504,     0x1p-24F,
                                  0x1.554p-2F, -0.0F, -INFINITY, -0x1.55p-16F};
    float have[8];
    kn_st_file *file;
    assert_int_equal(kn_st_open(&file, GOLDEN("float16"), NULL, NULL), KN_OK);
    const kn_st_entry *e = kn_st_find(file, "w");
    assert_int_equal(e->dtype, KN_F16);
    assert_int_equal(e->shape.dim[0], 8);
    assert_true(kn_st_to_f32(e, have));
    assert_memory_equal(have, want, sizeof want);
    kn_st_close(file);
    assert_true(kn_st_to_f32(&golden[2], have));
    assert_true(have[0] == 1 && have[1] == -2.5F);
    assert_true(kn_st_to_f32(&golden[0], have));
    assert_memory_equal(have, weight, sizeof weight);
    assert_false(kn_st_to_f32(&golden[1], have));
}

/* All 65,536 of them, against the definition. */
static void every_half_is_exact(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t bits = (uint16_t)h;
        float have;
        kn_st_entry e = {"h", KN_F16, {0, {0}}, &bits};
        assert_true(kn_st_to_f32(&e, &have));
        int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
        double want = exponent == 0    ? ldexp(fraction, -24)
                      : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                       : ldexp(1024 + fraction, exponent - 25);
        assert_int_equal(isnan(have), isnan(want));
        if (!isnan(want))
            assert_true((double)have == (h & 0x8000 ? -want : want));
        assert_int_equal(signbit(have) != 0, h >> 15);
    }
}

/* ---- failing ---- */

static void files_that_are_no_model_are_named(void **state) {
    (void)state;
    kn_st_file *file;
    kn_error error = {0};
    assert_int_equal(kn_st_open(&file, "/nonexistent/m.st", NULL, &error), KN_ERR_IO);
    assert_contains(error.message, "/nonexistent/m.st");
    assert_null(file);
    error = (kn_error){0};
    assert_int_equal(kn_st_open(&file, folder, NULL, &error), KN_ERR_IO);
    error = (kn_error){0};
    assert_int_equal(kn_st_open(&file, KN_TEST_DIR "/test_safetensors.c", NULL, &error),
                     KN_ERR_FORMAT);
    assert_contains(error.message, "its header would have");
    assert_int_equal(kn_file_write(path, "", 0, NULL), KN_OK);
    error = (kn_error){0};
    assert_int_equal(kn_st_open(&file, path, NULL, &error), KN_ERR_FORMAT);
    assert_contains(error.message, "it has 0 bytes");
}

static void wrong_arguments_are_not_written(void **state) {
    (void)state;
    char name[KN_ST_MAX_NAME + 2] = "";
    memset(name, 'n', KN_ST_MAX_NAME + 1);
    const struct {
        kn_st_entry tensor[2];
        kn_st_meta meta[2];
        kn_status status;
        const char *reason;
    } bad[] = {
        {{golden[1], golden[1]}, {{"k", ""}, {"l", ""}}, KN_ERR_ARG, "\"odd\" is given twice"},
        {{golden[0], golden[1]}, {{"k", ""}, {"k", ""}}, KN_ERR_ARG, "\"k\" is given twice"},
        {{golden[0], golden[1]}, {{"k", ""}, {"l", "\xC3"}}, KN_ERR_ARG, "\"l\" is NULL or not"},
        {{golden[0], golden[1]}, {{"k", ""}, {"l", NULL}}, KN_ERR_ARG, "\"l\" is NULL or not"},
        {{{"\xFFw", KN_U8, {0}, odd}}, {{"k", ""}}, KN_ERR_ARG, "\"?w\" is not UTF-8"},
        {{{NULL, KN_U8, {0}, odd}}, {{"k", ""}}, KN_ERR_ARG, "NULL"},
        {{{name, KN_U8, {0}, odd}}, {{"k", ""}}, KN_ERR_ARG, "has 1025 bytes"},
        {{{"__metadata__", KN_U8, {0}, odd}}, {{"k", ""}}, KN_ERR_ARG, "may not be named"},
        {{{"w", KN_U8, {9, {0}}, odd}}, {{"k", ""}}, KN_ERR_ARG, "rank 9"},
        {{{"w", KN_U8, {1, {-1}}, odd}}, {{"k", ""}}, KN_ERR_ARG, "dimension of -1"},
        {{{"w", KN_U8, {1, {1}}, NULL}}, {{"k", ""}}, KN_ERR_ARG, "\"w\" has no data"},
        {{{"w", KN_U8, {2, {1 << 30, 1 << 30}}, odd}}, {{"k", ""}}, KN_ERR_LIMIT, "too large"},
        {{{"w", KN_I64, {1, {(int64_t)1 << 32}}, odd}}, {{"k", ""}}, KN_ERR_LIMIT, "limit is"},
    };
    unlink(path);
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        kn_error error = {0};
        int tensors = bad[i].tensor[1].name != NULL ? 2 : 1;
        int metas = bad[i].meta[1].key != NULL ? 2 : 1;
        assert_int_equal(
            kn_st_write(path, bad[i].tensor, tensors, bad[i].meta, metas, NULL, &error),
            bad[i].status);
        assert_contains(error.message, path);
        assert_contains(error.message, bad[i].reason);
        assert_int_equal(access(path, F_OK), -1);
    }
}

static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    kn_error error = {0};
    assert_int_equal(kn_st_write("/nonexistent/m.st", golden, 1, NULL, 0, NULL, &error), KN_ERR_IO);
    assert_contains(error.message, "/nonexistent/m.st");

    assert_int_equal(kn_st_write(path, golden, GOLDEN_TENSORS, NULL, 0, NULL, NULL), KN_OK);
    size_t before_size, after_size;
    unsigned char *before = slurp(path, &before_size);
    struct rlimit saved, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small = (struct rlimit){4096, saved.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    static const char large[1 << 17];
    const kn_st_entry tensor = {"w", KN_U8, {1, {sizeof large}}, large};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    error = (kn_error){0};
    kn_status status = kn_st_write(path, &tensor, 1, NULL, 0, NULL, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
    assert_int_equal(status, KN_ERR_IO);
    assert_contains(error.message, path);
    assert_contains(error.message, strerror(EFBIG));
    unsigned char *after = slurp(path, &after_size);
    assert_int_equal(after_size, before_size);
    assert_memory_equal(after, before, before_size);
    free(before);
    free(after);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    kn_status status = KN_ERR_MEMORY;
    int at = 0;
    while (status != KN_OK) {
        counted c = {.fail_at = ++at};
        kn_allocator allocator = counted_allocator(&c);
        kn_error error = {0};
        status = kn_st_write(path, golden, GOLDEN_TENSORS, golden_meta, GOLDEN_METAS, &allocator,
                             &error);
        assert_true(status == KN_OK || (status == KN_ERR_MEMORY && error.status == status));
        assert_int_equal(c.live, 0);
    }
    assert_true(at > 4);
    for (at = 0, status = KN_ERR_MEMORY; status != KN_OK;) {
        counted c = {.fail_at = ++at};
        kn_allocator allocator = counted_allocator(&c);
        kn_error error = {0};
        kn_st_file *file;
        status = kn_st_open(&file, path, &allocator, &error);
        assert_true(status == KN_OK || (status == KN_ERR_MEMORY && error.status == status));
        assert_true((file != NULL) == (status == KN_OK));
        kn_st_close(file);
        assert_int_equal(c.live, 0);
    }
    assert_true(at > 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_python_wrote),
        cmocka_unit_test(writes_the_golden_bytes),
        cmocka_unit_test(empty_files_are_valid),
        cmocka_unit_test(a_large_tensor_comes_back),
        cmocka_unit_test(published_halves_become_f32),
        cmocka_unit_test(every_half_is_exact),
        cmocka_unit_test(files_that_are_no_model_are_named),
        cmocka_unit_test(wrong_arguments_are_not_written),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
