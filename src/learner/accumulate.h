/* accumulate.h - how many batches make one step. */
#ifndef KN_LEARNER_ACCUMULATE_H
#define KN_LEARNER_ACCUMULATE_H

#include <kiln/learner.h>

/* 1 where nothing accumulates. */
int kn_accumulate_batches(const kn_learner *l);

#endif
