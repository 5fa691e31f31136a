/* upright.c - see upright.h. All eight cases are one walk: a first pixel, a step to the right and a
 * step down in the stored picture. */
#include "formats/upright.h"

#include <stdbool.h>
#include <stddef.h>

enum { TILE = 32 }; /* a walk down columns then stays within the cache */

static void copy_tile(const uint8_t *from, ptrdiff_t right, ptrdiff_t down, uint8_t *out, int out_w,
                      int tile_h, int tile_w) {
    for (int y = 0; y < tile_h; y++) {
        const uint8_t *p = from + y * down;
        uint8_t *q = out + (ptrdiff_t)y * out_w * 3;
        for (int x = 0; x < tile_w; x++, p += right, q += 3) {
            q[0] = p[0];
            q[1] = p[1];
            q[2] = p[2];
        }
    }
}

void kn_upright(const uint8_t *pixels, int h, int w, int orientation, uint8_t *out) {
    const ptrdiff_t px = 3, row = (ptrdiff_t)w * 3;
    bool turns = KN_TURNS(orientation);
    /* Where the upright picture's rows and columns run backwards in the stored one. */
    bool right_edge = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool bottom_edge = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    ptrdiff_t along = right_edge ? -px : px, across = bottom_edge ? -row : row;
    const uint8_t *first = pixels + (right_edge ? row - px : 0) + (bottom_edge ? (h - 1) * row : 0);
    ptrdiff_t right = turns ? across : along, down = turns ? along : across;
    int out_h = turns ? w : h, out_w = turns ? h : w;
    for (int y = 0; y < out_h; y += TILE)
        for (int x = 0; x < out_w; x += TILE)
            copy_tile(first + y * down + x * right, right, down,
                      out + ((ptrdiff_t)y * out_w + x) * 3, out_w,
                      out_h - y < TILE ? out_h - y : TILE, out_w - x < TILE ? out_w - x : TILE);
}
