/* test_cli_explain.c - kiln explain: the page is whole, holds all it needs and nothing that runs,
 * whatever classes are called, and shows the pictures it should. */
#include "support/check.h"
#include "support/command.h"
#include "support/page.h"
#include "support/root.h"

#include <kiln/kiln.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 3, TRAIN = 8, VALID = 5, ALL = CLASSES * VALID, PAGE = 1 << 20 };

/* Every character that HTML takes for its own. */
#define ODD "<b>&'\"x"

static char page[PAGE];

#define RUN_WELL(out, ...) COMMAND_WELL(out, HERE, __VA_ARGS__)

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        n++;
    return n;
}

static void rename_class(const char *part) {
    char from[TREE_PATH + 256], to[TREE_PATH + 256];
    snprintf(from, sizeof from, "%s/d/%s/bars", root, part);
    snprintf(to, sizeof to, "%s/d/%s/" ODD, root, part);
    assert_int_equal(rename(from, to), 0);
}

static int prepare(void **state) {
    (void)state;
    char out[8192];
    tree_make(root);
    command_data(root, "d", CLASSES, TRAIN, VALID);
    rename_class("train");
    rename_class("valid");
    RUN_WELL(out, "train", "--recipe", "chapter", "d", "--epochs", "2", "-o", "run", "-q", "-b",
             "8", "--img-size", "32", "--threads", "2");
    RUN_WELL(out, "explain", "run/model.safetensors", "d", "-o", "ex", "--threads", "2", "--top",
             "7");
    check_contains(out, "15 pictures: loss ");
    check_contains(out, "\npage      ex/explain.html\n");
    root_read("ex/explain.html", page, sizeof page);
    return 0;
}

/* ---- the page ---- */

/* No address but XML's name for SVG, no script, nothing to follow; and a policy that says so. */
static void test_self_contained(void **state) {
    (void)state;
    assert_int_equal(count(page, "://"), count(page, "xmlns=\"http://www.w3.org/2000/svg\""));
    assert_int_equal(count(page, "src=\""), count(page, "src=\"data:image/jpeg;base64,"));
    assert_int_equal(count(page, "<script") + count(page, "href") + count(page, "@import") +
                         count(page, "url(") + count(page, "<link"),
                     0);
    page_check(page);
    check_contains(page, "<meta name=\"viewport\"");
    check_contains(page, "prefers-color-scheme: dark");
}

static void test_escaped(void **state) {
    (void)state;
    assert_null(strstr(page, "<b>&'"));
    assert_null(strstr(page, ODD));
    check_contains(page, "&lt;b&gt;&amp;&#39;&quot;x</td>");
    check_contains(page, "alt=\"valid/&lt;b&gt;&amp;&#39;&quot;x/");
    static const char *const pairs[] = {"figure",     "section", "table", "div",  "dl",  "tr",
                                        "figcaption", "b",       "code",  "span", "svg", "label"};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char open[32], bare[32], close[32];
        snprintf(open, sizeof open, "<%s ", pairs[i]);
        snprintf(bare, sizeof bare, "<%s>", pairs[i]);
        snprintf(close, sizeof close, "</%s>", pairs[i]);
        assert_int_equal(count(page, open) + count(page, bare), count(page, close));
    }
}

/* The cards are the rows of predictions.csv with the highest losses, in that order. */
static void test_top_losses(void **state) {
    (void)state;
    char out[8192], table[8192];
    double loss[ALL], shown;
    int rows = 0;
    RUN_WELL(out, "eval", "run/model.safetensors", "d", "-o", "ev", "--threads", "2");
    root_read("ev/predictions.csv", table, sizeof table);
    for (char *line = strchr(table, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1) {
        char *end = strchr(line, '\n');
        while (end[-1] != ',')
            end--;
        loss[rows++] = strtod(end, NULL);
    }
    assert_int_equal(rows, ALL);
    const char *card = page;
    double last = 1e9;
    for (int i = 0; i < 7; i++) {
        card = strstr(card + 1, "<figure>");
        assert_non_null(card);
        assert_int_equal(sscanf(strstr(card, " sure, loss ") + 12, "%lf", &shown), 1);
        int higher = 0;
        for (int k = 0; k < ALL; k++)
            higher += loss[k] > shown + 0.0051;
        assert_true(higher <= i && shown <= last);
        last = shown;
    }
    assert_null(strstr(card + 1, "<figure>"));
}

static size_t base64_decode(const char *text, unsigned char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0;
    int held = 0;
    size_t used = 0;
    for (; strchr(digits, *text) != NULL && *text != '\0'; text++) {
        bits = bits << 6 | (unsigned)(strchr(digits, *text) - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[used++] = (unsigned char)(bits >> held);
        }
    }
    return used;
}

/* Seven pictures, as large as the files, and each once more under its heat. */
static void test_pictures(void **state) {
    (void)state;
    static unsigned char jpeg[1 << 16];
    static uint8_t plain[96 * 96 * 3];
    kn_image_reader reader = {0};
    const char *at = page;
    int pictures = 0, different = 0;
    while ((at = strstr(at, "base64,")) != NULL) {
        kn_image image;
        kn_error error = {0};
        at += 7;
        assert_int_equal(
            kn_image_decode(&reader, jpeg, base64_decode(at, jpeg), "card", &image, &error), KN_OK);
        assert_int_equal(image.height, 96);
        assert_int_equal(image.width, 96);
        if (pictures++ % 2 == 0)
            memcpy(plain, image.pixels, sizeof plain);
        else
            different += memcmp(plain, image.pixels, sizeof plain) != 0;
    }
    assert_int_equal(pictures, 14);
    assert_int_equal(different, 7);
    assert_int_equal(count(page, "class=\"over\""), 7);
    kn_image_reader_free(&reader);
}

/* ---- the command ---- */

static void test_folders(void **state) {
    (void)state;
    command_run run;
    char out[8192];
    COMMAND(&run, HERE, "explain", "run/model.safetensors", "d", "-o", "run");
    command_expect(&run, 2);
    check_contains(run.err, "kiln: run: already holds something");
    command_free(&run);
    RUN_WELL(out, "explain", "run/model.safetensors", "d", "--json", "--top", "1");
    check_contains(out, "{\"event\":\"explain\",\"n\":15,\"loss\":");
    check_contains(out, "\"page\":\"explain/1/explain.html\"}\n");
    RUN_WELL(out, "explain", "run/model.safetensors", "d", "--tta", "-k", "0");
    check_contains(out, "page      explain/2/explain.html\n");
    root_read("explain/2/explain.html", page, sizeof page);
    assert_null(strstr(page, "<figure>"));
    check_contains(page, "each also mirrored");
    root_read("ex/explain.html", page, sizeof page); /* as it was, for the tests that follow */
    command_opts opts = HERE;
    opts.file_limit = 5000;
    COMMAND(&run, opts, "explain", "run/model.safetensors", "d", "-o", "full");
    command_expect(&run, 1);
    assert_false(root_has("full"));
    command_free(&run);
}

/* The same page for any number of threads that read. */
static void test_same_page(void **state) {
    (void)state;
    static char again[PAGE];
    char out[8192];
    RUN_WELL(out, "explain", "run/model.safetensors", "d", "-o", "again", "--threads", "2", "--top",
             "7", "-j", "5");
    root_read("again/explain.html", again, sizeof again);
    assert_string_equal(again, page);
}

/* ---- in a browser, where there is one ---- */

static void test_browser(void **state) {
    (void)state;
    char line[4 * TREE_PATH];
    if (system("command -v chromium >/dev/null 2>&1") != 0) {
        print_message("SKIPPED: chromium is not installed\n");
        skip();
    }
    snprintf(line, sizeof line,
             "timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
             "--user-data-dir=%s/chromium --window-size=500,2400 --screenshot=%s/shot.png "
             "file://%s/ex/explain.html >/dev/null 2>&1",
             root, root, root);
    if (system(line) != 0 || !root_has("shot.png")) {
        print_message("SKIPPED: chromium does not start here\n");
        skip();
    }
    kn_image_reader reader = {0};
    kn_image shot;
    kn_error error = {0};
    assert_int_equal(kn_image_read(&reader, root_path("shot.png"), &shot, &error), KN_OK);
    /* The style is in force: the body's margin is back, the cards below hold many colours. */
    bool seen[4096] = {false};
    int colours = 0;
    for (int64_t i = 0; i < (int64_t)shot.height * shot.width; i++) {
        const uint8_t *p = shot.pixels + 3 * i;
        int at = p[0] >> 4 << 8 | p[1] >> 4 << 4 | p[2] >> 4;
        colours += !seen[at];
        seen[at] = true;
    }
    assert_true(colours > 40);
    kn_image_reader_free(&reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_contained), cmocka_unit_test(test_escaped),
        cmocka_unit_test(test_top_losses),     cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_folders),        cmocka_unit_test(test_same_page),
        cmocka_unit_test(test_browser),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
