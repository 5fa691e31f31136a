/* winograd_lanes.h - the transforms of winograd_tile.h for one width of vectors and one kind of
 * pixels; winograd_tile.c includes this once for each. It defines ISA, VECTOR, LANES,
 * NAME(function), NUMBER (of a pixel), READ and WRITE of those, LOAD and STORE of f32, SET, ADD,
 * SUB, MUL and MAX; and, where there are squares of four by four, too, FMA(a, b, c) = a b + c. No
 * guard: it is meant to be read in several times. */

#define INLINE ISA static inline __attribute__((always_inline))

/* ---- one vector through each matrix: two by two ---- */

INLINE void NAME(times_b_2)(const VECTOR d[4], VECTOR t[4]) {
    t[0] = SUB(d[0], d[2]);
    t[1] = ADD(d[1], d[2]);
    t[2] = SUB(d[2], d[1]);
    t[3] = SUB(d[1], d[3]);
}

INLINE void NAME(times_a_2)(const VECTOR m[4], VECTOR y[2]) {
    y[0] = ADD(ADD(m[0], m[1]), m[2]);
    y[1] = SUB(SUB(m[1], m[2]), m[3]);
}

INLINE void NAME(times_a_back_2)(const VECTOR y[2], VECTOR m[4]) {
    m[0] = y[0];
    m[1] = ADD(y[0], y[1]);
    m[2] = SUB(y[0], y[1]);
    m[3] = SUB(SET(0), y[1]);
}

INLINE void NAME(times_g_2)(const VECTOR g[3], VECTOR u[4]) {
    VECTOR half = SET(0.5f), ends = ADD(g[0], g[2]);
    u[0] = g[0];
    u[1] = MUL(half, ADD(ends, g[1]));
    u[2] = MUL(half, SUB(ends, g[1]));
    u[3] = g[2];
}

INLINE void NAME(times_g_back_2)(const VECTOR u[4], VECTOR g[3]) {
    VECTOR half = SET(0.5f);
    VECTOR sum = MUL(half, ADD(u[1], u[2]));
    g[0] = ADD(u[0], sum);
    g[1] = MUL(half, SUB(u[1], u[2]));
    g[2] = ADD(sum, u[3]);
}

#define SIDE     2
#define OF(what) NAME(what##_2)
#include "backend/winograd_square.h"

#ifdef FMA

/* ---- four by four: with p = 3/4 and q = 4/3, p q = 1 ---- */

INLINE void NAME(times_b_4)(const VECTOR d[6], VECTOR t[6]) {
    VECTOR p = SET(P1), q = SET(Q1), pp = SET(-P2), qq = SET(-Q2), both = SET(-P2 - Q2);
    VECTOR even = FMA(qq, d[2], d[4]), odd = MUL(p, FMA(qq, d[1], d[3]));
    t[0] = ADD(d[0], FMA(both, d[2], d[4]));
    t[1] = ADD(even, odd);
    t[2] = SUB(even, odd);
    even = FMA(pp, d[2], d[4]);
    odd = MUL(q, FMA(pp, d[1], d[3]));
    t[3] = ADD(even, odd);
    t[4] = SUB(even, odd);
    t[5] = ADD(d[1], FMA(both, d[3], d[5]));
}

INLINE void NAME(times_a_4)(const VECTOR m[6], VECTOR y[4]) {
    VECTOR sum = ADD(m[1], m[2]), sum_q = ADD(m[3], m[4]);
    VECTOR difference = SUB(m[1], m[2]), difference_q = SUB(m[3], m[4]);
    y[0] = ADD(m[0], ADD(sum, sum_q));
    y[1] = FMA(SET(P1), difference, MUL(SET(Q1), difference_q));
    y[2] = FMA(SET(P2), sum, MUL(SET(Q2), sum_q));
    y[3] = ADD(m[5], FMA(SET(P3), difference, MUL(SET(Q3), difference_q)));
}

INLINE void NAME(times_a_back_4)(const VECTOR y[4], VECTOR m[6]) {
    VECTOR even = FMA(SET(P2), y[2], y[0]), odd = FMA(SET(P3), y[3], MUL(SET(P1), y[1]));
    m[0] = y[0];
    m[1] = ADD(even, odd);
    m[2] = SUB(even, odd);
    even = FMA(SET(Q2), y[2], y[0]);
    odd = FMA(SET(Q3), y[3], MUL(SET(Q1), y[1]));
    m[3] = ADD(even, odd);
    m[4] = SUB(even, odd);
    m[5] = y[3];
}

INLINE void NAME(times_g_4)(const VECTOR g[3], VECTOR u[6]) {
    VECTOR even = MUL(SET(GP), FMA(SET(P2), g[2], g[0])), odd = MUL(SET(GP * P1), g[1]);
    u[0] = g[0];
    u[1] = ADD(even, odd);
    u[2] = SUB(even, odd);
    even = MUL(SET(GQ), FMA(SET(Q2), g[2], g[0]));
    odd = MUL(SET(GQ * Q1), g[1]);
    u[3] = ADD(even, odd);
    u[4] = SUB(even, odd);
    u[5] = g[2];
}

INLINE void NAME(times_g_back_4)(const VECTOR u[6], VECTOR g[3]) {
    VECTOR sum = MUL(SET(GP), ADD(u[1], u[2])), sum_q = MUL(SET(GQ), ADD(u[3], u[4]));
    VECTOR difference = SUB(u[1], u[2]), difference_q = SUB(u[3], u[4]);
    g[0] = ADD(u[0], ADD(sum, sum_q));
    g[1] = FMA(SET(GP * P1), difference, MUL(SET(GQ * Q1), difference_q));
    g[2] = ADD(u[5], FMA(SET(P2), sum, MUL(SET(Q2), sum_q)));
}

#define SIDE     4
#define OF(what) NAME(what##_4)
#include "backend/winograd_square.h"

#endif

#undef INLINE
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
#undef FMA
