/* utf8.h - is it UTF-8? Paths and names may hold any byte; JSON and SVG may not. */
#ifndef KN_CORE_UTF8_H
#define KN_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at s (1 to 4), looking at no more than left bytes; 0 when they do not
 * start with one: a stray or missing continuation, an overlong form, a surrogate, above U+10FFFF.
 */
size_t kn_utf8_length(const char *s, size_t left);

/* Bytes of the control character at s, of C0, DEL, or C1 in UTF-8: 1 or 2; 0: it is none. */
size_t kn_utf8_control(const char *s);

bool kn_utf8_valid(const char *s, size_t bytes);

#endif
