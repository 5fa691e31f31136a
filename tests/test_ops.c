/* test_ops.c - one table, a row for each way to call an op. Every row is run on every device: its
 * values and gradients are compared with PyTorch's (tests/data/ops_golden.txt), with the reference
 * device's, and the gradients with differences of the op itself.
 *
 * A new op: a row here and one in tools/make_op_goldens.py. KILN_TEST_DEVICE names the one device
 * to test; without it there are "reference" and "cpu". */
#include "support/check.h"
#include "support/counted.h"
#include "support/op_refuse.h"
#include "support/op_row.h"
#include "support/op_run.h"
#include "support/op_written.h"

#include "core/ctx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers that are chosen, not generated ---- */

#define LIST(name, ...) static const float name[] = {__VA_ARGS__}
LIST(div_a, 1, -1, 0, 2);
LIST(div_b, 0, 0, 0, INFINITY);
LIST(eq_a, NAN, INFINITY, 0);
LIST(eq_b, NAN, INFINITY, -0.0f);
LIST(exp_x, -INFINITY, -200, 0, 100, INFINITY, NAN);
LIST(log_x, 0, -1, 1, 1e-38f, INFINITY, NAN);
LIST(sqrt_x, 0, -1, 4, INFINITY, NAN);
LIST(relu_x, 0, -INFINITY, INFINITY, -1e-38f, 1e-38f, NAN);
/* Halfway between two bf16 numbers, just beside it, and the ends of the range. */
LIST(rounded_x, 1.00390625f, 1.01171875f, 1.00390637f, 1.00390613f, -1.00390625f, 3.3895314e38f,
     3.4e38f, 1e-45f, -0.0f, INFINITY, -INFINITY, NAN);
LIST(swish_x, -100, -1e-38f, 0, 30, 100, INFINITY, NAN);
LIST(pool_x, 1, NAN, 3, 2, 5, 5, 4, 5, -INFINITY, -INFINITY, -INFINITY, -INFINITY);
LIST(u8_x, 0, 0.9f, 1.5f, 254.99f, 255);
LIST(i32_x, -1.5f, 1.5f, -0.5f, 16777216, -2147483648.0f);
LIST(max_x, -INFINITY, -INFINITY, 1, INFINITY);
LIST(max_nan, 1, NAN, 3, 1, 2, 3);
LIST(std_x, 2, 2, 2, 1, 2, 4);
LIST(argmax_x, 1, NAN, INFINITY, 3, NAN, NAN);
LIST(large, 1e4f, -1e4f, 9999, 0, -1e4f, -1e4f, 88, 89, 90);
LIST(lowest, -INFINITY, 0, 1, -INFINITY, -INFINITY, 2);
LIST(no_number, 0, NAN, 1, 0, 1, 2);
LIST(all_lowest, -INFINITY, -INFINITY);
LIST(highest, INFINITY, 0);
LIST(shares, 0.75f, 1, 0, 0.5f, 0.9375f, 0.125f);
LIST(all_first, 1, 1, 1, 1, 1);

/* ---- the table ---- */

#define HW (KN_AXIS(1) | KN_AXIS(2))
/* .conv is {stride, padding, relu}, .reduce is {keep, no_bias}, .pool is {kernel, stride, padding,
 * ceil}. */

/* One row, one line. */
/* clang-format off */
static const op_row table[] = {
    {"add/same", run_add, .in = {X(2, 3), X(2, 3)}},
    {"add/scalar", run_add, .in = {X(2, 3), X0}},
    {"add/scalar_left", run_add, .in = {X0, X(2, 3)}},
    {"add/outer", run_add, .in = {X(3, 1), X(1, 4)}},
    {"add/rank", run_add, .in = {X(2, 3, 4), X(4)}},
    {"add/rank_left", run_add, .in = {X(3), X(2, 3)}},
    {"add/middle", run_add, .in = {X(2, 3, 4), X(2, 1, 4)}},
    {"add/both", run_add, .in = {X(2, 1, 3, 1), X(5, 1, 4)}},
    {"add/square", run_add, .in = {X(3, 4), SAME}},
    {"add/empty", run_add, .in = {X(0, 3), X(3)}},
    {"sub/same", run_sub, .in = {X(2, 3), X(2, 3)}},
    {"sub/scalar", run_sub, .in = {X(2, 3), X0}},
    {"sub/scalar_left", run_sub, .in = {X0, X(2, 3)}},
    {"sub/outer", run_sub, .in = {X(3, 1), X(1, 4)}},
    {"sub/rank", run_sub, .in = {X(2, 3, 4), X(4)}},
    {"sub/rank_left", run_sub, .in = {X(3), X(2, 3)}},
    {"sub/middle", run_sub, .in = {X(2, 3, 4), X(2, 1, 4)}},
    {"sub/both", run_sub, .in = {X(2, 1, 3, 1), X(5, 1, 4)}},
    {"sub/square", run_sub, .in = {X(3, 4), SAME}},
    {"sub/empty", run_sub, .in = {X(0, 3), X(3)}},
    {"mul/same", run_mul, .in = {X(2, 3), X(2, 3)}},
    {"mul/scalar", run_mul, .in = {X(2, 3), X0}},
    {"mul/scalar_left", run_mul, .in = {X0, X(2, 3)}},
    {"mul/outer", run_mul, .in = {X(3, 1), X(1, 4)}},
    {"mul/rank", run_mul, .in = {X(2, 3, 4), X(4)}},
    {"mul/rank_left", run_mul, .in = {X(3), X(2, 3)}},
    {"mul/middle", run_mul, .in = {X(2, 3, 4), X(2, 1, 4)}},
    {"mul/both", run_mul, .in = {X(2, 1, 3, 1), X(5, 1, 4)}},
    {"mul/square", run_mul, .in = {X(3, 4), SAME}},
    {"mul/empty", run_mul, .in = {X(0, 3), X(3)}},
    {"div/same", run_div, .in = {X(2, 3), P(2, 3)}},
    {"div/scalar", run_div, .in = {X(2, 3), P0}},
    {"div/scalar_left", run_div, .in = {X0, P(2, 3)}},
    {"div/outer", run_div, .in = {X(3, 1), P(1, 4)}},
    {"div/rank", run_div, .in = {X(2, 3, 4), P(4)}},
    {"div/rank_left", run_div, .in = {X(3), P(2, 3)}},
    {"div/middle", run_div, .in = {X(2, 3, 4), P(2, 1, 4)}},
    {"div/both", run_div, .in = {X(2, 1, 3, 1), P(5, 1, 4)}},
    {"div/square", run_div, .in = {P(3, 4), SAME}, .level = true},
    {"div/empty", run_div, .in = {X(0, 3), P(3)}},
    {"div/zero", run_div, .in = {V(div_a, 4), V(div_b, 4)}, .no_slope = true},

    {"eq/f32", run_eq, .in = {C(3, 5), C(3, 5)}},
    {"eq/outer", run_eq, .in = {C(4, 1), C(1, 4)}},
    {"eq/nan", run_eq, .in = {V(eq_a, 3), V(eq_b, 3)}},
    {"eq/i32", run_eq, .in = {I(3, 3, 5), I(3, 5)}},

    {"neg/2d", run_neg, .in = {X(3, 5)}},
    {"neg/rank8", run_neg, .in = {X(1, 2, 1, 2, 1, 2, 1, 2)}},
    {"neg/empty", run_neg, .in = {X(2, 0)}},
    {"exp/2d", run_exp, .in = {X(3, 5)}},
    {"exp/extreme", run_exp, .in = {V(exp_x, 6)}, .no_slope = true},
    {"log/2d", run_log, .in = {P(3, 5)}},
    {"log/extreme", run_log, .in = {V(log_x, 6)}, .no_slope = true},
    {"sqrt/2d", run_sqrt, .in = {P(3, 5)}},
    {"sqrt/extreme", run_sqrt, .in = {V(sqrt_x, 5)}, .no_slope = true},
    {"relu/2d", run_relu, .in = {Z(4, 5)}},
    {"relu/scalar", run_relu, .in = {Z0}},
    {"relu/extreme", run_relu, .in = {V(relu_x, 6)}, .no_slope = true},

    {"swish/2d", run_swish, .in = {X(4, 20)}},
    {"swish/extreme", run_swish, .in = {V(swish_x, 7)}, .no_slope = true},
    {"mish/2d", run_mish, .in = {X(4, 20)}},
    {"mish/extreme", run_mish, .in = {V(swish_x, 7)}, .no_slope = true},

    {"reshape/flat", run_reshape, .in = {X(2, 3, 2)}, .shape = SHAPE(-1)},
    {"reshape/infer", run_reshape, .in = {X(2, 3, 4)}, .shape = SHAPE(3, -1, 2)},
    {"reshape/scalar", run_reshape, .in = {X(1, 1)}},
    {"reshape/rank8", run_reshape, .in = {X(12)}, .shape = SHAPE(1, 2, 1, 3, 1, 1, 2, 1)},
    {"permute/2d", run_permute, .in = {X(3, 4)}, .order = {1, 0}},
    {"permute/nhwc_nchw", run_permute, .in = {X(2, 3, 2, 4)}, .order = {0, 3, 1, 2}},
    {"permute/cycle", run_permute, .in = {X(2, 3, 4)}, .order = {2, 0, 1}},
    {"permute/rank5", run_permute, .in = {X(2, 1, 3, 2, 2)}, .order = {4, 2, 0, 3, 1}},
    {"permute/i32", run_permute, .in = {I(9, 3, 4)}, .order = {1, 0}},
    {"permute/u8", run_permute, .in = {B(2, 3, 3)}, .order = {2, 1, 0}},
    {"cast/bf16", run_cast, .in = {V(rounded_x, 12)}, .dtype = KN_BF16},
    {"cast/bf16_f32", run_cast_there_and_back, .in = {X(5, 5)}, .dtype = KN_BF16, .no_slope = true},
    {"cast/f32_u8", run_cast, .in = {V(u8_x, 5)}, .dtype = KN_U8},
    {"cast/f32_i32", run_cast, .in = {V(i32_x, 5)}, .dtype = KN_I32},
    {"cast/u8_f32", run_cast, .in = {B(3, 4)}, .dtype = KN_F32},
    {"cast/i32_f32", run_cast, .in = {I(1000, 3, 4)}, .dtype = KN_F32},

    {"sum/all", run_sum, .in = {X(2, 3, 2)}, .axes = KN_ALL},
    {"sum/first", run_sum, .in = {X(3, 4)}, .axes = KN_AXIS(0)},
    {"sum/last", run_sum, .in = {X(3, 4)}, .axes = KN_AXIS(1)},
    {"sum/middle", run_sum, .in = {X(2, 3, 4)}, .axes = KN_AXIS(1)},
    {"sum/keep", run_sum, .in = {X(2, 3, 4)}, .axes = KN_AXIS(1), .reduce = {.keep = true}},
    {"sum/two", run_sum, .in = {X(2, 3, 4)}, .axes = KN_AXIS(0) | KN_AXIS(2)},
    {"sum/hw", run_sum, .in = {X(2, 3, 2, 3)}, .axes = HW, .reduce = {.keep = true}},
    {"sum/all_keep", run_sum, .in = {X(2, 3)}, .axes = KN_ALL, .reduce = {.keep = true}},
    {"mean/all", run_mean, .in = {X(2, 3, 2)}, .axes = KN_ALL},
    {"mean/first", run_mean, .in = {X(3, 4)}, .axes = KN_AXIS(0)},
    {"mean/last", run_mean, .in = {X(3, 4)}, .axes = KN_AXIS(1)},
    {"mean/middle", run_mean, .in = {X(2, 3, 4)}, .axes = KN_AXIS(1)},
    {"mean/keep", run_mean, .in = {X(2, 3, 4)}, .axes = KN_AXIS(1), .reduce = {.keep = true}},
    {"mean/two", run_mean, .in = {X(2, 3, 4)}, .axes = KN_AXIS(0) | KN_AXIS(2)},
    {"mean/hw", run_mean, .in = {X(2, 3, 2, 3)}, .axes = HW, .reduce = {.keep = true}},
    {"mean/all_keep", run_mean, .in = {X(2, 3)}, .axes = KN_ALL, .reduce = {.keep = true}},
    {"max/all", run_max, .in = {X(2, 3, 2)}, .axes = KN_ALL},
    {"max/first", run_max, .in = {X(3, 4)}, .axes = KN_AXIS(0)},
    {"max/last", run_max, .in = {X(3, 4)}, .axes = KN_AXIS(1)},
    {"max/middle", run_max, .in = {X(2, 3, 4)}, .axes = KN_AXIS(1)},
    {"max/keep", run_max, .in = {X(2, 3, 4)}, .axes = KN_AXIS(1), .reduce = {.keep = true}},
    {"max/two", run_max, .in = {X(2, 3, 4)}, .axes = KN_AXIS(0) | KN_AXIS(2)},
    {"max/hw", run_max, .in = {X(2, 3, 2, 3)}, .axes = HW, .reduce = {.keep = true}},
    {"max/all_keep", run_max, .in = {X(2, 3)}, .axes = KN_ALL, .reduce = {.keep = true}},
    {"sum/none", run_sum, .in = {X(2, 3)}},
    {"sum/scalar", run_sum, .in = {X0}, .axes = KN_ALL},
    {"sum/empty", run_sum, .in = {X(0, 3)}, .axes = KN_AXIS(0)},
    {"mean/empty", run_mean, .in = {X(0, 3)}, .axes = KN_AXIS(0), .no_slope = true},
    {"max/empty", run_max, .in = {X(0, 3)}, .axes = KN_AXIS(1)},
    {"max/ties", run_max, .in = {C(4, 5)}, .axes = KN_AXIS(1), .no_slope = true},
    {"max/ties_all", run_max, .in = {C(3, 4)}, .axes = KN_ALL, .no_slope = true},
    {"max/infinite", run_max, .in = {V(max_x, 2, 2)}, .axes = KN_AXIS(1), .no_slope = true},
    {"max/nan", run_max, .in = {V(max_nan, 2, 3)}, .axes = KN_AXIS(1), .no_slope = true},
    {"std/all", run_std, .in = {X(3, 4)}, .axes = KN_ALL},
    {"std/first", run_std, .in = {X(4, 3)}, .axes = KN_AXIS(0)},
    {"std/no_bias", run_std, .in = {X(3, 4)}, .axes = KN_AXIS(1), .reduce = {.no_bias = true}},
    {"std/keep", run_std, .in = {X(2, 3, 4)}, .axes = KN_AXIS(1), .reduce = {.keep = true}},
    {"std/two", run_std, .in = {X(2, 3, 4)}, .axes = KN_AXIS(0) | KN_AXIS(2), .reduce = {1, 1}},
    {"std/channels", run_std, .in = {X(2, 2, 3, 3)}, .axes = KN_AXIS(0) | HW},
    {"std/constant", run_std, .in = {V(std_x, 2, 3)}, .axes = KN_AXIS(1), .no_slope = true},
    {"argmax/2d", run_argmax, .in = {X(4, 5)}},
    {"argmax/3d", run_argmax, .in = {X(2, 3, 4)}},
    {"argmax/1d", run_argmax, .in = {X(7)}},
    {"argmax/ties", run_argmax, .in = {C(5, 6)}},
    {"argmax/nan", run_argmax, .in = {V(argmax_x, 2, 3)}},

    {"gather/first", run_gather, .in = {X(4, 3), I(4, 2, 3)}, .axis = 0},
    {"gather/last", run_gather, .in = {X(3, 5), I(5, 3, 4)}, .axis = -1},
    {"gather/column", run_gather, .in = {X(4, 5), I(5, 4, 1)}, .axis = 1},
    {"gather/longer", run_gather, .in = {X(2, 3), I(3, 2, 7)}, .axis = 1},
    {"gather/smaller", run_gather, .in = {X(4, 3, 2), I(4, 2, 2, 1)}, .axis = 0},
    {"gather/middle", run_gather, .in = {X(2, 4, 3), I(4, 2, 3, 3)}, .axis = 1},
    {"gather/1d", run_gather, .in = {X(6), I(6, 9)}, .axis = 0},
    {"gather/empty", run_gather, .in = {X(4, 3), I(4, 0, 3)}, .axis = 0},

    {"matmul/2d", run_matmul, .in = {X(3, 4), X(4, 5)}},
    {"matmul/inner", run_matmul, .in = {X(1, 6), X(6, 1)}},
    {"matmul/outer", run_matmul, .in = {X(4, 1), X(1, 3)}},
    {"matmul/square", run_matmul, .in = {X(4, 4), SAME}},
    {"matmul/batch", run_matmul, .in = {X(2, 3, 4), X(2, 4, 2)}},
    {"matmul/batches", run_matmul, .in = {X(2, 2, 2, 3), X(2, 2, 3, 4)}},
    {"matmul/no_rows", run_matmul, .in = {X(0, 4), X(4, 3)}},
    {"matmul/no_inner", run_matmul, .in = {X(2, 0), X(0, 3)}, .level = true},
    {"linear_op/bias", run_linear_op, .in = {X(4, 6), X(3, 6), X(3)}},
    {"linear_op/no_bias", run_linear_op, .in = {X(4, 6), X(3, 6)}},
    {"linear_op/one", run_linear_op, .in = {X(1, 5), X(1, 5), X(1)}},
    {"linear_op/wide", run_linear_op, .in = {X(3, 32), X(10, 32), X(10)}},

    {"conv2d/k1", run_conv2d, .in = {X(2, 3, 2, 3), X(4, 3, 1, 1), X(4)}},
    {"conv2d/k1s2", run_conv2d, .in = {X(1, 5, 4, 4), X(3, 4, 1, 1), X(3)}, .conv = {2, 0, 0}},
    {"conv2d/k1_one", run_conv2d, .in = {X(1, 1, 1, 1), X(1, 1, 1, 1), X(1)}},
    {"conv2d/k2", run_conv2d, .in = {X(1, 4, 3, 3), X(2, 3, 2, 2), X(2)}},
    {"conv2d/k2s2", run_conv2d, .in = {X(2, 4, 6, 2), X(3, 2, 2, 2)}, .conv = {2, 0, 0}},
    {"conv2d/k3", run_conv2d, .in = {X(1, 5, 4, 3), X(4, 3, 3, 3), X(4)}},
    {"conv2d/k3p1", run_conv2d, .in = {X(2, 4, 3, 3), X(4, 3, 3, 3), X(4)}, .conv = {0, 1, 0}},
    {"conv2d/k3s2p1", run_conv2d, .in = {X(2, 6, 6, 3), X(4, 3, 3, 3), X(4)}, .conv = {2, 1, 0}},
    {"conv2d/k3s2odd", run_conv2d, .in = {X(1, 7, 5, 3), X(5, 3, 3, 3), X(5)}, .conv = {2, 1, 0}},
    {"conv2d/k3s2_rest", run_conv2d, .in = {X(1, 6, 8, 2), X(3, 2, 3, 3), X(3)}, .conv = {2, 0, 0}},
    {"conv2d/k3s3p2", run_conv2d, .in = {X(1, 6, 5, 3), X(3, 3, 3, 3)}, .conv = {3, 2, 0}},
    {"conv2d/k3p3", run_conv2d, .in = {X(1, 2, 2, 2), X(2, 2, 3, 3), X(2)}, .conv = {0, 3, 0}},
    {"conv2d/k4s2p1", run_conv2d, .in = {X(1, 6, 6, 3), X(2, 3, 4, 4), X(2)}, .conv = {2, 1, 0}},
    {"conv2d/k5p2", run_conv2d, .in = {X(1, 4, 5, 3), X(2, 3, 5, 5), X(2)}, .conv = {0, 2, 0}},
    {"conv2d/k5s2p2", run_conv2d, .in = {X(1, 7, 7, 3), X(2, 3, 5, 5), X(2)}, .conv = {2, 2, 0}},
    {"conv2d/k6p3", run_conv2d, .in = {X(1, 4, 3, 1), X(2, 1, 6, 6), X(2)}, .conv = {0, 3, 0}},
    {"conv2d/k7s3p3", run_conv2d, .in = {X(1, 8, 7, 3), X(2, 3, 7, 7)}, .conv = {3, 3, 0}},
    {"conv2d/k7s2p3", run_conv2d, .in = {X(1, 6, 6, 3), X(2, 3, 7, 7), X(2)}, .conv = {2, 3, 0}},
    {"conv2d/rect", run_conv2d, .in = {X(1, 5, 6, 2), X(3, 2, 1, 5), X(3)}, .conv = {0, 1, 0}},
    {"conv2d/tall", run_conv2d, .in = {X(1, 7, 5, 2), X(2, 2, 5, 2), X(2)}, .conv = {2, 1, 0}},
    {"conv2d/gray", run_conv2d, .in = {X(2, 4, 4, 1), X(8, 1, 3, 3), X(8)}, .conv = {0, 1, 0}},
    {"conv2d/to_one", run_conv2d, .in = {X(2, 3, 3, 8), X(1, 8, 3, 3), X(1)}, .conv = {0, 1, 0}},
    {"conv2d/16_in", run_conv2d, .in = {X(1, 4, 4, 16), X(2, 16, 3, 3), X(2)}, .conv = {2, 1, 0}},
    {"conv2d/relu", run_conv2d, .in = {X(2, 5, 5, 3), X(4, 3, 3, 3), X(4)},
     .conv = {2, 1, true}, .kinks = true},
    {"conv2d/relu_no_bias", run_conv2d, .in = {X(1, 4, 4, 3), X(4, 3, 3, 3)},
     .conv = {0, 0, true}, .kinks = true},
    {"conv2d/relu_k1", run_conv2d, .in = {X(2, 2, 3, 4), X(8, 4, 1, 1), X(8)},
     .conv = {0, 0, true}, .kinks = true},
    {"mean_hw/4d", run_mean_hw, .in = {X(2, 3, 4, 5)}},
    {"mean_hw/1x1", run_mean_hw, .in = {X(3, 1, 1, 4)}},
    {"mean_hw/empty", run_mean_hw, .in = {X(0, 2, 2, 3)}},

    {"max_pool/k2", run_max_pool, .in = {X(2, 4, 6, 3)}},
    {"max_pool/k3s2p1", run_max_pool, .in = {X(2, 6, 8, 5)}, .pool = {3, 2, 1, 0}, .kinks = true},
    {"max_pool/k3s2p1odd", run_max_pool, .in = {X(1, 5, 5, 17)}, .pool = {3, 2, 1, 0}, .kinks = true},
    {"max_pool/k3s1", run_max_pool, .in = {X(1, 5, 4, 2)}, .pool = {3, 1, 0, 0}, .kinks = true},
    {"max_pool/ceil", run_max_pool, .in = {X(1, 5, 7, 2)}, .pool = {2, 2, 0, 1}, .kinks = true},
    {"max_pool/ceil_gap", run_max_pool, .in = {X(1, 7, 6, 2)}, .pool = {2, 3, 1, 1}, .kinks = true},
    {"max_pool/ceil_one", run_max_pool, .in = {X(2, 1, 1, 3)}, .pool = {2, 2, 0, 1}},
    {"max_pool/ties", run_max_pool, .in = {C(2, 4, 4, 3)}, .no_slope = true},
    {"max_pool/extreme", run_max_pool, .in = {V(pool_x, 3, 2, 2, 1)}, .no_slope = true},
    {"max_pool/empty", run_max_pool, .in = {X(0, 2, 2, 3)}},
    {"avg_pool/k2", run_avg_pool, .in = {X(2, 4, 6, 3)}},
    {"avg_pool/k3s2p1", run_avg_pool, .in = {X(2, 6, 8, 5)}, .pool = {3, 2, 1, 0}},
    {"avg_pool/k3s1", run_avg_pool, .in = {X(1, 5, 4, 17)}, .pool = {3, 1, 0, 0}},
    {"avg_pool/ceil", run_avg_pool, .in = {X(1, 5, 7, 2)}, .pool = {2, 2, 0, 1}},
    {"avg_pool/ceil_gap", run_avg_pool, .in = {X(1, 7, 6, 2)}, .pool = {2, 3, 1, 1}},
    {"avg_pool/ceil_one", run_avg_pool, .in = {X(2, 1, 1, 3)}, .pool = {2, 2, 0, 1}},
    {"avg_pool/empty", run_avg_pool, .in = {X(0, 2, 2, 3)}},

    {"batch_norm_op/2d", run_batch_norm_op_residual, .in = {X(6, 3), X(3), X(3)}, .norm = {.training = 1}},
    {"batch_norm_op/4d", run_batch_norm_op_residual, .in = {X(2, 3, 2, 4), X(4), X(4)}, .norm = {.training = 1}},
    {"batch_norm_op/wide", run_batch_norm_op_residual, .in = {X(2, 2, 2, 35), X(35), X(35)}, .norm = {.training = 1}},
    {"batch_norm_op/eps", run_batch_norm_op_residual, .in = {X(5, 2), X(2), X(2)}, .norm = {.training = 1, .eps = 0.5}},
    {"batch_norm_op/relu", run_batch_norm_op_residual, .in = {X(9, 3), X(3), X(3)}, .norm = {.training = 1, .relu = 1}, .kinks = true},
    {"batch_norm_op/residual", run_batch_norm_op_residual, .in = {X(7, 3), X(3), X(3), X(7, 3)}, .norm = {.training = 1}},
    {"batch_norm_op/residual_relu", run_batch_norm_op_residual, .in = {X(2, 3, 2, 3), X(3), X(3), X(2, 3, 2, 3)}, .norm = {.training = 1, .relu = 1}, .kinks = true},
    {"batch_norm_op/eval", run_batch_norm_op, .in = {X(5, 3), X(3), X(3), X(3), P(3)}},
    {"batch_norm_op/eval_relu", run_batch_norm_op, .in = {X(2, 2, 2, 3), X(3), X(3), X(3), P(3)}, .norm = {.relu = 1}, .kinks = true},
    {"conv2d_norm/training", run_conv2d_norm_residual, .in = {X(2, 4, 3, 3), X(4, 3, 3, 3), X(4), X(4)}, .conv = {1, 1, 0}, .norm = {.training = 1}},
    {"conv2d_norm/residual", run_conv2d_norm_residual, .in = {X(2, 5, 4, 3), X(3, 3, 3, 3), X(3), X(3), X(2, 3, 2, 3)}, .conv = {2, 1, 0}, .norm = {.training = 1, .relu = 1}, .kinks = true},
    {"conv2d_norm/eval", run_conv2d_norm, .in = {X(1, 5, 4, 3), X(4, 3, 3, 3), X(4), X(4), X(4), P(4)}, .conv = {1, 1, 0}},
    {"conv2d_norm/eval_relu", run_conv2d_norm, .in = {X(2, 3, 2, 4), X(5, 4, 1, 1), X(5), X(5), X(5), P(5)}, .norm = {.relu = 1}, .kinks = true},
    {"dropout_op/none", run_dropout_op, .in = {X(3, 5)}},
    {"dropout_op/half", run_dropout_op, .in = {X(5, 7)}, .p = 0.5},
    {"dropout_op/most", run_dropout_op, .in = {X(4, 20)}, .p = 0.9},

    {"logsumexp/2d", run_logsumexp, .in = {X(4, 5)}},
    {"logsumexp/1d", run_logsumexp, .in = {X(6)}},
    {"logsumexp/3d", run_logsumexp, .in = {X(2, 3, 4)}},
    {"logsumexp/one", run_logsumexp, .in = {X(3, 1)}},
    {"logsumexp/empty", run_logsumexp, .in = {X(0, 3)}},
    {"logsumexp/large", run_logsumexp, .in = {V(large, 3, 3)}, .no_slope = true},
    {"logsumexp/lowest", run_logsumexp, .in = {V(lowest, 2, 3)}, .no_slope = true},
    {"logsumexp/nan", run_logsumexp, .in = {V(no_number, 2, 3)}, .no_slope = true},
    {"logsumexp/all_lowest", run_logsumexp, .in = {V(all_lowest, 1, 2)}, .no_slope = true},
    {"logsumexp/highest", run_logsumexp, .in = {V(highest, 1, 2)}, .no_slope = true},
    {"log_softmax/2d", run_log_softmax, .in = {X(4, 5)}},
    {"log_softmax/1d", run_log_softmax, .in = {X(6)}},
    {"log_softmax/3d", run_log_softmax, .in = {X(2, 3, 4)}},
    {"log_softmax/one", run_log_softmax, .in = {X(3, 1)}},
    {"log_softmax/empty", run_log_softmax, .in = {X(0, 3)}},
    {"log_softmax/large", run_log_softmax, .in = {V(large, 3, 3)}, .no_slope = true},
    {"log_softmax/lowest", run_log_softmax, .in = {V(lowest, 2, 3)}, .no_slope = true},
    {"log_softmax/nan", run_log_softmax, .in = {V(no_number, 2, 3)}, .no_slope = true},
    {"log_softmax/all_lowest", run_log_softmax, .in = {V(all_lowest, 1, 2)}, .no_slope = true},
    {"log_softmax/highest", run_log_softmax, .in = {V(highest, 1, 2)}, .no_slope = true},
    {"softmax/2d", run_softmax, .in = {X(4, 5)}},
    {"softmax/1d", run_softmax, .in = {X(6)}},
    {"softmax/3d", run_softmax, .in = {X(2, 3, 4)}},
    {"softmax/one", run_softmax, .in = {X(3, 1)}},
    {"softmax/empty", run_softmax, .in = {X(0, 3)}},
    {"softmax/large", run_softmax, .in = {V(large, 3, 3)}, .no_slope = true},
    {"softmax/lowest", run_softmax, .in = {V(lowest, 2, 3)}, .no_slope = true},
    {"softmax/nan", run_softmax, .in = {V(no_number, 2, 3)}, .no_slope = true},
    {"softmax/all_lowest", run_softmax, .in = {V(all_lowest, 1, 2)}, .no_slope = true},
    {"softmax/highest", run_softmax, .in = {V(highest, 1, 2)}, .no_slope = true},
    {"nll/2d", run_nll, .in = {X(5, 4), I(4, 5)}},
    {"nll/one_row", run_nll, .in = {X(1, 6), I(6, 1)}},
    {"nll/one_class", run_nll, .in = {X(3, 1), I(1, 3)}},
    {"nll/ten", run_nll, .in = {X(8, 10), I(10, 8)}},
    {"nll/large", run_nll, .in = {V(large, 3, 3), I(3, 3)}, .no_slope = true},
    {"nll/nan", run_nll, .in = {V(no_number, 2, 3), I(3, 2)}, .no_slope = true},
    {"cross_entropy/2d", run_cross_entropy, .in = {X(5, 4), I(4, 5)}},
    {"cross_entropy/one_row", run_cross_entropy, .in = {X(1, 6), I(6, 1)}},
    {"cross_entropy/one_class", run_cross_entropy, .in = {X(3, 1), I(1, 3)}},
    {"cross_entropy/ten", run_cross_entropy, .in = {X(8, 10), I(10, 8)}},
    {"cross_entropy/large", run_cross_entropy, .in = {V(large, 3, 3), I(3, 3)}, .no_slope = true},
    {"cross_entropy/nan", run_cross_entropy, .in = {V(no_number, 2, 3), I(3, 2)}, .no_slope = true},
    {"cross_entropy_with/plain", run_cross_entropy_with, .in = {X(5, 4), I(4, 5)}},
    {"cross_entropy_with/smooth", run_cross_entropy_with,
     .in = {X(5, 4), I(4, 5)}, .smoothing = 0.1},
    {"cross_entropy_with/flat", run_cross_entropy_with,
     .in = {X(3, 7), I(7, 3)}, .smoothing = 1, .level = true},
    {"cross_entropy_with/weights", run_cross_entropy_with, .in = {X(6, 3), I(3, 6), P(3)}},
    {"cross_entropy_with/smooth_weights", run_cross_entropy_with,
     .in = {X(6, 3), I(3, 6), P(3)}, .smoothing = 0.2},
    {"cross_entropy_with/mixed", run_cross_entropy_mixed,
     .in = {X(6, 4), I(4, 6), I(4, 6), V(shares, 6)}},
    {"cross_entropy_with/mixed_smooth", run_cross_entropy_mixed,
     .in = {X(6, 4), I(4, 6), I(4, 6), V(shares, 6)}, .smoothing = 0.1},
    {"cross_entropy_with/all_first", run_cross_entropy_mixed,
     .in = {X(5, 4), I(4, 5), I(4, 5), V(all_first, 5)}, .level = true},
    {"cross_entropy_with/everything", run_cross_entropy_with,
     .in = {X(6, 5), I(5, 6), P(5), I(5, 6), V(shares, 6)}, .smoothing = 0.3},
    {"cross_entropy_with/large", run_cross_entropy_with,
     .in = {V(large, 3, 3), I(3, 3), P(3)}, .no_slope = true},
    {"cross_entropy_with/nan", run_cross_entropy_with,
     .in = {V(no_number, 2, 3), I(3, 2)}, .smoothing = 0.1, .no_slope = true},
};
/* clang-format on */

/* ---- running it ---- */

static golden_file goldens;

/* A row on a device. */
typedef struct test_case {
    const op_row *row;
    const char *device;
    char name[96];
} test_case;

static counted memory;
static kn_ctx *ctx;

static int open_context(void **state) {
    (void)state;
    golden_load(&goldens, KN_TEST_DIR "/data/ops_golden.txt");
    ctx = counted_ctx(&memory, "reference");
    return 0;
}

static int close_context(void **state) {
    (void)state;
    counted_ctx_free(&memory, ctx);
    return 0;
}

static int between_rows(void **state) {
    (void)state;
    kn_error_take(ctx);
    kn_step_end(ctx);
    return 0;
}

static void one_row_on_one_device(void **state) {
    const test_case *c = *state;
    const golden *g = golden_find(&goldens, c->row->name);
    if (g == NULL)
        fail_msg("%s has no golden: add it to tools/make_op_goldens.py", c->row->name);
    row_matches_golden(ctx, c->device, c->row, g);
    if (strcmp(c->device, "reference") != 0)
        row_matches_reference(ctx, c->device, c->row);
    else if (!c->row->no_slope)
        row_matches_slope(ctx, c->row);
    row_matches_bf16(ctx, c->device, c->row);
    row_refuses(ctx, c->device, c->row);
    row_notices_writes(ctx, c->device, c->row);
}

static void every_golden_has_its_row(void **state) {
    (void)state;
    for (int i = 0; i < goldens.rows; i++)
        if (!goldens.row[i].used)
            fail_msg("%s is in the goldens, not in the table", goldens.row[i].name);
}

static bool has_row(const char *op, size_t length) {
    for (size_t i = 0; i < KN_COUNT(table); i++)
        if (strncmp(table[i].name, op, length) == 0 && table[i].name[length] == '/')
            return true;
    return false;
}

/* Reads the public header: an op declared there without a row here fails. */
static void every_op_has_a_row(void **state) {
    (void)state;
    static const char declaration[] = "KN_API kn_tensor *kn_";
    FILE *f = fopen(KN_TEST_DIR "/../include/kiln/ops.h", "r");
    assert_non_null(f);
    char line[256];
    int ops = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, declaration, sizeof declaration - 1) != 0)
            continue;
        const char *op = line + sizeof declaration - 1;
        size_t length = strcspn(op, "(");
        if (!has_row(op, length))
            fail_msg("kn_%.*s has no row in the table", (int)length, op);
        ops++;
    }
    fclose(f);
    assert_in_range(ops, 28, 1000);
}

enum { DEVICES = 2, CASES = DEVICES * KN_COUNT(table) + 2 };

static struct CMUnitTest tests[CASES];
static test_case cases[CASES];

int main(void) {
    const char *devices[DEVICES] = {"reference", "cpu"}, *only = getenv("KILN_TEST_DEVICE");
    int device_count = DEVICES;
    size_t count = 0;
    if (only != NULL && only[0] != '\0') {
        devices[0] = only;
        device_count = 1;
    }
    for (size_t i = 0; i < KN_COUNT(table); i++)
        for (int d = 0; d < device_count; d++) {
            test_case *c = &cases[count];
            *c = (test_case){.row = &table[i], .device = devices[d]};
            snprintf(c->name, sizeof c->name, "%s on %s", table[i].name, devices[d]);
            tests[count++] =
                (struct CMUnitTest){c->name, one_row_on_one_device, NULL, between_rows, c};
        }
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(every_golden_has_its_row);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(every_op_has_a_row);
    return _cmocka_run_group_tests("ops", tests, count, open_context, close_context);
}
