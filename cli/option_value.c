/* option_value.c - from an option's text to its value, or to a message that names option, value and
 * what is expected. */
#include "args.h"

#include <kiln/layers.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists such as "a|b" ---- */

/* Whether text is an item of list; an item that ends in a colon stands for all that begin so. */
/* An item "cuda:N" is any of "cuda:0" to "cuda:999". */
static bool in_list(const char *list, const char *text) {
    size_t n = strlen(text);
    for (const char *item = list; item != NULL; item = strchr(item, '|')) {
        item += *item == '|';
        size_t length = strcspn(item, "|");
        bool numbered = length > 2 && item[length - 2] == ':' && item[length - 1] == 'N';
        if (numbered && n >= length && n < length + 3 && strncmp(item, text, length - 1) == 0 &&
            strspn(text + length - 1, "0123456789") == n - length + 1)
            return true;
        if (strncmp(item, text, length) == 0 && length == n && !numbered)
            return true;
    }
    return false;
}

/* "a, b or c". */
static void list_text(const char *list, char *out, size_t size) {
    size_t used = 0;
    for (const char *item = list; *item != '\0';) {
        int length = (int)strcspn(item, "|");
        const char *next = item + length + (item[length] == '|');
        const char *joint = item == list ? "" : *next != '\0' ? ", " : " or ";
        int wrote = snprintf(out + used, size - used, "%s%.*s", joint, length, item);
        if (wrote < 0 || (size_t)wrote >= size - used)
            return;
        used += (size_t)wrote;
        item = next;
    }
}

static void model_list(char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; kn_model_name(i) != NULL; i++) {
        int wrote = snprintf(out + used, size - used, "%s%s", i > 0 ? "|" : "", kn_model_name(i));
        if (wrote < 0 || (size_t)wrote >= size - used)
            return;
        used += (size_t)wrote;
    }
}

/* ---- messages ---- */

static void expected(const option *o, char *out, size_t size) {
    bool automatic = o->kind == KIND_RATE || o->kind == KIND_COUNT,
         integer = o->kind == KIND_INT || o->kind == KIND_COUNT;
    const char *what = integer               ? "a whole number"
                       : o->kind == KIND_RGB ? "three numbers R,G,B, each"
                                             : "a number";
    char list[256];
    if (o->kind == KIND_CHOICE)
        list_text(o->choices, out, size);
    else if (o->kind == KIND_MODEL) {
        model_list(list, sizeof list);
        list_text(list, out, size);
    } else if (o->kind == KIND_TEXT)
        snprintf(out, size, "%s", o->value);
    else if (o->kind == KIND_SEED)
        snprintf(out, size, "a whole number from 0 to 18446744073709551615");
    else
        snprintf(out, size, "%s%s %s %.10g%s %.10g", automatic ? "auto, or " : "", what,
                 o->above_min ? "above" : "from", o->min,
                 o->below_max   ? " and below"
                 : o->above_min ? ", at most"
                                : " to",
                 o->max);
}

static kn_status refuse(const option *o, const char *text, kn_error *error) {
    char want[320] = "";
    expected(o, want, sizeof want);
    return kn_error_set(error, KN_ERR_ARG, "--%s \"%s\": expected %s", o->name, text, want);
}

/* ---- numbers: the whole text, nothing before or after, and finite ---- */

static bool in_range(const option *o, double value) {
    return (o->above_min ? value > o->min : value >= o->min) &&
           (o->below_max ? value < o->max : value <= o->max);
}

static bool whole(const char *text, const option *o, int *out) {
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || !in_range(o, (double)value))
        return false;
    *out = (int)value;
    return true;
}

static bool seed(const char *text, uint64_t *out) {
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

/* Up to the end of the text or to stop; *text then stands after it. strtod alone would also take
 * blanks, "inf", "nan" and hexadecimal. */
static bool real(const char **text, char stop, const option *o, double *out) {
    size_t length = strspn(*text, "+-.0123456789eE");
    if (length == 0 || ((*text)[length] != stop))
        return false;
    char *end;
    *out = strtod(*text, &end);
    if (end != *text + length || !isfinite(*out) || !in_range(o, *out))
        return false;
    *text = end + (stop != '\0');
    return true;
}

static bool rgb(const char *text, const option *o, double out[3]) {
    return real(&text, ',', o, &out[0]) && real(&text, ',', o, &out[1]) &&
           real(&text, '\0', o, &out[2]);
}

/* ---- all kinds ---- */

static bool known_model(const char *text) {
    for (int i = 0; kn_model_name(i) != NULL; i++)
        if (strcmp(kn_model_name(i), text) == 0)
            return true;
    return false;
}

static bool set(const option *o, const char *text, void *at) {
    bool good = true;
    switch (o->kind) {
    case KIND_FLAG:
        *(bool *)at = true;
        return true;
    case KIND_INT:
        return whole(text, o, at);
    case KIND_COUNT:
        if (strcmp(text, "auto") != 0)
            return whole(text, o, at);
        *(int *)at = 0;
        return true;
    case KIND_SEED:
        return seed(text, at);
    case KIND_REAL:
        return real(&text, '\0', o, at);
    case KIND_RATE:
        if (strcmp(text, "auto") != 0)
            return real(&text, '\0', o, at);
        *(double *)at = 0;
        return true;
    case KIND_RGB:
        return rgb(text, o, at);
    case KIND_CHOICE:
        good = *text != '\0' && in_list(o->choices, text);
        break;
    case KIND_MODEL:
        good = known_model(text);
        break;
    case KIND_TEXT:
        good = *text != '\0';
        break;
    }
    if (good)
        *(const char **)at = text;
    return good;
}

const char *option_default(const option *o, unsigned commands, const char *recipe) {
    bool has = o->commands & commands & RECIPE_COMMANDS;
    const char *value = has ? recipe_value(recipe, o->name) : NULL;
    return value != NULL ? value : o->start;
}

kn_status option_set(const option *o, const char *text, args *a, kn_error *error) {
    if (!set(o, text, (char *)a + o->at))
        return refuse(o, text, error);
    return KN_OK;
}
