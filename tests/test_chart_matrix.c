/* test_chart_matrix.c - the confusion matrix: what it says, and that from 2 to 1000 classes nothing
 * overlaps or leaves it. */
#include <kiln/chart.h>
#include <kiln/random.h>

#include "core/file.h"
#include "formats/chart_parts.h"
#include "support/svg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { MOST = 1000 };

static const char *const pets[] = {"cat", "dog", "a <b>parrot</b> & co"};
static const int64_t seen[] = {8, 2, 0, 1, 9, 0, 0, 0, 0}; /* no parrot */

static char *draw(const kn_matrix_chart *chart) {
    kn_text t = {0};
    kn_matrix_chart_svg(&t, chart);
    assert_false(t.failed);
    svg_check(t.data);
    return t.data;
}

static void cells_say_their_counts(void **state) {
    (void)state;
    char *svg = draw(&(kn_matrix_chart){
        .title = "Pets", .names = pets, .counts = seen, .classes = 3, .width = 0});
    static const char *const words[] = {
        ">Pets</text>",
        ">true class</text>",
        ">taken for</text>",
        ">8</text>",
        "<title>cat: 8 of 10 right (80%)</title>",
        "<title>cat taken for dog: 2 of 10 (20%)</title>",
        "<title>dog: 9 of 10 right (90%)</title>",
        ">a &lt;b&gt;parrot&lt;/b&gt; &amp; co</text>",
        "fill-opacity=\"0.447\"", /* the square root of 0.2 */
        "prefers-color-scheme: dark",
    };
    for (size_t i = 0; i < KN_COUNT(words); i++)
        svg_contains(svg, words[i]);
    assert_int_equal(svg_count(svg, "<rect class=\"right\""), 2 + 5); /* and the legend's */
    assert_int_equal(svg_count(svg, "<rect class=\"wrong\""), 2 + 5);
    assert_int_equal(svg_count(svg, "pointer-events"), 4); /* nothing in empty cells */
    assert_int_equal(svg_count(svg, "<b>"), 0);
    kn_mem_free(NULL, svg);
}

/* One name in seven is long, one in eleven Chinese; counts of every size. */
static void any_matrix_is_sound(void **state) {
    (void)state;
    static char text[MOST][64];
    static const char *names[MOST];
    static int64_t counts[MOST * MOST];
    for (int i = 0; i < MOST; i++) {
        snprintf(text[i], sizeof text[i], "%s%d",
                 i % 7 == 3    ? "a name that has no room beside "
                 : i % 11 == 5 ? "\xE6\x97\xA5\xE6\x9C\xAC"
                               : "c",
                 i);
        names[i] = text[i];
    }
    static const int classes[] = {1,  2,  3,   5,   10,  17,  29,  30,
                                  31, 60, 100, 101, 120, 121, 250, MOST};
    static const int widths[] = {240, 340, 720};
    for (size_t k = 0; k < KN_COUNT(classes) * KN_COUNT(widths); k++) {
        int n = classes[k / KN_COUNT(widths)], width = widths[k % KN_COUNT(widths)];
        double scale = k % 3 == 0 ? 5 : k % 3 == 1 ? 2e4 : 1e15;
        kn_rng rng = kn_rng_at(k, KN_RANDOM_USER, 0, 0, 0);
        for (int i = 0; i < n * n; i++) {
            bool empty = n > 100 && i % 50 != 0;
            counts[i] = empty ? 0 : (int64_t)(scale * kn_rng_uniform(&rng));
        }
        char *svg = draw(&(kn_matrix_chart){
            .title = "t", .names = names, .counts = counts, .classes = n, .width = width});
        if (n > 30)
            assert_int_equal(svg_count(svg, "pointer-events"), 0);
        else if (n <= 10 && scale == 5 && width >= 500)
            assert_true(svg_count(svg, "pointer-events") > 0);
        kn_mem_free(NULL, svg);
    }
}

static void long_names_keep_both_ends(void **state) {
    (void)state;
    const char *const names[] = {"a name that has no room beside the cells 17",
                                 "a name that has no room beside the cells 18"};
    char *svg = draw(&(kn_matrix_chart){
        .names = names, .counts = (const int64_t[]){1, 0, 0, 1}, .classes = 2, .width = 340});
    assert_int_equal(svg_count(svg, "17</text>"), 2); /* of its row and its column */
    assert_int_equal(svg_count(svg, "18</text>"), 2);
    assert_int_equal(svg_count(svg, ">a na"), 4 + 2); /* and what pointing says */
    kn_mem_free(NULL, svg);
}

static void it_is_written_or_refused(void **state) {
    (void)state;
    char path[] = "/tmp/kiln-matrix-XXXXXX";
    kn_matrix_chart chart = {.names = pets, .counts = seen, .classes = 3};
    kn_error error = {0};
    close(mkstemp(path));
    assert_int_equal(kn_matrix_chart_write(&chart, path, NULL, &error), KN_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kn_matrix_chart_write(&chart, "/nonexistent/m.svg", NULL, &error), KN_ERR_IO);
    svg_contains(error.message, "/nonexistent/m.svg");
    const kn_matrix_chart bad[] = {{.classes = 0}, {.classes = 2001}, {.classes = 3, .width = 239}};
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        error = (kn_error){0};
        assert_int_equal(kn_matrix_chart_write(&bad[i], path, NULL, &error), KN_ERR_ARG);
        svg_contains(error.message, path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_say_their_counts),
        cmocka_unit_test(any_matrix_is_sound),
        cmocka_unit_test(long_names_keep_both_ends),
        cmocka_unit_test(it_is_written_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
