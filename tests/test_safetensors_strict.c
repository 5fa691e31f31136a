/* test_safetensors_strict.c - the reader against headers and files that somebody got wrong. */
#include <kiln/safetensors.h>

#include "core/ctx.h"
#include "core/file.h"
#include "formats/safetensors_parts.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Parses a file made of this header and so many zero bytes. */
static kn_status parse(const void *header, size_t length, size_t data_bytes, kn_st_file **out,
                       kn_error *error) {
    uint64_t stored = length;
    unsigned char *bytes = kn_mem_calloc(NULL, 1, 8 + length + data_bytes);
    memcpy(bytes, &stored, 8);
    memcpy(bytes + 8, header, length);
    *error = (kn_error){0};
    return kn_st_parse(out, "file.st", bytes, 8 + length + data_bytes, NULL, error);
}

static void assert_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

#define T(fields) "{\"w\":{" fields "}}"
#define F32       "\"dtype\":\"F32\","

static const struct {
    const char *header;
    size_t data;
    const char *reason;
} refused[] = {
    {"", 0, "does not start with {"},
    {"[]", 0, "does not start with {"},
    {" {}", 0, "does not start with {"},
    {"{}\n", 0, "something other than spaces follows"},
    {"{}\t ", 0, "something other than spaces follows"},
    {"{} {}", 0, "not JSON"},
    {"{", 0, "something other than spaces follows"},
    {"{\"w\":}", 0, "not JSON"},
    {"{'w':1}", 0, "not JSON"},
    {"{\"w\":1,}", 0, "not JSON"},
    {"{\"\xFF\":{}}", 0, "not UTF-8"},
    {"{\"\xED\xA0\x80\":{}}", 0, "not UTF-8"},
    {"{\"a\\u0000b\":{}}", 0, "not JSON"},
    {"{\"\\ud800\":{}}", 0, "not JSON"},
    {"{}", 1, "the tensors end at byte 0 of 1"},
    {"{\"w\":1}", 0, "\"w\" is not an object"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "\"k\" in __metadata__ is not a string"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
    {"{\"a\":{" F32 "\"shape\":[0],\"data_offsets\":[0,0]},"
     "\"\\u0061\":{" F32 "\"shape\":[0],\"data_offsets\":[0,0]}}",
     0, "duplicate"},
    {T(F32 "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 4, "duplicate"},
    {T("\"shape\":[1],\"data_offsets\":[0,4]"), 4, "dtype of \"w\" is missing"},
    {T("\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]"), 4, "dtype of \"w\" is missing or not"},
    {T("\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]"), 8,
     "dtype F64 of \"w\" is not supported"},
    {T("\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]"), 4,
     "dtype f32 of \"w\" is not supported"},
    {T(F32 "\"data_offsets\":[0,4]"), 4, "shape of \"w\" is missing"},
    {T(F32 "\"shape\":1,\"data_offsets\":[0,4]"), 4, "shape of \"w\" is missing or not an array"},
    {T(F32 "\"shape\":[-1],\"data_offsets\":[0,4]"), 4, "other than whole numbers"},
    {T(F32 "\"shape\":[1.0],\"data_offsets\":[0,4]"), 4, "other than whole numbers"},
    {T(F32 "\"shape\":[true],\"data_offsets\":[0,4]"), 4, "other than whole numbers"},
    {T(F32 "\"shape\":[[1]],\"data_offsets\":[0,4]"), 4, "nested too deeply"},
    {T(F32 "\"shape\":[99999999999999999999],\"data_offsets\":[0,4]"), 4, "not JSON"},
    {T(F32 "\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4, "has rank 9"},
    {T(F32 "\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"), 4, "is too large"},
    {T(F32 "\"shape\":[4611686018427387905],\"data_offsets\":[0,4]"), 4, "is too large"},
    {T(F32 "\"shape\":[1]"), 4, "data_offsets of \"w\" are missing"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[0,4,4]"), 4, "not two whole numbers"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[0]"), 4, "not two whole numbers"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[-4,0]"), 4, "not two whole numbers"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[\"0\",4]"), 4, "not two whole numbers"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[4,0]"), 4, "[4,0] of \"w\""},
    {T(F32 "\"shape\":[1],\"data_offsets\":[0,4]"), 3, "[0,4] of \"w\", in data of 3 bytes"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[0,4]"), 5, "end at byte 4 of 5"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[1,5]"), 5, "leave a gap at byte 0"},
    {T(F32 "\"shape\":[2],\"data_offsets\":[0,4]"), 4, "has 4 bytes, F32 [2] needs 8"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[0,4],\"x\":0"), 4, "unknown field \"x\""},
    {"{\"a\":{" F32 "\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{" F32 "\"shape\":[2],\"data_offsets\":[4,12]}}",
     12, "leave an overlap at byte 4"},
    {"{\"a\":{" F32 "\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{" F32 "\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, "overlap"},
    {"{\"a\":{" F32 "\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{" F32 "\"shape\":[1],\"data_offsets\":[5,9]}}",
     9, "leave a gap at byte 4"},
    {"{\"a\":{" F32 "\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{" F32 "\"shape\":[0],\"data_offsets\":[2,2]}}",
     4, "overlap"},
};

static void malformed_headers_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < KN_COUNT(refused); i++) {
        kn_st_file *file;
        kn_error error;
        const char *header = refused[i].header;
        if (parse(header, strlen(header), refused[i].data, &file, &error) != KN_ERR_FORMAT)
            fail_msg("%s: status %s", header, kn_status_name(error.status));
        assert_null(file);
        assert_contains(error.message, "file.st: ");
        assert_contains(error.message, refused[i].reason);
    }
}

static void odd_but_valid_headers_are_read(void **state) {
    (void)state;
    static const char header[] =
        "{ \"z\" : {\"data_offsets\":[4,8], \"shape\":[1,1], \"dtype\":\"I32\"},\n\"__metadata__\":"
        "{},\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
        "\"e2\":{\"dtype\":\"U8\",\"shape\":[3,0],\"data_offsets\":[4,4]},"
        "\"e1\":{\"dtype\":\"U8\",\"shape\":[4611686018427387905,9,0],\"data_offsets\":[4,4]}}  ";
    kn_st_file *file;
    kn_error error;
    if (parse(header, strlen(header), 8, &file, &error) != KN_OK)
        fail_msg("%s", error.message);
    static const char *const order[] = {"a", "e2", "e1", "z"};
    for (int i = 0; i < 4; i++)
        assert_string_equal(file->tensor[i].name, order[i]);
    kn_st_close(file);
}

static void limits_hold(void **state) {
    (void)state;
    kn_st_file *file;
    kn_error error;
    size_t room_bytes = (size_t)80 * (KN_ST_MAX_TENSORS + 1);
    char *header = malloc(room_bytes);
    for (int extra = 0; extra <= 1; extra++) {
        char *at = header;
        for (int i = 0; i < KN_ST_MAX_TENSORS + extra; i++)
            at += sprintf(at, "%c\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                          i == 0 ? '{' : ',', i);
        at += sprintf(at, "}");
        kn_status status = parse(header, (size_t)(at - header), 0, &file, &error);
        assert_int_equal(status, extra ? KN_ERR_LIMIT : KN_OK);
        if (status == KN_OK)
            assert_string_equal(kn_st_find(file, "99999")->name, "99999");
        kn_st_close(file);

        char name[KN_ST_MAX_NAME + 2] = "";
        memset(name, 'n', (size_t)KN_ST_MAX_NAME + (size_t)extra);
        int length = sprintf(header, "{\"__metadata__\":{\"%s\":\"\"}}", name);
        assert_int_equal(parse(header, (size_t)length, 0, &file, &error),
                         extra ? KN_ERR_LIMIT : KN_OK);
        kn_st_close(file);
        length = sprintf(header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                         name);
        assert_int_equal(parse(header, (size_t)length, 0, &file, &error),
                         extra ? KN_ERR_LIMIT : KN_OK);
        kn_st_close(file);
    }
    /* Few bytes that would become much memory in the JSON parser. */
    memset(header, '[', room_bytes);
    memcpy(header, "{\"a\":", 5);
    header[room_bytes - 1] = '}';
    assert_int_equal(parse(header, room_bytes, 0, &file, &error), KN_ERR_FORMAT);
    assert_contains(error.message, "nested too deeply");
    memset(header + 6, ',', room_bytes - 7);
    assert_int_equal(parse(header, room_bytes, 0, &file, &error), KN_ERR_LIMIT);
    free(header);
}

/* What any accepted file has to satisfy, whatever its header said. */
static void check_sound(const kn_st_file *file, size_t size) {
    const unsigned char *end = NULL;
    for (int i = 0; i < file->tensors; i++) {
        const kn_st_entry *t = &file->tensor[i];
        const unsigned char *data = t->data;
        size_t bytes = (size_t)kn_shape_numel(&t->shape) * kn_dtype_size(t->dtype);
        assert_true(bytes <= size);
        assert_true(i == 0 || data == end);
        end = data + bytes;
        assert_ptr_equal(kn_st_find(file, t->name), t);
        unsigned sum = 0;
        for (size_t k = 0; k < bytes; k++)
            sum += data[k]; /* a sanitizer sees it when these are not ours */
        assert_true(sum <= 255 * bytes);
    }
}

static void *room(void *user, size_t bytes) {
    return *(void **)user = malloc(bytes);
}

static void a_zero_byte_is_refused(void **state) {
    (void)state;
    static const char header[] = T(F32 "\"shape\":[1\0],\"data_offsets\":[0,4]");
    kn_st_file *file;
    kn_error error;
    assert_int_equal(parse(header, sizeof header - 1, 4, &file, &error), KN_ERR_FORMAT);
    assert_contains(error.message, "zero byte");
}

/* Every shortening is refused; every single byte set to values that matter to JSON or to lengths
 * is either refused or gives a sound file. */
static void damaged_files_do_no_harm(void **state) {
    (void)state;
    static const unsigned char values[] = {0,   ' ', '"', ',', '0',  '9',
                                           '[', ']', '{', '}', 0x80, 255};
    size_t size;
    void *original = NULL;
    assert_int_equal(kn_file_read(KN_TEST_DIR "/data/safetensors/python.safetensors", 1 << 20, room,
                                  &original, &size, NULL),
                     KN_OK);
    kn_st_file *file;
    int accepted = 0, tried = 0;
    for (size_t cut = 0; cut < size; cut++) {
        void *bytes = kn_mem_alloc(NULL, cut + 1);
        memcpy(bytes, original, cut);
        assert_int_equal(kn_st_parse(&file, "x", bytes, cut, NULL, NULL), KN_ERR_FORMAT);
    }
    for (size_t at = 0; at < size; at++)
        for (size_t v = 0; v < KN_COUNT(values); v++, tried++) {
            unsigned char *bytes = kn_mem_alloc(NULL, size);
            memcpy(bytes, original, size);
            bytes[at] = values[v];
            if (kn_st_parse(&file, "x", bytes, size, NULL, NULL) == KN_OK) {
                check_sound(file, size);
                kn_st_close(file);
                accepted++;
            }
        }
    assert_true(accepted > 0 && accepted < tried);
    free(original);
}

/* The JSON parser's own memory. */
static int json_blocks;

static void *limited_malloc(size_t bytes) {
    return json_blocks-- > 0 ? malloc(bytes) : NULL;
}

static void the_json_parser_may_lack_memory(void **state) {
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"k\":\"v\"},\"w\":{\"dtype\":\"F32\","
                                 "\"shape\":[1],\"data_offsets\":[0,4]}}";
    kn_st_file *file;
    kn_error error;
    kn_status status = KN_ERR_MEMORY;
    json_malloc_t saved_malloc;
    json_free_t saved_free;
    json_get_alloc_funcs(&saved_malloc, &saved_free);
    json_set_alloc_funcs(limited_malloc, free);
    int at = 0;
    bool named = false;
    for (; status != KN_OK && at < 1000; at++) {
        json_blocks = at;
        status = parse(header, strlen(header), 4, &file, &error);
        named = named || status == KN_ERR_MEMORY;
    }
    json_set_alloc_funcs(saved_malloc, saved_free);
    assert_int_equal(status, KN_OK);
    assert_true(named && at > 8);
    kn_st_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_headers_are_refused),
        cmocka_unit_test(odd_but_valid_headers_are_read),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_zero_byte_is_refused),
        cmocka_unit_test(damaged_files_do_no_harm),
        cmocka_unit_test(the_json_parser_may_lack_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
