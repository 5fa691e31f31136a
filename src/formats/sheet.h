/* sheet.h - what the sheet shares with pages that show pictures too. */
#ifndef KN_FORMATS_SHEET_H
#define KN_FORMATS_SHEET_H

#include "core/text.h"

#include <kiln/image.h>
#include <kiln/sheet.h>

/* Appends u8 [h,w,3] as a data URI: a JPEG of at most 144 pixels a side. r's buffers are used. */
kn_status kn_sheet_picture(kn_text *t, kn_image_reader *r, const uint8_t *pixels, int h, int w,
                           kn_error *error);

/* The whole sheet, whose sizes are as kn_sheet_write demands. */
kn_status kn_sheet_svg(kn_text *t, const kn_sheet *sheet, kn_error *error);

#endif
