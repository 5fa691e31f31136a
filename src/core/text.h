/* text.h - a growing string. The first failed append makes it bad for good, so that a writer checks
 * once, at its end. */
#ifndef KN_CORE_TEXT_H
#define KN_CORE_TEXT_H

#include "core/ctx.h"

typedef struct kn_text {
    const kn_allocator *allocator; /* NULL: the default */
    char *data;                    /* NUL-terminated once anything was appended */
    size_t length, capacity;
    bool failed;
} kn_text;

void kn_text_append(kn_text *t, const char *data, size_t length);
void kn_text_printf(kn_text *t, const char *format, ...) KN_PRINTF(2, 3);
void kn_text_free(kn_text *t);

/* A number as JSON and SVG write it: %.*g with a point whatever the locale; NaN and infinities as
 * "null". */
void kn_text_number(kn_text *t, double value, int digits);

#endif
