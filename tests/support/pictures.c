/* pictures.c - see pictures.h. */
#include "support/pictures.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER KN_TEST_DIR "/data/images/"

static FILE *open_or_fail(const char *path, const char *mode) {
    FILE *f = fopen(path, mode);
    if (f == NULL)
        fail_msg("cannot open %s", path);
    return f;
}

static bool next_size(int *w, int *h, char *sha) {
    char *size = strtok(NULL, " \n"), *hash = strtok(NULL, " \n");
    if (size == NULL)
        return false;
    assert_int_equal(sscanf(size, "%dx%d", w, h), 2);
    assert_non_null(hash);
    assert_int_equal(strlen(hash), PICTURE_HEX - 1);
    strcpy(sha, hash);
    return true;
}

bool made_next(FILE **list, made_picture *out) {
    char line[1024];
    if (*list == NULL)
        *list = open_or_fail(FOLDER "golden.txt", "r");
    if (fgets(line, sizeof line, *list) == NULL) {
        fclose(*list);
        *list = NULL;
        return false;
    }
    *out = (made_picture){0};
    const char *name = strtok(line, " "), *form = strtok(NULL, " ");
    const char *bits = strtok(NULL, " "), *orientation = strtok(NULL, " ");
    assert_non_null(orientation);
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->path, sizeof out->path, "%s%s", FOLDER, name);
    snprintf(out->form, sizeof out->form, "%s", form);
    out->bits = atoi(bits);
    out->orientation = atoi(orientation);
    while (out->wants < PICTURE_GOLDENS &&
           next_size(&out->want[out->wants].w, &out->want[out->wants].h, out->want[out->wants].sha))
        out->wants++;
    return true;
}

size_t made_load(const char *name, unsigned char *data) {
    char path[4096];
    snprintf(path, sizeof path, "%s%s", FOLDER, name);
    FILE *f = open_or_fail(path, "rb");
    size_t size = fread(data, 1, PICTURE_MAX, f);
    fclose(f);
    assert_in_range(size, 1, PICTURE_MAX - 1);
    return size;
}

void picture_sha(const uint8_t *pixels, int h, int w, char hex[PICTURE_HEX]) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(pixels, (size_t)h * (size_t)w * 3, digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(hex + i * 2, 3, "%02x", digest[i]);
}

void temporary_path(char *out, size_t size, const char *name) {
    const char *folder = getenv("TMPDIR");
    snprintf(out, size, "%s/kiln-test-%ld-%s", folder != NULL ? folder : "/tmp", (long)getpid(),
             name);
}

void put_file(const char *path, const void *data, size_t size) {
    FILE *f = open_or_fail(path, "wb");
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}
