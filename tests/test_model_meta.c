/* test_model_meta.c - the metadata of a model file: what is in it comes back, what is malformed is
 * refused by key, and what would be refused is not written. */
#include "support/model_case.h"
#include "support/root.h"

#include <kiln/model_file.h>
#include <kiln/safetensors.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static char path[TREE_PATH + 64];

static int make_folder(void **state) {
    (void)state;
    tree_make(root);
    snprintf(path, sizeof path, "%s/model.safetensors", root);
    return 0;
}

/* Was a model built before? */
static bool refused(kn_ctx *ctx, const char *part) {
    kn_loaded_model l;
    assert_int_equal(kn_model_load(ctx, path, &l), KN_ERR_FORMAT);
    kn_error error = kn_error_take(ctx);
    check_contains(error.message, path);
    check_contains(error.message, part);
    bool built = l.model != NULL;
    kn_loaded_model_free(ctx, &l);
    return built;
}

/* ---- reading ---- */

#define INPUT(size, resize, mean, std, batch)                                                      \
    "{\"size\":" size ",\"resize\":" resize ",\"mean\":" mean ",\"std\":" std                      \
    ",\"batch_size\":" batch "}"
#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HELD_OUT(pct, seed, sum)                                                                   \
    "{\"valid_pct\":" pct ",\"seed\":" seed ",\"files_sha256\":" sum "}"

enum { KEYS = 5 };

static const char *const key[KEYS] = {"kiln.version", "kiln.arch", "kiln.classes", "kiln.input",
                                      "kiln.held_out"};
static const char *const good[KEYS] = {
    "\"0.1.0\"", "{\"model\":\"simple_cnn\",\"classes\":2}", "[\"a\",\"b\"]",
    INPUT("8", "\"squash\"", "[0,0,0]", "[1,1,1]", "2"), HELD_OUT("20", "\"42\"", "\"" SUM "\"")};

static const struct {
    int which;
    const char *value; /* NULL: the key is not there */
} bad[] = {
    {0, NULL},
    {0, "0.1.0"},
    {0, "1"},
    {0, "\"0123456789012345678901234567890123456789\""},
    {1, "\"simple_cnn\""},
    {1, "{\"model\":\"simple_cnn\"}"},
    {1, "{\"model\":\"simple_cnn\",\"classes\":3}"},
    {1, "{\"model\":\"simple_cnn\",\"classes\":\"2\"}"},
    {1, "{\"model\":\"simple_cnn\",\"classes\":0}"},
    {1, "{\"model\":7,\"classes\":2}"},
    {1, "{\"model\":\"simple_cnn\",\"classes\":2}}"},
    {1, "{\"model\":\"simple_cnn\",\"classes\":2,\"classes\":2}"},
    {1, ""},
    {2, NULL},
    {2, "[]"},
    {2, "{}"},
    {2, "[\"a\",1]"},
    {2, "[\"b\",\"a\"]"},
    {2, "[\"a\",\"a\"]"},
    {2, "[\"a\",\"b\""},
    {3, NULL},
    {3, "[]"},
    {3, INPUT("0", "\"squash\"", "[0,0,0]", "[1,1,1]", "2")},
    {3, INPUT("-8", "\"squash\"", "[0,0,0]", "[1,1,1]", "2")},
    {3, INPUT("8.5", "\"squash\"", "[0,0,0]", "[1,1,1]", "2")},
    {3, INPUT("100000000000", "\"squash\"", "[0,0,0]", "[1,1,1]", "2")},
    {3, INPUT("8", "\"stretch\"", "[0,0,0]", "[1,1,1]", "2")},
    {3, INPUT("8", "null", "[0,0,0]", "[1,1,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,0]", "[1,1,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,0,0,0]", "[1,1,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,null,0]", "[1,1,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,1e39,0]", "[1,1,1]", "2")},
    {3, INPUT("8", "\"squash\"", "0", "[1,1,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,0,0]", "[1,0,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,0,0]", "[1,-1,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,0,0]", "[1,1e-60,1]", "2")},
    {3, INPUT("8", "\"squash\"", "[0,0,0]", "[1,1,1]", "0")},
    {3, INPUT("8", "\"squash\"", "[0,0,0]", "[1,1,1]", "null")},
    {4, "{}"},
    {4, "20"},
    {4, HELD_OUT("0", "\"42\"", "\"" SUM "\"")},
    {4, HELD_OUT("100", "\"42\"", "\"" SUM "\"")},
    {4, HELD_OUT("-1", "\"42\"", "\"" SUM "\"")},
    {4, HELD_OUT("\"20\"", "\"42\"", "\"" SUM "\"")},
    {4, HELD_OUT("20", "42", "\"" SUM "\"")},
    {4, HELD_OUT("20", "\"\"", "\"" SUM "\"")},
    {4, HELD_OUT("20", "\"-42\"", "\"" SUM "\"")},
    {4, HELD_OUT("20", "\" 42\"", "\"" SUM "\"")},
    {4, HELD_OUT("20", "\"18446744073709551616\"", "\"" SUM "\"")},
    {4, HELD_OUT("20", "\"42\"", "\"" SUM "0\"")},
    {4, HELD_OUT("20", "\"42\"", "null")},
};

static void malformed_metadata_is_refused(void **state) {
    kn_ctx *ctx = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kn_st_meta meta[KEYS];
        int metas = 0;
        for (int k = 0; k < KEYS; k++)
            if (k != bad[i].which || bad[i].value != NULL)
                meta[metas++] = (kn_st_meta){key[k], k == bad[i].which ? bad[i].value : good[k]};
        assert_int_equal(kn_st_write(path, NULL, 0, meta, metas, NULL, NULL), KN_OK);
        assert_false(refused(ctx, key[bad[i].which]));
    }
}

/* With all of it good, what is missing are the weights; older files have no held_out. */
static void good_metadata_is_taken(void **state) {
    kn_ctx *ctx = *state;
    kn_st_meta meta[KEYS];
    for (int k = 0; k < KEYS; k++)
        meta[k] = (kn_st_meta){key[k], good[k]};
    for (int metas = KEYS - 1; metas <= KEYS; metas++) {
        assert_int_equal(kn_st_write(path, NULL, 0, meta, metas, NULL, NULL), KN_OK);
        assert_true(refused(ctx, "missing layers.0.weight; missing layers.0.bias"));
    }
    meta[1].value = "{\"model\":\"resnet9000\",\"classes\":2}";
    assert_int_equal(kn_st_write(path, NULL, 0, meta, KEYS, NULL, NULL), KN_OK);
    assert_false(refused(ctx, "resnet9000"));
}

/* ---- writing ---- */

static char *class_name[] = {"a", "b"};
static const kn_vocab vocab = {class_name, 2};
static const kn_normalize norm = {{0.4f, 0.4f, 0.4f}, {0.3f, 0.3f, 0.3f}};
static const kn_model_info info = {
    .arch = "simple_cnn", .vocab = &vocab, .size = 32, .norm = &norm, .batch_size = 2};

static void held_out_comes_back(void **state) {
    kn_ctx *ctx = *state;
    static const kn_held_out all[] = {{0}, {20, 42, SUM}, {1.0 / 3, UINT64_MAX, SUM}};
    kn_module *m = kn_simple_cnn(ctx, 2);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        kn_model_info with = info;
        kn_loaded_model l;
        with.held_out = all[i];
        assert_int_equal(kn_model_save(m, &with, path), KN_OK);
        assert_int_equal(kn_model_load(ctx, path, &l), KN_OK);
        assert_true(l.held_out.valid_pct == all[i].valid_pct);
        assert_int_equal(l.held_out.seed, all[i].seed);
        assert_string_equal(l.held_out.files_sha256, all[i].files_sha256);
        kn_loaded_model_free(ctx, &l);
    }
    kn_module_free(m);
}

static void wrong_held_out_is_not_written(void **state) {
    kn_ctx *ctx = *state;
    static const kn_held_out wrong[] = {
        {-1, 42, SUM},
        {100, 42, SUM},
        {NAN, 42, SUM},
        {20, 42, "0123"},
        {20, 42, "0123456789abcde\"0123456789abcdef0123456789abcdef0123456789abcdef"}};
    kn_module *m = kn_simple_cnn(ctx, 2);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        kn_model_info with = info;
        with.held_out = wrong[i];
        assert_int_equal(kn_model_save(m, &with, "/nonexistent/m"), KN_ERR_ARG);
        check_error(ctx, KN_ERR_ARG, "held out");
    }
    kn_module_free(m);
}

static void names_that_loading_refuses_are_not_written(void **state) {
    kn_ctx *ctx = *state;
    static char *wrong[][2] = {{"b", "a"}, {"a", "a"}};
    kn_module *m = kn_simple_cnn(ctx, 2);
    for (int i = 0; i < 2; i++) {
        kn_vocab classes = {wrong[i], 2};
        kn_model_info named = info;
        named.vocab = &classes;
        assert_int_equal(kn_model_save(m, &named, "/nonexistent/m"), KN_ERR_ARG);
        check_error(ctx, KN_ERR_ARG, "classes in order");
    }
    kn_module_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(malformed_metadata_is_refused),
        MODEL_CASE(good_metadata_is_taken),
        MODEL_CASE(held_out_comes_back),
        MODEL_CASE(wrong_held_out_is_not_written),
        MODEL_CASE(names_that_loading_refuses_are_not_written),
    };
    return cmocka_run_group_tests(tests, make_folder, root_remove);
}
