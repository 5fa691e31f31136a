/* augment_rect.c - random rectangles: the part that a crop keeps and the part that erasing fills.
 * Both are torchvision's: draw an area and an aspect up to ten times until they fit. rint rounds
 * halves to even, as Python's round does. */
#include "data/augment.h"

#include <math.h>

enum { TRIES = 10 };

static const double least_aspect = 3.0 / 4, most_aspect = 4.0 / 3; /* of a crop */

static double between(kn_rng *rng, double low, double high) {
    return low + (high - low) * (double)kn_rng_uniform(rng);
}

/* As likely twice as wide as half as wide. */
static double draw_aspect(kn_rng *rng, double low, double high) {
    return exp(between(rng, log(low), log(high)));
}

static kn_rect place(kn_rng *rng, int h, int w, int height, int width) {
    kn_rect r = {.width = width, .height = height};
    r.top = (int)kn_rng_below(rng, (uint32_t)(h - height + 1));
    r.left = (int)kn_rng_below(rng, (uint32_t)(w - width + 1));
    return r;
}

/* The largest part from the middle whose aspect is allowed. */
static kn_rect central(int h, int w) {
    kn_rect r = {.width = w, .height = h};
    double aspect = (double)w / h;
    if (aspect < least_aspect)
        r.height = (int)rint(w / least_aspect);
    else if (aspect > most_aspect)
        r.width = (int)rint(h * most_aspect);
    r.left = (w - r.width) / 2;
    r.top = (h - r.height) / 2;
    return r;
}

kn_rect kn_draw_crop(kn_rng *rng, int h, int w, double least) {
    for (int i = 0; i < TRIES; i++) {
        double area = (double)h * w * between(rng, least, 1);
        double aspect = draw_aspect(rng, least_aspect, most_aspect);
        double width = rint(sqrt(area * aspect)), height = rint(sqrt(area / aspect));
        if (width >= 1 && width <= w && height >= 1 && height <= h)
            return place(rng, h, w, (int)height, (int)width);
    }
    return central(h, w);
}

kn_rect kn_draw_erased(kn_rng *rng, int h, int w) {
    for (int i = 0; i < TRIES; i++) {
        double area = (double)h * w * between(rng, 0.02, 0.33);
        double aspect = draw_aspect(rng, 0.3, 3.3); /* here height by width */
        double height = rint(sqrt(area * aspect)), width = rint(sqrt(area / aspect));
        if (height < h && width < w)
            return place(rng, h, w, (int)height, (int)width);
    }
    return (kn_rect){0};
}
