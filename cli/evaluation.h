/* evaluation.h - a model on DATA's validation pictures: what eval tells and explain shows. */
#ifndef KILN_CLI_EVALUATION_H
#define KILN_CLI_EVALUATION_H

#include "model.h"
#include "run_folder.h"

#include <kiln/metrics.h>

typedef struct evaluation {
    session *s;
    kn_loaded_model m;
    const char *data;      /* as typed */
    char folder[PATH_MAX]; /* that this means */
    kn_split split;
    bool held_out; /* DATA is what the model was trained on, and this the part held out */
    kn_dataset *set;
    kn_loader *loader;
    kn_learner *learner;
    kn_results results;
    kn_predictions p;
    kn_confusion confusion;
    kn_class_score *score; /* [classes] */
    run_folder out;        /* where files go, once it is made */
    bool written;          /* they are there */
} evaluation;

/* Opens MODEL and DATA and makes one pass. EXIT_DONE or the exit code, reported. evaluation_close
 * must follow in any case. */
int evaluation_open(evaluation *e, session *s);
void evaluation_close(evaluation *e);

enum { MATRIX_DRAWN = 2000 }; /* classes that kn_matrix_chart_write takes */

/* eval_files.c: confusion.csv into the folder, and confusion.svg up to MATRIX_DRAWN classes; name
 * is [classes]. train writes them too. */
kn_status evaluation_write_confusion(kn_ctx *ctx, const kn_confusion *c, char *const *name,
                                     const run_folder *folder);
/* Those, per_class.csv and predictions.csv. */
kn_status evaluation_write(const evaluation *e);

#endif
