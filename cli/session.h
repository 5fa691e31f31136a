/* session.h - one run of the command: what was asked, where reports go, the library's context. */
#ifndef KILN_CLI_SESSION_H
#define KILN_CLI_SESSION_H

#include "args.h"
#include "report.h"

#include <kiln/data.h>

#include <limits.h>

typedef struct session {
    args a;
    report r;
    const char *program;   /* argv[0], for commands to try */
    kn_ctx *ctx;           /* NULL until session_open */
    struct resume *resume; /* of kiln train --resume; NULL: none */
} session;

/* The commands. Each returns the exit code; what went wrong is reported. */
int train_run(session *s);
int predict_run(session *s);
int eval_run(session *s);
int explain_run(session *s);
int check_run(session *s);
int info_run(session *s);
int doctor_run(session *s);
int lr_find_run(session *s);
int bench_run(session *s);

/* Makes the context. EXIT_DONE or the exit code, reported. */
int session_open(session *s);

/* Reports the context's error and clears it. Returns its exit code. */
int session_fail(session *s);

/* What --dtype means; where the device cannot, the context's error says so. */
kn_dtype session_dtype(session *s);

/* The folder that DATA means; shapes are drawn before, a known data set is fetched. EXIT_DONE or
 * the exit code, reported. */
int data_folder(session *s, const char *name, char path[PATH_MAX]);

/* Warn of what a scan of folders passed over; and of folders that are no class and of classes that
 * are not validated. A failure is the context's. */
void data_warn_passed_over(session *s, const kn_files *files);
void data_warn_unused_pct(session *s, const kn_split *split);
kn_status data_warn_of_split(session *s, const kn_split *split);

#endif
