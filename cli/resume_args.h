/* resume_args.h - the arguments of a training, read back from the JSON that args.json and a
 * checkpoint keep them in. */
#ifndef KILN_CLI_RESUME_ARGS_H
#define KILN_CLI_RESUME_ARGS_H

#include "args.h"

#include <limits.h>

/* DATA, and the paths that it and --weights led to. */
typedef struct resume_words {
    char *word[1];
    char data[PATH_MAX], weights[PATH_MAX];
} resume_words;

/* Puts all of them into *a, but those that a resumed training may set anew and that stood on the
 * command line. Each is checked like one that was typed. What texts in *a belong to are words and
 * what it returns, for resume_args_free; NULL with the error set, from being where the JSON comes
 * from. */
void *resume_args_read(const char *json, const char *from, args *a, resume_words *words,
                       kn_error *error);
void resume_args_free(void *json);

/* Whether an option may stand beside --resume. */
bool resume_args_may(const option *o);

#endif
