/* cache_file.c - see cache_file.h. */
#include "data/cache_file.h"

#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Numbers are as this machine has them: a file of another kind of machine has another magic. */
#define MAGIC  "kiln samples 2\n"
#define ENDING ".samples"

typedef struct header {
    char magic[16];
    int64_t samples, sample_bytes;
    char name[KN_DATASET_NAME + 7]; /* to a multiple of 8 */
    uint64_t index_sum;
} header;

typedef struct entry {
    uint64_t sum;  /* of pixels and label */
    int64_t label; /* LEFT_OUT: no such sample, and no sum */
} entry;

static const int64_t LEFT_OUT = INT64_MIN; /* no label: those have 32 bits */

enum { PAGE = 4096, ABSENT = 0, WRITING = 1, THERE = 2, NOT_THERE = 3 };

struct kn_cache_file {
    kn_allocator allocator;
    kn_cache_form form;
    char path[KN_PATH_MAX];
    int fd;
    bool found_whole; /* by a name, from an earlier run */
    off_t samples_at;
    entry *index;                  /* [samples] */
    _Atomic uint8_t *state;        /* [samples] */
    int64_t found;                 /* samples of an earlier run */
    _Atomic int64_t done, damaged; /* done: there or left out */
    atomic_bool stopped;           /* writing */
    pthread_mutex_t mutex;
    kn_error why; /* under the mutex until stopped */
};

/* ---- sums ---- */

/* Of eight bytes at a time, each mixed with all before it: for damage, not against malice. */
static uint64_t sum_of(const uint8_t *bytes, size_t size, uint64_t sum) {
    static const uint64_t odd = 0x9e3779b97f4a7c15U; /* 2^64 / golden ratio */
    for (size_t i = 0; i < size; i += sizeof sum) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, size - i < sizeof word ? size - i : sizeof word);
        sum = (sum ^ word) * odd;
        sum ^= sum >> 29;
    }
    return sum;
}

static uint64_t sample_sum(const kn_cache_file *f, const uint8_t *pixels, int64_t label) {
    return sum_of(pixels, f->form.sample_bytes, (uint64_t)label + 1);
}

static uint64_t index_sum(const kn_cache_file *f) {
    return sum_of((const uint8_t *)f->index, (size_t)f->form.samples * sizeof *f->index, 1);
}

/* ---- bytes ---- */

static bool read_at(int fd, void *to, size_t bytes, off_t at) {
    uint8_t *p = to;
    while (bytes > 0) {
        ssize_t n = pread(fd, p, bytes, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool write_at(int fd, const void *from, size_t bytes, off_t at) {
    const uint8_t *p = from;
    while (bytes > 0) {
        ssize_t n = pwrite(fd, p, bytes, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        p += n;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static off_t sample_at(const kn_cache_file *f, int64_t i) {
    return f->samples_at + (off_t)i * (off_t)f->form.sample_bytes;
}

/* ---- opening ---- */

static header header_of(const kn_cache_file *f) {
    header h = {.magic = MAGIC,
                .samples = f->form.samples,
                .sample_bytes = (int64_t)f->form.sample_bytes,
                .index_sum = index_sum(f)};
    memcpy(h.name, f->form.name, KN_DATASET_NAME);
    return h;
}

/* Whether the open file is what its name says. Fills the index. */
static bool is_whole(kn_cache_file *f) {
    header h;
    struct stat st;
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        st.st_size != sample_at(f, f->form.samples) || !read_at(f->fd, &h, sizeof h, 0) ||
        !read_at(f->fd, f->index, (size_t)f->form.samples * sizeof *f->index, PAGE))
        return false;
    header want = header_of(f);
    return memcmp(&h, &want, sizeof h) == 0;
}

static bool open_old(kn_cache_file *f) {
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        return false;
    if (is_whole(f)) {
        (void)futimens(f->fd, NULL); /* in use: see remove_old */
        f->found_whole = true;
        for (int64_t i = 0; i < f->form.samples; i++) {
            bool there = f->index[i].label != LEFT_OUT;
            f->state[i] = there ? THERE : NOT_THERE;
            f->found += there;
        }
        return true;
    }
    close(f->fd);
    f->fd = -1;
    unlink(f->path); /* a folder stays, and is in the way when a name is wanted */
    memset(f->index, 0, (size_t)f->form.samples * sizeof *f->index);
    return false;
}

/* Files that no run has used for long go when a new one is made: each change of the data or its
 * size makes another. */
static void remove_old(const char *folder) {
    enum { DAYS = 30 };
    DIR *list = opendir(folder);
    time_t limit = time(NULL) - (time_t)DAYS * 24 * 60 * 60;
    for (struct dirent *e; list != NULL && (e = readdir(list)) != NULL;) {
        const char *end = strrchr(e->d_name, '.');
        struct stat st;
        if (end != NULL && strcmp(end, ENDING) == 0 &&
            fstatat(dirfd(list), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            st.st_mtime < limit)
            unlinkat(dirfd(list), e->d_name, 0);
    }
    if (list != NULL)
        closedir(list);
}

static kn_status open_new(kn_cache_file *f, const char *folder, kn_error *error) {
    remove_old(folder);
    f->fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
    if (f->fd < 0)
        return kn_error_set(error, KN_ERR_IO, "%s: cannot make a file without a name there: %s",
                            folder, strerror(errno));
    return KN_OK;
}

static kn_status open_either(kn_cache_file *f, const char *folder, kn_error *error) {
    char file[KN_DATASET_NAME + 16], above[KN_PATH_MAX];
    snprintf(file, sizeof file, "%.32s" ENDING, f->form.name);
    kn_status status = kn_path_join(f->path, folder, file, error);
    if (status == KN_OK)
        status = kn_path_join(above, folder, "", error);
    if (status == KN_OK)
        status = kn_folder_make(above, error);
    return status != KN_OK || open_old(f) ? status : open_new(f, folder, error);
}

kn_status kn_cache_file_open(kn_cache_file **out, const kn_allocator *allocator, const char *folder,
                             const kn_cache_form *form, kn_error *error) {
    *out = NULL;
    kn_cache_file *f = kn_mem_calloc(allocator, 1, sizeof *f);
    if (f == NULL)
        return kn_error_set(error, KN_ERR_MEMORY, "out of memory: a cache");
    f->allocator = *allocator;
    f->form = *form;
    f->fd = -1;
    pthread_mutex_init(&f->mutex, NULL);
    size_t index = (size_t)form->samples * sizeof *f->index;
    f->samples_at = (off_t)((PAGE + index + PAGE - 1) / PAGE * PAGE);
    f->index = kn_mem_calloc(allocator, (size_t)form->samples, sizeof *f->index);
    f->state = kn_mem_calloc(allocator, (size_t)form->samples, sizeof *f->state);
    kn_status status = f->index == NULL || f->state == NULL
                           ? kn_error_set(error, KN_ERR_MEMORY, "out of memory: a cache's index")
                           : open_either(f, folder, error);
    if (status != KN_OK) {
        kn_cache_file_close(f);
        return status;
    }
    *out = f;
    return KN_OK;
}

void kn_cache_file_close(kn_cache_file *f) {
    if (f == NULL)
        return;
    if (f->found_whole && f->damaged > 0)
        unlink(f->path);
    if (f->fd >= 0)
        close(f->fd);
    pthread_mutex_destroy(&f->mutex);
    kn_mem_free(&f->allocator, f->index);
    kn_mem_free(&f->allocator, (void *)f->state);
    kn_mem_free(&f->allocator, f);
}

/* ---- samples ---- */

bool kn_cache_file_get(kn_cache_file *f, int64_t i, uint8_t *pixels, int32_t *label) {
    if (atomic_load_explicit(&f->state[i], memory_order_acquire) != THERE)
        return false;
    if (read_at(f->fd, pixels, f->form.sample_bytes, sample_at(f, i)) &&
        sample_sum(f, pixels, f->index[i].label) == f->index[i].sum) {
        *label = (int32_t)f->index[i].label;
        return true;
    }
    uint8_t there = THERE; /* nobody asks for it again */
    if (atomic_compare_exchange_strong(&f->state[i], &there, WRITING))
        atomic_fetch_add(&f->damaged, 1);
    return false;
}

static void give_up(kn_cache_file *f, const char *what) {
    int code = errno;
    pthread_mutex_lock(&f->mutex);
    if (!atomic_load(&f->stopped))
        kn_error_set(&f->why, KN_ERR_IO, "%s: cannot %s: %s", f->path, what, strerror(code));
    atomic_store(&f->stopped, true);
    pthread_mutex_unlock(&f->mutex);
}

/* All samples are there or left out: the index, the header, the length (where the last is left
 * out), the name. Another process may have been faster:
 * then its file has the same bytes, and this one goes. Nothing is synced, which could take minutes:
 * what a crash leaves incomplete the checksums find out. */
static void finish(kn_cache_file *f) {
    char self[64];
    header h = header_of(f);
    uint8_t page[PAGE] = {0};
    memcpy(page, &h, sizeof h);
    snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd);
    if (!write_at(f->fd, f->index, (size_t)f->form.samples * sizeof *f->index, PAGE) ||
        !write_at(f->fd, page, sizeof page, 0) ||
        ftruncate(f->fd, sample_at(f, f->form.samples)) != 0)
        give_up(f, "write");
    else if (linkat(AT_FDCWD, self, AT_FDCWD, f->path, AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST)
        give_up(f, "name");
}

/* One more, after its entry: whoever makes it complete sees all entries. */
static void count_done(kn_cache_file *f) {
    if (atomic_fetch_add(&f->done, 1) + 1 == f->form.samples)
        finish(f);
}

void kn_cache_file_put(kn_cache_file *f, int64_t i, const uint8_t *pixels, int32_t label) {
    uint8_t absent = ABSENT;
    if (atomic_load(&f->stopped) || !atomic_compare_exchange_strong(&f->state[i], &absent, WRITING))
        return;
    f->index[i] = (entry){sample_sum(f, pixels, label), label};
    if (!write_at(f->fd, pixels, f->form.sample_bytes, sample_at(f, i))) {
        give_up(f, "write");
        return;
    }
    atomic_store_explicit(&f->state[i], THERE, memory_order_release);
    count_done(f);
}

void kn_cache_file_leave_out(kn_cache_file *f, int64_t i) {
    uint8_t absent = ABSENT;
    if (atomic_load(&f->stopped) ||
        !atomic_compare_exchange_strong(&f->state[i], &absent, NOT_THERE))
        return;
    f->index[i] = (entry){.label = LEFT_OUT};
    count_done(f);
}

int64_t kn_cache_file_found(const kn_cache_file *f) {
    return f->found;
}

int64_t kn_cache_file_damaged(const kn_cache_file *f) {
    return f->damaged;
}

const char *kn_cache_file_given_up(kn_cache_file *f) {
    return atomic_load(&f->stopped) ? f->why.message : NULL;
}
