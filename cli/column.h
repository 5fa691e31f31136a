/* column.h - text in columns, whatever bytes a name holds. */
#ifndef KILN_CLI_COLUMN_H
#define KILN_CLI_COLUMN_H

#include "core/text.h"

/* Characters of s as UTF-8; a byte that is none counts as one. */
int column_width(const char *s);

/* Appends s with a question mark for each control character: no name is to steer the terminal. */
void column_clean(kn_text *t, const char *s);

/* The same, and blanks up to width characters. */
void column_text(kn_text *t, const char *s, int width);

#endif
