/* kind.c - see kind.h. Formats that are not read are known by name, so that the message tells a
 * person what to convert. */
#include "formats/kind.h"

#include "core/ctx.h"

#include <kiln/image.h>

#include <string.h>

typedef struct magic {
    size_t at, length;
    const char *bytes, *what;
    kn_kind kind;
} magic;

static const magic known[] = {
    {0, 3, "\xff\xd8\xff", "is a JPEG", KN_KIND_JPEG},
    {0, 8, "\x89PNG\r\n\x1a\n", "is a PNG", KN_KIND_PNG},
    {0, 4, "GIF8", "is a GIF", KN_KIND_OTHER},
    {8, 4, "WEBP", "is a WebP", KN_KIND_OTHER},
    {0, 2, "BM", "is a BMP", KN_KIND_OTHER},
    {0, 4, "II*\0", "is a TIFF", KN_KIND_OTHER},
    {0, 4, "MM\0*", "is a TIFF", KN_KIND_OTHER},
    {4, 8, "ftypavif", "is an AVIF", KN_KIND_OTHER},
    {4, 6, "ftyphe", "is a HEIC", KN_KIND_OTHER},
    {4, 8, "ftypmif1", "is a HEIC", KN_KIND_OTHER},
    {0, 8, "\0\0\0\x0cjP  ", "is a JPEG 2000", KN_KIND_OTHER},
    {0, 8, "\0\0\0\x0cJXL ", "is a JPEG XL", KN_KIND_OTHER},
    {0, 2, "\xff\x0a", "is a JPEG XL", KN_KIND_OTHER},
    {0, 4, "8BPS", "is a PSD", KN_KIND_OTHER},
    {0, 4, "\0\0\1\0", "is an ICO", KN_KIND_OTHER},
    {0, 4, "%PDF", "is a PDF", KN_KIND_OTHER},
    {0, 4, "PK\3\4", "is a ZIP", KN_KIND_OTHER},
};

static bool is_text(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size && i < 256; i++)
        if ((data[i] < ' ' && data[i] != '\n' && data[i] != '\r' && data[i] != '\t') ||
            data[i] >= 0xf8) /* never in UTF-8 */
            return false;
    return true;
}

kn_kind kn_kind_of(const uint8_t *data, size_t size, const char **what) {
    for (size_t i = 0; i < KN_COUNT(known); i++) {
        const magic *m = &known[i];
        if (size >= m->at + m->length && memcmp(data + m->at, m->bytes, m->length) == 0) {
            *what = m->what;
            return m->kind;
        }
    }
    *what = size == 0 ? "is empty" : is_text(data, size) ? "is text" : NULL;
    return KN_KIND_OTHER;
}

const char *kn_image_form_name(kn_image_form form) {
    switch (form) {
    case KN_FORM_RGB:
        return "RGB";
    case KN_FORM_GREY:
        return "grey";
    case KN_FORM_CMYK:
        return "CMYK";
    case KN_FORM_PALETTE:
        return "palette";
    case KN_FORM_RGBA:
        return "RGBA";
    case KN_FORM_GREY_ALPHA:
        return "grey+alpha";
    }
    return "unknown";
}
