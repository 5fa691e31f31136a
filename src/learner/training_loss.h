/* training_loss.h - the options of the learner's own loss in training, with the class weights on
 * the device. */
#ifndef KN_LEARNER_TRAINING_LOSS_H
#define KN_LEARNER_TRAINING_LOSS_H

#include <kiln/learner.h>

typedef struct kn_training_loss kn_training_loss;

/* NULL with the context's error set. */
kn_training_loss *kn_training_loss_new(kn_ctx *ctx, kn_learner_loss opts);
void kn_training_loss_free(kn_ctx *ctx, kn_training_loss *t); /* NULL is allowed */

/* At a run's start: the weights to the default device. KN_ERR_ARG when there are options that a
 * loss function of the user's own would not see. */
kn_status kn_training_loss_place(kn_ctx *ctx, kn_training_loss *t, kn_loss_fn own);

/* What a training batch begins with. */
kn_cross_entropy_opts kn_training_loss_opts(kn_training_loss *t);

#endif
