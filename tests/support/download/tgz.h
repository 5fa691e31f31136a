/* tgz.h - archives for the tests of kiln-download, good ones and hostile ones, made in memory. */
#ifndef KN_TEST_TGZ_H
#define KN_TEST_TGZ_H

#include <stddef.h>
#include <stdint.h>

struct archive;

typedef struct tgz {
    struct archive *writer;
    unsigned char *data; /* the finished archive */
    size_t bytes, room;
    char sha256[65];
} tgz;

/* tgz_add..., then tgz_end; then data, bytes and sha256 can be used until tgz_free. */
void tgz_begin(tgz *t);
void tgz_end(tgz *t);
void tgz_free(tgz *t);

void tgz_file(tgz *t, const char *path, const void *data, size_t bytes);
void tgz_folder(tgz *t, const char *path);

/* That many zeros, never all in memory. */
void tgz_zeros(tgz *t, const char *path, int64_t bytes);

/* A file that is one hole of that size. */
void tgz_hole(tgz *t, const char *path, int64_t bytes);

/* kind as in a mode: S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO; target is that of a link. */
void tgz_special(tgz *t, const char *path, unsigned kind, const char *target);
void tgz_hard_link(tgz *t, const char *path, const char *target);

/* Instead: these bytes as they are, no archive at all perhaps. tgz_free must follow. */
void tgz_raw(tgz *t, const void *data, size_t bytes);

#endif
