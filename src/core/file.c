/* file.c - see file.h. Every call that can fail is checked, EINTR and short counts are resumed. */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kn_status io_error(kn_error *error, const char *path, const char *verb) {
    int code = errno;
    kn_status status = code == ENOMEM ? KN_ERR_MEMORY : KN_ERR_IO;
    return kn_error_set(error, status, "%s: cannot %s: %s", path, verb, strerror(code));
}

/* ---- reading ---- */

static kn_status read_all(int fd, const char *path, unsigned char *data, size_t size,
                          kn_error *error) {
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_error(error, path, "read");
        if (n == 0)
            return kn_error_set(error, KN_ERR_IO, "%s: became shorter while it was read", path);
        done += (size_t)n;
    }
    return KN_OK;
}

kn_status kn_file_read(const char *path, size_t limit, void *(*room)(void *user, size_t bytes),
                       void *user, size_t *size, kn_error *error) {
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return io_error(error, path, "open");
    struct stat st;
    kn_status status = KN_OK;
    if (fstat(fd, &st) != 0)
        status = io_error(error, path, "stat");
    else if (!S_ISREG(st.st_mode))
        status = kn_error_set(error, KN_ERR_IO, "%s: is not a regular file", path);
    else if ((uintmax_t)st.st_size > limit)
        status = kn_error_set(error, KN_ERR_LIMIT, "%s: has %jd bytes, the limit is %zu", path,
                              (intmax_t)st.st_size, limit);
    if (status == KN_OK && st.st_size > 0) {
        void *data = room(user, (size_t)st.st_size);
        if (data == NULL)
            status = kn_error_set(error, KN_ERR_MEMORY, "%s: no memory for its %jd bytes", path,
                                  (intmax_t)st.st_size);
        else
            status = read_all(fd, path, data, (size_t)st.st_size, error);
        if (status == KN_OK)
            *size = (size_t)st.st_size;
    }
    close(fd); /* only read: nothing can be lost */
    return status;
}

/* ---- writing ---- */

kn_status kn_writer_open(kn_writer *w, const char *path, kn_error *error) {
    w->fd = -1;
    w->opened = false;
    w->bytes = w->used = 0;
    w->error = error;
    w->status = KN_OK;
    int length = snprintf(w->path, sizeof w->path, "%s", path);
    int room = snprintf(w->temporary, sizeof w->temporary, "%s.tmp-%ld", path, (long)getpid());
    if (length < 0 || room < 0 || (size_t)room >= sizeof w->temporary)
        return w->status = kn_error_set(error, KN_ERR_IO, "%.64s...: the path is too long", path);
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return w->status = io_error(error, path, "create");
    w->opened = true;
    return KN_OK;
}

static kn_status write_all(kn_writer *w, const unsigned char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t n = write(w->fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0) /* of a file none can be written: there is no room */
            errno = ENOSPC;
        if (n <= 0)
            return w->status = io_error(w->error, w->path, "write");
        data += n;
        bytes -= (size_t)n;
    }
    return KN_OK;
}

static kn_status flush(kn_writer *w) {
    if (w->status == KN_OK && w->used > 0)
        write_all(w, w->buffer, w->used);
    w->used = 0;
    return w->status;
}

kn_status kn_writer_append(kn_writer *w, const void *data, size_t bytes) {
    if (w->status != KN_OK || bytes == 0)
        return w->status;
    w->bytes += bytes;
    if (bytes > KN_WRITE_BUFFER - w->used && flush(w) != KN_OK)
        return w->status;
    if (bytes >= KN_WRITE_BUFFER)
        return write_all(w, data, bytes);
    memcpy(w->buffer + w->used, data, bytes);
    w->used += bytes;
    return KN_OK;
}

/* A rename is durable only once its folder is synced. folder: room for the file's path. */
static kn_status sync_folder(const char *path, char folder[KN_PATH_MAX], kn_error *error) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        strcpy(folder, ".");
    else {
        size_t length = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, length);
        folder[length] = '\0';
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_error(error, folder, "open the folder");
    kn_status status = KN_OK;
    /* Some file systems cannot sync a folder and say so. */
    if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = io_error(error, folder, "sync the folder");
    close(fd);
    return status;
}

/* The name is free again, whatever state the file was left in. */
static void discard(kn_writer *w) {
    if (w->fd >= 0)
        close(w->fd);
    if (w->opened)
        unlink(w->temporary);
    w->fd = -1;
    w->opened = false;
}

kn_status kn_writer_commit(kn_writer *w) {
    flush(w);
    if (w->status == KN_OK && fsync(w->fd) != 0)
        w->status = io_error(w->error, w->path, "sync");
    if (w->status == KN_OK) {
        int closed = close(w->fd);
        w->fd = -1;
        if (closed != 0)
            w->status = io_error(w->error, w->path, "close");
    }
    if (w->status == KN_OK && rename(w->temporary, w->path) != 0)
        w->status = io_error(w->error, w->path, "rename a new version to");
    if (w->status != KN_OK)
        discard(w);
    else
        w->status = sync_folder(w->path, w->temporary, w->error); /* whose name is free */
    return w->status;
}

kn_status kn_file_move(const char *from, const char *to, bool missing, kn_error *error) {
    char folder[KN_PATH_MAX];
    if (rename(from, to) == 0)
        return sync_folder(to, folder, error);
    return missing && errno == ENOENT ? KN_OK : io_error(error, from, "rename");
}

bool kn_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

void kn_writer_abort(kn_writer *w) {
    discard(w);
}

kn_status kn_file_write(const char *path, const void *data, size_t bytes, kn_error *error) {
    kn_writer w;
    if (kn_writer_open(&w, path, error) == KN_OK)
        kn_writer_append(&w, data, bytes);
    return kn_writer_commit(&w);
}

kn_status kn_path_join(char path[KN_PATH_MAX], const char *folder, const char *file,
                       kn_error *error) {
    int length = snprintf(path, KN_PATH_MAX, "%s/%s", folder, file);
    if (length >= 0 && length < KN_PATH_MAX)
        return KN_OK;
    return kn_error_set(error, KN_ERR_IO, "%.64s...: the path is too long", folder);
}

/* ---- folders ---- */

kn_status kn_folder_make(char *path, kn_error *error) {
    for (char *c = path + 1;; c++) {
        if (*c != '/' && *c != '\0')
            continue;
        char end = *c;
        *c = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return kn_error_set(error, KN_ERR_IO, "%s: cannot make the folder: %s", path,
                                strerror(errno));
        *c = end;
        if (end == '\0')
            return KN_OK;
    }
}
