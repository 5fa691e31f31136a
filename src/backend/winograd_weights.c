/* winograd_weights.c - see winograd_weights.h, and kn_winograd_pack. */
#include "backend/winograd_weights.h"

#include "backend/cpu_loops.h"
#include "backend/winograd.h"

#include <string.h>

/* Depths at a time, so that what is read and what becomes of it stay in the first caches. */
enum { SOME = 16, TAPS = 9, UNIT = 4 /* bytes */ };

/* The 3x3 weights of 16 columns and SOME depths. Forward a column's lie behind each other; in the
 * input's gradient a depth's do, and their places go backwards. */
static void gather(const kn_winograd_weights *w, int64_t col, int64_t k, float *g) {
    const kn_correlation *c = w->c;
    const float *from = w->plain + col * c->col_step + k * c->depth_step;
    if (c->place_step > 0) {
        w->tile->transpose(from, c->col_step, SOME * TAPS, KN_PANEL, g, KN_PANEL);
        return;
    }
    for (int64_t i = 0; i < SOME; i++, from += c->depth_step, g += TAPS * KN_PANEL)
        w->tile->transpose(from, c->col_step, TAPS, KN_PANEL, g + (TAPS - 1) * KN_PANEL, -KN_PANEL);
}

/* What they become, u [places][SOME][16], to its place. */
static void put(const kn_winograd_weights *w, const float *u, int64_t place, char *to) {
    int64_t size = UNIT / w->tile->unit;
    for (int64_t f = 0; f < w->kernels->places; f++, u += SOME * KN_PANEL, to += place * size)
        if (w->tile->narrow != NULL)
            w->tile->narrow(u, SOME, to);
        else
            memcpy(to, u, SOME * KN_PANEL * sizeof *u);
}

void kn_winograd_some(const kn_winograd_weights *w, int64_t col, int64_t end, int64_t from,
                      int64_t depth, int64_t place, char *to) {
    float g[SOME * TAPS * KN_PANEL], u[KN_PLACES * SOME * KN_PANEL];
    int64_t size = UNIT / w->tile->unit;
    for (; col < end; col += KN_PANEL)
        for (int64_t k = from; k < from + depth; k += SOME, to += SOME * KN_PANEL * size) {
            gather(w, col, k, g);
            if (w->tile->narrow == NULL) {
                for (int64_t i = 0; i < SOME; i++)
                    w->kernels->weights(g + i * TAPS * KN_PANEL, place,
                                        (float *)(void *)to + i * KN_PANEL);
                continue;
            }
            for (int64_t i = 0; i < SOME; i++)
                w->kernels->weights(g + i * TAPS * KN_PANEL, SOME * KN_PANEL, u + i * KN_PANEL);
            put(w, u, place, to);
        }
}

/* ---- all of them ---- */

typedef struct pack_args {
    kn_winograd_weights weights;
    char *packed;
} pack_args;

static void pack_panel(const void *args, int worker, int64_t panel) {
    const pack_args *a = args;
    const kn_correlation *c = a->weights.c;
    int64_t col = panel * KN_PANEL, size = UNIT / a->weights.tile->unit;
    (void)worker;
    kn_winograd_some(&a->weights, col, col + KN_PANEL, 0, c->depth, c->cols * c->depth,
                     a->packed + col * c->depth * size);
}

int64_t kn_winograd_packed(const kn_correlation *c, int side) {
    return (side + 2) * (side + 2) * c->cols * c->depth;
}

void kn_winograd_pack(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c, int side,
                      const float *weights, void *packed) {
    pack_args args = {{c, tile, kn_winograd_for(tile, side), weights}, packed};
    kn_cpu_each(d, c->cols / KN_PANEL, pack_panel, &args);
}
