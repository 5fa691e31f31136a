/* weights.h - filling a module from an open file. */
#ifndef KN_LEARNER_WEIGHTS_H
#define KN_LEARNER_WEIGHTS_H

#include <kiln/model_file.h>
#include <kiln/safetensors.h>

/* As kn_weights_load; path stands in messages. */
kn_status kn_weights_fill(kn_module *model, const kn_st_file *file, const char *path);

#endif
