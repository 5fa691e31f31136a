/* rotate_row.h - one row of a rotated picture: the loop that rotation spends its time in. */
#ifndef KN_DATA_ROTATE_ROW_H
#define KN_DATA_ROTATE_ROW_H

#include <kiln/augment.h>

enum { KN_TURN_POINT = 32 /* bits of a position after the point */ };

/* A picture u8 [h,w,3], and the way from an output pixel's position in it to the next's. */
typedef struct kn_turn {
    const uint8_t *pixels;
    int h, w;
    kn_edge edge;
    int64_t down, right;
} kn_turn;

/* Writes w pixels, the first from position (y, x); pixel i has its middle at position i. Each is
 * the bilinear mean of four pixels, rounded. */
typedef void kn_turn_row(const kn_turn *t, int64_t y, int64_t x, uint8_t *out);

kn_turn_row kn_turn_row_plain;

/* The processor's best; the same bytes. */
kn_turn_row *kn_turn_row_best(void);

#endif
