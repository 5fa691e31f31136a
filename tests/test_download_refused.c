/* test_download_refused.c - what kiln-download does not take: errors, redirects to where it will
 * not ask, servers whose certificate it does not trust, and files with another sum. */
#include "support/check.h"
#include "support/download/fetch_case.h"

#include <stdlib.h>
#include <string.h>

/* ---- answers that are not the file ---- */

static void test_not_found(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({.status = 404});
    CASE_RUN(&run, url, &case_good, "--json");
    server_stop(&case_server);
    check_contains(run.out, "{\"event\":\"error\",\"message\":\"http://127.0.0.1:");
    case_ended(&run, 1, "the server answers 404 (not found)");
    assert_int_equal(case_server.requests, 1);
    case_cache_is("");
}

static void test_server_error(void **state) {
    (void)state;
    command_run run;
    const char *url = CASE_SERVE({.status = 500});
    CASE_RUN(&run, url, &case_good, "--retries", "2");
    server_stop(&case_server);
    case_ended(&run, 1, "the server answers 500 (3 tries)");
    assert_int_equal(case_server.requests, 3);
    case_cache_is("");

    url = CASE_SERVE({.status = 503, .retry_after = "1"}, {CASE_GOOD});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    case_ended(&run, 0, "trying again in 1 s");
    case_cache_whole();
}

static void test_refused(void **state) {
    (void)state;
    command_run run;
    CASE_RUN(&run, "http://127.0.0.1:1/data.tgz", &case_good, NULL);
    assert_null(strstr(run.err, "trying again")); /* nobody has ever answered */
    case_ended(&run, 1, "Failed to connect");
    case_cache_is("");
}

/* ---- where a redirect may lead ---- */

static void test_redirect_refused(void **state) {
    (void)state;
    static const struct {
        const char *location, *words;
    } cases[] = {
        {"http://192.0.2.1/data.tgz", "plain http is asked of this machine only"},
        {"http://127.0.0.1.example.org/x", "plain http is asked of this machine only"},
        {"ftp://127.0.0.1/data.tgz", "only https is asked"},
        {"file:///etc/passwd", "only https is asked"},
        {"http://user@127.0.0.1/data.tgz", "is no URL that can be asked"},
        {"/data.tgz", "more than 10 redirects"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        command_run run;
        const char *url = CASE_SERVE({.status = 302, .location = cases[i].location});
        CASE_RUN(&run, url, &case_good, NULL);
        server_stop(&case_server);
        case_ended(&run, 1, cases[i].words);
        case_cache_is("");
    }
}

/* ---- TLS ---- */

static void tls_case(const char *name, const char *host, bool trusted, int code,
                     const char *words) {
    command_run run;
    char url[SERVER_TEXT];
    const server_answer script[] = {{CASE_GOOD}};
    case_empty();
    server_start_tls(&case_server, script, 1, name, case_path("certificate.pem"));
    if (trusted)
        setenv("SSL_CERT_FILE", case_path("certificate.pem"), 1);
    server_url(&case_server, "https", host, url);
    CASE_RUN(&run, url, &case_good, "--retries", "0");
    unsetenv("SSL_CERT_FILE");
    server_stop(&case_server);
    assert_int_equal(case_server.requests, code == 0); /* without trust it is not even asked */
    case_ended(&run, code, words);
}

static void test_tls(void **state) {
    (void)state;
    tls_case("IP:127.0.0.1", "127.0.0.1", true, 0, "");
    case_cache_whole();
    tls_case("IP:127.0.0.1", "127.0.0.1", false, 1, "certificate");
    case_cache_is("");
    tls_case("DNS:example.org", "127.0.0.1", true, 1, "no alternative certificate subject name");
    case_cache_is("");
}

static void test_tls_downgrade(void **state) {
    (void)state;
    command_run run;
    char url[SERVER_TEXT];
    const server_answer script[] = {{.status = 301, .location = "http://127.0.0.1:1/data.tgz"}};
    server_start_tls(&case_server, script, 1, "IP:127.0.0.1", case_path("certificate.pem"));
    setenv("SSL_CERT_FILE", case_path("certificate.pem"), 1);
    server_url(&case_server, "https", "127.0.0.1", url);
    CASE_RUN(&run, url, &case_good, NULL);
    unsetenv("SSL_CERT_FILE");
    server_stop(&case_server);
    case_ended(&run, 1, "https does not lead on to plain http");
    case_cache_is("");
}

/* ---- the wrong bytes ---- */

static void test_wrong_sum(void **state) {
    (void)state;
    command_run run;
    tgz other;
    tgz_raw(&other, case_good.data, case_good.bytes);
    other.data[other.bytes / 2] ^= 1;
    const char *url = CASE_SERVE({.body = other.data, .bytes = other.bytes, .etag = "\"v1\""});
    CASE_RUN(&run, url, &case_good, NULL);
    server_stop(&case_server);
    tgz_free(&other);
    case_ended(&run, 3, "its SHA-256 is not");
    assert_int_equal(case_server.requests, 1);
    case_cache_is("");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_TEST(test_not_found), CASE_TEST(test_server_error),
        CASE_TEST(test_refused),   CASE_TEST(test_redirect_refused),
        CASE_TEST(test_tls),       CASE_TEST(test_tls_downgrade),
        CASE_TEST(test_wrong_sum),
    };
    return cmocka_run_group_tests(tests, case_prepare, case_clean);
}
