/* test_download_kiln.c - data sets by name: kiln has kiln-download fetch what is not in its cache;
 * and the command line of kiln-download itself. */
#include "support/check.h"
#include "support/download/fetch_case.h"

#include <kiln/data.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRAIN = 3, VALID = 2 };

static tgz pictures; /* a data set of two classes, packed */
static server here;

/* Adds root/relative to the archive, below flowers-1/. */
static void pack(tgz *t, const char *relative) {
    static unsigned char data[1 << 16];
    char path[320];
    FILE *f = fopen(case_path(relative), "rb");
    assert_non_null(f);
    size_t bytes = fread(data, 1, sizeof data, f);
    assert_true(bytes > 0 && bytes < sizeof data);
    fclose(f);
    snprintf(path, sizeof path, "flowers-1/%s", relative + strlen("drawn/"));
    tgz_file(t, path, data, bytes);
}

static int prepare(void **state) {
    static const char *const classes[] = {"arrow", "bars"};
    char path[256];
    case_prepare(state);
    command_data(case_root, "drawn", 2, TRAIN, VALID);
    tgz_begin(&pictures);
    for (int c = 0; c < 2; c++)
        for (int i = 0; i < TRAIN + VALID; i++) {
            bool train = i < TRAIN;
            snprintf(path, sizeof path, "drawn/%s/%s/%03d.jpg", train ? "train" : "valid",
                     classes[c], train ? i : i - TRAIN);
            pack(&pictures, path);
        }
    tgz_end(&pictures);
    return 0;
}

static int clean(void **state) {
    tgz_free(&pictures);
    return case_clean(state);
}

/* Writes a table of data sets and names it in the environment. */
static void table(const char *text) {
    tree_put(case_root, "table", text, strlen(text));
    setenv("KILN_DATASETS", case_path("table"), 1);
}

/* Serves the script, as the data set flowers. */
static void serve(const server_answer *script, int answers) {
    char url[SERVER_TEXT], text[1024];
    server_start(&here, script, answers);
    snprintf(text, sizeof text, "# mine\n\n  flowers  %s %zu\t%s\r\n",
             server_url(&here, "http", "127.0.0.1", url), pictures.bytes, pictures.sha256);
    table(text);
}

#define SERVE(...)                                                                                 \
    serve((const server_answer[]){__VA_ARGS__},                                                    \
          sizeof((const server_answer[]){__VA_ARGS__}) / sizeof(server_answer))
#define GOOD .body = pictures.data, .bytes = pictures.bytes

static command_opts at_home(void) {
    static char home[TREE_PATH + 16];
    snprintf(home, sizeof home, "%s", case_path("cache"));
    return (command_opts){.folder = case_root, .home = home};
}

/* ---- through kiln ---- */

static void test_check(void **state) {
    (void)state;
    command_run run;
    SERVE({GOOD});
    COMMAND(&run, at_home(), "check", "flowers");
    server_stop(&here);
    check_contains(run.out, "bad      0\n");
    assert_null(strstr(run.out, "cache")); /* what kiln-download prints is not kiln's result */
    check_contains(run.err, "Downloading flowers (");
    case_ended(&run, 0, "Unpacking ");
    case_cache_is("flowers");

    /* The second time nobody is asked, and nothing is said of it. */
    COMMAND(&run, at_home(), "check", "flowers", "--json");
    check_contains(run.out, "\"train\":6,\"valid\":4,\"classes\":[\"arrow\",\"bars\"]");
    assert_string_equal(run.err, "");
    assert_int_equal(command_lines(run.out), 1);
    case_ended(&run, 0, "");

    /* The first time, results are the same: one line. */
    case_empty();
    SERVE({GOOD});
    COMMAND(&run, at_home(), "check", "flowers", "--json", "-q");
    server_stop(&here);
    assert_string_equal(run.err, "");
    assert_int_equal(command_lines(run.out), 1);
    case_ended(&run, 0, "");
}

static void test_train_and_eval(void **state) {
    (void)state;
    command_run run;
    SERVE({GOOD});
    COMMAND(&run, at_home(), "train", "--recipe", "chapter", "flowers", "-o", "run", "--epochs",
            "1", "-b", "4", "--img-size", "16", "--threads", "1", "-q");
    case_ended(&run, 0, "");
    tree_remove(case_path("cache"));
    COMMAND(&run, at_home(), "eval", "run/model.safetensors", "flowers", "-q", "--json");
    server_stop(&here);
    check_contains(run.out, "\"acc\":");
    case_ended(&run, 0, "");
    assert_int_equal(here.requests, 2);
}

/* A folder of that name comes first. */
static void test_folder_first(void **state) {
    (void)state;
    command_run run;
    command_data(case_root, "imagenette-160", 2, 2, 1);
    COMMAND(&run, at_home(), "check", "imagenette-160", "--json");
    check_contains(run.out, "\"train\":4,\"valid\":2,");
    case_ended(&run, 0, "");
    tree_remove(case_path("imagenette-160"));
}

static void test_fails(void **state) {
    (void)state;
    command_run run;
    SERVE({.status = 404});
    COMMAND(&run, at_home(), "train", "--recipe", "chapter", "flowers", "--json", "-q", "-o",
            "never");
    server_stop(&here);
    assert_int_equal(command_lines(run.out), 1);
    check_contains(run.out, "{\"event\":\"error\",\"message\":\"http://127.0.0.1:");
    assert_int_equal(command_lines(run.err), 1);
    case_ended(&run, 1, "kiln-download: http://127.0.0.1");
    case_cache_is("");

    tgz evil;
    tgz_begin(&evil);
    tgz_file(&evil, "../evil", "evil", 4);
    tgz_end(&evil);
    tgz kept = pictures;
    pictures = evil;
    SERVE({GOOD});
    COMMAND(&run, at_home(), "check", "flowers");
    server_stop(&here);
    pictures = kept;
    tgz_free(&evil);
    assert_string_equal(run.out, "");
    case_ended(&run, 3, "a path that leads out of its folder");
    case_cache_is("");
}

/* Another place of a known one: its size and sum are still those of the known one. */
static void test_mirror(void **state) {
    (void)state;
    command_run run;
    char url[SERVER_TEXT], text[1024];
    const server_answer script[] = {{GOOD}};
    server_start(&here, script, 1);
    snprintf(text, sizeof text, "imagenette-160 %s\n", server_url(&here, "http", "localhost", url));
    table(text);
    COMMAND(&run, at_home(), "check", "imagenette-160");
    server_stop(&here);
    assert_int_equal(here.requests, 1);
    case_ended(&run, 3, "bytes, expected 99003388");
    case_cache_is("");
}

/* A signal to kiln alone ends both, in order. */
static void test_interrupt(void **state) {
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        command_run run;
        struct stat st = {0};
        case_empty();
        SERVE({GOOD, .stall = 2000});
        command_start(&run, at_home(), (const char *const[]){"check", "flowers", NULL});
        for (int k = 0; k < 600 && st.st_size < 2000; k++) {
            usleep(50000);
            if (stat(case_path("cache/flowers.part"), &st) != 0)
                st.st_size = 0;
        }
        kill(run.pid, numbers[i]);
        command_wait(&run);
        server_stop(&here);
        case_ended(&run, 130, "interrupted; what has arrived is kept");
        case_cache_is("flowers.part"); /* no lock: the other program is gone too */
    }
}

static void test_suggest(void **state) {
    (void)state;
    command_run run;
    COMMAND(&run, at_home(), "check", "imagenete-160");
    case_ended(&run, 3, "imagenete-160: no such folder; did you mean imagenette-160?");
    COMMAND(&run, at_home(), "check", "shaeps");
    case_ended(&run, 3, "shaeps: no such folder; did you mean shapes?");
    COMMAND(&run, at_home(), "check", "there/imagenette-160");
    assert_null(strstr(run.err, "did you mean"));
    case_ended(&run, 3, "there/imagenette-160: no such folder");
}

/* ---- where kiln-download is ---- */

static void copy_kiln(void) {
    char path[COMMAND_PATH], line[COMMAND_PATH + TREE_PATH + 300];
    command_path(NULL, path);
    tree_folder(case_root, "alone");
    snprintf(line, sizeof line, "cp '%s' '%s'", path, case_path("alone/kiln"));
    assert_int_equal(system(line), 0); /* NOLINT: paths of the test's own */
}

static void test_where(void **state) {
    (void)state;
    command_run run;
    char kiln[COMMAND_PATH], folder[COMMAND_PATH], value[COMMAND_PATH + 256];
    const char *before = getenv("PATH");
    char *path = strdup(before != NULL ? before : "");
    assert_non_null(path);
    COMMAND(&run, at_home(), "doctor");
    command_path("kiln-download", folder);
    snprintf(value, sizeof value, "\nkiln-download    %s (kiln-download %s, libcurl ", folder,
             KN_VERSION);
    check_contains(run.out, value);
    case_ended(&run, 0, "");

    command_path(NULL, kiln);
    copy_kiln();
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(kiln, '/') - kiln), kiln);
    setenv("KILN_BIN", case_path("alone/kiln"), 1);
    setenv("PATH", "/nowhere::", 1);
    COMMAND(&run, at_home(), "check", "imagenette-160");
    case_ended(&run, 1, "is neither beside kiln nor on PATH; it is built where libcurl and");
    COMMAND(&run, at_home(), "doctor");
    check_contains(run.out, "\nkiln-download    not found beside kiln nor on PATH: ");
    case_ended(&run, 0, "");

    snprintf(value, sizeof value, "/nowhere:%s:/usr/bin", folder);
    setenv("PATH", value, 1);
    COMMAND(&run, at_home(), "doctor", "--json");
    snprintf(value, sizeof value, "\"kiln-download\":\"%s/kiln-download (", folder);
    check_contains(run.out, value);
    case_ended(&run, 0, "");

    /* What lies there but does not run. */
    tree_put(case_root, "alone/kiln-download", "#!/bin/false\n", 13);
    assert_int_equal(chmod(case_path("alone/kiln-download"), 0755), 0);
    COMMAND(&run, at_home(), "doctor");
    check_contains(run.out, "alone/kiln-download does not run\n");
    case_ended(&run, 0, "");
    setenv("KILN_BIN", kiln, 1);
    setenv("PATH", path, 1);
    free(path);
}

/* A signal that comes when there is nothing left to stop is heard nevertheless. */
static void test_interrupt_at_the_end(void **state) {
    (void)state;
    command_run run;
    char kiln[COMMAND_PATH];
    case_empty();
    command_path(NULL, kiln);
    copy_kiln();
    FILE *f = fopen(case_path("alone/kiln-download"), "w");
    assert_non_null(f);
    fputs("#!/bin/sh\ntrap '' INT\nkill -INT $PPID\nexit 0\n", f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(case_path("alone/kiln-download"), 0755), 0);
    setenv("KILN_BIN", case_path("alone/kiln"), 1);
    COMMAND(&run, at_home(), "check", "imagenette-160");
    setenv("KILN_BIN", kiln, 1);
    case_ended(&run, 130, "interrupted");
}

/* ---- the table ---- */

static void test_table(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"one\n", "table:1: expected NAME URL BYTES SHA256, or NAME URL"},
        {"# fine\nx y z\n", "table:2: expected NAME URL BYTES SHA256, or NAME URL"},
        {"a b c d e\n", "table:1: expected NAME URL"},
        {"mine https://example.org/x\n", "table:1: no data set of that name is known"},
        {"../up https://example.org/x 1 0\n", "table:1: the name may hold letters"},
        {".hidden https://example.org/x 1 0\n", "table:1: the name may hold letters"},
        {"shapes-2 https://example.org/x 1 0\n", "table:1: the name may hold letters"},
        {"mine https://example.org/x -1 0\n", "table:1: BYTES is no number of bytes"},
        {"mine https://example.org/x 1e3 0\n", "table:1: BYTES is no number of bytes"},
        {"mine https://example.org/x 99999999999999999 0\n", "table:1: BYTES is no number"},
        {"mine https://example.org/x 10 abc\n", "table:1: SHA256 is not 64 hex digits"},
        {"imagenette-160 https://example.org/x 10 abc\n", "table:1: the name is taken"},
    };
    command_run run;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        table(cases[i].text);
        COMMAND(&run, at_home(), "check", "mine");
        assert_int_equal(command_lines(run.err), 1);
        case_ended(&run, 2, cases[i].words);
    }
    setenv("KILN_DATASETS", case_path("no table"), 1);
    COMMAND(&run, at_home(), "check", "mine");
    case_ended(&run, 1, "no table: cannot open: No such file");
    table("mine http://example.org/x 10 "
          "0123456789012345678901234567890123456789012345678901234567890123\n");
    COMMAND(&run, at_home(), "check", "mine");
    case_ended(&run, 2, "http://example.org/x: plain http is asked of this machine only");
}

static void test_table_limits(void **state) {
    (void)state;
    enum { ROW = 120 };
    static char text[70 * ROW];
    command_run run;
    size_t used = 0;
    for (int i = 0; i < 64; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "set-%d https://example.org/x 1 %064d\n", i, i);
    table(text);
    COMMAND(&run, at_home(), "check", "mine");
    case_ended(&run, 2, "table:64: there are too many");
    memset(text, 'x', 3000);
    text[3000] = '\0';
    table(text);
    COMMAND(&run, at_home(), "check", "mine");
    case_ended(&run, 2, "table:1: the line is too long");
}

/* ---- the command line of kiln-download ---- */

static const char sum64[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void test_usage(void **state) {
    (void)state;
#define U "--url", "https://127.0.0.1:1/x"
    static const struct {
        const char *arguments[10], *words;
    } cases[] = {
        {{NULL}, "usage: kiln-download NAME"},
        {{"imagenete-160"}, "unknown data set imagenete-160; did you mean imagenette-160?"},
        {{"zebra"}, "unknown data set zebra; kiln-download --list lists them"},
        {{"a", "b"}, "unexpected argument b"},
        {{"a", "--ulr", "x"}, "unknown option --ulr; did you mean --url?"},
        {{"a", "-x"}, "unknown option -x"},
        {{"a", "--url"}, "--url needs a value: URL"},
        {{"a", "--url", "--quiet"}, "--url needs a value: URL"},
        {{"a", "--json=1"}, "--json takes no value"},
        {{"a", U}, "a: --url, --size and --sha256 go together"},
        {{"a", U, "--size", "0"}, "--size \"0\": expected a whole number from 1 to"},
        {{"a", U, "--size", "1x"}, "--size \"1x\": expected a whole number"},
        {{"a", U, "--size", "1", "--sha256", "12"}, "--sha256 \"12\": expected 64 hex digits"},
        {{"../a", U, "--size", "1", "--sha256", sum64}, "NAME \"../a\": expected letters"},
        {{"-a", U}, "unknown option -a"},
        {{"shapes", U, "--size", "1", "--sha256", sum64}, "NAME \"shapes\": expected letters"},
        {{"imagenette-160", "--size", "1"}, "--sha256 and --size of imagenette-160 are known"},
        {{"imagenette-160", "--url", "http://example.org/"}, "plain http is asked of this"},
        {{"imagenette-160", "--url", "example.org"}, "is no URL that can be asked"},
        {{"imagenette-160", "--url", "ftp://example.org/"}, "only https is asked"},
        {{"imagenette-160", "--url", "https://me@example.org/"}, "is no URL that can be asked"},
        {{"imagenette-160", "--retries", "101"}, "--retries \"101\": expected a whole number"},
        {{"imagenette-160", "--to="}, "--to \"\": expected FOLDER"},
        {{"imagenette-160", "--list"}, "--list lists all names; leave imagenette-160 out"},
        {{"--list", "--retries", "1"}, "--retries does not go with --list"},
        {{"--max-bytes", "1", "--list"}, "--max-bytes does not go with --list"},
        {{"--list", "--url", "https://example.org/"}, "--url does not go with --list"},
    };
#undef U
    command_opts opts = at_home();
    opts.program = "kiln-download";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        command_run run;
        command_start(&run, opts, cases[i].arguments);
        command_wait(&run);
        assert_string_equal(run.out, "");
        assert_int_equal(command_lines(run.err), 1);
        case_ended(&run, 2, cases[i].words);
    }
}

static void test_texts(void **state) {
    (void)state;
    command_run run;
    command_opts opts = at_home();
    opts.program = "kiln-download";
    COMMAND(&run, opts, "--list");
    check_contains(run.out, "imagenette-160         99.0 MB  not there  https://s3.amazonaws.com/");
    case_ended(&run, 0, "");
    tree_folder(case_root, "cache/imagenette-160");
    COMMAND(&run, opts, "--list", "--json", "-q");
    check_contains(run.out, "\"bytes\":99003388,\"sha256\":\"64d0c4859f35a461889e0147755a999a48b49b"
                            "f38a7e0f9bd27003f10db02fe5\",\"there\":true}\n");
    case_ended(&run, 0, "");
    COMMAND(&run, opts, "-h");
    check_contains(run.out, "KILN_DATASETS");
    case_ended(&run, 0, "");
    COMMAND(&run, opts, "--version");
    check_contains(run.out, "kiln-download " KN_VERSION ", libcurl ");
    case_ended(&run, 0, "");
    opts.out = "/dev/full";
    COMMAND(&run, opts, "--list");
    case_ended(&run, 1, "kiln-download: standard output: No space left on device");
}

/* A cache that cannot be written to. */
static void test_no_cache(void **state) {
    (void)state;
    command_run run;
    command_opts opts = at_home();
    opts.home = "/dev/null/cache";
    COMMAND(&run, opts, "check", "imagenette-160", "-q");
    case_ended(&run, 1, "/dev/null/cache: cannot make the folder: ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_TEST(test_check),
        CASE_TEST(test_train_and_eval),
        CASE_TEST(test_folder_first),
        CASE_TEST(test_fails),
        CASE_TEST(test_mirror),
        CASE_TEST(test_interrupt),
        CASE_TEST(test_suggest),
        CASE_TEST(test_where),
        CASE_TEST(test_interrupt_at_the_end),
        CASE_TEST(test_table),
        CASE_TEST(test_table_limits),
        CASE_TEST(test_usage),
        CASE_TEST(test_texts),
        CASE_TEST(test_no_cache),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
