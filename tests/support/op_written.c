/* op_written.c - see op_written.h. What gradients would be is found out by a write that nobody is
 * told of. */
#include "support/op_written.h"

#include "support/check.h"

#include "tensor/tensor.h"

#include <string.h>

enum { RESULT = ROW_INPUTS };

typedef enum write_kind { UNTOUCHED, SILENTLY, TOLD } write_kind;

typedef struct outcome {
    kn_status status;
    bool differentiable; /* f32, not empty, and something was recorded */
    int64_t count;
    float grads[ROW_INPUTS * ROW_NUMBERS]; /* of all operands that have one */
} outcome;

/* Other numbers, of f32 with other signs, that an index may be, too. */
static void write_others(kn_ctx *ctx, kn_tensor *t, int limit, write_kind how) {
    float f32[ROW_NUMBERS];
    int32_t i32[ROW_NUMBERS];
    const void *data = t->dtype == KN_F32 ? (const void *)f32 : i32;
    size_t bytes = kn_tensor_bytes(t);
    assert_int_equal(kn_tensor_read(ctx, t, t->dtype == KN_F32 ? (void *)f32 : i32, bytes), KN_OK);
    for (int64_t i = 0; i < t->numel; i++)
        if (t->dtype == KN_F32)
            f32[i] = 0.75f - f32[i];
        else
            i32[i] = (i32[i] + 1) % limit;
    assert_int_equal(how == TOLD ? kn_tensor_write(ctx, t, data, bytes)
                                 : t->device->ops->copy_in(t->device, t->data, data, bytes),
                     KN_OK);
}

/* The row's gradients where `which` was written to after the op. */
static void run_written(kn_ctx *ctx, const char *device, const op_row *row, unsigned wanted,
                        int which, write_kind how, outcome *o) {
    kn_tensor *in[ROW_INPUTS] = {0};
    check_use(ctx, device);
    for (int i = 0; i < ROW_INPUTS; i++) {
        in[i] = row_operand(ctx, row, i, in[0]);
        bool own = row->in[i].there && !row->in[i].same;
        if (own && kn_tensor_dtype(in[i]) == KN_F32 && (wanted >> i & 1))
            kn_require_grad(ctx, in[i]);
    }
    kn_tensor *y = row->run(ctx, in, row);
    *o = (outcome){.differentiable = y->dtype == KN_F32 && y->numel > 0 && y->node >= 0};
    if (o->differentiable) {
        if (how != UNTOUCHED)
            write_others(ctx, which == RESULT ? y : in[which],
                         which == RESULT ? 0 : row->in[which].limit, how);
        o->status = kn_backward(ctx, row_loss(ctx, y));
    }
    for (int i = 0; i < ROW_INPUTS && o->differentiable && o->status == KN_OK; i++) {
        kn_tensor *grad = row->in[i].there && !row->in[i].same ? kn_grad(ctx, in[i]) : NULL;
        if (grad == NULL)
            continue;
        check_read(ctx, grad, grad->numel, o->grads + o->count);
        o->count += grad->numel;
    }
    kn_step_end(ctx);
}

static void check_written(kn_ctx *ctx, const char *device, const op_row *row, unsigned wanted,
                          int which) {
    outcome plain, silently, told;
    run_written(ctx, device, row, wanted, which, UNTOUCHED, &plain);
    if (!plain.differentiable)
        return;
    run_written(ctx, device, row, wanted, which, SILENTLY, &silently);
    check_good(ctx, row->name);
    run_written(ctx, device, row, wanted, which, TOLD, &told);
    size_t bytes = (size_t)plain.count * sizeof(float);
    assert_int_equal(plain.count, silently.count);
    bool matters = memcmp(plain.grads, silently.grads, bytes) != 0;
    if (told.status == KN_OK && matters)
        fail_msg("%s on %s, gradients 0x%x: a write to operand %d gives others in silence",
                 row->name, device, wanted, which + 1);
    if (told.status == KN_OK)
        return;
    check_error(ctx, KN_ERR_STATE, "was written to since, and the gradient needs what it was");
    if (!matters && !row->no_slope && !row->level)
        fail_msg("%s on %s, gradients 0x%x: a write to operand %d changes nothing, and is refused",
                 row->name, device, wanted, which + 1);
}

void row_notices_writes(kn_ctx *ctx, const char *device, const op_row *row) {
    for (int which = 0; which <= RESULT; which++) {
        const operand *o = which == RESULT ? &row->in[0] : &row->in[which];
        bool fixed = which != RESULT && o->kind == INDEX && o->limit == 1; /* nothing else fits */
        if (!o->there || o->same || o->kind == BYTES || fixed)
            continue;
        check_written(ctx, device, row, ~0u, which);
        for (int only = 0; only < ROW_INPUTS && row->in[only].there; only++)
            check_written(ctx, device, row, 1u << only, which);
    }
}
