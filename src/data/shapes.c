/* shapes.c - writes the shapes data set: the pictures of shapes_draw.c as JPEG files in folders.
 *
 * A set is drawn under a temporary name beside its place, ends with a marker file that says what it
 * is, and is renamed. So a folder with the marker is whole, and of two processes that draw at the
 * same time the slower one finds the work done. */
#include "data/shapes.h"

#include "core/file.h"
#include "core/text.h"
#include "formats/picture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    QUALITY = 90,
    NAME_ROOM = 64,      /* a temporary name's end, or the longest name in the set */
    TEMPORARY_MAX = 100, /* names tried */
    MARKER_MAX = 128,
    PIXEL_BYTES = KN_SHAPES_SIZE * KN_SHAPES_SIZE * 3,
};

static const char marker_name[] = "shapes.txt";

static const struct {
    const char *name;
    int count;
} splits[] = {{"train", KN_SHAPES_TRAIN}, {"valid", KN_SHAPES_VALID}};

typedef struct work {
    kn_ctx *ctx;
    uint64_t seed;
    char marker[MARKER_MAX];     /* the text of this set's */
    char folder[KN_PATH_MAX];    /* where the set will be */
    char temporary[KN_PATH_MAX]; /* where it is drawn */
    char path[KN_PATH_MAX];      /* at hand */
    kn_text jpeg;
    uint8_t pixels[PIXEL_BYTES];
} work;

static kn_status fail_errno(work *w, const char *path, const char *verb) {
    return kn_fail(w->ctx, KN_ERR_IO, "%s: cannot %s: %s", path, verb, strerror(errno));
}

/* begin left NAME_ROOM bytes after every folder's name, so nothing is cut. */
static void set_path(work *w, const char *folder, const char *name) {
    size_t length = strlen(folder);
    memcpy(w->path, folder, length);
    snprintf(w->path + length, sizeof w->path - length, "/%s", name);
}

/* ---- what is there ---- */

static kn_status check_empty(work *w, bool *there) {
    DIR *dir = opendir(w->folder);
    if (dir == NULL && errno == ENOENT)
        return KN_OK;
    if (dir == NULL && errno == ENOTDIR)
        return kn_fail(w->ctx, KN_ERR_DATA, "%s: is not a folder", w->folder);
    if (dir == NULL)
        return fail_errno(w, w->folder, "open the folder");
    const struct dirent *entry;
    int entries = 0;
    errno = 0;
    while ((entry = readdir(dir)) != NULL)
        entries += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    kn_status status = errno != 0 ? fail_errno(w, w->folder, "read the folder") : KN_OK;
    closedir(dir);
    /* Another process may have put the whole set there since the marker was looked for. */
    set_path(w, w->folder, marker_name);
    *there = entries > 0 && access(w->path, F_OK) == 0;
    if (status == KN_OK && entries > 0 && !*there)
        status = kn_fail(w->ctx, KN_ERR_DATA, "%s: holds other files than the shapes data set",
                         w->folder);
    return status;
}

static kn_status check_marker(work *w, int fd) {
    char text[MARKER_MAX];
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n < 0)
        return fail_errno(w, w->path, "read");
    text[n] = '\0';
    if (strcmp(text, w->marker) == 0)
        return KN_OK;
    text[strcspn(text, "\n")] = '\0';
    return kn_fail(w->ctx, KN_ERR_DATA,
                   "%s: holds other shapes (\"%s\") than wanted (\"%.*s\"); remove it or name "
                   "another folder",
                   w->folder, text, (int)strcspn(w->marker, "\n"), w->marker);
}

/* *there: the set is there whole. An error: something else is. */
static kn_status look(work *w, bool *there) {
    *there = false;
    set_path(w, w->folder, marker_name);
    int fd = open(w->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
        return fail_errno(w, w->path, "open");
    kn_status status = KN_OK;
    if (fd < 0) {
        status = check_empty(w, there);
        if (status != KN_OK || !*there)
            return status;
        return look(w, there);
    }
    status = check_marker(w, fd);
    *there = status == KN_OK;
    close(fd);
    return status;
}

/* ---- drawing ---- */

/* Without a sync of each file, which can take longer than drawing it: the set is synced once. */
static kn_status write_plain(work *w, const char *data, size_t bytes) {
    int fd = open(w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return fail_errno(w, w->path, "create");
    kn_status status = KN_OK;
    while (bytes > 0 && status == KN_OK) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = fail_errno(w, w->path, "write");
        else {
            data += n;
            bytes -= (size_t)n;
        }
    }
    if (close(fd) != 0 && status == KN_OK)
        status = fail_errno(w, w->path, "close");
    return status;
}

static kn_status make_folder(work *w, const char *name) {
    set_path(w, w->temporary, name);
    return mkdir(w->path, 0777) == 0 ? KN_OK : fail_errno(w, w->path, "make the folder");
}

static void picture_name(char name[NAME_ROOM], int split, int index) {
    snprintf(name, NAME_ROOM, "%s/%s/%04d.jpg", splits[split].name,
             kn_shapes_class(index % KN_SHAPES_CLASSES), index / KN_SHAPES_CLASSES + 1);
}

static kn_status draw_picture(work *w, int split, int index) {
    char name[NAME_ROOM];
    kn_error error = {0};
    picture_name(name, split, index);
    set_path(w, w->temporary, name);
    kn_shapes_draw(w->seed, (uint32_t)split, (uint32_t)index, index % KN_SHAPES_CLASSES, w->pixels);
    w->jpeg.length = 0;
    kn_status status = kn_encode_jpeg(w->path, w->pixels, KN_SHAPES_SIZE, KN_SHAPES_SIZE, QUALITY,
                                      &w->jpeg, &error);
    if (status != KN_OK)
        return kn_fail_with(w->ctx, &error);
    return write_plain(w, w->jpeg.data, w->jpeg.length);
}

static kn_status draw_split(work *w, int split) {
    char name[NAME_ROOM];
    kn_status status = make_folder(w, splits[split].name);
    for (int c = 0; c < KN_SHAPES_CLASSES && status == KN_OK; c++) {
        snprintf(name, sizeof name, "%s/%s", splits[split].name, kn_shapes_class(c));
        status = make_folder(w, name);
    }
    for (int i = 0; i < splits[split].count && status == KN_OK; i++)
        status = draw_picture(w, split, i);
    return status;
}

/* A marker must not survive a power cut that pictures do not. */
static kn_status sync_all(work *w) {
    int fd = open(w->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(w, w->temporary, "open the folder");
    kn_status status = syncfs(fd) == 0 ? KN_OK : fail_errno(w, w->temporary, "sync");
    close(fd);
    return status;
}

static kn_status draw_all(work *w) {
    kn_status status = KN_OK;
    for (size_t i = 0; i < KN_COUNT(splits) && status == KN_OK; i++)
        status = draw_split(w, (int)i);
    if (status == KN_OK) {
        set_path(w, w->temporary, marker_name);
        status = write_plain(w, w->marker, strlen(w->marker));
    }
    return status == KN_OK ? sync_all(w) : status;
}

/* ---- the temporary folder ---- */

/* Made with mkdir, not mkdtemp: others may read the set. */
static kn_status make_temporary(work *w) {
    for (int i = 0; i < TEMPORARY_MAX; i++) {
        size_t length = strlen(w->folder);
        memcpy(w->temporary, w->folder, length);
        snprintf(w->temporary + length, NAME_ROOM, ".tmp-%ld-%d", (long)getpid(), i);
        if (mkdir(w->temporary, 0777) == 0)
            return KN_OK;
        if (errno != EEXIST)
            break;
    }
    return fail_errno(w, w->temporary, "make the folder");
}

/* Only what draw_all may have made. What cannot be removed stays: it harms nobody. */
static void remove_temporary(work *w) {
    char name[NAME_ROOM];
    for (size_t s = 0; s < KN_COUNT(splits); s++) {
        for (int i = 0; i < splits[s].count; i++) {
            picture_name(name, (int)s, i);
            set_path(w, w->temporary, name);
            unlink(w->path);
        }
        for (int c = 0; c < KN_SHAPES_CLASSES; c++) {
            snprintf(name, sizeof name, "%s/%s", splits[s].name, kn_shapes_class(c));
            set_path(w, w->temporary, name);
            rmdir(w->path);
        }
        set_path(w, w->temporary, splits[s].name);
        rmdir(w->path);
    }
    set_path(w, w->temporary, marker_name);
    unlink(w->path);
    rmdir(w->temporary);
}

/* Renaming onto a folder that is not empty fails: then another process was faster. */
static kn_status put_in_place(work *w) {
    bool there = false;
    if (rename(w->temporary, w->folder) == 0)
        return KN_OK;
    int code = errno;
    kn_status status = look(w, &there);
    if (status == KN_OK && !there) {
        errno = code;
        status = fail_errno(w, w->folder, "rename the drawn set to it");
    }
    remove_temporary(w);
    return status;
}

static kn_status begin(work *w, const char *folder) {
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    if (length == 0)
        return kn_fail(w->ctx, KN_ERR_ARG, "shapes: the folder's name is empty");
    if (length + NAME_ROOM * 2 > sizeof w->folder)
        return kn_fail(w->ctx, KN_ERR_LIMIT, "%.100s...: the path is too long", folder);
    memcpy(w->folder, folder, length);
    w->folder[length] = '\0';
    snprintf(w->marker, sizeof w->marker, "Kiln shapes, version %d, seed %llu\n", KN_SHAPES_VERSION,
             (unsigned long long)w->seed);
    return KN_OK;
}

kn_status kn_shapes_write(kn_ctx *ctx, const char *folder, uint64_t seed) {
    work *w = kn_calloc(ctx, 1, sizeof *w, "drawing the shapes");
    if (w == NULL)
        return KN_ERR_MEMORY;
    w->ctx = ctx;
    w->seed = seed;
    w->jpeg.allocator = kn_ctx_allocator(ctx);
    bool there = false;
    kn_status status = begin(w, folder);
    if (status == KN_OK)
        status = look(w, &there);
    if (status == KN_OK && !there) {
        status = make_temporary(w);
        if (status == KN_OK) {
            status = draw_all(w);
            if (status == KN_OK)
                status = put_in_place(w);
            else
                remove_temporary(w);
        }
    }
    kn_text_free(&w->jpeg);
    kn_free(ctx, w);
    return status;
}
