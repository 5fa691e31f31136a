/* test_download.c - kiln-download gets the file whole: from servers that behave, through
 * connections that break, and not from servers that lie about the length. */
#include "support/check.h"
#include "support/download/fetch_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static tgz other; /* another than the good one, of the same size */

static int prepare(void **state) {
    case_prepare(state);
    tgz_raw(&other, case_good.data, case_good.bytes);
    other.data[other.bytes / 8] ^= 1;
    return 0;
}

static int clean(void **state) {
    tgz_free(&other);
    return case_clean(state);
}

/* What the n-th request asked for: "bytes=N-" or nothing. */
static void asked(int n, long from) {
    char range[64] = "";
    if (from > 0)
        snprintf(range, sizeof range, "bytes=%ld-", from);
    assert_true(n < case_server.requests);
    assert_string_equal(case_server.request[n].range, range);
}

/* ---- all is well ---- */

static void test_whole(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .etag = "\"v1\""});
    CASE_RUN(&run, url, &case_good, "--json");
    server_stop(&case_server);
    char value[COMMAND_VALUE];
    command_value(run.out, "\"event\":\"download\"", 0, "files", value);
    assert_string_equal(value, "6");
    command_value(run.out, "\"event\":\"download\"", 0, "resumed", value);
    assert_string_equal(value, "0");
    assert_int_equal(command_lines(run.out), 1);
    case_ended(&run, 0, "Downloading pictures (6");
    assert_int_equal(case_server.requests, 1);
    assert_string_equal(case_server.request[0].path, "/data.tgz");
    case_cache_whole();

    /* The second time it is there: no server is asked, and the path is printed again. */
    CASE_RUN(&run, url, &case_good, "-q");
    check_contains(run.out, "cache/pictures\n");
    assert_string_equal(run.err, "");
    case_ended(&run, 0, "");
}

/* No Content-Length: the end of the connection is the end of the file. */
static void test_no_length(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .announce = -1});
    CASE_RUN(&run, url, &case_good, "-q");
    server_stop(&case_server);
    case_ended(&run, 0, "");
    case_cache_whole();
}

static void test_redirect(void **state) {
    (void)state;
    command_run run;
    char next[SERVER_TEXT];
    static server target;
    static server_answer script[1], first[1];
    script[0] = (server_answer){CASE_GOOD};
    server_start(&target, script, 1);
    first[0] =
        (server_answer){.status = 302, .location = server_url(&target, "http", "localhost", next)};
    const char *url = case_serve(first, 1);
    CASE_RUN(&run, url, &case_good, "-q");
    server_stop(&case_server);
    server_stop(&target);
    case_ended(&run, 0, "");
    assert_int_equal(target.requests, 1);
    case_cache_whole();
}

static void test_terminal(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .stall = case_good.bytes / 2, .pause = 2000});
    case_start(&run, (command_opts){.terminal = true}, url, &case_good,
               (const char *const[]){NULL});
    command_wait(&run);
    server_stop(&case_server);
    check_contains(run.err, "pictures [###########");
    case_ended(&run, 0, " KB of 6");
    case_cache_whole();
}

/* Elsewhere a line every ten seconds, which no quick test can wait for. */
static void test_lines(void **state) {
    (void)state;
    if (getenv("KILN_TEST_FULL") == NULL) {
        print_message("SKIPPED: twelve seconds of a slow server: for ./test.sh --full\n");
        skip();
    }
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .stall = case_good.bytes / 2, .pause = 12000});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    case_ended(&run, 0, "\npictures: 30.");
    case_cache_whole();
}

/* ---- connections that break ---- */

static void test_cut(void **state) {
    (void)state;
    command_run run;
    const char *url =
        CASE_SERVE({CASE_GOOD, .etag = "\"v1\"", .cut = 20000},
                   {CASE_GOOD, .etag = "\"v1\"", .cut = 1000}, {CASE_GOOD, .etag = "\"v1\""});
    CASE_RUN(&run, url, &case_good, "--retries", "2");
    server_stop(&case_server);
    case_ended(&run, 0, "trying again in 0 s");
    assert_int_equal(case_server.requests, 3);
    asked(0, 0);
    asked(1, 20000); /* only what is missing */
    asked(2, 21000);
    assert_string_equal(case_server.request[0].if_range, "");
    assert_string_equal(case_server.request[2].if_range, "\"v1\"");
    case_cache_whole();
}

/* What one run leaves, the next one goes on with. */
static void cut_off(size_t bytes, const tgz *what, const char *etag) {
    command_run run;
    const char *url =
        CASE_SERVE({.body = what->data, .bytes = what->bytes, .cut = bytes, .etag = etag});
    CASE_RUN(&run, url, &case_good, "--retries", "0");
    server_stop(&case_server);
    check_contains(run.err, "are kept, and the next run goes on there");
    case_ended(&run, 1, "kiln-download: http://127.0.0.1");
    assert_int_equal(case_server.requests, 1);
    assert_int_equal(case_part_size(), bytes);
    case_cache_is(etag != NULL ? "pictures.part pictures.part.etag" : "pictures.part");
}

static void test_resume(void **state) {
    (void)state;
    command_run run;
    char value[COMMAND_VALUE];
    cut_off(30000, &case_good, NULL);
    const char *url = CASE_SERVE({CASE_GOOD});
    CASE_RUN(&run, url, &case_good, "--json");
    server_stop(&case_server);
    command_value(run.out, "download", 0, "resumed", value);
    assert_string_equal(value, "30000");
    case_ended(&run, 0, "Downloading the rest of pictures (30.0 KB of 6");
    asked(0, 30000);
    case_cache_whole();
}

/* All had arrived when the program was ended: nothing is asked. */
static void test_resume_complete(void **state) {
    (void)state;
    command_run run;
    tree_put(case_root, "cache/pictures.part", case_good.data, case_good.bytes);
    CASE_RUN(&run, "http://127.0.0.1:1/", &case_good, "-q");
    case_ended(&run, 0, "");
    case_cache_whole();
}

static void test_ignores_range(void **state) {
    (void)state;
    command_run run;
    char value[COMMAND_VALUE];
    cut_off(30000, &case_good, NULL);
    const char *url = CASE_SERVE({CASE_GOOD, .ignore_range = true});
    CASE_RUN(&run, url, &case_good, "--retries", "0", "--json");
    server_stop(&case_server);
    command_value(run.out, "download", 0, "resumed", value);
    assert_string_equal(value, "0"); /* nothing of what was there was used */
    case_ended(&run, 0, "starting over");
    asked(0, 30000);
    case_cache_whole();
}

static void test_wrong_range(void **state) {
    (void)state;
    command_run run;
    cut_off(30000, &case_good, NULL);
    const char *url = CASE_SERVE({CASE_GOOD, .wrong_range = true});
    CASE_RUN(&run, url, &case_good, "--retries", "1");
    server_stop(&case_server);
    case_ended(&run, 0, "another range than asked for came");
    asked(0, 30000);
    asked(1, 0);
    case_cache_whole();
}

/* What is here is longer than what is there, and the server says 416: from the start. */
static void test_no_such_range(void **state) {
    (void)state;
    command_run run;
    cut_off(30000, &case_good, NULL);
    const char *url = CASE_SERVE({.status = 416}, {CASE_GOOD});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    case_ended(&run, 0, "the server answers 416");
    asked(1, 0);
    case_cache_whole();
}

/* The mark tells that the file has changed, so all of it comes at once. */
static void test_changed_etag(void **state) {
    (void)state;
    command_run run;
    cut_off(30000, &other, "\"v1\"");
    const char *url = CASE_SERVE({CASE_GOOD, .etag = "\"v2\""});
    CASE_RUN(&run, url, &case_good, "--retries", "0");
    server_stop(&case_server);
    case_ended(&run, 0, "has another version; starting over");
    assert_int_equal(case_server.requests, 1);
    asked(0, 30000);
    assert_string_equal(case_server.request[0].if_range, "\"v1\"");
    case_cache_whole();
}

/* Without a mark the sum tells it, and the file is fetched once more. */
static void test_changed_no_etag(void **state) {
    (void)state;
    command_run run;
    cut_off(30000, &other, NULL);
    const char *url = CASE_SERVE({CASE_GOOD});
    CASE_RUN(&run, url, &case_good, "--retries", "0");
    server_stop(&case_server);
    case_ended(&run, 0, "the earlier part does not belong to this file; starting over");
    assert_int_equal(case_server.requests, 2);
    asked(0, 30000);
    asked(1, 0);
    case_cache_whole();
}

/* More is there than the file has: of something else. */
static void test_part_too_long(void **state) {
    (void)state;
    command_run run;
    char *long_part = calloc(1, case_good.bytes + 1);
    assert_non_null(long_part);
    tree_put(case_root, "cache/pictures.part", long_part, case_good.bytes + 1);
    free(long_part);
    const char *url = CASE_SERVE({CASE_GOOD});
    CASE_RUN(&run, url, &case_good, "-q");
    server_stop(&case_server);
    case_ended(&run, 0, "");
    asked(0, 0);
    case_cache_whole();
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void test_stall(void **state) {
    (void)state;
    command_run run;
    double start = now();
    const char *url = CASE_SERVE({CASE_GOOD, .stall = 5000});
    CASE_RUN(&run, url, &case_good, "--stall-time", "1", "--retries", "0");
    server_stop(&case_server);
    case_ended(&run, 1, "Operation too slow");
    assert_true(now() - start < 30); /* the server would hold it for 60 */
    assert_int_equal(case_part_size(), 5000);
}

/* ---- servers that lie about the length ---- */

static void test_too_short(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({.body = case_good.data, .bytes = 1000});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    case_ended(&run, 3, "has 1000 bytes, expected 6");
    assert_int_equal(case_server.requests, 1);
    case_cache_is("");
}

static void test_nothing(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({.body = "", .bytes = 0});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    case_ended(&run, 3, "has 0 bytes, expected 6");
    case_cache_is("");
}

static void test_too_long(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .announce = 1000000000});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    case_ended(&run, 3, "has 1000000000 bytes, expected 6");
    case_cache_is("");
}

/* A true Content-Length, and yet it never ends: what is too much is not read. */
static void test_more_than_said(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .endless = true});
    CASE_RUN(&run, url, &case_good, "-q");
    server_stop(&case_server);
    case_ended(&run, 0, "");
    case_cache_whole();
}

static void test_endless(void **state) {
    (void)state;
    command_run run;
    command_opts opts = {.file_limit =
                             (long)case_good.bytes}; /* one byte more could not be written */
    const char *url = CASE_SERVE({CASE_GOOD, .announce = -1, .endless = true});
    case_start(&run, opts, url, &case_good, (const char *const[]){NULL});
    command_wait(&run);
    server_stop(&case_server);
    case_ended(&run, 3, "sends more than the 6");
    case_cache_is("");
}

static void test_ends_early(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({CASE_GOOD, .announce = -1, .cut = 10000}, {CASE_GOOD});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    case_ended(&run, 0, "ends after 10000 of 6");
    asked(1, 10000);
    case_cache_whole();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_TEST(test_whole),           CASE_TEST(test_no_length),
        CASE_TEST(test_redirect),        CASE_TEST(test_terminal),
        CASE_TEST(test_lines),           CASE_TEST(test_cut),
        CASE_TEST(test_resume),          CASE_TEST(test_resume_complete),
        CASE_TEST(test_ignores_range),   CASE_TEST(test_wrong_range),
        CASE_TEST(test_no_such_range),   CASE_TEST(test_changed_etag),
        CASE_TEST(test_changed_no_etag), CASE_TEST(test_part_too_long),
        CASE_TEST(test_stall),           CASE_TEST(test_too_short),
        CASE_TEST(test_nothing),         CASE_TEST(test_too_long),
        CASE_TEST(test_more_than_said),  CASE_TEST(test_endless),
        CASE_TEST(test_ends_early),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
