/* step.c - a fit that goes step by step, for programs with a loop of their own. It begins and ends
 * the same scopes in the same order as learner.c, so callbacks cannot tell the difference; what
 * there stands on the stack is here the learner's stage. */
#include "learner/loop.h"

/* With the flow that left the epoch: on to the next, or the fit's end. */
static kn_flow end_epoch(kn_learner *l, kn_flow flow) {
    flow = kn_scope_end(l, KN_SCOPE_EPOCH, flow);
    bool on = flow == KN_GO && l->epoch + 1 < l->epochs;
    l->epoch += on;
    l->state->stage = on ? KN_STAGE_EPOCH : KN_STAGE_OVER;
    return flow;
}

static kn_flow end_train(kn_learner *l, kn_flow flow) {
    flow = kn_scope_end(l, KN_SCOPE_TRAIN, flow);
    l->training = false;
    if (flow == KN_GO && l->loaders.valid != NULL)
        flow = kn_run_pass(l, false);
    return end_epoch(l, flow);
}

static kn_flow begin_epoch(kn_learner *l) {
    kn_flow flow = kn_scope_begin(l, KN_SCOPE_EPOCH);
    if (flow != KN_GO)
        return end_epoch(l, flow);
    l->training = true;
    kn_module_train(l->model, true);
    l->state->stage = KN_STAGE_BATCH;
    flow = kn_scope_begin(l, KN_SCOPE_TRAIN);
    if (flow == KN_GO)
        flow = kn_pass_start(l, l->loaders.train);
    return flow == KN_GO ? KN_GO : end_train(l, flow);
}

static kn_flow next_batch(kn_learner *l, bool *trained) {
    if (!kn_module_training(l->model)) /* the program predicted with it since the last */
        kn_module_train(l->model, true);
    kn_flow flow = kn_pass_next(l, trained);
    return flow == KN_GO && *trained ? KN_GO : end_train(l, flow);
}

static kn_status end_fit(kn_learner *l, kn_flow flow) {
    l->state->stage = KN_STAGE_OVER;
    return kn_run_finish(l, kn_scope_end(l, KN_SCOPE_FIT, flow));
}

/* ---- the three functions ---- */

kn_status kn_learner_begin(kn_learner *l, int epochs) {
    kn_status status = kn_fit_check(l, epochs);
    if (status == KN_OK)
        status = kn_run_start(l, epochs);
    if (status != KN_OK)
        return status;
    l->state->stage = KN_STAGE_EPOCH;
    kn_flow flow = kn_scope_begin(l, KN_SCOPE_FIT);
    if (flow == KN_GO)
        flow = kn_fit_ready(l);
    return flow == KN_GO ? KN_OK : end_fit(l, flow);
}

/* What a step and the end ask first. */
static kn_status check(kn_learner *l) {
    kn_status status = kn_learner_usable(l);
    if (status == KN_OK && l->state->stage == KN_STAGE_NONE)
        return kn_fail(l->ctx, KN_ERR_STATE, "learner: no fit was begun; kn_learner_begin does it");
    return status;
}

kn_status kn_learner_step(kn_learner *l, bool *trained) {
    kn_status status = check(l);
    kn_flow flow = KN_GO;
    *trained = false;
    if (status != KN_OK || l->state->stage == KN_STAGE_OVER)
        return status;
    bool was = kn_grad_enable(l->ctx, true);
    while (flow == KN_GO && !*trained && l->state->stage != KN_STAGE_OVER)
        flow = l->state->stage == KN_STAGE_EPOCH ? begin_epoch(l) : next_batch(l, trained);
    kn_grad_enable(l->ctx, was);
    return l->state->stage == KN_STAGE_OVER ? end_fit(l, flow) : KN_OK;
}

kn_status kn_learner_end(kn_learner *l) {
    kn_status status = check(l);
    if (l == NULL || l->state->stage == KN_STAGE_NONE || l->state->stage == KN_STAGE_OVER)
        return status;
    kn_flow flow = status == KN_OK ? KN_CANCEL_FIT : KN_FAIL;
    if (l->state->stage == KN_STAGE_BATCH)
        flow = end_train(l, flow);
    return end_fit(l, flow);
}
