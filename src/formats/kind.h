/* kind.h - what a file is, by its first bytes. A name's ending is not trusted. */
#ifndef KN_FORMATS_KIND_H
#define KN_FORMATS_KIND_H

#include <stddef.h>
#include <stdint.h>

typedef enum kn_kind { KN_KIND_JPEG, KN_KIND_PNG, KN_KIND_OTHER } kn_kind;

/* *what becomes words for a message, "is a GIF", "is empty", or NULL when nothing is known. */
kn_kind kn_kind_of(const uint8_t *data, size_t size, const char **what);

#endif
