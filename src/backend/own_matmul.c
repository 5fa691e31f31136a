/* own_matmul.c - kn_own_matmul, see own_conv.h: a product is a convolution with kernels of 1x1. */
#include "backend/cpu_loops.h"
#include "backend/own_state.h"

/* Below so many multiplications a library is as good. So many of k at a time, that a panel of b
 * stays in the first cache. */
enum { LEAST_PRODUCT = 1 << 18, DEPTH = 512 };

bool kn_own_matmul_pays(const kn_matmul_dims *m) {
    return m->n >= KN_PANEL && m->m * m->n * m->k >= LEAST_PRODUCT;
}

typedef struct turn_args {
    const kn_tile_kernels *tile;
    const float *from; /* [k,m] */
    float *to;         /* [m,k] */
    int64_t k, m;
} turn_args;

/* Item: some rows of from. */
enum { TURN = 64 };

static void turn(const void *args, int worker, int64_t item) {
    const turn_args *t = args;
    int64_t begin = item * TURN, count = t->k - begin < TURN ? t->k - begin : TURN;
    (void)worker;
    t->tile->transpose(t->from + begin * t->m, t->m, t->m, count, t->to + begin, t->k);
}

typedef struct mirror_args {
    float *c; /* [n,n], whole up to the diagonal */
    int64_t n;
} mirror_args;

enum { BLOCK = 16 }; /* rows and columns: a line of the cache */

/* Item: some rows, of which the part beyond the diagonal is a column's; in blocks, as going down a
 * column takes a line of the cache for each number. */
static void mirror(const void *args, int worker, int64_t item) {
    const mirror_args *m = args;
    int64_t n = m->n, begin = item * BLOCK, end = n - begin < BLOCK ? n : begin + BLOCK;
    (void)worker;
    for (int64_t from = begin; from < n; from += BLOCK) {
        int64_t until = n - from < BLOCK ? n : from + BLOCK;
        for (int64_t row = begin; row < end; row++)
            for (int64_t i = from > row ? from : row + 1; i < until; i++)
                m->c[row * n + i] = m->c[i * n + row];
    }
}

/* One product of the batch, some of k at a time: a row of a is a pixel with k channels, b a 1x1
 * kernel. */
static kn_status product(kn_own_conv *o, const kn_matmul_dims *m, const float *rows, const float *b,
                         const float *bias, float *c) {
    kn_device *d = o->device;
    kn_status status = KN_OK;
    for (int64_t from = 0; from < m->k && status == KN_OK; from += DEPTH) {
        kn_correlation k = {.n = 1,
                            .in_h = 1,
                            .in_w = m->m,
                            .depth = m->k - from < DEPTH ? m->k - from : DEPTH,
                            .pixel = m->k,
                            .out_h = 1,
                            .out_w = m->m,
                            .cols = m->n,
                            .grid_h = 1,
                            .grid_w = m->m,
                            .out_step = 1,
                            .in_step = 1,
                            .kernel_h = 1,
                            .kernel_w = 1,
                            .add = from > 0,
                            .triangle = m->symmetric,
                            .place_step = 1,
                            .weights_w = 1,
                            .col_step = m->trans_b ? m->k : 1,
                            .depth_step = m->trans_b ? 1 : m->n};
        kn_correlation_pack(d, o->tile, &k, b + from * k.depth_step, o->room);
        status = kn_correlation_run(d, o->tile, &k, rows + from, o->room, from == 0 ? bias : NULL,
                                    false, c);
    }
    mirror_args args = {c, m->n};
    if (status == KN_OK && m->symmetric)
        kn_cpu_each(d, (m->n + BLOCK - 1) / BLOCK, mirror, &args);
    return status;
}

kn_status kn_own_matmul(kn_own_conv *o, const kn_matmul_dims *m, const float *a, const float *b,
                        const float *bias, float *c) {
    int64_t panels = (m->n + KN_PANEL - 1) / KN_PANEL;
    int64_t size = panels * KN_PANEL * (m->k < DEPTH ? m->k : DEPTH);
    kn_status status = kn_own_room(o, size + (m->trans_a ? m->m * m->k : 0), "a product's factors");
    for (int64_t i = 0; i < m->batch && status == KN_OK; i++) {
        const float *rows = a + i * m->m * m->k;
        if (m->trans_a) {
            turn_args t = {o->tile, rows, o->room + size, m->k, m->m};
            kn_cpu_each(o->device, (m->k + TURN - 1) / TURN, turn, &t);
            rows = t.to;
        }
        status = product(o, m, rows, b + i * m->k * m->n, bias, c + i * m->m * m->n);
    }
    return status;
}
