/* shapes_draw.c - draws one figure on a textured ground.
 *
 * Integers only (but for a sine and a cosine, rounded coarsely): the same bytes on every processor,
 * whatever a compiler makes of floating point. Colour, place, size and angle say nothing about the
 * class, so a model has to see the outline; the figure is lighter than its ground. */
#include "data/shapes.h"

#include "core/ctx.h"

#include <kiln/random.h>

#include <math.h>

enum {
    SIZE = KN_SHAPES_SIZE,
    UNIT = 1000,   /* a figure's radius in its own coordinates */
    SUB = 8,       /* coordinates in a picture are in eighths of a pixel */
    TURN = 256,    /* angles in a full turn */
    ONE = 1 << 14, /* 1.0 of sines, cosines and weights */
    GRID_MAX = 40, /* points of a noise grid, a side */
};

/* ---- outlines ---- */

typedef struct point {
    int x, y;
} point;

static int square_of(int x) {
    return x * x;
}

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
    static const point v[] = {{-870, -150}, {0, -240}, {870, -150}, {0, 980}};
    return in_disc(p, -480, -400, 480) || in_disc(p, 480, -400, 480) ||
           in_polygon(p, v, KN_COUNT(v));
}

static bool in_ring(point p) {
    return in_disc(p, 0, 0, 950) && !in_disc(p, 0, 0, 560);
}

static bool in_square(point p) {
    return p.x > -780 && p.x < 780 && p.y > -780 && p.y < 780;
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

/* ---- the figure's place ---- */

/* From eighths of a pixel to the figure's own coordinates. */
typedef struct placement {
    int cx, cy;
    int a, b; /* scaled cosine and sine, in 1 / ONE */
} placement;

static int between(kn_rng *rng, int low, int high) {
    return low + (int)kn_rng_below(rng, (uint32_t)(high - low + 1));
}

/* What makes the set hard or easy. With these, measured in PyTorch on 64 x 64 pixels: the best of
 * six regularised linear models reaches 0.49 on validation, simple_cnn 0.97 in 30 epochs at
 * batch 32. */
enum {
    RADIUS_MIN = 28, /* pixels */
    RADIUS_MAX = 40,
    LEAN = TURN / 8, /* the most a figure is turned, either way */
    TEXTURE = 24,    /* of the ground, in grey levels */
    GRAIN = 8,       /* of every pixel */
    CONTRAST = 110,  /* of figure over ground, in luma */
};

static placement place(kn_rng *rng) {
    int radius = between(rng, RADIUS_MIN * SUB, RADIUS_MAX * SUB);
    int slack = SIZE * SUB / 2 - radius;
    double angle = between(rng, -LEAN, LEAN - 1) * (6.283185307179586 / TURN);
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
static int luma(colour k) {
    return (77 * k.c[0] + 150 * k.c[1] + 29 * k.c[2]) / 256;
}

static uint8_t clamp(int v) {
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

typedef struct painting {
    colour ground, second, ink; /* the texture runs from ground towards second */
    noise soft, fine;
} painting;

static void choose(painting *p, kn_rng *rng) {
    do {
        p->ground = any_colour(rng);
        p->ink = any_colour(rng);
    } while (luma(p->ink) - luma(p->ground) < CONTRAST);
    p->second = any_colour(rng);
    make_noise(&p->soft, rng, between(rng, 8, 32), 128);
    make_noise(&p->fine, rng, between(rng, 3, 6), TEXTURE);
}

/* One pixel, of which the figure covers so many of the 16 samples. */
static void paint(const painting *p, kn_rng *rng, int x, int y, int cover, uint8_t *pixel) {
    int soft = noise_at(&p->soft, x, y), fine = noise_at(&p->fine, x, y);
    for (int c = 0; c < 3; c++) {
        int towards = TEXTURE * soft / 128 * (p->second.c[c] - p->ground.c[c]) / 128;
        int under = p->ground.c[c] + towards + fine, over = p->ink.c[c] + fine / 2;
        int blend = (over * cover + under * (16 - cover)) / 16;
        pixel[c] = clamp(blend + between(rng, -GRAIN, GRAIN));
    }
}

void kn_shapes_draw(uint64_t seed, uint32_t split, uint32_t index, int figure, uint8_t *pixels) {
    kn_rng rng = kn_rng_at(seed, KN_RANDOM_SHAPES, 0, split, index);
    placement t = place(&rng);
    painting p;
    choose(&p, &rng);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            paint(&p, &rng, x, y, coverage(&t, figure, x, y), pixels + (y * SIZE + x) * 3);
}
