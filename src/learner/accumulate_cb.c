/* accumulate_cb.c - several batches to a step, for a batch that memory has no room for. */
#include "learner/accumulate.h"

#include "core/ctx.h"

#include <kiln/callbacks.h>
#include <kiln/ops.h>

static const char name[] = "accumulate";

typedef struct accumulate {
    kn_callback base;
    kn_ctx *ctx;
    int n;
    int64_t samples; /* whose gradients have added up */
    kn_tensor *loss; /* the batch's own, while backward starts from its share */
} accumulate;

static int64_t wanted(const accumulate *a, const kn_learner *l) {
    return (int64_t)a->n * kn_loader_batch_size(l->loader);
}

static kn_flow before_backward(kn_callback *cb, kn_learner *l) {
    accumulate *a = (accumulate *)cb;
    float share = (float)l->batch.n / (float)wanted(a, l);
    a->loss = l->loss;
    l->loss = kn_mul(l->ctx, l->loss, kn_full(l->ctx, KN_SCALAR, share));
    return l->loss != NULL ? KN_GO : KN_FAIL;
}

static kn_flow after_backward(kn_callback *cb, kn_learner *l) {
    accumulate *a = (accumulate *)cb;
    if (a->loss != NULL)
        l->loss = a->loss;
    a->loss = NULL;
    return KN_GO;
}

static kn_flow before_step(kn_callback *cb, kn_learner *l) {
    accumulate *a = (accumulate *)cb;
    bool last = l->epoch + 1 == l->epochs && l->batch_index + 1 == l->batch_count;
    a->samples += l->batch.n;
    if (a->samples < wanted(a, l) && !last)
        return KN_CANCEL_STEP; /* which keeps the gradients */
    a->samples = 0;
    return KN_GO;
}

/* A batch that is cancelled, or what encloses it, in validation too, takes the gradients with it.
 */
static kn_flow start_anew(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((accumulate *)cb)->samples = 0;
    return KN_GO;
}

static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    (void)l;
    return visitor->integers(visitor->user, "accumulated", &((accumulate *)cb)->samples, 1);
}

static void free_accumulate(kn_callback *cb) {
    kn_free(((accumulate *)cb)->ctx, cb);
}

static const kn_callback_class accumulate_class = {.name = name,
                                                   .order = -10,
                                                   .before_fit = start_anew,
                                                   .before_backward = before_backward,
                                                   .after_backward = after_backward,
                                                   .before_step = before_step,
                                                   .after_cancel_batch = start_anew,
                                                   .after_cancel_train = start_anew,
                                                   .after_cancel_validate = start_anew,
                                                   .after_cancel_epoch = start_anew,
                                                   .state = visit,
                                                   .free = free_accumulate};

int kn_accumulate_batches(const kn_learner *l) {
    const accumulate *a = (const accumulate *)kn_learner_find(l, name);
    return a != NULL ? a->n : 1;
}

kn_callback *kn_accumulate_cb(kn_ctx *ctx, int n) {
    if (n < 1) {
        kn_fail(ctx, KN_ERR_ARG, "accumulate: %d batches; expected 1 or more", n);
        return NULL;
    }
    accumulate *a = kn_calloc(ctx, 1, sizeof *a, "the accumulating callback");
    if (a == NULL)
        return NULL;
    a->base.cls = &accumulate_class;
    a->ctx = ctx;
    a->n = n;
    return &a->base;
}
