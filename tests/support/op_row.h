/* op_row.h - a row of the op test's table, and everything that is checked of it. */
#ifndef KN_TEST_OP_ROW_H
#define KN_TEST_OP_ROW_H

#include "support/golden.h"
#include "support/numbers.h"

#include <kiln/ops.h>

enum { ROW_INPUTS = GOLDEN_INPUTS, ROW_NUMBERS = 512 };

typedef struct operand {
    number_kind kind;
    bool there;
    bool same; /* the first operand once more */
    int limit; /* INDEX: the numbers are below it */
    kn_shape shape;
    const float *values; /* LISTED */
} operand;

typedef struct op_row op_row;

struct op_row {
    const char *name; /* OP/what is special; OP is kn_OP without its prefix */
    kn_tensor *(*run)(kn_ctx *ctx, kn_tensor *const *in, const op_row *row);
    operand in[ROW_INPUTS];
    /* What run passes on. */
    int axis;
    kn_axes axes;
    kn_reduce_opts reduce;
    kn_conv2d_opts conv;
    double smoothing;
    kn_pool_opts pool;
    kn_batch_norm_op_opts norm;
    double p;
    kn_dtype dtype;
    kn_shape shape;
    int order[KN_MAX_RANK];
    /* How it is checked. */
    bool no_slope; /* not differentiable there: not compared with differences of the op itself */
    bool kinks;    /* not differentiable nearby: compared with smaller differences */
    bool level;    /* what backward reads makes no difference to these gradients */
};

/* Operands in a row. SHAPE() is a constant, where KN_SHAPE() is a compound literal. */
#define SHAPE(...)                                                                                 \
    {                                                                                              \
        (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {                               \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define X(...)                                                                                     \
    { .there = true, .kind = WIDE, .shape = SHAPE(__VA_ARGS__) }
#define P(...)                                                                                     \
    { .there = true, .kind = POSITIVE, .shape = SHAPE(__VA_ARGS__) }
#define Z(...)                                                                                     \
    { .there = true, .kind = OFF_ZERO, .shape = SHAPE(__VA_ARGS__) }
#define C(...)                                                                                     \
    { .there = true, .kind = COARSE, .shape = SHAPE(__VA_ARGS__) }
#define B(...)                                                                                     \
    { .there = true, .kind = BYTES, .shape = SHAPE(__VA_ARGS__) }
#define I(n, ...)                                                                                  \
    { .there = true, .kind = INDEX, .limit = (n), .shape = SHAPE(__VA_ARGS__) }
#define V(v, ...)                                                                                  \
    { .there = true, .kind = LISTED, .values = (v), .shape = SHAPE(__VA_ARGS__) }
#define X0                                                                                         \
    { .there = true, .kind = WIDE }
#define P0                                                                                         \
    { .there = true, .kind = POSITIVE }
#define Z0                                                                                         \
    { .there = true, .kind = OFF_ZERO }
#define SAME                                                                                       \
    { .there = true, .same = true }

/* Operand i on the default device; NULL where the row has none. first: operand 0, for SAME. */
kn_tensor *row_operand(kn_ctx *ctx, const op_row *row, int i, kn_tensor *first);

/* The loss of a result: sum(y * weights), with fixed weights. */
kn_tensor *row_loss(kn_ctx *ctx, kn_tensor *y);

/* On a device: the values and gradients of the golden; the same gradient for an operand when only
 * it wants one, and none for the others; twice the gradient when the op is used twice. */
void row_matches_golden(kn_ctx *ctx, const char *device, const op_row *row, const golden *g);

/* The same values and gradients as the reference. */
void row_matches_reference(kn_ctx *ctx, const char *device, const op_row *row);

/* The operands, by bits, that may all be bf16; 0: none. */
unsigned row_images(const op_row *row);

/* The same values and gradients in bf16, as near as that has digits, where the op and the device
 * can. */
void row_matches_bf16(kn_ctx *ctx, const char *device, const op_row *row);

/* On the reference: the gradient tells how the op changes along random directions. */
void row_matches_slope(kn_ctx *ctx, const op_row *row);

#endif
