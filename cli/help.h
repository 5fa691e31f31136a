/* help.h - what --help prints. */
#ifndef KILN_CLI_HELP_H
#define KILN_CLI_HELP_H

#include "args.h"
#include "core/text.h"

/* Of one command, or with NULL of all: examples first, then options with their defaults, which are
 * those of the recipe (NULL: of the one that is taken when none is named). */
void help_text(const command *c, const char *recipe, kn_text *t);

#endif
