/* utf8.c - see utf8.h. The ranges are those of the Unicode standard's table 3-7. */
#include "core/utf8.h"

static bool within(unsigned char c, unsigned char low, unsigned char high) {
    return c >= low && c <= high;
}

size_t kn_utf8_length(const char *s, size_t left) {
    const unsigned char *c = (const unsigned char *)s;
    if (left == 0)
        return 0;
    if (c[0] < 0x80)
        return 1;
    size_t length = within(c[0], 0xC2, 0xDF)   ? 2
                    : within(c[0], 0xE0, 0xEF) ? 3
                    : within(c[0], 0xF0, 0xF4) ? 4
                                               : 0;
    if (length == 0 || length > left)
        return 0;
    /* The second byte's range keeps out overlong forms, surrogates and what is above U+10FFFF. */
    unsigned char low = c[0] == 0xE0 ? 0xA0 : c[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = c[0] == 0xED ? 0x9F : c[0] == 0xF4 ? 0x8F : 0xBF;
    if (!within(c[1], low, high))
        return 0;
    for (size_t i = 2; i < length; i++)
        if (!within(c[i], 0x80, 0xBF))
            return 0;
    return length;
}

bool kn_utf8_valid(const char *s, size_t bytes) {
    for (size_t i = 0; i < bytes;) {
        size_t length = kn_utf8_length(s + i, bytes - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

size_t kn_utf8_control(const char *s) {
    const unsigned char *c = (const unsigned char *)s;
    if (c[0] == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0)
        return 2;
    return c[0] < 0x20 || c[0] == 0x7F ? 1 : 0;
}
