/* report.c - see report.h. */
#include "report.h"

#include "core/utf8.h"
#include "json_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void report_prepare(void) {
    /* Read-only: writing to it fails, as to the closed one. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

bool report_has_bar(const report *r) {
    const char *terminal = getenv("TERM");
    bool dumb = terminal != NULL && strcmp(terminal, "dumb") == 0;
    return !r->quiet && !dumb && isatty(STDERR_FILENO) == 1;
}

int report_columns(void) {
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

int report_progress_columns(void *user) {
    (void)user;
    return report_columns();
}

/* What is shown meanwhile may get lost. */
void report_progress(void *user, const char *text, size_t length) {
    (void)user;
    (void)!write(STDERR_FILENO, text, length);
}

void report_bar(const char *line) {
    size_t length = strlen(line),
           room = (size_t)report_columns() - 1; /* longer, it could not be wiped */
    report_progress(NULL, "\r\033[K", 4);
    report_progress(NULL, line, length < room ? length : room);
}

/* Somebody may have made it non-blocking, as stdout is shared. */
static bool wait_for_reader(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, -1) >= 0 || errno == EINTR;
}

/* No name is to steer the terminal. lines: but for their ends and tabs. A NUL ends the text. */
static void hide_controls(char *text, bool lines) {
    for (char *c = text; *c != '\0'; c++)
        if (!lines || (*c != '\n' && *c != '\t'))
            memset(c, '?', kn_utf8_control(c));
}

bool report_out(report *r, kn_text *t) {
    if (!r->json && t->data != NULL)
        hide_controls(t->data, true);
    if (t->failed && r->out_error == 0)
        r->out_error = ENOMEM;
    size_t at = 0;
    while (at < t->length && r->out_error == 0) {
        ssize_t wrote = write(STDOUT_FILENO, t->data + at, t->length - at);
        if (wrote >= 0)
            at += (size_t)wrote;
        else if (errno == EAGAIN ? !wait_for_reader() : errno != EINTR)
            r->out_error = errno;
    }
    kn_text_free(t);
    return r->out_error == 0;
}

/* A path may hold any byte; a line on a terminal may not. */
static void err_line(const char *program, const char *prefix, const char *message) {
    char line[KN_ERROR_MAX + 64];
    int length = snprintf(line, sizeof line - 1, "%s%s%s", program, prefix, message);
    if (length < 0)
        return;
    if ((size_t)length >= sizeof line - 1)
        length = (int)sizeof line - 2;
    hide_controls(line, false);
    line[length] = '\n';
    /* Nowhere is left to say that stderr is gone. */
    (void)!write(STDERR_FILENO, line, (size_t)length + 1);
}

static const char *program(const report *r) {
    return r->program != NULL ? r->program : "kiln";
}

static void message_event(report *r, const char *event, const char *message) {
    if (!r->json)
        return;
    kn_text t = {0};
    line_open(&t);
    line_string(&t, "event", event);
    line_string(&t, "message", message);
    line_close(&t);
    report_out(r, &t);
}

static int exit_code(kn_status status) {
    switch (status) {
    case KN_OK:
        return EXIT_DONE;
    case KN_ERR_ARG:
        return EXIT_USAGE;
    case KN_ERR_DATA:
    case KN_ERR_LIMIT:
        return EXIT_DATA;
    case KN_ERR_MEMORY:
    case KN_ERR_DEVICE:
        return EXIT_DEVICE;
    case KN_ERR_IO:
    case KN_ERR_FORMAT:
    case KN_ERR_SHAPE:
    case KN_ERR_STATE:
        break;
    }
    return EXIT_FAILED;
}

int report_error(report *r, const kn_error *error) {
    err_line(program(r), ": ", error->message);
    message_event(r, "error", error->message);
    return exit_code(error->status);
}

int report_fail(report *r, int code, const char *format, ...) {
    char message[KN_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    err_line(program(r), ": ", message);
    message_event(r, "error", message);
    return code;
}

void report_warning(report *r, const char *message) {
    err_line(program(r), ": warning: ", message);
    message_event(r, "warning", message);
}

void report_note(const report *r, const char *format, ...) {
    if (r->quiet)
        return;
    char message[KN_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    err_line("", "", message);
}

void report_log(void *user, kn_log_level level, const char *line) {
    report *r = user;
    if (level == KN_LOG_WARNING)
        report_warning(r, line);
    else if (r->verbose)
        err_line("", "", line);
}

int report_end(report *r, int code) {
    if (r->out_error == 0)
        return code;
    char message[128];
    snprintf(message, sizeof message, "standard output: %s", strerror(r->out_error));
    err_line(program(r), ": ", message);
    if (r->out_error == ENOMEM)
        return EXIT_DEVICE;
    return code == EXIT_DONE || code == EXIT_DATA ? EXIT_FAILED : code;
}
