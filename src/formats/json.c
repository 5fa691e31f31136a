/* json.c - see json.h. Out of memory within a string or a name, jansson 2.14 reports a syntax
 * error, and in other places nothing at all; whoever believed it would call a good file damaged. */
#include "formats/json.h"

#include <stdio.h>

/* Whether the library that just failed can have some of what such a text takes. */
static bool memory_left(size_t bytes) {
    enum { MOST = 1 << 16 };
    static const char piece[] = "0123456789abcdef";
    json_t *list = json_array();
    bool left = list != NULL;
    for (size_t i = 0; i < bytes && i < MOST && left; i += sizeof piece)
        left = json_array_append_new(list, json_string(piece)) == 0;
    json_decref(list);
    return left;
}

kn_status kn_json_read(const char *text, size_t bytes, size_t flags, json_t **out,
                       char message[KN_JSON_MESSAGE]) {
    json_error_t why;
    *out = json_loadb(text, bytes, flags, &why);
    if (*out == NULL) /* what is malformed is so again; what lacked memory may have it now */
        *out = json_loadb(text, bytes, flags, &why);
    if (*out != NULL)
        return KN_OK;
    if (why.text[0] == '\0' || !memory_left(bytes))
        return KN_ERR_MEMORY;
    snprintf(message, KN_JSON_MESSAGE, "%s, at byte %d", why.text, why.position);
    return KN_ERR_FORMAT;
}
