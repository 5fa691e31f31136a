/* disturbed.h - the commands that tests of faults disturb, on data and models that lie ready. */
#ifndef KN_TEST_DISTURBED_H
#define KN_TEST_DISTURBED_H

#include "support/command.h"

#include <stdbool.h>

typedef struct disturbed {
    const char *name;
    const char *line;    /* what is typed after "kiln"; no argument holds a space */
    const char *without; /* a folder that is removed before */
    void (*before)(const char *root);
    int code;     /* that it ends with, undisturbed */
    bool trains;  /* into the folder out, which is new, or was given up by an earlier training */
    bool resumes; /* what is copied to out before */
    bool repeats; /* says the same each time */
    bool reports; /* what it cannot find out is part of what it says */
    bool slow;    /* with KILN_TEST_FULL too each place, not each call */
    bool late;    /* with KILN_TEST_FULL only */
} disturbed;

/* From 0; NULL behind the last. */
const disturbed *disturbed_command(int i);

/* One that computes on two threads, for faults in libraries. */
extern const disturbed disturbed_on_two_threads;

/* The data and models that they work on. */
void disturbed_prepare(const char *root);

/* Sets the folders up for one run of it, and runs it. command_free must follow. */
void disturbed_set_up(const char *root, const disturbed *d);
void disturbed_run(const char *root, const disturbed *d, command_run *run);

#endif
