/* exif.h - which way up a camera held the picture. All functions take untrusted bytes and allocate
 * nothing. */
#ifndef KN_FORMATS_EXIF_H
#define KN_FORMATS_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* The Orientation entry of an EXIF block: a TIFF header and its first directory, with or without
 * "Exif\0\0" before it. 1 to 8; 0 when there is no such entry or the block is not readable; 1 for a
 * value that means nothing. */
int kn_exif_orientation(const uint8_t *data, size_t size);

/* The same from an XMP packet (XML), as tiff:Orientation="6" or <tiff:Orientation>6<. */
int kn_xmp_orientation(const char *text, size_t size);

/* Decodes in place the hexadecimal text ("\nexif\n  LENGTH\nHEX...") under which PNG writers kept
 * EXIF before there was an eXIf chunk. Returns the number of bytes, 0 when it is malformed. */
size_t kn_exif_unhex(char *text, size_t size);

#endif
