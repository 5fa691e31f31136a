/* checkpoint.h - a training on disk, so that it can be stopped at any batch, killed at any moment,
 * and goes on to the very same bits.
 *
 * A checkpoint holds the weights and buffers, the gradients that were added up for a step to come,
 * what the optimizer and every callback remember (kn_callback_class.state), and the place: epoch,
 * batch, step. It is a safetensors file (safetensors.h) with a SHA-256 over all of it; opening one
 * runs nothing. Of a folder's two generations, last.ckpt and previous.ckpt, one is whole at every
 * moment. */
#ifndef KILN_CHECKPOINT_H
#define KILN_CHECKPOINT_H

#include <kiln/learner.h>
#include <kiln/safetensors.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a training stood: between two batches of its epoch. */
typedef struct kn_checkpoint_place {
    int64_t epochs, epoch;  /* of the fit; the one under way, from 0 */
    int64_t batch, batches; /* trained of this epoch; of each epoch */
    int64_t samples;        /* of the training set */
    int64_t step;           /* kn_learner.step */
    uint64_t seed;          /* of the context */
    int64_t threads;        /* that compute: another number of them gives other last digits */
} kn_checkpoint_place;

typedef struct kn_checkpoint kn_checkpoint;

/* Reads the newest good checkpoint of a folder into host memory. *out is NULL, and KN_OK returned,
 * when there is none at all; KN_ERR_IO, KN_ERR_FORMAT, KN_ERR_LIMIT or KN_ERR_MEMORY with path and
 * reason when none there is good. allocator may be NULL. */
KN_API KN_NODISCARD kn_status kn_checkpoint_open(kn_checkpoint **out, const char *folder,
                                                 const kn_allocator *allocator, kn_error *error);
KN_API void kn_checkpoint_close(kn_checkpoint *c); /* NULL is allowed */

KN_API const char *kn_checkpoint_path(const kn_checkpoint *c); /* of the file that was read */
/* Why a newer file was passed over; NULL: none was. */
KN_API const char *kn_checkpoint_passed_over(const kn_checkpoint *c);
KN_API kn_checkpoint_place kn_checkpoint_at(const kn_checkpoint *c);
KN_API const char *kn_checkpoint_meta(const kn_checkpoint *c, const char *key); /* or NULL */

/* The learner's next fit that is no trial (kn_lr_find), made as the one that was saved, goes on
 * from there: after the before_train of that epoch everything is put back, then the batches follow
 * that are left of it. Validation and trials before it leave it waiting; c is borrowed until that
 * fit has begun its first pass. The fit fails with KN_ERR_ARG, and the difference named, when
 * model, optimizer, callbacks, data or seed are others. */
KN_API kn_status kn_learner_resume(kn_learner *l, const kn_checkpoint *c);

typedef struct kn_checkpoint_opts {
    const char *folder; /* copied */
    double every;       /* seconds from one to the next; 0: each batch. At an epoch's last batch
                           always */
    /* Asked after each batch whether one is wanted now, for a signal. May be NULL. */
    bool (*wanted)(void *user);
    void *user;
    const kn_st_meta *meta; /* the caller's own words, as JSON texts, kept with it; borrowed */
    int metas;
} kn_checkpoint_opts;

/* Writes checkpoints during a fit. One that cannot be written is a warning in the log: the training
 * goes on, the ones before it stay, and it is tried again. Callbacks of order 900 and more are
 * told of a batch's end after it was written. NULL on error. */
KN_API kn_callback *kn_checkpoint_cb(kn_ctx *ctx, kn_checkpoint_opts opts);

/* How many could not be written in the last fit, whether the last that was tried was one of them,
 * and why it was. */
typedef struct kn_checkpoint_report {
    int64_t written, failed;
    bool last_failed;
    char reason[KN_ERROR_MAX]; /* of the last failure */
} kn_checkpoint_report;
KN_API kn_checkpoint_report kn_checkpoint_cb_report(const kn_learner *l);

#ifdef __cplusplus
}
#endif
#endif
