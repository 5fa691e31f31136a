/* defined.c - linked into tests that valgrind runs. libcrypto's assembly moves the stack pointer in
 * a way that memcheck takes for memory never written, so every checksum would seem undefined, and
 * so whatever holds one. That the checksums are right is what tests of them show; here memcheck is
 * told that they are defined, which keeps it from hiding anything else, as a suppression of what
 * follows would. */
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <valgrind/memcheck.h>

#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

int EVP_DigestFinal_ex(EVP_MD_CTX *ctx, unsigned char *md, unsigned int *size) {
    unsigned int length = 0;
    int good = NEXT(EVP_DigestFinal_ex)(ctx, md, &length);
    if (size != NULL)
        *size = length;
    (void)VALGRIND_MAKE_MEM_DEFINED(md, length);
    return good;
}

unsigned char *SHA256(const unsigned char *data, size_t size, unsigned char *md) {
    unsigned char *out = NEXT(SHA256)(data, size, md);
    if (out != NULL)
        (void)VALGRIND_MAKE_MEM_DEFINED(out, SHA256_DIGEST_LENGTH);
    return out;
}
