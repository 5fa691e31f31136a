/* column.c - see column.h. */
#include "column.h"

#include "core/utf8.h"

#include <string.h>

int column_width(const char *s) {
    int width = 0;
    for (size_t left = strlen(s); left > 0; width++) {
        size_t length = kn_utf8_length(s, left);
        length = length > 0 ? length : 1;
        s += length;
        left -= length;
    }
    return width;
}

void column_clean(kn_text *t, const char *s) {
    for (size_t left = strlen(s); left > 0;) {
        size_t length = kn_utf8_length(s, left);
        length = length > 0 ? length : 1;
        if (kn_utf8_control(s) > 0)
            kn_text_append(t, "?", 1);
        else
            kn_text_append(t, s, length);
        s += length;
        left -= length;
    }
}

void column_text(kn_text *t, const char *s, int width) {
    column_clean(t, s);
    for (int blanks = width - column_width(s); blanks > 0; blanks--)
        kn_text_append(t, " ", 1);
}
