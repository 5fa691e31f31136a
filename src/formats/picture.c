/* picture.c - reading a picture: which codec, how much memory, which way up. */
#include "formats/picture.h"

#include "core/file.h"
#include "formats/kind.h"
#include "formats/upright.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t default_memory = (size_t)512 << 20;

size_t kn_reader_limit(const kn_image_reader *r) {
    return r->max_memory != 0 ? r->max_memory : default_memory;
}

kn_status kn_picture_fits(const kn_picture *p, unsigned copies, uint64_t extra) {
    uint64_t left = p->limit, row = (uint64_t)p->image.width * 3 * copies;
    if (p->size <= left && extra <= left - p->size &&
        (uint64_t)p->image.height <= (left - p->size - extra) / row)
        return KN_OK;
    return kn_error_set(p->error, KN_ERR_LIMIT,
                        "%s: %d x %d pixels take more than the %zu bytes that one picture may "
                        "(max_image_memory)",
                        p->name, p->image.width, p->image.height, p->limit);
}

void *kn_reader_room(const kn_image_reader *r, kn_scratch *s, size_t bytes) {
    if (s->allocator == NULL)
        s->allocator = r->allocator;
    return kn_scratch_get(s, bytes, NULL);
}

uint8_t *kn_picture_room(const kn_picture *p, kn_scratch *s) {
    size_t bytes = (size_t)p->image.width * (size_t)p->image.height * 3;
    uint8_t *pixels = kn_reader_room(p->reader, s, bytes);
    if (pixels == NULL)
        kn_error_set(p->error, KN_ERR_MEMORY, "%s: out of memory: %zu bytes for its pixels",
                     p->name, bytes);
    return pixels;
}

static kn_status turn(kn_picture *p) {
    kn_image *image = &p->image;
    image->orientation = p->exif != 0 ? p->exif : p->xmp != 0 ? p->xmp : 1;
    image->pixels = p->pixels;
    if (image->orientation == 1)
        return KN_OK;
    kn_status status = kn_picture_fits(p, 2, 0);
    if (status != KN_OK)
        return status;
    uint8_t *upright = kn_picture_room(p, &p->reader->upright);
    if (upright == NULL)
        return KN_ERR_MEMORY;
    int h = image->height, w = image->width;
    kn_upright(p->pixels, h, w, image->orientation, upright);
    image->pixels = upright;
    if (KN_TURNS(image->orientation)) {
        image->height = w;
        image->width = h;
    }
    return KN_OK;
}

kn_status kn_image_decode(kn_image_reader *r, const void *data, size_t size, const char *name,
                          kn_image *out, kn_error *error) {
    *out = (kn_image){0};
    kn_picture p = {.reader = r, .name = name, .data = data, .size = size, .error = error};
    p.limit = kn_reader_limit(r);
    const char *what = NULL;
    kn_kind kind = kn_kind_of(data, size, &what);
    if (kind == KN_KIND_OTHER && what == NULL)
        return kn_error_set(error, KN_ERR_DATA, "%s: is not a JPEG or PNG", name);
    if (kind == KN_KIND_OTHER)
        return kn_error_set(error, KN_ERR_DATA, "%s: %s, not a JPEG or PNG", name, what);
    kn_status status = kind == KN_KIND_JPEG ? kn_decode_jpeg(&p) : kn_decode_png(&p);
    if (status == KN_OK)
        status = turn(&p);
    if (status == KN_OK)
        *out = p.image;
    return status;
}

static void *file_room(void *user, size_t bytes) {
    kn_image_reader *r = user;
    return kn_reader_room(r, &r->file, bytes);
}

/* Whether a file that could not be read will be no better the next time: no file, but a folder, a
 * pipe, a link to nothing, or one that must not be read. A disk's or a network's trouble, and a
 * file that went away, are nothing that the file can help. */
static bool file_at_fault(const char *path) {
    struct stat link, file;
    if (lstat(path, &link) != 0)
        return false;
    if (stat(path, &file) != 0)
        return S_ISLNK(link.st_mode) && (errno == ENOENT || errno == ELOOP);
    return !S_ISREG(file.st_mode) || (access(path, R_OK) != 0 && errno == EACCES);
}

kn_status kn_image_read(kn_image_reader *r, const char *path, kn_image *out, kn_error *error) {
    *out = (kn_image){0};
    size_t size = 0;
    kn_status status = kn_file_read(path, kn_reader_limit(r), file_room, r, &size, error);
    if (status == KN_OK)
        return kn_image_decode(r, r->file.data, size, path, out, error);
    if (status == KN_ERR_IO && file_at_fault(path)) {
        status = KN_ERR_DATA;
        if (error != NULL)
            error->status = status;
    }
    return status;
}

void kn_image_reader_free(kn_image_reader *r) {
    kn_scratch_free(&r->file);
    kn_scratch_free(&r->pixels);
    kn_scratch_free(&r->upright);
    kn_scratch_free(&r->resize);
    kn_scratch_free(&r->augment);
}
