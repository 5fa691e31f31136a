/* test_chart_marks.c - vertical marks in a chart: their labels touch nothing, no line runs through
 * a label, whatever the numbers; and charts one above the other. */
#include "support/check.h"
#include "support/svg.h"

#include <kiln/chart.h>
#include <kiln/random.h>

#include "formats/chart_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double xs[] = {1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1},
                    ys[] = {3, 3, 2.9, 2.8, 2.5, 1.5, 1, 4};

static double attribute(const char *tag, const char *name) {
    char key[16];
    snprintf(key, sizeof key, " %s=\"", name);
    const char *at = strstr(tag, key);
    assert_non_null(at);
    return strtod(at + strlen(key), NULL);
}

/* No mark's line runs through the box of any text. */
static void check_lines(const char *svg) {
    for (const char *line = svg; (line = strstr(line, "<line class=\"mark\"")) != NULL; line++) {
        double x = attribute(line, "x1"), top = attribute(line, "y1");
        for (const char *tag = svg; (tag = strstr(tag, "<text ")) != NULL; tag++) {
            char word[256] = "";
            const char *start = strchr(tag, '>') + 1;
            snprintf(word, sizeof word, "%.*s", (int)strcspn(start, "<"), start);
            if (strncmp(word, "mark", 4) != 0)
                continue;
            double left = attribute(tag, "x"), base = attribute(tag, "y");
            double right = left + kn_chart_text_width(word, 12);
            if (x > left && x < right && top < base)
                fail_msg("a line at %g from %g runs through \"%s\" at %g..%g, %g", x, top, word,
                         left, right, base);
        }
    }
}

static char *draw(const kn_chart *chart) {
    kn_text svg = {0};
    kn_chart_svg(&svg, chart);
    assert_false(svg.failed);
    svg_check(svg.data);
    check_lines(svg.data);
    return svg.data;
}

static void marks_have_lines_and_labels(void **state) {
    (void)state;
    const kn_series series = {NULL, xs, ys, 8, false};
    const kn_mark marks[] = {{2e-2, "mark valley 0.02"}, {3e-2, "mark steep & co"},
                             {1e-2, "mark minimum"},     {NAN, "mark none"},
                             {-1, "mark below"},         {1, "mark at the end"}};
    const kn_chart chart = {
        .series = &series, .series_count = 1, .log_x = true, .marks = marks, .mark_count = 6};
    char *svg = draw(&chart);
    assert_int_equal(svg_count(svg, "<line class=\"mark\""), 4);
    svg_contains(svg, ">mark valley 0.02</text>");
    svg_contains(svg, ">mark steep &amp; co</text>");
    svg_contains(svg, ">mark at the end</text>");
    assert_int_equal(svg_count(svg, ">mark none<"), 0);
    assert_int_equal(svg_count(svg, ">mark below<"), 0);
    free(svg);
}

/* A mark outside the points widens the axis; without points there is nothing to mark. */
static void the_axis_holds_the_marks(void **state) {
    (void)state;
    const kn_series series = {NULL, xs, ys, 8, false};
    const kn_mark mark = {1e3, "mark"};
    kn_chart chart = {
        .series = &series, .series_count = 1, .log_x = true, .marks = &mark, .mark_count = 1};
    char *svg = draw(&chart);
    svg_contains(svg, ">1000</text>");
    free(svg);
    chart.series_count = 0;
    svg = draw(&chart);
    svg_contains(svg, ">no data</text>");
    assert_int_equal(svg_count(svg, "class=\"mark\""), 0);
    free(svg);
}

static void any_marks_give_a_sound_chart(void **state) {
    (void)state;
    static const char *const labels[] = {"mark",
                                         "mark 0.01",
                                         "mark valley 0.00123",
                                         "mark with a label far too long for its chart",
                                         "mark co",
                                         "mark MMMMMMMMMM"};
    for (uint32_t trial = 0; trial < 3000; trial++) {
        kn_rng rng = kn_rng_at(7, KN_RANDOM_USER, 1, 0, trial);
        kn_mark marks[KN_CHART_MARKS];
        int count = (int)kn_rng_below(&rng, trial % 10 == 0 ? KN_CHART_MARKS + 1 : 6);
        double near = kn_rng_uniform(&rng) * 3;
        for (int i = 0; i < count; i++)
            marks[i] =
                (kn_mark){pow(10, -near * kn_rng_uniform(&rng) - 1), labels[kn_rng_below(&rng, 6)]};
        if (count > 1 && trial % 3 == 0)
            marks[1].x = marks[0].x;
        const kn_series series = {trial % 2 == 0 ? "s" : NULL, xs, ys, 8, false};
        const kn_chart chart = {.title = "t",
                                .x_title = trial % 5 == 0 ? NULL : "x",
                                .series = &series,
                                .series_count = 1,
                                .log_x = trial % 4 != 0,
                                .marks = marks,
                                .mark_count = count,
                                .width = 240 + (int)kn_rng_below(&rng, 600),
                                .height = 160 + (int)kn_rng_below(&rng, 300)};
        char *svg = draw(&chart);
        assert_int_equal(svg_count(svg, "<line class=\"mark\""), count);
        if (count < 6 && chart.height >= 350)
            assert_int_equal(svg_count(svg, ">mark"), count);
        free(svg);
    }
}

static void charts_stand_one_above_the_other(void **state) {
    (void)state;
    const kn_series series = {NULL, xs, ys, 8, false};
    kn_chart charts[] = {
        {.title = "first", .series = &series, .series_count = 1, .height = 200},
        {.title = "second", .series = &series, .series_count = 1, .log_x = true, .width = 800},
        {.title = "third"}};
    kn_text all = {0}, one = {0};
    kn_charts_svg(&all, charts, 3);
    svg_contains(all.data, "width=\"800\" height=\"1000\" viewBox=\"0 0 800 1000\"");
    svg_contains(all.data, "<svg y=\"0\" width=\"720\" height=\"200\">");
    svg_contains(all.data, "<svg y=\"200\" width=\"800\" height=\"400\">");
    svg_contains(all.data, "<svg y=\"600\" width=\"720\" height=\"400\">");
    assert_int_equal(svg_count(all.data, "<style>"), 1);
    assert_int_equal(svg_count(all.data, "</svg>"), 4);
    for (int i = 0; i < 3; i++) { /* each is drawn as it is alone */
        one.length = 0;
        kn_chart_svg(&one, &charts[i]);
        char *body = strstr(one.data, "class=\"back\"");
        body = strchr(body, '\n') + 1;
        *strstr(body, "</svg>") = '\0';
        svg_contains(all.data, body);
    }
    kn_text_free(&all);
    kn_text_free(&one);
}

static void they_are_written_or_refused(void **state) {
    (void)state;
    char path[] = "/tmp/kiln-marks-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    const kn_series series = {NULL, xs, ys, 8, false};
    const kn_mark marks[KN_CHART_MARKS + 1] = {{0}};
    kn_chart charts[] = {{.series = &series, .series_count = 1},
                         {.series = &series, .series_count = 1}};
    kn_error error = {0};
    assert_int_equal(kn_charts_write(charts, 2, path, NULL, &error), KN_OK);
    assert_int_equal(kn_charts_write(charts, 2, "/nonexistent/c.svg", NULL, &error), KN_ERR_IO);
    charts[1].marks = marks;
    charts[1].mark_count = KN_CHART_MARKS + 1;
    error = (kn_error){0};
    assert_int_equal(kn_charts_write(charts, 2, path, NULL, &error), KN_ERR_ARG);
    check_contains(error.message, "33 marks");
    error = (kn_error){0};
    assert_int_equal(kn_chart_write(&charts[1], path, NULL, &error), KN_ERR_ARG);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_have_lines_and_labels),
        cmocka_unit_test(the_axis_holds_the_marks),
        cmocka_unit_test(any_marks_give_a_sound_chart),
        cmocka_unit_test(charts_stand_one_above_the_other),
        cmocka_unit_test(they_are_written_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
