/* unpack.c - see unpack.h. libarchive only reads: files are made here, each by a path that was
 * checked, below a folder that holds no link because none is ever made there. */
#include "download/unpack.h"

#include "download/stop.h"

#include <archive.h>
#include <archive_entry.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct unpacking {
    struct archive *archive;
    int root; /* the folder */
    const char *name;
    unpack_limits limits;
    int64_t entries, files, bytes; /* so far */
    kn_error *error;
} unpacking;

/* A path in a message: all of a hostile one would fill it. */
#define SHOWN "%.200s"

static kn_status fault(const unpacking *u, const char *path, const char *what) {
    return kn_error_set(u->error, KN_ERR_DATA, "%s: the archive has " SHOWN ": %s", u->name, path,
                        what);
}

static kn_status cannot(const unpacking *u, const char *verb, const char *path) {
    return kn_error_set(u->error, KN_ERR_IO, "%s: unpacking " SHOWN ": cannot %s: %s", u->name,
                        path, verb, strerror(errno));
}

static kn_status unreadable(const unpacking *u) {
    const char *why = archive_error_string(u->archive);
    if (archive_errno(u->archive) == ENOMEM)
        return kn_error_set(u->error, KN_ERR_MEMORY, "%s: out of memory: unpacking", u->name);
    return kn_error_set(u->error, KN_ERR_DATA, "%s: cannot be unpacked: %s", u->name,
                        why != NULL ? why : "no .tar.gz");
}

/* ---- paths ---- */

/* The path without "." and doubled slashes into clean; NULL, or what is wrong with it. An empty
 * clean is the folder itself. */
static const char *clean_path(const char *path, char clean[UNPACK_PATH]) {
    size_t used = 0;
    if (path[0] == '/')
        return "an absolute path";
    if (strlen(path) >= UNPACK_PATH)
        return "a path that is too long";
    for (size_t length; path[0] != '\0'; path += length) {
        path += strspn(path, "/");
        length = strcspn(path, "/");
        if (length == 0 || (length == 1 && path[0] == '.'))
            continue;
        if (length == 2 && path[0] == '.' && path[1] == '.')
            return "a path that leads out of its folder";
        if (length > 255)
            return "a name that is too long";
        if (used > 0)
            clean[used++] = '/';
        memcpy(clean + used, path, length);
        used += length;
    }
    clean[used] = '\0';
    return NULL;
}

/* Makes the folders of the path up to length. One that is a file already is refused by the next
 * mkdirat or openat below it. */
static kn_status make_folders(const unpacking *u, char *path, size_t length) {
    for (size_t i = 1; i <= length; i++) {
        if (i < length && path[i] != '/')
            continue;
        char end = path[i];
        path[i] = '\0';
        int made = mkdirat(u->root, path, 0777);
        struct stat st;
        if (made != 0 && errno == ENOTDIR)
            return fault(u, path, "a file in the place of a folder");
        if (made != 0 && errno != EEXIST)
            return cannot(u, "make the folder", path);
        if (made != 0 &&
            (fstatat(u->root, path, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)))
            return fault(u, path, "a file in the place of a folder");
        path[i] = end;
    }
    return KN_OK;
}

/* ---- files ---- */

static kn_status write_at(const unpacking *u, int fd, const char *path, const char *data,
                          size_t bytes, int64_t at) {
    while (bytes > 0) {
        ssize_t n = pwrite(fd, data, bytes, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cannot(u, "write", path);
        data += n;
        at += n;
        bytes -= (size_t)n;
    }
    return KN_OK;
}

/* Counts bytes of the file up to end, holes included: a sparse file is a bomb as well. */
static kn_status count(unpacking *u, const char *path, int64_t *counted, int64_t end) {
    if (end <= *counted)
        return KN_OK;
    u->bytes += end - *counted;
    *counted = end;
    if (end > u->limits.file_bytes)
        return kn_error_set(u->error, KN_ERR_LIMIT,
                            "%s: the archive has " SHOWN ": over the limit of %lld bytes a file",
                            u->name, path, (long long)u->limits.file_bytes);
    if (u->bytes > u->limits.bytes)
        return kn_error_set(u->error, KN_ERR_LIMIT,
                            "%s: the archive unpacks to more than the limit of %lld bytes", u->name,
                            (long long)u->limits.bytes);
    return KN_OK;
}

static kn_status copy(unpacking *u, int fd, const char *path, int64_t size) {
    int64_t counted = 0;
    kn_status status = count(u, path, &counted, size);
    while (status == KN_OK) {
        const void *data;
        size_t bytes;
        la_int64_t at;
        int code = archive_read_data_block(u->archive, &data, &bytes, &at);
        if (code == ARCHIVE_EOF)
            break;
        if (code != ARCHIVE_OK)
            return unreadable(u);
        if (stop_asked())
            return kn_error_set(u->error, KN_ERR_STATE, "interrupted");
        if (at < 0 || at > size || (int64_t)bytes > size - at)
            return fault(u, path, "more bytes than it says");
        status = write_at(u, fd, path, data, bytes, at);
    }
    /* A hole at the end, which no block shows. */
    if (status == KN_OK && ftruncate(fd, size) != 0)
        status = cannot(u, "write", path);
    return status;
}

static kn_status make_file(unpacking *u, char *path, int64_t size) {
    const char *slash = strrchr(path, '/');
    if (slash != NULL && make_folders(u, path, (size_t)(slash - path)) != KN_OK)
        return u->error->status;
    int fd = openat(u->root, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST)
        return fault(u, path, "is there twice");
    if (fd < 0)
        return cannot(u, "create", path);
    kn_status status = copy(u, fd, path, size);
    if (close(fd) != 0 && status == KN_OK)
        status = cannot(u, "close", path);
    u->files++;
    return status;
}

/* ---- entries ---- */

static const char *kind_refused(struct archive_entry *entry) {
    if (archive_entry_symlink(entry) != NULL || archive_entry_filetype(entry) == AE_IFLNK)
        return "a symbolic link";
    if (archive_entry_hardlink(entry) != NULL)
        return "a hard link";
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
    case AE_IFDIR:
        return NULL;
    case AE_IFIFO:
        return "a FIFO";
    case AE_IFCHR:
    case AE_IFBLK:
        return "a device";
    default:
        return "neither a file nor a folder";
    }
}

static kn_status take(unpacking *u, struct archive_entry *entry) {
    char clean[UNPACK_PATH];
    const char *path = archive_entry_pathname(entry);
    if (path == NULL) /* UTF-8 that this locale cannot spell */
        path = archive_entry_pathname_utf8(entry);
    if (path == NULL)
        return fault(u, "?", "a path that cannot be read");
    if (++u->entries > u->limits.files)
        return kn_error_set(u->error, KN_ERR_LIMIT,
                            "%s: the archive has more than the limit of %lld files and folders",
                            u->name, (long long)u->limits.files);
    const char *wrong = clean_path(path, clean);
    if (wrong == NULL)
        wrong = kind_refused(entry);
    if (wrong != NULL)
        return fault(u, path, wrong);
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return make_folders(u, clean, strlen(clean));
    if (clean[0] == '\0')
        return fault(u, path, "a file without a name");
    int64_t size = archive_entry_size(entry);
    return size < 0 ? fault(u, path, "a size below 0") : make_file(u, clean, size);
}

static kn_status take_all(unpacking *u) {
    struct archive_entry *entry;
    kn_status status = KN_OK;
    int code = ARCHIVE_OK;
    while (status == KN_OK && !stop_asked()) {
        code = archive_read_next_header(u->archive, &entry);
        if (code == ARCHIVE_EOF)
            break;
        /* A warning is about a name in another locale, or a time: none of it is used. */
        if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
            return unreadable(u);
        status = take(u, entry);
    }
    if (status == KN_OK && stop_asked())
        return kn_error_set(u->error, KN_ERR_STATE, "interrupted");
    if (status == KN_OK && u->files == 0)
        return kn_error_set(u->error, KN_ERR_DATA, "%s: the archive holds no file", u->name);
    return status;
}

kn_status unpack(int fd, const char *name, const char *folder, unpack_limits limits, int64_t *files,
                 kn_error *error) {
    enum { BLOCK = 1 << 16 };
    unpacking u = {.name = name, .limits = limits, .error = error};
    kn_status status = KN_OK;
    u.root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (u.root < 0)
        return kn_error_set(error, KN_ERR_IO, "%s: cannot open the folder: %s", folder,
                            strerror(errno));
    u.archive = archive_read_new();
    /* Only what is expected: each further format is more code that hostile bytes could reach. */
    if (u.archive == NULL || archive_read_support_filter_gzip(u.archive) != ARCHIVE_OK ||
        archive_read_support_format_tar(u.archive) != ARCHIVE_OK)
        status = kn_error_set(error, KN_ERR_MEMORY, "libarchive does not start, or reads no gzip");
    else if (lseek(fd, 0, SEEK_SET) != 0)
        status = cannot(&u, "read", name);
    else if (archive_read_open_fd(u.archive, fd, BLOCK) != ARCHIVE_OK)
        status = unreadable(&u);
    else
        status = take_all(&u);
    archive_read_free(u.archive);
    close(u.root);
    *files = u.files;
    return status;
}

const char *unpack_version(void) {
    return archive_version_string();
}
