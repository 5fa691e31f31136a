/* part.c - see part.h. */
#include "download/part.h"

#include "core/file.h"
#include "download/stop.h"
#include "formats/sha256.h"
#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kn_status failed(const part *p, const char *verb, kn_error *error) {
    return kn_error_set(error, KN_ERR_IO, "%s: cannot %s: %s", p->path, verb, strerror(errno));
}

/* A strong mark as HTTP writes it, "...": a weak one, W/"...", does not promise the same bytes. */
static bool strong(const char *etag) {
    size_t length = strlen(etag);
    if (length < 2 || length >= PART_ETAG || etag[0] != '"' || etag[length - 1] != '"')
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)etag[i] <= 0x20 || (unsigned char)etag[i] >= 0x7F)
            return false;
    return true;
}

/* Without a mark that can be read, size and SHA-256 alone tell a changed file. */
static void read_etag(part *p) {
    char text[PART_ETAG] = "";
    FILE *f = fopen(p->etag_path, "re");
    if (f == NULL)
        return;
    size_t length = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[length] = '\0';
    if (strong(text))
        snprintf(p->etag, sizeof p->etag, "%s", text);
}

kn_status part_open(part *p, const char *folder, const char *name, kn_error *error) {
    char end[128];
    struct stat st;
    *p = (part){.fd = -1};
    snprintf(end, sizeof end, "/%s.part", name);
    if (home_join(p->path, folder, end, error) || home_join(p->etag_path, p->path, ".etag", error))
        return error->status;
    p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (p->fd < 0)
        return failed(p, "open", error);
    if (fstat(p->fd, &st) != 0)
        return failed(p, "stat", error);
    if (!S_ISREG(st.st_mode))
        return kn_error_set(error, KN_ERR_IO, "%s: is not a regular file", p->path);
    p->size = p->kept = st.st_size;
    if (p->size > 0)
        read_etag(p);
    return KN_OK;
}

kn_status part_append(part *p, const void *data, size_t bytes, kn_error *error) {
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = pwrite(p->fd, at, bytes, p->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(p, "write", error);
        at += n;
        bytes -= (size_t)n;
        p->size += n;
    }
    return KN_OK;
}

kn_status part_restart(part *p, const char *etag, kn_error *error) {
    p->size = p->kept = 0;
    p->etag[0] = '\0';
    if (ftruncate(p->fd, 0) != 0)
        return failed(p, "empty", error);
    if (unlink(p->etag_path) != 0 && errno != ENOENT)
        return kn_error_set(error, KN_ERR_IO, "%s: cannot remove: %s", p->etag_path,
                            strerror(errno));
    if (!strong(etag))
        return KN_OK;
    snprintf(p->etag, sizeof p->etag, "%s", etag);
    return kn_file_write(p->etag_path, etag, strlen(etag), error);
}

kn_status part_sha256(const part *p, char hex[65], kn_error *error) {
    unsigned char block[1 << 16];
    kn_status status = KN_OK;
    kn_sha256 hash;
    kn_sha256_begin(&hash);
    for (int64_t at = 0; at < p->size && status == KN_OK && !stop_asked();) {
        ssize_t n = pread(p->fd, block, sizeof block, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = failed(p, "read", error);
        else if (n == 0)
            status =
                kn_error_set(error, KN_ERR_IO, "%s: became shorter while it was read", p->path);
        else
            kn_sha256_add(&hash, block, (size_t)n);
        at += n;
    }
    kn_status ended = kn_sha256_end(&hash, hex, error);
    if (stop_asked())
        hex[0] = '\0';
    return status != KN_OK ? status : ended;
}

void part_close(part *p) {
    if (p->fd < 0)
        return;
    if (p->size == 0) {
        part_remove(p);
        return;
    }
    close(p->fd); /* a write that failed only now shows in the sum */
    p->fd = -1;
}

void part_remove(part *p) {
    if (p->fd < 0)
        return;
    close(p->fd);
    p->fd = -1;
    unlink(p->path);
    unlink(p->etag_path);
}
