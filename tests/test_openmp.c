/* test_openmp.c - the cpu device among the settings of a program that uses OpenMP itself: whatever
 * team it gets, the results are right, and the program's settings are as they were. */
#include "support/check.h"

#include <kiln/layers.h>
#include <kiln/ops.h>

#include <string.h>

enum { N = 8, SIDE = 16, CLASSES = 10, NUMBERS = N * CLASSES };

#ifdef _OPENMP
#include <omp.h>

static kn_ctx *open_ctx(int threads) {
    kn_ctx *ctx = NULL;
    assert_int_equal(
        kn_ctx_new(&ctx, (kn_ctx_opts){.device = test_device(), .threads = threads}, NULL), KN_OK);
    return ctx;
}

/* One training step's loss, and predictions after it. */
static void train_a_step(int threads, float out[NUMBERS + 1]) {
    kn_ctx *ctx = open_ctx(threads);
    kn_module *m = kn_simple_cnn(ctx, CLASSES);
    int32_t label[N];
    for (int i = 0; i < N; i++)
        label[i] = i;
    kn_tensor *x = kn_full(ctx, KN_SHAPE(N, SIDE, SIDE, 3), 0.25f);
    kn_tensor *loss =
        kn_cross_entropy(ctx, kn_forward(m, x), kn_from(ctx, KN_I32, KN_SHAPE(N), label));
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    out[NUMBERS] = (float)kn_item(ctx, loss);
    kn_step_end(ctx);
    kn_grad_enable(ctx, false);
    x = kn_full(ctx, KN_SHAPE(N, SIDE, SIDE, 3), 0.5f);
    check_read(ctx, kn_softmax(ctx, kn_forward(m, x)), NUMBERS, out);
    check_good(ctx, "a step");
    kn_module_free(m);
    kn_ctx_free(ctx);
}

static void near(const float *got, const float *want) {
    check_numbers("a step", NUMBERS + 1, got, want, 1e-5);
}

static void settings_are_left_as_they_were(void **state) {
    (void)state;
    float out[NUMBERS + 1];
    omp_set_num_threads(3);
    train_a_step(1, out);
    assert_int_equal(omp_get_max_threads(), 3);
    train_a_step(2, out);
    assert_int_equal(omp_get_max_threads(), 3);
    omp_set_dynamic(1);
    train_a_step(2, out);
    assert_true(omp_get_dynamic());
    assert_int_equal(omp_get_max_threads(), 3);
    omp_set_dynamic(0);
}

/* Where teams may be smaller than was asked for. */
static void dynamic_teams(void **state) {
    (void)state;
    float want[NUMBERS + 1], got[NUMBERS + 1];
    train_a_step(2, want);
    omp_set_dynamic(1);
    train_a_step(2, got);
    omp_set_dynamic(0);
    near(got, want);
}

/* Where there are none. */
static void no_teams(void **state) {
    (void)state;
    float want[NUMBERS + 1], got[NUMBERS + 1];
    int levels = omp_get_max_active_levels();
    train_a_step(2, want);
    omp_set_max_active_levels(0);
    train_a_step(2, got);
    omp_set_max_active_levels(levels);
    near(got, want);
}

/* There is one thread for each. */
static void inside_a_parallel_region(void **state) {
    (void)state;
    float want[NUMBERS + 1], got[2][NUMBERS + 1];
    train_a_step(2, want);
    memset(got, 0, sizeof got);
#pragma omp parallel num_threads(2)
    train_a_step(2, got[omp_get_thread_num()]);
    near(got[0], want);
    near(got[1], want);
}

#else

static void settings_are_left_as_they_were(void **state) {
    (void)state;
    skip();
}
#define dynamic_teams            settings_are_left_as_they_were
#define no_teams                 settings_are_left_as_they_were
#define inside_a_parallel_region settings_are_left_as_they_were

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_left_as_they_were),
        cmocka_unit_test(dynamic_teams),
        cmocka_unit_test(no_teams),
        cmocka_unit_test(inside_a_parallel_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
