/* test_sheet.c - pictures come back out of the sheet as they went in, captions are text and nothing
 * else, and what cannot be drawn is refused. */
#include <kiln/image.h>
#include <kiln/sheet.h>

#include "core/base64.h"
#include "core/file.h"
#include "formats/sheet.h"
#include "support/counted.h"
#include "support/svg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { COUNT = 11, BIG = 300 };

static const char *const hostile[COUNT] = {"cat",
                                           "<script>alert(1)</script>",
                                           "\"><img src=x onerror=alert(1)>",
                                           "]]>&'",
                                           "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
                                           "\xFF\x01",
                                           "",
                                           "a name of a class that is far too long to stand there",
                                           "8",
                                           "9",
                                           "10"};

static void base64_is_that_of_the_rfc(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xFB\xFF\xFE", "+//+"}};
    for (size_t i = 0; i < KN_COUNT(cases); i++) {
        kn_text t = {0};
        kn_text_append(&t, "", 0);
        kn_text_base64(&t, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(t.data, cases[i][1]);
        kn_text_free(&t);
    }
}

static int digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(digits, c);
    assert_true(c != '\0' && at != NULL);
    return (int)(at - digits);
}

/* The JPEG of the n-th picture, decoded. */
static kn_image picture(const char *svg, int n, kn_image_reader *reader) {
    static const char start[] = "data:image/jpeg;base64,";
    static uint8_t bytes[1 << 20];
    size_t size = 0;
    const char *at = svg;
    for (int i = 0; i <= n; i++)
        at = strstr(at, start) + sizeof start - 1;
    for (; *at != '"' && *at != '='; at += 4) {
        int last = at[2] == '=' ? 1 : at[3] == '=' ? 2 : 3;
        unsigned group = (unsigned)digit(at[0]) << 18 | (unsigned)digit(at[1]) << 12;
        group |= last > 1 ? (unsigned)digit(at[2]) << 6 : 0;
        group |= last > 2 ? (unsigned)digit(at[3]) : 0;
        for (int i = 0; i < last; i++)
            bytes[size++] = (uint8_t)(group >> (16 - 8 * i));
    }
    kn_image image;
    kn_error error = {0};
    if (kn_image_decode(reader, bytes, size, "inside", &image, &error) != KN_OK)
        fail_msg("%s", error.message);
    return image;
}

static char *draw(const kn_sheet *sheet) {
    kn_text t = {0};
    kn_error error = {0};
    if (kn_sheet_svg(&t, sheet, &error) != KN_OK)
        fail_msg("%s", error.message);
    svg_check(t.data);
    assert_int_equal(svg_count(t.data, "<image"), sheet->count);
    return t.data;
}

/* Pictures of one colour each. */
static uint8_t *colours(int count, int h, int w) {
    size_t bytes = (size_t)h * (size_t)w * 3;
    uint8_t *pixels = malloc((size_t)count * bytes);
    for (int i = 0; i < count; i++)
        memset(pixels + (size_t)i * bytes, 20 * i + 10, bytes);
    return pixels;
}

static void pictures_come_back(void **state) {
    (void)state;
    static const int side[][4] = {
        {16, 16, 16, 16}, {BIG, BIG, 144, 144}, {BIG, 100, 144, 48}, {1, BIG, 1, 144}};
    for (size_t k = 0; k < KN_COUNT(side); k++) {
        uint8_t *pixels = colours(COUNT, side[k][0], side[k][1]);
        char *svg = draw(&(kn_sheet){.pixels = pixels,
                                     .count = COUNT,
                                     .height = side[k][0],
                                     .width = side[k][1],
                                     .caption = hostile});
        kn_image_reader reader = {0};
        for (int i = 0; i < COUNT; i++) {
            kn_image image = picture(svg, i, &reader);
            assert_int_equal(image.height, side[k][2]);
            assert_int_equal(image.width, side[k][3]);
            assert_in_range(image.pixels[0], 20 * i + 8, 20 * i + 12);
        }
        assert_int_equal(svg_count(svg, "pixelated") > 0, k == 0);
        kn_image_reader_free(&reader);
        kn_mem_free(NULL, svg);
        free(pixels);
    }
}

static void captions_are_text(void **state) {
    (void)state;
    uint8_t *pixels = colours(COUNT, 8, 8);
    char *svg = draw(&(kn_sheet){.title = "<b>T</b>",
                                 .pixels = pixels,
                                 .count = COUNT,
                                 .height = 8,
                                 .width = 8,
                                 .caption = hostile,
                                 .note = hostile,
                                 .columns = 3});
    assert_int_equal(svg_count(svg, "<script"), 0);
    assert_int_equal(svg_count(svg, "<img"), 0);
    assert_int_equal(svg_count(svg, "<b>"), 0);
    svg_contains(svg, "&lt;script&gt;alert(1)&lt;/script&gt;</title>");
    svg_contains(svg, "far too long to stand there</title>"); /* pointing at it says all of it */
    assert_int_equal(svg_count(svg, ">10</text>"), 2);
    kn_mem_free(NULL, svg);
    free(pixels);
}

static void it_is_written_or_refused(void **state) {
    (void)state;
    uint8_t *pixels = colours(2, 4, 4);
    kn_sheet sheet = {.pixels = pixels, .count = 2, .height = 4, .width = 4, .caption = hostile};
    char path[] = "/tmp/kiln-sheet-XXXXXX";
    kn_error error = {0};
    close(mkstemp(path));
    assert_int_equal(kn_sheet_write(&sheet, path, NULL, &error), KN_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kn_sheet_write(&sheet, "/nonexistent/s.svg", NULL, &error), KN_ERR_IO);
    svg_contains(error.message, "/nonexistent/s.svg");
    static const int bad[][2] = {{0, 0}, {4097, 0}, {2, -1}, {2, 65}};
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        error = (kn_error){0};
        sheet.count = bad[i][0];
        sheet.columns = bad[i][1];
        assert_int_equal(kn_sheet_write(&sheet, path, NULL, &error), KN_ERR_ARG);
        svg_contains(error.message, path);
    }
    free(pixels);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    uint8_t *pixels = colours(2, BIG, BIG);
    kn_sheet sheet = {
        .pixels = pixels, .count = 2, .height = BIG, .width = BIG, .caption = hostile};
    char path[] = "/tmp/kiln-sheet-XXXXXX";
    close(mkstemp(path));
    kn_status status = KN_ERR_MEMORY;
    int at = 0;
    while (status != KN_OK) {
        counted c = {.fail_at = ++at};
        kn_allocator allocator = counted_allocator(&c);
        kn_error error = {0};
        status = kn_sheet_write(&sheet, path, &allocator, &error);
        assert_true(status == KN_OK || (status == KN_ERR_MEMORY && error.status == status));
        assert_int_equal(c.live, 0);
    }
    assert_true(at > 6);
    assert_int_equal(unlink(path), 0);
    free(pixels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_is_that_of_the_rfc), cmocka_unit_test(pictures_come_back),
        cmocka_unit_test(captions_are_text),         cmocka_unit_test(it_is_written_or_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
