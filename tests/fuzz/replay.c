/* replay.c - runs a fuzz target without a fuzzer: on each file of its corpus, and on so many
 * variants of each, the same every time: cut, with bits flipped, bytes moved, pieces of others in
 * it.
 *
 *   fuzz_NAME VARIANTS FILE... */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FILES = 512, MOST_BYTES = 1 << 20 };

typedef struct piece {
    uint8_t *data;
    size_t size;
} piece;

static uint64_t state = 0x9e3779b97f4a7c15U;

/* xorshift64 (Marsaglia, 2003). */
static size_t below(size_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n > 0 ? (size_t)(state % n) : 0;
}

static piece load(const char *path) {
    piece p = {.data = calloc(1, MOST_BYTES)};
    FILE *f = fopen(path, "rb");
    if (f == NULL || p.data == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    p.size = fread(p.data, 1, MOST_BYTES, f);
    fclose(f);
    return p;
}

static void change(uint8_t *data, size_t *size, const piece *other) {
    switch (below(5)) {
    case 0:
        *size = below(*size + 1);
        break;
    case 1:
        for (size_t i = below(8); *size > 0 && i < 8; i++)
            data[below(*size)] ^= (uint8_t)(1U << below(8));
        break;
    case 2:
        if (*size > 0)
            data[below(*size)] = (uint8_t)below(256);
        break;
    case 3: { /* a piece of another over this */
        size_t from = below(other->size), length = below(other->size - from + 1), to = below(*size);
        length = length < *size - to ? length : *size - to;
        memcpy(data + to, other->data + from, length);
        break;
    }
    default: { /* bytes left out */
        size_t at = below(*size), gone = below(*size - at + 1);
        memmove(data + at, data + at + gone, *size - at - gone);
        *size -= gone;
    }
    }
}

/* In memory of exactly its size, so that a sanitizer sees a byte too far. */
static void run(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL)
        exit(1);
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(int argc, char **argv) {
    static piece corpus[MOST_FILES];
    int count = 0;
    long variants = argc > 1 ? strtol(argv[1], NULL, 10) : 0, runs = 0;
    for (int i = 2; i < argc && count < MOST_FILES; i++)
        corpus[count++] = load(argv[i]);
    uint8_t *work = malloc(MOST_BYTES);
    if (count == 0 || work == NULL)
        return 1;
    for (int i = 0; i < count; i++) {
        run(corpus[i].data, corpus[i].size);
        for (long v = 0; v < variants; v++, runs++) {
            size_t size = corpus[i].size;
            memcpy(work, corpus[i].data, size);
            for (size_t changes = 1 + below(4); changes > 0; changes--)
                change(work, &size, &corpus[below((size_t)count)]);
            run(work, size);
        }
    }
    printf("%d files, %ld variants\n", count, runs);
    for (int i = 0; i < count; i++)
        free(corpus[i].data);
    free(work);
    return 0;
}
