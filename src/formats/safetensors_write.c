/* safetensors_write.c - everything is checked before the file is made, so that what is written can
 * be read; the same arguments give the same bytes, so that two runs can be compared with cmp. */
#include "formats/safetensors_parts.h"

#include "core/file.h"
#include "core/json_text.h"
#include "core/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The data may be mapped from the file's start: a multiple of 8 keeps every element aligned. */
enum { HEADER_ALIGN = 8 };

typedef struct {
    const char *path;
    const kn_st_entry *tensor;
    int tensors;
    const kn_st_meta *meta;
    int metas;
    const kn_allocator *allocator;
    kn_error *error;
} job;

static kn_status no_memory(const job *j) {
    return kn_error_set(j->error, KN_ERR_MEMORY, "%s: no memory to write it", j->path);
}

/* ---- checks ---- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static kn_status check_name(const job *j, const char *name) {
    char quoted[KN_ST_QUOTED];
    if (name == NULL)
        return kn_error_set(j->error, KN_ERR_ARG, "%s: a name to write is NULL", j->path);
    kn_st_quote(name, quoted);
    if (!kn_utf8_valid(name, strlen(name)))
        return kn_error_set(j->error, KN_ERR_ARG, "%s: the name %s is not UTF-8", j->path, quoted);
    if (strlen(name) > KN_ST_MAX_NAME)
        return kn_error_set(j->error, KN_ERR_ARG, "%s: the name %s has %zu bytes, the limit is %d",
                            j->path, quoted, strlen(name), KN_ST_MAX_NAME);
    return KN_OK;
}

/* Each a name, no two the same. Sorts them. */
static kn_status check_names(const job *j, const char **name, int names) {
    char quoted[KN_ST_QUOTED];
    for (int i = 0; i < names; i++) {
        kn_status status = check_name(j, name[i]);
        if (status != KN_OK)
            return status;
    }
    if (names > 0)
        qsort(name, (size_t)names, sizeof *name, by_text);
    for (int i = 1; i < names; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            return kn_error_set(j->error, KN_ERR_ARG, "%s: the name %s is given twice", j->path,
                                kn_st_quote(name[i], quoted));
    return KN_OK;
}

static kn_status check_all_names(const job *j) {
    int most = j->tensors > j->metas ? j->tensors : j->metas;
    const char **name = kn_mem_calloc(j->allocator, (size_t)most + 1, sizeof *name);
    if (name == NULL)
        return no_memory(j);
    for (int i = 0; i < j->tensors; i++)
        name[i] = j->tensor[i].name;
    kn_status status = check_names(j, name, j->tensors);
    for (int i = 0; i < j->metas; i++)
        name[i] = j->meta[i].key;
    if (status == KN_OK)
        status = check_names(j, name, j->metas);
    kn_mem_free(j->allocator, name);
    return status;
}

static kn_status check_metadata(const job *j) {
    char quoted[KN_ST_QUOTED];
    for (int i = 0; i < j->metas; i++) {
        const char *value = j->meta[i].value;
        if (value == NULL || !kn_utf8_valid(value, strlen(value)))
            return kn_error_set(j->error, KN_ERR_ARG, "%s: metadata %s is NULL or not UTF-8",
                                j->path, kn_st_quote(j->meta[i].key, quoted));
    }
    return KN_OK;
}

/* The bytes of a tensor's elements. */
static kn_status measure(const job *j, const kn_st_entry *tensor, uint64_t *bytes) {
    char quoted[KN_ST_QUOTED];
    kn_st_quote(tensor->name, quoted);
    const kn_shape *shape = &tensor->shape;
    if (strcmp(tensor->name, KN_ST_METADATA) == 0)
        return kn_error_set(j->error, KN_ERR_ARG, "%s: a tensor may not be named %s", j->path,
                            quoted);
    if (shape->rank < 0 || shape->rank > KN_MAX_RANK)
        return kn_error_set(j->error, KN_ERR_ARG, "%s: %s has rank %d, expected 0 to %d", j->path,
                            quoted, shape->rank, KN_MAX_RANK);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0)
            return kn_error_set(j->error, KN_ERR_ARG, "%s: %s has a dimension of %" PRId64, j->path,
                                quoted, shape->dim[i]);
    uint64_t numel = (uint64_t)kn_shape_numel(shape);
    if (numel > KN_ST_MAX_FILE)
        return kn_error_set(j->error, KN_ERR_LIMIT,
                            "%s: %s is too large for a file of %" PRIu64 " bytes", j->path, quoted,
                            KN_ST_MAX_FILE);
    *bytes = numel * kn_dtype_size(tensor->dtype);
    if (*bytes > 0 && tensor->data == NULL)
        return kn_error_set(j->error, KN_ERR_ARG, "%s: %s has no data", j->path, quoted);
    return KN_OK;
}

static kn_status check_size(const job *j, uint64_t header, uint64_t data) {
    if (header > KN_ST_MAX_HEADER)
        return kn_error_set(j->error, KN_ERR_LIMIT,
                            "%s: its header would have %" PRIu64 " bytes, the limit is %" PRIu64,
                            j->path, header, KN_ST_MAX_HEADER);
    if (data > KN_ST_MAX_FILE - KN_ST_LENGTH - header)
        return kn_error_set(j->error, KN_ERR_LIMIT,
                            "%s: it would have %" PRIu64 " bytes, the limit is %" PRIu64, j->path,
                            KN_ST_LENGTH + header + data, KN_ST_MAX_FILE);
    return KN_OK;
}

/* ---- the header ---- */

static void add_metadata(const job *j, kn_text *text) {
    kn_text_printf(text, "\"%s\":{", KN_ST_METADATA);
    for (int i = 0; i < j->metas; i++) {
        kn_text_printf(text, "%s", i > 0 ? "," : "");
        kn_text_json_string(text, j->meta[i].key);
        kn_text_printf(text, ":");
        kn_text_json_string(text, j->meta[i].value);
    }
    kn_text_printf(text, "}%s", j->tensors > 0 ? "," : "");
}

static void add_tensor(const kn_st_entry *tensor, uint64_t begin, uint64_t end, kn_text *text) {
    char shape[KN_SHAPE_TEXT];
    kn_text_json_string(text, tensor->name);
    kn_text_printf(
        text, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
        kn_st_dtype_code(tensor->dtype), kn_shape_text(&tensor->shape, shape), begin, end);
}

static kn_status make_header(const job *j, kn_text *text) {
    uint64_t end = 0;
    kn_text_printf(text, "{");
    if (j->metas > 0)
        add_metadata(j, text);
    for (int i = 0; i < j->tensors; i++) {
        uint64_t bytes = 0;
        kn_status status = measure(j, &j->tensor[i], &bytes);
        if (status == KN_OK)
            status = check_size(j, text->length, end + bytes);
        if (status != KN_OK)
            return status;
        kn_text_printf(text, "%s", i > 0 ? "," : "");
        add_tensor(&j->tensor[i], end, end + bytes, text);
        end += bytes;
    }
    kn_text_printf(text, "}");
    while (text->length % HEADER_ALIGN != 0 && !text->failed)
        kn_text_append(text, " ", 1);
    return text->failed ? no_memory(j) : check_size(j, text->length, end);
}

static kn_status write_file(const job *j, const kn_text *header) {
    kn_writer w;
    uint64_t length = header->length;
    kn_writer_open(&w, j->path, j->error);
    kn_writer_append(&w, &length, KN_ST_LENGTH);
    kn_writer_append(&w, header->data, header->length);
    for (int i = 0; i < j->tensors; i++) {
        const kn_st_entry *t = &j->tensor[i];
        size_t bytes = (size_t)kn_shape_numel(&t->shape) * kn_dtype_size(t->dtype);
        if (bytes > 0)
            kn_writer_append(&w, t->data, bytes);
    }
    return kn_writer_commit(&w); /* reports the first failure of all these calls */
}

kn_status kn_st_write(const char *path, const kn_st_entry *tensor, int tensors,
                      const kn_st_meta *meta, int metas, const kn_allocator *allocator,
                      kn_error *error) {
    job j = {path, tensor, tensors, meta, metas, allocator, error};
    if (tensors < 0 || metas < 0)
        return kn_error_set(error, KN_ERR_ARG, "%s: a negative count to write", path);
    if (tensors > KN_ST_MAX_TENSORS || metas > KN_ST_MAX_TENSORS)
        return kn_error_set(error, KN_ERR_LIMIT,
                            "%s: %d tensors and %d metadata entries, the limit is %d of each", path,
                            tensors, metas, KN_ST_MAX_TENSORS);
    kn_status status = check_all_names(&j);
    if (status == KN_OK)
        status = check_metadata(&j);
    kn_text header = {.allocator = allocator};
    if (status == KN_OK)
        status = make_header(&j, &header);
    if (status == KN_OK)
        status = write_file(&j, &header);
    kn_text_free(&header);
    return status;
}
