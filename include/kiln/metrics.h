/* metrics.h - what a model said about every sample, and the figures that follow from it.
 *
 * kn_learner_predictions makes one pass over a loader (fastai's get_preds); everything else here
 * works on its result, on the host. The figures are scikit-learn's of the same names, with 0 where
 * it would divide by zero. */
#ifndef KILN_METRICS_H
#define KILN_METRICS_H

#include <kiln/learner.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- predictions ---- */

/* Of samples 0 to samples - 1, in the loader's order. Free with kn_predictions_free. */
typedef struct kn_predictions {
    int64_t samples;
    int classes;
    int64_t *index;     /* [samples] in the data set */
    int32_t *label;     /* [samples] the true class */
    int32_t *predicted; /* [samples] the first of the most probable classes */
    int32_t *rank;      /* [samples] classes placed before the label: 0 is a hit */
    float *prob;        /* [samples] of the predicted class */
    float *label_prob;  /* [samples] of the label */
    float *loss;        /* [samples] cross entropy: -log of label_prob, from the logits */
    float *probs;       /* [samples,classes] softmax; NULL with no_probs */
    size_t bytes;       /* of memory that all this takes, in one block */
    int64_t room;       /* private: samples that fit */
} kn_predictions;

typedef struct kn_predictions_opts {
    bool no_probs;     /* without the rows of probabilities: 32 bytes a sample */
    size_t max_memory; /* bytes; 0: 1 GiB. What would take more is KN_ERR_LIMIT, before the pass */
} kn_predictions_opts;

/* One pass of l's model over loader within the events of kn_learner_validate, so that normalising
 * and results work as there. *out is made anew; after a failure it is empty. */
KN_API KN_NODISCARD kn_status kn_learner_predictions(kn_learner *l, kn_loader *loader,
                                                     kn_predictions_opts opts, kn_predictions *out);
KN_API void kn_predictions_free(kn_ctx *ctx, kn_predictions *p);

/* Fills *out, which is borrowed and zero-initialised, in every validation. With kn_save_model_cb in
 * the learner it then holds the pass of the model that was saved as the best, else the last one; an
 * epoch that is left before its validation is done changes nothing. A fit of several epochs takes a
 * second block of the same size for the pass under way; max_memory is of each. */
KN_API kn_callback *kn_predictions_cb(kn_ctx *ctx, kn_predictions_opts opts, kn_predictions *out);

/* Share of samples whose label is among the k most probable classes; NaN without samples. Of
 * equally probable classes the lower number comes first. */
KN_API double kn_top_k_accuracy(const kn_predictions *p, int k);

/* Places, in p, of the count samples with the highest loss (NaN counts as the highest), the worst
 * first, of equals the earlier; no more than there are. Returns how many; -1 and the context's
 * error without memory. */
KN_API int64_t kn_top_losses(kn_ctx *ctx, const kn_predictions *p, int64_t count, int64_t *place);

/* ---- the confusion matrix ---- */

typedef struct kn_confusion {
    int classes;
    int64_t *count; /* [classes,classes]: true class down, predicted class across */
} kn_confusion;

KN_API KN_NODISCARD kn_status kn_confusion_from(kn_ctx *ctx, const kn_predictions *p,
                                                kn_confusion *out);
KN_API void kn_confusion_free(kn_ctx *ctx, kn_confusion *c);

/* precision: of what was predicted as the class, how much is of it; recall: of the class, how much
 * was found; f1: their harmonic mean, 2 right / (support + predicted). */
typedef struct kn_class_score {
    double precision, recall, f1;
    int64_t support; /* samples of the class */
} kn_class_score;

KN_API void kn_class_scores(const kn_confusion *c, kn_class_score *score /* [classes] */);

/* The mean over classes, or weighted by support (scikit-learn's macro and weighted). A class that
 * is neither among labels nor predictions is left out of the mean, as there. */
KN_API kn_class_score kn_average_score(const kn_confusion *c, bool weighted);

typedef struct kn_confused {
    int label, predicted;
    int64_t count;
} kn_confused;

/* The pairs that were confused most, fastai's most_confused: the most frequent first, of equals by
 * label, then prediction. Writes up to room of those with at least least samples (0: 1); returns
 * how many it wrote. */
KN_API int kn_most_confused(const kn_confusion *c, int64_t least, int room, kn_confused *out);

#ifdef __cplusplus
}
#endif
#endif
