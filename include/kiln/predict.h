/* predict.h - what a trained model says about a batch of pictures, plainly or with test-time
 * augmentation: the mean of the probabilities over each picture and its mirror image (Krizhevsky,
 * Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
 * section 4.1, without its crops). Nothing is drawn at random. Not for classes that a mirror
 * turns into each other: left and right arrows, letters. */
#ifndef KILN_PREDICT_H
#define KILN_PREDICT_H

#include <kiln/learner.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_predict_opts {
    bool tta;
    kn_dtype dtype; /* of the activations: KN_F32 (0), or KN_BF16 where the device can */
} kn_predict_opts;

/* The probabilities, f32 [n,classes], of pictures u8 [n,H,W,3], on the context's device: normalise,
 * model, softmax. The caller turns the tape and the model's training mode off. */
KN_API kn_tensor *kn_predict_batch(kn_module *model, const kn_normalize *norm,
                                   const kn_batch *batch, kn_predict_opts opts);

/* In validation, preds become the logarithms of those mean probabilities, so that loss, accuracy
 * and predictions are of them. The pictures are read once. Goes with kn_setup_cb; norm is its,
 * borrowed. */
KN_API kn_callback *kn_tta_cb(kn_ctx *ctx, const kn_normalize *norm);

#ifdef __cplusplus
}
#endif
#endif
