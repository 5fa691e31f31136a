/* job.h - what one run of kiln-download was asked to do. */
#ifndef KILN_DOWNLOAD_JOB_H
#define KILN_DOWNLOAD_JOB_H

#include "datasets.h"
#include "report.h"

#include <limits.h>

typedef struct job {
    report r;
    dataset set;
    char to[PATH_MAX]; /* the folder in which the data set becomes a folder */
    bool list, help, version;
    int stall;   /* seconds a transfer may take to bring 1 KB a second, and to connect */
    int retries; /* after the first try */
    int wait;    /* seconds before the first retry; doubled before each further one */
    int64_t max_files, max_bytes, max_file_bytes; /* of what the archive unpacks to */
} job;

/* options.c: reads the command line. KN_ERR_ARG says what is wrong with it. */
kn_status job_parse(int argc, char **argv, job *j, kn_error *error);

/* options.c: what --help prints. */
void job_help(kn_text *t);

#endif
