/* datasets.h - the data sets that can be fetched by name: where each lies, and how to know that it
 * arrived whole. Read by kiln, which has to tell a name from a typing error, and by kiln-download.
 *
 * KILN_DATASETS may name a file with more of them, a line each:
 *
 *     NAME URL BYTES SHA256     a data set of your own
 *     NAME URL                  another place of one that is known: bytes and sum stay as they are
 *
 * Blank lines, and lines that begin with #, are skipped. */
#ifndef KILN_CLI_DATASETS_H
#define KILN_CLI_DATASETS_H

#include <kiln/base.h>

enum { DATASETS_MAX = 64, DATASET_NAME = 64, DATASET_URL = 1024, DATASET_SHA256 = 65 };

typedef struct dataset {
    char name[DATASET_NAME];
    char url[DATASET_URL]; /* of a .tar.gz */
    int64_t bytes;         /* of that file */
    char sha256[DATASET_SHA256];
} dataset;

typedef struct datasets {
    int count;
    dataset row[DATASETS_MAX];
} datasets;

/* The built-in ones, then those of KILN_DATASETS. KN_ERR_ARG names the line that is wrong. */
kn_status datasets_load(datasets *all, kn_error *error);

/* NULL when there is none of that name. */
const dataset *datasets_find(const datasets *all, const char *name);

/* The name becomes that of a folder in the cache: letters, digits and . - _, the first no . or -,
 * and none that Kiln takes for itself. */
bool dataset_name_good(const char *name);

/* 64 hex digits. */
bool dataset_sha256_good(const char *hex);

/* A whole number of bytes from 1 to 2^53, in decimal; -1 if it is none. */
int64_t dataset_bytes(const char *text);

#endif
