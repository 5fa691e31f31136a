/* test_text.c - the core's small pure parts: UTF-8, JSON strings, numbers, shapes. */
#include <kiln/tensor.h>

#include "core/json_text.h"
#include "core/utf8.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <cmocka.h>

static void utf8_is_told_from_other_bytes(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t left, length;
    } cases[] = {
        {"a", 1, 1},
        {"\x7F", 1, 1},
        {"", 1, 1}, /* a zero byte is a character; ends are the caller's matter */
        {"a", 0, 0},
        {"\xC3\xB6", 2, 2},
        {"\xE6\x97\xA5", 3, 3},
        {"\xF0\x9F\x94\xA5", 4, 4},
        {"\xF4\x8F\xBF\xBF", 4, 4},
        {"\xEF\xBF\xBF", 3, 3},
        {"\xC3\xB6", 1, 0},         /* cut short */
        {"\xE6\x97", 2, 0},         /* cut short */
        {"\x80", 1, 0},             /* a continuation alone */
        {"\xC0\x80", 2, 0},         /* overlong */
        {"\xC1\xBF", 2, 0},         /* overlong */
        {"\xE0\x9F\xBF", 3, 0},     /* overlong */
        {"\xF0\x8F\xBF\xBF", 4, 0}, /* overlong */
        {"\xED\xA0\x80", 3, 0},     /* a surrogate */
        {"\xF4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", 4, 0},
        {"\xFF", 1, 0},
        {"\xC3(", 2, 0},
        {"\xE6\x97(", 3, 0},
        {"\xF0\x9F\x94(", 4, 0},
    };
    for (size_t i = 0; i < KN_COUNT(cases); i++)
        assert_int_equal(kn_utf8_length(cases[i].bytes, cases[i].left), cases[i].length);
    assert_true(kn_utf8_valid("w\xC3\xB6rld", 6));
    assert_true(kn_utf8_valid("", 0));
    assert_false(kn_utf8_valid("w\xC3\xB6rld\xC3", 7));
}

static void any_bytes_become_a_json_string(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *json;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\b\f\n\r\t\x01\x1F\x7F", "\"\\b\\f\\n\\r\\t\\u0001\\u001F\\u007F\""},
        {"w\xC3\xB6rld \xF0\x9F\x94\xA5", "\"w\xC3\xB6rld \xF0\x9F\x94\xA5\""},
        {"a\xFF\xC3z", "\"a\\\\xFF\\\\xC3z\""},
        {NULL, "null"},
    };
    for (size_t i = 0; i < KN_COUNT(cases); i++) {
        kn_text t = {0};
        kn_text_json_string(&t, cases[i].bytes);
        assert_false(t.failed);
        assert_string_equal(t.data, cases[i].json);
        kn_text_free(&t);
    }
    /* Every single byte, and every pair with one, is a string that a parser takes. */
    for (int c = 1; c < 256; c++) {
        const char bytes[] = {(char)c, (char)0xC3, (char)c, '\0'};
        kn_text t = {0};
        kn_text_json_string(&t, bytes);
        json_t *parsed = json_loads(t.data, JSON_DECODE_ANY, NULL);
        assert_true(json_is_string(parsed));
        if (c < 0x80)
            assert_int_equal(json_string_value(parsed)[0], c);
        json_decref(parsed);
        kn_text_free(&t);
    }
}

static void numbers_are_json(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *json;
    } cases[] = {{0.1, "0.1"}, {-3, "-3"}, {1e-7, "1e-07"}, {NAN, "null"}, {-INFINITY, "null"}};
    for (size_t i = 0; i < KN_COUNT(cases); i++) {
        kn_text t = {0};
        kn_text_number(&t, cases[i].value, 6);
        assert_string_equal(t.data, cases[i].json);
        kn_text_free(&t);
    }
}

static void *no_memory(void *user, size_t bytes, size_t align) {
    (void)user, (void)bytes, (void)align;
    return NULL;
}

static void free_nothing(void *user, void *p) {
    (void)user, (void)p;
}

static void a_text_without_memory_stays_bad(void **state) {
    (void)state;
    const kn_allocator none = {no_memory, free_nothing, NULL};
    kn_text t = {.allocator = &none};
    kn_text_json_string(&t, "a\n\xFF");
    kn_text_number(&t, 1, 3);
    assert_true(t.failed);
    assert_null(t.data);
    kn_text_free(&t);
}

static void shapes_are_counted_and_written(void **state) {
    (void)state;
    char text[KN_SHAPE_TEXT];
    const kn_shape image = KN_SHAPE(8, 32, 32, 3), other = KN_SHAPE(8, 32, 32),
                   none = KN_SHAPE(5, 0);
    const kn_shape scalar = KN_SCALAR;
    const int64_t big = INT64_MAX;
    const kn_shape huge = {8, {big, big, big, big, big, big, big, big}};
    const kn_shape longest = {8, {-big, -big, -big, -big, -big, -big, -big, -big}};
    const kn_shape huge_none = KN_SHAPE(big, big, 0);
    assert_int_equal(kn_shape_numel(&image), 8 * 32 * 32 * 3);
    assert_int_equal(kn_shape_numel(&scalar), 1);
    assert_int_equal(kn_shape_numel(&none), 0);
    assert_int_equal(kn_shape_numel(&huge_none), 0);
    assert_true(kn_shape_numel(&huge) == INT64_MAX);
    assert_string_equal(kn_shape_text(&image, text), "[8,32,32,3]");
    assert_string_equal(kn_shape_text(&scalar, text), "[]");
    assert_int_equal(strlen(kn_shape_text(&longest, text)), 2 + 7 + 8 * 20);
    assert_true(kn_shape_equal(&image, &image));
    assert_false(kn_shape_equal(&image, &other));
    assert_false(kn_shape_equal(&image, &huge));
    assert_true(kn_shape_equal(&scalar, &scalar));
}

static void types_have_sizes_and_names(void **state) {
    (void)state;
    static const struct {
        kn_dtype dtype;
        size_t size;
        const char *name;
    } types[] = {{KN_F32, 4, "f32"}, {KN_BF16, 2, "bf16"}, {KN_U8, 1, "u8"},
                 {KN_I32, 4, "i32"}, {KN_I64, 8, "i64"},   {KN_F16, 2, "f16"}};
    for (size_t i = 0; i < KN_COUNT(types); i++) {
        assert_int_equal(kn_dtype_size(types[i].dtype), types[i].size);
        assert_string_equal(kn_dtype_name(types[i].dtype), types[i].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(any_bytes_become_a_json_string),
        cmocka_unit_test(numbers_are_json),
        cmocka_unit_test(a_text_without_memory_stays_bad),
        cmocka_unit_test(shapes_are_counted_and_written),
        cmocka_unit_test(types_have_sizes_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
