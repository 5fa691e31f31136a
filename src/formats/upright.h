/* upright.h - undoing an EXIF orientation. */
#ifndef KN_FORMATS_UPRIGHT_H
#define KN_FORMATS_UPRIGHT_H

#include <stdint.h>

/* Orientations 5 to 8 swap width and height. */
#define KN_TURNS(orientation) ((orientation) >= 5)

/* Writes the upright form of pixels [h,w,3] to out, of the same size in bytes; 1 to 8. */
void kn_upright(const uint8_t *pixels, int h, int w, int orientation, uint8_t *out);

#endif
