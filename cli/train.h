/* train.h - what kiln train holds together, and what it says. */
#ifndef KILN_CLI_TRAIN_H
#define KILN_CLI_TRAIN_H

#include "run_folder.h"

#include <kiln/callbacks.h>
#include <kiln/model_file.h>

typedef struct train {
    session *s;
    kn_split split;
    kn_dataset *train_set, *valid_set;
    kn_loaders loaders;
    kn_module *model;
    kn_normalize norm;
    kn_model_info info;
    run_folder run;
    kn_learner *learner;
    double seconds; /* of the fit */
} train;

/* train_report.c */
void train_tell_data(train *t);
void train_on_epoch(void *user, const kn_history_row *row); /* user is the train */
void train_on_progress(void *user, const char *text, size_t length);
kn_status train_tell_done(train *t);

#endif
