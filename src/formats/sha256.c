/* sha256.c - see sha256.h. */
#include "formats/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

void kn_sha256_begin(kn_sha256 *h) {
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    h->failed = state == NULL || EVP_DigestInit_ex(state, EVP_sha256(), NULL) != 1;
    h->state = state;
}

void kn_sha256_add(kn_sha256 *h, const void *data, size_t bytes) {
    if (!h->failed && bytes > 0)
        h->failed = EVP_DigestUpdate(h->state, data, bytes) != 1;
}

kn_status kn_sha256_end(kn_sha256 *h, char hex[65], kn_error *error) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (!h->failed)
        h->failed = EVP_DigestFinal_ex(h->state, digest, &length) != 1 || length != 32;
    EVP_MD_CTX_free(h->state);
    h->state = NULL;
    hex[0] = '\0';
    if (h->failed)
        return kn_error_set(error, KN_ERR_MEMORY, "libcrypto could not compute a SHA-256");
    for (unsigned i = 0; i < length; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return KN_OK;
}

bool kn_sha256_is_hex(const char text[65]) {
    int digits = 0;
    while (digits < 65 && text[digits] != '\0' && strchr("0123456789abcdef", text[digits]) != NULL)
        digits++;
    return digits == 64 && text[64] == '\0';
}
