/* test_download_here.c - kiln-download on this machine: full disks, signals, two of it at
 * once, and what one that was killed has left. */
#include "support/check.h"
#include "support/download/fetch_case.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>

/* ---- this machine ---- */

static void test_disk_full(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD});
    case_start(&run, (command_opts){.file_limit = 20000}, url, &case_good,
               (const char *const[]){NULL});
    command_wait(&run);
    check_contains(run.err, "pictures.part: cannot write: File too large");
    case_ended(&run, 1, "20000 of 6");
    assert_int_equal(case_part_size(), 20000);

    tree_folder(case_root, "cache");
    if (mount("none", case_path("cache"), "tmpfs", 0, "size=100k") != 0) {
        server_stop(&case_server);
        print_message("SKIPPED: a small file system cannot be mounted here\n");
        skip();
    }
    /* There is room for the archive, not for what is in it. */
    CASE_RUN(&run, url, &case_good, NULL);
    long kept = case_part_size();
    command_run small;
    tgz large = case_good;
    large.bytes = 1000000;
    CASE_RUN(&small, url, &large, NULL);
    server_stop(&case_server);
    assert_int_equal(umount(case_path("cache")), 0);
    check_contains(run.err, "unpacking photos-1/");
    case_ended(&run, 1, "No space left on device");
    assert_int_equal(kept, case_good.bytes);
    case_ended(&small, 1, "free, and the download needs");
}

/* Waits until the part has some bytes. */
static void wait_for_part(long bytes) {
    for (int i = 0; i < 600 && case_part_size() < bytes; i++)
        usleep(50000);
    assert_true(case_part_size() >= bytes);
}

static void test_interrupt(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .stall = 7000});
    case_start(&run, (command_opts){0}, url, &case_good, (const char *const[]){NULL});
    wait_for_part(7000);
    kill(run.pid, SIGINT);
    command_wait(&run);
    server_stop(&case_server);
    case_ended(&run, 130, "interrupted; what has arrived is kept");
    case_cache_is("pictures.part");
    assert_int_equal(case_part_size(), 7000);
}

/* One downloads; the other waits, and finds it done. */
static void test_two(void **state) {
    (void)state;
    command_run first, second;
    const char *url = CASE_SERVE({CASE_GOOD, .stall = 9000, .pause = 2000});
    case_start(&first, (command_opts){0}, url, &case_good, (const char *const[]){NULL});
    wait_for_part(9000);
    case_start(&second, (command_opts){0}, url, &case_good, (const char *const[]){NULL});
    command_wait(&first);
    command_wait(&second);
    server_stop(&case_server);
    case_ended(&first, 0, "Downloading");
    check_contains(second.out, "cache/pictures\n");
    assert_null(strstr(second.err, "Downloading"));
    case_ended(&second, 0, "another kiln-download is at work on it; waiting");
    assert_int_equal(case_server.requests, 1);
    case_cache_whole();
}

/* Waiting for the lock can be interrupted, and what the holder has stays. */
static void test_wait_interrupted(void **state) {
    (void)state;
    command_run run;
    tree_touch(case_root, "cache/pictures.lock");
    FILE *lock = fopen(case_path("cache/pictures.lock"), "r");
    assert_non_null(lock);
    assert_int_equal(flock(fileno(lock), LOCK_EX), 0);
    case_start(&run, (command_opts){0}, "http://127.0.0.1:1/", &case_good,
               (const char *const[]){NULL});
    usleep(1000000);
    kill(run.pid, SIGTERM);
    command_wait(&run);
    case_ended(&run, 130, "interrupted");
    case_cache_is("pictures.lock");
    fclose(lock);
}

/* What a program that was killed while unpacking has left goes; its lock binds nobody. */
static void test_left_over(void **state) {
    (void)state;
    command_run run;
    tree_touch(case_root, "cache/pictures.lock");
    tree_touch(case_root, "cache/pictures.unpack/photos-1/train/half.jpg");
    const char *url = CASE_SERVE({CASE_GOOD});
    CASE_RUN(&run, url, &case_good, "-q");
    server_stop(&case_server);
    case_ended(&run, 0, "");
    case_cache_whole();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_TEST(test_disk_full),        CASE_TEST(test_interrupt), CASE_TEST(test_two),
        CASE_TEST(test_wait_interrupted), CASE_TEST(test_left_over),
    };
    return cmocka_run_group_tests(tests, case_prepare, case_clean);
}
