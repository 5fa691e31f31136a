/* augment_rotate.c - mirror image and rotation. A rotated picture is at most one level from
 * Pillow's rotate(degrees, BILINEAR), which truncates what is rounded here. */
#include "data/augment.h"
#include "data/rotate_row.h"

#include <math.h>

void kn_flip(uint8_t *pixels, int h, int w) {
    for (int y = 0; y < h; y++) {
        uint8_t *a = pixels + (ptrdiff_t)y * w * 3, *b = a + (ptrdiff_t)(w - 1) * 3;
        for (; a < b; a += 3, b -= 3)
            for (int c = 0; c < 3; c++) {
                uint8_t swap = a[c];
                a[c] = b[c];
                b[c] = swap;
            }
    }
}

static int64_t fixed(double x) {
    return llrint(ldexp(x, KN_TURN_POINT));
}

void kn_rotate(const uint8_t *in, int h, int w, double degrees, kn_edge edge, uint8_t *out) {
    const double radians = degrees * (3.14159265358979323846 / 180);
    const double cosine = cos(radians), sine = sin(radians);
    const kn_turn turn = {in, h, w, edge, .down = fixed(sine), .right = fixed(cosine)};
    kn_turn_row *row = kn_turn_row_best();
    for (int y = 0; y < h; y++, out += (ptrdiff_t)w * 3) {
        double dx = 0.5 - w * 0.5, dy = y + 0.5 - h * 0.5; /* of the row's first pixel */
        double from_x = cosine * dx - sine * dy + w * 0.5 - 0.5;
        double from_y = sine * dx + cosine * dy + h * 0.5 - 0.5;
        row(&turn, fixed(from_y), fixed(from_x), out);
    }
}
