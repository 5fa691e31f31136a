/* json.h - JSON text into jansson's tree, with an answer that can be trusted when memory is short.
 */
#ifndef KN_FORMATS_JSON_H
#define KN_FORMATS_JSON_H

#include "core/ctx.h"

#include <jansson.h>
#include <stddef.h>

/* flags are jansson's. KN_OK: *out is the caller's, to json_decref. KN_ERR_FORMAT: text is not
 * JSON, and message says what is wrong and where. KN_ERR_MEMORY. Otherwise *out is NULL. */
enum { KN_JSON_MESSAGE = 256 };
kn_status kn_json_read(const char *text, size_t bytes, size_t flags, json_t **out,
                       char message[KN_JSON_MESSAGE]);

#endif
