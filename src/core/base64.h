/* base64.h - bytes as text (RFC 4648), for pictures inside SVG and HTML. */
#ifndef KN_CORE_BASE64_H
#define KN_CORE_BASE64_H

#include "core/text.h"

void kn_text_base64(kn_text *t, const void *data, size_t bytes);

#endif
