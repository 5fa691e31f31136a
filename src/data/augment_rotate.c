/* augment_rotate.c - mirror image and rotation. Positions are fixed point, so that walking along a
 * row is an addition and every compiler gives the same bytes. Each output is the bilinear mean of
 * four pixels, rounded: at most one level from Pillow's rotate(degrees, BILINEAR), which truncates.
 */
#include "data/augment.h"

#include <math.h>

enum {
    POINT = 32,  /* bits of a position after the point */
    WEIGHT = 11, /* of which as many weigh: 255 * 2^22 fits an int */
};

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

/* The pixel of 0 to n - 1 that stands for position i. */
static int inside(int i, int n, kn_edge edge) {
    if (edge == KN_EDGE_REPEAT)
        return i < 0 ? 0 : i < n ? i : n - 1;
    i %= 2 * n;
    if (i < 0)
        i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

typedef struct source {
    const uint8_t *pixels;
    int h, w;
    kn_edge edge;
} source;

/* The colour at (y, x): pixel i covers i to i + 1, its centre lying at 0 here. */
static inline void sample(const source *s, int64_t y, int64_t x, uint8_t *out) {
    int x0 = (int)(x >> POINT), y0 = (int)(y >> POINT), x1 = x0 + 1, y1 = y0 + 1;
    int right = (int)(x >> (POINT - WEIGHT)) & ((1 << WEIGHT) - 1), left = (1 << WEIGHT) - right;
    int below = (int)(y >> (POINT - WEIGHT)) & ((1 << WEIGHT) - 1), above = (1 << WEIGHT) - below;
    if (x0 < 0 || x1 >= s->w || y0 < 0 || y1 >= s->h) {
        x0 = inside(x0, s->w, s->edge);
        x1 = inside(x1, s->w, s->edge);
        y0 = inside(y0, s->h, s->edge);
        y1 = inside(y1, s->h, s->edge);
    }
    const uint8_t *upper = s->pixels + (ptrdiff_t)y0 * s->w * 3;
    const uint8_t *lower = s->pixels + (ptrdiff_t)y1 * s->w * 3;
    for (int c = 0; c < 3; c++) {
        int a = upper[x0 * 3 + c] * left + upper[x1 * 3 + c] * right;
        int b = lower[x0 * 3 + c] * left + lower[x1 * 3 + c] * right;
        out[c] = (uint8_t)((a * above + b * below + (1 << (2 * WEIGHT - 1))) >> (2 * WEIGHT));
    }
}

static int64_t fixed(double x) {
    return llrint(ldexp(x, POINT));
}

void kn_rotate(const uint8_t *in, int h, int w, double degrees, kn_edge edge, uint8_t *out) {
    const double radians = degrees * (3.14159265358979323846 / 180);
    const double cosine = cos(radians), sine = sin(radians);
    const source s = {in, h, w, edge};
    const int64_t step_x = fixed(cosine), step_y = fixed(sine);
    for (int y = 0; y < h; y++) {
        double dx = 0.5 - w * 0.5, dy = y + 0.5 - h * 0.5; /* of the row's first pixel */
        int64_t from_x = fixed(cosine * dx - sine * dy + w * 0.5 - 0.5);
        int64_t from_y = fixed(sine * dx + cosine * dy + h * 0.5 - 0.5);
        for (int x = 0; x < w; x++, out += 3)
            sample(&s, from_y + x * step_y, from_x + x * step_x, out);
    }
}
