/* test_chart.c - the SVG is well formed, nothing in it overlaps or leaves the picture whatever the
 * numbers, and the lines show what they were given. */
#include <kiln/chart.h>
#include <kiln/random.h>

#include "core/ctx.h"
#include "core/file.h"
#include "formats/chart_parts.h"
#include "support/counted.h"
#include "support/svg.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- helpers ---- */

static char folder[] = "/tmp/kiln-chart-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(path, sizeof path, "%s/a.svg", mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails when a temporary file was left */
}

static void *room(void *user, size_t bytes) {
    return *(void **)user = calloc(1, bytes + 1);
}

static char *slurp(void) {
    void *data = NULL;
    size_t size;
    assert_int_equal(kn_file_read(path, 1 << 26, room, &data, &size, NULL), KN_OK);
    return data;
}

static char *draw(const kn_chart *chart) {
    kn_error error = {0};
    if (kn_chart_write(chart, path, NULL, &error) != KN_OK)
        fail_msg("%s", error.message);
    return slurp();
}

/* ---- content ---- */

static const double epochs[] = {0, 1, 2, 3, 4, 5, 6, 7};
static const double train[] = {2.2, 2.0, 1.8, 1.7, 1.6, 1.6, 1.5, 1.5};
static const double valid[] = {2.1, 2.0, 1.9, 1.8, 1.7, 1.6, 1.6, 1.5};

static void words_are_there(void **state) {
    (void)state;
    const kn_series series[] = {{"training", epochs, train, 8, false},
                                {"validation", epochs, valid, 8, false}};
    kn_chart chart = {.title = "Loss of a run",
                      .x_title = "epoch number",
                      .y_title = "cross-entropy",
                      .series = series,
                      .series_count = 2};
    char *svg = draw(&chart);
    svg_check(svg);
    static const char *const words[] = {
        ">Loss of a run</text>", ">epoch number</text>",         ">cross-entropy</text>",
        ">training</text>",      ">validation</text>",           ">7</text>",
        ">1.8</text>",           "width=\"720\" height=\"400\"", "prefers-color-scheme: dark"};
    for (size_t i = 0; i < KN_COUNT(words); i++)
        svg_contains(svg, words[i]);
    assert_int_equal(svg_count(svg, "<circle"), 16);
    assert_int_equal(svg_count(svg, "class=\"s0 d0\""), 2); /* line and legend */
    assert_int_equal(svg_count(svg, "class=\"s1 d1\""), 2);
    free(svg);

    const kn_series unnamed = {NULL, epochs, train, 8, false};
    chart = (kn_chart){.series = &unnamed, .series_count = 1, .width = 400, .height = 300};
    svg = draw(&chart);
    svg_check(svg);
    assert_int_equal(svg_count(svg, "class=\"s0 d0\""), 1);
    svg_contains(svg, "viewBox=\"0 0 400 300\"");
    free(svg);
}

static void text_is_escaped_and_cut(void **state) {
    (void)state;
    const kn_series series = {"<script>\"'&\xFF\x01\n\xEF\xBF\xBF", epochs, train, 8, false};
    kn_chart chart = {.title = "a & b < c", .series = &series, .series_count = 1};
    char *svg = draw(&chart);
    svg_check(svg);
    svg_contains(svg, ">a &amp; b &lt; c</text>");
    svg_contains(svg,
                 ">&lt;script&gt;&quot;&#39;&amp;\xEF\xBF\xBD\xEF\xBF\xBD \xEF\xBF\xBD</text>");
    free(svg);
    char name[400] = "";
    for (int i = 0; i < 66; i++)
        strcat(name, i % 2 ? "\xE6\x97\xA5" : "wide ");
    kn_series many[30];
    for (int i = 0; i < 30; i++)
        many[i] = (kn_series){i % 3 ? "short" : name, epochs, train, 8, false};
    chart = (kn_chart){.title = name,
                       .x_title = name,
                       .y_title = name,
                       .series = many,
                       .series_count = 30,
                       .width = 240,
                       .height = 160};
    svg = draw(&chart);
    svg_check(svg);
    svg_contains(svg, "\xE2\x80\xA6</text>");
    svg_contains(svg, ">and 29 more</text>");
    free(svg);
}

static void without_points_it_says_so(void **state) {
    (void)state;
    const double nothing[] = {NAN, INFINITY, -INFINITY, 1e300};
    const double negative[] = {-1, 0, -2, -0.0};
    const kn_series undefined = {"n", epochs, nothing, 4, false},
                    below = {"b", negative, train, 4, false};
    kn_chart charts[] = {
        {.title = "T"},
        {.series = &undefined, .series_count = 1},
        {.series = &below, .series_count = 1, .log_x = true},
    };
    for (size_t i = 0; i < KN_COUNT(charts); i++) {
        char *svg = draw(&charts[i]);
        svg_check(svg);
        svg_contains(svg, ">no data</text>");
        free(svg);
    }
}

/* The path of the only line: legends are left out by NULL names. */
static char *path_of(const char *svg) {
    const char *start = strstr(svg, " d=\"") + 4;
    return strndup(start, strcspn(start, "\""));
}

static void lines_break_where_points_miss(void **state) {
    (void)state;
    const double y[] = {1, 2, NAN, 3, NAN, 4, 5, 6};
    kn_series series = {NULL, epochs, y, 8, false};
    const kn_chart chart = {.series = &series, .series_count = 1};
    char *svg = draw(&chart), *line = path_of(svg);
    svg_check(svg);
    assert_int_equal(svg_count(line, "M"), 2);
    assert_int_equal(svg_count(line, ","), 5);
    assert_int_equal(svg_count(svg, "<circle"), 6);
    free(line);
    free(svg);
    series.count = 1;
    svg = draw(&chart);
    svg_check(svg);
    assert_int_equal(svg_count(svg, "<circle"), 1);
    svg_contains(svg, ">0</text>"); /* its place on both axes is labelled */
    svg_contains(svg, ">1.00</text>");
    free(svg);
}

static void lines_are_clipped_to_a_given_range(void **state) {
    (void)state;
    const double y[] = {0.5, 0.5, 100, 1e200, -1e200, 0.25, 0.75, 0.75};
    const kn_series series = {NULL, epochs, y, 8, false};
    const kn_chart chart = {.series = &series, .series_count = 1, .y_min = 0, .y_max = 1};
    char *svg = draw(&chart), *line = path_of(svg);
    svg_check(svg);
    double top = 22, bottom = 368; /* of the plot, without titles */
    for (const char *c = line; (c = strchr(c, ',')) != NULL; c++) {
        double at = strtod(c + 1, NULL);
        assert_true(at >= top && at <= bottom);
    }
    assert_int_equal(svg_count(line, "M"), 3); /* up and out, straight down, back in */
    assert_int_equal(svg_count(svg, "<circle"), 5);
    free(line);
    free(svg);
}

static void long_series_are_thinned(void **state) {
    (void)state;
    enum { N = 100000 };
    double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    for (int i = 0; i < N; i++) {
        kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, 0, 0, (uint32_t)i);
        x[i] = i;
        y[i] = i == 70001 ? 10 : i == 70002 ? -10 : kn_rng_uniform(&rng);
    }
    const kn_series series = {NULL, x, y, N, false};
    const kn_chart chart = {.series = &series, .series_count = 1};
    char *svg = draw(&chart), *line = path_of(svg);
    svg_check(svg);
    assert_true(strlen(svg) < 32 * 1024);
    svg_contains(svg, " dense\"");
    int columns[720] = {0};
    double highest = 720, lowest = 0;
    for (const char *c = line; *c != '\0';) {
        char *end;
        c += strspn(c, "M ");
        double at = strtod(c, &end), height = strtod(end + 1, &end);
        columns[(int)at]++;
        highest = fmin(highest, height);
        lowest = fmax(lowest, height);
        c = end;
    }
    for (int i = 0; i < 720; i++)
        assert_true(columns[i] <= 4); /* 2, and 2 that were rounded into the next column */
    assert_true(svg_count(line, ",") <= 2 * 720);
    /* Both peaks are still there, at 5% from the plot's ends. */
    assert_true(fabs(highest - (22 + 346 * 0.05 / 1.1)) < 1);
    assert_true(fabs(lowest - (368 - 346 * 0.05 / 1.1)) < 1);
    free(svg);
    for (int i = 0; i < N; i++)
        y[i] = sin(i * 1e-4);
    svg = draw(&chart);
    assert_int_equal(svg_count(svg, " dense\""), 0); /* as long, but smooth */
    for (int i = 0; i < N; i += 2)
        y[i] = NAN; /* single points: circles, but not one for each */
    free(svg);
    svg = draw(&chart);
    assert_true(strlen(svg) < 256 * 1024);
    free(svg);
    free(line);
    free(x);
    free(y);
}

/* Numbers of every size, charts of every size: ticks never touch, nothing leaves the picture. */
static void any_numbers_give_a_sound_chart(void **state) {
    (void)state;
    for (uint32_t trial = 0; trial < 3000; trial++) {
        kn_rng rng = kn_rng_at(7, KN_RANDOM_USER, 0, 0, trial);
        double x[64], y[64];
        int count = (int)kn_rng_below(&rng, 64) + 1;
        bool log_x = kn_rng_below(&rng, 3) == 0, whole = kn_rng_below(&rng, 2) == 0;
        int spread = trial % 4 == 0 ? 560 : 16;
        double scale_x = pow(10, (kn_rng_uniform(&rng) - 0.5) * spread);
        double scale_y = pow(10, (kn_rng_uniform(&rng) - 0.5) * spread);
        double offset = kn_rng_below(&rng, 3) == 0 ? scale_y * 1e5 * kn_rng_normal(&rng) : 0;
        for (int i = 0; i < count; i++) {
            x[i] = log_x ? scale_x * exp(2 * kn_rng_normal(&rng)) : whole ? i : scale_x * i;
            y[i] = offset + scale_y * kn_rng_normal(&rng);
        }
        const kn_series series = {"s", x, y, count, false};
        const kn_chart chart = {.title = "t",
                                .x_title = "x",
                                .y_title = "y",
                                .series = &series,
                                .series_count = 1,
                                .log_x = log_x,
                                .width = 240 + (int)kn_rng_below(&rng, 600),
                                .height = 160 + (int)kn_rng_below(&rng, 300)};
        kn_text svg = {0};
        kn_chart_svg(&svg, &chart);
        svg_check(svg.data);
        assert_int_equal(svg_count(svg.data, "no data"), 0);
        assert_true(svg_count(svg.data, "class=\"tick\"") >= 2);
        kn_text_free(&svg);
    }
}

/* ---- failing ---- */

static void wrong_sizes_are_refused(void **state) {
    (void)state;
    const kn_chart bad[] = {{.width = 239},           {.width = -1}, {.height = 8193},
                            {.y_min = 1, .y_max = 1}, {.y_min = 1},  {.y_max = NAN},
                            {.y_max = INFINITY}};
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        kn_error error = {0};
        assert_int_equal(kn_chart_write(&bad[i], path, NULL, &error), KN_ERR_ARG);
        svg_contains(error.message, path);
    }
}

static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    const kn_series series = {"s", epochs, train, 8, false};
    kn_chart chart = {.title = "old", .series = &series, .series_count = 1};
    kn_error error = {0};
    assert_int_equal(kn_chart_write(&chart, "/nonexistent/c.svg", NULL, &error), KN_ERR_IO);
    svg_contains(error.message, "/nonexistent/c.svg");

    char *before = draw(&chart);
    struct rlimit saved, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small = (struct rlimit){100, saved.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    chart.title = "new";
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    error = (kn_error){0};
    kn_status status = kn_chart_write(&chart, path, NULL, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
    assert_int_equal(status, KN_ERR_IO);
    svg_contains(error.message, path);
    svg_contains(error.message, strerror(EFBIG));
    char *after = slurp();
    assert_string_equal(after, before);
    free(before);
    free(after);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const kn_series series = {"s", epochs, train, 8, false};
    const kn_chart chart = {.title = "t", .series = &series, .series_count = 1};
    kn_status status = KN_ERR_MEMORY;
    int at = 0;
    while (status != KN_OK) {
        counted c = {.fail_at = ++at};
        kn_allocator allocator = counted_allocator(&c);
        kn_error error = {0};
        status = kn_chart_write(&chart, path, &allocator, &error);
        assert_true(status == KN_OK || (status == KN_ERR_MEMORY && error.status == status));
        assert_int_equal(c.live, 0);
    }
    assert_true(at > 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_there),
        cmocka_unit_test(text_is_escaped_and_cut),
        cmocka_unit_test(without_points_it_says_so),
        cmocka_unit_test(lines_break_where_points_miss),
        cmocka_unit_test(lines_are_clipped_to_a_given_range),
        cmocka_unit_test(long_series_are_thinned),
        cmocka_unit_test(any_numbers_give_a_sound_chart),
        cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
