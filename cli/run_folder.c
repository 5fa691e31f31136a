/* run_folder.c - see run_folder.h. */
#include "run_folder.h"

#include "core/file.h"
#include "core/utf8.h"
#include "json_line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool run_folder_file(const run_folder *run, const char *name, char out[PATH_MAX]) {
    int length = snprintf(out, PATH_MAX, "%s/%s", run->path, name);
    return length >= 0 && length < PATH_MAX;
}

static void *room(void *user, size_t bytes) {
    char **text = user;
    *text = calloc(1, bytes + 1);
    return *text;
}

kn_status run_folder_text(const run_folder *run, const char *name, char **text, kn_error *error) {
    enum { MOST = 1 << 30 };
    char path[PATH_MAX];
    size_t size;
    *text = NULL;
    if (!run_folder_file(run, name, path))
        return kn_error_set(error, KN_ERR_IO, "%.64s...: the path is too long", run->path);
    return kn_file_exists(path) ? kn_file_read(path, MOST, room, text, &size, error) : KN_OK;
}

/* ---- which folder ---- */

static bool is_empty(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    bool empty = true;
    const struct dirent *entry;
    while (empty && (entry = readdir(folder)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(folder);
    return empty;
}

int run_folder_check(session *s) {
    struct stat st;
    const char *path = s->a.output;
    if (path == NULL || stat(path, &st) != 0 || is_empty(path))
        return EXIT_DONE;
    if (!S_ISDIR(st.st_mode))
        return report_fail(&s->r, EXIT_USAGE, "--output %s: is no folder", path);
    return report_fail(&s->r, EXIT_USAGE, "%s: already holds something; a run is never overwritten",
                       path);
}

/* The number after the highest in use. */
static int next_number(const char *above) {
    int highest = 0;
    DIR *folder = opendir(above);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char *end;
        long n = strtol(entry->d_name, &end, 10);
        if (*end == '\0' && n > highest && n < INT_MAX - 1000)
            highest = (int)n;
    }
    if (folder != NULL)
        closedir(folder);
    return highest + 1;
}

static int fail_mkdir(session *s, const char *path) {
    return report_fail(&s->r, EXIT_FAILED, "%s: cannot make the folder: %s", path, strerror(errno));
}

/* mkdir decides: of two trainings that begin at once, each gets its own. */
static int make_numbered(session *s, run_folder *run, const char *above) {
    if (mkdir(above, 0777) != 0 && errno != EEXIST)
        return fail_mkdir(s, above);
    for (int n = next_number(above);; n++) {
        snprintf(run->path, sizeof run->path, "%s/%d", above, n);
        if (mkdir(run->path, 0777) == 0)
            break;
        if (errno != EEXIST)
            return fail_mkdir(s, run->path);
    }
    run->made = run->owned = true;
    return EXIT_DONE;
}

/* Without slashes at its end; false when it is too long. */
static bool set_path(run_folder *run, const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length >= sizeof run->path)
        return false;
    memcpy(run->path, path, length);
    run->path[length] = '\0';
    return true;
}

bool run_folder_make_above(char *path) {
    for (char *c = strchr(path + 1, '/'); c != NULL; c = strchr(c + 1, '/')) {
        *c = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return false;
        *c = '/';
    }
    return true;
}

static int make_named(session *s, run_folder *run) {
    if (!set_path(run, s->a.output))
        return report_fail(&s->r, EXIT_USAGE, "--output: the path is too long");
    if (!run_folder_make_above(run->path))
        return fail_mkdir(s, run->path);
    run->made = mkdir(run->path, 0777) == 0;
    if (!run->made && (errno != EEXIST || !is_empty(run->path)))
        return errno != EEXIST ? fail_mkdir(s, run->path) : run_folder_check(s);
    run->owned = true;
    return EXIT_DONE;
}

/* Two trainings in one folder would write over each other. The lock goes with the process, however
 * that ends. A file system without locks has none. */
static int lock_folder(session *s, run_folder *run) {
    run->lock = open(run->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->lock < 0)
        return report_fail(&s->r, EXIT_FAILED, "%s: cannot open the folder: %s", run->path,
                           strerror(errno));
    if (flock(run->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return EXIT_DONE;
    return report_fail(&s->r, EXIT_USAGE, "%s: another training is at work in it", run->path);
}

/* ---- args.json ---- */

static void put_option(kn_text *t, const option *o, const args *a) {
    const char *at = (const char *)a + o->at;
    const double *rgb = (const double *)(const void *)at;
    switch (o->kind) {
    case KIND_FLAG:
        if (o->commands != CMD_ALL) /* those change only what is said */
            line_bool(t, o->name, *(const bool *)(const void *)at);
        break;
    case KIND_INT:
    case KIND_COUNT:
        line_int(t, o->name, *(const int *)(const void *)at);
        break;
    case KIND_SEED:
        line_seed(t, o->name, *(const uint64_t *)(const void *)at);
        break;
    case KIND_REAL:
    case KIND_RATE:
        line_real_exact(t, o->name, *rgb);
        break;
    case KIND_RGB:
        if (isnan(a->mean[0])) {
            line_string(t, o->name, NULL);
            break;
        }
        line_array_open(t, o->name);
        for (int c = 0; c < 3; c++)
            line_real_exact(t, NULL, rgb[c]);
        line_array_close(t);
        break;
    case KIND_CHOICE:
    case KIND_MODEL:
    case KIND_TEXT:
        line_string(t, o->name, *(const char *const *)(const void *)at);
        break;
    }
}

/* JSON's strings are UTF-8, a path may be any bytes: those are found again by their hex digits. */
static void put_path(kn_text *t, const char *key, const char *path) {
    char name[32];
    if (path == NULL)
        return;
    line_string(t, key, path);
    if (kn_utf8_valid(path, strlen(path)))
        return;
    snprintf(name, sizeof name, "%s_hex", key);
    line_hex(t, name, path);
}

void run_folder_args(const session *s, kn_text *t) {
    const option *o;
    line_open(t);
    line_string(t, "version", KN_VERSION);
    line_string(t, "command", s->a.command->name);
    line_string(t, "data", s->a.word[0]);
    put_path(t, "data_path", s->a.data_path);
    put_path(t, "weights_path", s->a.weights_path);
    for (int i = 0; (o = option_at(i)) != NULL; i++)
        if (o->commands & s->a.command->id && strcmp(o->name, "resume") != 0)
            put_option(t, o, &s->a);
    line_array_open(t, "given");
    for (int i = 0; (o = option_at(i)) != NULL; i++)
        if (o->commands & s->a.command->id && s->a.typed[i])
            line_string(t, NULL, o->name);
    line_array_close(t);
    line_close(t);
}

int run_folder_write_args(session *s, const run_folder *run) {
    char path[PATH_MAX];
    kn_text t = {0};
    kn_error error = {0};
    run_folder_args(s, &t);
    if (!run_folder_file(run, "args.json", path))
        kn_error_set(&error, KN_ERR_IO, "%.64s...: the path is too long", run->path);
    else if (t.failed)
        kn_error_set(&error, KN_ERR_MEMORY, "%s: no memory to write it", path);
    else
        kn_file_write(path, t.data, t.length, &error);
    kn_text_free(&t);
    return error.status == KN_OK ? EXIT_DONE : report_error(&s->r, &error);
}

/* ---- making and discarding ---- */

int run_folder_open(session *s, run_folder *run, const char *numbered) {
    return s->a.output != NULL ? make_named(s, run) : make_numbered(s, run, numbered);
}

int run_folder_make(session *s, run_folder *run, const char *numbered) {
    int code = run_folder_open(s, run, numbered);
    if (code == EXIT_DONE)
        code = lock_folder(s, run);
    /* Another training may have been there between the look at the folder and the lock. */
    if (code == EXIT_DONE && !is_empty(run->path))
        code = run_folder_check(s);
    if (code != EXIT_DONE)
        run->owned = false;
    return code;
}

static bool holds(const run_folder *run, const char *name) {
    char path[PATH_MAX];
    return !run_folder_file(run, name, path) || kn_file_exists(path);
}

/* What a stop in the middle of writing left behind, under names that nobody looks for. */
static void remove_unfinished(const run_folder *run) {
    char path[PATH_MAX];
    DIR *folder = opendir(run->path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        const char *mark = strstr(entry->d_name, ".tmp-");
        if (mark != NULL && mark[5] != '\0' && strspn(mark + 5, "0123456789") == strlen(mark + 5) &&
            run_folder_file(run, entry->d_name, path))
            unlink(path);
    }
    if (folder != NULL)
        closedir(folder);
}

int run_folder_take(session *s, run_folder *run, const char *path) {
    struct stat st;
    if (!set_path(run, path))
        return report_fail(&s->r, EXIT_USAGE, "--resume: the path is too long");
    if (stat(run->path, &st) != 0 || !S_ISDIR(st.st_mode))
        return report_fail(&s->r, EXIT_USAGE, "%s: no such run folder", run->path);
    int code = lock_folder(s, run);
    if (code == EXIT_DONE)
        remove_unfinished(run);
    return code;
}

void run_folder_leave(run_folder *run) {
    if (run->lock > 0)
        close(run->lock);
    run->lock = 0;
}

void run_folder_discard(const run_folder *run, bool worthless) {
    static const char *const names[] = {
        "args.json",       "history.csv",     "log.jsonl",    "last.safetensors", "loss.svg",
        "accuracy.svg",    "schedule.svg",    "momentum.svg", "confusion.svg",    "confusion.csv",
        "per_class.csv",   "predictions.csv", "sheet.svg",    "report.html",      "explain.html",
        "activations.csv", "activations.svg", "lr_find.csv",  "lr_find.svg",      "pictures.txt",
        "bad_images.txt",  "last.ckpt",       "next.ckpt",    "previous.ckpt"};
    char path[PATH_MAX];
    bool saved = holds(run, "last.ckpt") || holds(run, "next.ckpt") || holds(run, "previous.ckpt");
    if (!run->owned || holds(run, "model.safetensors") || (saved && !worthless))
        return;
    for (size_t i = 0; i < KN_COUNT(names); i++)
        if (run_folder_file(run, names[i], path))
            unlink(path);
    if (run->made)
        rmdir(run->path);
}
