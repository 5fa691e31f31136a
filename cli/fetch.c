/* fetch.c - see fetch.h. */
#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char program_name[] = "kiln-download";

/* ---- where it is ---- */

static bool runs(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool beside(char path[PATH_MAX]) {
    char own[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length <= 0)
        return false;
    own[length] = '\0';
    char *slash = strrchr(own, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    int needed = snprintf(path, PATH_MAX, "%s/%s", own, program_name);
    return needed > 0 && needed < PATH_MAX && runs(path);
}

bool fetch_program(char path[PATH_MAX]) {
    if (beside(path))
        return true;
    const char *folders = getenv("PATH");
    for (size_t length; folders != NULL && folders[0] != '\0'; folders += length) {
        folders += folders[0] == ':';
        length = strcspn(folders, ":");
        int needed = snprintf(path, PATH_MAX, "%.*s/%s", (int)length, folders, program_name);
        if (length > 0 && needed > 0 && needed < PATH_MAX && runs(path))
            return true;
    }
    return false;
}

/* ---- passing signals on ---- */

/* A signal handler can only see variables like these. */
static volatile sig_atomic_t child, pending;

static void pass_on(int number) {
    pending = number;
    if (child > 0)
        kill((pid_t)child, number);
}

static const int passed[] = {SIGINT, SIGTERM, SIGHUP};
enum { PASSED = sizeof passed / sizeof passed[0] };

static void pass_begin(struct sigaction before[PASSED]) {
    child = pending = 0;
    for (int i = 0; i < PASSED; i++) {
        struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
        sigaction(passed[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) /* nohup means it */
            sigaction(passed[i], &action, NULL);
    }
}

static void pass_end(const struct sigaction before[PASSED]) {
    for (int i = 0; i < PASSED; i++)
        sigaction(passed[i], &before[i], NULL);
}

/* ---- running it ---- */

/* Starts it with its stdout on a pipe. 0 or an errno. */
static int start(const char *const *arguments, pid_t *pid, int *out) {
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    int code = posix_spawn_file_actions_init(&actions);
    if (code == 0) {
        code = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (code == 0)
            code = posix_spawn(pid, arguments[0], &actions, NULL,
                               (char *const *)(uintptr_t)arguments, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    *out = ends[0];
    if (code != 0)
        close(ends[0]);
    return code;
}

/* Runs it to its end. 0 with its wait status and what it printed, or an errno. */
static int run(const char *const *arguments, kn_text *printed, int *status) {
    pid_t pid = 0;
    int out = -1;
    struct sigaction before[PASSED];
    pass_begin(before);
    int code = start(arguments, &pid, &out);
    if (code == 0) {
        child = (sig_atomic_t)pid;
        if (pending != 0) /* it came before there was anyone to pass it on to */
            kill(pid, (int)pending);
        char block[4096];
        ssize_t got;
        while ((got = read(out, block, sizeof block)) > 0 || (got < 0 && errno == EINTR))
            if (got > 0)
                kn_text_append(printed, block, (size_t)got);
        close(out);
        while (waitpid(pid, status, 0) < 0 && errno == EINTR)
            continue;
    }
    child = 0;
    pass_end(before);
    return code;
}

bool fetch_version(const char *program, char *text, size_t size) {
    kn_text printed = {0};
    int status = 0;
    bool good = run((const char *const[]){program, "--version", NULL}, &printed, &status) == 0 &&
                WIFEXITED(status) && WEXITSTATUS(status) == 0 && !printed.failed &&
                printed.length > 0;
    if (good)
        snprintf(text, size, "%.*s", (int)strcspn(printed.data, "\n"), printed.data);
    kn_text_free(&printed);
    return good;
}

/* Its own line on stderr has said what happened; a program that reads ours hears it too. */
static int ended(report *r, int status, kn_text *printed) {
    if (WIFSIGNALED(status) && pending != 0) /* it had not yet begun to listen */
        return report_fail(r, EXIT_INTERRUPTED, "interrupted");
    if (WIFSIGNALED(status))
        return report_fail(r, EXIT_FAILED, "%s was ended by signal %d", program_name,
                           WTERMSIG(status));
    int code = WEXITSTATUS(status);
    if (code == EXIT_DONE && pending != 0) /* it was done before it heard */
        return report_fail(r, EXIT_INTERRUPTED, "interrupted");
    if (code != EXIT_DONE && r->json)
        report_out(r, printed);
    return code;
}

int fetch_dataset(report *r, const char *name, const char *home) {
    char program[PATH_MAX];
    if (!fetch_program(program))
        return report_fail(r, EXIT_FAILED,
                           "%s: is not in %s, and %s, which would fetch it, is neither beside kiln "
                           "nor on PATH; it is built where libcurl and libarchive are found",
                           name, home, program_name);
    kn_text printed = {0};
    int status = 0;
    int failed = run((const char *const[]){program, name, "--to", home, "--json",
                                           r->quiet ? "--quiet" : NULL, NULL},
                     &printed, &status);
    int code = failed != 0
                   ? report_fail(r, EXIT_FAILED, "%s: cannot start: %s", program, strerror(failed))
                   : ended(r, status, &printed);
    kn_text_free(&printed);
    return code;
}
