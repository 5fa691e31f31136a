/* op_run.c - see op_run.h. */
#include "support/op_run.h"

#define RUN(op, ...)                                                                               \
    kn_tensor *run_##op(kn_ctx *ctx, kn_tensor *const *in, const op_row *row) {                    \
        (void)row;                                                                                 \
        return kn_##op(ctx, __VA_ARGS__);                                                          \
    }
RUN(add, in[0], in[1])
RUN(sub, in[0], in[1])
RUN(mul, in[0], in[1])
RUN(div, in[0], in[1])
RUN(eq, in[0], in[1])
RUN(neg, in[0])
RUN(exp, in[0])
RUN(log, in[0])
RUN(sqrt, in[0])
RUN(relu, in[0])
RUN(swish, in[0])
RUN(mish, in[0])
RUN(reshape, in[0], row->shape)
RUN(permute, in[0], row->order)
RUN(cast, in[0], row->dtype)
RUN(sum, in[0], row->axes, row->reduce)
RUN(mean, in[0], row->axes, row->reduce)
RUN(max, in[0], row->axes, row->reduce)
RUN(std, in[0], row->axes, row->reduce)
RUN(argmax, in[0])
RUN(gather, in[0], row->axis, in[1])
RUN(matmul, in[0], in[1])
RUN(linear_op, in[0], in[1], in[2])
RUN(conv2d, in[0], in[1], in[2], row->conv)
RUN(mean_hw, in[0])
RUN(max_pool, in[0], row->pool)
RUN(avg_pool, in[0], row->pool)
RUN(dropout_op, in[0], row->p, 3, 4)
RUN(logsumexp, in[0])
RUN(log_softmax, in[0])
RUN(softmax, in[0])
RUN(nll, in[0], in[1])
RUN(cross_entropy, in[0], in[1])
RUN(cross_entropy_with, in[0], in[1], (kn_cross_entropy_opts){row->smoothing, in[2], in[3], in[4]})

/* Without class weights. */
kn_tensor *run_cross_entropy_mixed(kn_ctx *ctx, kn_tensor *const *in, const op_row *row) {
    kn_cross_entropy_opts opts = {row->smoothing, NULL, in[2], in[3]};
    return kn_cross_entropy_with(ctx, in[0], in[1], opts);
}

kn_tensor *run_cast_there_and_back(kn_ctx *ctx, kn_tensor *const *in, const op_row *row) {
    return kn_cast(ctx, kn_cast(ctx, in[0], row->dtype), KN_F32);
}

/* Beside x, weight, gamma and beta, the running mean and variance when not in training. */
kn_tensor *run_conv2d_norm(kn_ctx *ctx, kn_tensor *const *in, const op_row *row) {
    kn_batch_norm_op_opts opts = row->norm;
    opts.running_mean = in[4];
    opts.running_var = in[5];
    return kn_conv2d_norm(ctx, in[0], in[1], row->conv, in[2], in[3], opts);
}

kn_tensor *run_conv2d_norm_residual(kn_ctx *ctx, kn_tensor *const *in, const op_row *row) {
    kn_batch_norm_op_opts opts = row->norm;
    opts.residual = in[4];
    return kn_conv2d_norm(ctx, in[0], in[1], row->conv, in[2], in[3], opts);
}

/* Beside x, weight and bias, the running mean and variance are operands when not in training. */
kn_tensor *run_batch_norm_op(kn_ctx *ctx, kn_tensor *const *in, const op_row *row) {
    kn_batch_norm_op_opts opts = row->norm;
    opts.running_mean = in[3];
    opts.running_var = in[4];
    return kn_batch_norm_op(ctx, in[0], in[1], in[2], opts);
}

kn_tensor *run_batch_norm_op_residual(kn_ctx *ctx, kn_tensor *const *in, const op_row *row) {
    kn_batch_norm_op_opts opts = row->norm;
    opts.residual = in[3];
    return kn_batch_norm_op(ctx, in[0], in[1], in[2], opts);
}
