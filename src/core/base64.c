/* base64.c - see base64.h. */
#include "core/base64.h"

void kn_text_base64(kn_text *t, const void *data, size_t bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = data;
    for (size_t at = 0; at < bytes; at += 3) {
        size_t left = bytes - at;
        unsigned long group = (unsigned long)in[at] << 16;
        if (left > 1)
            group |= (unsigned long)in[at + 1] << 8;
        if (left > 2)
            group |= in[at + 2];
        char out[4] = {digits[group >> 18], digits[group >> 12 & 63],
                       left > 1 ? digits[group >> 6 & 63] : '=',
                       left > 2 ? digits[group & 63] : '='};
        kn_text_append(t, out, sizeof out);
    }
}
