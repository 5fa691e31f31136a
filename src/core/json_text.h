/* json_text.h - strings as JSON writes them. */
#ifndef KN_CORE_JSON_TEXT_H
#define KN_CORE_JSON_TEXT_H

#include "core/text.h"

/* Appends s in quotes. Quotes, backslashes and control characters are escaped. A byte that is not
 * UTF-8 (a path may hold any) becomes the four characters \xFF in its value, so the output is JSON
 * that every parser takes. NULL becomes null. */
void kn_text_json_string(kn_text *t, const char *s);

#endif
