/* track_results_cb.c - loss and accuracy of a pass, weighted by samples (the chapter's
 * TrackResults). The sums stay on the device and are read at the pass's end. */
#include "tensor/tensor.h"

#include "core/clock.h"

#include <kiln/callbacks.h>

#include <math.h>

static const char name[] = "track_results";

typedef struct track {
    kn_callback base;
    kn_ctx *ctx;
    kn_device *device;
    kn_storage *total; /* double [3]: loss, hits, samples */
    bool begun;        /* the pass under way: the sums are its own */
    bool hits;         /* predictions were rows of class scores */
    double began;      /* on kn_clock; of a pass that goes on, as if it had not been stopped */
    kn_results train, valid;
} track;

static kn_flow begin(kn_callback *cb, kn_learner *l) {
    track *t = (track *)cb;
    t->begun = false;
    kn_device *device = kn_device_default(l->ctx);
    if (t->device != device) {
        kn_storage_drop(t->total);
        t->total = device != NULL ? kn_storage_get(l->ctx, device, 3 * sizeof(double)) : NULL;
        t->device = device;
    }
    if (t->total == NULL || device->ops->zero(device, t->total->data, 3 * sizeof(double)) != KN_OK)
        return KN_FAIL;
    t->begun = t->hits = true;
    t->began = kn_clock();
    return KN_GO;
}

static kn_flow after_loss(kn_callback *cb, kn_learner *l) {
    track *t = (track *)cb;
    const kn_tensor *preds = l->preds, *y = l->y;
    bool scores = preds->shape.rank == 2 && preds->dtype == KN_F32 && y->dtype == KN_I32 &&
                  y->shape.rank == 1 && y->shape.dim[0] == preds->shape.dim[0];
    t->hits = t->hits && scores;
    int64_t rows = preds->shape.rank > 0 ? preds->shape.dim[0] : 1;
    kn_status status = t->device->ops->track(t->device, rows, scores ? preds->shape.dim[1] : 0,
                                             scores ? kn_f32(preds) : NULL, scores ? y->data : NULL,
                                             kn_f32(l->loss), t->total->data);
    return status == KN_OK ? KN_GO : KN_FAIL;
}

static kn_status read_results(track *t, kn_results *out) {
    double total[3] = {0};
    *out = (kn_results){.loss = NAN, .acc = NAN};
    if (t->total == NULL)
        return KN_OK;
    kn_status status = t->device->ops->copy_out(t->device, total, t->total->data, sizeof total);
    out->seconds = kn_clock() - t->began;
    out->samples = (int64_t)total[2];
    if (total[2] > 0) {
        out->loss = total[0] / total[2];
        out->acc = t->hits ? total[1] / total[2] : NAN;
    }
    return status;
}

/* A pass that another callback cancelled before this one heard of it has no results; the sums are
 * those of the pass before. */
static kn_flow end(track *t, kn_results *out) {
    bool begun = t->begun;
    t->begun = false;
    *out = (kn_results){.loss = NAN, .acc = NAN};
    return !begun || read_results(t, out) == KN_OK ? KN_GO : KN_FAIL;
}

static kn_flow after_train(kn_callback *cb, kn_learner *l) {
    (void)l;
    return end((track *)cb, &((track *)cb)->train);
}

static kn_flow after_validate(kn_callback *cb, kn_learner *l) {
    (void)l;
    return end((track *)cb, &((track *)cb)->valid);
}

/* The sums of the pass under way, and the time that it took so far. */
static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    track *t = (track *)cb;
    double total[3], elapsed = kn_clock() - t->began;
    int64_t hits = t->hits;
    (void)l;
    kn_status status = t->device->ops->copy_out(t->device, total, t->total->data, sizeof total);
    if (status == KN_OK)
        status = visitor->reals(visitor->user, "total", total, 3);
    if (status == KN_OK)
        status = visitor->integers(visitor->user, "hits", &hits, 1);
    if (status == KN_OK)
        status = visitor->reals(visitor->user, "elapsed", &elapsed, 1);
    if (status == KN_OK)
        status = t->device->ops->copy_in(t->device, t->total->data, total, sizeof total);
    if (status != KN_OK)
        return status;
    t->hits = hits != 0;
    t->began = kn_clock() - elapsed;
    return KN_OK;
}

static void free_track(kn_callback *cb) {
    track *t = (track *)cb;
    kn_storage_drop(t->total);
    kn_free(t->ctx, t);
}

static const kn_callback_class track_class = {.name = name,
                                              .order = -20,
                                              .skips_trials = true,
                                              .before_train = begin,
                                              .before_validate = begin,
                                              .after_loss = after_loss,
                                              .after_train = after_train,
                                              .after_validate = after_validate,
                                              .state = visit,
                                              .free = free_track};

kn_callback *kn_track_results_cb(kn_ctx *ctx) {
    track *t = kn_calloc(ctx, 1, sizeof *t, "the results callback");
    if (t == NULL)
        return NULL;
    t->base.cls = &track_class;
    t->ctx = ctx;
    t->train = t->valid = (kn_results){.loss = NAN, .acc = NAN};
    return &t->base;
}

static track *find(const kn_learner *l) {
    return (track *)kn_learner_find(l, name);
}

kn_results kn_track_results(const kn_learner *l, bool training) {
    const track *t = find(l);
    if (t == NULL)
        return (kn_results){.loss = NAN, .acc = NAN};
    return training ? t->train : t->valid;
}

kn_results kn_track_results_now(const kn_learner *l) {
    track *t = find(l);
    kn_results now = {.loss = NAN, .acc = NAN};
    if (t != NULL)
        read_results(t, &now); /* a failure is in the context, where the learner looks */
    return now;
}
