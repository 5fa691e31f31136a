/* json_text.c - see json_text.h. */
#include "core/json_text.h"

#include "core/utf8.h"

#include <string.h>

/* The two-character form, or 0. */
static char short_escape(char c) {
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *at = c != '\0' ? strchr(plain, c) : NULL;
    return at != NULL ? letter[at - plain] : '\0';
}

void kn_text_json_string(kn_text *t, const char *s) {
    if (s == NULL) {
        kn_text_append(t, "null", 4);
        return;
    }
    kn_text_append(t, "\"", 1);
    for (size_t left = strlen(s); left > 0;) {
        unsigned char c = (unsigned char)*s;
        size_t length = kn_utf8_length(s, left);
        if (length == 0) {
            kn_text_printf(t, "\\\\x%02X", c);
            length = 1;
        } else if (short_escape(*s) != '\0')
            kn_text_printf(t, "\\%c", short_escape(*s));
        else if (c < 0x20 || c == 0x7F)
            kn_text_printf(t, "\\u%04X", c);
        else
            kn_text_append(t, s, length);
        s += length;
        left -= length;
    }
    kn_text_append(t, "\"", 1);
}
