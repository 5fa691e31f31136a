/* loop.h - the pieces of a fit, for those who run it: learner.c in one go, step.c step by step. */
#ifndef KN_LEARNER_LOOP_H
#define KN_LEARNER_LOOP_H

#include "learner/events.h"

/* KN_ERR_STATE without a learner; else the context's error, of something that a run was to use. */
kn_status kn_learner_usable(const kn_learner *l);

/* Whether a fit of that many epochs can be: KN_OK, or the error. */
kn_status kn_fit_check(kn_learner *l, int count);

/* Around the fit's scope: the learner's fields of a run, set and at its end cleared. finish takes
 * the flow with which the scope was left, and returns the run's status. */
kn_status kn_run_start(kn_learner *l, int count);
kn_status kn_run_finish(kn_learner *l, kn_flow flow);

/* Between before_fit and the first epoch: parameters packed, the optimizer made. */
kn_flow kn_fit_ready(kn_learner *l);

/* A whole pass, training or validation, its events included. */
kn_flow kn_run_pass(kn_learner *l, bool training);

/* The inside of a pass: its start, and the next batch with all of its events, if there is one. */
kn_flow kn_pass_start(kn_learner *l, kn_loader *loader);
kn_flow kn_pass_next(kn_learner *l, bool *got);

#endif
