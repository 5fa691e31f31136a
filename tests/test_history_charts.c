/* test_history_charts.c - what the charts of a fit show. */
#include "learner/history_charts.h"
#include "support/check.h"
#include "support/svg.h"

#include "core/ctx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 100, ROWS = 2 };

static float loss[STEPS];
static double lr[STEPS], momentum[STEPS];
static const kn_history_row rows[ROWS] = {
    {.epoch = 0, .train_loss = 2, .train_acc = 0.25, .valid_loss = 2, .valid_acc = 0.5},
    {.epoch = 1, .train_loss = 2, .train_acc = 0.75, .valid_loss = 2, .valid_acc = 0.5}};
static const kn_history history = {.row = rows,
                                   .rows = ROWS,
                                   .lr = lr,
                                   .momentum = momentum,
                                   .loss = loss,
                                   .steps = STEPS,
                                   .epoch_steps = STEPS / 2};

/* The chart, which is sound and has this size. */
static char *draw(kn_history_chart chart, const kn_history *h) {
    kn_ctx *ctx = NULL;
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){0}, NULL), KN_OK);
    kn_text out = {0};
    assert_int_equal(kn_history_draw(ctx, h, chart, 340, 240, &out), KN_OK);
    kn_ctx_free(ctx);
    svg_check(out.data);
    svg_contains(out.data, "width=\"340\" height=\"240\"");
    svg_contains(out.data, ">epochs</text>");
    return out.data;
}

/* The y of every point of the n-th line; returns how many. */
static int heights(const char *svg, int n, double *y) {
    const char *at = strstr(svg, "class=\"grid\""); /* past the legend */
    int count = 0;
    for (int i = 0; i <= n; i++)
        at = strstr(at, "<path d=\"") + 9;
    while (*at != '"') {
        char *end;
        at += strspn(at, "M ");
        strtod(at, &end);
        assert_true(*end == ',' && count < 1000);
        y[count++] = strtod(end + 1, &end);
        at = end;
    }
    return count;
}

static void a_constant_loss_stays_constant_smoothed(void **state) {
    (void)state;
    double y[1000];
    for (int i = 0; i < STEPS; i++)
        loss[i] = 2;
    char *svg = draw(KN_HISTORY_LOSS, &history);
    int count = heights(svg, 1, y);
    assert_true(count > 50);
    for (int i = 1; i < count; i++)
        assert_true(y[i] == y[0]); /* no pull towards zero at the start */
    kn_mem_free(NULL, svg);
}

/* After a jump from 1 to 2 half way, 50 steps take the mean to 2 - 0.98^50 (1 - 0.98^50) / (1 -
 * 0.98^100) = 1.733. */
static void a_jump_is_followed_slowly(void **state) {
    (void)state;
    double raw[1000], smooth[1000];
    for (int i = 0; i < STEPS; i++)
        loss[i] = i < STEPS / 2 ? 1 : 2;
    char *svg = draw(KN_HISTORY_LOSS, &history);
    int raws = heights(svg, 0, raw), smooths = heights(svg, 1, smooth);
    double old = pow(0.98, 50) * (1 - pow(0.98, 50)) / (1 - pow(0.98, 100));
    double unit = raw[0] - raw[raws - 1]; /* pixels from 1 to 2 */
    assert_true(unit > 50);
    assert_true(fabs((smooth[0] - smooth[smooths - 1]) / unit - (1 - old)) < 0.005);
    static const char *const words[] = {">each batch</text>", ">training, smoothed</text>",
                                        ">validation</text>", "s0 d0 faint"};
    for (size_t i = 0; i < KN_COUNT(words); i++)
        svg_contains(svg, words[i]);
    kn_mem_free(NULL, svg);
}

static void accuracy_and_rate_are_drawn(void **state) {
    (void)state;
    for (int i = 0; i < STEPS; i++)
        lr[i] = 0.1 * i;
    char *svg = draw(KN_HISTORY_ACCURACY, &history);
    assert_int_equal(svg_count(svg, "<circle"), 4);
    svg_contains(svg, ">share right</text>");
    kn_mem_free(NULL, svg);
    svg = draw(KN_HISTORY_SCHEDULE, &history);
    svg_contains(svg, ">learning rate</text>");
    kn_mem_free(NULL, svg);
    svg = draw(KN_HISTORY_MOMENTUM, &history);
    svg_contains(svg, ">momentum</text>");
    kn_mem_free(NULL, svg);
}

/* A run that is interrupted at once, and one that diverges. */
static void nothing_and_nan_are_no_trouble(void **state) {
    (void)state;
    const kn_history none = {
        .row = rows, .lr = lr, .momentum = momentum, .loss = loss, .epoch_steps = 1};
    for (int i = 0; i < STEPS; i++)
        loss[i] = i < 10 ? 1 : (float)NAN;
    for (int i = 0; i < KN_HISTORY_CHARTS; i++) {
        char *svg = draw((kn_history_chart)i, &none);
        svg_contains(svg, ">no data</text>");
        kn_mem_free(NULL, svg);
        svg = draw((kn_history_chart)i, &history);
        assert_int_equal(svg_count(svg, "nan"), 0);
        kn_mem_free(NULL, svg);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_loss_stays_constant_smoothed),
        cmocka_unit_test(a_jump_is_followed_slowly),
        cmocka_unit_test(accuracy_and_rate_are_drawn),
        cmocka_unit_test(nothing_and_nan_are_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
