/* command.c - see command.h. */
#include "support/command.h"

#include "data/shapes.h"
#include "support/check.h"
#include "support/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 64 };

/* ---- running ---- */

/* A file without a name: nothing to drain while the command runs. */
static int kept(void) {
    FILE *f = tmpfile();
    assert_non_null(f);
    int fd = dup(fileno(f));
    assert_true(fd >= 0);
    fclose(f);
    return fd;
}

static int new_terminal(void) {
    int fd = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(fd >= 0);
    assert_int_equal(grantpt(fd), 0);
    assert_int_equal(unlockpt(fd), 0);
    return fd;
}

/* In the child, where nothing can be asserted. */
static void become(const command_run *run, command_opts opts, char *const *argv) {
    struct rlimit limit = {(rlim_t)opts.file_limit, (rlim_t)opts.file_limit};
    int out = opts.out != NULL ? open(opts.out, O_WRONLY) : run->out_fd;
    int err = opts.terminal ? open(ptsname(run->err_fd), O_RDWR | O_NOCTTY) : run->err_fd;
    signal(SIGINT, SIG_DFL);
    bool good = out >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0;
    if (opts.out_closed)
        close(STDOUT_FILENO);
    if (opts.home != NULL)
        good = good && setenv("KILN_HOME", opts.home, 1) == 0;
    if (opts.folder != NULL)
        good = good && chdir(opts.folder) == 0;
    if (opts.file_limit > 0)
        good = good && setrlimit(RLIMIT_FSIZE, &limit) == 0;
    if (good)
        execv(argv[0], argv);
    _exit(126);
}

void command_path(const char *program, char path[COMMAND_PATH]) {
    const char *kiln = getenv("KILN_BIN");
    if (kiln == NULL)
        fail_msg("KILN_BIN is not set: run the tests with ctest");
    const char *slash = strrchr(kiln, '/');
    assert_non_null(slash);
    int length = program == NULL
                     ? snprintf(path, COMMAND_PATH, "%s", kiln)
                     : snprintf(path, COMMAND_PATH, "%.*s/%s", (int)(slash - kiln), kiln, program);
    assert_true(length < COMMAND_PATH);
}

void command_start(command_run *run, command_opts opts, const char *const *arguments) {
    char path[COMMAND_PATH], *argv[MAX_ARGUMENTS + 2] = {path};
    command_path(opts.program, path);
    *run = (command_run){.terminal = opts.terminal,
                         .out_fd = kept(),
                         .err_fd = opts.terminal ? new_terminal() : kept()};
    for (int i = 0; arguments[i] != NULL; i++) {
        assert_true(i < MAX_ARGUMENTS);
        argv[i + 1] = (char *)(uintptr_t)arguments[i]; /* execv changes none */
    }
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (run->pid == 0)
        become(run, opts, argv);
}

static char *slurp(int fd) {
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    close(fd);
    return text;
}

/* All that is written to the terminal until its last writer is gone. */
static char *drain(int fd) {
    enum { ROOM = 1 << 16 };
    char *text = calloc(1, ROOM);
    assert_non_null(text);
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, text + length, ROOM - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    return text;
}

bool command_ended(const command_run *run) {
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid != 0;
}

/* What LLVM's OpenMP leaves of a process that was killed. Where it had not got its length yet, a
 * later process of the same number would end with SIGBUS as it starts. */
static void forget_openmp(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/__KMP_REGISTERED_LIB_%d_%d", (int)pid, (int)getuid());
    unlink(path);
}

void command_wait(command_run *run) {
    int status;
    if (run->terminal)
        run->err = drain(run->err_fd);
    while (waitpid(run->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    forget_openmp(run->pid);
    run->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    run->out = slurp(run->out_fd);
    if (!run->terminal)
        run->err = slurp(run->err_fd);
}

void command_free(command_run *run) {
    free(run->out);
    free(run->err);
    *run = (command_run){0};
}

/* ---- looking at it ---- */

void command_expect(const command_run *run, int code) {
    if (run->code != code)
        fail_msg("exit code %d, expected %d\nstdout: %s\nstderr: %s", run->code, code, run->out,
                 run->err);
}

void command_skip_if_openmp_stopped(command_run *run) {
    if (strncmp(run->err, "OMP: Error", 10) != 0)
        return;
    print_message("SKIPPED: this OpenMP does not start where no file may be written\n");
    command_free(run);
    skip();
}

int command_lines(const char *text) {
    int lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

void command_value(const char *text, const char *part, int n, const char *key,
                   char value[COMMAND_VALUE]) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n'), *found = strstr(line, part);
        assert_non_null(end);
        if (found == NULL || found > end || n-- > 0)
            continue;
        const char *at = strstr(line, wanted);
        if (at == NULL || at > end)
            fail_msg("no %s in: %.*s", wanted, (int)(end - line), line);
        at += strlen(wanted);
        size_t length = strcspn(at, at[0] == '[' ? "]\n" : ",}\n") + (at[0] == '[');
        assert_true(length < COMMAND_VALUE);
        memcpy(value, at, length);
        value[length] = '\0';
        return;
    }
    fail_msg("no line with %s in: %s", part, text);
}

/* ---- data ---- */

static void draw(const char *root, const char *folder, uint32_t split, int class, int count) {
    static uint8_t pixels[KN_SHAPES_SIZE * KN_SHAPES_SIZE * 3];
    char path[TREE_PATH + 512];
    tree_folder(root, folder);
    for (int i = 0; i < count; i++) {
        kn_error error = {0};
        kn_shapes_draw(7, split, (uint32_t)(i * KN_SHAPES_CLASSES + class), class, pixels);
        snprintf(path, sizeof path, "%s/%s/%03d.jpg", root, folder, i);
        if (kn_image_write_jpeg(path, pixels, KN_SHAPES_SIZE, KN_SHAPES_SIZE, 90, &error))
            fail_msg("%s", error.message);
    }
}

void command_data(const char *root, const char *name, int classes, int train, int valid) {
    char folder[256];
    for (int c = 0; c < classes; c++) {
        snprintf(folder, sizeof folder, "%s/train/%s", name, kn_shapes_class(c));
        draw(root, folder, 0, c, train);
        snprintf(folder, sizeof folder, "%s/valid/%s", name, kn_shapes_class(c));
        draw(root, folder, 1, c, valid);
    }
}

void command_well(char *out, size_t size, command_opts opts, const char *const *arguments) {
    command_run run;
    command_start(&run, opts, arguments);
    command_wait(&run);
    command_expect(&run, 0);
    assert_true(strlen(run.out) < size);
    memcpy(out, run.out, strlen(run.out) + 1);
    command_free(&run);
}
