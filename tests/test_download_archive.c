/* test_download_archive.c - hostile archives with the right sum: none of them gets a file out of
 * its folder, a link or a device into it, or more onto the disk than allowed; the cache stays
 * empty. */
#include "support/check.h"
#include "support/download/fetch_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Serves it, and runs kiln-download on it with these options. Frees it. */
static void run_on(command_run *run, tgz *t, const char *const *more) {
    server here;
    char url[SERVER_TEXT];
    const server_answer script[] = {{.body = t->data, .bytes = t->bytes}};
    server_start(&here, script, 1);
    case_start(run, (command_opts){0}, server_url(&here, "http", "127.0.0.1", url), t, more);
    command_wait(run);
    server_stop(&here);
    tgz_free(t);
}

#define RUN_ON(run, t, ...) run_on((run), (t), (const char *const[]){__VA_ARGS__, NULL})

static void refused(tgz *t, const char *words) {
    command_run run;
    RUN_ON(&run, t, "-q");
    assert_string_equal(run.out, "");
    assert_int_equal(command_lines(run.err), 1);
    case_ended(&run, 3, words);
    case_cache_is("");
    struct stat st;
    assert_int_not_equal(stat(case_path("evil"), &st), 0);
}

/* A good file comes first, so that something has to be cleaned up. */
static void begin(tgz *t) {
    tgz_begin(t);
    tgz_file(t, "photos/train/a/1.jpg", "one", 3);
}

/* ---- paths ---- */

static void test_paths(void **state) {
    (void)state;
    static const struct {
        const char *path, *words;
    } cases[] = {
        {"/tmp/kiln-evil", "/tmp/kiln-evil: an absolute path"},
        {"../evil", "../evil: a path that leads out of its folder"},
        {"photos/../../evil", "a path that leads out of its folder"},
        {"photos/train/..", "a path that leads out of its folder"},
        {"./../evil", "a path that leads out of its folder"},
        {"photos/train/a/1.jpg", "photos/train/a/1.jpg: is there twice"},
        {"photos//./train/a/1.jpg", "is there twice"},
        {"photos/train/a/1.jpg/evil", "a file in the place of a folder"},
        {"photos/train/a/1.jpg/deep/evil", "a file in the place of a folder"},
        {".", "a file without a name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tgz t;
        begin(&t);
        tgz_file(&t, cases[i].path, "evil", 4);
        tgz_end(&t);
        refused(&t, cases[i].words);
    }
}

static void test_long_paths(void **state) {
    (void)state;
    char path[2100];
    tgz t;
    memset(path, 'x', sizeof path);
    path[300] = '\0';
    begin(&t);
    tgz_file(&t, path, "evil", 4);
    tgz_end(&t);
    refused(&t, "a name that is too long");

    for (int i = 0; i < 2000; i++)
        path[i] = i % 2 == 0 ? 'd' : '/';
    memcpy(path + 2000, "1.jpg", 6);
    begin(&t);
    tgz_file(&t, path, "evil", 4);
    tgz_end(&t);
    refused(&t, "a path that is too long");
}

static void test_odd_names(void **state) {
    (void)state;
    /* Both forms of an accent, bytes that are no UTF-8, blanks, a backslash, a newline. */
    static const char *const names[] = {
        "caf\xC3\xA9.jpg", "cafe\xCC\x81.jpg", "\xFF\xFE.jpg", " a b .jpg",
        "a\\..\\b.jpg",    "a\nb.jpg",         "...",          "..a",
        "\xE5\x9B\xBE.jpg"};
    enum { NAMES = sizeof names / sizeof names[0] };
    command_run run;
    char path[256];
    struct stat st;
    tgz t;
    tgz_begin(&t);
    for (int i = 0; i < NAMES; i++) {
        snprintf(path, sizeof path, "./photos/train/a/%s", names[i]);
        tgz_file(&t, path, "one", 3);
    }
    tgz_end(&t);
    RUN_ON(&run, &t, "-q");
    case_ended(&run, 0, "");
    case_cache_is("pictures");
    for (int i = 0; i < NAMES; i++) {
        snprintf(path, sizeof path, "cache/pictures/train/a/%s", names[i]);
        if (stat(case_path(path), &st) != 0 || st.st_size != 3)
            fail_msg("%s is not there", path);
    }
}

/* ---- what is no file and no folder ---- */

static void test_kinds(void **state) {
    (void)state;
    static const struct {
        unsigned kind;
        const char *target, *words;
    } cases[] = {
        {S_IFLNK, "/etc", "photos/train/x: a symbolic link"},
        {S_IFLNK, "../../../evil", "photos/train/x: a symbolic link"},
        {S_IFLNK, "a/1.jpg", "photos/train/x: a symbolic link"},
        {S_IFCHR, NULL, "photos/train/x: a device"},
        {S_IFBLK, NULL, "photos/train/x: a device"},
        {S_IFIFO, NULL, "photos/train/x: a FIFO"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tgz t;
        begin(&t);
        tgz_special(&t, "photos/train/x", cases[i].kind, cases[i].target);
        tgz_file(&t, "photos/train/x/evil", "evil", 4);
        tgz_end(&t);
        refused(&t, cases[i].words);
    }
}

static void test_hard_links(void **state) {
    (void)state;
    static const char *const targets[] = {"photos/train/a/1.jpg", "/etc/passwd", "../../evil"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        tgz t;
        begin(&t);
        tgz_hard_link(&t, "photos/train/x", targets[i]);
        tgz_end(&t);
        refused(&t, "photos/train/x: a hard link");
    }
}

/* ---- bombs ---- */

static void test_zeros(void **state) {
    (void)state;
    tgz t;
    begin(&t);
    tgz_zeros(&t, "photos/train/a/zeros", INT64_C(80) << 20); /* some 80 KB packed */
    tgz_end(&t);
    assert_true(t.bytes < 1000000);
    refused(&t, "the archive unpacks to more than the limit of ");

    begin(&t);
    for (int i = 0; i < 8; i++) {
        char path[64];
        snprintf(path, sizeof path, "photos/train/a/%d", i + 2);
        tgz_zeros(&t, path, 1000000);
    }
    tgz_end(&t);
    command_run run;
    RUN_ON(&run, &t, "--max-bytes", "7000000");
    case_ended(&run, 3, "the archive unpacks to more than the limit of 7000000 bytes");
    case_cache_is("");
}

static void test_large_file(void **state) {
    (void)state;
    command_run run;
    tgz t;
    begin(&t);
    tgz_zeros(&t, "photos/train/a/2.jpg", 5000);
    tgz_end(&t);
    RUN_ON(&run, &t, "--max-file-bytes", "4999", "-q");
    case_ended(&run, 3, "photos/train/a/2.jpg: over the limit of 4999 bytes a file");
    case_cache_is("");
}

/* A hole takes no room in the archive, and none on the disk; it counts all the same. */
static void test_hole(void **state) {
    (void)state;
    command_run run;
    tgz t;
    begin(&t);
    tgz_hole(&t, "photos/train/a/hole", INT64_C(80) << 20);
    tgz_end(&t);
    refused(&t, "the archive unpacks to more than the limit of ");

    struct stat st;
    begin(&t);
    tgz_hole(&t, "photos/train/a/hole", 1000000);
    tgz_end(&t);
    RUN_ON(&run, &t, "-q");
    case_ended(&run, 0, "");
    assert_int_equal(stat(case_path("cache/pictures/train/a/hole"), &st), 0);
    assert_int_equal(st.st_size, 1000000);
}

static void test_many(void **state) {
    (void)state;
    for (int fits = 0; fits < 2; fits++) {
        command_run run;
        tgz t;
        begin(&t);
        for (int i = 0; i < 50; i++) {
            char path[64];
            snprintf(path, sizeof path, "photos/%d/", i);
            tgz_folder(&t, path);
        }
        tgz_end(&t);
        RUN_ON(&run, &t, "-q", "--max-files", fits ? "51" : "50");
        if (fits)
            case_ended(&run, 0, "");
        else
            case_ended(&run, 3, "the archive has more than the limit of 50 files and folders");
        case_cache_is(fits ? "pictures" : "");
    }
}

/* ---- no archive ---- */

static void test_truncated(void **state) {
    (void)state;
    tgz whole, t;
    case_archive(&whole);
    tgz_raw(&t, whole.data, whole.bytes - 2000);
    refused(&t, "pictures: cannot be unpacked: ");
    tgz_raw(&t, whole.data, whole.bytes / 2);
    refused(&t, "pictures: cannot be unpacked: ");
    tgz_raw(&t, whole.data, whole.bytes);
    memset(t.data + 12, 0x5A, 64); /* and the sum of that is what is expected */
    tgz damaged;
    tgz_raw(&damaged, t.data, t.bytes);
    tgz_free(&t);
    refused(&damaged, "pictures: cannot be unpacked: ");
    tgz_free(&whole);
}

/* Only .tar.gz: other formats that libarchive reads are not asked to. */
static void test_no_archive(void **state) {
    (void)state;
    static const char zip[] = "PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static const char page[] = "<html><body>Please sign in</body></html>";
    tgz t;
    tgz_raw(&t, page, sizeof page);
    refused(&t, "pictures: cannot be unpacked: Unrecognized archive format");
    tgz_raw(&t, zip, sizeof zip);
    refused(&t, "pictures: cannot be unpacked: Unrecognized archive format");
    tgz_raw(&t, "x", 1);
    refused(&t, "pictures: cannot be unpacked: ");
    tgz_begin(&t);
    tgz_end(&t);
    refused(&t, "pictures: the archive holds no file");
    tgz_begin(&t);
    tgz_folder(&t, "photos/train/");
    tgz_end(&t);
    refused(&t, "pictures: the archive holds no file");
}

/* ---- what becomes the folder ---- */

/* Several entries at the top: there is no folder to take the place of. */
static void test_no_top(void **state) {
    (void)state;
    command_run run;
    struct stat st;
    tgz t;
    tgz_begin(&t);
    tgz_file(&t, "train/a/1.jpg", "one", 3);
    tgz_file(&t, "val/a/1.jpg", "one", 3);
    tgz_end(&t);
    RUN_ON(&run, &t, "-q");
    case_ended(&run, 0, "");
    case_cache_is("pictures");
    assert_int_equal(stat(case_path("cache/pictures/val/a/1.jpg"), &st), 0);
}

/* A file alone at the top is no data set's folder; it is kept in one. */
static void test_one_file(void **state) {
    (void)state;
    command_run run;
    struct stat st;
    tgz t;
    tgz_begin(&t);
    tgz_file(&t, "1.jpg", "one", 3);
    tgz_end(&t);
    RUN_ON(&run, &t, "-q");
    case_ended(&run, 0, "");
    assert_int_equal(stat(case_path("cache/pictures/1.jpg"), &st), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_TEST(test_paths),      CASE_TEST(test_long_paths), CASE_TEST(test_odd_names),
        CASE_TEST(test_kinds),      CASE_TEST(test_hard_links), CASE_TEST(test_zeros),
        CASE_TEST(test_large_file), CASE_TEST(test_hole),       CASE_TEST(test_many),
        CASE_TEST(test_truncated),  CASE_TEST(test_no_archive), CASE_TEST(test_no_top),
        CASE_TEST(test_one_file),
    };
    return cmocka_run_group_tests(tests, case_prepare, case_clean);
}
