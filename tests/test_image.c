/* test_image.c - pictures read, resized and written: bytes against Pillow's. */
#include <kiln/image.h>

#include "support/counted.h"
#include "support/pictures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void check_resized(kn_image_reader *r, const kn_image *image, const made_picture *m, int i) {
    int w = m->want[i].w, h = m->want[i].h;
    uint8_t *out = malloc((size_t)w * (size_t)h * 3);
    kn_error error = {0};
    char sha[PICTURE_HEX];
    assert_non_null(out);
    if (kn_image_resize(r, image->pixels, image->height, image->width, out, h, w, &error) != KN_OK)
        fail_msg("%s to %dx%d: %s", m->name, w, h, error.message);
    picture_sha(out, h, w, sha);
    free(out);
    if (strcmp(sha, m->want[i].sha) != 0)
        fail_msg("%s resized to %dx%d has other bytes", m->name, w, h);
}

/* One reader for all of them, so that what one leaves behind would show in the next. */
static void test_every_form(void **state) {
    (void)state;
    kn_image_reader r = {0};
    made_picture m;
    int count = 0;
    for (FILE *list = NULL; made_next(&list, &m); count++) {
        kn_image image;
        kn_error error = {0};
        char sha[PICTURE_HEX];
        if (kn_image_read(&r, m.path, &image, &error) != KN_OK)
            fail_msg("%s", error.message);
        assert_string_equal(kn_image_form_name(image.form), m.form);
        if (image.bits != m.bits || image.orientation != m.orientation ||
            image.width != m.want[0].w || image.height != m.want[0].h)
            fail_msg("%s: %dx%d, %d bits, orientation %d", m.name, image.width, image.height,
                     image.bits, image.orientation);
        picture_sha(image.pixels, image.height, image.width, sha);
        if (strcmp(sha, m.want[0].sha) != 0)
            fail_msg("%s: decoded to other bytes", m.name);
        assert_true(m.wants > 3);
        for (int i = 1; i < m.wants; i++)
            check_resized(&r, &image, &m, i);
    }
    kn_image_reader_free(&r);
    assert_true(count > 100);
}

/* 516 pictures of Imagenette; a line of the list is a path and 16 digits of its 64x64 bytes. */
static void test_real_pictures(void **state) {
    (void)state;
    const char *root = getenv("KILN_TEST_DATA");
    if (root == NULL) {
        print_message("SKIPPED: 516 real pictures, KILN_TEST_DATA is not set\n");
        skip();
    }
    FILE *list = fopen(KN_TEST_DIR "/data/imagenette_resize.txt", "r");
    assert_non_null(list);
    kn_image_reader r = {0};
    static uint8_t out[64 * 64 * 3];
    char name[512], want[PICTURE_HEX], sha[PICTURE_HEX], path[4096];
    int count = 0;
    for (; fscanf(list, "%511s %64s", name, want) == 2; count++) {
        kn_image image;
        kn_error error = {0};
        snprintf(path, sizeof path, "%s/%s", root, name);
        if (kn_image_read(&r, path, &image, &error) != KN_OK ||
            kn_image_resize(&r, image.pixels, image.height, image.width, out, 64, 64, &error) !=
                KN_OK)
            fail_msg("%s", error.message);
        picture_sha(out, 64, 64, sha);
        if (strncmp(sha, want, 16) != 0)
            fail_msg("%s: other bytes", path);
    }
    fclose(list);
    kn_image_reader_free(&r);
    assert_int_equal(count, 516);
}

static void test_same_size_is_a_copy(void **state) {
    (void)state;
    uint8_t in[5 * 7 * 3], out[sizeof in];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 37);
    kn_image_reader r = {0};
    assert_int_equal(kn_image_resize(&r, in, 5, 7, out, 5, 7, NULL), KN_OK);
    assert_memory_equal(in, out, sizeof in);
    assert_null(r.resize.data);
}

/* The weights are kept between pictures: going back and forth must rebuild them. */
static void test_weights_follow_the_sizes(void **state) {
    (void)state;
    /* Also by one of the four at a time. */
    static const int sizes[][4] = {
        {40, 30, 16, 20}, {30, 40, 16, 20}, {40, 30, 20, 16}, {40, 30, 16, 20}, {8, 9, 50, 50},
        {40, 30, 16, 20}, {41, 30, 16, 20}, {41, 31, 16, 20}, {41, 31, 17, 20}, {41, 31, 17, 21}};
    static uint8_t in[64 * 64 * 3], kept[64 * 64 * 3], fresh[64 * 64 * 3];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * i >> 3);
    kn_image_reader r = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *s = sizes[i];
        kn_image_reader other = {0};
        assert_int_equal(kn_image_resize(&r, in, s[0], s[1], kept, s[2], s[3], NULL), KN_OK);
        assert_int_equal(kn_image_resize(&other, in, s[0], s[1], fresh, s[2], s[3], NULL), KN_OK);
        assert_memory_equal(kept, fresh, (size_t)s[2] * (size_t)s[3] * 3);
        kn_image_reader_free(&other);
    }
    kn_image_reader_free(&r);
}

static void test_constant_stays_constant(void **state) {
    (void)state;
    static uint8_t in[100 * 90 * 3], out[130 * 70 * 3];
    kn_image_reader r = {0};
    for (int value = 0; value < 256; value += 51) {
        memset(in, value, sizeof in);
        assert_int_equal(kn_image_resize(&r, in, 100, 90, out, 70, 130, NULL), KN_OK);
        for (size_t i = 0; i < sizeof out; i++)
            assert_int_equal(out[i], value);
    }
    kn_image_reader_free(&r);
}

static void test_resize_refuses(void **state) {
    (void)state;
    static const int sizes[][4] = {{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, -1}};
    uint8_t pixel[3] = {1, 2, 3}, out[3];
    kn_image_reader r = {.max_memory = 1000};
    for (size_t i = 0; i < 4; i++) {
        const int *s = sizes[i];
        kn_error error = {0};
        assert_int_equal(kn_image_resize(&r, pixel, s[0], s[1], out, s[2], s[3], &error),
                         KN_ERR_ARG);
        check_contains(error.message, "expected 1 to");
    }
    kn_error error = {0};
    assert_int_equal(kn_image_resize(&r, pixel, 1, 1, out, 1 << 20, 1 << 20, &error), KN_ERR_LIMIT);
    check_contains(error.message, "the limit is 1000");
    assert_null(r.resize.data);
}

/* ---- memory ---- */

static void read_and_resize(kn_image_reader *r, const char *name, int size) {
    static unsigned char file[PICTURE_MAX];
    static uint8_t out[64 * 64 * 3];
    kn_image image;
    kn_error error = {0};
    size_t bytes = made_load(name, file);
    if (kn_image_decode(r, file, bytes, name, &image, &error) != KN_OK ||
        kn_image_resize(r, image.pixels, image.height, image.width, out, size, size, &error) !=
            KN_OK)
        fail_msg("%s", error.message);
}

static void test_a_warm_reader_allocates_nothing(void **state) {
    (void)state;
    counted c = {0};
    kn_allocator allocator = counted_allocator(&c);
    kn_image_reader r = {.allocator = &allocator};
    read_and_resize(&r, "exif_6.jpg", 16);
    long made = c.made;
    assert_true(made > 0);
    for (int i = 0; i < 3; i++) {
        read_and_resize(&r, "exif_8.jpg", 16);
        read_and_resize(&r, "cmyk.jpg", 16);
        read_and_resize(&r, "rgba_16.png", 16);
    }
    assert_int_equal(c.made, made);
    kn_image_reader_free(&r);
    assert_int_equal(c.live, 0);
}

/* Each allocation fails once: an error with the path, nothing lost, and the reader still good. */
static void test_every_allocation_fails(void **state) {
    (void)state;
    made_picture m;
    FILE *list = NULL;
    while (made_next(&list, &m) && strcmp(m.name, "exif_6.jpg") != 0)
        ;
    fclose(list);
    static uint8_t out[64 * 64 * 3];
    long failures = 0;
    for (bool good = false; !good; failures++) {
        counted c = {.fail_at = failures + 1};
        kn_allocator allocator = counted_allocator(&c);
        kn_image_reader r = {.allocator = &allocator};
        for (int attempt = 0; attempt < 2; attempt++) {
            kn_image image;
            kn_error error = {0};
            kn_status status = kn_image_read(&r, m.path, &image, &error);
            if (status == KN_OK)
                status =
                    kn_image_resize(&r, image.pixels, image.height, image.width, out, 9, 9, &error);
            else
                check_contains(error.message, "exif_6.jpg: ");
            assert_int_equal(status, error.status);
            assert_int_equal(status, attempt == 0 && c.refused > 0 ? KN_ERR_MEMORY : KN_OK);
            if (attempt == 0)
                good = status == KN_OK;
        }
        kn_image_reader_free(&r);
        assert_int_equal(c.live, 0);
    }
    assert_int_equal(failures, 5); /* file, pixels, upright, resize; then none */
}

/* ---- writing ---- */

static void test_write_and_read_back(void **state) {
    (void)state;
    enum { H = 40, W = 56 };
    static uint8_t in[H * W * 3], first[PICTURE_MAX], second[PICTURE_MAX];
    for (int i = 0; i < H * W; i++) {
        in[i * 3] = (uint8_t)(i % W * 4);
        in[i * 3 + 1] = (uint8_t)(i / W * 6);
        in[i * 3 + 2] = 90;
    }
    char path[4096];
    temporary_path(path, sizeof path, "written.jpg");
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        kn_error error = {0};
        if (kn_image_write_jpeg(path, in, H, W, 92, &error) != KN_OK)
            fail_msg("%s", error.message);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        sizes[i] = fread(i == 0 ? first : second, 1, PICTURE_MAX, f);
        fclose(f);
    }
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(first, second, sizes[0]);
    kn_image_reader r = {0};
    kn_image image;
    assert_int_equal(kn_image_read(&r, path, &image, NULL), KN_OK);
    unlink(path);
    assert_int_equal(image.height, H);
    assert_int_equal(image.width, W);
    assert_int_equal(image.form, KN_FORM_RGB);
    for (int i = 0; i < H * W * 3; i++)
        assert_true(abs(image.pixels[i] - in[i]) < 12);
    kn_image_reader_free(&r);
}

static void test_write_larger_than_one_buffer(void **state) {
    (void)state;
    enum { SIDE = 300 };
    static uint8_t in[SIDE * SIDE * 3];
    uint32_t noise = 1;
    for (size_t i = 0; i < sizeof in; i += 3) { /* grey, so that the halved colours lose nothing */
        noise = noise * 1664525 + 1013904223;
        memset(in + i, (int)(noise >> 24), 3);
    }
    char path[4096];
    temporary_path(path, sizeof path, "large.jpg");
    assert_int_equal(kn_image_write_jpeg(path, in, SIDE, SIDE, 100, NULL), KN_OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 3 << 14);
    kn_image_reader r = {0};
    kn_image image;
    assert_int_equal(kn_image_read(&r, path, &image, NULL), KN_OK);
    assert_int_equal(image.height, SIDE);
    for (size_t i = 0; i < sizeof in; i++)
        assert_true(abs(image.pixels[i] - in[i]) < 6);
    kn_image_reader_free(&r);
    unlink(path);
}

static void test_write_refuses(void **state) {
    (void)state;
    static const uint8_t pixel[3] = {1, 2, 3};
    char path[4096];
    temporary_path(path, sizeof path, "refused.jpg");
    static const int bad[][3] = {{0, 1, 90}, {1, 0, 90},  {65501, 1, 90},
                                 {1, 1, 0},  {1, 1, 101}, {1, -1, 50}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kn_error error = {0};
        assert_int_equal(kn_image_write_jpeg(path, pixel, bad[i][0], bad[i][1], bad[i][2], &error),
                         KN_ERR_ARG);
        check_contains(error.message, path);
    }
    assert_int_equal(access(path, F_OK), -1);
    kn_error error = {0};
    temporary_path(path, sizeof path, "no-such-folder/x.jpg");
    assert_int_equal(kn_image_write_jpeg(path, pixel, 1, 1, 90, &error), KN_ERR_IO);
    check_contains(error.message, path);
}

/* ---- decoding smaller ---- */

/* A picture without fine detail, of which a smaller decode is about the mean of its pixels. */
static void put_smooth(const char *path, int h, int w) {
    uint8_t *pixels = malloc((size_t)h * (size_t)w * 3);
    kn_error error = {0};
    assert_non_null(pixels);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *p = pixels + ((ptrdiff_t)y * w + x) * 3;
            p[0] = (uint8_t)(x * 255 / w);
            p[1] = (uint8_t)(y * 255 / h);
            p[2] = (uint8_t)((x * 3 + y * 5) % 256 / 4 + 90);
        }
    assert_int_equal(kn_image_write_jpeg(path, pixels, h, w, 95, &error), KN_OK);
    free(pixels);
}

static void check_smaller(const char *path, int least, int h, int w) {
    kn_image_reader exact = {0}, fast = {.least_side = least};
    kn_image whole, small;
    kn_error error = {0};
    assert_int_equal(kn_image_read(&exact, path, &whole, &error), KN_OK);
    assert_int_equal(kn_image_read(&fast, path, &small, &error), KN_OK);
    assert_int_equal(small.height, h);
    assert_int_equal(small.width, w);
    uint8_t *want = malloc((size_t)h * (size_t)w * 3);
    assert_non_null(want);
    assert_int_equal(
        kn_image_resize(&exact, whole.pixels, whole.height, whole.width, want, h, w, &error),
        KN_OK);
    double off = 0;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)h * w * 3; i++)
        off += abs(small.pixels[i] - want[i]);
    if (off / (h * w * 3) > 3)
        fail_msg("decoded to %dx%d: %.2f levels off in the mean", h, w, off / (h * w * 3));
    free(want);
    kn_image_reader_free(&exact);
    kn_image_reader_free(&fast);
}

static void test_smaller_decode(void **state) {
    (void)state;
    char path[4096];
    temporary_path(path, sizeof path, "smooth.jpg");
    put_smooth(path, 120, 203);
    check_smaller(path, 121, 120, 203); /* never below what is asked, nor larger than it is */
    check_smaller(path, 61, 120, 203);
    check_smaller(path, 60, 60, 102);
    check_smaller(path, 31, 60, 102);
    check_smaller(path, 30, 30, 51);
    check_smaller(path, 15, 15, 26);
    check_smaller(path, 1, 15, 26);
    unlink(path);
}

/* Turned, with four inks, progressive, grey: all the ways through the decoder. */
static void test_smaller_forms(void **state) {
    (void)state;
    kn_image_reader exact = {0}, fast = {.least_side = 2};
    made_picture m;
    int smaller = 0;
    for (FILE *list = NULL; made_next(&list, &m);) {
        kn_image whole, small;
        kn_error error = {0};
        assert_int_equal(kn_image_read(&exact, m.path, &whole, &error), KN_OK);
        if (kn_image_read(&fast, m.path, &small, &error) != KN_OK)
            fail_msg("%s", error.message);
        assert_int_equal(small.form, whole.form);
        assert_int_equal(small.orientation, whole.orientation);
        assert_int_equal(small.width < whole.width, small.height < whole.height);
        assert_true(small.width >= 1 && small.height >= 1);
        smaller += small.width < whole.width;
    }
    assert_true(smaller > 30);
    kn_image_reader_free(&exact);
    kn_image_reader_free(&fast);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),
        cmocka_unit_test(test_smaller_decode),
        cmocka_unit_test(test_smaller_forms),
        cmocka_unit_test(test_real_pictures),
        cmocka_unit_test(test_same_size_is_a_copy),
        cmocka_unit_test(test_weights_follow_the_sizes),
        cmocka_unit_test(test_constant_stays_constant),
        cmocka_unit_test(test_resize_refuses),
        cmocka_unit_test(test_a_warm_reader_allocates_nothing),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_write_and_read_back),
        cmocka_unit_test(test_write_larger_than_one_buffer),
        cmocka_unit_test(test_write_refuses),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
