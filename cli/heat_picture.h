/* heat_picture.h - a heat map over a picture. */
#ifndef KILN_CLI_HEAT_PICTURE_H
#define KILN_CLI_HEAT_PICTURE_H

#include <stdint.h>

/* Makes u8 [h,w,3] warm where heat [map_h,map_w], from 0 to 1, is high, and grey where it is low.
 * The map covers the whole picture; between its cells it is interpolated. */
void heat_picture(uint8_t *pixels, int h, int w, const float *heat, int map_h, int map_w);

#endif
