/* model_file.c - reading a model file back: the metadata says what to build, the tensors fill it.
 */
#include "core/ctx.h"
#include "formats/json.h"
#include "formats/sha256.h"
#include "learner/checkpoint.h"
#include "learner/saver.h"
#include "learner/weights.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CLASSES = 1000000 };

static kn_status bad(kn_ctx *ctx, const char *path, const char *key) {
    return kn_fail(ctx, KN_ERR_FORMAT, "%s: metadata %s is missing or malformed", path, key);
}

/* The JSON value under a key, to json_decref; *out NULL when there is none or it is not JSON. */
static kn_status meta_json(kn_ctx *ctx, const kn_st_file *file, const char *path, const char *key,
                           json_t **out) {
    char wrong[KN_JSON_MESSAGE];
    const char *text = kn_st_meta_get(file, key);
    kn_status status = KN_OK;
    *out = NULL;
    if (text != NULL)
        status =
            kn_json_read(text, strlen(text), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, out, wrong);
    return status != KN_ERR_MEMORY
               ? KN_OK
               : kn_fail(ctx, KN_ERR_MEMORY, "%s: out of memory: metadata %s", path, key);
}

static kn_status read_version(kn_ctx *ctx, const kn_st_file *file, const char *path,
                              kn_loaded_model *out) {
    json_t *version;
    kn_status status = meta_json(ctx, file, path, "kiln.version", &version);
    if (status != KN_OK)
        return status;
    bool good = json_is_string(version) && json_string_length(version) < sizeof out->version;
    if (good)
        snprintf(out->version, sizeof out->version, "%s", json_string_value(version));
    json_decref(version);
    return good ? KN_OK : bad(ctx, path, "kiln.version");
}

static kn_status read_classes(kn_ctx *ctx, const kn_st_file *file, const char *path,
                              kn_vocab *out) {
    json_t *classes;
    kn_status status = meta_json(ctx, file, path, "kiln.classes", &classes);
    if (status != KN_OK)
        return status;
    size_t count = json_array_size(classes);
    bool good = json_is_array(classes) && count >= 1 && count <= MOST_CLASSES;
    const char **name = good ? kn_calloc(ctx, count, sizeof *name, "class names") : NULL;
    for (size_t i = 0; name != NULL && i < count && good; i++) {
        name[i] = json_string_value(json_array_get(classes, i));
        good = name[i] != NULL && (i == 0 || strcmp(name[i - 1], name[i]) < 0);
    }
    if (!good)
        status = bad(ctx, path, "kiln.classes");
    else if (name == NULL)
        status = KN_ERR_MEMORY;
    else
        status = kn_vocab_from(ctx, name, (int)count, out);
    kn_free(ctx, name);
    json_decref(classes);
    return status;
}

kn_status kn_model_file_classes(kn_ctx *ctx, const kn_st_file *file, const char *path,
                                kn_vocab *out) {
    *out = (kn_vocab){0};
    return kn_st_meta_get(file, "kiln.classes") != NULL ? read_classes(ctx, file, path, out)
                                                        : KN_OK;
}

kn_status kn_model_file_arch(kn_ctx *ctx, const kn_st_file *file, const char *path, char *text,
                             size_t size) {
    json_t *arch;
    kn_status status = meta_json(ctx, file, path, "kiln.arch", &arch);
    const char *name = json_string_value(json_object_get(arch, "model"));
    snprintf(text, size, "%s", name != NULL ? name : "");
    json_decref(arch);
    return status;
}

static bool read_int(const json_t *object, const char *key, json_int_t most, int *out) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > most)
        return false;
    *out = (int)json_integer_value(value);
    return true;
}

static bool read_three(const json_t *object, const char *key, bool positive, float out[3]) {
    const json_t *list = json_object_get(object, key);
    for (size_t c = 0; c < 3; c++) {
        const json_t *value = json_array_get(list, c);
        if (json_array_size(list) != 3 || !json_is_number(value))
            return false;
        out[c] = (float)json_number_value(value);
        if (!isfinite(out[c]) || (positive && !(out[c] > 0)))
            return false;
    }
    return true;
}

kn_status kn_model_file_norm(kn_ctx *ctx, const kn_st_file *file, const char *path, bool *has,
                             kn_normalize *norm) {
    json_t *input;
    kn_status status = meta_json(ctx, file, path, "kiln.input", &input);
    *has =
        read_three(input, "mean", false, norm->mean) && read_three(input, "std", true, norm->std);
    json_decref(input);
    return status;
}

static kn_status read_input(kn_ctx *ctx, const kn_st_file *file, const char *path,
                            kn_loaded_model *out) {
    json_t *input;
    kn_status status = meta_json(ctx, file, path, "kiln.input", &input);
    if (status != KN_OK)
        return status;
    const char *resize = json_string_value(json_object_get(input, "resize"));
    bool good = read_int(input, "size", KN_MODEL_MAX_SIZE, &out->size) &&
                read_int(input, "batch_size", KN_MODEL_MAX_BATCH, &out->batch_size) &&
                read_three(input, "mean", false, out->norm.mean) &&
                read_three(input, "std", true, out->norm.std) && resize != NULL &&
                kn_resize_find(resize, &out->resize);
    json_decref(input);
    return good ? KN_OK : bad(ctx, path, "kiln.input");
}

/* Digits alone: strtoull would take a sign and spaces. */
static bool read_seed(const char *text, uint64_t *out) {
    size_t length = text != NULL ? strlen(text) : 0;
    if (length == 0 || strspn(text, "0123456789") != length)
        return false;
    errno = 0;
    *out = strtoull(text, NULL, 10);
    return errno == 0;
}

/* Files of older versions have none, and trainings with validation pictures of their own. */
static kn_status read_held_out(kn_ctx *ctx, const kn_st_file *file, const char *path,
                               kn_loaded_model *out) {
    json_t *value;
    kn_held_out *h = &out->held_out;
    if (kn_st_meta_get(file, "kiln.held_out") == NULL)
        return KN_OK;
    kn_status status = meta_json(ctx, file, path, "kiln.held_out", &value);
    if (status != KN_OK)
        return status;
    const char *sum = json_string_value(json_object_get(value, "files_sha256"));
    h->valid_pct = json_number_value(json_object_get(value, "valid_pct"));
    bool good = h->valid_pct > 0 && h->valid_pct < 100 &&
                read_seed(json_string_value(json_object_get(value, "seed")), &h->seed) &&
                sum != NULL && strlen(sum) == 64 && kn_sha256_is_hex(sum);
    if (good)
        memcpy(h->files_sha256, sum, sizeof h->files_sha256);
    json_decref(value);
    return good ? KN_OK : bad(ctx, path, "kiln.held_out");
}

static kn_status build(kn_ctx *ctx, const kn_st_file *file, const char *path,
                       kn_loaded_model *out) {
    json_t *arch;
    kn_status status = meta_json(ctx, file, path, "kiln.arch", &arch);
    if (status != KN_OK)
        return status;
    const char *model = json_string_value(json_object_get(arch, "model"));
    int classes = 0;
    bool own = json_is_null(json_object_get(arch, "model"));
    bool good = model != NULL && strlen(model) < sizeof out->arch &&
                read_int(arch, "classes", MOST_CLASSES, &classes) && classes == out->vocab.count;
    if (good)
        snprintf(out->arch, sizeof out->arch, "%s", model);
    json_decref(arch);
    if (own)
        return kn_fail(
            ctx, KN_ERR_FORMAT,
            "%s: holds a module that is not one of Kiln's; kn_weights_load fills one made by "
            "its own code",
            path);
    if (!good)
        return bad(ctx, path, "kiln.arch");
    for (int i = 0; kn_model_name(i) != NULL; i++)
        if (strcmp(kn_model_name(i), out->arch) == 0) {
            out->model = kn_model_empty(ctx, out->arch, classes);
            return out->model != NULL
                       ? kn_weights_fill(out->model, file, path, (kn_weights_opts){0}, NULL)
                       : kn_ctx_status(ctx);
        }
    return kn_fail(ctx, KN_ERR_FORMAT, "%s: holds model \"%s\", which this Kiln (%s) does not know",
                   path, out->arch, KN_VERSION);
}

kn_status kn_model_load(kn_ctx *ctx, const char *path, kn_loaded_model *out) {
    *out = (kn_loaded_model){0};
    kn_st_file *file;
    kn_error error = {0};
    if (kn_st_open(&file, path, &ctx->allocator, &error) != KN_OK)
        return kn_fail_with(ctx, &error);
    kn_status status = KN_OK;
    if (kn_st_meta_get(file, KN_CHECKPOINT_KIND) != NULL)
        status = kn_fail(ctx, KN_ERR_FORMAT,
                         "%s: is a checkpoint, from which a training goes on; the model is the "
                         "model.safetensors beside it",
                         path);
    else if (kn_st_meta_get(file, "kiln.arch") == NULL)
        status =
            kn_fail(ctx, KN_ERR_FORMAT,
                    "%s: holds weights but not which model they are for (no kiln.arch); train, "
                    "predict, eval and explain take such a file by --weights, with --model",
                    path);
    else
        status = read_version(ctx, file, path, out);
    if (status == KN_OK)
        status = read_classes(ctx, file, path, &out->vocab);
    if (status == KN_OK)
        status = read_input(ctx, file, path, out);
    if (status == KN_OK)
        status = read_held_out(ctx, file, path, out);
    if (status == KN_OK)
        status = build(ctx, file, path, out);
    kn_st_close(file);
    return status;
}

void kn_loaded_model_free(kn_ctx *ctx, kn_loaded_model *m) {
    kn_module_free(m->model);
    kn_vocab_free(ctx, &m->vocab);
    *m = (kn_loaded_model){0};
}
