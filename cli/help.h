/* help.h - what --help prints. */
#ifndef KILN_CLI_HELP_H
#define KILN_CLI_HELP_H

#include "args.h"
#include "core/text.h"

/* Of one command, or with NULL of all: examples first, then options with their defaults. */
void help_text(const command *c, kn_text *t);

#endif
