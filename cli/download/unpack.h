/* unpack.h - unpacks a .tar.gz, trusting nothing in it. */
#ifndef KILN_DOWNLOAD_UNPACK_H
#define KILN_DOWNLOAD_UNPACK_H

#include <kiln/base.h>

typedef struct unpack_limits {
    int64_t files;      /* and folders */
    int64_t bytes;      /* of all files */
    int64_t file_bytes; /* of one */
} unpack_limits;

enum { UNPACK_PATH = 1024 }; /* bytes of a path in the archive */

/* Unpacks the archive open at fd, read from its beginning, into a folder that is empty. Only files
 * and folders: a link, a device, a FIFO, a path that is absolute or has "..", a second file of the
 * same name and what exceeds the limits are refused. Modes, owners and times are not taken over.
 * name begins the messages. KN_ERR_DATA and KN_ERR_LIMIT: the archive is at fault; KN_ERR_STATE:
 * the program was asked to stop. What was unpacked so far is then left to the caller. */
kn_status unpack(int fd, const char *name, const char *folder, unpack_limits limits, int64_t *files,
                 kn_error *error);

/* "libarchive 3.6.2". */
const char *unpack_version(void);

#endif
