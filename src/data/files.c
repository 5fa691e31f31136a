/* files.c - finds the pictures below a folder.
 *
 * The order of the result is what makes a run reproducible: a folder's own order differs between
 * file systems, so the paths are sorted bytewise, whatever the locale. Folders are opened relative
 * to their parent, without following links, so that a link cannot lead the scan in a circle. */
#include "data/files.h"

#include "formats/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each level of recursion holds a file descriptor open. */
enum { MAX_DEPTH = 64 };

typedef struct scan {
    kn_ctx *ctx;
    kn_files *files;
    size_t capacity;
    size_t length; /* of path */
    bool classes;  /* the folders right below are classes: one without pictures is noted */
    char path[PATH_MAX];
} scan;

static kn_status fail_errno(scan *s, const char *verb) {
    kn_status status = errno == ENOMEM ? KN_ERR_MEMORY : KN_ERR_IO;
    return kn_fail(s->ctx, status, "%s: cannot %s: %s", s->path, verb, strerror(errno));
}

static bool ends_in(const char *name, const char *const *endings, size_t count) {
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < count; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static bool is_picture(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png"};
    return ends_in(name, endings, KN_COUNT(endings));
}

/* What somebody would miss: cameras' and browsers' formats that are not read. */
static bool is_other_picture(const char *name) {
    static const char *const endings[] = {
        ".arw",  ".avif", ".bmp", ".cr2", ".cr3", ".dng",  ".gif",  ".heic",
        ".heif", ".jp2",  ".jxl", ".nef", ".tif", ".tiff", ".webp",
    };
    return ends_in(name, endings, KN_COUNT(endings));
}

/* Appends "/name" to the path. The caller puts back the length it had. */
static kn_status enter(scan *s, const char *name) {
    size_t length = strlen(name);
    if (s->length + 1 + length >= sizeof s->path)
        /* The reason first: the message is shorter than such a path. */
        return kn_fail(s->ctx, KN_ERR_LIMIT, "the path is longer than %zu bytes: %s/%s",
                       sizeof s->path - 1, s->path, name);
    s->path[s->length] = '/';
    memcpy(s->path + s->length + 1, name, length + 1);
    s->length += 1 + length;
    return KN_OK;
}

static void leave(scan *s, size_t length) {
    s->length = length;
    s->path[length] = '\0';
}

static kn_status add_file(scan *s) {
    kn_files *files = s->files;
    if (files->count == INT_MAX)
        return kn_fail(s->ctx, KN_ERR_LIMIT, "%s: is one file more than %d", s->path, INT_MAX);
    void *array = files->path;
    if (!kn_mem_grow(&s->ctx->allocator, &array, &s->capacity, (size_t)files->count + 1,
                     sizeof *files->path))
        return kn_fail(s->ctx, KN_ERR_MEMORY, "out of memory: the list of %d files",
                       files->count + 1);
    files->path = array;
    char *copy = kn_strdup(s->ctx, s->path);
    if (copy == NULL)
        return KN_ERR_MEMORY;
    files->path[files->count++] = copy;
    return KN_OK;
}

/* Keeps the first by path, whatever the folder's order. Here a path may be too long: it is counted.
 */
static kn_status note(scan *s, const char *name, int *count, char **first) {
    *count += *count < INT_MAX;
    if (s->length + 1 + strlen(name) >= sizeof s->path)
        return KN_OK;
    size_t length = s->length;
    kn_status status = enter(s, name);
    if (status == KN_OK && (*first == NULL || strcmp(s->path, *first) < 0)) {
        kn_free(s->ctx, *first);
        *first = kn_strdup(s->ctx, s->path);
        status = *first != NULL ? KN_OK : KN_ERR_MEMORY;
    }
    leave(s, length);
    return status;
}

typedef enum kind { KIND_FOLDER, KIND_FOLDER_LINK, KIND_OTHER } kind;

/* A link that leads nowhere, a pipe or a socket counts as a file: reading it will fail and say so,
 * which leaving it out silently would not. */
static kind kind_of(int folder, const struct dirent *entry) {
    struct stat st;
    if (entry->d_type == DT_DIR)
        return KIND_FOLDER;
    if (entry->d_type == DT_REG)
        return KIND_OTHER;
    if (fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return KIND_OTHER;
    if (S_ISDIR(st.st_mode))
        return KIND_FOLDER;
    if (S_ISLNK(st.st_mode) && fstatat(folder, entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return KIND_FOLDER_LINK;
    return KIND_OTHER;
}

static kn_status scan_folder(scan *s, int fd, int depth);

static kn_status scan_entry(scan *s, int folder, const struct dirent *entry, int depth) {
    const char *name = entry->d_name;
    if (name[0] == '.') /* hidden, .ipynb_checkpoints, and the folder itself */
        return KN_OK;
    kind what = kind_of(folder, entry);
    kn_files *files = s->files;
    if (what == KIND_FOLDER_LINK)
        return note(s, name, &files->folder_links, &files->folder_link);
    if (what == KIND_OTHER && is_other_picture(name))
        return note(s, name, &files->other_pictures, &files->other_picture);
    if (what == KIND_OTHER && !is_picture(name))
        return KN_OK;
    bool empty = false;
    size_t length = s->length;
    kn_status status = enter(s, name);
    if (status == KN_OK && what == KIND_OTHER)
        status = add_file(s);
    else if (status == KN_OK && depth == MAX_DEPTH)
        status =
            kn_fail(s->ctx, KN_ERR_LIMIT, "%s: is more than %d folders deep", s->path, MAX_DEPTH);
    else if (status == KN_OK) {
        int before = files->count;
        int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        status = fd < 0 ? fail_errno(s, "open the folder") : scan_folder(s, fd, depth + 1);
        empty = s->classes && depth == 1 && files->count == before;
    }
    leave(s, length);
    return status == KN_OK && empty ? note(s, name, &files->empty_folders, &files->empty_folder)
                                    : status;
}

/* Takes fd over. */
static kn_status scan_folder(scan *s, int fd, int depth) {
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        kn_status status = fail_errno(s, "open the folder");
        close(fd);
        return status;
    }
    kn_status status = KN_OK;
    while (status == KN_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL && errno != 0)
            status = fail_errno(s, "read the folder");
        if (entry == NULL)
            break;
        status = scan_entry(s, fd, entry, depth);
    }
    closedir(dir);
    return status;
}

static kn_status no_picture(scan *s, const char *path, bool others, bool links) {
    const char *why = "";
    if (others)
        why = "; pictures of other kinds are not read";
    else if (links)
        why = "; links to folders are not followed";
    return kn_fail(s->ctx, KN_ERR_DATA, "%s: holds no picture (.jpg, .jpeg or .png)%s", path, why);
}

/* The folder in s->path, which the user named and which may be a link. */
static kn_status scan_top(scan *s) {
    int before = s->files->count, links = s->files->folder_links, others = s->files->other_pictures;
    const char *path = s->length > 0 ? s->path : "/";
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return kn_fail(s->ctx, KN_ERR_DATA, "%s: there is no such folder", path);
    if (fd < 0 && errno == ENOTDIR)
        return kn_fail(s->ctx, KN_ERR_DATA, "%s: is not a folder", path);
    if (fd < 0)
        return fail_errno(s, "open the folder");
    kn_status status = scan_folder(s, fd, 1);
    if (status == KN_OK && s->files->count == before)
        status =
            no_picture(s, path, s->files->other_pictures > others, s->files->folder_links > links);
    return status;
}

/* Strips the slashes a shell's completion leaves at the end; "/" becomes "", to which "/name" is
 * joined like to any other root. */
static kn_status begin(scan *s, kn_ctx *ctx, const char *root, kn_files *out) {
    size_t length = strlen(root);
    *out = (kn_files){0};
    s->ctx = ctx;
    s->files = out;
    s->capacity = 0;
    leave(s, 0);
    if (length == 0)
        return kn_fail(ctx, KN_ERR_DATA, "the folder's name is empty");
    while (length > 0 && root[length - 1] == '/')
        length--;
    if (length >= sizeof s->path)
        return kn_fail(ctx, KN_ERR_LIMIT, "%.100s...: the path is longer than %zu bytes", root,
                       sizeof s->path - 1);
    memcpy(s->path, root, length);
    leave(s, length);
    out->root_length = length;
    return KN_OK;
}

static int by_path(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(kn_files *files) {
    if (files->count > 1)
        qsort(files->path, (size_t)files->count, sizeof *files->path, by_path);
}

kn_status kn_files_scan(kn_ctx *ctx, const char *root, kn_files *out) {
    scan s;
    kn_status status = begin(&s, ctx, root, out);
    s.classes = true;
    if (status == KN_OK)
        status = scan_top(&s);
    sort(out);
    return status;
}

kn_status kn_files_scan_folders(kn_ctx *ctx, const char *root, const char *const *folders,
                                int count, kn_files *out) {
    scan s;
    kn_status status = begin(&s, ctx, root, out);
    size_t length = s.length;
    for (int i = 0; i < count && status == KN_OK; i++) {
        s.classes = i + 1 == count;
        status = enter(&s, folders[i]);
        if (status == KN_OK)
            status = scan_top(&s);
        leave(&s, length);
    }
    sort(out);
    return status;
}

/* The NUL behind each path keeps it apart from the size. */
kn_status kn_files_sha256(kn_ctx *ctx, const kn_files *files, char hex[65]) {
    kn_sha256 sum;
    kn_error error = {0};
    kn_sha256_begin(&sum);
    for (int i = 0; i < files->count; i++) {
        const char *relative = files->path[i] + files->root_length + 1;
        char size[24];
        struct stat st;
        intmax_t bytes = stat(files->path[i], &st) == 0 ? (intmax_t)st.st_size : -1;
        kn_sha256_add(&sum, relative, strlen(relative) + 1);
        kn_sha256_add(&sum, size, (size_t)snprintf(size, sizeof size, "%jd\n", bytes));
    }
    kn_sha256_end(&sum, hex, &error);
    return kn_fail_with(ctx, &error);
}

void kn_files_free(kn_ctx *ctx, kn_files *files) {
    for (int i = 0; i < files->count; i++)
        kn_free(ctx, files->path[i]);
    kn_free(ctx, files->path);
    kn_free(ctx, files->other_picture);
    kn_free(ctx, files->folder_link);
    kn_free(ctx, files->empty_folder);
    *files = (kn_files){0};
}
