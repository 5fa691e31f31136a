/* op_run.h - calls of the ops in the form that a table's row wants. */
#ifndef KN_TEST_OP_RUN_H
#define KN_TEST_OP_RUN_H

#include "support/op_row.h"

#define RUN(op) kn_tensor *run_##op(kn_ctx *ctx, kn_tensor *const *in, const op_row *row);
RUN(add)
RUN(sub)
RUN(mul)
RUN(div)
RUN(eq)
RUN(neg)
RUN(exp)
RUN(log)
RUN(sqrt)
RUN(relu)
RUN(swish)
RUN(mish)
RUN(reshape)
RUN(permute)
RUN(cast)
RUN(sum)
RUN(mean)
RUN(max)
RUN(std)
RUN(argmax)
RUN(gather)
RUN(matmul)
RUN(linear_op)
RUN(conv2d)
RUN(conv2d_norm)
RUN(conv2d_norm_residual)
RUN(mean_hw)
RUN(max_pool)
RUN(avg_pool)
RUN(dropout_op)
RUN(logsumexp)
RUN(log_softmax)
RUN(softmax)
RUN(nll)
RUN(cross_entropy)
RUN(cross_entropy_with)
RUN(cross_entropy_mixed)
RUN(cast_there_and_back)
RUN(batch_norm_op)
RUN(batch_norm_op_residual)
#undef RUN

#endif
