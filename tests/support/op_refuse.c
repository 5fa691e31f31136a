/* op_refuse.c - see op_refuse.h. */
#include "support/op_refuse.h"

#include "support/check.h"
#include "support/op_run.h"

#include "tensor/tensor.h"

#include <stdio.h>
#include <string.h>

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

/* The last operand of these is a bias or a residual, which NULL leaves out, or has its own message.
 */
static bool optional(const op_row *row, int i) {
    if (starts_with(row->name, "batch_norm_op/"))
        return i > 2;
    if (starts_with(row->name, "conv2d_norm/"))
        return i > 3;
    return i == 2 && (starts_with(row->name, "conv2d/") || starts_with(row->name, "linear_op/") ||
                      row->run == run_cross_entropy_with);
}

/* These take every type. */
static bool any_type(const op_row *row) {
    return starts_with(row->name, "reshape/") || starts_with(row->name, "permute/") ||
           starts_with(row->name, "cast/");
}

static void operands(kn_ctx *ctx, const char *device, const op_row *row, kn_tensor **in) {
    kn_error_take(ctx);
    kn_step_end(ctx);
    check_use(ctx, device);
    for (int i = 0; i < ROW_INPUTS; i++)
        in[i] = row_operand(ctx, row, i, in[0]);
    check_good(ctx, row->name);
}

static void refused(kn_ctx *ctx, const op_row *row, kn_tensor *const *in, kn_status status,
                    const char *part) {
    if (row->run(ctx, in, row) != NULL)
        fail_msg("%s: there is a result, expected the error \"%s\"", row->name, part);
    check_error(ctx, status, part);
}

static void refuses_null(kn_ctx *ctx, const char *device, const op_row *row, int i) {
    kn_tensor *in[ROW_INPUTS];
    operands(ctx, device, row, in);
    in[i] = NULL;
    kn_fail(ctx, KN_ERR_IO, "an earlier error");
    refused(ctx, row, in, KN_ERR_IO, "an earlier error");
    char part[32] = "is NULL";
    if (i < 2)
        snprintf(part, sizeof part, "operand %d is NULL", i + 1);
    refused(ctx, row, in, KN_ERR_STATE, part);
}

static void refuses_another_type(kn_ctx *ctx, const char *device, const op_row *row, int i) {
    kn_tensor *in[ROW_INPUTS];
    char part[KN_SHAPE_TEXT + 8], text[KN_SHAPE_TEXT];
    operands(ctx, device, row, in);
    kn_dtype other = row_images(row) >> i & 1 ? KN_I32 : KN_BF16;
    in[i] = kn_cast(ctx, in[i], other);
    snprintf(part, sizeof part, "is %s %s", kn_dtype_name(other),
             kn_shape_text(kn_tensor_shape(in[i]), text));
    refused(ctx, row, in, KN_ERR_SHAPE, part);
}

static void refuses_another_device(kn_ctx *ctx, const char *device, const op_row *row, int i) {
    kn_tensor *in[ROW_INPUTS];
    const char *other = strcmp(device, "reference") == 0 ? "cpu" : "reference";
    operands(ctx, device, row, in);
    in[i] = kn_to(ctx, in[i], kn_device_open(ctx, other));
    assert_non_null(in[i]);
    assert_null(row->run(ctx, in, row));
    kn_error error = kn_error_take(ctx);
    assert_int_equal(error.status, KN_ERR_DEVICE);
    check_contains(error.message, device);
    check_contains(error.message, other);
}

static void refuses_a_released_one(kn_ctx *ctx, const char *device, const op_row *row, int i) {
    kn_tensor *in[ROW_INPUTS];
    operands(ctx, device, row, in);
    kn_tensor_release(in[i]);
    refused(ctx, row, in, KN_ERR_STATE, "kn_keep holds it");
}

void row_refuses(kn_ctx *ctx, const char *device, const op_row *row) {
    for (int i = 0; i < ROW_INPUTS && row->in[i].there; i++) {
        if (row->in[i].same)
            continue;
        if (!optional(row, i))
            refuses_null(ctx, device, row, i);
        if (!any_type(row))
            refuses_another_type(ctx, device, row, i);
        if (row->in[1].there && !row->in[1].same)
            refuses_another_device(ctx, device, row, i);
        refuses_a_released_one(ctx, device, row, i);
    }
    kn_step_end(ctx);
}
