/* info_batch.h - the pictures that kiln info sends through a model. */
#ifndef KILN_CLI_INFO_BATCH_H
#define KILN_CLI_INFO_BATCH_H

#include "model.h"

/* The first batch_size pictures of DATA, in path order, as the model takes them: f32 [N,H,W,3], N
 * being fewer where there are fewer. name is DATA as typed; NULL gives zeros. NULL on failure,
 * reported, with its exit code in *code. The tensor is of the step. */
kn_tensor *info_batch(session *s, const kn_loaded_model *m, const char *name, int *code);

#endif
