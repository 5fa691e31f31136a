/* shapes_draw.c - draws one figure on a textured ground.
 *
 * Integers only (but for a rounded sine and cosine): the same bytes on every processor, whatever a
 * compiler makes of floating point. Colour, place, size, angle and texture say nothing about the
 * class, so a model has to see the outline. How far they vary was chosen by measurement: a linear
 * model on the pixels stays well below 0.6, the chapter's network learns it in a minute. */
#include "data/shapes.h"

#include "core/ctx.h"

#include <kiln/random.h>

#include <math.h>

enum {
    SIZE = KN_SHAPES_SIZE,
    UNIT = 1000,   /* no figure reaches farther from its centre, in its own coordinates */
    SUB = 8,       /* places in a picture are in eighths of a pixel */
    SAMPLES = 16,  /* a pixel's, for its coverage */
    TURN = 256,    /* angles in a full turn */
    ONE = 1 << 14, /* 1.0 of a placement's factors */
};

/* How far pictures differ. */
enum {
    RADIUS_MIN = 28, /* pixels */
    RADIUS_MAX = 35,
    TILT = TURN / 8, /* either way */
    CONTRAST = 125,  /* at least, in luma: the figure is lighter than the ground */
    BLEND = 25,      /* percent of a second colour in the ground, at most */
    PATCH_MIN = 8,   /* size of the second colour's patches, in pixels */
    PATCH_MAX = 32,
    GRAIN = 24,    /* of the ground's fine texture, either way; half of it on the figure */
    GRAIN_MIN = 3, /* its size, in pixels */
    GRAIN_MAX = 6,
    NOISE = 6, /* of every value, either way */
    GRID_SIDE = SIZE / GRAIN_MIN + 2,
};

/* ---- outlines ---- */

typedef struct point {
    int x, y;
} point;

static bool in_disc(point p, int cx, int cy, int r) {
    return (p.x - cx) * (p.x - cx) + (p.y - cy) * (p.y - cy) < r * r;
}

/* The even-odd rule: a line to the right crosses the outline an odd number of times. */
static bool in_polygon(point p, const point *v, size_t n) {
    bool inside = false;
    for (size_t i = 0, j = n - 1; i < n; j = i++) {
        if ((v[i].y > p.y) == (v[j].y > p.y))
            continue;
        int dy = v[j].y - v[i].y;
        int here = (p.x - v[i].x) * dy, crossing = (v[j].x - v[i].x) * (p.y - v[i].y);
        if (dy > 0 ? here < crossing : here > crossing)
            inside = !inside;
    }
    return inside;
}

static bool in_arrow(point p) {
    static const point v[] = {{-950, -190}, {50, -190}, {50, -640}, {1000, 0},
                              {50, 640},    {50, 190},  {-950, 190}};
    return in_polygon(p, v, KN_COUNT(v));
}

static bool in_bars(point p) {
    int y = p.y < 0 ? -p.y : p.y;
    return p.x > -640 && p.x < 640 && (y < 160 || (y > 430 && y < 750));
}

static bool in_circle(point p) {
    return in_disc(p, 0, 0, 850);
}

static bool in_crescent(point p) {
    return in_disc(p, 0, 0, 950) && !in_disc(p, 420, 0, 780);
}

static bool in_cross(point p) {
    int x = p.x < 0 ? -p.x : p.x, y = p.y < 0 ? -p.y : p.y;
    return (x < 270 && y < 950) || (y < 270 && x < 950);
}

static bool in_heart(point p) {
    static const point v[] = {{-785, -135}, {0, -215}, {785, -135}, {0, 960}};
    return in_disc(p, -435, -360, 430) || in_disc(p, 435, -360, 430) ||
           in_polygon(p, v, KN_COUNT(v));
}

static bool in_ring(point p) {
    return in_disc(p, 0, 0, 950) && !in_disc(p, 0, 0, 560);
}

static bool in_square(point p) {
    return p.x > -700 && p.x < 700 && p.y > -700 && p.y < 700;
}

static bool in_star(point p) {
    static const point v[] = {{0, -1000}, {225, -309}, {951, -309}, {363, 118},   {588, 809},
                              {0, 382},   {-588, 809}, {-363, 118}, {-951, -309}, {-225, -309}};
    return in_polygon(p, v, KN_COUNT(v));
}

static bool in_triangle(point p) {
    static const point v[] = {{0, -1000}, {866, 500}, {-866, 500}};
    return in_polygon(p, v, KN_COUNT(v));
}

static const struct {
    const char *name;
    bool (*contains)(point p);
} figures[KN_SHAPES_CLASSES] = {
    {"arrow", in_arrow},       {"bars", in_bars},     {"circle", in_circle},
    {"crescent", in_crescent}, {"cross", in_cross},   {"heart", in_heart},
    {"ring", in_ring},         {"square", in_square}, {"star", in_star},
    {"triangle", in_triangle},
};

const char *kn_shapes_class(int figure) {
    return figures[figure].name;
}

/* ---- the figure in the picture ---- */

typedef struct placement {
    int cx, cy, radius; /* in 1 / SUB pixel */
    int cosine, sine;   /* times UNIT / radius, in 1 / ONE: to the figure's own coordinates */
} placement;

static int between(kn_rng *rng, int low, int high) {
    return low + (int)kn_rng_below(rng, (uint32_t)(high - low + 1));
}

static placement place(kn_rng *rng) {
    int radius = between(rng, RADIUS_MIN * SUB, RADIUS_MAX * SUB);
    int middle = SIZE * SUB / 2, slack = middle - radius; /* it stays whole */
    double angle = between(rng, -TILT, TILT) * (6.283185307179586 / TURN);
    double scale = (double)ONE * UNIT / radius;
    int cx = middle + between(rng, -slack, slack), cy = middle + between(rng, -slack, slack);
    return (placement){.cx = cx,
                       .cy = cy,
                       .radius = radius,
                       .cosine = (int)lround(cos(angle) * scale),
                       .sine = (int)lround(sin(angle) * scale)};
}

/* How many of a pixel's samples the figure covers. */
static int coverage(const placement *t, int figure, int px, int py) {
    int n = 0;
    for (int y = py * SUB + 1; y < (py + 1) * SUB; y += 2)
        for (int x = px * SUB + 1; x < (px + 1) * SUB; x += 2) {
            int dx = x - t->cx, dy = y - t->cy;
            if (dx * dx + dy * dy > t->radius * t->radius)
                continue;
            point p = {(dx * t->cosine + dy * t->sine) / ONE,
                       (dy * t->cosine - dx * t->sine) / ONE};
            n += figures[figure].contains(p);
        }
    return n;
}

/* ---- texture and colour ---- */

/* Random values on a grid, blended between its points. */
typedef struct texture {
    int spacing; /* pixels between grid points */
    int grid[GRID_SIDE][GRID_SIDE];
} texture;

static void make_texture(texture *t, kn_rng *rng, int spacing, int low, int high) {
    t->spacing = spacing;
    int points = SIZE / spacing + 2;
    for (int y = 0; y < points; y++)
        for (int x = 0; x < points; x++)
            t->grid[y][x] = between(rng, low, high);
}

static int texture_at(const texture *t, int x, int y) {
    int s = t->spacing, gx = x / s, gy = y / s, fx = x % s, fy = y % s;
    const int *above = &t->grid[gy][gx], *below = &t->grid[gy + 1][gx];
    int top = above[0] * (s - fx) + above[1] * fx, bottom = below[0] * (s - fx) + below[1] * fx;
    return (top * (s - fy) + bottom * fy) / (s * s);
}

typedef struct colour {
    int c[3];
} colour;

static colour any_colour(kn_rng *rng) {
    colour k;
    for (int i = 0; i < 3; i++)
        k.c[i] = between(rng, 0, 255);
    return k;
}

static int luma(const colour *k) {
    return (77 * k->c[0] + 150 * k->c[1] + 29 * k->c[2]) / 256;
}

typedef struct scene {
    placement figure_at;
    colour ground, second, ink;
    texture patches, grain;
} scene;

static void make_scene(scene *s, kn_rng *rng) {
    s->figure_at = place(rng);
    do {
        s->ground = any_colour(rng);
        s->ink = any_colour(rng);
    } while (luma(&s->ink) - luma(&s->ground) < CONTRAST);
    s->second = any_colour(rng);
    make_texture(&s->patches, rng, between(rng, PATCH_MIN, PATCH_MAX), 0, BLEND);
    make_texture(&s->grain, rng, between(rng, GRAIN_MIN, GRAIN_MAX), -GRAIN, GRAIN);
}

static void draw_pixel(const scene *s, int figure, int x, int y, kn_rng *rng, uint8_t pixel[3]) {
    int cover = coverage(&s->figure_at, figure, x, y);
    int share = texture_at(&s->patches, x, y), grain = texture_at(&s->grain, x, y);
    for (int c = 0; c < 3; c++) {
        int ground = s->ground.c[c] + share * (s->second.c[c] - s->ground.c[c]) / 100 + grain;
        int ink = s->ink.c[c] + grain / 2;
        int value = (ink * cover + ground * (SAMPLES - cover)) / SAMPLES;
        value += between(rng, -NOISE, NOISE);
        pixel[c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

void kn_shapes_draw(uint64_t seed, uint32_t split, uint32_t index, int figure, uint8_t *pixels) {
    kn_rng rng = kn_rng_at(seed, KN_RANDOM_SHAPES, 0, split, index);
    scene s;
    make_scene(&s, &rng);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            draw_pixel(&s, figure, x, y, &rng, pixels + (y * SIZE + x) * 3);
}
