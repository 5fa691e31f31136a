/* terminate_on_nan.h - what those who keep a training's state ask first. */
#ifndef KN_LEARNER_TERMINATE_ON_NAN_H
#define KN_LEARNER_TERMINATE_ON_NAN_H

#include <kiln/callbacks.h>

/* Looks at the steps that nobody looked at yet, if the learner has the callback: KN_ERR_STATE, and
 * the context's error says where it began, when something in them was no number. */
kn_status kn_terminate_on_nan_check(kn_learner *l);

/* For tests: look some steps later, as on a device that works asynchronously. */
void kn_terminate_on_nan_defer(kn_callback *cb);

#endif
