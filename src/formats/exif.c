/* exif.c - see exif.h. A picture whose EXIF block is damaged is still a good picture, so nothing
 * here fails: what cannot be read is absent. (Pillow agrees, except that it raises on a wrong TIFF
 * header.) */
#include "formats/exif.h"

#include <stdbool.h>
#include <string.h>

enum { ORIENTATION = 0x0112, ENTRY_BYTES = 12 };

typedef struct tiff {
    const uint8_t *data;
    size_t size;
    bool big; /* the byte order */
} tiff;

/* Both require at + 2 (or 4) <= size, which the callers check. */
static uint32_t get16(const tiff *t, size_t at) {
    const uint8_t *p = t->data + at;
    return t->big ? (uint32_t)(p[0] << 8 | p[1]) : (uint32_t)(p[1] << 8 | p[0]);
}

static uint32_t get32(const tiff *t, size_t at) {
    return t->big ? get16(t, at) << 16 | get16(t, at + 2) : get16(t, at + 2) << 16 | get16(t, at);
}

static bool holds(const tiff *t, size_t at, size_t bytes) {
    return at <= t->size && bytes <= t->size - at;
}

/* The first value of the entry at that place, or 0. The standard says one SHORT; writers use every
 * integer type, and counts above one. */
static int entry_value(const tiff *t, size_t at) {
    uint32_t type = get16(t, at + 2), count = get32(t, at + 4);
    size_t unit = type == 3 || type == 8 ? 2 : type == 4 || type == 9 ? 4 : 0;
    if (unit == 0 || count == 0)
        return 0;
    size_t place = at + 8;
    if (count > 4 / unit) {
        place = get32(t, at + 8);
        if (count > t->size / unit || !holds(t, place, count * unit))
            return 0;
    }
    uint32_t value = unit == 2 ? get16(t, place) : get32(t, place);
    return value >= 1 && value <= 8 ? (int)value : 1;
}

int kn_exif_orientation(const uint8_t *data, size_t size) {
    static const char prefix[6] = "Exif\0";
    while (size >= sizeof prefix && memcmp(data, prefix, sizeof prefix) == 0) {
        data += sizeof prefix;
        size -= sizeof prefix;
    }
    tiff t = {data, size, false};
    if (size < 8 || data[0] != data[1] || (data[0] != 'I' && data[0] != 'M'))
        return 0;
    t.big = data[0] == 'M';
    /* 42 in the wrong order is a known writer's mistake, and harmless. */
    if (get16(&t, 2) != 42 && get16(&t, 2) != 42 << 8)
        return 0;
    size_t directory = get32(&t, 4);
    if (!holds(&t, directory, 2))
        return 0;
    size_t entries = get16(&t, directory), at = directory + 2;
    for (; entries > 0 && holds(&t, at, ENTRY_BYTES); entries--, at += ENTRY_BYTES) {
        int value = get16(&t, at) == ORIENTATION ? entry_value(&t, at) : 0;
        if (value != 0)
            return value;
    }
    return 0;
}

int kn_xmp_orientation(const char *text, size_t size) {
    static const char name[] = "tiff:Orientation";
    const size_t length = sizeof name - 1;
    for (size_t i = 0; size >= length && i <= size - length; i++) {
        if (text[i] != 't' || memcmp(text + i, name, length) != 0)
            continue;
        const char *p = text + i + length;
        size_t left = size - i - length, skip = 0;
        if (left >= 2 && p[0] == '>')
            skip = 1;
        else if (left >= 3 && p[0] == '=' && p[1] == '"')
            skip = 2;
        if (skip > 0 && p[skip] >= '0' && p[skip] <= '9')
            return p[skip] >= '1' && p[skip] <= '8' ? p[skip] - '0' : 1;
    }
    return 0;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t kn_exif_unhex(char *text, size_t size) {
    size_t at = 0, bytes = 0;
    for (int lines = 0; lines < 3 && at < size; at++) /* an empty one, "exif", the length */
        lines += text[at] == '\n';
    int high = -1;
    for (; at < size; at++) {
        int digit = hex_digit(text[at]);
        if (text[at] == '\n' || text[at] == ' ')
            continue;
        if (digit < 0)
            return 0;
        if (high < 0) {
            high = digit;
        } else {
            text[bytes++] = (char)(high << 4 | digit);
            high = -1;
        }
    }
    return high < 0 ? bytes : 0;
}
