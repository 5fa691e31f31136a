/* report.h - everything the command says: results to stdout, messages to stderr, and the exit code
 * that follows from a failure. */
#ifndef KILN_CLI_REPORT_H
#define KILN_CLI_REPORT_H

#include "core/text.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_DATA = 3,
    EXIT_DEVICE = 4,
    EXIT_INTERRUPTED = 130
};

typedef struct report {
    const char *program; /* what messages begin with; NULL: kiln */
    bool json, quiet, verbose;
    int out_error; /* errno of the first write to stdout that failed; nothing is written after it */
} report;

/* A closed stdout or stderr is opened on nothing, so that no file of ours gets its number; a reader
 * that goes away, or a file-size limit, is an error of the write instead of the process's end. */
void report_prepare(void);

/* Writes and frees the text. False once stdout has failed. */
bool report_out(report *r, kn_text *t);

/* One line on stderr, "PROGRAM: message"; with --json also an event on stdout. Returns exit code.
 */
int report_fail(report *r, int exit_code, const char *format, ...) KN_PRINTF(3, 4);
int report_error(report *r, const kn_error *error); /* the code from its status */
void report_warning(report *r, const char *message);

/* One line on stderr, unless --quiet. */
void report_note(const report *r, const char *format, ...) KN_PRINTF(2, 3);

/* Whether stderr is a terminal that a line can be redrawn on, and progress is wanted; and how many
 * columns it has. */
bool report_has_bar(const report *r);
int report_columns(void);

/* Draws the line over what stands there, cut to what the terminal has room for; "": wipes it. */
void report_bar(const char *line);

/* The same, and text to stderr, for kn_progress_opts; user is not looked at. */
int report_progress_columns(void *user);
void report_progress(void *user, const char *text, size_t length);

/* The context's log: user is the report. Warnings always, the rest with --verbose. */
void report_log(void *user, kn_log_level level, const char *line);

/* To call last: code; where results were lost on their way out, EXIT_FAILED in place of EXIT_DONE
 * and EXIT_DATA, or EXIT_DEVICE for lack of memory. */
int report_end(report *r, int code);

#endif
