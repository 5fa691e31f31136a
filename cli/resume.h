/* resume.h - kiln train --resume RUN: the arguments, the data and the place of a training that was
 * stopped, from its run folder. */
#ifndef KILN_CLI_RESUME_H
#define KILN_CLI_RESUME_H

#include "resume_args.h"
#include "train.h"

#include <kiln/checkpoint.h>

struct resume {
    run_folder run;
    kn_checkpoint *checkpoint; /* NULL: none was written yet, and it begins anew */
    void *json;                /* jansson's: the arguments, which borrow its texts */
    resume_words words;
};

/* Takes the run folder and puts its arguments where the command line's are, before anything is made
 * of those. EXIT_DONE or the exit code, reported. resume_close must follow in any case. */
int resume_open(session *s);

/* Whether the numbers of the model come from a checkpoint. */
bool resume_has_checkpoint(const session *s);
void resume_close(session *s);

/* Says where it goes on. Once the data is open: is it what the training began with? Once the
 * learner is: goes on there. */
void resume_tell(const train *t);
int resume_check_data(train *t);
kn_status resume_learner(train *t);

/* The checkpoints of a run: arguments and the data's hash go into each. */
kn_callback *resume_checkpoint_cb(train *t);

/* "kiln train --resume RUN", as it can be typed. */
void resume_command(const train *t, kn_text *out);

/* data_list.c: a line for each picture, its set, size and path below DATA; and the hash of them
 * all. The text is the caller's to free. */
kn_status data_list(const train *t, kn_text *out, char hash[65]);

/* What is the first thing to differ between two lists, and how many lines do; in words. */
void data_list_difference(const char *before, const char *now, char *words, size_t size);

#endif
