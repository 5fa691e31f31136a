/* test_image_errors.c - pictures that are not what they should be: each gives one line and a
 * status, none crashes, hangs, or takes more memory than it may. */
#include <kiln/image.h>

#include "support/pictures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned char file[PICTURE_MAX], work[PICTURE_MAX];

/* ---- files ---- */

static void refuse_path(const char *path, kn_status status, const char *reason) {
    kn_image_reader r = {0};
    kn_image image;
    kn_error error = {0};
    kn_status got = kn_image_read(&r, path, &image, &error);
    assert_int_equal(kn_image_read(&r, path, &image, NULL), got); /* who wants no reason */
    if (got != status || error.status != status)
        fail_msg("%s: %s (%s)", path, kn_status_name(got), error.message);
    assert_true(strncmp(error.message, path, strlen(path)) == 0);
    check_contains(error.message, reason);
    assert_null(image.pixels);
    kn_image_reader_free(&r);
}

static void refuse_content(const void *data, size_t size, const char *reason) {
    char path[4096];
    temporary_path(path, sizeof path, "content.jpg");
    put_file(path, data, size);
    refuse_path(path, KN_ERR_DATA, reason);
    unlink(path);
}

static void test_other_files(void **state) {
    (void)state;
    refuse_content("", 0, "content.jpg: is empty, not a JPEG or PNG");
    refuse_content("hello, picture\n", 15, "content.jpg: is text, not a JPEG or PNG");
    refuse_content("GIF89a\1\0\1\0", 10, "content.jpg: is a GIF, not a JPEG or PNG");
    refuse_content("RIFF\x10\0\0\0WEBPVP8 ", 16, "is a WebP, not");
    refuse_content("BM\x46\0\0\0", 6, "is a BMP, not");
    refuse_content("II*\0\x08\0\0\0", 8, "is a TIFF, not");
    refuse_content("MM\0*\0\0\0\x08", 8, "is a TIFF, not");
    refuse_content("\0\0\0\x20"
                   "ftypheic",
                   12, "is a HEIC, not");
    refuse_content("\0\0\0\x20"
                   "ftypavif",
                   12, "is an AVIF, not");
    refuse_content("%PDF-1.7\n", 9, "is a PDF, not");
    refuse_content("PK\3\4....", 8, "is a ZIP, not");
    refuse_content("\x01\x02\x03\xfe", 4, "content.jpg: is not a JPEG or PNG");
    refuse_content("\xff\xd8", 2, "is not a JPEG or PNG");
    refuse_content("\xff\xd8\xff", 3, "the JPEG is truncated");
    refuse_content("\x89PNG\r\n\x1a", 7, "is not a JPEG or PNG");
    refuse_content("\x89PNG\r\n\x1a\n", 8, "the PNG is truncated");
}

static void test_paths(void **state) {
    (void)state;
    char path[4096];
    temporary_path(path, sizeof path, "missing.jpg");
    refuse_path(path, KN_ERR_IO, strerror(ENOENT));
    refuse_path("/", KN_ERR_DATA, "is not a regular file");
    temporary_path(path, sizeof path, "fifo.jpg");
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse_path(path, KN_ERR_DATA, "is not a regular file"); /* without waiting for a writer */
    unlink(path);
    temporary_path(path, sizeof path, "secret.jpg");
    put_file(path, "x", 1);
    assert_int_equal(chmod(path, 0), 0);
    if (access(path, R_OK) != 0) /* root may read everything */
        refuse_path(path, KN_ERR_DATA, strerror(EACCES));
    unlink(path);
}

static void test_a_name_with_a_newline_stays_one_line(void **state) {
    (void)state;
    kn_image_reader r = {0};
    kn_image image;
    kn_error error = {0};
    assert_int_equal(kn_image_decode(&r, "x", 1, "two\nlines.jpg", &image, &error), KN_ERR_DATA);
    assert_string_equal(error.message, "two lines.jpg: is text, not a JPEG or PNG");
    kn_image_reader_free(&r);
}

/* ---- damage ---- */

static kn_status decode(const void *data, size_t size, size_t max_memory, kn_error *error) {
    kn_image_reader r = {.max_memory = max_memory};
    kn_image image;
    *error = (kn_error){0};
    /* Its own block, so that a read past the end is seen. */
    void *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    kn_status status = kn_image_decode(&r, copy, size, "picture", &image, error);
    free(copy);
    assert_int_equal(status, error->status);
    if (status != KN_OK) {
        check_contains(error->message, "picture: ");
        assert_null(image.pixels);
    } else {
        char sha[PICTURE_HEX]; /* reads every pixel */
        picture_sha(image.pixels, image.height, image.width, sha);
    }
    kn_image_reader_free(&r);
    return status;
}

static void refuse(const void *data, size_t size, kn_status status, const char *reason) {
    kn_error error;
    kn_status got = decode(data, size, 0, &error);
    if (got != status)
        fail_msg("expected %s (%s), got %s: %s", kn_status_name(status), reason,
                 kn_status_name(got), error.message);
    check_contains(error.message, reason);
}

static size_t find(const void *data, size_t size, const void *part, size_t length) {
    const unsigned char *p = memmem(data, size, part, length);
    assert_non_null(p);
    return (size_t)(p - (const unsigned char *)data);
}

/* Where the last pixel's bytes end: a PNG that lacks only what follows is still whole. */
static size_t pixels_end(const unsigned char *data, size_t size) {
    for (size_t at = size - 4; at > 0; at--)
        if (memcmp(data + at, "IDAT", 4) == 0)
            return at + 8 + ((size_t)data[at - 2] << 8 | data[at - 1]);
    fail_msg("no IDAT");
    return 0;
}

/* Every file cut at every length: an error, always. */
static void test_truncated_anywhere(void **state) {
    (void)state;
    made_picture m;
    for (FILE *list = NULL; made_next(&list, &m);) {
        size_t size = made_load(m.name, file), end = size;
        if (strstr(m.name, ".png") != NULL)
            end = pixels_end(file, size);
        else if (strcmp(m.name, "junk_after.jpg") == 0)
            end = size - 6 * 9;
        size_t step = end > 2000 ? 13 : 1;
        for (size_t cut = 0; cut < end; cut += cut < 64 || end - cut < 64 ? 1 : step) {
            kn_error error;
            if (decode(file, cut, 0, &error) != KN_ERR_DATA)
                fail_msg("%s cut at %zu of %zu: %s %s", m.name, cut, size,
                         kn_status_name(error.status), error.message);
        }
    }
}

static void test_truncated_says_so(void **state) {
    (void)state;
    size_t size = made_load("ycc_420.jpg", file);
    refuse(file, size / 2, KN_ERR_DATA, "picture: the JPEG is truncated");
    refuse(file, size - 2, KN_ERR_DATA, "picture: the JPEG is truncated");
    size = made_load("rgb_8.png", file);
    refuse(file, size / 2, KN_ERR_DATA, "picture: the PNG is truncated");
}

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Bits flipped in every file: any outcome but a crash, a hang, or memory over the limit. */
static void test_flipped_bits(void **state) {
    (void)state;
    uint32_t seed = 7;
    long good = 0, bad = 0;
    made_picture m;
    for (FILE *list = NULL; made_next(&list, &m);) {
        size_t size = made_load(m.name, file);
        for (int i = 0; i < 60; i++) {
            memcpy(work, file, size);
            for (uint32_t flips = 1 + next_random(&seed) % 4; flips > 0; flips--)
                work[next_random(&seed) % size] ^= (unsigned char)(1u << next_random(&seed) % 8);
            kn_error error;
            if (decode(work, size, 4 << 20, &error) == KN_OK)
                good++;
            else
                bad++;
            assert_true(error.status == KN_OK || error.status == KN_ERR_DATA ||
                        error.status == KN_ERR_LIMIT);
        }
    }
    assert_true(good > 1000 && bad > 1000);
}

static void test_png_checksums(void **state) {
    (void)state;
    size_t size = made_load("exif_6.png", file);
    static const char *const kinds[] = {"IHDR", "eXIf", "IDAT"};
    for (size_t i = 0; i < 3; i++) {
        size_t at = find(file, size, kinds[i], 4);
        memcpy(work, file, size);
        work[at + 4 + ((size_t)work[at - 2] << 8 | work[at - 1])] ^= 1;
        refuse(work, size, KN_ERR_DATA, "picture: bad PNG: ");
    }
    memcpy(work, file, size);
    work[size - 1] ^= 1; /* of the end marker: after the last pixel */
    kn_error error;
    assert_int_equal(decode(work, size, 0, &error), KN_OK);
}

static void test_unsupported_jpegs(void **state) {
    (void)state;
    size_t size = made_load("ycc_444.jpg", file), sof = find(file, size, "\xff\xc0", 2);
    memcpy(work, file, size);
    work[sof + 1] = 0xc3; /* lossless */
    refuse(work, size, KN_ERR_DATA, "bad JPEG: ");
    memcpy(work, file, size);
    work[sof + 4] = 12; /* bits */
    refuse(work, size, KN_ERR_DATA, "bad JPEG: ");
    /* Two components: one less in the frame header, and in the scan's. */
    memcpy(work, file, sof + 2);
    memcpy(work + sof + 2, "\0\x0e\x08\0\x10\0\x10\2\1\x11\0\2\x11\0", 14);
    size_t sos = find(file, size, "\xff\xda", 2);
    size_t tables = sof + 2 + 17;
    memcpy(work + sof + 16, file + tables, sos - tables);
    memcpy(work + sof + 16 + sos - tables, "\xff\xda\0\x0a\2\1\0\2\x11\0\x3f\0\xff\xd9", 14);
    refuse(work, sof + 30 + sos - tables, KN_ERR_DATA, "a JPEG of 2 components");
}

/* ---- limits ---- */

static void put_jpeg_size(unsigned char *data, size_t size, unsigned h, unsigned w) {
    size_t at = find(data, size, "\xff\xc0", 2) + 5;
    data[at] = (unsigned char)(h >> 8);
    data[at + 1] = (unsigned char)h;
    data[at + 2] = (unsigned char)(w >> 8);
    data[at + 3] = (unsigned char)w;
}

static void test_absurd_sizes(void **state) {
    (void)state;
    size_t size = made_load("ycc_420.jpg", file);
    put_jpeg_size(file, size, 65535, 65535);
    refuse(file, size, KN_ERR_LIMIT, "the JPEG is too large");
    put_jpeg_size(file, size, 60000, 50000);
    refuse(file, size, KN_ERR_LIMIT, "picture: 50000 x 60000 pixels take more than the 536870912");
    put_jpeg_size(file, size, 0, 10);
    refuse(file, size, KN_ERR_DATA, "bad JPEG: ");
    put_jpeg_size(file, size, 10, 0);
    refuse(file, size, KN_ERR_DATA, "bad JPEG: ");
    /* A PNG header and its checksum. */
    static const struct {
        unsigned char ihdr[25];
        kn_status status;
        const char *reason;
    } pngs[] = {
        {"\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\2\0\0\0\x9b\xab\x9c\x31", KN_ERR_LIMIT,
         "2147483647 x 2147483647 pixels"},
        {"\0\0\0\rIHDR\x7f\xff\xff\xff\0\0\0\1\1\0\0\0\0\x88\x4d\x0e\x70", KN_ERR_LIMIT,
         "2147483647 x 1 pixels"},
        {"\0\0\0\rIHDR\0\0\0\0\0\0\0\1\x08\2\0\0\0\x7f\xb5\x38\xe0", KN_ERR_DATA, "bad PNG: "},
    };
    size = made_load("rgb_8.png", file);
    for (size_t i = 0; i < sizeof pngs / sizeof *pngs; i++) {
        memcpy(file + 8, pngs[i].ihdr, 25);
        refuse(file, size, pngs[i].status, pngs[i].reason);
    }
}

/* The smallest limit under which a made picture decodes. */
static size_t smallest_limit(const char *name) {
    size_t size = made_load(name, file), low = 1, high = 1 << 24;
    while (low < high) {
        size_t middle = (low + high) / 2;
        kn_error error;
        if (decode(file, size, middle, &error) == KN_OK)
            high = middle;
        else
            low = middle + 1;
        assert_true(error.status == KN_OK || error.status == KN_ERR_LIMIT);
    }
    return low;
}

static void test_memory_is_bounded(void **state) {
    (void)state;
    size_t pixels = 45 * 38 * 3, size = made_load("ycc_420.jpg", file);
    assert_int_equal(smallest_limit("ycc_420.jpg"), size + pixels);
    size = made_load("exif_3.jpg", file);
    assert_int_equal(smallest_limit("exif_3.jpg"), size + 2 * pixels);
    /* Coefficients of 2 bytes a sample and channel, besides. */
    size = made_load("progressive_1x1.jpg", file);
    assert_in_range(smallest_limit("progressive_1x1.jpg"), size + 3 * pixels, size + 6 * pixels);
    size = made_load("rgb_8.png", file);
    assert_in_range(smallest_limit("rgb_8.png"), size + 23 * 19 * 3, 100000);
}

/* A small file that asks for many passes over the whole picture. */
static void test_scans_are_bounded(void **state) {
    (void)state;
    size_t size = made_load("grey_progressive.jpg", file), scan = 0;
    for (size_t i = 0; i + 1 < size; i++)
        if (file[i] == 0xff && file[i + 1] == 0xda)
            scan = i;
    size_t length = size - 2 - scan, used = size - 2;
    memcpy(work, file, used);
    int scans = 0;
    for (; scans < 600 && used + length + 2 < sizeof work; scans++, used += length)
        memcpy(work + used, file + scan, length);
    if (scans < 600) { /* the last scan is too long: an empty one of the same kind */
        size_t header = 2 + ((size_t)file[scan + 2] << 8 | file[scan + 3]);
        used = size - 2;
        for (scans = 0; scans < 600; scans++, used += header)
            memcpy(work + used, file + scan, header);
    }
    memcpy(work + used, "\xff\xd9", 2);
    refuse(work, used + 2, KN_ERR_LIMIT, "more than 500 scans");
}

static void test_a_file_over_the_limit_is_not_read(void **state) {
    (void)state;
    char path[4096];
    temporary_path(path, sizeof path, "long.jpg");
    put_file(path, "x", 1);
    assert_int_equal(truncate(path, 1 << 20), 0);
    kn_image_reader r = {.max_memory = 1000};
    kn_image image;
    kn_error error = {0};
    assert_int_equal(kn_image_read(&r, path, &image, &error), KN_ERR_LIMIT);
    check_contains(error.message, path);
    assert_null(r.file.data);
    unlink(path);
}

/* After any failure the reader reads the next picture as if nothing had been. */
static void test_a_reader_survives_errors(void **state) {
    (void)state;
    static const char *const names[] = {"progressive_2x2.jpg", "rgba_8_interlaced.png",
                                        "arithmetic.jpg", "cmyk.jpg"};
    kn_image_reader r = {0};
    char want[PICTURE_HEX], got[PICTURE_HEX];
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 4; i++) {
            size_t size = made_load(names[i], file);
            kn_image image;
            assert_int_equal(kn_image_decode(&r, file, size, names[i], &image, NULL), KN_OK);
            picture_sha(image.pixels, image.height, image.width, want);
            for (size_t cut = 10; cut < size; cut += 61)
                assert_int_equal(kn_image_decode(&r, file, cut, names[i], &image, NULL),
                                 KN_ERR_DATA);
            assert_int_equal(kn_image_decode(&r, file, size, names[i], &image, NULL), KN_OK);
            picture_sha(image.pixels, image.height, image.width, got);
            assert_string_equal(got, want);
        }
    kn_image_reader_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_a_name_with_a_newline_stays_one_line),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_truncated_says_so),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_png_checksums),
        cmocka_unit_test(test_unsupported_jpegs),
        cmocka_unit_test(test_absurd_sizes),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_scans_are_bounded),
        cmocka_unit_test(test_a_file_over_the_limit_is_not_read),
        cmocka_unit_test(test_a_reader_survives_errors),
    };
    return cmocka_run_group_tests_name("image_errors", tests, NULL, NULL);
}
