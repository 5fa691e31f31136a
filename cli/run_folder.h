/* run_folder.h - the folder that a command writes into. */
#ifndef KILN_CLI_RUN_FOLDER_H
#define KILN_CLI_RUN_FOLDER_H

#include "session.h"

typedef struct run_folder {
    char path[PATH_MAX];
    bool made;  /* by this run */
    bool owned; /* made, or was empty: all that is in it is this run's */
    int lock;   /* that no other training works in it; 0: none */
} run_folder;

/* Whether --output may be used: it does not exist, or is an empty folder. Asked before any work is
 * done. EXIT_DONE or the exit code, reported. */
int run_folder_check(session *s);

/* Makes --output, or the next free numbered/N. EXIT_DONE or the exit code, reported. */
int run_folder_open(session *s, run_folder *run, const char *numbered);

/* The same for a training, locked. EXIT_DONE or the exit code, reported. */
int run_folder_make(session *s, run_folder *run, const char *numbered);

/* args.json. EXIT_DONE or the exit code, reported. */
int run_folder_write_args(session *s, const run_folder *run);

/* The folder of a training that is to go on, locked, without what a stop in the middle of writing
 * left. EXIT_DONE or the exit code, reported. */
int run_folder_take(session *s, run_folder *run, const char *path);

/* Ends the lock. */
void run_folder_leave(run_folder *run);

/* What stands in args.json. */
void run_folder_args(const session *s, kn_text *t);

/* After a failure: a folder in which neither model nor checkpoint was saved yet goes away, so that
 * the same command can be given again. worthless: in spite of a checkpoint. */
void run_folder_discard(const run_folder *run, bool worthless);

/* Makes the folders above a path, as far as they are not there. False with errno, and the path ends
 * after the one that failed. */
bool run_folder_make_above(char *path);

/* A file of the folder as text, for free; NULL, and KN_OK, when it is not there. */
kn_status run_folder_text(const run_folder *run, const char *name, char **text, kn_error *error);

/* path/name into out; false when it is too long. */
bool run_folder_file(const run_folder *run, const char *name, char out[PATH_MAX]);

#endif
