/* test_model_file.c - a model saved and read back is the same model, bit for bit; what does not fit
 * or is damaged is refused with every reason; a failed write leaves the older file. */
#include "support/model_case.h"

#include "core/file.h"

#include <kiln/model_file.h>
#include <kiln/ops.h>
#include <kiln/optim.h>
#include <kiln/safetensors.h>

#include <errno.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- a folder of its own; at the end nothing but the test's files may be in it ---- */

static char folder[] = "/tmp/kiln-model-file-XXXXXX";
static char path[64], other[64];

static int make_folder(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    snprintf(other, sizeof other, "%s/other.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder); /* fails when a temporary file was left */
}

static void *room(void *user, size_t bytes) {
    return *(void **)user = malloc(bytes);
}

static unsigned char *slurp(const char *file, size_t *size) {
    void *data = NULL;
    assert_int_equal(kn_file_read(file, 1 << 26, room, &data, size, NULL), KN_OK);
    return data;
}

/* ---- a model and what is known of it ---- */

static char *class_name[] = {"a \"cat\"", "back\\slash", "w\xC3\xB6lf", "\xE6\x97\xA5"};
static const kn_vocab vocab = {class_name, 4};
static const kn_normalize norm = {{0.1f, 1.0f / 3, 0.46f}, {0.27f, 1e-6f, 0.3f}};
static const kn_model_info info = {.arch = "simple_cnn",
                                   .vocab = &vocab,
                                   .size = 32,
                                   .resize = KN_RESIZE_PAD,
                                   .norm = &norm,
                                   .batch_size = 96};

static kn_module *trained(kn_ctx *ctx) {
    kn_module *m = kn_simple_cnn(ctx, 4);
    kn_optimizer *opt = kn_sgd(m, 0.1, (kn_sgd_opts){0});
    static const int32_t label[4] = {3, 0, 2, 1};
    kn_tensor *y = kn_forward(m, made_input(ctx, 2, KN_SHAPE(4, 32, 32, 3)));
    kn_tensor *loss = kn_cross_entropy(ctx, y, kn_from(ctx, KN_I32, KN_SHAPE(4), label));
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    assert_int_equal(kn_optimizer_step(opt), KN_OK);
    kn_optimizer_free(opt);
    kn_step_end(ctx);
    return m;
}

static void save(kn_module *m, const char *to) {
    if (kn_model_save(m, &info, to) != KN_OK)
        check_good(kn_module_ctx(m), "saving");
}

static void predict(kn_module *m, float out[5 * 4]) {
    kn_ctx *ctx = kn_module_ctx(m);
    bool was = kn_grad_enable(ctx, false);
    check_read(ctx, kn_forward(m, made_input(ctx, 8, KN_SHAPE(5, 32, 32, 3))), 20, out);
    kn_grad_enable(ctx, was);
    kn_step_end(ctx);
}

static void check_sha(kn_module *m, const char *want) {
    char hex[65];
    assert_int_equal(kn_weights_sha256(m, hex), KN_OK);
    assert_string_equal(hex, want);
}

/* ---- there and back ---- */

static void saved_and_loaded_is_the_same_model(void **state) {
    kn_ctx *ctx = *state;
    float before[20], after[20];
    char hex[65];
    kn_loaded_model l;
    kn_module *m = trained(ctx);
    assert_int_equal(kn_weights_sha256(m, hex), KN_OK);
    predict(m, before);
    save(m, path);
    assert_int_equal(kn_model_load(ctx, path, &l), KN_OK);
    check_sha(l.model, hex);
    predict(l.model, after);
    assert_memory_equal(before, after, sizeof before);
    kn_loaded_model_free(ctx, &l);
    kn_module_free(m);
}

static void what_it_is_for_comes_back(void **state) {
    kn_ctx *ctx = *state;
    kn_loaded_model l;
    kn_module *m = trained(ctx);
    save(m, path);
    kn_module_free(m);
    assert_int_equal(kn_model_load(ctx, path, &l), KN_OK);
    assert_string_equal(l.arch, "simple_cnn");
    assert_string_equal(l.version, KN_VERSION);
    assert_int_equal(l.size, 32);
    assert_int_equal(l.resize, KN_RESIZE_PAD);
    assert_int_equal(l.batch_size, 96);
    assert_memory_equal(&l.norm, &norm, sizeof norm);
    assert_int_equal(l.vocab.count, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(l.vocab.name[i], class_name[i]);
        assert_int_equal(kn_vocab_index(&l.vocab, class_name[i]), i);
    }
    kn_loaded_model_free(ctx, &l);
}

/* The same model gives the same bytes, also after a detour over the disk. */
static void the_file_is_a_function_of_the_model(void **state) {
    kn_ctx *ctx = *state;
    kn_loaded_model l;
    size_t size, other_size;
    kn_module *m = trained(ctx);
    save(m, path);
    kn_module_free(m);
    assert_int_equal(kn_model_load(ctx, path, &l), KN_OK);
    kn_model_info again = {.arch = l.arch,
                           .vocab = &l.vocab,
                           .size = l.size,
                           .resize = l.resize,
                           .norm = &l.norm,
                           .batch_size = l.batch_size};
    assert_int_equal(kn_model_save(l.model, &again, other), KN_OK);
    kn_loaded_model_free(ctx, &l);
    unsigned char *a = slurp(path, &size), *b = slurp(other, &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(a, b, size);
    free(a);
    free(b);
}

/* ---- modules of one's own ---- */

static const kn_module_class own_class = {.name = "Own"};

typedef struct own {
    kn_module base;
    kn_param *z, *a;
    kn_tensor *seen;
} own;

static own *new_own(kn_ctx *ctx, bool filled) {
    static const float z[3] = {1, -2, 0.5f}, a[2] = {0, 7};
    static const int32_t seen[2] = {5, -6};
    own *m = kn_module_new(ctx, &own_class, sizeof *m);
    m->z = kn_module_param(&m->base, "z", KN_SHAPE(3));
    m->a = kn_module_param(&m->base, "a", KN_SHAPE(1, 2));
    m->seen = kn_module_buffer(&m->base, "seen", KN_I32, KN_SHAPE(2));
    if (filled) {
        kn_tensor_write(ctx, kn_param_value(m->z), z, sizeof z);
        kn_tensor_write(ctx, kn_param_value(m->a), a, sizeof a);
        kn_tensor_write(ctx, m->seen, seen, sizeof seen);
    }
    return m;
}

/* Of an own module the tensors are saved, buffers too; its code has to make it before they are
 * read. */
static void own_modules_keep_their_tensors(void **state) {
    kn_ctx *ctx = *state;
    kn_model_info own_info = info;
    own_info.arch = NULL;
    char hex[65];
    kn_loaded_model l;
    own *m = new_own(ctx, true), *n = new_own(ctx, false);
    assert_int_equal(kn_weights_sha256(&m->base, hex), KN_OK);
    assert_int_equal(kn_model_save(&m->base, &own_info, path), KN_OK);
    kn_module_pack(&n->base); /* loading fills it where it is */
    assert_int_equal(kn_weights_load(&n->base, path), KN_OK);
    check_sha(&n->base, hex);
    check_values(ctx, kn_param_value(n->z), 3, (const float[]){1, -2, 0.5f});
    int32_t seen[2];
    assert_int_equal(kn_tensor_read(ctx, n->seen, seen, sizeof seen), KN_OK);
    assert_true(seen[0] == 5 && seen[1] == -6);
    assert_int_equal(kn_model_load(ctx, path, &l), KN_ERR_FORMAT);
    check_error(ctx, KN_ERR_FORMAT, path);
    kn_loaded_model_free(ctx, &l);
    kn_module_free(&m->base);
    kn_module_free(&n->base);
}

/* Bytes in the order of names: a, seen, z. */
static void the_fingerprint_is_sha256_in_name_order(void **state) {
    kn_ctx *ctx = *state;
    static const float a[2] = {0, 7}, z[3] = {1, -2, 0.5f};
    static const int32_t seen[2] = {5, -6};
    unsigned char bytes[sizeof a + sizeof seen + sizeof z], digest[SHA256_DIGEST_LENGTH];
    memcpy(bytes, a, sizeof a);
    memcpy(bytes + sizeof a, seen, sizeof seen);
    memcpy(bytes + sizeof a + sizeof seen, z, sizeof z);
    SHA256(bytes, sizeof bytes, digest);
    char want[65];
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(want + i * 2, 3, "%02x", digest[i]);
    own *m = new_own(ctx, true);
    check_sha(&m->base, want);
    assert_non_null(kn_module_pack(&m->base));
    check_sha(&m->base, want);
    assert_int_equal(kn_module_to(&m->base, kn_device_open(ctx, "reference")), KN_OK);
    check_sha(&m->base, want);
    static const float off[3] = {1, -2, 0.50000006f}; /* one bit */
    kn_tensor_write(ctx, kn_param_value(m->z), off, sizeof off);
    char hex[65];
    assert_int_equal(kn_weights_sha256(&m->base, hex), KN_OK);
    assert_string_not_equal(hex, want);
    kn_module_free(&m->base);
}

/* ---- weights that do not fit ---- */

static const float five[5] = {1, 2, 3, 4, 5};

static void every_difference_is_named(void **state) {
    kn_ctx *ctx = *state;
    const kn_st_entry entry[] = {{"z", KN_F32, {1, {5}}, five},
                                 {"extra.weight", KN_F32, {1, {1}}, five},
                                 {"seen", KN_F32, {1, {2}}, five},
                                 {"line\nbreak", KN_F32, {0, {0}}, five}};
    char hex[65];
    own *m = new_own(ctx, true);
    assert_int_equal(kn_weights_sha256(&m->base, hex), KN_OK);
    assert_int_equal(kn_st_write(path, entry, 4, NULL, 0, NULL, NULL), KN_OK);
    assert_int_equal(kn_weights_load(&m->base, path), KN_ERR_FORMAT);
    kn_error error = kn_error_take(ctx);
    assert_int_equal(error.status, KN_ERR_FORMAT);
    check_contains(error.message, path);
    check_contains(error.message, "z is f32 [5], expected f32 [3]");
    check_contains(error.message, "missing a");
    check_contains(error.message, "seen is f32 [2], expected i32 [2]");
    check_contains(error.message, "unknown extra.weight");
    check_contains(error.message, "unknown line");
    assert_null(strchr(error.message, '\n'));
    check_sha(&m->base, hex); /* nothing was changed, what fitted neither */
    kn_module_free(&m->base);
}

/* A file without our metadata, as other programs write them. */
static void bare_weights_fill_a_model(void **state) {
    kn_ctx *ctx = *state;
    kn_loaded_model l;
    static const float w[6] = {1, 2, 3, 4, 5, 6};
    const kn_st_entry entry[] = {{"bias", KN_F32, {1, {2}}, five},
                                 {"weight", KN_F32, {2, {2, 3}}, w}};
    assert_int_equal(kn_st_write(path, entry, 2, NULL, 0, NULL, NULL), KN_OK);
    kn_module *m = kn_linear(ctx, 3, 2);
    assert_int_equal(kn_weights_load(m, path), KN_OK);
    float out[8];
    assert_int_equal(read_params(m, false, out), 8);
    assert_memory_equal(out, w, sizeof w);
    assert_memory_equal(out + 6, five, 2 * sizeof(float));
    assert_int_equal(kn_model_load(ctx, path, &l), KN_ERR_FORMAT);
    check_error(ctx, KN_ERR_FORMAT, "no kiln.arch");
    kn_loaded_model_free(ctx, &l);
    kn_module_free(m);
}

/* ---- files that are none ---- */

static void check_refused(kn_ctx *ctx, kn_status status, const char *part) {
    kn_loaded_model l;
    assert_int_equal(kn_model_load(ctx, path, &l), status);
    kn_error error = kn_error_take(ctx);
    check_contains(error.message, path);
    check_contains(error.message, part);
    kn_loaded_model_free(ctx, &l);
    kn_module *m = kn_simple_cnn(ctx, 4);
    if (kn_weights_load(m, path) != KN_OK) /* may do: what is wrong may be the metadata */
        check_error(ctx, status, path);
    kn_module_free(m);
}

static void damaged_files_are_refused(void **state) {
    kn_ctx *ctx = *state;
    size_t size;
    kn_module *m = trained(ctx);
    save(m, path);
    kn_module_free(m);
    unsigned char *bytes = slurp(path, &size);
    static const size_t kept[] = {0, 7, 8, 100, 2000};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        assert_int_equal(kn_file_write(path, bytes, kept[i], NULL), KN_OK);
        check_refused(ctx, KN_ERR_FORMAT, "");
    }
    assert_int_equal(kn_file_write(path, bytes, size - 1, NULL), KN_OK);
    check_refused(ctx, KN_ERR_FORMAT, "");
    free(bytes);
    unlink(path);
    check_refused(ctx, KN_ERR_IO, strerror(ENOENT));
}

/* ---- writes that fail ---- */

static void a_failed_write_leaves_the_old_file(void **state) {
    kn_ctx *ctx = *state;
    size_t before_size, after_size;
    kn_module *m = trained(ctx);
    save(m, path);
    unsigned char *before = slurp(path, &before_size);
    kn_module *larger = kn_simple_cnn(ctx, 4);
    struct rlimit saved, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small = (struct rlimit){before_size / 2, saved.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    kn_status status = kn_model_save(larger, &info, path);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
    assert_int_equal(status, KN_ERR_IO);
    kn_error error = kn_error_take(ctx);
    check_contains(error.message, path);
    check_contains(error.message, strerror(EFBIG));
    unsigned char *after = slurp(path, &after_size);
    assert_int_equal(after_size, before_size);
    assert_memory_equal(after, before, before_size);
    free(before);
    free(after);
    assert_int_equal(kn_model_save(m, &info, "/nonexistent/m.safetensors"), KN_ERR_IO);
    check_error(ctx, KN_ERR_IO, "/nonexistent/m.safetensors");
    kn_module_free(m);
    kn_module_free(larger);
}

/* Each allocation of saving, and then of loading, is refused in turn. */
static void every_allocation_may_fail(void **state) {
    kn_ctx *ctx = *state;
    counted *c = model_case_memory();
    char hex[65];
    kn_module *m = trained(ctx);
    assert_int_equal(kn_weights_sha256(m, hex), KN_OK);
    kn_status status = KN_ERR_MEMORY;
    for (long nth = 1; status != KN_OK; nth++) {
        long live = c->live;
        c->fail_at = c->made + nth;
        status = kn_model_save(m, &info, path);
        c->fail_at = 0;
        assert_int_equal(c->live, live);
        if (status != KN_OK)
            check_error(ctx, KN_ERR_MEMORY, "memory");
    }
    kn_module_free(m);
    status = KN_ERR_MEMORY;
    for (long nth = 1; status != KN_OK; nth++) {
        kn_loaded_model l;
        c->refused = 0;
        c->fail_at = c->made + nth;
        status = kn_model_load(ctx, path, &l);
        c->fail_at = 0;
        if (status == KN_OK) {
            check_sha(l.model, hex);
            if (c->refused > 0) /* the pool found a way: go on */
                status = KN_ERR_MEMORY;
        } else {
            check_error(ctx, KN_ERR_MEMORY, "memory");
        }
        kn_loaded_model_free(ctx, &l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(saved_and_loaded_is_the_same_model),
        MODEL_CASE(what_it_is_for_comes_back),
        MODEL_CASE(the_file_is_a_function_of_the_model),
        MODEL_CASE(own_modules_keep_their_tensors),
        MODEL_CASE(the_fingerprint_is_sha256_in_name_order),
        MODEL_CASE(every_difference_is_named),
        MODEL_CASE(bare_weights_fill_a_model),
        MODEL_CASE(damaged_files_are_refused),
        MODEL_CASE(a_failed_write_leaves_the_old_file),
        MODEL_CASE(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
