/* learner.h - the training loop, driven by callbacks that see and may change everything.
 *
 * Events, in order: before_fit; per epoch before_epoch, before_train, [per batch before_batch,
 * after_pred, after_loss, before_backward, after_backward, before_step, after_step, after_batch],
 * after_train, before_validate, [per batch before_batch, after_pred, after_loss, after_batch],
 * after_validate, after_epoch; after_fit. (The book's before_epoch and after_epoch stand around
 * each pass: they are before_train, after_train and before_validate, after_validate here.)
 *
 * Every event returns a flow. The first callback (by order) that returns another than KN_GO ends
 * that event. A cancel flow ends its scope: the rest of the scope is skipped, then its
 * after_cancel_X and its after_X run for every callback, inner scopes first; a flow from there acts
 * on the enclosing scope. A flow raised outside its scope is an error that names both. KN_FAIL ends
 * the fit in the same way, the error put aside meanwhile and then restored. */
#ifndef KILN_LEARNER_H
#define KILN_LEARNER_H

#include <kiln/data.h>
#include <kiln/module.h>
#include <kiln/ops.h>
#include <kiln/optim.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(event) in the order of a run; the after_cancel events at the end. */
#define KN_EVENTS(X)                                                                               \
    X(before_fit)                                                                                  \
    X(before_epoch)                                                                                \
    X(before_train)                                                                                \
    X(before_validate)                                                                             \
    X(before_batch)                                                                                \
    X(after_pred)                                                                                  \
    X(after_loss)                                                                                  \
    X(before_backward)                                                                             \
    X(after_backward)                                                                              \
    X(before_step)                                                                                 \
    X(after_step)                                                                                  \
    X(after_batch)                                                                                 \
    X(after_train)                                                                                 \
    X(after_validate)                                                                              \
    X(after_epoch)                                                                                 \
    X(after_fit)                                                                                   \
    X(after_cancel_backward)                                                                       \
    X(after_cancel_step)                                                                           \
    X(after_cancel_batch)                                                                          \
    X(after_cancel_train)                                                                          \
    X(after_cancel_validate)                                                                       \
    X(after_cancel_epoch)                                                                          \
    X(after_cancel_fit)

typedef enum kn_event {
#define KN_EVENT_ENUM(name) kn_event_##name,
    KN_EVENTS(KN_EVENT_ENUM)
#undef KN_EVENT_ENUM
        KN_EVENT_COUNT
} kn_event;

KN_API const char *kn_event_name(kn_event event); /* "before_fit", ... */

/* From the innermost scope to the outermost. */
typedef enum kn_flow {
    KN_GO,
    KN_CANCEL_STEP,     /* keeps the gradients: accumulation */
    KN_CANCEL_BACKWARD, /* skips the backward pass; the step follows with the gradients there are */
    KN_CANCEL_BATCH,    /* this and all below zero the gradients */
    KN_CANCEL_TRAIN,
    KN_CANCEL_VALIDATE,
    KN_CANCEL_EPOCH,
    KN_CANCEL_FIT,
    KN_FAIL /* with the context's error set */
} kn_flow;

KN_API const char *kn_flow_name(kn_flow flow); /* "cancel_step", ... */

typedef struct kn_learner kn_learner;
typedef struct kn_callback kn_callback;
typedef kn_flow (*kn_event_fn)(kn_callback *cb, kn_learner *l);

/* A class of callback: the events it handles, by name. */
typedef struct kn_callback_class {
    const char *name;
    int order; /* lower runs first; equal orders in the order they were added */
    /* A fit with a callback that makes it a trial, as the learning rate finder does, is undone at
     * its end. Callbacks that write files, keep a history, show progress or set the rate have no
     * business in it: they are told nothing. */
    bool makes_trial, skips_trials;
    /* Called, if set, for every event, before the event's own function. */
    kn_flow (*any)(kn_callback *cb, kn_learner *l, kn_event event);
#define KN_EVENT_FIELD(name) kn_event_fn name;
    KN_EVENTS(KN_EVENT_FIELD)
#undef KN_EVENT_FIELD
    /* Shows what the callback must remember for a fit to go on from here, as an optimizer's does,
     * from before_train on; may be NULL: nothing. */
    kn_status (*state)(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor);
    /* Called, if set, once a checkpoint was put back, between before_train and the first batch. */
    kn_status (*restored)(kn_callback *cb, kn_learner *l);
    void (*free)(kn_callback *cb); /* frees the object; may be NULL for one the caller owns */
} kn_callback_class;

/* First member of a callback's own struct. */
struct kn_callback {
    const kn_callback_class *cls;
};

typedef kn_tensor *(*kn_loss_fn)(kn_ctx *ctx, kn_tensor *preds, kn_tensor *target);
typedef kn_optimizer *(*kn_opt_fn)(kn_module *model, double lr, void *user);

/* Fields marked rw may be replaced by a callback between the events named. */
struct kn_learner {
    kn_ctx *ctx;
    kn_module *model; /* borrowed */
    kn_loaders loaders;
    kn_loss_fn loss_fn; /* NULL: kn_cross_entropy_with(preds, y, loss_opts) */
    kn_opt_fn opt_fn;   /* NULL: kn_sgd without decay or momentum */
    void *opt_user;
    double lr;
    kn_dtype dtype; /* of the activations: x is cast to it on its way into the model */

    /* The run, valid from before_fit on. */
    int epochs, epoch;   /* of this fit; epoch counts from 0 */
    bool training;       /* in train, not in validate */
    bool trial;          /* this fit will be undone: a callback makes it a trial */
    kn_loader *loader;   /* the one under way */
    int64_t batch_index; /* within it */
    int64_t batch_count; /* its len */
    int64_t step;        /* optimizer steps begun in this fit, cancelled ones too */
    kn_optimizer *opt;   /* from the first before_epoch on; created after before_fit */

    /* The batch, valid from before_batch to after_batch. */
    kn_batch batch;   /* as loaded */
    kn_tensor *x, *y; /* rw in before_batch: u8 [n,H,W,3] and i32 [n] */
    /* rw in before_batch, for this batch alone: each begins in training with the learner's own
     * smoothing and class weights, in validation with none - a validation loss is plain cross
     * entropy, so that it compares between options, and kiln eval finds it again. Counts where
     * loss_fn is NULL. A callback that mixes samples sets target2 and lambda here, kept. */
    kn_cross_entropy_opts loss_opts;
    kn_tensor *preds; /* rw in after_pred */
    kn_tensor *loss;  /* rw in after_loss: what backward starts from */

    struct kn_learner_state *state; /* private */
};

/* Of the training loss: see kn_cross_entropy_opts. Not together with a loss function. */
typedef struct kn_learner_loss {
    double smoothing;
    const float *class_weights; /* [class_count], finite, not negative; copied. NULL: all alike */
    int class_count;
} kn_learner_loss;

typedef struct kn_learner_opts {
    kn_module *model;
    kn_loaders loaders; /* borrowed, as everything here */
    kn_loss_fn loss_fn;
    kn_opt_fn opt_fn;
    void *opt_user;
    double lr;
    kn_learner_loss loss; /* {.smoothing = 0.1} */
    /* KN_F32 (0), or KN_BF16: mixed precision (Micikevicius et al., 2018), of which bf16 needs no
     * loss scaling (Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019).
     * Weights, norms' parameters and statistics, the head and the loss stay f32. */
    kn_dtype dtype;
} kn_learner_opts;

/* Owned by the caller; NULL on error. The functions below take that NULL: add and fit then return
 * KN_ERR_STATE, with the reason still in the context, so that one check after the fit is enough. */
KN_API kn_learner *kn_learner_new(kn_ctx *ctx, kn_learner_opts opts);
/* And its callbacks. A fit that was begun is ended first (kn_learner_end), so the model and
 * callbacks that the caller owns must still be there. */
KN_API void kn_learner_free(kn_learner *l);

/* Takes ownership of cb, also on failure; NULL cb: the context's error. During a fit: KN_ERR_STATE.
 * One that l has already stays as it is: KN_ERR_ARG. */
KN_API kn_status kn_learner_add(kn_learner *l, kn_callback *cb);
/* Takes a callback out, and frees it if its class does; not during a fit (KN_ERR_STATE). One that l
 * does not have is no error. */
KN_API kn_status kn_learner_remove(kn_learner *l, kn_callback *cb);

/* The first callback of that class name, or NULL. */
KN_API kn_callback *kn_learner_find(const kn_learner *l, const char *name);

/* Trains for a number of epochs, counted from 0: a second fit goes through the same shuffles as the
 * first. An error that the context already holds is returned at once. */
KN_API kn_status kn_learner_fit(kn_learner *l, int epochs);

/* The same fit step by step, for a program with a loop of its own: what callbacks are told, and
 * every bit, is as in kn_learner_fit.
 *
 *     bool trained = true;
 *     kn_learner_begin(l, epochs);
 *     while (kn_learner_step(l, &trained) == KN_OK && trained)
 *         ...                       look at kn_track_results_now(l), draw a window, ask a user
 *     kn_learner_end(l);
 *
 * begin runs before_fit and makes the optimizer. step trains one batch and returns. The first of an
 * epoch runs before_epoch and before_train on its way; the step that finds an epoch's batches used
 * up runs its end, the validation included, and trains the first batch of the next. *trained is
 * false when there was none left, or the fit was cancelled or failed: then the fit is over, with
 * after_fit, and further steps do nothing. end leaves a fit early, as KN_CANCEL_FIT would, and does
 * nothing when it is over.
 *
 * Between steps no batch is held. The program may use the model (kn_step_end frees what it made;
 * the next step turns training mode on again), the context and l's fields, but not fit, validate or
 * add with this learner: KN_ERR_STATE, as step and end without begin. */
KN_API kn_status kn_learner_begin(kn_learner *l, int epochs);
KN_API kn_status kn_learner_step(kn_learner *l, bool *trained);
KN_API kn_status kn_learner_end(kn_learner *l);

/* One pass over the validation loader within fit's events before_fit, before_validate ...
 * after_validate, after_fit. No tape, no change of any weight. */
KN_API kn_status kn_learner_validate(kn_learner *l);

/* The scope that an event lies in: "fit", "epoch", "train", "validate", "batch", "backward",
 * "step". */
KN_API const char *kn_event_scope(kn_event event);

#ifdef __cplusplus
}
#endif
#endif
