/* winograd_lanes.h - the transforms of winograd_tile.h for one width of vectors and one kind of
 * pixels; winograd_tile.c includes this once for each. It defines ISA, VECTOR, LANES,
 * NAME(function), NUMBER (of a pixel), READ and WRITE of those, LOAD and STORE of f32, SET, ADD,
 * SUB, MUL and MAX. No guard: it is meant to be read in several times. */

/* ---- one vector through each matrix ---- */

ISA static inline __attribute__((always_inline)) void NAME(times_b)(const VECTOR d[4],
                                                                    VECTOR t[4]) {
    t[0] = SUB(d[0], d[2]);
    t[1] = ADD(d[1], d[2]);
    t[2] = SUB(d[2], d[1]);
    t[3] = SUB(d[1], d[3]);
}

ISA static inline __attribute__((always_inline)) void NAME(times_a)(const VECTOR m[4],
                                                                    VECTOR y[2]) {
    y[0] = ADD(ADD(m[0], m[1]), m[2]);
    y[1] = SUB(SUB(m[1], m[2]), m[3]);
}

ISA static inline __attribute__((always_inline)) void NAME(times_a_back)(const VECTOR y[2],
                                                                         VECTOR m[4]) {
    m[0] = y[0];
    m[1] = ADD(y[0], y[1]);
    m[2] = SUB(y[0], y[1]);
    m[3] = SUB(SET(0), y[1]);
}

ISA static inline __attribute__((always_inline)) void NAME(times_g)(const VECTOR g[3],
                                                                    VECTOR u[4]) {
    VECTOR half = SET(0.5f), ends = ADD(g[0], g[2]);
    u[0] = g[0];
    u[1] = MUL(half, ADD(ends, g[1]));
    u[2] = MUL(half, SUB(ends, g[1]));
    u[3] = g[2];
}

ISA static inline __attribute__((always_inline)) void NAME(times_g_back)(const VECTOR u[4],
                                                                         VECTOR g[3]) {
    VECTOR half = SET(0.5f);
    VECTOR sum = MUL(half, ADD(u[1], u[2]));
    g[0] = ADD(u[0], sum);
    g[1] = MUL(half, SUB(u[1], u[2]));
    g[2] = ADD(sum, u[3]);
}

/* ---- squares: the rows through the matrix, then the columns ---- */

ISA static void NAME(in)(const kn_winograd_in *w) {
    NUMBER *to = w->out;
    int64_t step = w->step, next = w->panel - (KN_PANEL - LANES);
    for (int64_t k = 0; k < w->channels; k += LANES) {
        VECTOR t[4][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            VECTOR d[4], column[4];
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                d[y] = READ((const NUMBER *)w->in[4 * y + x] + k);
            NAME(times_b)(d, column);
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; y++) {
            VECTOR row[4];
            NAME(times_b)(t[y], row);
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++)
                WRITE(to + (4 * y + x) * step, row[x]);
        }
        to += LANES < KN_PANEL && k % KN_PANEL == 0 ? LANES : next;
    }
}

ISA static void NAME(out)(const kn_winograd_out *w) {
    for (int64_t k = 0; k < w->channels; k += LANES) {
        VECTOR t[2][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            VECTOR m[4], column[2];
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                m[y] = LOAD(w->in + (4 * y + x) * w->step + k);
            NAME(times_a)(m, column);
            t[0][x] = column[0];
            t[1][x] = column[1];
        }
        VECTOR bias = w->bias != NULL ? LOAD(w->bias + k) : SET(0);
#pragma GCC unroll 2
        for (int y = 0; y < 2; y++) {
            VECTOR row[2];
            NAME(times_a)(t[y], row);
#pragma GCC unroll 2
            for (int x = 0; x < 2; x++) {
                row[x] = ADD(row[x], bias);
                if (w->relu)
                    row[x] = MAX(SET(0), row[x]);
                WRITE((NUMBER *)w->out[2 * y + x] + k, row[x]);
            }
        }
    }
}

ISA static void NAME(grad)(const kn_winograd_grad *w) {
    for (int64_t k = 0; k < w->channels; k += LANES) {
        VECTOR t[4][2];
#pragma GCC unroll 2
        for (int x = 0; x < 2; x++) {
            VECTOR y[2] = {READ((const NUMBER *)w->in[x] + k),
                           READ((const NUMBER *)w->in[2 + x] + k)};
            VECTOR column[4];
            NAME(times_a_back)(y, column);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                t[i][x] = column[i];
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; y++) {
            VECTOR row[4];
            NAME(times_a_back)(t[y], row);
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++)
                WRITE((NUMBER *)w->out + (4 * y + x) * w->step + k, row[x]);
        }
    }
}

ISA static void NAME(weights)(const float *g, int64_t step, float *u) {
    for (int k = 0; k < KN_PANEL; k += LANES) {
        VECTOR t[4][3];
#pragma GCC unroll 3
        for (int x = 0; x < 3; x++) {
            VECTOR d[3], column[4];
#pragma GCC unroll 3
            for (int y = 0; y < 3; y++)
                d[y] = LOAD(g + (3 * y + x) * KN_PANEL + k);
            NAME(times_g)(d, column);
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; y++) {
            VECTOR row[4];
            NAME(times_g)(t[y], row);
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++)
                STORE(u + (4 * y + x) * step + k, row[x]);
        }
    }
}

ISA static void NAME(weights_grad)(const float *u, int64_t step, float *g) {
    for (int k = 0; k < KN_PANEL; k += LANES) {
        VECTOR t[3][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            VECTOR d[4], column[3];
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++)
                d[y] = LOAD(u + (4 * y + x) * step + k);
            NAME(times_g_back)(d, column);
#pragma GCC unroll 3
            for (int y = 0; y < 3; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 3
        for (int y = 0; y < 3; y++) {
            VECTOR row[3];
            NAME(times_g_back)(t[y], row);
#pragma GCC unroll 3
            for (int x = 0; x < 3; x++)
                STORE(g + (3 * y + x) * KN_PANEL + k, row[x]);
        }
    }
}

static const kn_winograd_kernels NAME(kernels) = {NAME(in), NAME(out), NAME(grad), NAME(weights),
                                                  NAME(weights_grad)};

#undef ISA
#undef VECTOR
#undef LANES
#undef NAME
#undef NUMBER
#undef READ
#undef WRITE
#undef LOAD
#undef STORE
#undef SET
#undef ADD
#undef SUB
#undef MUL
#undef MAX
