/* activations.h - what the layers of a model give while it is trained: a dead layer, or one that
 * drowns, shows here first (fastai's ActivationStats). */
#ifndef KILN_ACTIVATIONS_H
#define KILN_ACTIVATIONS_H

#include <kiln/learner.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values of this size or less count as near zero. (fastai counts all that are 0.05 or less, which
 * is the same behind a relu.) */
#define KN_NEAR_ZERO 0.05F

/* module and folder are borrowed and must outlast the callback. */
typedef struct kn_activation_opts {
    kn_module *const *module; /* [modules], in the model; NULL: all that have parameters and no
                                 children */
    int modules;
    int every;          /* training batches from one record to the next; 0: 1 */
    const char *folder; /* activations.csv and activations.svg are written there when the fit ends;
                           NULL: nothing is written */
} kn_activation_opts;

/* Records mean, standard deviation (n - 1) and share near zero of each module's output in training,
 * one pass over the output on its device; read when the fit ends. Changes no bit of the training.
 * Of a module that is called several times in a batch the last call counts. */
KN_API kn_callback *kn_activation_stats_cb(kn_ctx *ctx, kn_activation_opts opts);

/* A table of a layer's numbers after another's: that of layer i at record k is [i * records + k].
 * NaN where the layer was not called. */
typedef struct kn_activations {
    int layers, records;
    const char *const *name; /* [layers]: as in the model, "layers.0" */
    const double *batch;     /* [records]: training batches of the fit before this one */
    const double *mean, *std, *near_zero;
} kn_activations;

/* Of the last fit, when it has ended; empty before. The callback's, until the next fit. */
KN_API kn_activations kn_activation_stats(const kn_learner *l);

#ifdef __cplusplus
}
#endif
#endif
