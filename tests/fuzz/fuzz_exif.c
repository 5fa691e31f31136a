/* fuzz_exif.c - which way up: an EXIF block, an XMP packet, and EXIF in hexadecimal. */
#include "target.h"

#include "formats/exif.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    int turned = kn_exif_orientation(data, size) + kn_xmp_orientation(text, size);
    size_t length = kn_exif_unhex(text, size);
    turned += kn_exif_orientation((const uint8_t *)text, length);
    free(text);
    return turned < 0 ? -1 : 0;
}
