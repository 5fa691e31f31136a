/* model.h - the model that predict, eval and info are asked about. */
#ifndef KILN_CLI_MODEL_H
#define KILN_CLI_MODEL_H

#include "session.h"

#include <kiln/model_file.h>

/* From MODEL, or with --weights from a bare weights file (whose classes are then numbers, until
 * model_classes_from finds better); --img-size, --resize, --batch-size, --mean and --std override
 * what it holds. EXIT_DONE or the exit code, reported. kn_loaded_model_free must follow in any
 * case. */
int model_open(session *s, kn_loaded_model *m);

/* Of the pictures that published weights were trained on. What a bare weights file does not say is
 * taken to be this; --mean and --std say otherwise. */
extern const double imagenet_mean[3], imagenet_std[3];

/* The words after MODEL. */
char **model_words(const session *s, int *count);

/* What is said of a model whose probabilities are NaN. */
extern const char model_no_number[];

#endif
