/* fuzz_picture.c - the bytes of a JPEG or PNG, decoded and made 8 by 8. */
#include "target.h"

#include <kiln/image.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kn_image_reader reader = {.max_memory = 16 << 20};
    kn_image image;
    kn_error error = {0};
    uint8_t small[8 * 8 * 3];
    if (kn_image_decode(&reader, data, size, "fuzz", &image, &error) == KN_OK)
        (void)!kn_image_resize(&reader, image.pixels, image.height, image.width, small, 8, 8,
                               &error);
    kn_image_reader_free(&reader);
    return 0;
}
