/* image.h - pictures as bytes: reading JPEG and PNG, resizing, writing JPEG.
 *
 * No context: these run on loader threads. All pictures are upright RGB, u8 [H,W,3]. */
#ifndef KILN_IMAGE_H
#define KILN_IMAGE_H

#include <kiln/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kn_image_form {
    KN_FORM_RGB,
    KN_FORM_GREY,
    KN_FORM_CMYK,
    KN_FORM_PALETTE,
    KN_FORM_RGBA,
    KN_FORM_GREY_ALPHA
} kn_image_form; /* as stored in the file */

KN_API const char *kn_image_form_name(kn_image_form form); /* "RGB", "grey", ... */

/* A growable buffer from an allocator; zero-initialise with the allocator set. Reused between
 * pictures, so that a warm reader allocates nothing of its own. */
typedef struct kn_scratch {
    const kn_allocator *allocator; /* NULL: aligned_alloc and free */
    void *data;
    size_t capacity;
} kn_scratch;

/* At least bytes of room, contents lost; NULL and *error on lack of memory. */
KN_API void *kn_scratch_get(kn_scratch *s, size_t bytes, kn_error *error);
KN_API void kn_scratch_free(kn_scratch *s);

typedef struct kn_image {
    int height, width;     /* upright */
    const uint8_t *pixels; /* [H,W,3], inside the reader; valid until its next call */
    kn_image_form form;
    int bits;        /* a channel in the file: 1 to 16 */
    int orientation; /* the EXIF value, 1 to 8, that was undone; 1 when there was none */
} kn_image;

/* Buffers of one thread's reading. Zero-initialise; set allocator and limits or leave them. */
typedef struct kn_image_reader {
    const kn_allocator *allocator;
    size_t max_memory; /* bytes one picture may take while decoded; 0: 512 MiB */
    /* 0: pixels as they are. Else a JPEG may be decoded at a half, a quarter or an eighth of its
     * size, as long as its shorter side keeps so many pixels: faster, and not the exact bytes. The
     * image then has the smaller size. */
    int least_side;
    kn_scratch file, pixels, upright, resize, augment;
} kn_image_reader;

KN_API void kn_image_reader_free(kn_image_reader *r);

/* The versions of the libraries that decode: "libjpeg 2.1.5, libpng 1.6.39". */
KN_API const char *kn_image_codecs(void);

/* Reads and decodes a JPEG or PNG, told apart by its first bytes. The bytes equal Pillow's
 * exif_transpose(open(path)).convert("RGB"); 16-bit grey is v >> 8. Damaged, truncated or foreign
 * files are KN_ERR_DATA, and so is what is no file (a folder, a pipe, a link to nothing) or must
 * not be read; files that cannot be opened or read for another reason KN_ERR_IO, over max_memory
 * KN_ERR_LIMIT; the message names the path. */
KN_API kn_status kn_image_read(kn_image_reader *r, const char *path, kn_image *out,
                               kn_error *error);

/* The same from memory; name stands for the path in messages. */
KN_API kn_status kn_image_decode(kn_image_reader *r, const void *data, size_t size,
                                 const char *name, kn_image *out, kn_error *error);

/* Resizes [h,w,3] to [out_h,out_w,3] into out, without keeping the aspect: bytes equal Pillow 13's
 * resize((out_w, out_h), BICUBIC) (antialiased, a = -0.5, fixed point, rounded between the passes).
 * Where the height shrinks by more than twice what the width does, Pillow 12 and before differ. */
KN_API kn_status kn_image_resize(kn_image_reader *r, const uint8_t *pixels, int h, int w,
                                 uint8_t *out, int out_h, int out_w, kn_error *error);

/* A part of a picture in pixels, from the left and the upper edge. */
typedef struct kn_box {
    float left, top, right, bottom;
} kn_box;

/* The same of the part inside box: bytes equal Pillow 13's resize(size, BICUBIC, box=box), in which
 * pixels beside the box have a weight too, so that its border is no edge. KN_ERR_ARG when the box
 * is empty or reaches beyond the picture. */
KN_API kn_status kn_image_resize_box(kn_image_reader *r, const uint8_t *pixels, int h, int w,
                                     kn_box box, uint8_t *out, int out_h, int out_w,
                                     kn_error *error);

/* How a picture of another aspect becomes a given size. */
typedef enum kn_resize_method {
    KN_RESIZE_SQUASH, /* all of it, without keeping the aspect: kn_image_resize */
    KN_RESIZE_CROP,   /* the largest part of the aspect, from the middle: ImageOps.fit */
    KN_RESIZE_PAD     /* all of it, keeping the aspect, black around it: ImageOps.pad */
} kn_resize_method;

KN_API const char *kn_resize_name(kn_resize_method method); /* "squash"; NULL past the last */

/* False when no method has that name. */
KN_API bool kn_resize_find(const char *name, kn_resize_method *method);

/* Makes [h,w,3] to [out_h,out_w,3] by that method. Bytes equal Pillow 13's resize, ImageOps.fit and
 * ImageOps.pad with BICUBIC: crop takes the box with its corner at half of what is left over, which
 * may be half a pixel; pad resizes to sides rounded to even and puts them at an offset rounded to
 * even. A side that Pillow would round to 0 is 1 here. */
KN_API kn_status kn_image_fit(kn_image_reader *r, const uint8_t *pixels, int h, int w,
                              kn_resize_method method, uint8_t *out, int out_h, int out_w,
                              kn_error *error);

/* Writes RGB pixels as a baseline JPEG, quality 1 to 100. Through a temporary name: an existing
 * file is replaced whole or not at all. */
KN_API kn_status kn_image_write_jpeg(const char *path, const uint8_t *pixels, int h, int w,
                                     int quality, kn_error *error);

#ifdef __cplusplus
}
#endif
#endif
