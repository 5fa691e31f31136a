/* test_file.c - a file is read whole and replaced whole, or nothing happened to it. */
#include "support/check.h"

#include "core/file.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- helpers ---- */

static char folder[32], path[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/kiln-file-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/a", folder);
    return 0;
}

/* Fails when a test left a file behind that it does not know of. */
static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int files_in_folder(void) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

typedef struct content {
    unsigned char *data;
    bool refuse, cut;
} content;

static void *room(void *user, size_t bytes) {
    content *c = user;
    if (c->cut)
        assert_int_equal(truncate(path, 1), 0);
    return c->data = c->refuse ? NULL : malloc(bytes);
}

static void assert_file_holds(const void *want, size_t bytes) {
    content c = {0};
    size_t size;
    kn_error error = {0};
    if (kn_file_read(path, 1 << 24, room, &c, &size, &error) != KN_OK)
        fail_msg("%s", error.message);
    assert_int_equal(size, bytes);
    if (bytes > 0)
        assert_memory_equal(c.data, want, bytes);
    free(c.data);
}

static kn_status read_status(const char *from, size_t limit, content *c, kn_error *error) {
    size_t size = 99;
    *error = (kn_error){0};
    kn_status status = kn_file_read(from, limit, room, c, &size, error);
    assert_int_equal(size, 0);
    assert_int_equal(error->status, status);
    check_contains(error->message, from);
    free(c->data);
    c->data = NULL;
    return status;
}

static unsigned char *some_bytes(size_t n) {
    unsigned char *bytes = malloc(n + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    return bytes;
}

/* ---- reading and writing ---- */

static void what_is_written_is_read(void **state) {
    (void)state;
    static const size_t sizes[] = {
        0, 1, KN_WRITE_BUFFER - 1, KN_WRITE_BUFFER, KN_WRITE_BUFFER + 1, 3 * KN_WRITE_BUFFER + 5};
    for (size_t i = 0; i < KN_COUNT(sizes); i++) {
        unsigned char *bytes = some_bytes(sizes[i]);
        kn_error error = {0};
        assert_int_equal(kn_file_write(path, bytes, sizes[i], &error), KN_OK);
        assert_file_holds(bytes, sizes[i]);
        free(bytes);
    }
    assert_int_equal(kn_file_write(path, NULL, 0, NULL), KN_OK);
    assert_file_holds("", 0);
    assert_int_equal(files_in_folder(), 1);
}

static void pieces_of_any_size_arrive_in_order(void **state) {
    (void)state;
    enum { TOTAL = 5 * KN_WRITE_BUFFER };
    unsigned char *bytes = some_bytes(TOTAL);
    static kn_writer w;
    assert_int_equal(kn_writer_open(&w, path, NULL), KN_OK);
    size_t done = 0;
    for (size_t piece = 1; done < TOTAL; piece = piece * 3 % 40009) {
        size_t n = piece < TOTAL - done ? piece : TOTAL - done;
        assert_int_equal(kn_writer_append(&w, bytes + done, n), KN_OK);
        done += n;
    }
    assert_int_equal(w.bytes, TOTAL);
    assert_int_equal(kn_writer_commit(&w), KN_OK);
    assert_file_holds(bytes, TOTAL);
    free(bytes);
}

static void the_old_file_stays_until_the_commit(void **state) {
    (void)state;
    static kn_writer w;
    assert_int_equal(kn_file_write(path, "old", 3, NULL), KN_OK);
    assert_int_equal(kn_writer_open(&w, path, NULL), KN_OK);
    kn_writer_append(&w, "new", 3);
    assert_file_holds("old", 3);
    assert_int_equal(files_in_folder(), 2);
    assert_int_equal(kn_writer_commit(&w), KN_OK);
    assert_file_holds("new", 3);
    assert_int_equal(files_in_folder(), 1);

    assert_int_equal(kn_writer_open(&w, path, NULL), KN_OK);
    kn_writer_append(&w, "newer", 5);
    kn_writer_abort(&w);
    assert_file_holds("new", 3);
    assert_int_equal(files_in_folder(), 1);
}

static void a_path_without_a_folder_is_in_the_current_one(void **state) {
    (void)state;
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    kn_error error = {0};
    kn_status status = kn_file_write("a", "here", 4, &error);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_int_equal(status, KN_OK);
    assert_file_holds("here", 4);
}

/* ---- failing ---- */

static void a_folder_that_is_not_there_is_named(void **state) {
    (void)state;
    char missing[80], longest[2 * KN_PATH_MAX];
    kn_error error = {0};
    snprintf(missing, sizeof missing, "%s/none/a", folder);
    assert_int_equal(kn_file_write(missing, "x", 1, &error), KN_ERR_IO);
    check_contains(error.message, missing);
    check_contains(error.message, "No such file");
    assert_int_equal(kn_file_write(missing, "x", 1, NULL), KN_ERR_IO);

    memset(longest, 'p', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    error = (kn_error){0};
    assert_int_equal(kn_file_write(longest, "x", 1, &error), KN_ERR_IO);
    check_contains(error.message, "too long");
    assert_int_equal(files_in_folder(), 0);
}

/* A limit on the size of files stands for a full disk: write fails midway with EFBIG. */
static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    enum { TOTAL = 4 * KN_WRITE_BUFFER };
    unsigned char *bytes = some_bytes(TOTAL);
    struct rlimit saved, small;
    static kn_writer w;
    kn_error error = {0};
    assert_int_equal(kn_file_write(path, "old", 3, NULL), KN_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small = (struct rlimit){KN_WRITE_BUFFER + 100, saved.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    kn_status whole = kn_file_write(path, bytes, TOTAL, &error);
    kn_status opened = kn_writer_open(&w, path, NULL), appended = KN_OK;
    for (size_t i = 0; i < TOTAL / 16; i++)
        appended = kn_writer_append(&w, bytes, 16);
    kn_status committed = kn_writer_commit(&w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
    signal(SIGXFSZ, handler);
    free(bytes);
    assert_int_equal(whole, KN_ERR_IO);
    check_contains(error.message, path);
    check_contains(error.message, "File too large");
    assert_int_equal(opened, KN_OK);
    assert_int_equal(appended, KN_ERR_IO);
    assert_int_equal(committed, KN_ERR_IO);
    assert_file_holds("old", 3);
    assert_int_equal(files_in_folder(), 1);
}

static void a_folder_is_not_replaced_by_a_file(void **state) {
    (void)state;
    kn_error error = {0};
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(kn_file_write(path, "x", 1, &error), KN_ERR_IO);
    check_contains(error.message, path);
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(rmdir(path), 0);
}

static void only_regular_files_are_read(void **state) {
    (void)state;
    content c = {0};
    kn_error error;
    assert_int_equal(read_status(path, 10, &c, &error), KN_ERR_IO);
    check_contains(error.message, "No such file");
    assert_int_equal(read_status(folder, 10, &c, &error), KN_ERR_IO);
    check_contains(error.message, "not a regular file");
    assert_int_equal(read_status("/dev/zero", 10, &c, &error), KN_ERR_IO);
    check_contains(error.message, "not a regular file");
    assert_int_equal(mkfifo(path, 0666), 0);
    alarm(10); /* an open that waits for a writer would never return */
    assert_int_equal(read_status(path, 10, &c, &error), KN_ERR_IO);
    alarm(0);
    check_contains(error.message, "not a regular file");
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    content c = {0};
    kn_error error;
    assert_int_equal(kn_file_write(path, "12345", 5, NULL), KN_OK);
    assert_int_equal(read_status(path, 4, &c, &error), KN_ERR_LIMIT);
    check_contains(error.message, "has 5 bytes, the limit is 4");
    c.refuse = true;
    assert_int_equal(read_status(path, 5, &c, &error), KN_ERR_MEMORY);
    c = (content){.cut = true};
    assert_int_equal(read_status(path, 5, &c, &error), KN_ERR_IO);
    check_contains(error.message, "became shorter");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
        IN_A_FOLDER(what_is_written_is_read),
        IN_A_FOLDER(pieces_of_any_size_arrive_in_order),
        IN_A_FOLDER(the_old_file_stays_until_the_commit),
        IN_A_FOLDER(a_path_without_a_folder_is_in_the_current_one),
        IN_A_FOLDER(a_folder_that_is_not_there_is_named),
        IN_A_FOLDER(a_full_disk_leaves_the_old_file),
        IN_A_FOLDER(a_folder_is_not_replaced_by_a_file),
        IN_A_FOLDER(only_regular_files_are_read),
        IN_A_FOLDER(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
