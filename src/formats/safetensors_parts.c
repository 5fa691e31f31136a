/* safetensors_parts.c - see safetensors_parts.h. */
#include "formats/safetensors_parts.h"

#include "core/ctx.h"
#include "core/utf8.h"

#include <string.h>

static const struct {
    kn_dtype dtype;
    const char *code;
} codes[] = {{KN_F32, "F32"}, {KN_BF16, "BF16"}, {KN_U8, "U8"},
             {KN_I32, "I32"}, {KN_I64, "I64"},   {KN_F16, "F16"}};

const char *kn_st_dtype_code(kn_dtype dtype) {
    for (size_t i = 0; i < KN_COUNT(codes); i++)
        if (codes[i].dtype == dtype)
            return codes[i].code;
    return NULL;
}

bool kn_st_dtype_from_code(const char *code, kn_dtype *dtype) {
    for (size_t i = 0; i < KN_COUNT(codes); i++)
        if (strcmp(codes[i].code, code) == 0) {
            *dtype = codes[i].dtype;
            return true;
        }
    return false;
}

const char *kn_st_quote(const char *name, char text[KN_ST_QUOTED]) {
    size_t left = strlen(name), used = 0;
    text[used++] = '"';
    while (left > 0) {
        size_t length = kn_utf8_length(name, left);
        if (used + length + sizeof "...\"" > KN_ST_QUOTED)
            break;
        bool control = (unsigned char)*name < 0x20 || *name == 0x7F;
        if (length == 0 || control) {
            text[used++] = '?';
            length = 1;
        } else {
            memcpy(text + used, name, length);
            used += length;
        }
        name += length;
        left -= length;
    }
    strcpy(text + used, left > 0 ? "...\"" : "\"");
    return text;
}
