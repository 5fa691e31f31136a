/* test_exif.c - orientations from EXIF and XMP blocks, good and bad. Every block is given in memory
 * of exactly its size, so that a sanitizer sees any read past it. */
#include "formats/exif.h"

#include "support/check.h"

#include <stdlib.h>
#include <string.h>

static int orientation(const void *data, size_t size) {
    uint8_t *exact = malloc(size > 0 ? size : 1);
    assert_non_null(exact);
    memcpy(exact, data, size);
    int value = kn_exif_orientation(exact, size);
    free(exact);
    return value;
}

/* II, 42, directory at 8, one entry: the tag, type, count and value follow. */
#define LITTLE "II*\0\x08\0\0\0\1\0"
#define BIG    "MM\0*\0\0\0\x08\0\1"
#define END    "\0\0\0\0"

static const struct {
    const char *what;
    int want;
    size_t size;
    const char *data;
} blocks[] = {
#define BLOCK(what, want, text)                                                                    \
    { what, want, sizeof(text) - 1, text }
    BLOCK("little-endian", 6, LITTLE "\x12\1\3\0\1\0\0\0\6\0\0\0" END),
    BLOCK("big-endian", 6, BIG "\1\x12\0\3\0\0\0\1\0\6\0\0" END),
    BLOCK("after the JPEG prefix", 6, "Exif\0\0" LITTLE "\x12\1\3\0\1\0\0\0\6\0\0\0" END),
    BLOCK("LONG", 8, BIG "\1\x12\0\4\0\0\0\1\0\0\0\x08" END),
    BLOCK("signed SHORT", 3, LITTLE "\x12\1\x08\0\1\0\0\0\3\0\0\0" END),
    BLOCK("two values", 5, LITTLE "\x12\1\3\0\2\0\0\0\5\0\6\0" END),
    BLOCK("three values elsewhere", 7, LITTLE "\x12\1\3\0\3\0\0\0\x1a\0\0\0" END "\7\0\1\0\1\0"),
    BLOCK("values past the end", 0, LITTLE "\x12\1\3\0\3\0\0\0\x1b\0\0\0" END "\7\0\1\0\1\0"),
    BLOCK("4 billion values", 0, LITTLE "\x12\1\4\0\xff\xff\xff\xff\x08\0\0\0" END),
    BLOCK("values at 4 GB", 0, LITTLE "\x12\1\4\0\2\0\0\0\xff\xff\xff\xff" END),
    BLOCK("no values", 0, LITTLE "\x12\1\3\0\0\0\0\0\6\0\0\0" END),
    BLOCK("value 0", 1, LITTLE "\x12\1\3\0\1\0\0\0\0\0\0\0" END),
    BLOCK("value 9", 1, LITTLE "\x12\1\3\0\1\0\0\0\x09\0\0\0" END),
    BLOCK("text", 0, LITTLE "\x12\1\2\0\1\0\0\0\6\0\0\0" END),
    BLOCK("type 0", 0, LITTLE "\x12\1\0\0\1\0\0\0\6\0\0\0" END),
    BLOCK("another tag", 0, LITTLE "\x0f\1\3\0\1\0\0\0\6\0\0\0" END),
    BLOCK("without the end of the directory", 6, LITTLE "\x12\1\3\0\1\0\0\0\6\0\0\0"),
    BLOCK("42 the wrong way round", 6, "II\0*\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0" END),
    BLOCK("wrong number", 0, "II+\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0" END),
    BLOCK("wrong order", 0, "IM*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0" END),
    BLOCK("directory past the end", 0, "II*\0\xff\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"),
    BLOCK("directory at 4 GB", 0, "II*\0\xff\xff\xff\xff\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"),
    BLOCK("65535 entries", 0, "II*\0\x08\0\0\0\xff\xff\x0f\1\3\0\1\0\0\0\6\0\0\0"),
    BLOCK("second entry", 4,
          "II*\0\x08\0\0\0\2\0\x0f\1\2\0\4\0\0\0abc\0\x12\1\3\0\1\0\0\0\4\0\0\0" END),
    BLOCK("nothing", 0, ""),
    BLOCK("the prefix alone", 0, "Exif\0\0"),
};

static void test_blocks(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        int got = orientation(blocks[i].data, blocks[i].size);
        if (got != blocks[i].want)
            fail_msg("%s: %d, expected %d", blocks[i].what, got, blocks[i].want);
    }
}

static void test_cut_and_changed_blocks(void **state) {
    (void)state;
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        for (size_t cut = 0; cut < blocks[i].size; cut++)
            assert_in_range(orientation(blocks[i].data, cut), 0, 8);
        for (int round = 0; round < 300 && blocks[i].size > 0; round++) {
            char changed[64];
            assert_true(blocks[i].size < sizeof changed);
            memcpy(changed, blocks[i].data, blocks[i].size);
            for (int n = 0; n < 3; n++) {
                seed = seed * 1664525 + 1013904223;
                changed[(seed >> 8) % blocks[i].size] = (char)(seed >> 24);
            }
            assert_in_range(orientation(changed, blocks[i].size), 0, 8);
        }
    }
}

static int xmp(const char *text) {
    size_t size = strlen(text);
    char *exact = malloc(size > 0 ? size : 1);
    assert_non_null(exact);
    memcpy(exact, text, size);
    int value = kn_xmp_orientation(exact, size);
    free(exact);
    return value;
}

static void test_xmp(void **state) {
    (void)state;
    assert_int_equal(xmp("<x tiff:Orientation=\"6\"/>"), 6);
    assert_int_equal(xmp("<tiff:Orientation>3</tiff:Orientation>"), 3);
    assert_int_equal(xmp("tiff:Orientation='6' tiff:Orientation=\"8\""), 8);
    assert_int_equal(xmp("tiff:Orientation=\"9\""), 1);
    assert_int_equal(xmp("tiff:Orientation=\"x\""), 0);
    assert_int_equal(xmp("tiff:Orientation=\""), 0);
    assert_int_equal(xmp("tiff:Orientation="), 0);
    assert_int_equal(xmp("tiff:Orientation>"), 0);
    assert_int_equal(xmp("tiff:Orientation"), 0);
    assert_int_equal(xmp("tiff:Orientatio"), 0);
    assert_int_equal(xmp(""), 0);
}

static void test_unhex(void **state) {
    (void)state;
    char good[] = "\nexif\n       6\n4578\n69 66\n0a0B\n";
    assert_int_equal(kn_exif_unhex(good, strlen(good)), 6);
    assert_memory_equal(good, "Exif\x0a\x0b", 6);
    char odd[] = "\nexif\n 1\n4", wrong[] = "\nexif\n 1\n4g", none[] = "\nexif\n", empty[] = "";
    assert_int_equal(kn_exif_unhex(odd, strlen(odd)), 0);
    assert_int_equal(kn_exif_unhex(wrong, strlen(wrong)), 0);
    assert_int_equal(kn_exif_unhex(none, strlen(none)), 0);
    assert_int_equal(kn_exif_unhex(empty, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_cut_and_changed_blocks),
        cmocka_unit_test(test_xmp),
        cmocka_unit_test(test_unhex),
    };
    return cmocka_run_group_tests_name("exif", tests, NULL, NULL);
}
