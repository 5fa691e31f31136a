/* fail_calls.c - preloaded into the command by tests: makes one call of one function fail, or that
 * and every later one. Only calls by the program itself count, and memory that libraries ask for
 * on its behalf (places.c); what they do of themselves does not.
 *
 *   KILN_FAIL=FUNCTION:WHICH:HOW  WHICH: a number, the how manieth call; or PLACE as reported, the
 *                                 first call from there. HOW is a number for errno, "short" (half
 * of a read or write), or either with "+" behind: from there on every call; or "die": the process
 * ends there, as if killed, code 99 KILN_FAIL_IN=NAME             calls by libraries of such a
 * name, and no others KILN_FAIL_REPORT=FILE         at the end, lines: "calls N failed N", "place
 * OBJECT+OFFSETS" for each way to a call of the function, "leak OBJECT+OFFSET BYTES" for each block
 * of memory, "open N" for files not closed
 *
 * FUNCTION is a name below; several functions of one kind go by one. */
#include "shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static char function[32], which[WAY_TEXT];
static long nth;
static int code;
static bool shortened, for_ever, dies, whole; /* whole: all calls of the objects looked at */
static atomic_bool
    over; /* main has returned: what a test's own counting does after is not looked at */
static atomic_long calls, failed;

#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* ---- the ways to the calls ---- */

enum { MOST_WAYS = 1 << 14 };

typedef struct seen {
    _Atomic uintptr_t key; /* 0: free */
    way to;
} seen;

static seen ways[MOST_WAYS];

static uintptr_t key_of(const way *w) {
    uintptr_t key = 1469598103934665603u;
    for (int i = 0; i < w->count; i++)
        key = (key ^ w->of[i].at) * 1099511628211u;
    return key | 1;
}

/* True: the first call by this way. */
static bool note(const way *w) {
    uintptr_t key = key_of(w);
    for (size_t i = (key >> 40) % MOST_WAYS, tries = 0; tries < MOST_WAYS;
         i = (i + 1) % MOST_WAYS, tries++) {
        uintptr_t none = 0;
        if (atomic_load(&ways[i].key) == key)
            return false;
        if (atomic_compare_exchange_strong(&ways[i].key, &none, key)) {
            ways[i].to = *w;
            return true;
        }
        if (none == key)
            return false;
    }
    return false;
}

/* ---- beginning and end ---- */

static long open_files(void) {
    long n = 0;
    for (int fd = 3; fd < 256; fd++)
        n += NEXT(fcntl)(fd, F_GETFD) >= 0;
    return n;
}

static long open_before;

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("KILN_FAIL_REPORT");
    if (path == NULL || function[0] == '\0')
        return;
    long left = open_files() - open_before;
    FILE *f = NEXT(fopen)(path, "w");
    if (f == NULL)
        return;
    fprintf(f, "calls %ld failed %ld\nopen %ld\n", atomic_load(&calls), atomic_load(&failed), left);
    for (size_t i = 0; i < MOST_WAYS; i++) {
        char text[WAY_TEXT];
        if (ways[i].to.count == 0)
            continue;
        way_name(&ways[i].to, text);
        fprintf(f, "place %s\n", text);
    }
    blocks_left(f);
    fclose(f);
}

__attribute__((constructor)) static void prepare(void) {
    const char *what = getenv("KILN_FAIL");
    char how[16] = "";
    if (what == NULL || sscanf(what, "%31[a-z_]:%159[^:]:%15s", function, which, how) != 3) {
        function[0] = '\0';
        return;
    }
    nth = strchr(which, '+') == NULL ? atol(which) : 0;
    for_ever = how[strlen(how) - 1] == '+';
    shortened = strncmp(how, "short", 5) == 0;
    dies = strcmp(how, "die") == 0;
    code = atoi(how);
    whole = getenv("KILN_FAIL_IN") != NULL;
    places_find(getenv("KILN_FAIL_IN"));
    open_before = open_files();
}

static int (*real_main)(int, char **, char **);

static int main_and_no_further(int argc, char **argv, char **environment) {
    int result = real_main(argc, argv, environment);
    atomic_store(&over, true);
    return result;
}

/* The same where the program ends itself in the middle. */
void exit(int result) {
    void (*real)(int) = (void (*)(int))(uintptr_t)dlsym(RTLD_NEXT, "exit");
    atomic_store(&over, true);
    real(result);
    abort(); /* it does not come back */
}

int __libc_start_main(int (*run)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*loader_fini)(void), void *stack_end);
int __libc_start_main(int (*run)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*loader_fini)(void), void *stack_end) {
    real_main = run;
    return NEXT(__libc_start_main)(main_and_no_further, argc, argv, init, fini, loader_fini,
                                   stack_end);
}

/* ---- is this call to fail? ---- */

static bool chosen(const void *caller) {
    static atomic_bool begun;
    char text[WAY_TEXT];
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (nth > 0)
        return for_ever ? number >= nth : number == nth;
    if (for_ever && atomic_load(&begun))
        return true;
    way w = way_to(caller);
    if (!note(&w))
        return false;
    way_name(&w, text);
    if (strcmp(text, which) != 0)
        return false;
    atomic_store(&begun, true);
    return true;
}

static bool now(const char *name, place p, const void *caller) {
    bool alloc = strcmp(name, "alloc") == 0;
    if (function[0] == '\0' || strcmp(name, function) != 0 || p.object == NULL ||
        atomic_load(&over) || (!p.program && !alloc && !whole) || !chosen(caller))
        return false;
    atomic_fetch_add(&failed, 1);
    if (dies) {
        report();
        _exit(99);
    }
    if (!shortened)
        errno = code;
    return true;
}

#define CALLER      __builtin_return_address(0)
#define FAILS(kind) now(kind, place_of(CALLER), CALLER)

/* ---- files ---- */

/* The third argument of open, which is there when a file may be made. */
#define MODE(flags, mode)                                                                          \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;                         \
        va_end(args);                                                                              \
    } while (0)

int open(const char *path, int flags, ...) {
    mode_t mode;
    MODE(flags, mode);
    return FAILS("open") ? -1 : NEXT(open)(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    mode_t mode;
    MODE(flags, mode);
    return FAILS("open") ? -1 : NEXT(openat)(folder, path, flags, mode);
}

FILE *fopen(const char *restrict path, const char *restrict mode) {
    return FAILS("open") ? NULL : NEXT(fopen)(path, mode);
}

int close(int fd) {
    bool fails = FAILS("close");
    int kept = errno, result = NEXT(close)(fd);
    errno = fails ? kept : errno;
    return fails ? -1 : result;
}

ssize_t read(int fd, void *to, size_t size) {
    bool hit = FAILS("read");
    return hit && !shortened ? -1 : NEXT(read)(fd, to, hit ? (size + 1) / 2 : size);
}

ssize_t pread(int fd, void *to, size_t size, off_t at) {
    bool hit = FAILS("read");
    return hit && !shortened ? -1 : NEXT(pread)(fd, to, hit ? (size + 1) / 2 : size, at);
}

char *fgets(char *restrict to, int size, FILE *restrict from) {
    return FAILS("read") ? NULL : NEXT(fgets)(to, size, from);
}

ssize_t write(int fd, const void *from, size_t size) {
    bool hit = fd > 2 && FAILS("write"); /* what is said is not what is saved */
    return hit && !shortened ? -1 : NEXT(write)(fd, from, hit ? (size + 1) / 2 : size);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
    bool hit = FAILS("pwrite");
    return hit && !shortened ? -1 : NEXT(pwrite)(fd, from, hit ? (size + 1) / 2 : size, at);
}

int fsync(int fd) {
    return FAILS("fsync") ? -1 : NEXT(fsync)(fd);
}

int syncfs(int fd) {
    return FAILS("fsync") ? -1 : NEXT(syncfs)(fd);
}

int rename(const char *from, const char *to) {
    return FAILS("rename") ? -1 : NEXT(rename)(from, to);
}

int linkat(int from, const char *path, int to, const char *other, int flags) {
    return FAILS("link") ? -1 : NEXT(linkat)(from, path, to, other, flags);
}

int unlink(const char *path) {
    return FAILS("unlink") ? -1 : NEXT(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags) {
    return FAILS("unlink") ? -1 : NEXT(unlinkat)(folder, path, flags);
}

int rmdir(const char *path) {
    return FAILS("unlink") ? -1 : NEXT(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
    return FAILS("mkdir") ? -1 : NEXT(mkdir)(path, mode);
}

int stat(const char *restrict path, struct stat *restrict to) {
    return FAILS("stat") ? -1 : NEXT(stat)(path, to);
}

int lstat(const char *restrict path, struct stat *restrict to) {
    return FAILS("stat") ? -1 : NEXT(lstat)(path, to);
}

int fstat(int fd, struct stat *to) {
    return FAILS("stat") ? -1 : NEXT(fstat)(fd, to);
}

int fstatat(int folder, const char *restrict path, struct stat *restrict to, int flags) {
    return FAILS("stat") ? -1 : NEXT(fstatat)(folder, path, to, flags);
}

int statvfs(const char *restrict path, struct statvfs *restrict to) {
    return FAILS("stat") ? -1 : NEXT(statvfs)(path, to);
}

int access(const char *path, int how) {
    return FAILS("stat") ? -1 : NEXT(access)(path, how);
}

ssize_t readlink(const char *restrict path, char *restrict to, size_t size) {
    return FAILS("readlink") ? -1 : NEXT(readlink)(path, to, size);
}

char *realpath(const char *restrict path, char *restrict to) {
    return FAILS("readlink") ? NULL : NEXT(realpath)(path, to);
}

DIR *opendir(const char *path) {
    return FAILS("opendir") ? NULL : NEXT(opendir)(path);
}

DIR *fdopendir(int fd) {
    return FAILS("opendir") ? NULL : NEXT(fdopendir)(fd);
}

struct dirent *readdir(DIR *folder) {
    return FAILS("readdir") ? NULL : NEXT(readdir)(folder);
}

int flock(int fd, int how) {
    return FAILS("lock") ? -1 : NEXT(flock)(fd, how);
}

int futimens(int fd, const struct timespec times[2]) {
    return FAILS("utime") ? -1 : NEXT(futimens)(fd, times);
}

int madvise(void *at, size_t size, int how) {
    return FAILS("madvise") ? -1 : NEXT(madvise)(at, size, how);
}

/* ---- threads and processes ---- */

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict argument) {
    return FAILS("thread") ? code : NEXT(pthread_create)(thread, attributes, run, argument);
}

int pthread_mutex_init(pthread_mutex_t *restrict m, const pthread_mutexattr_t *restrict a) {
    return FAILS("thread") ? code : NEXT(pthread_mutex_init)(m, a);
}

int pthread_cond_init(pthread_cond_t *restrict c, const pthread_condattr_t *restrict a) {
    return FAILS("thread") ? code : NEXT(pthread_cond_init)(c, a);
}

int pipe2(int ends[2], int flags) {
    return FAILS("spawn") ? -1 : NEXT(pipe2)(ends, flags);
}

int posix_spawn(pid_t *restrict pid, const char *restrict path,
                const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *restrict how,
                char *const argv[restrict], char *const environment[restrict]) {
    return FAILS("spawn") ? code : NEXT(posix_spawn)(pid, path, actions, how, argv, environment);
}

/* ---- memory ---- */

extern void *__libc_malloc(size_t size), *__libc_calloc(size_t count, size_t size),
    *__libc_realloc(void *p, size_t size), *__libc_memalign(size_t align, size_t size),
    __libc_free(void *p);

/* A block that somebody asks for: none, or the one that GIVE makes. */
#define GIVE(size, give)                                                                           \
    do {                                                                                           \
        place from = place_of(CALLER);                                                             \
        void *given = now("alloc", from, CALLER) ? NULL : (give);                                  \
        block_given(given, size, from);                                                            \
        return given;                                                                              \
    } while (0)

void *malloc(size_t size) {
    GIVE(size, __libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    GIVE(count * size, __libc_calloc(count, size));
}

void *aligned_alloc(size_t align, size_t size) {
    GIVE(size, __libc_memalign(align, size));
}

int posix_memalign(void **out, size_t align, size_t size) {
    place from = place_of(CALLER);
    void *p = now("alloc", from, CALLER) ? NULL : __libc_memalign(align, size);
    block_given(p, size, from);
    if (p == NULL)
        return ENOMEM;
    *out = p;
    return 0;
}

void *realloc(void *p, size_t size) {
    place from = place_of(CALLER);
    if (now("alloc", from, CALLER))
        return NULL;
    block_taken(p); /* before another thread may be given the same address */
    void *given = __libc_realloc(p, size);
    if (given == NULL && size > 0)
        block_given(p, size, from);
    else
        block_given(given, size, from);
    return given;
}

void free(void *p) {
    block_taken(p);
    __libc_free(p);
}
