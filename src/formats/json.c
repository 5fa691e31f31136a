/* json.c - see json.h. Out of memory within a string or a name, jansson 2.14 reports a syntax error
 * (or ends the program, against which a program can set its allocator: cli/json_memory.c does), and
 * in other places nothing at all; whoever believed it would call a good file damaged. So what fails
 * is read once more. */
#include "formats/json.h"

#include <stdio.h>

kn_status kn_json_read(const char *text, size_t bytes, size_t flags, json_t **out,
                       char message[KN_JSON_MESSAGE]) {
    json_error_t why;
    *out = json_loadb(text, bytes, flags, &why);
    /* What is malformed is so again; what lacks memory fails at the first value, without a text. */
    if (*out == NULL)
        *out = json_loadb(text, bytes, flags, &why);
    if (*out != NULL)
        return KN_OK;
    if (why.text[0] == '\0')
        return KN_ERR_MEMORY;
    snprintf(message, KN_JSON_MESSAGE, "%s, at byte %d", why.text, why.position);
    return KN_ERR_FORMAT;
}
