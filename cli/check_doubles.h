/* check_doubles.h - pictures that are the same, pixel for pixel: in one set they only count twice,
 * in both they make the validation lie, and of two classes at least one is wrong. */
#ifndef KILN_CLI_CHECK_DOUBLES_H
#define KILN_CLI_CHECK_DOUBLES_H

#include "check_read.h"
#include "report.h"

typedef struct check_doubles {
    int *file;   /* [files], those of one group next to each other; private */
    bool *valid; /* [files]: held out to validate on */
    int *label;  /* [files]; -1: in neither set */
    int files;
    int same;     /* pictures that are the same as an earlier one */
    int both;     /* groups that stand in both sets */
    int mislabel; /* groups of different classes */
} check_doubles;

/* From what was read. check_doubles_free must follow, also after a failure. */
kn_status check_doubles_find(kn_ctx *ctx, const kn_split *split, const check_result *result,
                             check_doubles *out);
void check_doubles_free(kn_ctx *ctx, check_doubles *d);

/* An array of objects, one a group. */
void check_doubles_json(const check_doubles *d, const kn_split *split, const check_result *result,
                        kn_text *out);

/* A line for each group that is wrong. */
void check_doubles_tell(const check_doubles *d, const kn_split *split, const check_result *result,
                        report *r);

#endif
