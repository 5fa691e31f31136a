/* test_fit.c - parts of pictures resized, and the three methods for another aspect: bytes against
 * Pillow's (tests/data/fit_golden.txt, made by tools/make_augment_goldens.py). */
#include "support/counted.h"
#include "support/pictures.h"

#include <kiln/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 100 * 100 * 3 };

/* The upright pixels of a made picture, inside the reader. */
static kn_image load(kn_image_reader *r, const char *name) {
    static unsigned char data[PICTURE_MAX];
    kn_image image;
    size_t size = made_load(name, data);
    assert_int_equal(kn_image_decode(r, data, size, name, &image, NULL), KN_OK);
    return image;
}

/* One line of the file; returns its first word's method, -1 for a box. */
static int read_line(const char *line, char name[64], kn_box *box, int *w, int *h,
                     char sha[PICTURE_HEX]) {
    char kind[16];
    kn_resize_method method = KN_RESIZE_SQUASH;
    if (strncmp(line, "box", 3) == 0) {
        assert_int_equal(sscanf(line, "box %63s %f %f %f %f %dx%d %64s", name, &box->left,
                                &box->top, &box->right, &box->bottom, w, h, sha),
                         8);
        return -1;
    }
    assert_int_equal(sscanf(line, "%15s %63s %dx%d %64s", kind, name, w, h, sha), 5);
    assert_true(kn_resize_find(kind, &method));
    return (int)method;
}

/* One reader for all lines: a plan that stays although another is wanted would show. */
static void test_bytes_equal_pillow(void **state) {
    (void)state;
    char line[512], name[64], want[PICTURE_HEX], got[PICTURE_HEX];
    static uint8_t out[LARGEST];
    int w = 0, h = 0, lines[4] = {0}; /* of boxes, and of each method */
    kn_box box = {0};
    kn_image_reader r = {0}, resizing = {0};
    FILE *file = fopen(KN_TEST_DIR "/data/fit_golden.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        int method = read_line(line, name, &box, &w, &h, want);
        kn_image image = load(&r, name);
        assert_true(w * h * 3 <= LARGEST);
        memset(out, 0xA5, sizeof out);
        kn_status status = method < 0
                               ? kn_image_resize_box(&resizing, image.pixels, image.height,
                                                     image.width, box, out, h, w, NULL)
                               : kn_image_fit(&resizing, image.pixels, image.height, image.width,
                                              (kn_resize_method)method, out, h, w, NULL);
        assert_int_equal(status, KN_OK);
        picture_sha(out, h, w, got);
        if (strcmp(got, want) != 0)
            fail_msg("differs from Pillow: %s", line);
        for (int i = w * h * 3; i < LARGEST; i++)
            if (out[i] != 0xA5)
                fail_msg("writes past the end: %s", line);
        lines[method + 1]++;
    }
    fclose(file);
    kn_image_reader_free(&r);
    kn_image_reader_free(&resizing);
    assert_true(lines[0] > 100 && lines[1 + KN_RESIZE_CROP] > 20 && lines[1 + KN_RESIZE_PAD] > 20);
}

/* Squash is the plain resize. */
static void test_squash(void **state) {
    (void)state;
    static uint8_t want[50 * 31 * 3], got[50 * 31 * 3];
    kn_image_reader r = {0};
    kn_image image = load(&r, "ycc_444.jpg");
    kn_image_resize(&r, image.pixels, image.height, image.width, want, 50, 31, NULL);
    assert_int_equal(kn_image_fit(&r, image.pixels, image.height, image.width, KN_RESIZE_SQUASH,
                                  got, 50, 31, NULL),
                     KN_OK);
    assert_memory_equal(got, want, sizeof want);
    kn_image_reader_free(&r);
}

/* Where Pillow would make no picture at all: a side of at least one pixel. */
static void test_thin(void **state) {
    (void)state;
    static uint8_t in[200 * 3], out[9 * 9 * 3];
    memset(in, 200, sizeof in);
    kn_image_reader r = {0};
    for (int tall = 0; tall < 2; tall++) {
        int h = tall ? 200 : 1, w = tall ? 1 : 200, lit = 0;
        assert_int_equal(kn_image_fit(&r, in, h, w, KN_RESIZE_PAD, out, 9, 9, NULL), KN_OK);
        for (int i = 0; i < 9; i++) {
            int row = tall ? i : 4, column = tall ? 4 : i;
            assert_int_equal(out[(row * 9 + column) * 3], 200);
        }
        for (size_t i = 0; i < sizeof out; i++)
            lit += out[i] != 0;
        assert_int_equal(lit, 9 * 3);
        assert_int_equal(kn_image_fit(&r, in, h, w, KN_RESIZE_CROP, out, 9, 9, NULL), KN_OK);
        for (size_t i = 0; i < sizeof out; i++)
            assert_int_equal(out[i], 200);
    }
    kn_image_reader_free(&r);
}

static void test_names(void **state) {
    (void)state;
    kn_resize_method method;
    for (int i = 0; i < 3; i++) {
        assert_true(kn_resize_find(kn_resize_name((kn_resize_method)i), &method));
        assert_int_equal(method, i);
    }
    assert_null(kn_resize_name((kn_resize_method)3));
    assert_false(kn_resize_find("Crop", &method));
    assert_false(kn_resize_find("", &method));
}

static void test_bad_boxes(void **state) {
    (void)state;
    static uint8_t in[4 * 5 * 3], out[9 * 3];
    static const kn_box bad[] = {
        {-1, 0, 4, 4}, {0, -0.5F, 4, 4}, {0, 0, 5.5F, 4}, {0, 0, 5, 5},   {2, 0, 2, 4},
        {0, 3, 4, 2},  {NAN, 0, 4, 4},   {0, NAN, 4, 4},  {0, 0, NAN, 4}, {0, 0, INFINITY, 4}};
    kn_image_reader r = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kn_error error = {0};
        assert_int_equal(kn_image_resize_box(&r, in, 4, 5, bad[i], out, 3, 3, &error), KN_ERR_ARG);
        check_contains(error.message, "a box inside");
    }
    for (int method = 0; method < 3; method++) {
        assert_int_equal(kn_image_fit(&r, in, 4, 5, (kn_resize_method)method, out, 0, 3, NULL),
                         KN_ERR_ARG);
        assert_int_equal(kn_image_fit(&r, in, 0, 5, (kn_resize_method)method, out, 3, 3, NULL),
                         KN_ERR_ARG);
    }
    kn_image_reader_free(&r);
}

/* Whatever its box, a part of a picture of a known size needs no more memory than the whole. */
static void test_random_boxes_allocate_once(void **state) {
    (void)state;
    enum { H = 90, W = 120, OUT = 24 };
    static uint8_t in[H * W * 3], out[OUT * OUT * 3];
    counted memory = {0};
    kn_allocator allocator = counted_allocator(&memory);
    kn_image_reader r = {.allocator = &allocator};
    kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, 0, 0, 0);
    for (int i = 0; i < 300; i++) {
        uint32_t w = 1 + kn_rng_below(&rng, W), h = 1 + kn_rng_below(&rng, H);
        uint32_t x = kn_rng_below(&rng, W - w + 1), y = kn_rng_below(&rng, H - h + 1);
        kn_box box = {(float)x, (float)y, (float)(x + w), (float)(y + h)};
        assert_int_equal(kn_image_resize_box(&r, in, H, W, box, out, OUT, OUT, NULL), KN_OK);
    }
    assert_int_equal(memory.made, 1);
    kn_image_reader_free(&r);
    assert_int_equal(memory.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_equal_pillow),
        cmocka_unit_test(test_squash),
        cmocka_unit_test(test_thin),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_boxes),
        cmocka_unit_test(test_random_boxes_allocate_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
