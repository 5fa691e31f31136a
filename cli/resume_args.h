/* resume_args.h - the arguments of a training, read back from the JSON that args.json and a
 * checkpoint keep them in. */
#ifndef KILN_CLI_RESUME_ARGS_H
#define KILN_CLI_RESUME_ARGS_H

#include "args.h"

/* Puts all of them into *a, but those that a resumed training may set anew and that stood on the
 * command line; word becomes DATA. Each is checked like one that was typed. Returns what the texts
 * in *a and word belong to, for resume_args_free; NULL with the error set, from being where the
 * JSON comes from. */
void *resume_args_read(const char *json, const char *from, args *a, char *word[1], kn_error *error);
void resume_args_free(void *json);

/* Whether an option may stand beside --resume. */
bool resume_args_may(const option *o);

#endif
