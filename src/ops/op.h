/* op.h - what every op starts with. */
#ifndef KN_OPS_OP_H
#define KN_OPS_OP_H

#include "tensor/tensor.h"

#include <kiln/ops.h>

/* For kn_op.reads: the gradients of the first input, the second, ... */
enum { KN_D1 = 1, KN_D2 = 2, KN_D3 = 4, KN_D4 = 8 };

/* False, with the first error set, unless all inputs are there, usable, on one device and of that
 * type. */
bool kn_op_inputs(kn_ctx *ctx, const char *op, kn_dtype dtype, kn_tensor *const *in, int count);

/* The same, where in[i] is an activation if bit i of images is set: all of those f32, or all bf16
 * on a device that has kernels for it; the others are f32. */
bool kn_op_mixed(kn_ctx *ctx, const char *op, kn_tensor *const *in, int count, unsigned images);

/* The same for one activation. */
bool kn_op_image(kn_ctx *ctx, const char *op, kn_tensor *x);

/* The same for one input. */
bool kn_op_input(kn_ctx *ctx, const char *op, kn_dtype dtype, kn_tensor *x);

/* The same for an input that is the op's second. */
bool kn_op_second(kn_ctx *ctx, const char *op, kn_dtype dtype, kn_tensor *x);

/* A shape error that shows both shapes. Returns NULL. */
kn_tensor *kn_op_mismatch(kn_ctx *ctx, const char *op, const kn_tensor *a, const char *text,
                          const kn_tensor *b);

/* A step tensor as weights is packed each time; a parameter's copy lasts while its version does. */
kn_weights kn_op_weights(const kn_tensor *w);

/* conv2d's shape rule. False with the error set. */
bool kn_op_conv_dims(kn_ctx *ctx, const kn_tensor *x, const kn_tensor *w, const kn_tensor *bias,
                     kn_conv2d_opts opts, kn_conv_dims *c);

/* What batch_norm checks of weight, bias and opts for an x of this shape, type and device, and what
 * kernels then get of them; room [C] twice is made for mean and inv_std. False with the error set.
 */
bool kn_op_norm(kn_ctx *ctx, const kn_tensor *x, kn_tensor *weight, kn_tensor *bias,
                kn_batch_norm_op_opts opts, kn_norm_dims *dims, kn_norm_state *state,
                kn_tensor *room[2]);

/* The end of every op: out recorded as op(in...), or NULL when status is a failure. */
kn_tensor *kn_op_done(kn_ctx *ctx, const kn_op *op, kn_status status, kn_tensor *out,
                      kn_tensor *const *in, int count, const void *args, size_t args_size);

#endif
