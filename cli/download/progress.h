/* progress.h - how far a download is: a bar on a terminal, else a line every ten seconds. */
#ifndef KILN_DOWNLOAD_PROGRESS_H
#define KILN_DOWNLOAD_PROGRESS_H

#include "report.h"

typedef struct progress {
    const report *r;
    const char *name;
    int64_t total;       /* bytes */
    int64_t start;       /* bytes that were there before */
    double began, shown; /* seconds of a clock */
    bool bar, drawn;
} progress;

void progress_begin(progress *p, const report *r, const char *name, int64_t total, int64_t start);

/* To call often; shows something now and then. */
void progress_show(progress *p, int64_t done);

/* Takes the bar away, so that a line can be written. */
void progress_clear(progress *p);

/* Since progress_begin. */
double progress_seconds(const progress *p);

/* "99.0 MB" into text; returns text. */
enum { PROGRESS_SIZE = 32 };
const char *progress_size(int64_t bytes, char text[PROGRESS_SIZE]);

#endif
