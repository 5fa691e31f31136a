/* test_ops_large.c - each device against the reference at the sizes of a real net: where threads
 * share a loop, where vectors have a rest, where the convolution runs its blocked kernels. And what
 * only repeated calls show: packed weights that are not the ones of before.
 *
 * KILN_TEST_DEVICE names the one device to test; without it it is "cpu". */
#include "support/check.h"
#include "support/counted.h"
#include "support/op_run.h"

#include "backend/cpu_exp.h"

#include "core/ctx.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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

/* ---- rows too large to be stored as goldens ---- */

#define HW (KN_AXIS(1) | KN_AXIS(2))

/* clang-format off */
static const op_row rows[] = {
    {"add", run_add, .in = {X(32, 1111), X(32, 1111)}},
    {"sub", run_sub, .in = {X(40000), X(40000)}},
    {"mul", run_mul, .in = {X(50001), X(50001)}},
    {"div", run_div, .in = {X(16385), P(16385)}},
    {"mul/channels", run_mul, .in = {X(8, 16, 16, 13), X(13)}},
    {"neg", run_neg, .in = {X(33333)}},
    {"exp", run_exp, .in = {X(33333)}},
    {"relu", run_relu, .in = {Z(3, 32, 32, 17)}},
    {"permute", run_permute, .in = {X(8, 33, 31, 3)}, .order = {0, 3, 1, 2}},
    {"sum/channels", run_sum, .in = {X(8, 33, 31, 3)}, .axes = KN_AXIS(0) | HW},
    {"mean", run_mean, .in = {X(100, 1000)}, .axes = KN_ALL},
    {"std/channels", run_std, .in = {X(8, 33, 31, 3)}, .axes = KN_AXIS(0) | HW},
    {"mean_hw", run_mean_hw, .in = {X(37, 9, 11, 29)}},
    {"mean_hw/one", run_mean_hw, .in = {X(1, 64, 64, 7)}},
    {"matmul", run_matmul, .in = {X(130, 70), X(70, 90)}},
    {"matmul/batch", run_matmul, .in = {X(5, 33, 65), X(5, 65, 17)}},
    {"matmul/large", run_matmul, .in = {X(100, 130), X(130, 90)}},
    {"matmul/deep", run_matmul, .in = {X(7, 1100), X(1100, 5)}},
    {"matmul/batch_deep", run_matmul, .in = {X(3, 8, 1030), X(3, 1030, 6)}},
    {"linear/large", run_linear_op, .in = {X(128, 512), X(20, 512), X(20)}},
    {"linear", run_linear_op, .in = {X(128, 100), X(37, 100), X(37)}},
    {"conv2d/1x1s2_shallow", run_conv2d, .in = {X(8, 64, 64, 3), X(16, 3, 1, 1), X(16)}, .conv = {2, 0, 0}},
    {"conv2d/first", run_conv2d, .in = {X(8, 32, 32, 3), X(8, 3, 5, 5), X(8)},
     .conv = {2, 2, true}},
    {"conv2d/next", run_conv2d, .in = {X(8, 16, 16, 8), X(16, 8, 3, 3), X(16)},
     .conv = {2, 1, true}},
    {"conv2d/deep", run_conv2d, .in = {X(16, 4, 4, 64), X(128, 64, 3, 3), X(128)},
     .conv = {2, 1, 0}},
    {"conv2d/same", run_conv2d, .in = {X(4, 15, 13, 32), X(32, 32, 3, 3)}, .conv = {1, 1, 0}},
    {"conv2d/1x1", run_conv2d, .in = {X(4, 9, 9, 48), X(24, 48, 1, 1), X(24)}},
    {"conv2d/1x1s2", run_conv2d, .in = {X(4, 9, 9, 16), X(32, 16, 1, 1)}, .conv = {2, 0, 0}},
    {"conv2d/stem", run_conv2d, .in = {X(2, 37, 41, 3), X(20, 3, 7, 7), X(20)}, .conv = {2, 3, 0}},
    {"conv2d/s3", run_conv2d, .in = {X(3, 23, 19, 12), X(7, 12, 4, 4), X(7)}, .conv = {3, 2, 0}},
    {"swish", run_swish, .in = {X(33333)}},
    {"mish", run_mish, .in = {X(33333)}},
    {"max_pool", run_max_pool, .in = {X(5, 33, 31, 17)}, .pool = {3, 2, 1, 0}},
    {"avg_pool", run_avg_pool, .in = {X(5, 33, 31, 17)}, .pool = {2, 2, 0, 1}},
    {"batch_norm", run_batch_norm_op_residual, .in = {X(8, 33, 31, 13), X(13), X(13)},
     .norm = {.training = 1}},
    {"batch_norm/relu", run_batch_norm_op_residual, .in = {X(8, 33, 31, 64), X(64), X(64)},
     .norm = {.training = 1, .relu = 1}},
    {"batch_norm/residual", run_batch_norm_op_residual,
     .in = {X(8, 33, 31, 13), X(13), X(13), X(8, 33, 31, 13)}, .norm = {.training = 1, .relu = 1}},
    {"batch_norm/few_rows", run_batch_norm_op_residual, .in = {X(33, 2048), X(2048), X(2048)},
     .norm = {.training = 1, .relu = 1}},
    {"dropout", run_dropout_op, .in = {X(33333)}, .p = 0.3},
    {"cross_entropy", run_cross_entropy, .in = {X(1000, 31), I(31, 1000)}},
    {"log_softmax", run_log_softmax, .in = {X(700, 100)}},
};
/* clang-format on */

/* The values and gradients of a row, one after the other; *count of them, to be freed. */
static float *all_numbers(const op_row *row, const char *device, int64_t *count) {
    kn_tensor *in[ROW_INPUTS] = {0};
    int64_t total = 0;
    check_use(ctx, device);
    for (int i = 0; i < ROW_INPUTS && row->in[i].there; i++) {
        const operand *o = &row->in[i];
        int64_t n = kn_shape_numel(&o->shape);
        void *values = malloc((size_t)n * 4);
        numbers_fill(o->kind, (unsigned)i, o->limit, n, values);
        in[i] = kn_from(ctx, o->kind == INDEX ? KN_I32 : KN_F32, o->shape, values);
        free(values);
        if (o->kind != INDEX) {
            kn_require_grad(ctx, in[i]);
            total += n;
        }
    }
    kn_tensor *y = kn_keep(ctx, row->run(ctx, in, row));
    check_good(ctx, row->name);
    int64_t numel = kn_tensor_numel(y);
    float *out = malloc((size_t)(total + numel) * sizeof *out);
    numbers_fill(OFF_ZERO, 7, 0, numel, out);
    kn_tensor *weights = kn_from(ctx, KN_F32, *kn_tensor_shape(y), out);
    kn_backward(ctx, kn_sum(ctx, kn_mul(ctx, y, weights), KN_ALL, (kn_reduce_opts){0}));
    check_good(ctx, row->name);
    check_read(ctx, y, numel, out);
    for (int i = 0; i < ROW_INPUTS && row->in[i].there; i++)
        if (row->in[i].kind != INDEX) {
            check_read(ctx, kn_grad(ctx, in[i]), kn_tensor_numel(in[i]), out + numel);
            numel += kn_tensor_numel(in[i]);
        }
    *count = numel;
    kn_step_end(ctx);
    return out;
}

/* The bound of the design: relative to the whole, not to each number. */
static double difference(const float *a, const float *b, int64_t n) {
    double square = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        square += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(square / size);
}

static void large_rows_match_the_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < KN_COUNT(rows); i++) {
        int64_t count, expected_count;
        float *got = all_numbers(&rows[i], test_device(), &count);
        float *want = all_numbers(&rows[i], "reference", &expected_count);
        assert_int_equal(count, expected_count);
        check_numbers(rows[i].name, count, got, want, 2e-5);
        double off = difference(got, want, count);
        if (!(off < 1e-6))
            fail_msg("%s on %s: differs from the reference by %.2g", rows[i].name, test_device(),
                     off);
        free(got);
        free(want);
    }
}

static void the_same_call_gives_the_same_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < KN_COUNT(rows); i++) {
        int64_t count;
        float *once = all_numbers(&rows[i], test_device(), &count);
        float *again = all_numbers(&rows[i], test_device(), &count);
        if (memcmp(once, again, (size_t)count * sizeof *once) != 0)
            fail_msg("%s on %s: a second call gives other bits", rows[i].name, test_device());
        free(once);
        free(again);
    }
}

/* ---- convolution ---- */

static kn_tensor *numbers(number_kind kind, unsigned stream, kn_shape shape) {
    float values[4096];
    assert_in_range(kn_shape_numel(&shape), 0, 4096);
    numbers_fill(kind, stream, 0, kn_shape_numel(&shape), values);
    return kn_from(ctx, KN_F32, shape, values);
}

static void the_fused_relu_is_relu_bit_for_bit(void **state) {
    (void)state;
    static const float specials[] = {NAN, INFINITY, -INFINITY, -0.0f};
    static float values[4 * 9 * 9 * 3];
    check_use(ctx, test_device());
    numbers_fill(WIDE, 0, 0, KN_COUNT(values), values);
    for (size_t i = 0; i < KN_COUNT(specials); i++)
        values[300 + 61 * i] = specials[i];
    kn_tensor *w = numbers(WIDE, 1, KN_SHAPE(8, 3, 3, 3)), *b = numbers(WIDE, 2, KN_SHAPE(8));
    static float plain[4 * 9 * 9 * 8], fused[4 * 9 * 9 * 8];
    float grads[2][216];
    for (int i = 0; i < 2; i++) {
        kn_tensor *x = kn_from(ctx, KN_F32, KN_SHAPE(4, 9, 9, 3), values);
        kn_conv2d_opts opts = {.padding = 1, .relu = i == 1};
        kn_tensor *weights = kn_require_grad(ctx, kn_detach(ctx, w));
        kn_tensor *y = kn_conv2d(ctx, x, weights, b, opts);
        y = opts.relu ? y : kn_relu(ctx, y);
        check_read(ctx, y, KN_COUNT(plain), i == 0 ? plain : fused);
        kn_backward(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0}));
        check_read(ctx, kn_grad(ctx, weights), 216, grads[i]);
    }
    int nans = 0;
    for (size_t i = 0; i < KN_COUNT(plain); i++)
        nans += isnan(plain[i]) && isnan(fused[i]);
    assert_true(nans >= 9 * 8); /* a NaN in a picture stays visible */
    assert_memory_equal(plain, fused, sizeof plain);
    assert_memory_equal(grads[0], grads[1], sizeof grads[0]);
    kn_step_end(ctx);
}

/* Of [n,side,side,in], kernels [out,in,kernel,kernel]: ways by which a device may go. */
static const struct normed {
    int n, side, in, out, kernel, stride;
} normed[] = {{40, 8, 32, 32, 3, 1},  {2, 7, 32, 48, 3, 1}, {8, 8, 144, 128, 3, 1},
              {2, 3, 144, 200, 3, 1}, {2, 9, 48, 24, 1, 1}, {1, 5, 96, 250, 1, 1},
              {3, 15, 16, 33, 3, 2},  {2, 33, 3, 16, 3, 2}, {2, 6, 17, 5, 3, 1}};

/* 0: in two calls; 1: in one; 2: in one that records. */
static void run_normed(const struct normed *n, kn_dtype dtype, bool relu, bool add, int way,
                       float *out) {
    unsigned stream = 0;
    int side = (n->side - 1) / n->stride + 1;
    kn_shape shape[7] = {KN_SHAPE(n->n, n->side, n->side, n->in),
                         KN_SHAPE(n->out, n->in, n->kernel, n->kernel),
                         KN_SHAPE(n->out),
                         KN_SHAPE(n->out),
                         KN_SHAPE(n->out),
                         KN_SHAPE(n->out),
                         KN_SHAPE(n->n, side, side, n->out)};
    kn_tensor *in[7];
    for (int i = 0; i < 7; i++) {
        int64_t count = kn_shape_numel(&shape[i]);
        float *values = malloc((size_t)count * sizeof *values);
        numbers_fill(i == 5 ? POSITIVE : WIDE, stream++, 0, count, values);
        if (i == 0)
            values[count / 2] = NAN; /* which stays visible */
        in[i] = kn_from(ctx, KN_F32, shape[i], values);
        free(values);
        if (i == 0 || i == 6)
            in[i] = kn_cast(ctx, in[i], dtype);
    }
    if (way == 2)
        kn_require_grad(ctx, in[1]);
    kn_conv2d_opts conv = {.stride = n->stride, .padding = n->kernel / 2};
    kn_batch_norm_op_opts opts = {.running_mean = in[4], .running_var = in[5], .relu = relu};
    opts.residual = add ? in[6] : NULL;
    kn_tensor *y = way == 0 ? kn_batch_norm_op(ctx, kn_conv2d(ctx, in[0], in[1], NULL, conv), in[2],
                                               in[3], opts)
                            : kn_conv2d_norm(ctx, in[0], in[1], conv, in[2], in[3], opts);
    check_good(ctx, "a normalised convolution");
    check_read(ctx, kn_cast(ctx, y, KN_F32), kn_shape_numel(&shape[6]), out);
    kn_step_end(ctx);
}

static void a_normalised_convolution_is_the_two_bit_for_bit(void **state) {
    (void)state;
    static float two[40 * 8 * 8 * 32], one[KN_COUNT(two)], recorded[KN_COUNT(two)];
    kn_device *d = kn_device_open(ctx, test_device());
    kn_device_use(ctx, d);
    for (size_t i = 0; i < KN_COUNT(normed) * 8; i++) {
        const struct normed *n = &normed[i / 8];
        kn_dtype dtype = i & 4 ? KN_BF16 : KN_F32;
        if (!kn_device_can(d, dtype))
            continue;
        run_normed(n, dtype, i & 1, i & 2, 0, two);
        run_normed(n, dtype, i & 1, i & 2, 1, one);
        run_normed(n, dtype, i & 1, i & 2, 2, recorded);
        if (memcmp(two, one, sizeof two) != 0 || memcmp(two, recorded, sizeof two) != 0)
            fail_msg("%d pictures of %d by %d, %d to %d, kernel %d, %s%s%s: other bits", n->n,
                     n->side, n->side, n->in, n->out, n->kernel, kn_dtype_name(dtype),
                     i & 1 ? ", relu" : "", i & 2 ? ", residual" : "");
    }
}

/* Fails unless the convolution of x with w, both there, is the reference's. */
static void check_conv(kn_tensor *x, kn_tensor *w, const char *what) {
    static float got[4096], want[4096], weights[4096];
    kn_device *own = kn_device_open(ctx, test_device()), *plain = kn_device_open(ctx, "reference");
    kn_conv2d_opts opts = {.stride = 2, .padding = 1};
    kn_tensor *y = kn_conv2d(ctx, x, w, NULL, opts);
    check_good(ctx, what);
    int64_t n = kn_tensor_numel(y);
    check_read(ctx, y, n, got);
    check_read(ctx, w, kn_tensor_numel(w), weights);
    kn_device_use(ctx, plain);
    kn_tensor *other = kn_from(ctx, KN_F32, *kn_tensor_shape(w), weights);
    check_read(ctx, kn_conv2d(ctx, kn_to(ctx, x, plain), other, NULL, opts), n, want);
    kn_device_use(ctx, own);
    check_numbers(what, n, got, want, 1e-5);
}

/* A device may keep a packed copy of weights, which must follow the weights. */
static void packed_weights_follow_the_weights(void **state) {
    (void)state;
    float values[16 * 8 * 9];
    kn_device *own = kn_device_open(ctx, test_device());
    kn_device_use(ctx, own);
    kn_tensor *x = numbers(WIDE, 0, KN_SHAPE(2, 8, 8, 8));
    /* Step tensors: the same shape and no version, other numbers. */
    for (unsigned stream = 1; stream < 4; stream++)
        check_conv(x, numbers(WIDE, stream, KN_SHAPE(16, 8, 3, 3)), "weights of the step");
    /* Parameters: two of one shape in turn, each rewritten in turn. */
    kn_tensor a, b;
    assert_int_equal(kn_tensor_init(ctx, &a, own, KN_F32, KN_SHAPE(16, 8, 3, 3)), KN_OK);
    assert_int_equal(kn_tensor_init(ctx, &b, own, KN_F32, KN_SHAPE(16, 8, 3, 3)), KN_OK);
    for (unsigned round = 0; round < 6; round++) {
        numbers_fill(WIDE, 10 + round, 0, KN_COUNT(values), values);
        kn_tensor_write(ctx, round % 2 == 0 ? &a : &b, values, sizeof values);
        check_conv(x, &a, "a parameter");
        check_conv(x, &b, "another parameter");
    }
    /* One that is gone, and a new one that may lie at the same place. */
    kn_tensor_clear(&a);
    assert_int_equal(kn_tensor_init(ctx, &a, own, KN_F32, KN_SHAPE(16, 8, 3, 3)), KN_OK);
    check_conv(x, &a, "zeros");
    kn_tensor_exchange(&a, &b);
    check_conv(x, &a, "exchanged");
    check_conv(x, &b, "exchanged");
    kn_tensor_exchange(&a, &b);
    check_conv(x, &a, "exchanged back");
    /* Moved into a shared buffer, and written to there. */
    kn_storage *pack = kn_storage_get(ctx, own, 2 * sizeof values);
    void *place = (char *)pack->data + sizeof values;
    assert_int_equal(own->ops->copy(own, place, a.data, sizeof values), KN_OK);
    kn_tensor_place(&a, pack, sizeof values);
    kn_storage_drop(pack);
    check_conv(x, &a, "a packed parameter");
    kn_tensor_write(ctx, &a, values, sizeof values);
    check_conv(x, &a, "a packed parameter, written to");
    kn_tensor_clear(&a);
    kn_tensor_clear(&b);
    kn_step_end(ctx);
}

/* In f32's units of the last place, from one end of its range to the other. */
static void exp_is_exact(void **state) {
    (void)state;
    for (double x = -87; x <= 88; x += 0.0137) {
        double want = exp((double)(float)x), off = fabs(kn_cpu_exp((float)x) / want - 1);
        if (!(off <= 2 * 0x1p-23))
            fail_msg("exp(%g) is off by %g", x, off);
    }
    assert_true(isnan(kn_cpu_exp(NAN)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_rows_match_the_reference),
        cmocka_unit_test(the_same_call_gives_the_same_bits),
        cmocka_unit_test(the_fused_relu_is_relu_bit_for_bit),
        cmocka_unit_test(a_normalised_convolution_is_the_two_bit_for_bit),
        cmocka_unit_test(packed_weights_follow_the_weights),
        cmocka_unit_test(exp_is_exact),
    };
    return cmocka_run_group_tests_name("ops, large", tests, open_context, close_context);
}
