/* op_row.c - see op_row.h. An op's result becomes the loss sum(result * weights), with fixed
 * weights, so that every element of the result has a gradient of its own. */
#include "support/op_row.h"

#include "support/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The stream of numbers for the weights of the loss, and the first for directions. */
enum { WEIGHTS = 7, DIRECTIONS = 20, DIRECTION_COUNT = 3 };

/* Relative to the largest number of a tensor. The reference sums in double. */
static const double exact = 1e-6, near = 1e-5;

/* Of bf16, which has 8 bits: a result is rounded once, a gradient at each step on its way. */
static const double rounded_once = 0x1p-8, rounded_often = 0x1p-6;

/* ---- running a row once ---- */

/* What activations are: f32; f32 with the digits of bf16, weights too; or bf16. */
typedef enum form { PLAIN, ROUNDED, HALVES } form;

typedef struct outcome {
    kn_dtype dtype;
    kn_shape shape;
    int64_t count, in_count[ROW_INPUTS];
    float out[ROW_NUMBERS];
    bool has_grad[ROW_INPUTS];
    float grad[ROW_INPUTS][ROW_NUMBERS];
} outcome;

typedef union cells {
    float f32[ROW_NUMBERS];
    int32_t i32[ROW_NUMBERS];
    uint8_t u8[ROW_NUMBERS];
    uint16_t bf16[ROW_NUMBERS];
} cells;

unsigned row_images(const op_row *row) {
    static const struct {
        const char *op;
        unsigned images;
    } ops[] = {{"neg/", 1},
               {"exp/", 1},
               {"log/", 1},
               {"sqrt/", 1},
               {"relu/", 1},
               {"swish/", 1},
               {"mish/", 1},
               {"conv2d/", 1},
               {"conv2d_norm/eval", 1},
               {"conv2d_norm/", 1 | 1 << 4},
               {"mean_hw/", 1},
               {"max_pool/", 1},
               {"avg_pool/", 1},
               {"dropout_op/", 1},
               {"add/", 3},
               {"batch_norm_op/eval", 1},
               {"batch_norm_op/", 1 | 1 << 3}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (strncmp(row->name, ops[i].op, strlen(ops[i].op)) == 0) {
            bool two = ops[i].images == 3; /* of one shape only */
            bool alike = kn_shape_equal(&row->in[0].shape, &row->in[1].shape);
            return two && (!alike || row->in[1].same) ? 0 : ops[i].images;
        }
    return 0;
}

static kn_dtype dtype_of(number_kind kind) {
    return kind == INDEX ? KN_I32 : kind == BYTES ? KN_U8 : KN_F32;
}

/* shift: NULL, or what is added. */
static kn_tensor *shifted_operand(kn_ctx *ctx, const op_row *row, int i, kn_tensor *first,
                                  const float *shift) {
    const operand *o = &row->in[i];
    cells values;
    if (!o->there || o->same)
        return o->same ? first : NULL;
    int64_t n = kn_shape_numel(&o->shape);
    assert_in_range(n, 0, ROW_NUMBERS);
    if (o->kind == LISTED)
        memcpy(values.f32, o->values, (size_t)n * sizeof(float));
    else
        numbers_fill(o->kind, (unsigned)i, o->limit, n, &values);
    for (int64_t k = 0; shift != NULL && k < n; k++)
        values.f32[k] += shift[k];
    return kn_from(ctx, dtype_of(o->kind), o->shape, &values);
}

kn_tensor *row_operand(kn_ctx *ctx, const op_row *row, int i, kn_tensor *first) {
    return shifted_operand(ctx, row, i, first, NULL);
}

static float number_of(kn_dtype dtype, const cells *values, int64_t i) {
    uint32_t bits = (uint32_t)values->bf16[i] << 16;
    float upper;
    memcpy(&upper, &bits, sizeof upper);
    return dtype == KN_I32    ? (float)values->i32[i]
           : dtype == KN_U8   ? (float)values->u8[i]
           : dtype == KN_BF16 ? upper
                              : values->f32[i];
}

static void read_result(kn_ctx *ctx, const kn_tensor *y, outcome *o) {
    cells values;
    o->dtype = kn_tensor_dtype(y);
    o->shape = *kn_tensor_shape(y);
    o->count = kn_tensor_numel(y);
    assert_in_range(o->count, 0, ROW_NUMBERS);
    kn_tensor_read(ctx, y, &values, (size_t)o->count * kn_dtype_size(o->dtype));
    for (int64_t i = 0; i < o->count; i++)
        o->out[i] = number_of(o->dtype, &values, i);
}

kn_tensor *row_loss(kn_ctx *ctx, kn_tensor *y) {
    float weights[ROW_NUMBERS];
    if (kn_tensor_dtype(y) == KN_BF16)
        y = kn_cast(ctx, y, KN_F32);
    numbers_fill(OFF_ZERO, WEIGHTS, 0, kn_tensor_numel(y), weights);
    kn_tensor *w = kn_from(ctx, KN_F32, *kn_tensor_shape(y), weights);
    return kn_sum(ctx, kn_mul(ctx, y, w), KN_ALL, (kn_reduce_opts){0});
}

static void read_grads(kn_ctx *ctx, const op_row *row, kn_tensor *const *in, outcome *o) {
    for (int i = 0; i < ROW_INPUTS && row->in[i].there; i++) {
        o->in_count[i] = kn_tensor_numel(in[i]);
        kn_tensor *grad = row->in[i].same ? NULL : kn_grad(ctx, in[i]);
        o->has_grad[i] = grad != NULL;
        if (grad == NULL)
            continue;
        assert_true(kn_shape_equal(kn_tensor_shape(grad), kn_tensor_shape(in[i])));
        check_read(ctx, grad, o->in_count[i], o->grad[i]);
    }
}

static bool is_conv_weight(const op_row *row, int i) {
    return i == 1 && strncmp(row->name, "conv2d", 6) == 0;
}

/* The digits of bf16, in f32. */
static kn_tensor *round_operand(kn_ctx *ctx, kn_tensor *x) {
    float values[ROW_NUMBERS];
    kn_tensor *rounded = kn_cast(ctx, kn_cast(ctx, x, KN_BF16), KN_F32);
    check_read(ctx, rounded, kn_tensor_numel(rounded), values);
    return kn_from(ctx, KN_F32, *kn_tensor_shape(x), values); /* nobody's result */
}

/* Runs the op (twice on the same operands, if told), and backward if an operand that wants a
 * gradient can have one. */
static void run_form(kn_ctx *ctx, const char *device, const op_row *row, unsigned wanted,
                     bool twice, form as, outcome *o) {
    kn_tensor *in[ROW_INPUTS] = {0}, *given[ROW_INPUTS];
    check_use(ctx, device);
    for (int i = 0; i < ROW_INPUTS; i++) {
        in[i] = row_operand(ctx, row, i, in[0]);
        bool own = row->in[i].there && !row->in[i].same, image = row_images(row) >> i & 1;
        if (own && as != PLAIN && (image || is_conv_weight(row, i)))
            in[i] = round_operand(ctx, in[i]);
        if (own && kn_tensor_dtype(in[i]) == KN_F32 && (wanted >> i & 1))
            kn_require_grad(ctx, in[i]);
        given[i] = own && image && as == HALVES ? kn_cast(ctx, in[i], KN_BF16) : in[i];
    }
    kn_tensor *y = row->run(ctx, given, row);
    check_good(ctx, row->name);
    assert_non_null(y);
    if (as == HALVES)
        y = kn_cast(ctx, y, KN_F32);
    read_result(ctx, y, o);
    if (o->dtype == KN_F32 && wanted != 0) {
        kn_tensor *loss = row_loss(ctx, y);
        if (twice)
            loss = kn_add(ctx, loss, row_loss(ctx, row->run(ctx, given, row)));
        kn_status status = kn_backward(ctx, loss);
        if (status == KN_ERR_STATE) /* nothing recorded: no operand can have a gradient */
            check_error(ctx, KN_ERR_STATE, "nothing was recorded");
        else
            check_good(ctx, row->name);
    }
    read_grads(ctx, row, in, o);
    check_good(ctx, row->name);
    kn_step_end(ctx);
}

static void run_row(kn_ctx *ctx, const char *device, const op_row *row, unsigned wanted, bool twice,
                    outcome *o) {
    run_form(ctx, device, row, wanted, twice, PLAIN, o);
}

/* ---- against the golden ---- */

static void check_spec(const op_row *row, const outcome *o, const golden *g) {
    char text[KN_SHAPE_TEXT];
    int inputs = 0;
    while (inputs < ROW_INPUTS && row->in[inputs].there) {
        const operand *from = &row->in[row->in[inputs].same ? 0 : inputs];
        assert_string_equal(kn_shape_text(&from->shape, text), g->in[inputs]);
        inputs++;
    }
    assert_int_equal(inputs, g->inputs);
    assert_string_equal(kn_dtype_name(o->dtype), g->dtype);
    assert_string_equal(kn_shape_text(&o->shape, text), g->shape);
    assert_int_equal(o->count, g->out_count);
}

/* Types but f32 have one right answer. */
static double tolerance_of(const char *device, kn_dtype dtype) {
    return dtype != KN_F32 ? 0 : strcmp(device, "reference") == 0 ? exact : near;
}

static void check_one_grad(const char *device, const op_row *row, const char *how, int i,
                           const outcome *o, float times, const golden *g) {
    char what[160];
    float want[ROW_NUMBERS];
    snprintf(what, sizeof what, "%s on %s, %s: gradient of operand %d", row->name, device, how, i);
    if (o->has_grad[i] != (g->grad[i] != NULL))
        fail_msg("%s: %s", what, o->has_grad[i] ? "there is one, and should not" : "there is none");
    if (!o->has_grad[i])
        return;
    assert_int_equal(o->in_count[i], g->grad_count[i]);
    for (int64_t k = 0; k < o->in_count[i]; k++)
        want[k] = times * g->grad[i][k];
    check_numbers(what, o->in_count[i], o->grad[i], want, tolerance_of(device, KN_F32));
}

void row_matches_golden(kn_ctx *ctx, const char *device, const op_row *row, const golden *g) {
    char what[160];
    outcome o;
    run_row(ctx, device, row, ~0u, false, &o);
    check_spec(row, &o, g);
    snprintf(what, sizeof what, "%s on %s", row->name, device);
    check_numbers(what, o.count, o.out, g->out, tolerance_of(device, o.dtype));
    for (int i = 0; i < g->inputs; i++)
        check_one_grad(device, row, "all wanted", i, &o, 1, g);

    run_row(ctx, device, row, ~0u, true, &o);
    for (int i = 0; i < g->inputs; i++)
        check_one_grad(device, row, "used twice", i, &o, 2, g);

    for (int only = 0; only < g->inputs; only++) {
        golden one = *g;
        for (int i = 0; i < g->inputs; i++)
            one.grad[i] = i == only ? g->grad[i] : NULL;
        run_row(ctx, device, row, 1u << only, false, &o);
        for (int i = 0; i < g->inputs; i++)
            check_one_grad(device, row, "one wanted", i, &o, 1, &one);
    }
    run_row(ctx, device, row, 0, false, &o);
    for (int i = 0; i < g->inputs; i++)
        assert_false(o.has_grad[i]);
}

/* ---- against the reference ---- */

void row_matches_reference(kn_ctx *ctx, const char *device, const op_row *row) {
    char what[160];
    outcome own, reference;
    run_row(ctx, device, row, ~0u, false, &own);
    run_row(ctx, "reference", row, ~0u, false, &reference);
    assert_int_equal(own.dtype, reference.dtype);
    assert_true(kn_shape_equal(&own.shape, &reference.shape));
    snprintf(what, sizeof what, "%s on %s, against the reference", row->name, device);
    check_numbers(what, own.count, own.out, reference.out, tolerance_of(device, own.dtype));
    for (int i = 0; i < ROW_INPUTS && row->in[i].there; i++) {
        assert_int_equal(own.has_grad[i], reference.has_grad[i]);
        if (own.has_grad[i])
            check_numbers(what, own.in_count[i], own.grad[i], reference.grad[i], near);
    }
}

/* ---- in bf16, against the reference in f32 ---- */

void row_matches_bf16(kn_ctx *ctx, const char *device, const op_row *row) {
    char what[160];
    outcome halves, whole;
    kn_device *d = kn_device_open(ctx, device);
    bool between = strncmp(row->name, "conv2d_norm/", 12) == 0 || /* rounded there too */
                   strncmp(row->name, "batch_norm_op/residual", 22) == 0;
    if (row_images(row) == 0 || row->in[0].kind == LISTED || !kn_device_can(d, KN_BF16))
        return;
    for (int twice = 0; twice < 2; twice++) {
        run_form(ctx, device, row, ~0u, twice, HALVES, &halves);
        run_form(ctx, "reference", row, ~0u, twice, ROUNDED, &whole);
        snprintf(what, sizeof what, "%s on %s in bf16%s", row->name, device,
                 twice ? ", used twice" : "");
        assert_true(kn_shape_equal(&halves.shape, &whole.shape));
        check_numbers(what, whole.count, halves.out, whole.out,
                      between ? rounded_often : rounded_once);
        for (int i = 0; i < ROW_INPUTS && row->in[i].there; i++) {
            assert_int_equal(halves.has_grad[i], whole.has_grad[i]);
            if (whole.has_grad[i])
                check_numbers(what, whole.in_count[i], halves.grad[i], whole.grad[i],
                              rounded_often);
        }
    }
}

/* ---- against its own slope ---- */

/* The loss in double, operand i being shifted. *square: the sum of its terms' squares. */
static double shifted_loss(kn_ctx *ctx, const op_row *row, int i, const float *shift,
                           double *square) {
    kn_tensor *in[ROW_INPUTS] = {0};
    outcome o;
    float weights[ROW_NUMBERS];
    for (int k = 0; k < ROW_INPUTS; k++)
        in[k] = shifted_operand(ctx, row, k, in[0], k == i ? shift : NULL);
    kn_tensor *y = row->run(ctx, in, row);
    check_good(ctx, row->name);
    read_result(ctx, y, &o);
    kn_step_end(ctx);
    numbers_fill(OFF_ZERO, WEIGHTS, 0, o.count, weights);
    double loss = 0;
    *square = 0;
    for (int64_t k = 0; k < o.count; k++) {
        double term = (double)o.out[k] * weights[k];
        loss += term;
        *square += term * term;
    }
    return loss;
}

static void check_direction(kn_ctx *ctx, const op_row *row, int i, unsigned direction,
                            const outcome *o) {
    float up[ROW_NUMBERS], down[ROW_NUMBERS];
    float step = row->kinks ? 0x1p-13f : 0x1p-10f;
    double expected = 0, size = 0, square;
    numbers_fill(OFF_ZERO, DIRECTIONS + direction, 0, o->in_count[i], up);
    for (int64_t k = 0; k < o->in_count[i]; k++) {
        up[k] = up[k] < 0 ? -step : step;
        down[k] = -up[k];
        double term = 2.0 * up[k] * o->grad[i][k];
        expected += term;
        size += term * term;
    }
    double seen = shifted_loss(ctx, row, i, up, &square);
    seen -= shifted_loss(ctx, row, i, down, &square);
    /* A thousandth of what the terms are like, and the rounding of the op's f32 results. */
    double allowed = 1e-3 * sqrt(size) + 0x1p-22 * sqrt(square);
    if (!(fabs(seen - expected) <= allowed))
        fail_msg("%s: along direction %u of operand %d the loss changes by %.9g, its gradient says "
                 "%.9g, allowed difference %.2g",
                 row->name, direction, i, seen, expected, allowed);
}

void row_matches_slope(kn_ctx *ctx, const op_row *row) {
    outcome o;
    run_row(ctx, "reference", row, ~0u, false, &o);
    for (int i = 0; i < ROW_INPUTS && row->in[i].there; i++)
        for (unsigned direction = 0; o.has_grad[i] && direction < DIRECTION_COUNT; direction++)
            check_direction(ctx, row, i, direction, &o);
}
