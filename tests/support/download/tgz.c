/* tgz.c - see tgz.h. */
#include "support/download/tgz.h"

#include "formats/sha256.h"
#include "support/check.h"

#include <archive.h>
#include <archive_entry.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void append(tgz *t, const void *data, size_t bytes) {
    if (t->bytes + bytes > t->room) {
        t->room = 2 * (t->bytes + bytes);
        t->data = realloc(t->data, t->room);
        assert_non_null(t->data);
    }
    memcpy(t->data + t->bytes, data, bytes);
    t->bytes += bytes;
}

static la_ssize_t on_write(struct archive *a, void *user, const void *data, size_t bytes) {
    (void)a;
    append(user, data, bytes);
    return (la_ssize_t)bytes;
}

static void sum(tgz *t) {
    kn_error error = {0};
    kn_sha256 hash;
    kn_sha256_begin(&hash);
    kn_sha256_add(&hash, t->data, t->bytes);
    assert_int_equal(kn_sha256_end(&hash, t->sha256, &error), KN_OK);
}

void tgz_begin(tgz *t) {
    *t = (tgz){.writer = archive_write_new()};
    assert_non_null(t->writer);
    assert_int_equal(archive_write_set_format_pax_restricted(t->writer), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter_gzip(t->writer), ARCHIVE_OK);
    assert_int_equal(archive_write_open2(t->writer, t, NULL, on_write, NULL, NULL), ARCHIVE_OK);
}

void tgz_end(tgz *t) {
    assert_int_equal(archive_write_close(t->writer), ARCHIVE_OK);
    archive_write_free(t->writer);
    t->writer = NULL;
    sum(t);
}

void tgz_raw(tgz *t, const void *data, size_t bytes) {
    *t = (tgz){0};
    append(t, data, bytes);
    sum(t);
}

void tgz_free(tgz *t) {
    archive_write_free(t->writer);
    free(t->data);
    *t = (tgz){0};
}

/* A new entry with setuid and all permissions, which nothing of may be taken over. */
static struct archive_entry *entry(const char *path, unsigned kind) {
    struct archive_entry *e = archive_entry_new();
    assert_non_null(e);
    archive_entry_set_pathname_utf8(e, path);
    archive_entry_copy_pathname(e, path);
    archive_entry_set_filetype(e, kind);
    archive_entry_set_perm(e, 07777);
    archive_entry_set_uid(e, 12345);
    archive_entry_set_mtime(e, 1000000000, 0);
    return e;
}

static void put(tgz *t, struct archive_entry *e) {
    if (archive_write_header(t->writer, e) < ARCHIVE_WARN)
        fail_msg("%s", archive_error_string(t->writer));
    archive_entry_free(e);
}

void tgz_file(tgz *t, const char *path, const void *data, size_t bytes) {
    struct archive_entry *e = entry(path, AE_IFREG);
    archive_entry_set_size(e, (la_int64_t)bytes);
    put(t, e);
    assert_int_equal(archive_write_data(t->writer, data, bytes), bytes);
}

void tgz_folder(tgz *t, const char *path) {
    put(t, entry(path, AE_IFDIR));
}

void tgz_zeros(tgz *t, const char *path, int64_t bytes) {
    static const char zeros[1 << 16];
    struct archive_entry *e = entry(path, AE_IFREG);
    archive_entry_set_size(e, bytes);
    put(t, e);
    while (bytes > 0) {
        size_t some = bytes < (int64_t)sizeof zeros ? (size_t)bytes : sizeof zeros;
        assert_int_equal(archive_write_data(t->writer, zeros, some), some);
        bytes -= (int64_t)some;
    }
}

void tgz_hole(tgz *t, const char *path, int64_t bytes) {
    struct archive_entry *e = entry(path, AE_IFREG);
    archive_entry_set_size(e, bytes);
    archive_entry_sparse_add_entry(e, bytes - 1, 1);
    put(t, e);
    /* The writer takes the bytes of the hole as given, and leaves them out. */
    static const char zeros[1 << 16];
    while (bytes > 0) {
        size_t some = bytes < (int64_t)sizeof zeros ? (size_t)bytes : sizeof zeros;
        assert_int_equal(archive_write_data(t->writer, zeros, some), some);
        bytes -= (int64_t)some;
    }
}

void tgz_special(tgz *t, const char *path, unsigned kind, const char *target) {
    struct archive_entry *e = entry(path, kind);
    if (kind == S_IFLNK)
        archive_entry_set_symlink(e, target);
    if (kind == S_IFCHR || kind == S_IFBLK)
        archive_entry_set_rdev(e, makedev(1, 3));
    put(t, e);
}

void tgz_hard_link(tgz *t, const char *path, const char *target) {
    struct archive_entry *e = entry(path, AE_IFREG);
    archive_entry_set_hardlink(e, target);
    put(t, e);
}
