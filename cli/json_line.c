/* json_line.c - see json_line.h. */
#include "json_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A comma, unless this is the first member; then the key. */
static void begin(kn_text *t, const char *key) {
    char last = t->length > 0 ? t->data[t->length - 1] : '\n';
    if (last != '{' && last != '[' && last != '\n')
        kn_text_append(t, ",", 1);
    if (key == NULL)
        return;
    kn_text_json_string(t, key);
    kn_text_append(t, ":", 1);
}

void line_open(kn_text *t) {
    kn_text_append(t, "{", 1);
}

void line_close(kn_text *t) {
    kn_text_append(t, "}\n", 2);
}

void line_string(kn_text *t, const char *key, const char *value) {
    begin(t, key);
    kn_text_json_string(t, value);
}

void line_int(kn_text *t, const char *key, int64_t value) {
    begin(t, key);
    kn_text_printf(t, "%" PRId64, value);
}

/* Most readers of JSON keep whole numbers in 64 bits with a sign. */
void line_seed(kn_text *t, const char *key, uint64_t value) {
    const char *quote = value > INT64_MAX ? "\"" : "";
    begin(t, key);
    kn_text_printf(t, "%s%" PRIu64 "%s", quote, value, quote);
}

void line_hex(kn_text *t, const char *key, const char *value) {
    begin(t, key);
    kn_text_append(t, "\"", 1);
    for (const char *c = value; *c != '\0'; c++)
        kn_text_printf(t, "%02x", (unsigned)(unsigned char)*c);
    kn_text_append(t, "\"", 1);
}

void line_bool(kn_text *t, const char *key, bool value) {
    begin(t, key);
    kn_text_printf(t, "%s", value ? "true" : "false");
}

void line_real(kn_text *t, const char *key, double value) {
    begin(t, key);
    kn_text_number(t, value, 9);
}

void line_real_exact(kn_text *t, const char *key, double value) {
    char text[32];
    int digits = 6;
    for (; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (!(strtod(text, NULL) < value) && !(strtod(text, NULL) > value))
            break;
    }
    begin(t, key);
    kn_text_number(t, value, digits);
}

void line_array_open(kn_text *t, const char *key) {
    begin(t, key);
    kn_text_append(t, "[", 1);
}

void line_array_close(kn_text *t) {
    kn_text_append(t, "]", 1);
}

void line_object_open(kn_text *t, const char *key) {
    begin(t, key);
    kn_text_append(t, "{", 1);
}

void line_object_close(kn_text *t) {
    kn_text_append(t, "}", 1);
}
