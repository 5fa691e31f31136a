/* command.h - runs the command (KILN_BIN) as a person would, and keeps what it said. */
#ifndef KN_TEST_COMMAND_H
#define KN_TEST_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct command_opts {
    const char *program; /* beside kiln; NULL: kiln */
    const char *folder;  /* to run in; NULL: here */
    long file_limit;     /* bytes that a file may grow to; 0: no limit */
    const char *out;     /* stdout goes to this file; NULL: it is kept */
    bool out_closed;     /* stdout is closed */
    bool terminal;       /* stderr is one */
    const char *home;    /* KILN_HOME; NULL: as it is */
} command_opts;

typedef struct command_run {
    pid_t pid;
    bool terminal;
    int out_fd, err_fd;
    int code;        /* 128 + signal when one ended it */
    char *out, *err; /* all that was written, with a NUL */
} command_run;

/* The path of a program that lies beside kiln; NULL: of kiln. */
enum { COMMAND_PATH = 4096 };
void command_path(const char *program, char path[COMMAND_PATH]);

/* Starts kiln with these arguments, NULL last. */
void command_start(command_run *run, command_opts opts, const char *const *arguments);

/* It has ended, and command_wait need not wait. */
bool command_ended(const command_run *run);

/* Waits for its end. command_free must follow. */
void command_wait(command_run *run);
void command_free(command_run *run);

/* Both, with the arguments as a list. */
#define COMMAND(run, opts, ...)                                                                    \
    do {                                                                                           \
        command_start((run), (opts), (const char *const[]){__VA_ARGS__, NULL});                    \
        command_wait(run);                                                                         \
    } while (0)

/* The run ended with this code; shows all it said if not. */
void command_expect(const command_run *run, int code);

/* Skips the test when it was LLVM's OpenMP that ended the run: where no file may be written it does
 * so before anything of the program runs. */
void command_skip_if_openmp_stopped(command_run *run);

/* A run that must end well; its stdout into out, an array. */
void command_well(char *out, size_t size, command_opts opts, const char *const *arguments);
#define COMMAND_WELL(out, opts, ...)                                                               \
    command_well((out), sizeof(out), (opts), (const char *const[]){__VA_ARGS__, NULL})

/* The value behind "key": in line number n (from 0) of those in text that contain part, as written,
 * into value; fails the test when there is none. */
enum { COMMAND_VALUE = 128 };
void command_value(const char *text, const char *part, int n, const char *key,
                   char value[COMMAND_VALUE]);

int command_lines(const char *text); /* newlines */

/* Draws a data set root/name/train|valid/CLASS/N.jpg: that many pictures of each of the first
 * classes of the shapes. */
void command_data(const char *root, const char *name, int classes, int train, int valid);

#endif
