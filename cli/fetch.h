/* fetch.h - starts kiln-download, the program that fetches data sets. It is a program of its own so
 * that kiln needs neither libcurl nor libarchive, and starts without them. */
#ifndef KILN_CLI_FETCH_H
#define KILN_CLI_FETCH_H

#include "report.h"

#include <limits.h>

/* Where kiln-download is: beside kiln, else on PATH. False when it is in neither place. */
bool fetch_program(char path[PATH_MAX]);

/* What it says to --version, in one line: its version, and its libraries' ones. False when it says
 * nothing. */
bool fetch_version(const char *program, char *text, size_t size);

/* Has it put the data set into home/NAME. EXIT_DONE or the exit code, reported. A signal to end is
 * passed on, and kiln waits until kiln-download has put its things in order. */
int fetch_dataset(report *r, const char *name, const char *home);

#endif
