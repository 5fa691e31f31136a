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

enum { MAX_ARGUMENTS = 32 };

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

/* In the child, where nothing can be asserted. */
static void become(const command_run *run, command_opts opts, char *const *argv) {
    struct rlimit limit = {(rlim_t)opts.file_limit, (rlim_t)opts.file_limit};
    int out = opts.out != NULL ? open(opts.out, O_WRONLY) : run->out_fd;
    signal(SIGINT, SIG_DFL);
    bool good = out >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(run->err_fd, STDERR_FILENO) >= 0;
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

void command_start(command_run *run, command_opts opts, const char *const *arguments) {
    char *argv[MAX_ARGUMENTS + 2] = {getenv("KILN_BIN")};
    if (argv[0] == NULL)
        fail_msg("KILN_BIN is not set: run the tests with ctest");
    *run = (command_run){.out_fd = kept(), .err_fd = kept()};
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

void command_wait(command_run *run) {
    int status;
    while (waitpid(run->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    run->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    run->out = slurp(run->out_fd);
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

static void draw(const char *folder, const char *split, uint32_t number, int class, int count) {
    static uint8_t pixels[KN_SHAPES_SIZE * KN_SHAPES_SIZE * 3];
    char below[256], path[TREE_PATH + 512];
    snprintf(below, sizeof below, "%s/%s", split, kn_shapes_class(class));
    tree_folder(folder, below);
    for (int i = 0; i < count; i++) {
        kn_error error = {0};
        kn_shapes_draw(7, number, (uint32_t)(i * KN_SHAPES_CLASSES + class), class, pixels);
        snprintf(path, sizeof path, "%s/%s/%03d.jpg", folder, below, i);
        if (kn_image_write_jpeg(path, pixels, KN_SHAPES_SIZE, KN_SHAPES_SIZE, 90, &error))
            fail_msg("%s", error.message);
    }
}

void command_data(const char *root, const char *name, int classes, int train, int valid) {
    char folder[TREE_PATH + 64];
    snprintf(folder, sizeof folder, "%s/%s", root, name);
    for (int c = 0; c < classes; c++) {
        draw(folder, "train", 0, c, train);
        draw(folder, "valid", 1, c, valid);
    }
}
