/* predictions.c - keeps what the model says about every sample of a validation: one block of
 * memory, in a fit of several epochs a second for the pass under way, both taken at the first
 * batch; and softmax on the host in double. */
#include "learner/events.h"
#include "tensor/tensor.h"

#include <kiln/metrics.h>
#include <kiln/model_file.h>
#include <kiln/ops.h>

#include <limits.h>
#include <math.h>

static const size_t default_memory = (size_t)1 << 30;

typedef struct gather {
    kn_callback base;
    kn_ctx *ctx;
    kn_predictions_opts opts;
    kn_predictions *out; /* borrowed: the pass that is kept */
    kn_predictions work; /* the pass under way */
    float *logits;       /* [logit_room] of one batch */
    int64_t logit_room;
    bool cancelled; /* the pass under way */
    bool whole;     /* this epoch's validation went through to its end */
} gather;

/* ---- memory ---- */

void kn_predictions_free(kn_ctx *ctx, kn_predictions *p) {
    kn_free(ctx, p->index); /* the first part of the block */
    *p = (kn_predictions){0};
}

/* Bytes of a block for so many samples; 0 when they exceed the limit. */
static size_t block_bytes(int64_t samples, int classes, kn_predictions_opts opts) {
    size_t limit = opts.max_memory > 0 ? opts.max_memory : default_memory;
    size_t each = sizeof(int64_t) + 3 * sizeof(int32_t) + 3 * sizeof(float) +
                  (opts.no_probs ? 0 : (size_t)classes * sizeof(float));
    size_t room = samples > 0 ? (size_t)samples : 1, word = sizeof(int64_t);
    return room <= limit / each ? (room * each + word - 1) / word * word : 0;
}

static kn_status make_room(kn_ctx *ctx, kn_predictions *p, int64_t samples, int classes,
                           kn_predictions_opts opts) {
    p->samples = 0;
    if (p->index != NULL && p->room == samples && p->classes == classes)
        return KN_OK;
    kn_predictions_free(ctx, p);
    size_t bytes = block_bytes(samples, classes, opts);
    if (bytes == 0)
        return kn_fail(ctx, KN_ERR_LIMIT,
                       "predictions: %lld samples of %d classes take more than %zu MiB",
                       (long long)samples, classes,
                       (opts.max_memory > 0 ? opts.max_memory : default_memory) >> 20);
    p->index = kn_calloc(ctx, 1, bytes, "the predictions"); /* checkpoints hold all of it */
    if (p->index == NULL)
        return KN_ERR_MEMORY;
    p->label = (int32_t *)(void *)(p->index + samples);
    p->predicted = p->label + samples;
    p->rank = p->predicted + samples;
    p->prob = (float *)(void *)(p->rank + samples);
    p->label_prob = p->prob + samples;
    p->loss = p->label_prob + samples;
    p->probs = opts.no_probs ? NULL : p->loss + samples;
    p->classes = classes;
    p->room = samples;
    p->bytes = bytes;
    kn_report(ctx, KN_LOG_INFO, "predictions of %lld samples: %zu KiB", (long long)samples,
              (bytes + 1023) >> 10);
    return KN_OK;
}

/* ---- one sample ---- */

/* The first largest; the first NaN when there is one, as kn_argmax. */
static int32_t first_largest(const float *x, int classes) {
    int32_t best = 0;
    for (int32_t c = 1; c < classes && !isnan(x[best]); c++)
        if (x[c] > x[best] || isnan(x[c]))
            best = c;
    return best;
}

/* Classes that come before label when sorted by falling logit, of equals by number. The predicted
 * class is first whatever NaN does to the others. */
static int32_t rank_of(const float *x, int classes, int32_t label, int32_t predicted) {
    int32_t rank = 0;
    if (label == predicted)
        return 0;
    for (int32_t c = 0; c < classes; c++)
        rank += c == predicted || !(x[c] < x[label] || (x[c] == x[label] && c >= label));
    return rank < classes ? rank : classes - 1;
}

static void add_sample(kn_predictions *p, const float *x, int32_t label, int64_t index) {
    int64_t i = p->samples++;
    int32_t predicted = first_largest(x, p->classes);
    double most = (double)x[predicted], sum = 0;
    for (int c = 0; c < p->classes; c++)
        sum += exp((double)x[c] - most);
    double log_sum = log(sum) + most;
    p->index[i] = index;
    p->label[i] = label;
    p->predicted[i] = predicted;
    p->rank[i] = rank_of(x, p->classes, label, predicted);
    p->prob[i] = (float)exp((double)x[predicted] - log_sum);
    p->label_prob[i] = (float)exp((double)x[label] - log_sum);
    p->loss[i] = (float)(log_sum - (double)x[label]);
    for (int c = 0; p->probs != NULL && c < p->classes; c++)
        p->probs[i * p->classes + c] = (float)exp((double)x[c] - log_sum);
}

/* ---- the callback ---- */

static void begin(gather *g) {
    g->work.samples = 0;
    g->cancelled = g->whole = false;
}

static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    begin((gather *)cb);
    return KN_GO;
}

static kn_flow before_validate(kn_callback *cb, kn_learner *l) {
    (void)l;
    begin((gather *)cb);
    return KN_GO;
}

/* For the pass under way, and where epochs follow for the one that is kept meanwhile too: the
 * second epoch takes no memory. */
static kn_status make_rooms(gather *g, kn_learner *l, int classes) {
    int64_t samples = kn_loader_samples(l->loader);
    kn_status status = make_room(g->ctx, &g->work, samples, classes, g->opts);
    if (status == KN_OK && l->epochs > 1 && g->out->index == NULL)
        status = make_room(g->ctx, g->out, samples, classes, g->opts);
    return status;
}

/* The batch's logits, f32 [n,classes], into g->logits. */
static kn_status read_logits(gather *g, kn_learner *l) {
    char text[KN_SHAPE_TEXT];
    kn_tensor *preds = l->preds;
    const kn_shape *shape = kn_tensor_shape(preds);
    if (shape->rank != 2 || shape->dim[0] != l->batch.n || shape->dim[1] < 1)
        return kn_fail(g->ctx, KN_ERR_SHAPE, "predictions: preds %s, expected [%d,classes]",
                       kn_shape_text(shape, text), l->batch.n);
    int64_t most = shape->dim[1] * kn_loader_batch_size(l->loader), numel = kn_tensor_numel(preds);
    if (g->logit_room < most) {
        kn_free(g->ctx, g->logits);
        g->logits = kn_alloc(g->ctx, (size_t)most * sizeof *g->logits, "a batch's predictions");
        g->logit_room = g->logits != NULL ? most : 0;
    }
    if (g->logits == NULL)
        return KN_ERR_MEMORY;
    if (kn_tensor_dtype(preds) != KN_F32)
        preds = kn_cast(g->ctx, preds, KN_F32);
    if (preds == NULL)
        return kn_ctx_status(g->ctx);
    return kn_tensor_read(g->ctx, preds, g->logits, (size_t)numel * sizeof *g->logits);
}

static kn_flow after_loss(kn_callback *cb, kn_learner *l) {
    gather *g = (gather *)cb;
    if (l->training)
        return KN_GO;
    if (read_logits(g, l) != KN_OK)
        return KN_FAIL;
    int classes = (int)kn_tensor_dim(l->preds, 1);
    if (g->work.samples == 0 && make_rooms(g, l, classes) != KN_OK)
        return KN_FAIL;
    for (int i = 0; i < l->batch.n; i++) {
        int32_t label = l->batch.labels[i];
        if (label < 0 || label >= classes || g->work.samples >= g->work.room) {
            kn_fail(g->ctx, KN_ERR_ARG, "predictions: label %d, expected 0 to %d", label,
                    classes - 1);
            return KN_FAIL;
        }
        add_sample(&g->work, g->logits + (int64_t)i * classes, label, l->batch.index[i]);
    }
    return KN_GO;
}

static kn_flow after_cancel_validate(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((gather *)cb)->cancelled = true;
    return KN_GO;
}

static void keep(gather *g) {
    kn_predictions kept = g->work;
    g->work = *g->out;
    *g->out = kept;
    begin(g);
}

/* Validation alone: what it gave, even if it was cut short. In a fit, after_epoch decides. */
static kn_flow after_validate(kn_callback *cb, kn_learner *l) {
    gather *g = (gather *)cb;
    g->whole = !g->cancelled;
    if (l->epochs == 0)
        keep(g);
    return KN_GO;
}

/* After the model was saved, or was not. An epoch that was left before its validation was done is
 * told too: it has no pass to keep. */
static kn_flow after_epoch(kn_callback *cb, kn_learner *l) {
    gather *g = (gather *)cb;
    bool saves = kn_learner_find(l, "save_model") != NULL;
    if (g->whole && (!saves || kn_save_model_best(l, NULL) == l->epoch))
        keep(g);
    begin(g);
    return KN_GO;
}

/* The pass that is kept, its block as words. */
static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    gather *g = (gather *)cb;
    kn_predictions *p = g->out;
    int64_t number[] = {p->samples, p->room, p->classes};
    (void)l;
    kn_status status = visitor->integers(visitor->user, "counts", number, KN_COUNT(number));
    if (status != KN_OK || number[0] == 0)
        return status;
    if (number[0] < 0 || number[0] > number[1] || number[2] < 1 || number[2] > INT_MAX)
        return kn_fail(g->ctx, KN_ERR_FORMAT, "predictions: %lld of %lld samples, %lld classes",
                       (long long)number[0], (long long)number[1], (long long)number[2]);
    int64_t samples = number[0];
    status = make_room(g->ctx, p, number[1], (int)number[2], g->opts);
    if (status == KN_OK && p->bytes / sizeof(int64_t) > INT_MAX)
        status = kn_fail(g->ctx, KN_ERR_LIMIT, "predictions: %zu bytes for a checkpoint", p->bytes);
    if (status == KN_OK)
        status =
            visitor->integers(visitor->user, "kept", p->index, (int)(p->bytes / sizeof(int64_t)));
    p->samples = status == KN_OK ? samples : 0;
    return status;
}

static void free_gather(kn_callback *cb) {
    gather *g = (gather *)cb;
    kn_predictions_free(g->ctx, &g->work);
    kn_free(g->ctx, g->logits);
    kn_free(g->ctx, g);
}

static const kn_callback_class gather_class = {.name = "predictions",
                                               .order = 70, /* after save_model */
                                               .skips_trials = true,
                                               .before_epoch = before_epoch,
                                               .before_validate = before_validate,
                                               .after_loss = after_loss,
                                               .after_cancel_validate = after_cancel_validate,
                                               .after_validate = after_validate,
                                               .after_epoch = after_epoch,
                                               .state = visit,
                                               .free = free_gather};

kn_callback *kn_predictions_cb(kn_ctx *ctx, kn_predictions_opts opts, kn_predictions *out) {
    gather *g = kn_calloc(ctx, 1, sizeof *g, "the predictions callback");
    if (g == NULL)
        return NULL;
    g->base.cls = &gather_class;
    g->ctx = ctx;
    g->opts = opts;
    g->out = out;
    return &g->base;
}

/* ---- one pass ---- */

kn_status kn_learner_predictions(kn_learner *l, kn_loader *loader, kn_predictions_opts opts,
                                 kn_predictions *out) {
    *out = (kn_predictions){0};
    if (l == NULL)
        return KN_ERR_STATE;
    kn_callback *cb = kn_predictions_cb(l->ctx, opts, out);
    kn_status status = kn_learner_add(l, cb);
    if (status != KN_OK)
        return status;
    kn_loader *valid = l->loaders.valid;
    l->loaders.valid = loader;
    status = kn_learner_validate(l);
    l->loaders.valid = valid;
    kn_learner_remove(l, cb);
    if (status != KN_OK)
        kn_predictions_free(l->ctx, out);
    return status;
}
