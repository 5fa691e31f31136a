/* weights.h - filling a module from an open file. */
#ifndef KN_LEARNER_WEIGHTS_H
#define KN_LEARNER_WEIGHTS_H

#include <kiln/model_file.h>
#include <kiln/safetensors.h>

/* As kn_weights_load_with; path stands in messages. */
kn_status kn_weights_fill(kn_module *model, const kn_st_file *file, const char *path,
                          kn_weights_opts opts, kn_weights_report *report);

/* model_file.c: mean and std of the metadata, if it *has some that are good. */
kn_status kn_model_file_norm(kn_ctx *ctx, const kn_st_file *file, const char *path, bool *has,
                             kn_normalize *norm);

/* The classes that its metadata names, for kn_vocab_free; none, if it names none. KN_ERR_FORMAT. */
kn_status kn_model_file_classes(kn_ctx *ctx, const kn_st_file *file, const char *path,
                                kn_vocab *out);

/* The name of its architecture into text; empty, if it names none. */
kn_status kn_model_file_arch(kn_ctx *ctx, const kn_st_file *file, const char *path, char *text,
                             size_t size);

#endif
