/* training_loss.c - see training_loss.h. */
#include "learner/training_loss.h"

#include "tensor/tensor.h"

#include <math.h>

struct kn_training_loss {
    double smoothing;
    int count;         /* of class weights; 0: none */
    kn_tensor weights; /* [count], of model lifetime; on no device before the first run */
    float own[];       /* [count]: the host's copy */
};

static kn_status check(kn_ctx *ctx, const kn_learner_loss *opts) {
    if (!(opts->smoothing >= 0 && opts->smoothing <= 1))
        return kn_fail(ctx, KN_ERR_ARG, "learner: smoothing %g, expected 0 to 1", opts->smoothing);
    if (opts->class_count < 0 || (opts->class_weights == NULL) != (opts->class_count == 0))
        return kn_fail(ctx, KN_ERR_ARG, "learner: class weights %s, their count %d",
                       opts->class_weights != NULL ? "are there" : "are not there",
                       opts->class_count);
    for (int c = 0; c < opts->class_count; c++)
        if (!(opts->class_weights[c] >= 0 && isfinite(opts->class_weights[c])))
            return kn_fail(ctx, KN_ERR_ARG, "learner: the weight of class %d is %g", c,
                           opts->class_weights[c]);
    return KN_OK;
}

kn_training_loss *kn_training_loss_new(kn_ctx *ctx, kn_learner_loss opts) {
    if (check(ctx, &opts) != KN_OK)
        return NULL;
    size_t count = (size_t)opts.class_count;
    kn_training_loss *t = kn_calloc(ctx, 1, sizeof *t + count * sizeof *t->own, "the loss");
    if (t == NULL)
        return NULL;
    t->smoothing = opts.smoothing;
    t->count = opts.class_count;
    for (int c = 0; c < t->count; c++)
        t->own[c] = opts.class_weights[c];
    return t;
}

void kn_training_loss_free(kn_ctx *ctx, kn_training_loss *t) {
    if (t == NULL)
        return;
    kn_tensor_clear(&t->weights);
    kn_free(ctx, t);
}

kn_status kn_training_loss_place(kn_ctx *ctx, kn_training_loss *t, kn_loss_fn own) {
    if (own != NULL && (t->smoothing > 0 || t->count > 0))
        return kn_fail(ctx, KN_ERR_ARG,
                       "learner: smoothing and class weights belong to the learner's own cross "
                       "entropy, and there is another loss function");
    kn_device *device = kn_device_default(ctx);
    if (t->count == 0 || t->weights.device == device)
        return device != NULL ? KN_OK : kn_ctx_status(ctx);
    kn_tensor_clear(&t->weights);
    kn_status status = kn_tensor_init(ctx, &t->weights, device, KN_F32, KN_SHAPE(t->count));
    if (status == KN_OK)
        status = kn_tensor_write(ctx, &t->weights, t->own, (size_t)t->count * sizeof *t->own);
    if (status != KN_OK) /* so that the next run tries again */
        kn_tensor_clear(&t->weights);
    return status;
}

kn_cross_entropy_opts kn_training_loss_opts(kn_training_loss *t) {
    return (kn_cross_entropy_opts){.smoothing = t->smoothing,
                                   .class_weights = t->count > 0 ? &t->weights : NULL};
}
