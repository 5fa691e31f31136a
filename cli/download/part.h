/* part.h - the file that a download grows in: NAME.part, and beside it NAME.part.etag, the server's
 * mark of the version that it is a part of. */
#ifndef KILN_DOWNLOAD_PART_H
#define KILN_DOWNLOAD_PART_H

#include <kiln/base.h>

#include <limits.h>

enum { PART_ETAG = 256 };

typedef struct part {
    int fd;       /* -1: not open */
    int64_t size; /* bytes that are there */
    int64_t kept; /* of them, those that were there when it was opened */
    char path[PATH_MAX], etag_path[PATH_MAX];
    char etag[PART_ETAG]; /* with its quotes; empty: none is known */
} part;

/* Opens FOLDER/NAME.part, or makes it empty. part_close must follow. */
kn_status part_open(part *p, const char *folder, const char *name, kn_error *error);

kn_status part_append(part *p, const void *data, size_t bytes, kn_error *error);

/* Empties it: what follows belongs to the version of this mark. */
kn_status part_restart(part *p, const char *etag, kn_error *error);

/* The SHA-256 of all of it, in hex. Empty when the program was asked to stop. */
kn_status part_sha256(const part *p, char hex[65], kn_error *error);

/* Closes it; an empty one goes. */
void part_close(part *p);

/* Closes and removes it. */
void part_remove(part *p);

#endif
