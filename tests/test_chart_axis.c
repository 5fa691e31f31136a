/* test_chart_axis.c - where an axis ends and which ticks it has. */
#include "formats/chart_parts.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void check_ticks(kn_axis axis, double low, double high, double pixels, bool horizontal,
                        const char *expected) {
    char got[512] = "";
    axis.low = low;
    axis.high = high;
    kn_axis_choose_ticks(&axis, pixels, horizontal);
    for (int i = 0; i < axis.ticks; i++)
        if (!axis.tick[i].minor)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", axis.tick[i].label);
    assert_string_equal(got, expected);
}

static void ticks_are_round(void **state) {
    (void)state;
    const kn_axis linear = {.log = false}, whole = {.whole = true}, logarithmic = {.log = true};
    check_ticks(whole, -0.1, 7.1, 640, true, "0 1 2 3 4 5 6 7 ");
    check_ticks(whole, -0.1, 2.1, 640, true, "0 1 2 ");
    check_ticks(whole, 2.5, 3.5, 640, true, "3 ");
    check_ticks(whole, -9, 600, 640, true, "0 50 100 150 200 250 300 350 400 450 500 550 600 ");
    check_ticks(linear, 0, 1, 280, false, "0.0 0.2 0.4 0.6 0.8 1.0 ");
    check_ticks(linear, 0, 0.105, 280, false, "0.00 0.02 0.04 0.06 0.08 0.10 ");
    check_ticks(linear, -1.1, 1.1, 280, false, "-1.0 -0.5 0.0 0.5 1.0 ");
    check_ticks(linear, 0, 1.05e-4, 280, false, "0 2e-5 4e-5 6e-5 8e-5 1e-4 ");
    check_ticks(linear, 0, 2.1e13, 280, false, "0 5e12 1e13 1.5e13 2e13 ");
    check_ticks(linear, -2.1e-280, 0, 200, false, "-2e-280 -1.5e-280 -1e-280 -5e-281 0 ");
    check_ticks(linear, 0.99997, 1.00003, 200, false, "0.99998 1.00000 1.00002 ");
    check_ticks(logarithmic, -7.1, 1.1, 640, true, "1e-7 1e-6 1e-5 1e-4 0.001 0.01 0.1 1 10 ");
    check_ticks(logarithmic, -3.02, -1.3, 640, true, "0.001 0.002 0.005 0.01 0.02 0.05 ");
    check_ticks(logarithmic, log10(0.0019), log10(0.0061), 640, true,
                "0.002 0.003 0.004 0.005 0.006 ");
    check_ticks(logarithmic, -280, 280, 640, true,
                "1e-240 1e-180 1e-120 1e-60 1 1e60 1e120 1e180 1e240 ");
}

static void check_ends(kn_axis axis, double low, double high, double margin, double expected_low,
                       double expected_high) {
    kn_axis_fit(&axis, low, high, margin);
    assert_true(fabs(axis.low - expected_low) <= 1e-12 * fabs(expected_low));
    assert_true(fabs(axis.high - expected_high) <= 1e-12 * fabs(expected_high));
}

static void every_axis_has_a_range(void **state) {
    (void)state;
    const kn_axis linear = {.log = false}, whole = {.whole = true}, logarithmic = {.log = true};
    check_ends(linear, 1, 3, 0.05, 0.9, 3.1);
    check_ends(linear, 1, 3, 0, 1, 3);
    check_ends(linear, 0.1, 0.1, 0.05, 0.09, 0.11);
    check_ends(linear, -5, -5, 0.05, -5.5, -4.5);
    check_ends(linear, 0, 0, 0.05, -1, 1);
    check_ends(linear, -1e-300, 1e-300, 0.05, -1, 1);
    check_ends(linear, 999999.9, 1e6, 0.05, 899999.9, 1.1e6);
    check_ends(whole, 3, 3, 0.05, 2.5, 3.5);
    check_ends(logarithmic, -3, -3, 0.05, -3 - 1.0 / 3, -3 + 1.0 / 3);
    check_ends(logarithmic, -3, 1, 0.05, -3.2, 1.2);
}

/* A minor mark is where 2 to 9 times a power of ten is, and is not where a label is. */
static void minor_marks_fill_decades(void **state) {
    (void)state;
    kn_axis axis = {.log = true, .low = -2, .high = 1};
    kn_axis_choose_ticks(&axis, 250, true);
    int labels = 0, marks = 0;
    for (int i = 0; i < axis.ticks; i++) {
        labels += !axis.tick[i].minor;
        marks += axis.tick[i].minor;
        assert_true(i == 0 || axis.tick[i].at > axis.tick[i - 1].at);
    }
    assert_int_equal(labels, 4);
    assert_int_equal(marks, 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round),
        cmocka_unit_test(every_axis_has_a_range),
        cmocka_unit_test(minor_marks_fill_decades),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
