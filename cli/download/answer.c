/* answer.c - see answer.h. */
#include "download/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LINE = 1024 };

/* The value behind the name, or NULL. */
static const char *value_of(const char *line, const char *name) {
    size_t length = strlen(name);
    if (strncasecmp(line, name, length) != 0)
        return NULL;
    return line + length + strspn(line + length, " \t");
}

/* A number of at most 18 digits; -1 when none stands there. *end is behind it. */
static int64_t number(const char *text, const char **end) {
    size_t digits = strspn(text, "0123456789");
    *end = text + digits;
    return digits > 0 && digits <= 18 ? strtoll(text, NULL, 10) : -1;
}

/* "bytes 200-999/1000", or "bytes 200-999/" and a star. */
static void read_range(answer *a, const char *text) {
    const char *at;
    if (strncasecmp(text, "bytes ", 6) != 0)
        return;
    a->start = number(text + 6, &at);
    if (*at == '-')
        number(at + 1, &at);
    if (*at == '/')
        a->total = number(at + 1, &at);
}

void answer_header(answer *a, const char *line, size_t length) {
    char text[LINE];
    const char *value;
    if (length >= sizeof text)
        return; /* none of ours is so long */
    memcpy(text, line, length);
    text[length] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (strncmp(text, "HTTP/", 5) == 0) {
        const char *blank = strchr(text, ' '), *end;
        *a = (answer){.start = -1, .total = -1};
        if (blank != NULL)
            a->code = (int)number(blank + 1, &end);
    } else if ((value = value_of(text, "ETag:")) != NULL)
        snprintf(a->etag, sizeof a->etag, "%s", value);
    else if ((value = value_of(text, "Content-Range:")) != NULL)
        read_range(a, value);
}
