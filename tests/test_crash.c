/* test_crash.c - the machine stops in the middle of a training that saves after each batch: after
 * every single call that changes a file, and in the middle of each write. What the disk then holds
 * is made from a record of the calls: all that was written; or, of what was never synced, nothing,
 * or zeros; with the names as they were, or as they were when their folder was last synced. In each
 * of these states a checkpoint opens, and it is the last that was complete or the one under way. */
#include "support/check.h"
#include "support/tiny_run.h"
#include "support/tree.h"

#include "core/ctx.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME = 64, MOST_STEPS = 1024, MOST_FILES = 128, MOST_FDS = 256, EPOCHS = 3 };

/* ---- the record ---- */

typedef enum act {
    ACT_CREATE,
    ACT_WRITE,
    ACT_SYNC,
    ACT_SYNC_NAMES,
    ACT_RENAME,
    ACT_REMOVE,
    ACT_SAVED
} act;

typedef struct step {
    act what;
    int file; /* as created, from 0 */
    char name[NAME], to[NAME];
    void *data;
    size_t bytes;
} step;

static step steps[MOST_STEPS];
static int count, files;
static int file_of[MOST_FDS]; /* 1 + its number; -1: the folder; 0: another */
static bool recording;
static char folder[TREE_PATH];

#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* The name within the folder; NULL: somewhere else. */
static const char *inside(const char *path) {
    size_t length = strlen(folder);
    return recording && strncmp(path, folder, length) == 0 && path[length] == '/'
               ? path + length + 1
               : NULL;
}

static step *add(act what, const char *name) {
    step *s = &steps[count++];
    assert_true(count < MOST_STEPS);
    *s = (step){.what = what};
    if (name != NULL)
        snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

/* ---- the calls, in place of the system's ---- */

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    int fd = NEXT(open)(path, flags, mode);
    const char *name = inside(path);
    if (fd < 0 || fd >= MOST_FDS || !recording)
        return fd;
    file_of[fd] = strcmp(path, folder) == 0 ? -1 : 0;
    if (name != NULL && (flags & O_ACCMODE) == O_WRONLY) {
        assert_true((flags & (O_CREAT | O_TRUNC)) == (O_CREAT | O_TRUNC));
        add(ACT_CREATE, name)->file = files++;
        file_of[fd] = files;
    }
    return fd;
}

ssize_t write(int fd, const void *data, size_t bytes) {
    ssize_t n = NEXT(write)(fd, data, bytes);
    if (n > 0 && recording && fd < MOST_FDS && file_of[fd] > 0) {
        step *s = add(ACT_WRITE, NULL);
        s->file = file_of[fd] - 1;
        s->bytes = (size_t)n;
        s->data = malloc(s->bytes);
        assert_non_null(s->data);
        memcpy(s->data, data, s->bytes);
    }
    return n;
}

int fsync(int fd) {
    int result = NEXT(fsync)(fd);
    if (result == 0 && recording && fd < MOST_FDS && file_of[fd] != 0)
        add(file_of[fd] < 0 ? ACT_SYNC_NAMES : ACT_SYNC, NULL)->file = file_of[fd] - 1;
    return result;
}

int close(int fd) {
    if (recording && fd >= 0 && fd < MOST_FDS)
        file_of[fd] = 0;
    return NEXT(close)(fd);
}

int rename(const char *from, const char *to) {
    int result = NEXT(rename)(from, to);
    const char *name = inside(from), *other = inside(to);
    if (result == 0 && name != NULL && other != NULL)
        snprintf(add(ACT_RENAME, name)->to, NAME, "%s", other);
    return result;
}

int unlink(const char *path) {
    int result = NEXT(unlink)(path);
    if (result == 0 && inside(path) != NULL)
        add(ACT_REMOVE, inside(path));
    return result;
}

/* ---- a training, recorded ---- */

static kn_flow mark(kn_callback *cb, kn_learner *l) {
    (void)cb;
    if (l->training)
        add(ACT_SAVED, NULL);
    return KN_GO;
}

static const kn_callback_class mark_class = {.name = "mark", .order = 950, .after_batch = mark};

static void train(void) {
    run r;
    kn_callback marker = {.cls = &mark_class};
    run_init(&r);
    assert_int_equal(
        kn_learner_add(r.l, kn_checkpoint_cb(r.ctx, (kn_checkpoint_opts){.folder = folder})),
        KN_OK);
    assert_int_equal(kn_learner_add(r.l, &marker), KN_OK);
    recording = true;
    assert_int_equal(kn_learner_fit(r.l, EPOCHS), KN_OK);
    recording = false;
    assert_int_equal(kn_checkpoint_cb_report(r.l).failed, 0);
    run_free(&r);
}

/* ---- the disk after some of the calls ---- */

typedef struct disk {
    struct {
        char *data;
        size_t bytes, synced;
    } file[MOST_FILES];
    struct {
        char name[NAME];
        int file;
    } now[MOST_FILES], safe[MOST_FILES]; /* names; safe: at the last sync of the folder */
    int names, safe_names;
    int saved; /* checkpoints that were complete */
} disk;

static int find(const disk *d, const char *name) {
    int i = 0;
    while (i < d->names && strcmp(d->now[i].name, name) != 0)
        i++;
    return i;
}

static void forget(disk *d, const char *name) {
    int i = find(d, name);
    if (i < d->names)
        d->now[i] = d->now[--d->names];
}

static void apply(disk *d, const step *s, size_t bytes) {
    switch (s->what) {
    case ACT_CREATE:
        forget(d, s->name);
        memcpy(d->now[d->names].name, s->name, NAME);
        d->now[d->names++].file = s->file;
        break;
    case ACT_WRITE:
        d->file[s->file].data = realloc(d->file[s->file].data, d->file[s->file].bytes + bytes);
        assert_non_null(d->file[s->file].data);
        memcpy(d->file[s->file].data + d->file[s->file].bytes, s->data, bytes);
        d->file[s->file].bytes += bytes;
        break;
    case ACT_SYNC:
        d->file[s->file].synced = d->file[s->file].bytes;
        break;
    case ACT_SYNC_NAMES:
        memcpy(d->safe, d->now, sizeof d->safe);
        d->safe_names = d->names;
        break;
    case ACT_RENAME:
        forget(d, s->to);
        assert_true(find(d, s->name) < d->names);
        memcpy(d->now[find(d, s->name)].name, s->to, NAME);
        break;
    case ACT_REMOVE:
        forget(d, s->name);
        break;
    case ACT_SAVED:
        d->saved++;
        break;
    }
}

typedef enum loss { LOSS_NONE, LOSS_CUT, LOSS_ZEROS, LOSS_NAMES, LOSSES } loss;

static void lay_out(const disk *d, loss how, const char *root) {
    bool safe = how == LOSS_NAMES;
    for (int i = 0; i < (safe ? d->safe_names : d->names); i++) {
        int file = safe ? d->safe[i].file : d->now[i].file;
        size_t bytes = d->file[file].bytes, synced = d->file[file].synced;
        char *data = calloc(1, bytes + 1);
        assert_non_null(data);
        if (bytes > 0)
            memcpy(data, d->file[file].data, how == LOSS_NONE ? bytes : synced);
        tree_put(root, safe ? d->safe[i].name : d->now[i].name, data,
                 how == LOSS_NONE || how == LOSS_ZEROS ? bytes : synced);
        free(data);
    }
}

/* The steps of the training that a checkpoint tells of; 0: there is none. */
static int64_t opened(const char *root, const char *what) {
    kn_checkpoint *c;
    kn_error error = {0};
    if (kn_checkpoint_open(&c, root, NULL, &error) != KN_OK)
        fail_msg("%s: %s", what, error.message);
    int64_t at = c != NULL ? kn_checkpoint_at(c).step : 0;
    kn_checkpoint_close(c);
    return at;
}

/* The stop came after so many calls, and some bytes of the next if it is a write. */
static int look(int calls, size_t more) {
    disk d = {0};
    for (int i = 0; i < calls; i++)
        apply(&d, &steps[i], steps[i].bytes);
    if (more > 0)
        apply(&d, &steps[calls], more);
    for (int how = 0; how < LOSSES; how++) {
        char root[TREE_PATH], what[96];
        tree_make(root);
        snprintf(what, sizeof what, "after call %d and %zu bytes, %d saved, loss %d", calls, more,
                 d.saved, how);
        lay_out(&d, (loss)how, root);
        int64_t at = opened(root, what);
        if (at != d.saved && at != d.saved + 1)
            fail_msg("%s: the checkpoint of step %lld", what, (long long)at);
        tree_remove(root);
    }
    for (int i = 0; i < MOST_FILES; i++)
        free(d.file[i].data);
    return LOSSES;
}

static void a_crash_at_any_call_loses_no_checkpoint(void **state) {
    (void)state;
    int states = 0, saved = 0;
    train();
    for (int calls = 0; calls <= count; calls++) {
        states += look(calls, 0);
        bool writes = calls < count && steps[calls].what == ACT_WRITE;
        if (writes && steps[calls].bytes > 1)
            states += look(calls, 1) + look(calls, steps[calls].bytes / 2) +
                      look(calls, steps[calls].bytes - 1);
        saved += calls < count && steps[calls].what == ACT_SAVED;
    }
    print_message("%d saves, %d calls, %d states of the disk\n", saved, count, states);
    assert_int_equal(saved, EPOCHS * 2);
    assert_true(count > saved * 8);
}

static int prepare(void **state) {
    (void)state;
    tree_make(folder);
    return 0;
}

static int clean(void **state) {
    (void)state;
    for (int i = 0; i < count; i++)
        free(steps[i].data);
    tree_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_crash_at_any_call_loses_no_checkpoint)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
