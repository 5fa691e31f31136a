/* test_cross_entropy.c - cross entropy with options: its bits are those of the plain one where the
 * options ask for nothing, and what it refuses. Values and gradients: tests/test_ops.c. */
#include "support/check.h"
#include "support/counted.h"
#include "support/numbers.h"

#include <kiln/ops.h>

#include "core/ctx.h"

#include <math.h>
#include <string.h>

enum { N = 37, CLASSES = 11 };

static counted memory;
static kn_ctx *ctx;

static int open_context(void **state) {
    (void)state;
    ctx = counted_ctx(&memory, test_device());
    return 0;
}

static int close_context(void **state) {
    (void)state;
    counted_ctx_free(&memory, ctx);
    return 0;
}

/* ---- bits ---- */

/* The loss, then its gradient. */
enum { NUMBERS = 1 + N * CLASSES };

typedef union numbers {
    float value[NUMBERS];
    uint32_t bits[NUMBERS];
} numbers;

typedef kn_tensor *(*form)(kn_tensor *x, kn_tensor *y);

static kn_tensor *weights(void) {
    float w[CLASSES];
    numbers_fill(POSITIVE, 3, 0, CLASSES, w);
    return kn_from(ctx, KN_F32, KN_SHAPE(CLASSES), w);
}

static kn_tensor *other_target(void) {
    int32_t y[N];
    numbers_fill(INDEX, 4, CLASSES, N, y);
    return kn_from(ctx, KN_I32, KN_SHAPE(N), y);
}

static kn_tensor *shares(float share) {
    return kn_full(ctx, KN_SHAPE(N), share);
}

static kn_tensor *plain(kn_tensor *x, kn_tensor *y) {
    return kn_cross_entropy(ctx, x, y);
}

static kn_tensor *no_options(kn_tensor *x, kn_tensor *y) {
    return kn_cross_entropy_with(ctx, x, y, (kn_cross_entropy_opts){0});
}

static kn_tensor *all_first(kn_tensor *x, kn_tensor *y) {
    kn_cross_entropy_opts opts = {.target2 = other_target(), .lambda = shares(1)};
    return kn_cross_entropy_with(ctx, x, y, opts);
}

static kn_tensor *all_second(kn_tensor *x, kn_tensor *y) {
    kn_cross_entropy_opts opts = {.target2 = y, .lambda = shares(0)};
    return kn_cross_entropy_with(ctx, x, other_target(), opts);
}

static kn_tensor *weighted(kn_tensor *x, kn_tensor *y) {
    kn_cross_entropy_opts opts = {.smoothing = 0.1, .class_weights = weights()};
    return kn_cross_entropy_with(ctx, x, y, opts);
}

static kn_tensor *weighted_all_first(kn_tensor *x, kn_tensor *y) {
    kn_cross_entropy_opts opts = {0.1, weights(), other_target(), shares(1)};
    return kn_cross_entropy_with(ctx, x, y, opts);
}

static kn_tensor *mixed(kn_tensor *x, kn_tensor *y) {
    kn_cross_entropy_opts opts = {.target2 = other_target(), .lambda = shares(0.75f)};
    return kn_cross_entropy_with(ctx, x, y, opts);
}

static void run(const char *device, form f, float out[NUMBERS]) {
    float values[N * CLASSES];
    int32_t labels[N];
    check_use(ctx, device);
    numbers_fill(WIDE, 0, 0, N * CLASSES, values);
    numbers_fill(INDEX, 1, CLASSES, N, labels);
    kn_tensor *x = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(N, CLASSES), values));
    kn_tensor *loss = f(x, kn_from(ctx, KN_I32, KN_SHAPE(N), labels));
    check_good(ctx, device);
    check_read(ctx, loss, 1, out);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    check_read(ctx, kn_grad(ctx, x), N * CLASSES, out + 1);
    kn_step_end(ctx);
}

static void options_that_ask_for_nothing_change_no_bit(void **state) {
    (void)state;
    static const struct {
        form without, with;
        bool same;
    } row[] = {{plain, no_options, true}, {plain, all_first, true},
               {plain, all_second, true}, {weighted, weighted_all_first, true},
               {plain, mixed, false}, /* the comparison sees a difference */
               {plain, weighted, false}};
    const char *const devices[] = {"reference", test_device()};
    for (size_t i = 0; i < KN_COUNT(row) * 2; i++) {
        numbers a, b;
        run(devices[i % 2], row[i / 2].without, a.value);
        run(devices[i % 2], row[i / 2].with, b.value);
        if ((memcmp(a.bits, b.bits, sizeof a.bits) == 0) != row[i / 2].same)
            fail_msg("row %zu on %s: the bits should %s", i / 2, devices[i % 2],
                     row[i / 2].same ? "be the same" : "differ");
    }
}

/* Without a tape the log-probabilities are given back at once. */
static void it_needs_no_tape(void **state) {
    (void)state;
    bool was = kn_grad_enable(ctx, false);
    kn_tensor *x = kn_require_grad(ctx, kn_full(ctx, KN_SHAPE(N, CLASSES), 1));
    kn_tensor *loss =
        kn_cross_entropy_with(ctx, x, other_target(), (kn_cross_entropy_opts){.smoothing = 0.1});
    assert_true(fabs(kn_item(ctx, loss) - log(CLASSES)) < 1e-6);
    kn_grad_enable(ctx, was);
    kn_step_end(ctx);
}

/* ---- refusals ---- */

static void shapes_that_do_not_fit_are_named(void **state) {
    (void)state;
    kn_tensor *x = kn_zeros(ctx, KN_F32, KN_SHAPE(4, 3)), *y = kn_zeros(ctx, KN_I32, KN_SHAPE(4));
    kn_tensor *four = kn_full(ctx, KN_SHAPE(4), 1), *three = kn_full(ctx, KN_SHAPE(3), 1);
    kn_tensor *few = kn_zeros(ctx, KN_I32, KN_SHAPE(3));
    const struct {
        kn_cross_entropy_opts opts;
        kn_status status;
        const char *message;
    } row[] = {
        {{.class_weights = four}, KN_ERR_SHAPE, "[4,3] does not fit class_weights [4]"},
        {{.target2 = few, .lambda = four}, KN_ERR_SHAPE, "[4,3] does not fit target2 [3]"},
        {{.target2 = y, .lambda = three}, KN_ERR_SHAPE, "[4,3] does not fit lambda [3]"},
        {{.target2 = y, .lambda = x}, KN_ERR_SHAPE, "[4,3] does not fit lambda [4,3]"},
        {{.target2 = y}, KN_ERR_STATE, "lambda is NULL"},
        {{.lambda = four}, KN_ERR_STATE, "target2 is NULL"},
        {{.smoothing = 1.5}, KN_ERR_ARG, "smoothing 1.5, expected 0 to 1"},
        {{.smoothing = -0.1}, KN_ERR_ARG, "smoothing -0.1, expected 0 to 1"},
    };
    for (size_t i = 0; i < KN_COUNT(row); i++) {
        assert_null(kn_cross_entropy_with(ctx, x, y, row[i].opts));
        check_error(ctx, row[i].status, row[i].message);
    }
    kn_step_end(ctx);
}

static void values_out_of_range_are_refused(void **state) {
    (void)state;
    kn_tensor *x = kn_zeros(ctx, KN_F32, KN_SHAPE(3, 5)), *y = kn_zeros(ctx, KN_I32, KN_SHAPE(3));
    static const float shares_of[][3] = {{1, -0.5f, 0}, {1, 1.5f, 0}, {1, NAN, 0}};
    for (size_t i = 0; i < KN_COUNT(shares_of); i++) {
        kn_tensor *lambda = kn_from(ctx, KN_F32, KN_SHAPE(3), shares_of[i]);
        kn_cross_entropy_opts opts = {.target2 = y, .lambda = lambda};
        check_value_refused(ctx, kn_cross_entropy_with(ctx, x, y, opts), "lambda 1 is ",
                            "a lambda is out of range");
    }
    const int32_t outside[] = {0, 4, 5};
    kn_tensor *bad = kn_from(ctx, KN_I32, KN_SHAPE(3), outside);
    check_value_refused(ctx, kn_cross_entropy_with(ctx, x, bad, (kn_cross_entropy_opts){0}),
                        "target 2 is 5, expected 0 to 4", "a target is out of range");
    kn_cross_entropy_opts second = {.target2 = bad, .lambda = kn_full(ctx, KN_SHAPE(3), 1)};
    check_value_refused(ctx,
                        kn_cross_entropy_with(ctx, x, y, second), /* also where it has no share */
                        "target 2 is 5, expected 0 to 4", "a target is out of range");
    kn_step_end(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_ask_for_nothing_change_no_bit),
        cmocka_unit_test(it_needs_no_tape),
        cmocka_unit_test(shapes_that_do_not_fit_are_named),
        cmocka_unit_test(values_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("cross entropy", tests, open_context, close_context);
}
