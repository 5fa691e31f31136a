/* test_cli_page.c - report.html and sheet.svg of a run whose classes have names that would be a
 * page's undoing; and, where there is a browser, what the page looks like in it. */
#include "support/check.h"
#include "support/command.h"
#include "support/page.h"
#include "support/root.h"
#include "support/svg.h"

#include "core/ctx.h"

#include <kiln/image.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const drawn[] = {"arrow", "bars", "circle"};
static const char *const hostile[] = {"<script>alert(1)<", "\"><img src=x onerror=alert(1)>",
                                      "a name of a class that is much too long to stand anywhere"};
enum { CLASSES = 3 };

static void rename_classes(const char *part) {
    for (int i = 0; i < CLASSES; i++) {
        char from[TREE_PATH + 128], to[TREE_PATH + 128];
        snprintf(from, sizeof from, "%s/d/%s/%s", root, part, drawn[i]);
        snprintf(to, sizeof to, "%s/d/%s/%s", root, part, hostile[i]);
        assert_int_equal(rename(from, to), 0);
    }
}

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", CLASSES, 6, 3);
    rename_classes("train");
    rename_classes("valid");
    command_run run;
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "--epochs", "3", "-o", "it's <run>",
            "-b", "8", "--img-size", "24", "--threads", "1", "-q");
    command_expect(&run, 0);
    command_free(&run);
    return 0;
}

/* ---- what is in it ---- */

static void the_page_is_sound(void **state) {
    (void)state;
    char *page = root_text("it's <run>/report.html");
    page_check(page);
    static const char line[] =
        "kiln train d --recipe chapter --epochs 3 --batch-size 8 --img-size 24 --threads 1 "
        "--output &#39;it&#39;\\&#39;&#39;s &lt;run&gt;&#39;";
    const char *const words[] = {
        "<title>simple_cnn on d</title>",
        "<p>3 epochs; 20",
        ">Loss</text>",
        ">Accuracy</text>",
        ">Learning rate</text>",
        ">Confusion</text>",
        ">First training batch</h2>",
        line,
        "<dt class=\"marked\">img-size</dt><dd class=\"marked\">24</dd>",
        "<dt>trained on</dt><dd>18</dd>",
        "&lt;script&gt;alert(1)&lt;</figcaption>",
        "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;</figcaption>",
    };
    for (size_t i = 0; i < KN_COUNT(words); i++)
        svg_contains(page, words[i]);
    assert_int_equal(svg_count(page, "<tr class=\"marked\">"), 1);
    assert_int_equal(svg_count(page, "<tr>"), 1 + 2); /* heads and the other epochs */
    assert_int_equal(svg_count(page, "<figure "), 8);
    assert_int_equal(svg_count(page, "<svg "), 2 * 4);
    assert_int_equal(svg_count(page, "http-equiv=\"refresh\""), 0); /* it is done */
    free(page);
}

static void the_sheet_is_sound(void **state) {
    (void)state;
    char *svg = root_text("it's <run>/sheet.svg");
    svg_check(svg);
    assert_int_equal(svg_count(svg, "<image "), 8); /* a batch */
    assert_int_equal(svg_count(svg, "<script"), 0);
    assert_int_equal(svg_count(svg, "href=\"data:image/jpeg;base64,"), 8);
    free(svg);
}

/* While it trains the page says so and is loaded anew; in the end it says how it ended. */
static void the_page_follows_the_training(void **state) {
    (void)state;
    char path[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/long/report.html", root);
    command_run run;
    command_start(&run, HERE,
                  (const char *const[]){"train", "--recipe", "chapter", "d", "--epochs", "100000",
                                        "-o", "long", "-b", "8", "--img-size", "24", "--threads",
                                        "1", "-q", NULL});
    for (int i = 0; i < 3000 && access(path, F_OK) != 0; i++)
        usleep(10000);
    char *page = root_text("long/report.html");
    kill(run.pid, SIGINT);
    command_wait(&run);
    command_expect(&run, 130);
    command_free(&run);
    page_check(page);
    svg_contains(page, "<p>training: 1 of 100000 epochs are done; ");
    svg_contains(page, "<meta http-equiv=\"refresh\" content=\"10\">");
    free(page);
    page = root_text("long/report.html");
    page_check(page);
    svg_contains(page, "<p>interrupted after ");
    assert_int_equal(svg_count(page, "http-equiv=\"refresh\""), 0);
    free(page);
}

/* ---- in a browser ---- */

static const char *browser(void) {
    static const char *const names[] = {"chromium", "chromium-browser", "google-chrome"};
    char look[128];
    for (size_t i = 0; i < KN_COUNT(names); i++) {
        snprintf(look, sizeof look, "command -v %s >/dev/null 2>&1", names[i]);
        if (system(look) == 0) /* NOLINT(cert-env33-c): a fixed text */
            return names[i];
    }
    return NULL;
}

static void browse(const char *options, const char *file) {
    char line[4 * TREE_PATH];
    snprintf(line, sizeof line,
             "cd '%s' && HOME='%s' timeout 120 %s --headless --no-sandbox --disable-gpu "
             "--hide-scrollbars --disable-dev-shm-usage --user-data-dir='%s/profile' %s %s "
             ">dump.html 2>browser.log",
             root, root, browser(), root, options, file);
    if (system(line) != 0) { /* NOLINT(cert-env33-c): of our own words */
        char *log = root_text("browser.log");
        fail_msg("%s: %s", line, log);
    }
}

/* A copy of the page, which says to the page around it how wide it is, and how far right something
 * of it reaches that does not scroll; that has it in a frame of a phone's width, as a browser's
 * window may not be so narrow. */
static void put_frame(int width) {
    static const char policy[] = "default-src 'none';";
    static const char probe[] =
        "<script>addEventListener('load', () => parent.postMessage('frame ' + innerWidth + ' page "
        "' +"
        " Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('body "
        "*')]"
        ".filter(e => !e.closest('.scroll, pre, figcaption, script'))"
        ".map(e => Math.ceil(e.getBoundingClientRect().right))), '*'))</script>\n</body>";
    char *page = root_text("it's <run>/report.html"), *copy = calloc(1, 1 << 22), frame[512];
    char *at = strstr(page, policy), *end = strstr(page, "</body>");
    assert_true(at != NULL && end != NULL && end > at);
    memset(at, ' ', sizeof policy - 1); /* it would not let the script run */
    *end = '\0';
    snprintf(copy, 1 << 22, "%s%s%s", page, probe, end + strlen("</body>"));
    tree_put(root, "copy.html", copy, strlen(copy));
    int length =
        snprintf(frame, sizeof frame,
                 "<body style=\"margin: 0\"><p id=\"said\"></p><script>addEventListener("
                 "'message', e => { document.getElementById('said').textContent = e.data })"
                 "</script><iframe src=\"copy.html\" width=\"%d\" height=\"900\" "
                 "style=\"border: 0\"></iframe>",
                 width);
    tree_put(root, "frame.html", frame, (size_t)length);
    free(page);
    free(copy);
}

static void nothing_is_wider_than_the_screen(void **state) {
    (void)state;
    if (browser() == NULL) {
        printf("SKIPPED: no chromium to look at report.html with\n");
        skip();
    }
    static const int widths[] = {360, 412, 700, 1200};
    for (size_t i = 0; i < KN_COUNT(widths); i++) {
        char want[64];
        put_frame(widths[i]);
        browse("--window-size=1300,1000 --virtual-time-budget=4000 --dump-dom", "frame.html");
        char *dump = root_text("dump.html");
        snprintf(want, sizeof want, "<p id=\"said\">frame %d page %d</p>", widths[i], widths[i]);
        if (strstr(dump, want) == NULL)
            fail_msg("%s is not in %.300s", want, dump);
        free(dump);
    }
}

/* A picture of the page is light, or dark where that is preferred, and there is something on it. */
static void light_and_dark_are_as_preferred(void **state) {
    (void)state;
    if (browser() == NULL) {
        printf("SKIPPED: no chromium to look at report.html with\n");
        skip();
    }
    for (int dark = 0; dark < 2; dark++) {
        char options[256], path[TREE_PATH + 32];
        snprintf(options, sizeof options, "--window-size=900,1200 --screenshot=shot.png %s",
                 dark ? "--blink-settings=preferredColorScheme=0" : "");
        browse(options, "\"it's <run>/report.html\"");
        snprintf(path, sizeof path, "%s/shot.png", root);
        kn_image_reader reader = {0};
        kn_image image;
        kn_error error = {0};
        if (kn_image_read(&reader, path, &image, &error) != KN_OK)
            fail_msg("%s", error.message);
        assert_int_equal(image.width, 900);
        assert_true(dark ? image.pixels[0] < 40 : image.pixels[0] > 215);
        int other = 0;
        for (int i = 0; i < image.width * image.height; i++)
            other += abs(image.pixels[3 * i] - image.pixels[0]) > 100;
        assert_true(other > 5000); /* letters and lines */
        kn_image_reader_free(&reader);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_sound),
        cmocka_unit_test(the_sheet_is_sound),
        cmocka_unit_test(the_page_follows_the_training),
        cmocka_unit_test(nothing_is_wider_than_the_screen),
        cmocka_unit_test(light_and_dark_are_as_preferred),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
