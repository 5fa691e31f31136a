/* json_line.h - one JSON object on one line, member by member. (json_ itself is jansson's prefix.)
 */
#ifndef KILN_CLI_JSON_LINE_H
#define KILN_CLI_JSON_LINE_H

#include "core/json_text.h"

/* Between line_open and line_close; a key of NULL is an array's element. */
void line_open(kn_text *t);
void line_close(kn_text *t); /* with the newline */
void line_string(kn_text *t, const char *key, const char *value);
void line_int(kn_text *t, const char *key, int64_t value);
void line_seed(kn_text *t, const char *key, uint64_t value);   /* in quotes above 2^63 - 1 */
void line_hex(kn_text *t, const char *key, const char *value); /* its bytes as hex digits */
void line_bool(kn_text *t, const char *key, bool value);
void line_real(kn_text *t, const char *key, double value); /* 9 digits; NaN is null */
/* The fewest digits that bring the very same double back. */
void line_real_exact(kn_text *t, const char *key, double value);
void line_array_open(kn_text *t, const char *key);
void line_array_close(kn_text *t);
void line_object_open(kn_text *t, const char *key);
void line_object_close(kn_text *t);

#endif
