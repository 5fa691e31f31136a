/* file.h - reading a file whole, and replacing a file whole or not at all. */
#ifndef KN_CORE_FILE_H
#define KN_CORE_FILE_H

#include "core/ctx.h"

#include <stdio.h>

/* Reads at most limit bytes (else KN_ERR_LIMIT). Only regular files: a directory, FIFO or device is
 * KN_ERR_IO without blocking. room(user, size) must return a buffer of that size or NULL. */
kn_status kn_file_read(const char *path, size_t limit, void *(*room)(void *user, size_t bytes),
                       void *user, size_t *size, kn_error *error);

enum { KN_PATH_MAX = 4096, KN_WRITE_BUFFER = 1 << 14 };

/* A file written under a temporary name in the same folder. Allocates nothing. */
typedef struct kn_writer {
    int fd;
    bool opened; /* the temporary file is there */
    size_t bytes;
    kn_status status;
    kn_error *error; /* may be NULL */
    size_t used;
    char path[KN_PATH_MAX], temporary[KN_PATH_MAX];
    unsigned char buffer[KN_WRITE_BUFFER];
} kn_writer;

/* kn_writer_commit or kn_writer_abort must follow, also after a failure. Append after a failure
 * does nothing. */
kn_status kn_writer_open(kn_writer *w, const char *path, kn_error *error);
kn_status kn_writer_append(kn_writer *w, const void *data, size_t bytes);

/* Flushes, syncs, renames, syncs the folder. After a failure the temporary file is gone and an
 * older file under the name intact. */
kn_status kn_writer_commit(kn_writer *w);
void kn_writer_abort(kn_writer *w);

/* Gives a file another name, in place of what had it, and syncs the folder. missing: that there is
 * no such file is no failure. Both names are in one folder. */
kn_status kn_file_move(const char *from, const char *to, bool missing, kn_error *error);
bool kn_file_exists(const char *path);

/* All of it at once. */
kn_status kn_file_write(const char *path, const void *data, size_t bytes, kn_error *error);

/* folder/file into path; KN_ERR_IO when it is too long. */
kn_status kn_path_join(char path[KN_PATH_MAX], const char *folder, const char *file,
                       kn_error *error);

/* Makes the folder and those above it; path is written to on the way, and then as before. */
kn_status kn_folder_make(char *path, kn_error *error);

#endif
