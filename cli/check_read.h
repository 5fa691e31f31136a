/* check_read.h - decodes every file of a list, with several threads. */
#ifndef KILN_CLI_CHECK_READ_H
#define KILN_CLI_CHECK_READ_H

#include <kiln/data.h>

typedef struct check_result {
    int width, height; /* upright; 0: bad */
    kn_image_form form;
    int bits, orientation;
    char *error;     /* NULL: good; else why not, from kn_strdup */
    char pixels[65]; /* of a good one: the SHA-256 of its size and upright pixels */
} check_result;

typedef struct check_opts {
    int workers;       /* 0: the processors */
    size_t max_memory; /* bytes a picture */
    bool bar;          /* draw progress on stderr */
} check_opts;

/* Fills result[files->count], zeroed before. A bad picture is a result; lack of memory or of
 * threads is a failure, in the context. */
kn_status check_read_all(kn_ctx *ctx, const kn_files *files, check_opts opts, check_result *result);

#endif
