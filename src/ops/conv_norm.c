/* conv_norm.c - a convolution and the batch normalisation of its result in one pass over it, where
 * nobody will ask for gradients. Else they are the two ops, of which the first's result is kept. */
#include "ops/op.h"

enum { X_AND_RESIDUAL = 1 << 0 | 1 << 4 }; /* of in: activations */

static bool has_kernel(const kn_tensor *x) {
    const kn_device *d = x->device;
    return x->dtype == KN_BF16 ? d->bf16 != NULL && d->bf16->conv_norm != NULL
                               : d->ops->conv_norm != NULL;
}

static kn_status run(const kn_conv_dims *c, const kn_tensor *x, const kn_tensor *weight,
                     const kn_norm_dims *n, const kn_norm_state *s, const kn_tensor *residual,
                     kn_tensor *y) {
    kn_device *d = x->device;
    const void *add = residual != NULL ? residual->data : NULL;
    return x->dtype == KN_BF16
               ? d->bf16->conv_norm(d, c, x->data, kn_op_weights(weight), n, s, add, y->data)
               : d->ops->conv_norm(d, c, x->data, kn_op_weights(weight), n, s, add, y->data);
}

kn_tensor *kn_conv2d_norm(kn_ctx *ctx, kn_tensor *x, kn_tensor *weight, kn_conv2d_opts conv,
                          kn_tensor *gamma, kn_tensor *beta, kn_batch_norm_op_opts norm) {
    kn_tensor *in[5] = {x, weight, gamma, beta, norm.residual}, *room[2];
    int count = norm.residual != NULL ? 5 : 4;
    if (x == NULL || conv.relu || norm.training || kn_recording(ctx, in, count) || !has_kernel(x))
        return kn_batch_norm_op(ctx, kn_conv2d(ctx, x, weight, NULL, conv), gamma, beta, norm);
    kn_conv_dims c;
    kn_norm_dims n;
    kn_norm_state state;
    if (!kn_op_mixed(ctx, "conv2d_norm", in, count, X_AND_RESIDUAL) ||
        !kn_op_conv_dims(ctx, x, weight, NULL, conv, &c))
        return NULL;
    kn_tensor *y = kn_tensor_new(ctx, x->device, x->dtype, KN_SHAPE(c.n, c.out_h, c.out_w, c.out));
    if (y == NULL || !kn_op_norm(ctx, y, gamma, beta, norm, &n, &state, room))
        return NULL;
    return run(&c, x, weight, &n, &state, norm.residual, y) == KN_OK ? y : NULL;
}
