/* safetensors.h - the model file's container (https://github.com/huggingface/safetensors, format of
 * 2023): 8 bytes of little-endian header length, a JSON header, the tensors' bytes. Data only:
 * opening one runs nothing. */
#ifndef KILN_SAFETENSORS_H
#define KILN_SAFETENSORS_H

#include <kiln/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Limits of both reader and writer. The reader holds the whole file in memory. */
#define KN_ST_MAX_FILE    ((uint64_t)16 << 30)          /* bytes */
#define KN_ST_MAX_HEADER  ((uint64_t)100 * 1000 * 1000) /* bytes */
#define KN_ST_MAX_TENSORS 100000
#define KN_ST_MAX_NAME    1024 /* bytes of a name or metadata key */

typedef struct kn_st_entry {
    const char *name;
    kn_dtype dtype;
    kn_shape shape;
    const void *data; /* host memory, little endian, row-major; may be unaligned when read */
} kn_st_entry;

typedef struct kn_st_meta {
    const char *key, *value;
} kn_st_meta;

/* An open file: everything is owned by it. Tensors in the order of their bytes. */
typedef struct kn_st_file {
    kn_st_entry *tensor;
    int tensors;
    kn_st_meta *meta;
    int metas;
    struct kn_st_private *priv;
} kn_st_file;

/* Reads and checks the whole file; anything malformed, and an element type that is not one of ours,
 * is KN_ERR_FORMAT with path and reason; more than a limit above, KN_ERR_LIMIT. *out is owned by
 * the caller: kn_st_close. allocator may be NULL; the JSON parser's memory is malloc's regardless.
 */
KN_API KN_NODISCARD kn_status kn_st_open(kn_st_file **out, const char *path,
                                         const kn_allocator *allocator, kn_error *error);
KN_API void kn_st_close(kn_st_file *file);
KN_API const kn_st_entry *kn_st_find(const kn_st_file *file, const char *name); /* or NULL */
KN_API const char *kn_st_meta_get(const kn_st_file *file, const char *key);     /* or NULL */

/* Converts the numbers of an f32, bf16 or f16 tensor to f32, each exactly, into out: f32 [numel].
 * False, and nothing written, when it is of another type. */
KN_API bool kn_st_to_f32(const kn_st_entry *entry, float *out);

/* Writes tensors in the given order, through a temporary name in the same folder that is synced and
 * renamed: after a failure (KN_ERR_IO) an older file is intact. The same arguments give the same
 * bytes. Names, keys and values must be UTF-8, names and keys distinct (KN_ERR_ARG). */
KN_API KN_NODISCARD kn_status kn_st_write(const char *path, const kn_st_entry *tensor, int tensors,
                                          const kn_st_meta *meta, int metas,
                                          const kn_allocator *allocator, kn_error *error);

#ifdef __cplusplus
}
#endif
#endif
