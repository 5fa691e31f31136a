/* model_file.h - a trained model on disk: safetensors, with what prediction needs in its metadata.
 */
#ifndef KILN_MODEL_FILE_H
#define KILN_MODEL_FILE_H

#include <kiln/callbacks.h>
#include <kiln/layers.h>
#include <kiln/learner.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which pictures a training held out: those that kn_split_folder draws with this percentage and
 * seed from a folder whose files have this kn_files_sha256. So they can be drawn again to evaluate
 * the model. */
typedef struct kn_held_out {
    double valid_pct; /* 0: not known, or there were validation pictures of their own */
    uint64_t seed;
    char files_sha256[65];
} kn_held_out;

/* What the weights alone do not say. */
typedef struct kn_model_info {
    const char
        *arch; /* for kn_model_new; NULL: a user's own module, which cannot be loaded by name */
    const kn_vocab *vocab;   /* its count is the model's number of classes */
    int size;                /* pictures become size x size */
    kn_resize_method resize; /* by this method */
    const kn_normalize
        *norm;      /* may still be unmeasured when a callback is made: read when saving */
    int batch_size; /* of validation: kiln eval uses it again, so that every bit agrees */
    kn_held_out held_out;
} kn_model_info;

KN_API kn_status kn_model_save(kn_module *model, const kn_model_info *info, const char *path);

typedef struct kn_loaded_model {
    kn_module *model;
    char arch[64];
    kn_vocab vocab;
    int size, batch_size;
    kn_resize_method resize;
    kn_normalize norm;
    kn_held_out held_out;
    char version[32]; /* of Kiln, that wrote it */
} kn_loaded_model;

/* Builds the model the file names and fills it. KN_ERR_IO, KN_ERR_FORMAT. Free with
 * kn_loaded_model_free, also after a failure. */
KN_API KN_NODISCARD kn_status kn_model_load(kn_ctx *ctx, const char *path, kn_loaded_model *out);
KN_API void kn_loaded_model_free(kn_ctx *ctx, kn_loaded_model *m);

/* Fills a module from a safetensors file of the same names and shapes, one of Kiln's or of
 * published weights; f16 and bf16 numbers become f32. When something does not fit, the message
 * (KN_ERR_FORMAT) names every missing, unknown or wrong-shaped tensor as far as there is room, the
 * log names all of them, and nothing was changed. Batch norm's num_batches_tracked, on which
 * nothing depends, may be in the file or not. */
KN_API kn_status kn_weights_load(kn_module *model, const char *path);

typedef struct kn_weights_opts {
    bool replace_head; /* to start from weights for other classes: when the head (the last matrix
                          and its bias) differs in their number alone, the model's own stays */
    const kn_vocab *classes; /* the model's, if given: also when a model file names others */
} kn_weights_opts;

/* What the file was found to hold. */
typedef struct kn_weights_report {
    char head[64];        /* name of the head, "fc"; empty: the model has none */
    bool head_replaced;   /* the model's head stayed as it was */
    int64_t file_classes; /* of the file's head */
    int converted;        /* tensors that were f16 or bf16 */
    bool has_norm;        /* it is a model file of Kiln's: */
    kn_normalize norm;    /* how the pictures it was trained on were normalised */
} kn_weights_report;

/* The same with options. report may be NULL. */
KN_API kn_status kn_weights_load_with(kn_module *model, const char *path, kn_weights_opts opts,
                                      kn_weights_report *report);

/* SHA-256, as 64 hex digits, of parameter and buffer bytes (f32 file form) in name order. */
KN_API kn_status kn_weights_sha256(kn_module *model, char hex[65]);

/* At each epoch's end saves the model as folder/last.safetensors and, when its validation accuracy
 * is the best so far (of equals the earlier), as folder/model.safetensors. Needs
 * kn_track_results_cb. folder is copied, info borrowed. */
KN_API kn_callback *kn_save_model_cb(kn_ctx *ctx, const char *folder, const kn_model_info *info);
KN_API int kn_save_model_best(const kn_learner *l, double *acc); /* its epoch; -1: none yet */

#ifdef __cplusplus
}
#endif
#endif
