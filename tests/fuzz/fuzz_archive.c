/* fuzz_archive.c - the archive of a data set, which comes from the net. Whatever it holds: nothing
 * is made outside the folder, nothing but files and folders in it, and no more than the limits.
 *
 * Input: an odd first byte: the rest is the archive. Else entries, packed into a sound tar, so that
 * what is behind its checksums is reached: kind, length of the path, path, size (two bytes: of what
 * is there), and what is said of the size. */
#include "folder.h"
#include "target.h"

#include "download/unpack.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = 512, MOST_BYTES = 1 << 16, MOST_FILES = 12, FILE_BYTES = 4096, ALL_BYTES = 20000 };

static char inner[160]; /* the folder that is unpacked into; beside it lies fuzz_file */

/* ---- a tar ---- */

static unsigned char tar[MOST_BYTES];
static size_t length;

/* The header of an entry as POSIX.1-1988 (ustar) has it. */
static void put_header(unsigned char kind, const uint8_t *path, size_t bytes, unsigned long size) {
    unsigned char *h = tar + length;
    unsigned sum = 0;
    memset(h, 0, BLOCK);
    memcpy(h, path, bytes < 100 ? bytes : 100);
    snprintf((char *)h + 100, 8, "0000644");
    snprintf((char *)h + 124, 12, "%011lo", size & 0777777777);
    snprintf((char *)h + 136, 12, "%011o", 0U);
    h[156] = kind;
    memcpy(h + 157, path, bytes < 100 ? bytes : 100); /* where a link leads */
    memcpy(h + 257, "ustar\00000", 8);
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
    length += BLOCK;
}

static void pack(const uint8_t *data, size_t size) {
    static const unsigned char kinds[] = {'0', '0', '0', '5', '2', '1', '3',
                                          '4', '6', 'L', 'K', 'x', 'S', '7'};
    length = 0;
    for (size_t at = 0; at + 5 <= size;) {
        unsigned char kind = kinds[data[at] % sizeof kinds];
        size_t bytes = data[at + 1] % 120;
        if (at + 5 + bytes > size)
            break;
        const uint8_t *path = data + at + 2;
        size_t there = (path[bytes] | (size_t)path[bytes + 1] << 8) % 6000;
        uint8_t lie = path[bytes + 2];
        size_t padded = (there + BLOCK - 1) / BLOCK * BLOCK;
        if (length + BLOCK + padded + (size_t)2 * BLOCK > sizeof tar)
            break;
        put_header(kind, path, bytes, lie < 200 ? there : there << (lie % 16));
        memset(tar + length, 'x', padded);
        memcpy(tar + length, path, bytes < padded ? bytes : padded); /* a long name, say */
        length += padded;
        at += 5 + bytes;
    }
    memset(tar + length, 0, (size_t)2 * BLOCK);
    length += (size_t)2 * BLOCK;
}

/* ---- what became of it ---- */

static int64_t found_files, found_bytes;

static int look(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)where;
    if (kind != FTW_F && kind != FTW_DP)
        abort(); /* a link, a device, a FIFO */
    if (kind == FTW_F && (!S_ISREG(st->st_mode) || st->st_size > FILE_BYTES))
        abort();
    found_files += kind == FTW_F;
    found_bytes += kind == FTW_F ? (int64_t)st->st_size : 0;
    if (remove(path) != 0)
        abort();
    return 0;
}

/* Beside the archive and the folder, which is gone again, nothing was made. */
static void expect_alone(void) {
    DIR *list = opendir(fuzz_folder);
    if (list == NULL)
        exit(1);
    for (struct dirent *e; (e = readdir(list)) != NULL;)
        if (e->d_name[0] != '.' && strcmp(e->d_name, "archive") != 0)
            abort();
    closedir(list);
}

static void put_archive(const uint8_t *data, size_t size) {
    int fd = open(fuzz_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0)
        exit(1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    fuzz_in_folder("archive");
    snprintf(inner, sizeof inner, "%s/in", fuzz_folder);
    if (data[0] % 2 == 1)
        put_archive(data + 1, size - 1);
    else {
        pack(data + 1, size - 1);
        put_archive(tar, length);
    }
    kn_error error = {0};
    int64_t files = 0;
    int fd = open(fuzz_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || mkdir(inner, 0700) != 0)
        exit(1);
    unpack_limits limits = {.files = MOST_FILES, .bytes = ALL_BYTES, .file_bytes = FILE_BYTES};
    kn_status status = unpack(fd, "fuzz", inner, limits, &files, &error);
    close(fd);
    found_files = found_bytes = 0;
    if (nftw(inner, look, 16, FTW_DEPTH | FTW_PHYS) != 0)
        abort();
    if (found_files > MOST_FILES || found_bytes > ALL_BYTES)
        abort();
    if ((status == KN_OK) != (error.status == KN_OK) || (status == KN_OK && found_files != files))
        abort();
    expect_alone();
    return 0;
}
