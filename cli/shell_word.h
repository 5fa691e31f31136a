/* shell_word.h - words of a command line as somebody would type them. */
#ifndef KILN_CLI_SHELL_WORD_H
#define KILN_CLI_SHELL_WORD_H

#include "core/text.h"

/* A space and the word, in quotes where a shell would take it apart. */
void shell_word(kn_text *out, const char *word);

/* The same of a path, which no command takes for an option. */
void shell_path(kn_text *out, const char *path);

#endif
