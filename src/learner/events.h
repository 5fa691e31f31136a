/* events.h - inside of the learner: scopes, and telling callbacks of an event. */
#ifndef KN_LEARNER_EVENTS_H
#define KN_LEARNER_EVENTS_H

#include "core/ctx.h"

#include <kiln/learner.h>

/* From the innermost to the outermost, as the flows that cancel them. */
typedef enum kn_scope {
    KN_SCOPE_STEP,
    KN_SCOPE_BACKWARD,
    KN_SCOPE_BATCH,
    KN_SCOPE_TRAIN,
    KN_SCOPE_VALIDATE,
    KN_SCOPE_EPOCH,
    KN_SCOPE_FIT
} kn_scope;

/* Where a fit that goes step by step stands between two steps: see step.c. */
typedef enum kn_stage {
    KN_STAGE_NONE,  /* none was begun */
    KN_STAGE_EPOCH, /* an epoch is to begin */
    KN_STAGE_BATCH, /* in train */
    KN_STAGE_OVER   /* all is done, or was cancelled, or failed */
} kn_stage;

struct kn_learner_state {
    kn_callback **callback; /* by order */
    size_t count, capacity;
    bool fitting;
    unsigned active; /* bit s: scope s was begun and may be cancelled */
    kn_stage stage;  /* of a fit that goes step by step */
    struct kn_training_loss *loss;
    const struct kn_checkpoint *resume; /* where the next fit goes on; NULL once it does */
};

static inline kn_flow kn_cancel_of(kn_scope scope) {
    return (kn_flow)(KN_CANCEL_STEP + scope);
}

/* The flow that reaches further out. */
static inline kn_flow kn_wider(kn_flow a, kn_flow b) {
    return a > b ? a : b;
}

/* Tells the callbacks in order, until one returns another flow than KN_GO. */
kn_flow kn_tell(kn_learner *l, kn_event event);

/* Tells every callback whatever they return; the widest of their flows. */
kn_flow kn_tell_all(kn_learner *l, kn_event event);

/* before_X. With any flow but KN_GO the scope's body is to be skipped; kn_scope_end must follow. */
kn_flow kn_scope_begin(kn_learner *l, kn_scope scope);

/* after_X; when the scope was left by another flow than KN_GO, after_cancel_X before it. Returns
 * the flow for the enclosing scope. */
kn_flow kn_scope_end(kn_learner *l, kn_scope scope, kn_flow flow);

/* Runs a scope: before_X, body, after_X, with after_cancel_X where it is cancelled. Returns the
 * flow for the enclosing scope. */
kn_flow kn_run_scope(kn_learner *l, kn_scope scope, kn_flow (*body)(kn_learner *l));

#endif
