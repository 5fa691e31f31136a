/* cache_file.h - samples in a file: a header, an index with a checksum a sample, then the samples,
 * each in its place. It is read and written in place, without a mapping: then a full disk, a read
 * error or a file that somebody cut short is a status and no signal. */
#ifndef KN_DATA_CACHE_FILE_H
#define KN_DATA_CACHE_FILE_H

#include "core/ctx.h"

#include <kiln/data.h>

typedef struct kn_cache_file kn_cache_file;

/* What the file must be: samples of so many bytes, made of what the name says. */
typedef struct kn_cache_form {
    int64_t samples;
    size_t sample_bytes;
    char name[KN_DATASET_NAME];
} kn_cache_form;

/* folder/NAME.samples as it stands, if it is there, whole and of this form (it is removed if not);
 * else one without a name, which gets it when the last sample is written or left out. KN_ERR_IO
 * when neither can be had. */
kn_status kn_cache_file_open(kn_cache_file **out, const kn_allocator *allocator, const char *folder,
                             const kn_cache_form *form, kn_error *error);

/* A file in which a sample was found damaged is removed, so that the next run makes it anew. */
void kn_cache_file_close(kn_cache_file *f);

/* Any thread may call these three, on different samples or on the same. */

/* True when the sample was there and whole: pixels and label are filled. */
bool kn_cache_file_get(kn_cache_file *f, int64_t i, uint8_t *pixels, int32_t *label);

/* Keeps a sample, unless it is kept or left out, or writing has failed before. */
void kn_cache_file_put(kn_cache_file *f, int64_t i, const uint8_t *pixels, int32_t label);

/* There is no such sample, as its picture is bad: the file is whole without it. */
void kn_cache_file_leave_out(kn_cache_file *f, int64_t i);

int64_t kn_cache_file_found(const kn_cache_file *f);   /* samples of an earlier run's file */
int64_t kn_cache_file_damaged(const kn_cache_file *f); /* of these, found wrong */
const char *kn_cache_file_given_up(kn_cache_file *f);  /* why writing stopped, or NULL */

#endif
