/* picture.h - a picture while it is read: between the part that knows no codec (picture.c) and the
 * one file that knows them all (image.c). */
#ifndef KN_FORMATS_PICTURE_H
#define KN_FORMATS_PICTURE_H

#include "core/text.h"

#include <kiln/image.h>

typedef struct kn_picture {
    kn_image_reader *reader;
    const char *name; /* starts every message */
    const uint8_t *data;
    size_t size;
    size_t limit; /* bytes that file, pixels and codec may take together */
    kn_error *error;
    /* What a decoder fills: */
    kn_image image; /* as stored; pixels and orientation are set by picture.c */
    uint8_t *pixels;
    int exif, xmp; /* orientations found; 0 when none */
} kn_picture;

size_t kn_reader_limit(const kn_image_reader *r);

/* kn_scratch_get with the reader's allocator, recording nothing. */
void *kn_reader_room(const kn_image_reader *r, kn_scratch *s, size_t bytes);

/* KN_ERR_LIMIT when so many copies of the pixels and the codec's extra bytes exceed the limit.
 * Asked before anything of that size is allocated. */
kn_status kn_picture_fits(const kn_picture *p, unsigned copies, uint64_t extra);

/* Room for the decoded pixels, image.width and height being known; NULL after recording why not. */
uint8_t *kn_picture_room(const kn_picture *p, kn_scratch *s);

/* Decode to RGB in p->pixels. */
kn_status kn_decode_jpeg(kn_picture *p);
kn_status kn_decode_png(kn_picture *p);

/* Appends the JPEG of u8 [h,w,3] to out; name starts every message. */
kn_status kn_encode_jpeg(const char *name, const uint8_t *pixels, int h, int w, int quality,
                         kn_text *out, kn_error *error);

#endif
