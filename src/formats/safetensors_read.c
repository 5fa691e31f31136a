/* safetensors_read.c - a strict reader: what it accepts has one meaning. The header is JSON from
 * anywhere, so nothing in it is believed before it is checked, and what is checked is everything:
 * names, types, shapes, and that the tensors cover the data without gap, overlap or rest. */
#include "formats/safetensors_parts.h"

#include "core/file.h"
#include "core/utf8.h"
#include "formats/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kn_st_private {
    kn_allocator allocator;
    unsigned char *bytes; /* the file */
    char *strings;        /* names, metadata keys and values, each with its NUL */
    const kn_st_entry **by_name;
};

/* A tensor and where the header puts it. */
typedef struct {
    kn_st_entry entry;
    uint64_t begin, end;
    int index; /* in the header: keeps the order of tensors without elements */
} placed;

typedef struct {
    const char *path;
    kn_error *error;
    kn_st_file *file;
    struct kn_st_private *priv;
    const unsigned char *data; /* after the header */
    uint64_t data_bytes;
    char *string; /* the next free byte of priv->strings */
} reader;

/* A header of the greatest number of tensors has fewer commas. Bounding them bounds what the JSON
 * parser allocates, which may be 50 times what it is given. */
enum { MAX_DEPTH = 3, MAX_COMMAS = 12 * KN_ST_MAX_TENSORS };

static kn_status KN_PRINTF(2, 3) malformed(reader *r, const char *format, ...) {
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return kn_error_set(r->error, KN_ERR_FORMAT, "%s: not a valid safetensors file: %s", r->path,
                        reason);
}

static kn_status no_memory(reader *r) {
    return kn_error_set(r->error, KN_ERR_MEMORY, "%s: no memory to read it", r->path);
}

/* ---- the header's text ---- */

/* A pass over the text before the parser's: nesting and the number of values, which bound the
 * parser's memory. Not a check of the grammar, which is the parser's. */
static kn_status check_extent(reader *r, const char *text, size_t bytes) {
    int depth = 0, commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (quoted)
            continue;
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        else if (c == ',')
            commas++;
        if (depth > MAX_DEPTH)
            return malformed(r, "the header is nested too deeply at byte %zu", i);
        if (commas > MAX_COMMAS)
            return kn_error_set(r->error, KN_ERR_LIMIT,
                                "%s: the header has more than %d values or metadata entries",
                                r->path, MAX_COMMAS);
    }
    return KN_OK;
}

static kn_status parse_text(reader *r, const char *text, size_t bytes, json_t **root) {
    if (bytes == 0 || text[0] != '{')
        return malformed(r, "the header does not start with {");
    if (!kn_utf8_valid(text, bytes))
        return malformed(r, "the header is not UTF-8");
    if (memchr(text, '\0', bytes) != NULL) /* which the parser skips after a number */
        return malformed(r, "the header holds a zero byte");
    while (text[bytes - 1] == ' ')
        bytes--;
    if (text[bytes - 1] != '}')
        return malformed(r, "something other than spaces follows the header's }");
    kn_status status = check_extent(r, text, bytes);
    if (status != KN_OK)
        return status;
    char wrong[KN_JSON_MESSAGE];
    status = kn_json_read(text, bytes, JSON_REJECT_DUPLICATES, root, wrong);
    if (status == KN_ERR_MEMORY)
        return no_memory(r);
    return status == KN_OK ? KN_OK : malformed(r, "the header is not JSON: %s", wrong);
}

/* ---- what the header says ---- */

/* A string's JSON form has two quotes at least, and no character that is shorter than its decoded
 * one: so what is kept fits into as many bytes as the header has. */
static const char *keep(reader *r, const char *s) {
    size_t bytes = strlen(s) + 1;
    char *kept = memcpy(r->string, s, bytes);
    r->string += bytes;
    return kept;
}

static kn_status keep_name(reader *r, const char *s, const char **name) {
    char quoted[KN_ST_QUOTED];
    if (strlen(s) > KN_ST_MAX_NAME)
        return kn_error_set(r->error, KN_ERR_LIMIT,
                            "%s: the name %s has %zu bytes, the limit is %d", r->path,
                            kn_st_quote(s, quoted), strlen(s), KN_ST_MAX_NAME);
    *name = keep(r, s);
    return KN_OK;
}

static kn_status read_metadata(reader *r, json_t *object) {
    if (!json_is_object(object))
        return malformed(r, "__metadata__ is not an object");
    r->file->meta =
        kn_mem_calloc(&r->priv->allocator, json_object_size(object) + 1, sizeof *r->file->meta);
    if (r->file->meta == NULL)
        return no_memory(r);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        char quoted[KN_ST_QUOTED];
        if (!json_is_string(value))
            return malformed(r, "%s in __metadata__ is not a string", kn_st_quote(key, quoted));
        kn_st_meta *meta = &r->file->meta[r->file->metas];
        kn_status status = keep_name(r, key, &meta->key);
        if (status != KN_OK)
            return status;
        meta->value = keep(r, json_string_value(value));
        r->file->metas++;
    }
    return KN_OK;
}

/* A whole number from 0; false when value is anything else. */
static bool read_number(json_t *value, int64_t *number) {
    *number = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
    return *number >= 0;
}

static kn_status read_dtype(reader *r, json_t *value, kn_st_entry *entry, const char *quoted) {
    char code[KN_ST_QUOTED];
    if (!json_is_string(value))
        return malformed(r, "dtype of %s is missing or not a string", quoted);
    if (kn_st_dtype_from_code(json_string_value(value), &entry->dtype))
        return KN_OK;
    /* The file may well be valid: it holds a type that Kiln has not. */
    kn_st_quote(json_string_value(value), code);
    return kn_error_set(
        r->error, KN_ERR_FORMAT,
        "%s: dtype %.*s of %s is not supported (F32, F16, BF16, U8, I32 and I64 are)", r->path,
        (int)strlen(code) - 2, code + 1, quoted);
}

static kn_status read_shape(reader *r, json_t *value, kn_st_entry *entry, const char *quoted) {
    if (!json_is_array(value))
        return malformed(r, "shape of %s is missing or not an array", quoted);
    if (json_array_size(value) > KN_MAX_RANK)
        return malformed(r, "%s has rank %zu, the greatest is %d", quoted, json_array_size(value),
                         KN_MAX_RANK);
    entry->shape.rank = (int)json_array_size(value);
    for (int i = 0; i < entry->shape.rank; i++)
        if (!read_number(json_array_get(value, (size_t)i), &entry->shape.dim[i]))
            return malformed(r, "shape of %s holds something other than whole numbers from 0",
                             quoted);
    return KN_OK;
}

static kn_status read_offsets(reader *r, json_t *value, placed *tensor, const char *quoted) {
    int64_t begin, end, bytes;
    if (!json_is_array(value) || json_array_size(value) != 2 ||
        !read_number(json_array_get(value, 0), &begin) ||
        !read_number(json_array_get(value, 1), &end))
        return malformed(r, "data_offsets of %s are missing or not two whole numbers from 0",
                         quoted);
    if (begin > end || (uint64_t)end > r->data_bytes)
        return malformed(
            r, "data_offsets [%" PRId64 ",%" PRId64 "] of %s, in data of %" PRIu64 " bytes", begin,
            end, quoted, r->data_bytes);
    const kn_st_entry *entry = &tensor->entry;
    char shape[KN_SHAPE_TEXT];
    kn_shape_text(&entry->shape, shape);
    if (__builtin_mul_overflow(kn_shape_numel(&entry->shape), (int64_t)kn_dtype_size(entry->dtype),
                               &bytes))
        return malformed(r, "%s of shape %s is too large", quoted, shape);
    if (end - begin != bytes)
        return malformed(r, "%s has %" PRId64 " bytes, %s %s needs %" PRId64, quoted, end - begin,
                         kn_st_dtype_code(entry->dtype), shape, bytes);
    tensor->begin = (uint64_t)begin;
    tensor->end = (uint64_t)end;
    return KN_OK;
}

static kn_status read_tensor(reader *r, const char *name, json_t *object, placed *tensor) {
    char quoted[KN_ST_QUOTED], field_quoted[KN_ST_QUOTED];
    kn_st_quote(name, quoted);
    if (!json_is_object(object))
        return malformed(r, "%s is not an object", quoted);
    kn_status status = keep_name(r, name, &tensor->entry.name);
    const char *field;
    json_t *value;
    json_object_foreach(object, field, value) {
        if (status == KN_OK && strcmp(field, "dtype") != 0 && strcmp(field, "shape") != 0 &&
            strcmp(field, "data_offsets") != 0)
            status = malformed(r, "%s has an unknown field %s", quoted,
                               kn_st_quote(field, field_quoted));
    }
    if (status == KN_OK)
        status = read_dtype(r, json_object_get(object, "dtype"), &tensor->entry, quoted);
    if (status == KN_OK)
        status = read_shape(r, json_object_get(object, "shape"), &tensor->entry, quoted);
    if (status == KN_OK)
        status = read_offsets(r, json_object_get(object, "data_offsets"), tensor, quoted);
    return status;
}

/* ---- the tensors together ---- */

static int by_place(const void *a, const void *b) {
    const placed *p = a, *q = b;
    if (p->begin != q->begin)
        return p->begin < q->begin ? -1 : 1;
    if (p->end != q->end)
        return p->end < q->end ? -1 : 1;
    return p->index - q->index;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const kn_st_entry *const *)a)->name, (*(const kn_st_entry *const *)b)->name);
}

/* Sorts by offset, checks that each tensor starts where the one before ends, fills file->tensor. */
static kn_status lay_out(reader *r, placed *tensor, int count) {
    char quoted[KN_ST_QUOTED];
    uint64_t end = 0;
    qsort(tensor, (size_t)count, sizeof *tensor, by_place);
    for (int i = 0; i < count; i++) {
        if (tensor[i].begin != end)
            return malformed(r, "data_offsets of %s leave %s at byte %" PRIu64 " of the data",
                             kn_st_quote(tensor[i].entry.name, quoted),
                             tensor[i].begin < end ? "an overlap" : "a gap",
                             tensor[i].begin < end ? tensor[i].begin : end);
        end = tensor[i].end;
        r->file->tensor[i] = tensor[i].entry;
        r->file->tensor[i].data = r->data + tensor[i].begin;
        r->priv->by_name[i] = &r->file->tensor[i];
    }
    if (end != r->data_bytes)
        return malformed(r, "the tensors end at byte %" PRIu64 " of %" PRIu64 " of data", end,
                         r->data_bytes);
    qsort(r->priv->by_name, (size_t)count, sizeof(kn_st_entry *), by_name);
    r->file->tensors = count;
    return KN_OK;
}

static kn_status read_header(reader *r, json_t *root) {
    const kn_allocator *a = &r->priv->allocator;
    size_t tensors = json_object_size(root);
    if (json_object_get(root, KN_ST_METADATA) != NULL)
        tensors--;
    if (tensors > KN_ST_MAX_TENSORS)
        return kn_error_set(r->error, KN_ERR_LIMIT, "%s: holds %zu tensors, the limit is %d",
                            r->path, tensors, KN_ST_MAX_TENSORS);
    placed *tensor = kn_mem_calloc(a, tensors + 1, sizeof *tensor);
    r->file->tensor = kn_mem_calloc(a, tensors + 1, sizeof *r->file->tensor);
    r->priv->by_name = kn_mem_calloc(a, tensors + 1, sizeof(kn_st_entry *));
    kn_status status = KN_OK;
    if (tensor == NULL || r->file->tensor == NULL || r->priv->by_name == NULL)
        status = no_memory(r);
    int count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value) {
        if (status != KN_OK)
            break;
        if (strcmp(name, KN_ST_METADATA) == 0)
            status = read_metadata(r, value);
        else {
            tensor[count].index = count;
            status = read_tensor(r, name, value, &tensor[count]);
            count++;
        }
    }
    if (status == KN_OK)
        status = lay_out(r, tensor, count);
    kn_mem_free(a, tensor);
    return status;
}

/* ---- the file ---- */

static kn_status read_file(reader *r, size_t size) {
    const unsigned char *bytes = r->priv->bytes;
    uint64_t header;
    if (size < KN_ST_LENGTH)
        return malformed(r, "it has %zu bytes, the header's length alone takes %d", size,
                         KN_ST_LENGTH);
    memcpy(&header, bytes, sizeof header);
    if (header > KN_ST_MAX_HEADER)
        return malformed(r, "its header would have %" PRIu64 " bytes, the limit is %" PRIu64,
                         header, KN_ST_MAX_HEADER);
    if (header > size - KN_ST_LENGTH)
        return malformed(r, "its header of %" PRIu64 " bytes ends after the file's %zu", header,
                         size);
    r->data = bytes + KN_ST_LENGTH + header;
    r->data_bytes = size - KN_ST_LENGTH - header;
    json_t *root = NULL;
    kn_status status = parse_text(r, (const char *)bytes + KN_ST_LENGTH, header, &root);
    if (status == KN_OK) {
        r->string = r->priv->strings = kn_mem_alloc(&r->priv->allocator, header);
        status = r->string == NULL ? no_memory(r) : read_header(r, root);
    }
    json_decref(root);
    return status;
}

kn_status kn_st_parse(kn_st_file **out, const char *path, void *bytes, size_t size,
                      const kn_allocator *allocator, kn_error *error) {
    reader r = {.path = path, .error = error};
    *out = NULL;
    r.file = kn_mem_calloc(allocator, 1, sizeof *r.file);
    r.priv = kn_mem_calloc(allocator, 1, sizeof *r.priv);
    if (r.file == NULL || r.priv == NULL) {
        kn_mem_free(allocator, r.file);
        kn_mem_free(allocator, r.priv);
        kn_mem_free(allocator, bytes);
        return no_memory(&r);
    }
    r.file->priv = r.priv;
    r.priv->bytes = bytes;
    if (allocator != NULL)
        r.priv->allocator = *allocator;
    kn_status status = read_file(&r, size);
    if (status == KN_OK)
        *out = r.file;
    else
        kn_st_close(r.file);
    return status;
}

typedef struct {
    const kn_allocator *allocator;
    void *bytes;
} buffer;

static void *make_room(void *user, size_t bytes) {
    buffer *b = user;
    return b->bytes = kn_mem_alloc(b->allocator, bytes);
}

kn_status kn_st_open(kn_st_file **out, const char *path, const kn_allocator *allocator,
                     kn_error *error) {
    buffer b = {.allocator = allocator};
    size_t size;
    *out = NULL;
    kn_status status = kn_file_read(path, KN_ST_MAX_FILE, make_room, &b, &size, error);
    if (status == KN_OK)
        return kn_st_parse(out, path, b.bytes, size, allocator, error);
    kn_mem_free(allocator, b.bytes);
    return status;
}

void kn_st_close(kn_st_file *file) {
    if (file == NULL)
        return;
    kn_allocator allocator = file->priv->allocator;
    kn_mem_free(&allocator, file->tensor);
    kn_mem_free(&allocator, file->meta);
    kn_mem_free(&allocator, file->priv->bytes);
    kn_mem_free(&allocator, file->priv->strings);
    kn_mem_free(&allocator, file->priv->by_name);
    kn_mem_free(&allocator, file->priv);
    kn_mem_free(&allocator, file);
}

const kn_st_entry *kn_st_find(const kn_st_file *file, const char *name) {
    const kn_st_entry wanted = {.name = name}, *key = &wanted;
    const kn_st_entry *const *found =
        bsearch(&key, file->priv->by_name, (size_t)file->tensors, sizeof key, by_name);
    return found != NULL ? *found : NULL;
}

const char *kn_st_meta_get(const kn_st_file *file, const char *key) {
    for (int i = 0; i < file->metas; i++)
        if (strcmp(file->meta[i].key, key) == 0)
            return file->meta[i].value;
    return NULL;
}
