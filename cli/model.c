/* model.c - see model.h. */
#include "model.h"

#include "number.h"

#include <kiln/safetensors.h>

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

enum { MOST_CLASSES = 1000000 };

const char model_no_number[] =
    "the model's probabilities are NaN: its weights are no numbers, or too large";

const double imagenet_mean[3] = {0.485, 0.456, 0.406};
const double imagenet_std[3] = {0.229, 0.224, 0.225};

/* The classes are the rows of the last matrix, the head, whatever the architecture. */
static int64_t head_rows(session *s, const kn_st_file *file) {
    kn_named_list list;
    int64_t rows = 0;
    kn_module *any = kn_model_empty(s->ctx, s->a.model, 2);
    if (any != NULL && kn_module_parameters(any, &list) == KN_OK) {
        for (int i = 0; i < list.count; i++) {
            const kn_st_entry *e = kn_st_find(file, list.item[i].name);
            if (kn_tensor_shape(kn_param_value(list.item[i].param))->rank == 2)
                rows = e != NULL && e->shape.rank == 2 ? e->shape.dim[0] : 0;
        }
        kn_named_free(s->ctx, &list);
    }
    kn_module_free(any);
    return rows;
}

/* "00" to "11": of one length, so that their order as names is their order as numbers. */
static kn_status number_classes(session *s, int64_t count, kn_vocab *out) {
    int width = snprintf(NULL, 0, "%" PRId64, count - 1);
    char(*text)[NUMBER_TEXT] = kn_calloc(s->ctx, (size_t)count, sizeof *text, "class names");
    const char **name = kn_calloc(s->ctx, (size_t)count, sizeof *name, "class names");
    for (int64_t i = 0; i < count && text != NULL && name != NULL; i++) {
        snprintf(text[i], sizeof text[i], "%0*" PRId64, width, i);
        name[i] = text[i];
    }
    kn_status status = KN_ERR_MEMORY;
    if (text != NULL && name != NULL)
        status = kn_vocab_from(s->ctx, name, (int)count, out);
    kn_free(s->ctx, text);
    kn_free(s->ctx, name);
    return status;
}

static kn_status build(session *s, const kn_st_file *file, kn_loaded_model *m) {
    const char *path = s->a.weights;
    if (kn_st_meta_get(file, "kiln.arch") != NULL)
        return kn_fail(s->ctx, KN_ERR_ARG,
                       "%s: is a model file, which holds its classes and its preprocessing; give "
                       "it as MODEL, without --weights and --model",
                       path);
    int64_t classes = head_rows(s, file);
    if (kn_ctx_status(s->ctx) != KN_OK)
        return kn_ctx_status(s->ctx);
    if (classes < 1 || classes > MOST_CLASSES)
        return kn_fail(s->ctx, KN_ERR_FORMAT, "%s: holds no weights of %s", path, s->a.model);
    snprintf(m->arch, sizeof m->arch, "%s", s->a.model);
    m->size = 64;
    m->batch_size = 256;
    for (int c = 0; c < 3; c++) {
        m->norm.mean[c] = (float)imagenet_mean[c];
        m->norm.std[c] = (float)imagenet_std[c];
    }
    kn_status status = number_classes(s, classes, &m->vocab);
    if (status != KN_OK)
        return status;
    m->model = kn_model_empty(s->ctx, s->a.model, (int)classes);
    return m->model != NULL ? kn_weights_load(m->model, path) : kn_ctx_status(s->ctx);
}

static kn_status open_bare(session *s, kn_loaded_model *m) {
    kn_st_file *file;
    kn_error error = {0};
    if (kn_st_open(&file, s->a.weights, NULL, &error) != KN_OK)
        return kn_fail_with(s->ctx, &error);
    kn_status status = build(s, file, m);
    kn_st_close(file);
    return status;
}

static kn_status open_model(session *s, kn_loaded_model *m) {
    const char *path = s->a.word[0];
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return kn_fail(s->ctx, KN_ERR_IO,
                       "%s: is a folder, expected a model file: a run's is model.safetensors",
                       path);
    return kn_model_load(s->ctx, path, m);
}

int model_open(session *s, kn_loaded_model *m) {
    *m = (kn_loaded_model){0};
    kn_status status = s->a.weights != NULL ? open_bare(s, m) : open_model(s, m);
    if (status != KN_OK)
        return session_fail(s);
    if (s->a.img_size > 0)
        m->size = s->a.img_size;
    if (s->a.resize != NULL)
        kn_resize_find(s->a.resize, &m->resize);
    if (s->a.batch_size > 0)
        m->batch_size = 2 * s->a.batch_size;
    for (int c = 0; c < 3 && s->a.std[0] > 0; c++) {
        m->norm.mean[c] = (float)s->a.mean[c];
        m->norm.std[c] = (float)s->a.std[c];
    }
    return EXIT_DONE;
}

char **model_words(const session *s, int *count) {
    int skip = s->a.weights != NULL ? 0 : 1;
    *count = s->a.words - skip;
    return s->a.word + skip;
}
