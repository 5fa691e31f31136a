/* text.c - see text.h. */
#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool reserve(kn_text *t, size_t more) {
    void *data = t->data;
    if (t->failed || more > SIZE_MAX - t->length - 1 ||
        !kn_mem_grow(t->allocator, &data, &t->capacity, t->length + more + 1, 1)) {
        t->failed = true;
        return false;
    }
    t->data = data;
    return true;
}

void kn_text_append(kn_text *t, const char *data, size_t length) {
    if (!reserve(t, length))
        return;
    memcpy(t->data + t->length, data, length);
    t->length += length;
    t->data[t->length] = '\0';
}

void kn_text_printf(kn_text *t, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        t->failed = true;
    else if (reserve(t, (size_t)length)) {
        vsnprintf(t->data + t->length, (size_t)length + 1, format, again);
        t->length += (size_t)length;
    }
    va_end(again);
}

void kn_text_free(kn_text *t) {
    kn_mem_free(t->allocator, t->data);
    *t = (kn_text){.allocator = t->allocator};
}

void kn_text_number(kn_text *t, double value, int digits) {
    if (!isfinite(value)) {
        kn_text_append(t, "null", 4);
        return;
    }
    char number[64];
    int length = snprintf(number, sizeof number, "%.*g", digits, value);
    for (int i = 0; i < length; i++)
        if (number[i] == ',') /* a caller's locale may write a comma */
            number[i] = '.';
    kn_text_append(t, number, (size_t)length);
}
