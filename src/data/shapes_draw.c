/* shapes_draw.c - draws one figure on a textured ground.
 *
 * Integers only: the same bytes on every processor, whatever a compiler makes of floating point.
 * Colour, light or dark, place, size and angle say nothing about the class, so a model has to see
 * the outline. */
#include "data/shapes.h"

#include "core/ctx.h"

#include <kiln/random.h>

#include <math.h>

enum {
    SIZE = KN_SHAPES_SIZE,
    UNIT = 1000,     /* a figure's radius in its own coordinates */
    SUB = 8,         /* coordinates in a picture are in eighths of a pixel */
    TURN = 256,      /* angles in a full turn */
    ONE = 1 << 14,   /* 1.0 of sines, cosines and weights */
    GRID_MAX = 40,   /* points of a noise grid, a side */
};

/* ---- outlines ---- */

typedef struct point {
    int x, y;
} point;

static int square_of(int x) { return x * x; }

static bool in_disc(point p, int cx, int cy, int r) {
    return square_of(p.x - cx) + square_of(p.y - cy) < r * r;
}

/* Even-odd rule. */
static bool in_polygon(point p, const point *v, int n) {
    bool inside = false;
    for (int i = 0, j = n - 1; i < n; j = i++) {
        if ((v[i].y > p.y) == (v[j].y > p.y))
            continue;
        int dy = v[j].y - v[i].y;
        int left = (p.x - v[i].x) * dy, right = (v[j].x - v[i].x) * (p.y - v[i].y);
        if (dy > 0 ? left < right : left > right)
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
    return p.x > -800 && p.x < 800 && (y < 180 || (y > 470 && y < 830));
}

static bool in_circle(point p) { return in_disc(p, 0, 0, 850); }

static bool in_crescent(point p) { return in_disc(p, 0, 0, 950) && !in_disc(p, 420, 0, 780); }

static bool in_cross(point p) {
    int x = p.x < 0 ? -p.x : p.x, y = p.y < 0 ? -p.y : p.y;
    return (x < 270 && y < 950) || (y < 270 && x < 950);
}

static bool in_heart(point p) {
    static const point v[] = {{-870, -150}, {0, -240}, {870, -150}, {0, 980}};
    return in_disc(p, -480, -400, 480) || in_disc(p, 480, -400, 480) ||
           in_polygon(p, v, KN_COUNT(v));
}

static bool in_ring(point p) { return in_disc(p, 0, 0, 950) && !in_disc(p, 0, 0, 560); }

static bool in_square(point p) {
    return p.x > -780 && p.x < 780 && p.y > -780 && p.y < 780;
}

static bool in_star(point p) {
    static const point v[] = {{0, -1000},  {225, -309},  {951, -309}, {363, 118},  {588, 809},
                              {0, 382},    {-588, 809},  {-363, 118}, {-951, -309}, {-225, -309}};
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
    {"arrow", in_arrow},     {"bars", in_bars}, {"circle", in_circle}, {"crescent", in_crescent}, {"cross", in_cross},
    {"heart", in_heart},     {"ring", in_ring},       {"square", in_square},
    {"star", in_star},       {"triangle", in_triangle},
};

const char *kn_shapes_class(int figure) { return figures[figure].name; }

/* ---- the figure's place ---- */

/* From eighths of a pixel to the figure's own coordinates. */
typedef struct placement {
    int cx, cy;
    int a, b; /* scaled cosine and sine, in 1 / ONE */
} placement;

static int between(kn_rng *rng, int low, int high) {
    return low + (int)kn_rng_below(rng, (uint32_t)(high - low + 1));
}

#ifndef RMIN
#define RMIN 20
#define RMAX 40
#define ROT TURN
#define TEX 40
#define NOISE 12
#define CONTRAST 90
#define SLACK 1
#define POLAR 0
#endif

static placement place(kn_rng *rng) {
    int radius = between(rng, RMIN * SUB, RMAX * SUB);
    int slack = (SIZE * SUB / 2 - radius)*SLACK;
    double angle = between(rng, -(ROT)/2, (ROT)/2 - 1) * (6.283185307179586 / TURN);
    double scale = (double)ONE * UNIT / radius;
    return (placement){
        .cx = SIZE * SUB / 2 + between(rng, -slack, slack),
        .cy = SIZE * SUB / 2 + between(rng, -slack, slack),
        /* Rounded so coarsely that no library's last bit shows. */
        .a = (int)lround(cos(angle) * scale / 16) * 16,
        .b = (int)lround(sin(angle) * scale / 16) * 16,
    };
}

static bool covers(const placement *t, int figure, int x, int y) {
    int dx = x - t->cx, dy = y - t->cy;
    point p = {(int)(((int64_t)dx * t->a + (int64_t)dy * t->b) / ONE),
               (int)(((int64_t)dy * t->a - (int64_t)dx * t->b) / ONE)};
    return p.x > -UNIT - 1 && p.x < UNIT + 1 && p.y > -UNIT - 1 && p.y < UNIT + 1 &&
           figures[figure].contains(p);
}

/* How many of a pixel's 16 samples the figure covers. */
static int coverage(const placement *t, int figure, int x, int y) {
    int n = 0;
    for (int j = 1; j < SUB; j += 2)
        for (int i = 1; i < SUB; i += 2)
            n += covers(t, figure, x * SUB + i, y * SUB + j);
    return n;
}

/* ---- texture ---- */

/* Smooth noise: random values on a grid, blended between its points. */
typedef struct noise {
    int spacing; /* pixels between grid points */
    int grid[GRID_MAX][GRID_MAX];
} noise;

static void make_noise(noise *n, kn_rng *rng, int spacing, int amplitude) {
    n->spacing = spacing;
    int points = SIZE / spacing + 2;
    for (int y = 0; y < points; y++)
        for (int x = 0; x < points; x++)
            n->grid[y][x] = between(rng, -amplitude, amplitude);
}

static int noise_at(const noise *n, int x, int y) {
    int gx = x / n->spacing, gy = y / n->spacing, fx = x % n->spacing, fy = y % n->spacing;
    int s = n->spacing;
    int top = n->grid[gy][gx] * (s - fx) + n->grid[gy][gx + 1] * fx;
    int bottom = n->grid[gy + 1][gx] * (s - fx) + n->grid[gy + 1][gx + 1] * fx;
    return (top * (s - fy) + bottom * fy) / (s * s);
}

typedef struct colour {
    int c[3];
} colour;

static colour any_colour(kn_rng *rng) {
    return (colour){{between(rng, 0, 255), between(rng, 0, 255), between(rng, 0, 255)}};
}

/* Luma, in 1/256. */
static int luma(colour k) { return (77 * k.c[0] + 150 * k.c[1] + 29 * k.c[2]) / 256; }

static uint8_t clamp(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

void kn_shapes_draw(uint64_t seed, uint32_t split, uint32_t index, int figure, uint8_t *pixels) {
    kn_rng rng = kn_rng_at(seed, KN_RANDOM_SHAPES, 0, split, index);
    placement t = place(&rng);
    colour ground = any_colour(&rng), ink = any_colour(&rng), second;
    while (POLAR ? luma(ink)-luma(ground)<CONTRAST : (luma(ground) - luma(ink) < CONTRAST && luma(ink) - luma(ground) < CONTRAST)) {
        ground = any_colour(&rng);
        ink = any_colour(&rng);
    }
    second = any_colour(&rng);
    static noise soft, fine;
    make_noise(&soft, &rng, between(&rng, 8, 32), 128);
    make_noise(&fine, &rng, between(&rng, 3, 6), TEX);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
            int cover = coverage(&t, figure, x, y), s = noise_at(&soft, x, y), f = noise_at(&fine, x, y);
            for (int c = 0; c < 3; c++) {
                int mix = (TEX * s / 128 * (second.c[c] - ground.c[c])) / 128;
                int under = ground.c[c] + mix + f;
                int over = ink.c[c] + f/2;
                int v = (over * cover + under * (16 - cover)) / 16 + between(&rng, -NOISE, NOISE);
                pixels[(y * SIZE + x) * 3 + c] = clamp(v);
            }
        }
}
