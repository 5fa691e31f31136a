/* check_sheet.h - kiln check --sheet: what a model will see, before it does. */
#ifndef KILN_CLI_CHECK_SHEET_H
#define KILN_CLI_CHECK_SHEET_H

#include "check_read.h"
#include "session.h"

#include <limits.h>

/* Draws pictures of the first training batch into --output, under a name that is free, which it
 * puts into path. Bad pictures are left out; without a good one nothing is drawn and path is empty.
 * EXIT_DONE or the exit code, reported. */
int check_sheet(session *s, const kn_split *split, const check_result *result, char path[PATH_MAX]);

#endif
