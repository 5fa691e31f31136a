/* callbacks.h - what comes with the Learner. Each constructor returns NULL with the context's error
 * set; kn_learner_add takes ownership. */
#ifndef KILN_CALLBACKS_H
#define KILN_CALLBACKS_H

#include <kiln/learner.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Moves the model to the context's device, the batch too, and normalises it. When norm's std are
 * all zero, before_fit measures it from the first training batch and writes it there. norm is
 * borrowed. */
KN_API kn_callback *kn_setup_cb(kn_ctx *ctx, kn_normalize *norm);

/* Sums loss and hits, weighted by samples, on the device; read at the end of train and of validate.
 */
KN_API kn_callback *kn_track_results_cb(kn_ctx *ctx);

typedef struct kn_results {
    double loss, acc; /* NaN before the first */
    int64_t samples;
    double seconds; /* of the pass */
} kn_results;

/* Of the last train (or validate) pass, whole or cancelled. */
KN_API kn_results kn_track_results(const kn_learner *l, bool training);

/* So far in the pass under way. Reads from the device. */
KN_API kn_results kn_track_results_now(const kn_learner *l);

/* One epoch's numbers, as in history.csv and --json. */
typedef struct kn_history_row {
    int epoch;
    double train_loss, train_acc, valid_loss, valid_acc, lr, seconds, train_img_per_s;
} kn_history_row;

/* folder is borrowed and must outlast the callback. */
typedef struct kn_recorder_opts {
    const char *folder; /* history.csv, log.jsonl (the same, a line of JSON an epoch), and after the
                           fit loss.svg, accuracy.svg, schedule.svg, and momentum.svg where that
                           varied; NULL: nothing is written */
    void (*on_epoch)(void *user, const kn_history_row *row);
    void *user;
} kn_recorder_opts;

/* Keeps a row an epoch and the rate and loss of every step. Needs kn_track_results_cb. */
KN_API kn_callback *kn_recorder_cb(kn_ctx *ctx, kn_recorder_opts opts);
KN_API const kn_history_row *kn_recorder_rows(const kn_learner *l, int *count);

typedef struct kn_progress_opts {
    bool bar; /* a terminal: redraw a line with n/total, images a second, loss, time left; else one
                 line an epoch */
    int (*columns)(void *user); /* that the terminal has, asked for each line; NULL: 80 */
    void (*write)(void *user, const char *text, size_t length); /* where it goes */
    void *user;
} kn_progress_opts;

/* Needs kn_track_results_cb. */
KN_API kn_callback *kn_progress_cb(kn_ctx *ctx, kn_progress_opts opts);

/* Sets the optimizer's rate before every training batch. */
KN_API kn_callback *kn_one_cycle_cb(kn_ctx *ctx, kn_one_cycle_opts opts);

/* The same for any schedule: the learner's lr is its highest rate. Where the schedule moves the
 * momentum, it sets that of every group whose momentum is not 0. */
KN_API kn_callback *kn_schedule_cb(kn_ctx *ctx, kn_schedule s);

/* Before each step, shortens all gradients together to a norm of most (above 0), where theirs is
 * longer: torch.nn.utils.clip_grad_norm_. */
KN_API kn_callback *kn_clip_cb(kn_ctx *ctx, double most);

/* The norm before it was clipped, at the last step. Reads from the device. NaN: there was none. */
KN_API double kn_clip_norm(const kn_learner *l);

/* A step only after as many samples as n batches hold; until then gradients add up, each batch's
 * weighted by its share of these samples. So n batches of b train as one of n * b would, batch norm
 * aside. As in fastai's GradientAccumulation, what an epoch's end leaves waits for the next epoch.
 * The fit's last batch, if it has samples, makes a step of what there is, a smaller one: each
 * sample counts as much as any other. The loss that others see is the batch's own. */
KN_API kn_callback *kn_accumulate_cb(kn_ctx *ctx, int n);

/* Keeps an exponential moving average of all parameters and f32 buffers, on the device: after each
 * step, average += (1 - d) * (weight - average), where d is decay, in [0, 1), but in the first
 * steps at most (1 + t) / (10 + t), so that the start is forgotten. From after_train on the model
 * holds the averages, so that they are validated, saved and there after the fit; each training pass
 * goes on with the raw weights. Nothing is copied for that: the two change places. */
KN_API kn_callback *kn_ema_cb(kn_ctx *ctx, double decay);

/* ---- mixing samples, in training only ----
 *
 * Both make of each batch, once it is normalised, one in which every picture has a bit of
 * another's, its partner by a permutation of the batch, and tell the loss to share the target
 * alike: see kn_cross_entropy_opts. The training loss is then higher than without, and the training
 * accuracy counts hits of the target with the larger share, which stays in l->y; validation is as
 * ever. What is drawn follows from (seed, epoch, batch). Where both were added, each batch gets one
 * of the two, by a coin. They need the learner's own loss (loss_fn NULL): else before_fit fails
 * with KN_ERR_ARG, as the constructors do unless alpha > 0.
 *
 *     kn_learner_add(l, kn_mixup_cb(ctx, 0.4));
 */

/* MixUp (Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018), as in fastai: for each
 * sample lambda ~ Beta(alpha, alpha), of which the larger of lambda and 1 - lambda is taken, and
 * x = lambda * x + (1 - lambda) * x[partner]. */
KN_API kn_callback *kn_mixup_cb(kn_ctx *ctx, double alpha);

/* CutMix (Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
 * Features", 2019): one lambda ~ Beta(alpha, alpha) and one box a batch. The box takes 1 - lambda
 * of the area around a random pixel, is cut at the picture's edge, and is filled from the partner;
 * lambda is then what the box has left. */
KN_API kn_callback *kn_cutmix_cb(kn_ctx *ctx, double alpha);

/* ---- when to stop ---- */

typedef enum kn_monitor { KN_MONITOR_LOSS, KN_MONITOR_ACC } kn_monitor;

typedef struct kn_early_stopping_opts {
    int patience;       /* so many epochs in a row without a better one; 0: 1 */
    double min_delta;   /* better is: by more than this */
    kn_monitor monitor; /* of validation; where there is none, of training */
} kn_early_stopping_opts;

/* Cancels the fit when it no longer gets better, as fastai's EarlyStoppingCallback. NaN is not
 * better. Needs kn_track_results_cb. The weights are those of the last epoch; kn_save_model_cb has
 * the best.
 *
 *     kn_learner_add(l, kn_early_stopping_cb(ctx, (kn_early_stopping_opts){.patience = 3}));
 */
KN_API kn_callback *kn_early_stopping_cb(kn_ctx *ctx, kn_early_stopping_opts opts);
KN_API int kn_early_stopping_at(const kn_learner *l); /* the epoch after which; -1: it did not */

/* Fails the fit, KN_ERR_STATE naming epoch and batch, as soon as the loss of a training batch is
 * NaN or infinite: before its backward pass, so that this batch does not reach the weights
 * (fastai's TerminateOnNaNCallback cancels the fit, after the step); or when a gradient is before
 * the step, or a weight after it. The message names the layer or the parameter where it began. */
KN_API kn_callback *kn_terminate_on_nan_cb(kn_ctx *ctx);

/* ---- transfer: from a model that has learned something else ---- */

typedef struct kn_fine_tune_opts {
    int freeze_epochs; /* 0: 1 */
    double spread;     /* 0: 100: the first group's rate is so many times less than the head's */
    double pct_start;  /* of the second phase; 0: 0.3 */
    double div;        /* of the second phase; 0: 5 */
    bool freeze_norm;  /* norm layers are frozen with the rest, as in kn_freeze_opts */
} kn_fine_tune_opts;

/* fastai's fine_tune as a callback of one fit, so that epochs, history, the best model and the
 * optimizer's state go on. The learner's lr is the head's highest rate.
 * In the first freeze_epochs all groups but the last are frozen, but for their norm layers, which
 * train with a tenth of the rate; one cycle with cosines, pct_start 0.99 and div 25.
 * Then everything trains, the head with half the rate and the others as kn_optimizer_spread says;
 * one cycle with cosines again. Needs groups (kn_model_split, kn_module_split), more epochs than
 * freeze_epochs, and no other schedule. After the fit nothing is frozen. */
KN_API kn_callback *kn_fine_tune_cb(kn_ctx *ctx, kn_fine_tune_opts opts);

/* One such fit, of freeze_epochs and epochs more, after which the learner is as before. */
KN_API kn_status kn_fine_tune(kn_learner *l, int epochs, kn_fine_tune_opts opts);

#ifdef __cplusplus
}
#endif
#endif
