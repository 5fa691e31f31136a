/* pictures.h - what the tests of pictures share: files in memory, the made pictures, a hash. */
#ifndef KN_TEST_PICTURES_H
#define KN_TEST_PICTURES_H

#include <kiln/image.h>

#include "support/check.h"

#include <stdio.h>

enum { PICTURE_MAX = 1 << 16, PICTURE_GOLDENS = 8, PICTURE_HEX = 65 };

/* A made picture: tests/data/images/NAME and its line of golden.txt. */
typedef struct made_picture {
    char name[64], path[4096], form[16];
    int bits, orientation;
    struct {
        int w, h;
        char sha[PICTURE_HEX];
    } want[PICTURE_GOLDENS]; /* the first: the upright picture, then resized ones */
    int wants;
} made_picture;

/* Reads the next line of golden.txt; false at its end. *list is opened when NULL, closed at the
 * end. */
bool made_next(FILE **list, made_picture *out);

/* The whole file of that made picture; room for PICTURE_MAX bytes. */
size_t made_load(const char *name, unsigned char *data);

void picture_sha(const uint8_t *pixels, int h, int w, char hex[PICTURE_HEX]);

/* A path below the folder for temporary files, new in each process; removed by the caller. */
void temporary_path(char *out, size_t size, const char *name);

/* Writes a file, failing the test when it cannot. */
void put_file(const char *path, const void *data, size_t size);

#endif
