/* saver.h - writes a module and what prediction needs to know as a model file, again and again,
 * with memory taken once. */
#ifndef KN_LEARNER_SAVER_H
#define KN_LEARNER_SAVER_H

#include "core/text.h"

#include <kiln/model_file.h>
#include <kiln/safetensors.h>

/* Of the metadata, both in writing and in reading. */
enum { KN_MODEL_MAX_SIZE = 8192, KN_MODEL_MAX_BATCH = 1 << 20 };

typedef struct kn_saver {
    kn_ctx *ctx;
    kn_module *model;
    const kn_model_info *info;
    kn_named_list list;
    kn_st_entry *entry;
    unsigned char *data; /* a host copy of all tensors */
    kn_text arch, classes, input, held_out;
    unsigned char *arena; /* what kn_st_write allocates */
    size_t arena_size, arena_used;
    uint64_t changes; /* the model's, when this was made */
} kn_saver;

/* kn_saver_free must follow, also after a failure. */
kn_status kn_saver_init(kn_saver *s, kn_module *model, const kn_model_info *info);
kn_status kn_saver_write(kn_saver *s, const char *path);
void kn_saver_free(kn_saver *s);

#endif
