/* test_lr_suggest.c - the four readings of a curve of losses, against numbers that
 * tools/make_lr_find_goldens.py made from fastai's definitions, and on curves too short for them.
 */
#include "support/model_case.h"

#include <kiln/lr_find.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 128 };

static bool ends_in_noisy(const char *name) {
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, "noisy") == 0;
}

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

/* As curve() of the tool, operation for operation. */
static double loss_at(const char *name, int i, int count) {
    double t = (double)i / count, fall = t - 0.5;
    if (begins(name, "parabola"))
        return 1 + (t - 0.75) * (t - 0.75) * 4;
    if (begins(name, "cliff"))
        return t < 0.5 ? 2.25 : t < 0.75 ? 2.25 - fall * 3 - fall * fall : 1.25 + fall * 32;
    if (begins(name, "stairs")) {
        int step = i / 6;
        return 3 - step * 0.125 - step * step / 1024.0;
    }
    if (begins(name, "rising"))
        return 1 + t * t;
    return begins(name, "falling") ? 3 - 2 * t * t : 2;
}

static void make_curve(const char *name, int count, double *lr, double *loss) {
    static const double quarter[] = {1024, 1218, 1448, 1722};
    uint32_t state = 1;
    for (int i = 0; i < count; i++) {
        state = state * 1664525U + 1013904223U;
        double noise = ((double)(state >> 20) - 2048) / 4096;
        lr[i] = ldexp(quarter[i % 4] / 1024, i / 4 - 20);
        loss[i] = loss_at(name, i, count) + (ends_in_noisy(name) ? noise / 16 : 0);
    }
}

static void check_rate(const char *name, const char *which, double got, double want) {
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= 1e-15 * want))
        fail_msg("%s: %s is %.17g, expected %.17g", name, which, got, want);
}

static void the_readings_are_those_of_fastai(void **state) {
    FILE *f = fopen(KN_TEST_DIR "/data/lr_find_golden.txt", "r");
    assert_non_null(f);
    char name[32];
    int count, curves = 0;
    kn_lr_suggestion want, got;
    while (fscanf(f, "%31s %d %lf %lf %lf %lf", name, &count, &want.valley, &want.steep,
                  &want.minimum, &want.slide) == 6) {
        double lr[MOST], loss[MOST];
        assert_in_range(count, 1, MOST);
        make_curve(name, count, lr, loss);
        assert_int_equal(kn_lr_suggest(*state, lr, loss, count, &got), KN_OK);
        check_rate(name, "valley", got.valley, want.valley);
        check_rate(name, "steep", got.steep, want.steep);
        check_rate(name, "minimum", got.minimum, want.minimum);
        check_rate(name, "slide", got.slide, want.slide);
        curves++;
    }
    fclose(f);
    assert_int_equal(curves, 14);
}

static void short_curves_suggest_nothing(void **state) {
    const double lr[] = {1e-7, 2e-7, 4e-7, 8e-7}, loss[] = {3, 2, 2.5, 2.75};
    for (int count = 0; count <= 3; count++) {
        kn_lr_suggestion got;
        assert_int_equal(kn_lr_suggest(*state, lr, loss, count, &got), KN_OK);
        assert_true(isnan(got.valley) && isnan(got.steep) && isnan(got.minimum) &&
                    isnan(got.slide));
    }
    /* A fall of two points at the very start: fastai's index is -1, and Python counts that from the
     * end, which here would be the highest rate. */
    kn_lr_suggestion got;
    assert_int_equal(kn_lr_suggest(*state, lr, loss, 4, &got), KN_OK);
    assert_true(got.valley == lr[0]); // NOLINT(clang-diagnostic-float-equal)
    assert_true(isnan(got.slide));
}

static void lack_of_memory_is_reported(void **state) {
    double lr[20], loss[20];
    make_curve("parabola", 20, lr, loss);
    kn_lr_suggestion got;
    counted *memory = model_case_memory();
    memory->fail_at = memory->made + 1;
    assert_int_equal(kn_lr_suggest(*state, lr, loss, 20, &got), KN_ERR_MEMORY);
    memory->fail_at = 0;
    check_error(*state, KN_ERR_MEMORY, "the rate finder");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(the_readings_are_those_of_fastai),
        MODEL_CASE(short_curves_suggest_nothing),
        MODEL_CASE(lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
