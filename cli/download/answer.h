/* answer.h - the headers of a server's answer that a resumed download turns on. */
#ifndef KILN_DOWNLOAD_ANSWER_H
#define KILN_DOWNLOAD_ANSWER_H

#include <stddef.h>
#include <stdint.h>

typedef struct answer {
    int code;             /* 200: the file; 206: a part of it; 0: none yet */
    int64_t start, total; /* of Content-Range; -1: not said */
    char etag[256];
} answer;

/* Takes one line; that of a new answer (after a proxy's, or a 100) begins afresh. */
void answer_header(answer *a, const char *line, size_t length);

#endif
