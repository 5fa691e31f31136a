/* test_cli_bad.c - kiln train --on-bad-image on two thousand damaged pictures of some thirty kinds:
 * each is named with a reason or decoded, no good one is refused, nothing hangs and nothing swells.
 * A disk's trouble is not a bad picture. */
#include "support/check.h"
#include "support/command.h"
#include "support/pictures.h"
#include "support/root.h"

#include "core/ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRAIN                                                                                      \
    "train", "d", "--recipe", "chapter", "--epochs", "2", "-b", "64", "--img-size", "32",          \
        "--threads", "1", "--json", "--lr", "0.01"

enum { CLASSES = 2, GOOD = 20, VALID = 6 };

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", CLASSES, GOOD, VALID);
    return 0;
}

/* ---- damaged pictures ---- */

static unsigned char file[PICTURE_MAX], work[4 * PICTURE_MAX];
static int made_bad, made_any; /* that must be named; that may be decoded, too */

/* As d/train/arrow/bad-KIND-NUMBER, or any-...: what may be decoded. */
static void put(const char *kind, int number, const char *ending, const void *data, size_t size,
                bool may_decode) {
    char name[256];
    snprintf(name, sizeof name, "d/train/%s/%s-%s-%d%s", number % 2 == 0 ? "arrow" : "bars",
             may_decode ? "any" : "bad", kind, number, ending);
    tree_put(root, name, data, size);
    made_bad += !may_decode;
    made_any += may_decode;
}

static void path_of(char path[TREE_PATH + 256], const char *name) {
    snprintf(path, TREE_PATH + 256, "%s/d/train/arrow/%s", root, name);
}

static size_t find(size_t size, const char *part, size_t length) {
    const unsigned char *p = memmem(file, size, part, length);
    assert_non_null(p);
    return (size_t)(p - file);
}

/* Cut at every percent; of a small one the last few hold no pixel. */
static void put_cut(void) {
    static const char *const bases[] = {"ycc_420.jpg", "grey_progressive.jpg", "cmyk.jpg",
                                        "rgb_8.png",   "palette_4.png",        "exif_6.jpg"};
    for (size_t b = 0; b < KN_COUNT(bases); b++) {
        size_t size = made_load(bases[b], file);
        char kind[64];
        snprintf(kind, sizeof kind, "cut-%zu", b);
        for (int percent = 0; percent < 95; percent++)
            put(kind, percent, strrchr(bases[b], '.'), file, size * (size_t)percent / 100, false);
    }
}

/* Bits: most leave a picture that is another one. */
static void put_flipped(void) {
    static const char *const bases[] = {"ycc_420.jpg", "grey_progressive.jpg", "rgb_8.png",
                                        "cmyk.jpg"};
    unsigned seed = 5;
    for (size_t b = 0; b < KN_COUNT(bases); b++) {
        size_t size = made_load(bases[b], file);
        char kind[64];
        snprintf(kind, sizeof kind, "bit-%zu", b);
        for (int i = 0; i < 300; i++) {
            memcpy(work, file, size);
            for (int flips = 0; flips <= i % 3; flips++)
                work[(size_t)rand_r(&seed) % size] ^= (unsigned char)(1 << rand_r(&seed) % 8);
            put(kind, i, b == 2 ? ".png" : ".jpg", work, size, true);
        }
    }
}

/* A field of the frame header, other than it should be. */
static void put_frame(const char *kind, int number, size_t at, const char *bytes, size_t count) {
    size_t size = made_load("ycc_420.jpg", file), sof = find(size, "\xff\xc0", 2);
    memcpy(file + sof + at, bytes, count);
    put(kind, number, ".jpg", file, size, false);
}

static void put_frames(void) {
    static const char *const sofs[] = {"\xc3", "\xc5", "\xc6", "\xc7", "\xcb", "\xcd", "\xce"};
    for (int i = 0; i < 20; i++) {
        put_frame("zero-height", i, 5, "\0\0", 2);
        put_frame("zero-width", i, 7, "\0\0", 2);
        put_frame("largest", i, 5, "\xff\xff\xff\xff", 4);
        put_frame("bomb", i, 5, "\xea\x60\xc3\x50", 4); /* 60000 x 50000 */
        put_frame("twelve-bits", i, 4, "\x0c", 1);
        put_frame("process", i, 1, sofs[(size_t)i % KN_COUNT(sofs)], 1);
    }
}

static void put_scans(void) {
    size_t size = made_load("grey_progressive.jpg", file), scan = 0;
    for (size_t i = 0; i + 1 < size; i++)
        if (file[i] == 0xff && file[i + 1] == 0xda)
            scan = i;
    size_t header = 2 + ((size_t)file[scan + 2] << 8 | file[scan + 3]), used = size - 2;
    memcpy(work, file, used);
    for (int scans = 0; scans < 600; scans++, used += header)
        memcpy(work + used, file + scan, header);
    memcpy(work + used, "\xff\xd9", 2);
    for (int i = 0; i < 5; i++)
        put("scans", i, ".jpg", work, used + 2, false);
}

/* PNG: a header of absurd sizes, a wrong checksum, a chunk without end. */
static void put_pngs(void) {
    static const char largest[] = "\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\2\0\0\0\x9b\xab"
                                  "\x9c\x31";
    static const char nothing[] = "\0\0\0\rIHDR\0\0\0\0\0\0\0\1\x08\2\0\0\0\x7f\xb5\x38\xe0";
    size_t size = made_load("rgb_8.png", file), idat = find(size, "IDAT", 4);
    for (int i = 0; i < 10; i++) {
        memcpy(work, file, size);
        memcpy(work + 8, largest, 25);
        put("png-bomb", i, ".png", work, size, false);
        memcpy(work + 8, nothing, 25);
        put("png-zero", i, ".png", work, size, false);
        memcpy(work, file, size);
        work[29] ^= 1;
        put("png-checksum", i, ".png", work, size, false);
        memcpy(work, file, size);
        memcpy(work + idat - 4, "\x7f\xff\xff\xff", 4);
        put("png-chunk", i, ".png", work, size, false);
    }
}

/* What is no picture of ours, under a picture's name. */
static void put_strangers(void) {
    static const struct {
        const char *kind, *data;
        size_t size;
    } strangers[] = {
        {"empty", "", 0},
        {"text", "This is not a picture.\n", 23},
        {"gif", "GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff!\xff\x0bNETSCAPE2.0\3\1\0\0\0;", 39},
        {"webp", "RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0", 34},
        {"bmp", "BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\2\0\0\0", 22},
        {"tiff", "II*\0\x08\0\0\0\0\0\0\0\0\0", 14},
        {"html", "<!DOCTYPE html><title>404</title>", 33},
        {"svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", 41},
        {"soi", "\xff\xd8", 2},
        {"soi-eoi", "\xff\xd8\xff\xd9", 4},
        {"png-name", "\x89PNG\r\n\x1a\n", 8},
        {"zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16},
        {"jpeg-2000", "\0\0\0\x0cjP  \r\n\x87\n", 12},
    };
    unsigned seed = 9;
    for (size_t s = 0; s < KN_COUNT(strangers); s++)
        for (int i = 0; i < 5; i++)
            put(strangers[s].kind, i, i % 2 ? ".jpg" : ".png", strangers[s].data, strangers[s].size,
                false);
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 3000; k++)
            work[k] = (unsigned char)rand_r(&seed);
        put("noise", i, ".jpg", work, 3000, false);
    }
}

/* Whole pictures in unusual form: these must not be named. */
static int put_unusual(void) {
    static const char *const names[] = {"arithmetic.jpg", "cmyk_no_adobe.jpg",  "junk_after.jpg",
                                        "grey_16.png",    "palette_1_trns.png", "no_jfif.jpg"};
    char path[128];
    int count = 0;
    for (size_t i = 0; i < KN_COUNT(names); i++) {
        size_t size = made_load(names[i], file);
        snprintf(path, sizeof path, "d/train/bars/good-%zu%s", i, strchr(names[i], '.'));
        tree_put(root, path, file, size);
        count++;
    }
    size_t size = made_load("rgb_8.png", file); /* the content counts, not the ending */
    tree_put(root, "d/train/bars/good-ending.jpg", file, size);
    return count + 1;
}

/* What is no file, or not to be read. */
static int put_places(void) {
    char path[TREE_PATH + 256];
    path_of(path, "bad-pipe.jpg");
    assert_int_equal(mkfifo(path, 0666), 0);
    path_of(path, "bad-dangling.jpg");
    assert_int_equal(symlink("nothing-there", path), 0);
    path_of(path, "bad-loop.jpg");
    assert_int_equal(symlink("bad-loop.jpg", path), 0);
    int count = 3;
    if (geteuid() != 0) { /* who may read everything */
        tree_put(root, "d/train/arrow/bad-secret.jpg", "x", 1);
        path_of(path, "bad-secret.jpg");
        assert_int_equal(chmod(path, 0), 0);
        count++;
    }
    return count;
}

/* ---- what was said of them ---- */

#ifdef __SANITIZE_ADDRESS__
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

static int count_part(const char *text, const char *part) {
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static double number_of(const char *out, const char *key) {
    char value[COMMAND_VALUE];
    command_value(out, "\"event\":\"done\"", 0, key, value);
    return strtod(value, NULL);
}

static void damaged_pictures_are_named_and_left_out(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, TRAIN, "-o", "before", "--on-bad-image", "skip");
    command_expect(&run, 0);
    double memory = number_of(run.out, "peak_memory");
    assert_true(number_of(run.out, "bad") == 0);
    command_free(&run);
    put_cut();
    put_flipped();
    put_frames();
    put_scans();
    put_pngs();
    put_strangers();
    int good = put_unusual(), places = put_places();
    print_message("%d damaged pictures, %d that may be, %d places, %d unusual ones\n", made_bad,
                  made_any, places, good);
    assert_true(made_bad + made_any + places >= 2000);
    COMMAND(&run, HERE, TRAIN, "-o", "after", "--on-bad-image", "skip");
    command_expect(&run, 0);
    char *text = root_text("after/bad_images.txt");
    assert_int_equal(count_part(text, "/bad-"), made_bad + places);
    assert_int_equal(count_part(text, "good-"), 0);
    assert_int_equal(command_lines(text), made_bad + places + count_part(text, "/any-"));
    assert_int_equal((int)number_of(run.out, "bad"), command_lines(text));
    check_contains(text, "bad-dangling.jpg: cannot open: No such file or directory\n");
    check_contains(text, "bad-pipe.jpg: is not a regular file\n");
    check_contains(text, "bad-twelve-bits-0.jpg: bad JPEG: ");
    check_contains(text, "bad-bomb-1.jpg: 50000 x 60000 pixels take more than the 536870912 bytes");
    check_contains(text, "bad-scans-0.jpg: the JPEG has more than 500 scans\n");
    /* A sanitizer keeps what is freed. */
    if (!sanitized && number_of(run.out, "peak_memory") > memory + (64 << 20))
        fail_msg("%.0f bytes at most; %.0f without the damaged pictures",
                 number_of(run.out, "peak_memory"), memory);
    free(text);
    command_free(&run);
}

/* The same weights whatever the number of loader threads, in whatever order the bad are met. */
static void weights_do_not_depend_on_the_loader(void **state) {
    (void)state;
    command_run run;
    char sha[2][COMMAND_VALUE];
    for (int i = 0; i < 2; i++) {
        COMMAND(&run, HERE, TRAIN, "-o", i == 0 ? "one" : "four", "--on-bad-image", "skip", "-j",
                i == 0 ? "1" : "4", "--aug", "light");
        command_expect(&run, 0);
        command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", sha[i]);
        command_free(&run);
    }
    assert_string_equal(sha[0], sha[1]);
    char *one = root_text("one/bad_images.txt"), *four = root_text("four/bad_images.txt");
    assert_string_equal(one, four);
    free(one);
    free(four);
}

static void by_default_the_first_one_ends_the_training(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, HERE, TRAIN, "-o", "fails");
    command_expect(&run, 3);
    check_contains(run.err, "d/train/");
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_pictures_are_named_and_left_out),
        cmocka_unit_test(weights_do_not_depend_on_the_loader),
        cmocka_unit_test(by_default_the_first_one_ends_the_training),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
