/* test_op_errors.c - shapes and values that an op refuses, with the message that says why. */
#include "support/check.h"
#include "support/counted.h"
#include "support/op_run.h"

#include "core/ctx.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* ---- shapes ---- */

typedef struct refusal {
    kn_status status;
    const char *message;
    op_row row;
} refusal;

#define NO(message, ...)                                                                           \
    {                                                                                              \
        KN_ERR_SHAPE, message, {                                                                   \
            "", __VA_ARGS__                                                                        \
        }                                                                                          \
    }
#define BAD(message, ...)                                                                          \
    {                                                                                              \
        KN_ERR_ARG, message, {                                                                     \
            "", __VA_ARGS__                                                                        \
        }                                                                                          \
    }
#define HW (KN_AXIS(1) | KN_AXIS(2))

/* clang-format off */
static const refusal refusals[] = {
    NO("add: [2,3] does not broadcast with [2]", run_add, .in = {X(2, 3), X(2)}),
    NO("sub: [2,3] does not broadcast with [3,2]", run_sub, .in = {X(2, 3), X(3, 2)}),
    NO("mul: [0,3] does not broadcast with [2,3]", run_mul, .in = {X(0, 3), X(2, 3)}),
    NO("div: [4] does not broadcast with [2,1,5]", run_div, .in = {X(4), X(2, 1, 5)}),
    NO("eq: [2,3] does not broadcast with [2,2]", run_eq, .in = {I(3, 2, 3), I(3, 2, 2)}),

    NO("reshape: [2,3] does not fit into [4]", run_reshape, .in = {X(2, 3)}, .shape = SHAPE(4)),
    NO("reshape: [2,3] does not fit into []", run_reshape, .in = {X(2, 3)}),
    NO("reshape: [2,3] does not fit into [4,-1]", run_reshape,
       .in = {X(2, 3)}, .shape = SHAPE(4, -1)),
    NO("reshape: [2,3] does not fit into [-1,-1]", run_reshape,
       .in = {X(2, 3)}, .shape = SHAPE(-1, -1)),
    NO("reshape: [2,3] does not fit into [-2,-3]", run_reshape,
       .in = {X(2, 3)}, .shape = SHAPE(-2, -3)),
    NO("reshape: [0,3] does not fit into [0,-1]", run_reshape,
       .in = {X(0, 3)}, .shape = SHAPE(0, -1)),
    NO("reshape: [2,3] does not fit into [4294967296,4294967296,2]", run_reshape, .in = {X(2, 3)},
       .shape = SHAPE(1ll << 32, 1ll << 32, 2)),
    NO("permute: axis 2 at place 1 of [2,3]", run_permute, .in = {X(2, 3)}, .order = {0, 2}),
    NO("permute: axis -1 at place 0 of [2,3]", run_permute, .in = {X(2, 3)}, .order = {-1, 0}),
    NO("permute: axis 1 at place 1 of [2,3]", run_permute, .in = {X(2, 3)}, .order = {1, 1}),

    NO("sum: axes 0x4 of [2,3]", run_sum, .in = {X(2, 3)}, .axes = KN_AXIS(2)),
    NO("mean: axes 0x9 of [2,3]", run_mean, .in = {X(2, 3)}, .axes = KN_AXIS(0) | KN_AXIS(3)),
    NO("max: axes 0x1 of []", run_max, .in = {X0}, .axes = KN_AXIS(0)),
    NO("std: axes 0x6 of [2,3]", run_std, .in = {X(2, 3)}, .axes = HW),
    NO("max: [0,3] has no element to choose", run_max, .in = {X(0, 3)}, .axes = KN_AXIS(0)),
    NO("max: [0] has no element to choose", run_max, .in = {X(0)}, .axes = KN_ALL),
    NO("argmax: [3,0] has no element to choose", run_argmax, .in = {X(3, 0)}),
    NO("argmax: [] has no element to choose", run_argmax, .in = {X0}),

    NO("gather: [2,3] does not fit index [2]", run_gather, .in = {X(2, 3), I(2, 2)}),
    NO("gather: [2,3] does not fit index [3,3]", run_gather,
       .in = {X(2, 3), I(2, 3, 3)}, .axis = 1),
    NO("gather: [2,3] does not fit index [2,3]", run_gather,
       .in = {X(2, 3), I(2, 2, 3)}, .axis = 2),
    NO("gather: [2,3] does not fit index [2,3]", run_gather,
       .in = {X(2, 3), I(2, 2, 3)}, .axis = -3),
    NO("gather: [] does not fit index []", run_gather,
       .in = {X0, {.there = true, .kind = INDEX, .limit = 1}}),

    NO("matmul: [2,3] does not multiply with [4,2]", run_matmul, .in = {X(2, 3), X(4, 2)}),
    NO("matmul: [3] does not multiply with [3]", run_matmul, .in = {X(3), X(3)}),
    NO("matmul: [2,2,3] does not multiply with [3,2]", run_matmul, .in = {X(2, 2, 3), X(3, 2)}),
    NO("matmul: [2,2,3] does not multiply with [3,3,2]", run_matmul,
       .in = {X(2, 2, 3), X(3, 3, 2)}),
    NO("linear: [2,3] does not fit weight [4,2]", run_linear_op, .in = {X(2, 3), X(4, 2)}),
    NO("linear: [2,2,3] does not fit weight [4,3]", run_linear_op, .in = {X(2, 2, 3), X(4, 3)}),
    NO("linear: [3] is no bias for weight [4,3]", run_linear_op, .in = {X(2, 3), X(4, 3), X(3)}),
    NO("linear: [4,1] is no bias for weight [4,3]", run_linear_op,
       .in = {X(2, 3), X(4, 3), X(4, 1)}),

    NO("conv2d: input [8,32,32,4], weight [16,3,5,5] expects 3 channels", run_conv2d,
       .in = {X(8, 32, 32, 4), X(16, 3, 5, 5)}),
    NO("conv2d: input [32,32,3], weight [16,3,5,5], expected [N,H,W,I] and [O,I,KH,KW]", run_conv2d,
       .in = {X(32, 32, 3), X(16, 3, 5, 5)}),
    NO("conv2d: input [1,5,5,3], weight [3,25], expected [N,H,W,I] and [O,I,KH,KW]", run_conv2d,
       .in = {X(1, 5, 5, 3), X(3, 25)}),
    NO("conv2d: input [1,4,5,3] is too small for weight [2,3,5,5]", run_conv2d,
       .in = {X(1, 4, 5, 3), X(2, 3, 5, 5)}),
    NO("conv2d: input [1,3,2,3] is too small for weight [2,3,5,5]", run_conv2d,
       .in = {X(1, 3, 2, 3), X(2, 3, 5, 5)}, .conv = {1, 1, 0}),
    NO("conv2d: [3] is no bias for weight [2,3,3,3]", run_conv2d,
       .in = {X(1, 5, 5, 3), X(2, 3, 3, 3), X(3)}),
    NO("is negative or too large", run_conv2d, .in = {X(1, 5, 5, 3), X(2, 3, 3, 3)}, .conv = {1, INT_MAX, 0}),
    BAD("conv2d: kernel 8x3, stride 0, padding 0", run_conv2d,
        .in = {X(1, 9, 9, 1), X(1, 1, 8, 3)}),
    BAD("conv2d: kernel 3x0, stride 0, padding 0", run_conv2d,
        .in = {X(1, 9, 9, 1), X(1, 1, 3, 0)}),
    BAD("stride -1, padding 0", run_conv2d,
        .in = {X(1, 9, 9, 1), X(1, 1, 3, 3)}, .conv = {-1, 0, 0}),
    BAD("stride 2, padding -1", run_conv2d,
        .in = {X(1, 9, 9, 1), X(1, 1, 3, 3)}, .conv = {2, -1, 0}),
    NO("mean_hw: [2,3,4], expected [N,H,W,C]", run_mean_hw, .in = {X(2, 3, 4)}),
    NO("mean_hw: [2,0,4,3], expected [N,H,W,C]", run_mean_hw, .in = {X(2, 0, 4, 3)}),

    NO("logsumexp: [] has no last axis", run_logsumexp, .in = {X0}),
    NO("log_softmax: [3,0] has no last axis", run_log_softmax, .in = {X(3, 0)}),
    NO("softmax: [] has no last axis", run_softmax, .in = {X0}),
    NO("nll: [2,3] does not fit target [3]", run_nll, .in = {X(2, 3), I(2, 3)}),
    NO("nll: [2,3,1] does not fit target [2]", run_nll, .in = {X(2, 3, 1), I(2, 2)}),
    NO("nll: [0,3] does not fit target [0]", run_nll, .in = {X(0, 3), I(2, 0)}),
    NO("cross_entropy: [2,3] does not fit target [2,1]", run_cross_entropy,
       .in = {X(2, 3), I(2, 2, 1)}),
    NO("cross_entropy: [2,0] does not fit target [2]", run_cross_entropy, .in = {X(2, 0), I(2, 2)}),
};
/* clang-format on */

static void shapes_that_do_not_fit_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < KN_COUNT(refusals); i++) {
        const op_row *row = &refusals[i].row;
        kn_tensor *in[ROW_INPUTS] = {0};
        for (int k = 0; k < ROW_INPUTS && row->in[k].there; k++)
            in[k] = kn_zeros(ctx, row->in[k].kind == INDEX ? KN_I32 : KN_F32, row->in[k].shape);
        if (row->run(ctx, in, row) != NULL)
            fail_msg("there is a result, expected: %s", refusals[i].message);
        check_error(ctx, refusals[i].status, refusals[i].message);
        kn_step_end(ctx);
    }
}

/* ---- values ---- */

static void an_index_outside_is_refused(void **state) {
    (void)state;
    static const int32_t bad[] = {3, -1, INT32_MAX, INT32_MIN};
    char part[64];
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        const int32_t indexes[] = {0, 2, bad[i], 1};
        kn_tensor *x = kn_zeros(ctx, KN_F32, KN_SHAPE(2, 3));
        kn_tensor *index = kn_from(ctx, KN_I32, KN_SHAPE(2, 2), indexes);
        snprintf(part, sizeof part, "gather: index: element 2 is %d, expected 0 to 2", bad[i]);
        check_value_refused(ctx, kn_gather(ctx, x, 1, index), part,
                            "gather: an index is out of range");
    }
    kn_step_end(ctx);
}

static void a_target_outside_is_refused(void **state) {
    (void)state;
    static const int32_t bad[] = {10, -1, -100, INT32_MAX};
    static kn_tensor *(*const losses[])(kn_ctx *, kn_tensor *, kn_tensor *) = {kn_nll,
                                                                               kn_cross_entropy};
    char part[64];
    for (size_t i = 0; i < KN_COUNT(bad) * KN_COUNT(losses); i++) {
        int32_t value = bad[i / KN_COUNT(losses)];
        const int32_t targets[] = {9, value, 0};
        kn_tensor *x = kn_require_grad(ctx, kn_zeros(ctx, KN_F32, KN_SHAPE(3, 10)));
        kn_tensor *target = kn_from(ctx, KN_I32, KN_SHAPE(3), targets);
        kn_tensor *loss = losses[i % KN_COUNT(losses)](ctx, x, target);
        if (loss == NULL) /* the first error, not another */
            assert_int_equal(kn_backward(ctx, loss), KN_ERR_ARG);
        snprintf(part, sizeof part, "target 1 is %d, expected 0 to 9", value);
        check_value_refused(ctx, loss, part, "a target is out of range");
    }
    kn_step_end(ctx);
}

static void the_first_error_of_an_expression_stays(void **state) {
    (void)state;
    kn_tensor *x = kn_full(ctx, KN_SHAPE(2, 3), 1), *y = kn_full(ctx, KN_SHAPE(4), 1);
    kn_tensor *wrong = kn_add(ctx, x, y);
    kn_tensor *z =
        kn_sum(ctx, kn_relu(ctx, kn_mul(ctx, wrong, x)), KN_AXIS(5), (kn_reduce_opts){0});
    kn_tensor *loss = kn_mean_hw(ctx, kn_reshape(ctx, z, KN_SHAPE(7, 7)));
    assert_null(loss);
    assert_true(isnan(kn_item(ctx, loss)));
    assert_int_equal(kn_backward(ctx, loss), KN_ERR_SHAPE);
    float out[6];
    assert_int_equal(kn_tensor_read(ctx, loss, out, sizeof out), KN_ERR_SHAPE);
    check_error(ctx, KN_ERR_SHAPE, "add: [2,3] does not broadcast with [4]");
    /* The context is as good as new. */
    check_values(ctx, kn_sum(ctx, x, KN_ALL, (kn_reduce_opts){0}), 1, (float[]){6});
    kn_step_end(ctx);
}

/* The chapter's first form of log_softmax overflows where the library's must not. */
static void large_logits_do_not_overflow(void **state) {
    (void)state;
    const float logits[] = {1000, 1001, 1002};
    const int32_t target = 0;
    kn_tensor *x = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(1, 3), logits));
    kn_tensor *naive = kn_log(ctx, kn_sum(ctx, kn_exp(ctx, x), KN_ALL, (kn_reduce_opts){0}));
    assert_true(isinf(kn_item(ctx, naive)));
    double stable = kn_item(ctx, kn_logsumexp(ctx, x));
    assert_true(fabs(stable - 1002.407605964) < 1e-4);
    kn_tensor *loss = kn_cross_entropy(ctx, x, kn_from(ctx, KN_I32, KN_SHAPE(1), &target));
    assert_true(fabs(kn_item(ctx, loss) - 2.407605964) < 1e-4);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    float grad[3];
    check_read(ctx, kn_grad(ctx, x), 3, grad);
    check_numbers("gradient", 3, grad, (float[]){-0.909969f, 0.244728f, 0.665241f}, 1e-4);
    kn_step_end(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_that_do_not_fit_are_named),
        cmocka_unit_test(an_index_outside_is_refused),
        cmocka_unit_test(a_target_outside_is_refused),
        cmocka_unit_test(the_first_error_of_an_expression_stays),
        cmocka_unit_test(large_logits_do_not_overflow),
    };
    return cmocka_run_group_tests_name("op errors", tests, open_context, close_context);
}
