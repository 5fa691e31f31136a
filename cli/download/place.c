/* place.c - see place.h. */
#include "download/place.h"

#include "download/progress.h"
#include "download/stop.h"
#include "home.h"

#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static kn_status failed(const char *path, const char *verb, kn_error *error) {
    return kn_error_set(error, KN_ERR_IO, "%s: cannot %s: %s", path, verb, strerror(errno));
}

/* ---- removing ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}

static kn_status remove_tree(const char *path, kn_error *error) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return KN_OK;
    return failed(path, "remove", error);
}

/* ---- the lock ---- */

/* The file is removed by its holder, so what was opened may no longer be what bears the name. */
static bool is_named(int fd, const char *path) {
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

static kn_status take_lock(place *p, const report *r, kn_error *error) {
    bool told = false;
    while (!stop_asked()) {
        int fd = open(p->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0)
            return failed(p->lock_path, "create", error);
        int code = flock(fd, LOCK_EX | LOCK_NB);
        if (code == 0 && is_named(fd, p->lock_path)) {
            p->lock = fd;
            return KN_OK;
        }
        if (code != 0 && errno != EWOULDBLOCK && errno != EINTR) {
            failed(p->lock_path, "lock", error);
            close(fd);
            return KN_ERR_IO;
        }
        close(fd);
        if (code == 0)
            continue;
        if (!told)
            report_note(r, "%s: another kiln-download is at work on it; waiting", p->final);
        told = true;
        stop_sleep(0.2);
    }
    return kn_error_set(error, KN_ERR_STATE, "interrupted");
}

/* ---- opening and closing ---- */

kn_status place_open(place *p, const report *r, const char *folder, const char *name,
                     kn_error *error) {
    char end[96];
    *p = (place){.lock = -1};
    snprintf(end, sizeof end, "/%s", name);
    if (home_join(p->folder, folder, "", error) || home_join(p->final, folder, end, error) ||
        home_join(p->unpack, p->final, ".unpack", error) ||
        home_join(p->lock_path, p->final, ".lock", error) || kn_folder_make(p->folder, error) ||
        take_lock(p, r, error))
        return error->status;
    return remove_tree(p->unpack, error);
}

void place_close(place *p) {
    if (p->lock < 0)
        return;
    /* What cannot be removed now is removed, or told, the next time. */
    (void)remove_tree(p->unpack, NULL);
    unlink(p->lock_path);
    close(p->lock);
    p->lock = -1;
}

/* ---- the data set ---- */

bool place_filled(const place *p) {
    struct stat st;
    return stat(p->final, &st) == 0 && S_ISDIR(st.st_mode);
}

kn_status place_room(const place *p, int64_t bytes, kn_error *error) {
    struct statvfs fs;
    char have[PROGRESS_SIZE], want[PROGRESS_SIZE];
    if (statvfs(p->folder, &fs) != 0)
        return KN_OK; /* it will be seen while writing */
    uint64_t room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize;
    if (room >= (uint64_t)bytes)
        return KN_OK;
    return kn_error_set(error, KN_ERR_IO, "%s: has %s free, and the download needs %s", p->folder,
                        progress_size((int64_t)room, have), progress_size(bytes, want));
}

kn_status place_make(place *p, kn_error *error) {
    return mkdir(p->unpack, 0777) == 0 ? KN_OK : failed(p->unpack, "make the folder", error);
}

/* The name of the only entry, if that is a folder; else empty. */
static kn_status only_folder(const char *path, char name[NAME_MAX + 1], kn_error *error) {
    DIR *folder = opendir(path);
    int entries = 0;
    const struct dirent *entry;
    if (folder == NULL)
        return failed(path, "read the folder", error);
    while ((entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && ++entries == 1)
            snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
    struct stat st;
    if (entries != 1 || fstatat(dirfd(folder), name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(st.st_mode))
        name[0] = '\0';
    closedir(folder);
    return KN_OK;
}

/* All of it is on the disk before it bears its name: after a power cut no picture is half there. */
static kn_status sync_all(const char *path, bool files, kn_error *error) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(path, "open the folder", error);
    kn_status status = KN_OK;
    /* Some file systems cannot sync a folder and say so. */
    if ((files ? syncfs(fd) : fsync(fd)) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = failed(path, "sync", error);
    close(fd);
    return status;
}

kn_status place_commit(place *p, kn_error *error) {
    char name[NAME_MAX + 1] = "", from[PATH_MAX], end[NAME_MAX + 2];
    if (only_folder(p->unpack, name, error) || sync_all(p->unpack, true, error))
        return error->status;
    snprintf(end, sizeof end, "%s%s", name[0] != '\0' ? "/" : "", name);
    if (home_join(from, p->unpack, end, error) != KN_OK)
        return error->status;
    if (rename(from, p->final) != 0)
        return failed(p->final, "give the folder its name", error);
    return sync_all(p->folder, false, error);
}
