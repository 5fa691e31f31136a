/* shapes.c - the shapes data set as a folder of JPEG files: 10 classes of figures, so that
 * everything can be tried where there are no pictures. Made beside its place and renamed, with a
 * marker that says which seed and version drew it. */
#include "data/shapes.h"

#include "core/ctx.h"
#include "core/file.h"

#include <kiln/data.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Moves whenever a picture's bytes would change. */
enum { VERSION = 1, QUALITY = 90 };

static const char *const splits[] = {"train", "valid"};
static const int counts[] = {KN_SHAPES_TRAIN, KN_SHAPES_VALID};

static kn_status join(kn_error *error, char out[KN_PATH_MAX], const char *folder,
                      const char *name) {
    int length = snprintf(out, KN_PATH_MAX, "%s/%s", folder, name);
    if (length < 0 || length >= KN_PATH_MAX)
        return kn_error_set(error, KN_ERR_IO, "%.64s...: the path is too long", folder);
    return KN_OK;
}

static kn_status make_folder(kn_error *error, const char *path) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return KN_OK;
    return kn_error_set(error, KN_ERR_IO, "%s: cannot make the folder: %s", path, strerror(errno));
}

/* ---- the marker ---- */

static void marker_text(uint64_t seed, char text[64]) {
    snprintf(text, 64, "kiln shapes, version %d, seed %llu\n", VERSION, (unsigned long long)seed);
}

typedef struct marker {
    char text[64];
} marker;

static void *marker_room(void *user, size_t bytes) {
    return bytes < sizeof(marker) ? user : NULL;
}

/* Is a whole set of this seed there? */
static bool is_there(const char *folder, uint64_t seed) {
    char path[KN_PATH_MAX];
    marker found = {{0}}, wanted;
    size_t size;
    marker_text(seed, wanted.text);
    return join(NULL, path, folder, "shapes.txt") == KN_OK &&
           kn_file_read(path, sizeof found - 1, marker_room, &found, &size, NULL) == KN_OK &&
           strcmp(found.text, wanted.text) == 0;
}

/* ---- drawing ---- */

static kn_status draw_one(kn_error *error, const char *folder, uint64_t seed, uint32_t split,
                          uint32_t index) {
    uint8_t pixels[KN_SHAPES_SIZE * KN_SHAPES_SIZE * 3];
    char path[KN_PATH_MAX], name[64];
    int figure = (int)(index % KN_SHAPES_CLASSES);
    snprintf(name, sizeof name, "%s/%s/%04u.jpg", splits[split], kn_shapes_class(figure),
             (unsigned)(index / KN_SHAPES_CLASSES));
    kn_status status = join(error, path, folder, name);
    if (status != KN_OK)
        return status;
    kn_shapes_draw(seed, split, index, figure, pixels);
    return kn_image_write_jpeg(path, pixels, KN_SHAPES_SIZE, KN_SHAPES_SIZE, QUALITY, error);
}

static kn_status make_folders(kn_error *error, const char *folder) {
    char path[KN_PATH_MAX], name[64];
    kn_status status = make_folder(error, folder);
    for (size_t s = 0; s < KN_COUNT(splits) && status == KN_OK; s++) {
        status = join(error, path, folder, splits[s]);
        if (status == KN_OK)
            status = make_folder(error, path);
        for (int c = 0; c < KN_SHAPES_CLASSES && status == KN_OK; c++) {
            snprintf(name, sizeof name, "%s/%s", splits[s], kn_shapes_class(c));
            status = join(error, path, folder, name);
            if (status == KN_OK)
                status = make_folder(error, path);
        }
    }
    return status;
}

static kn_status draw_all(kn_error *error, const char *folder, uint64_t seed) {
    char path[KN_PATH_MAX];
    marker m;
    kn_status status = make_folders(error, folder);
    for (uint32_t s = 0; s < KN_COUNT(splits); s++)
        for (int i = 0; i < counts[s] && status == KN_OK; i++)
            status = draw_one(error, folder, seed, s, (uint32_t)i);
    if (status == KN_OK)
        status = join(error, path, folder, "shapes.txt");
    marker_text(seed, m.text);
    return status == KN_OK ? kn_file_write(path, m.text, strlen(m.text), error) : status;
}

/* ---- its place ---- */

/* Removes what draw_all made; errors are left: the folder's own removal shows them. */
static void remove_all(const char *folder) {
    char path[KN_PATH_MAX], name[64];
    for (size_t s = 0; s < KN_COUNT(splits); s++) {
        for (int i = 0; i < counts[s]; i++) {
            snprintf(name, sizeof name, "%s/%s/%04d.jpg", splits[s],
                     kn_shapes_class(i % KN_SHAPES_CLASSES), i / KN_SHAPES_CLASSES);
            if (join(NULL, path, folder, name) == KN_OK)
                unlink(path);
        }
        for (int c = 0; c < KN_SHAPES_CLASSES; c++) {
            snprintf(name, sizeof name, "%s/%s", splits[s], kn_shapes_class(c));
            if (join(NULL, path, folder, name) == KN_OK)
                rmdir(path);
        }
        if (join(NULL, path, folder, splits[s]) == KN_OK)
            rmdir(path);
    }
    if (join(NULL, path, folder, "shapes.txt") == KN_OK)
        unlink(path);
    rmdir(folder);
}

/* Another process may have put its own there meanwhile: as good. */
static kn_status move_there(kn_error *error, const char *temporary, const char *folder,
                            uint64_t seed) {
    if (rename(temporary, folder) == 0 || is_there(folder, seed))
        return KN_OK;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return kn_error_set(error, KN_ERR_DATA,
                            "%s: holds something else than the shapes data of seed %llu; remove it "
                            "to have them drawn",
                            folder, (unsigned long long)seed);
    return kn_error_set(error, KN_ERR_IO, "%s: cannot move the pictures there: %s", folder,
                        strerror(errno));
}

kn_status kn_shapes_write(kn_ctx *ctx, const char *folder, uint64_t seed) {
    char temporary[KN_PATH_MAX];
    if (is_there(folder, seed))
        return KN_OK;
    int length = snprintf(temporary, sizeof temporary, "%s.tmp-%ld", folder, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary)
        return kn_fail(ctx, KN_ERR_IO, "%.64s...: the path is too long", folder);
    kn_error error = {0};
    kn_status status = draw_all(&error, temporary, seed);
    if (status == KN_OK)
        status = move_there(&error, temporary, folder, seed);
    remove_all(temporary); /* nothing is left of it when it was moved */
    return status == KN_OK ? KN_OK : kn_fail_with(ctx, &error);
}
