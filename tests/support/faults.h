/* faults.h - runs of the command in which a call is made to fail (tests/shim), and what is left
 * after them: memory, open files, and which calls of the program were ever failed. */
#ifndef KN_TEST_FAULTS_H
#define KN_TEST_FAULTS_H

#include "support/command.h"

#include <stdbool.h>

enum { FAULT_WAY = 160 };

typedef struct fault_report {
    long calls, failed;      /* of the function */
    long open;               /* files that were not closed */
    long leaks, other_leaks; /* blocks of the program's own; of libraries that work for it */
    char leak[FAULT_WAY];    /* where one of them was asked for */
    char (*ways)[FAULT_WAY]; /* to the function's calls: "OBJECT+OFFSET,OFFSET..." */
    int count;
} fault_report;

/* Which call of which function fails, and how: see tests/shim/fail_calls.c. The report goes into
 * root. */
void fault_set(const char *root, const char *function, const char *which, const char *how);
void fault_clear(void);

/* False: the program did not live to say. fault_report_free must follow. */
bool fault_report_read(fault_report *r, const char *root);
void fault_report_free(fault_report *r);

/* ---- the calls that were failed, of all the runs ---- */

/* True: an address of the way is new for such a fault (any text that names it). */
bool fault_is_new(const char *fault, const char *way);
void fault_was_tried(const char *fault, const char *way);

/* The addresses in the program's own code that any tried way held, into a file, a line each. Their
 * number. */
long fault_write_tried(const char *path);

#endif
