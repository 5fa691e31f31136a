/* activation_files.h - the activations of a fit as a table and as a picture. */
#ifndef KN_LEARNER_ACTIVATION_FILES_H
#define KN_LEARNER_ACTIVATION_FILES_H

#include <kiln/activations.h>

/* activations.csv and activations.svg into the folder. */
kn_status kn_activation_files_write(kn_ctx *ctx, const kn_activations *a, const char *folder);

#endif
