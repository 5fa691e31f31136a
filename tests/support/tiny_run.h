/* tiny_run.h - a learner with a tiny model and tiny data: 6 pictures in 2 training batches, 3 in 1
 * validation batch. */
#ifndef KN_TEST_TINY_RUN_H
#define KN_TEST_TINY_RUN_H

#include <kiln/kiln.h>

enum { TRAIN = 6, VALID = 3, BATCH = 4, SIDE = 8, CLASSES = 3 };

typedef struct run {
    kn_ctx *ctx;
    kn_dataset *train, *valid;
    kn_loaders loaders;
    kn_module *model;
    kn_normalize norm;
    kn_learner *l;
} run;

/* In place: the setup callback keeps a pointer to norm. */
void run_init(run *r);
void run_init_with(run *r, kn_ctx_opts opts);
void run_free(run *r);

#endif
