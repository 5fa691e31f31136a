/* test_chart.c - the SVG is well formed, nothing in it overlaps or leaves the picture whatever the
 * numbers, and the lines show what they were given. */
#include <kiln/chart.h>
#include <kiln/random.h>

#include "core/ctx.h"
#include "core/file.h"
#include "core/utf8.h"
#include "formats/chart_parts.h"

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

static int count_of(const char *text, const char *part) {
    int count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static void assert_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %.3000s", part, text);
}

/* ---- what every chart must satisfy ---- */

/* Balanced tags, attributes in quotes, no stray < or &, UTF-8. */
static void check_xml(const char *svg) {
    char open[16][16];
    int depth = 0, roots = 0;
    assert_true(kn_utf8_valid(svg, strlen(svg)));
    for (const char *c = svg; *c != '\0';) {
        if (*c == '&') {
            size_t name = strspn(c + 1, "abcdefghijklmnopqrstuvwxyz#0123456789");
            assert_true(name > 0 && c[1 + name] == ';');
        }
        if (*c != '<') {
            assert_true((unsigned char)*c >= 0x20 || *c == '\n');
            c++;
            continue;
        }
        bool closing = c[1] == '/';
        char tag[16] = "";
        assert_int_equal(sscanf(c + 1 + closing, "%15[a-z]", tag), 1);
        const char *end = c + 1;
        for (bool quoted = false; *end != '>' || quoted; end++) {
            assert_true(*end != '\0' && *end != '<');
            quoted = quoted != (*end == '"');
        }
        if (closing)
            assert_true(depth > 0 && strcmp(open[--depth], tag) == 0);
        else if (end[-1] != '/') {
            assert_true(depth < 16);
            roots += depth == 0;
            strcpy(open[depth++], tag);
        }
        c = end + 1;
    }
    assert_int_equal(depth, 0);
    assert_int_equal(roots, 1);
}

typedef struct {
    double left, top, right, bottom;
    char text[512];
} box;

/* The value of an attribute within the tag that starts at tag; NAN when it is not there. */
static double attribute(const char *tag, const char *name) {
    char search[32];
    snprintf(search, sizeof search, " %s=\"", name);
    const char *at = strstr(tag, search);
    return at != NULL && at < strchr(tag, '>') ? strtod(at + strlen(search), NULL) : NAN;
}

static bool tag_has(const char *tag, const char *part) {
    const char *at = strstr(tag, part);
    return at != NULL && at < strchr(tag, '>');
}

/* The box of a <text>, by the width the library assumes and a tall font's height. */
static box box_of(const char *tag) {
    box b;
    const char *text = strchr(tag, '>') + 1;
    size_t used = 0;
    while (*text != '<') {
        assert_true(used < sizeof b.text - 1);
        b.text[used++] = *text == '&' ? 'n' : *text; /* an entity is about as wide as n */
        text += *text == '&' ? strcspn(text, ";") + 1 : 1;
    }
    b.text[used] = '\0';
    double x = attribute(tag, "x"), y = attribute(tag, "y"), size = attribute(tag, "font-size");
    double width = kn_chart_text_width(b.text, size) * (tag_has(tag, "font-weight") ? 1.12 : 1);
    double before = tag_has(tag, "\"middle\"") ? width / 2 : tag_has(tag, "\"end\"") ? width : 0;
    double above = 0.95 * size, below = 0.25 * size;
    if (tag_has(tag, "rotate(-90 ")) {
        b.left = x - above, b.right = x + below, b.top = y - width + before, b.bottom = y + before;
    } else {
        b.left = x - before, b.right = x - before + width, b.top = y - above, b.bottom = y + below;
    }
    return b;
}

/* No two texts overlap, all lie in the picture. */
static void check_texts(const char *svg, double width, double height) {
    static box boxes[400];
    int count = 0;
    for (const char *tag = svg; (tag = strstr(tag, "<text ")) != NULL; tag++) {
        assert_true(count < (int)KN_COUNT(boxes));
        boxes[count++] = box_of(tag);
    }
    for (int i = 0; i < count; i++) {
        const box *a = &boxes[i];
        if (a->left < 0 || a->top < 0 || a->right > width + 0.2 || a->bottom > height)
            fail_msg("\"%s\" at %g..%g, %g..%g leaves the picture", a->text, a->left, a->right,
                     a->top, a->bottom);
        for (int k = 0; k < i; k++) {
            const box *b = &boxes[k];
            if (a->left < b->right && b->left < a->right && a->top < b->bottom &&
                b->top < a->bottom)
                fail_msg("\"%s\" and \"%s\" overlap", a->text, b->text);
        }
    }
}

/* Every number of a path, and every line and circle, lies in the picture. */
static void check_bounds(const char *svg, double width, double height) {
    for (const char *tag = svg; (tag = strstr(tag, " d=\"")) != NULL; tag++) {
        const char *c = tag + 4;
        while (*c != '"') {
            size_t letters = strspn(c, "M h");
            bool relative = memchr(c, 'h', letters) != NULL;
            c += letters;
            char *end;
            double x = strtod(c, &end);
            if (!relative) {
                assert_true(x >= 0 && x <= width && *end == ',');
                double y = strtod(end + 1, &end);
                assert_true(y >= 0 && y <= height);
            }
            c = end;
        }
    }
    static const char *const horizontal[] = {"x1", "x2", "cx"}, *const vertical[] = {"y1", "y2",
                                                                                     "cy"};
    for (const char *tag = svg; (tag = strchr(tag, '<')) != NULL; tag++)
        for (int i = 0; i < 3 && tag[1] != '/'; i++) {
            double x = attribute(tag, horizontal[i]), y = attribute(tag, vertical[i]);
            assert_true(isnan(x) || (x >= 0 && x <= width));
            assert_true(isnan(y) || (y >= 0 && y <= height));
        }
}

static void check(const char *svg) {
    double width = attribute(svg, "width"), height = attribute(svg, "height");
    check_xml(svg);
    check_texts(svg, width, height);
    check_bounds(svg, width, height);
}

/* ---- content ---- */

static const double epochs[] = {0, 1, 2, 3, 4, 5, 6, 7};
static const double train[] = {2.2, 2.0, 1.8, 1.7, 1.6, 1.6, 1.5, 1.5};
static const double valid[] = {2.1, 2.0, 1.9, 1.8, 1.7, 1.6, 1.6, 1.5};

static void words_are_there(void **state) {
    (void)state;
    const kn_series series[] = {{"training", epochs, train, 8}, {"validation", epochs, valid, 8}};
    kn_chart chart = {.title = "Loss of a run",
                      .x_title = "epoch number",
                      .y_title = "cross-entropy",
                      .series = series,
                      .series_count = 2};
    char *svg = draw(&chart);
    check(svg);
    static const char *const words[] = {
        ">Loss of a run</text>", ">epoch number</text>",         ">cross-entropy</text>",
        ">training</text>",      ">validation</text>",           ">7</text>",
        ">1.8</text>",           "width=\"720\" height=\"400\"", "prefers-color-scheme: dark"};
    for (size_t i = 0; i < KN_COUNT(words); i++)
        assert_contains(svg, words[i]);
    assert_int_equal(count_of(svg, "<circle"), 16);
    assert_int_equal(count_of(svg, "class=\"s0 d0\""), 2); /* line and legend */
    assert_int_equal(count_of(svg, "class=\"s1 d1\""), 2);
    free(svg);

    const kn_series unnamed = {NULL, epochs, train, 8};
    chart = (kn_chart){.series = &unnamed, .series_count = 1, .width = 400, .height = 300};
    svg = draw(&chart);
    check(svg);
    assert_int_equal(count_of(svg, "class=\"s0 d0\""), 1);
    assert_contains(svg, "viewBox=\"0 0 400 300\"");
    free(svg);
}

static void text_is_escaped_and_cut(void **state) {
    (void)state;
    const kn_series series = {"<script>\"'&\xFF\x01\n\xEF\xBF\xBF", epochs, train, 8};
    kn_chart chart = {.title = "a & b < c", .series = &series, .series_count = 1};
    char *svg = draw(&chart);
    check(svg);
    assert_contains(svg, ">a &amp; b &lt; c</text>");
    assert_contains(svg,
                    ">&lt;script&gt;&quot;&#39;&amp;\xEF\xBF\xBD\xEF\xBF\xBD \xEF\xBF\xBD</text>");
    free(svg);
    char name[400] = "";
    for (int i = 0; i < 66; i++)
        strcat(name, i % 2 ? "\xE6\x97\xA5" : "wide ");
    kn_series many[30];
    for (int i = 0; i < 30; i++)
        many[i] = (kn_series){i % 3 ? "short" : name, epochs, train, 8};
    chart = (kn_chart){.title = name,
                       .x_title = name,
                       .y_title = name,
                       .series = many,
                       .series_count = 30,
                       .width = 240,
                       .height = 160};
    svg = draw(&chart);
    check(svg);
    assert_contains(svg, "\xE2\x80\xA6</text>");
    assert_contains(svg, ">and 29 more</text>");
    free(svg);
}

static void without_points_it_says_so(void **state) {
    (void)state;
    const double nothing[] = {NAN, INFINITY, -INFINITY, 1e300};
    const double negative[] = {-1, 0, -2, -0.0};
    const kn_series undefined = {"n", epochs, nothing, 4}, below = {"b", negative, train, 4};
    kn_chart charts[] = {
        {.title = "T"},
        {.series = &undefined, .series_count = 1},
        {.series = &below, .series_count = 1, .log_x = true},
    };
    for (size_t i = 0; i < KN_COUNT(charts); i++) {
        char *svg = draw(&charts[i]);
        check(svg);
        assert_contains(svg, ">no data</text>");
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
    kn_series series = {NULL, epochs, y, 8};
    const kn_chart chart = {.series = &series, .series_count = 1};
    char *svg = draw(&chart), *line = path_of(svg);
    check(svg);
    assert_int_equal(count_of(line, "M"), 2);
    assert_int_equal(count_of(line, ","), 5);
    assert_int_equal(count_of(svg, "<circle"), 6);
    free(line);
    free(svg);
    series.count = 1;
    svg = draw(&chart);
    check(svg);
    assert_int_equal(count_of(svg, "<circle"), 1);
    assert_contains(svg, ">0</text>"); /* its place on both axes is labelled */
    assert_contains(svg, ">1.00</text>");
    free(svg);
}

static void lines_are_clipped_to_a_given_range(void **state) {
    (void)state;
    const double y[] = {0.5, 0.5, 100, 1e200, -1e200, 0.25, 0.75, 0.75};
    const kn_series series = {NULL, epochs, y, 8};
    const kn_chart chart = {.series = &series, .series_count = 1, .y_min = 0, .y_max = 1};
    char *svg = draw(&chart), *line = path_of(svg);
    check(svg);
    double top = 22, bottom = 368; /* of the plot, without titles */
    for (const char *c = line; (c = strchr(c, ',')) != NULL; c++) {
        double at = strtod(c + 1, NULL);
        assert_true(at >= top && at <= bottom);
    }
    assert_int_equal(count_of(line, "M"), 3); /* up and out, straight down, back in */
    assert_int_equal(count_of(svg, "<circle"), 5);
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
    const kn_series series = {NULL, x, y, N};
    const kn_chart chart = {.series = &series, .series_count = 1};
    char *svg = draw(&chart), *line = path_of(svg);
    check(svg);
    assert_true(strlen(svg) < 32 * 1024);
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
    assert_true(count_of(line, ",") <= 2 * 720);
    /* Both peaks are still there, at 5% from the plot's ends. */
    assert_true(fabs(highest - (22 + 346 * 0.05 / 1.1)) < 1);
    assert_true(fabs(lowest - (368 - 346 * 0.05 / 1.1)) < 1);
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
        const kn_series series = {"s", x, y, count};
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
        check(svg.data);
        assert_int_equal(count_of(svg.data, "no data"), 0);
        assert_true(count_of(svg.data, "class=\"tick\"") >= 2);
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
        assert_contains(error.message, path);
    }
}

static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    const kn_series series = {"s", epochs, train, 8};
    kn_chart chart = {.title = "old", .series = &series, .series_count = 1};
    kn_error error = {0};
    assert_int_equal(kn_chart_write(&chart, "/nonexistent/c.svg", NULL, &error), KN_ERR_IO);
    assert_contains(error.message, "/nonexistent/c.svg");

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
    assert_contains(error.message, path);
    assert_contains(error.message, strerror(EFBIG));
    char *after = slurp();
    assert_string_equal(after, before);
    free(before);
    free(after);
}

typedef struct {
    int made, live, fail_at;
} counter;

static void *count_alloc(void *user, size_t bytes, size_t align) {
    counter *c = user;
    if (++c->made == c->fail_at)
        return NULL;
    c->live++;
    return kn_default_allocator.alloc(NULL, bytes, align);
}

static void count_free(void *user, void *p) {
    ((counter *)user)->live--;
    kn_default_allocator.free(NULL, p);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const kn_series series = {"s", epochs, train, 8};
    const kn_chart chart = {.title = "t", .series = &series, .series_count = 1};
    kn_status status = KN_ERR_MEMORY;
    int at = 0;
    while (status != KN_OK) {
        counter c = {.fail_at = ++at};
        kn_allocator allocator = {count_alloc, count_free, &c};
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
