/* sha256.h - SHA-256 (FIPS 180-4), from libcrypto. */
#ifndef KN_FORMATS_SHA256_H
#define KN_FORMATS_SHA256_H

#include "core/ctx.h"

typedef struct kn_sha256 {
    void *state; /* libcrypto's */
    bool failed;
} kn_sha256;

/* kn_sha256_end must follow. */
void kn_sha256_begin(kn_sha256 *h);
void kn_sha256_add(kn_sha256 *h, const void *data, size_t bytes);

/* 64 hex digits and a NUL. KN_ERR_MEMORY when libcrypto failed on the way. */
kn_status kn_sha256_end(kn_sha256 *h, char hex[65], kn_error *error);

/* Whether text is 64 hex digits, as kn_sha256_end writes them. It need not end there. */
bool kn_sha256_is_hex(const char text[65]);

#endif
