/* lr_find.h - the learning rate finder: a short training whose rate grows with every batch, until
 * the loss runs away; the curve of the loss tells which rate to train with (Smith, "Cyclical
 * Learning Rates for Training Neural Networks", 2017, section 3.3). The model is afterwards as it
 * was. */
#ifndef KILN_LR_FIND_H
#define KILN_LR_FIND_H

#include <kiln/learner.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- from a curve to a rate ---- */

/* Four readings of one curve, as fastai defines them; NaN where the curve is too short. */
typedef struct kn_lr_suggestion {
    double valley; /* half way down the longest fall (the longest decreasing subsequence): a rate to
                      train with */
    double steep;  /* where the loss falls fastest per decade */
    double minimum; /* a tenth of the rate of the lowest loss */
    double slide;   /* the slope's last change within 15 points, from the end inwards */
} kn_lr_suggestion;

/* lr rises and is above 0; loss is finite. count is 4 or more for valley, steep and minimum, 16 for
 * slide. O(count^2). KN_ERR_MEMORY, else KN_OK. */
KN_API kn_status kn_lr_suggest(kn_ctx *ctx, const double *lr, const double *loss, int count,
                               kn_lr_suggestion *out);

/* ---- the curve ---- */

typedef struct kn_lr_point {
    double lr, loss; /* of one step: of its batch, or the mean of those that are accumulated */
    double smooth;   /* the losses so far, a mean in which each counts 0.98 times the next */
} kn_lr_point;

typedef struct kn_lr_find_opts {
    /* fastai's way, if false: steps rates from start towards end, rate i being start *
     * (end / start)^(i / steps); over when the smoothed loss is stop times its lowest.
     * The chapter's, if true: each batch's rate is factor times that before, the first factor *
     * start; over when the rate passes end, or, which the book leaves to NaN, a batch's loss is
     * stop times the lowest.
     * Either is over when the loss is no number, and at the fit's last batch. */
    bool chapter;
    double start;  /* 0: 1e-7; chapter 1e-6 */
    double end;    /* 0: 10 */
    int steps;     /* 0: 100; not with chapter */
    double factor; /* 0: 1.2; only with chapter */
    double stop;   /* 0: 4; chapter 3 */
    /* The suggestions come from the smoothed losses; if true, valley from those of each batch. A
     * longest fall forgives noise by itself, and smoothing drowns its end in its beginning. */
    bool raw_valley;
    void (*on_step)(void *user, int step,
                    const kn_lr_point *point); /* after each step; may be NULL */
    void *user;
} kn_lr_find_opts;

/* The finder as a callback: the next fit is a trial (see skips_trials in learner.h), and ends by
 * cancelling itself. Whatever ends it, weights, buffers (the statistics of batch norm), optimizer,
 * rate and counters are then what they were before, to the bit. KN_ERR_ARG for options out of
 * range.
 */
KN_API kn_callback *kn_lr_finder_cb(kn_ctx *ctx, kn_lr_find_opts opts);

/* Of the last fit with the finder that l has; the points are the callback's. The first tenth of
 * the steps and the last five points are left out of the suggestion. */
KN_API const kn_lr_point *kn_lr_finder_points(const kn_learner *l, int *count);
KN_API kn_lr_suggestion kn_lr_finder_suggestion(const kn_learner *l);

typedef struct kn_lr_found {
    kn_lr_point *point; /* [count]; owned by the caller: kn_lr_found_free */
    int count;
    kn_lr_suggestion suggestion;
} kn_lr_found;

/* The same reading of a curve that is no longer in a learner: points [count] of a trial with opts.
 * KN_ERR_ARG for options out of range, KN_ERR_MEMORY. */
KN_API kn_status kn_lr_suggest_from(kn_ctx *ctx, kn_lr_find_opts opts, const kn_lr_point *point,
                                    int count, kn_lr_suggestion *out);

/* A fit of l with a finder that is gone afterwards. *out is zeroed on failure. When a callback
 * cancels the fit early, what was found so far. */
KN_API KN_NODISCARD kn_status kn_lr_find(kn_learner *l, kn_lr_find_opts opts, kn_lr_found *out);
KN_API void kn_lr_found_free(kn_ctx *ctx, kn_lr_found *found);

#ifdef __cplusplus
}
#endif
#endif
