/* winograd_square.h - winograd_lanes.h's transforms of squares with one SIDE: the rows through the
 * matrix, then the columns. It includes this for each, with OF(function) besides its own names. No
 * guard: it is meant to be read in several times. */

#define WINDOW (SIDE + 2)

ISA static void OF(in)(const kn_winograd_in *w) {
    NUMBER *to = w->out;
    int64_t step = w->step, next = w->panel - (KN_PANEL - LANES);
    for (int64_t k = 0; k < w->channels; k += LANES) {
        VECTOR t[WINDOW][WINDOW];
#pragma GCC unroll 6
        for (int x = 0; x < WINDOW; x++) {
            VECTOR d[WINDOW], column[WINDOW];
#pragma GCC unroll 6
            for (int y = 0; y < WINDOW; y++)
                d[y] = READ((const NUMBER *)w->in[WINDOW * y + x] + k);
            OF(times_b)(d, column);
#pragma GCC unroll 6
            for (int y = 0; y < WINDOW; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 6
        for (int y = 0; y < WINDOW; y++) {
            VECTOR row[WINDOW];
            OF(times_b)(t[y], row);
#pragma GCC unroll 6
            for (int x = 0; x < WINDOW; x++)
                WRITE(to + (WINDOW * y + x) * step, row[x]);
        }
        to += LANES < KN_PANEL && k % KN_PANEL == 0 ? LANES : next;
    }
}

ISA static void OF(out)(const kn_winograd_out *w) {
    for (int64_t k = 0; k < w->channels; k += LANES) {
        VECTOR t[SIDE][WINDOW];
#pragma GCC unroll 6
        for (int x = 0; x < WINDOW; x++) {
            VECTOR m[WINDOW], column[SIDE];
#pragma GCC unroll 6
            for (int y = 0; y < WINDOW; y++)
                m[y] = LOAD(w->in + (WINDOW * y + x) * w->step + k);
            OF(times_a)(m, column);
#pragma GCC unroll 6
            for (int y = 0; y < SIDE; y++)
                t[y][x] = column[y];
        }
        VECTOR bias = w->bias != NULL ? LOAD(w->bias + k) : SET(0);
#pragma GCC unroll 6
        for (int y = 0; y < SIDE; y++) {
            VECTOR row[SIDE];
            OF(times_a)(t[y], row);
#pragma GCC unroll 6
            for (int x = 0; x < SIDE; x++) {
                row[x] = ADD(row[x], bias);
                if (w->relu)
                    row[x] = MAX(SET(0), row[x]);
                WRITE((NUMBER *)w->out[SIDE * y + x] + k, row[x]);
            }
        }
    }
}

ISA static void OF(grad)(const kn_winograd_grad *w) {
    for (int64_t k = 0; k < w->channels; k += LANES) {
        VECTOR t[WINDOW][SIDE];
#pragma GCC unroll 6
        for (int x = 0; x < SIDE; x++) {
            VECTOR dy[SIDE], column[WINDOW];
#pragma GCC unroll 6
            for (int y = 0; y < SIDE; y++)
                dy[y] = READ((const NUMBER *)w->in[SIDE * y + x] + k);
            OF(times_a_back)(dy, column);
#pragma GCC unroll 6
            for (int y = 0; y < WINDOW; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 6
        for (int y = 0; y < WINDOW; y++) {
            VECTOR row[WINDOW];
            OF(times_a_back)(t[y], row);
#pragma GCC unroll 6
            for (int x = 0; x < WINDOW; x++)
                WRITE((NUMBER *)w->out + (WINDOW * y + x) * w->step + k, row[x]);
        }
    }
}

ISA static void OF(weights)(const float *g, int64_t step, float *u) {
    for (int k = 0; k < KN_PANEL; k += LANES) {
        VECTOR t[WINDOW][3];
#pragma GCC unroll 6
        for (int x = 0; x < 3; x++) {
            VECTOR d[3], column[WINDOW];
#pragma GCC unroll 6
            for (int y = 0; y < 3; y++)
                d[y] = LOAD(g + (3 * y + x) * KN_PANEL + k);
            OF(times_g)(d, column);
#pragma GCC unroll 6
            for (int y = 0; y < WINDOW; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 6
        for (int y = 0; y < WINDOW; y++) {
            VECTOR row[WINDOW];
            OF(times_g)(t[y], row);
#pragma GCC unroll 6
            for (int x = 0; x < WINDOW; x++)
                STORE(u + (WINDOW * y + x) * step + k, row[x]);
        }
    }
}

ISA static void OF(weights_grad)(const float *u, int64_t step, float *g) {
    for (int k = 0; k < KN_PANEL; k += LANES) {
        VECTOR t[3][WINDOW];
#pragma GCC unroll 6
        for (int x = 0; x < WINDOW; x++) {
            VECTOR d[WINDOW], column[3];
#pragma GCC unroll 6
            for (int y = 0; y < WINDOW; y++)
                d[y] = LOAD(u + (WINDOW * y + x) * step + k);
            OF(times_g_back)(d, column);
#pragma GCC unroll 6
            for (int y = 0; y < 3; y++)
                t[y][x] = column[y];
        }
#pragma GCC unroll 6
        for (int y = 0; y < 3; y++) {
            VECTOR row[3];
            OF(times_g_back)(t[y], row);
#pragma GCC unroll 6
            for (int x = 0; x < 3; x++)
                STORE(g + (3 * y + x) * KN_PANEL + k, row[x]);
        }
    }
}

static const kn_winograd_kernels OF(kernels) = {
    .side = SIDE,
    .window = WINDOW,
    .places = WINDOW * WINDOW,
    .in = OF(in),
    .out = OF(out),
    .grad = OF(grad),
    .weights = OF(weights),
    .weights_grad = OF(weights_grad),
};

#undef WINDOW
#undef SIDE
#undef OF
