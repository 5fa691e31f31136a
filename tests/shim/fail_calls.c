/* fail_calls.c - preloaded into the command by tests: makes the Nth call of one function fail, or
 * that and every later one. Only calls from the program itself count, not those from libraries.
 *
 *   KILN_FAIL=FUNCTION:N:HOW      HOW is a number for errno, "short" (half of a read or write), or
 *                                 either with "+" behind: from there on every call; or "die": the
 *                                 process ends there, as if killed, with code 99
 *   KILN_FAIL_REPORT=FILE         at the end: calls of the function, and how many were failed
 *
 * FUNCTION is open, read, pread, write, pwrite, fsync, rename, mkdir, stat, opendir,
 * pthread_create, alloc (malloc, calloc, aligned_alloc, realloc by the program's own code). */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char function[32];
static long nth;
static int code;
static bool shortened, for_ever, dies;
static atomic_long calls, failed;
static uintptr_t begin, end; /* the program's code and data */

static int find_program(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size;
    (void)user;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + h->p_vaddr;
        if (h->p_type != PT_LOAD)
            continue;
        begin = begin == 0 || from < begin ? from : begin;
        end = from + h->p_memsz > end ? from + h->p_memsz : end;
    }
    return 1; /* the first is the program */
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("KILN_FAIL_REPORT");
    FILE *f = path != NULL && function[0] != '\0' ? fopen(path, "w") : NULL;
    if (f == NULL)
        return;
    fprintf(f, "%ld %ld\n", atomic_load(&calls), atomic_load(&failed));
    fclose(f);
}

__attribute__((constructor)) static void prepare(void) {
    const char *what = getenv("KILN_FAIL");
    char how[16] = "";
    if (what == NULL || sscanf(what, "%31[a-z_]:%ld:%15s", function, &nth, how) != 3)
        return;
    for_ever = how[strlen(how) - 1] == '+';
    shortened = strncmp(how, "short", 5) == 0;
    dies = strcmp(how, "die") == 0;
    code = atoi(how);
    dl_iterate_phdr(find_program, NULL);
}

/* Is this call to fail? */
static bool now(const char *name, const void *caller) {
    uintptr_t from = (uintptr_t)caller;
    if (strcmp(name, function) != 0 || from < begin || from >= end)
        return false;
    long number = atomic_fetch_add(&calls, 1) + 1;
    bool hit = number == nth || (for_ever && number > nth);
    if (hit) {
        atomic_fetch_add(&failed, 1);
        if (dies) {
            report();
            _exit(99);
        }
        if (!shortened)
            errno = code;
    }
    return hit;
}

#define NEXT(name)  ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))
#define FAILS(name) now(name, __builtin_return_address(0))

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return FAILS("open") ? -1 : NEXT(open)(path, flags, mode);
}

ssize_t read(int fd, void *to, size_t size) {
    bool hit = FAILS("read");
    return hit && !shortened ? -1 : NEXT(read)(fd, to, hit ? (size + 1) / 2 : size);
}

ssize_t pread(int fd, void *to, size_t size, off_t at) {
    bool hit = FAILS("pread");
    return hit && !shortened ? -1 : NEXT(pread)(fd, to, hit ? (size + 1) / 2 : size, at);
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

int rename(const char *from, const char *to) {
    return FAILS("rename") ? -1 : NEXT(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    return FAILS("mkdir") ? -1 : NEXT(mkdir)(path, mode);
}

int stat(const char *restrict path, struct stat *restrict to) {
    return FAILS("stat") ? -1 : NEXT(stat)(path, to);
}

DIR *opendir(const char *path) {
    return FAILS("opendir") ? NULL : NEXT(opendir)(path);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict argument) {
    return FAILS("pthread_create") ? EAGAIN
                                   : NEXT(pthread_create)(thread, attributes, run, argument);
}

/* ---- memory ---- */

extern void *__libc_malloc(size_t size), *__libc_calloc(size_t count, size_t size),
    *__libc_realloc(void *p, size_t size), *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size) {
    return FAILS("alloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return FAILS("alloc") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size) {
    return FAILS("alloc") ? NULL : __libc_realloc(p, size);
}

void *aligned_alloc(size_t align, size_t size) {
    return FAILS("alloc") ? NULL : __libc_memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size) {
    void *p = FAILS("alloc") ? NULL : __libc_memalign(align, size);
    if (p == NULL)
        return ENOMEM;
    *out = p;
    return 0;
}
