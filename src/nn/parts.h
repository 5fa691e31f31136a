/* parts.h - what constructors of layers and models share. */
#ifndef KN_NN_PARTS_H
#define KN_NN_PARTS_H

#include "nn/module.h"

#include <kiln/layers.h>
#include <kiln/ops.h>

/* The end of a constructor: m, or NULL (and m freed) when something failed on the way. */
kn_module *kn_made(kn_module *m, bool good);

/* As kn_sequential_of, with children named "0", "1", ... as in PyTorch. */
kn_module *kn_sequence(kn_ctx *ctx, kn_module *const *modules, int count);

/* act(x); x itself for KN_ACT_NONE. */
kn_tensor *kn_act_apply(kn_ctx *ctx, kn_act act, kn_tensor *x);

/* The weight of a kn_conv_layer without bias and activation that nobody watches, and how it goes
 * over an image. NULL: m is no such. */
kn_tensor *kn_bare_conv(const kn_module *m, kn_conv2d_opts *opts);

/* act(norm(conv(x)) + residual) of a kn_conv_layer and a kn_batch_norm, in one kernel or two where
 * act is relu or none and nobody watches them; the bits are the same. residual may be NULL: none.
 */
kn_tensor *kn_conv_norm_act(kn_module *conv, kn_module *norm, kn_act act, kn_tensor *x,
                            kn_tensor *residual);

/* A stage of a residual network: count blocks one after the other, as "0", "1", ...; the first has
 * the stride. make(ctx, user, in, out, stride) gives a block. */
typedef kn_module *(*kn_block_fn)(kn_ctx *ctx, const void *user, int in, int out, int stride);
kn_module *kn_stage(kn_ctx *ctx, kn_block_fn make, const void *user, int in, int out, int stride,
                    int count);

#endif
