/* broadcast.c - see broadcast.h. */
#include "ops/broadcast.h"

/* The length of s along an axis of a shape of that rank: 1 where s has no such axis. */
static int64_t aligned(const kn_shape *s, int axis, int rank) {
    int own = axis - (rank - s->rank);
    return own >= 0 ? s->dim[own] : 1;
}

bool kn_broadcast_shape(const kn_shape *a, const kn_shape *b, kn_shape *out) {
    *out = (kn_shape){.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 0; i < out->rank; i++) {
        int64_t da = aligned(a, i, out->rank), db = aligned(b, i, out->rank);
        if (da != db && da != 1 && db != 1)
            return false;
        out->dim[i] = da == 1 ? db : da;
    }
    return true;
}

static void steps(const kn_shape *out, const kn_shape *s, int64_t *step) {
    int64_t stride = 1;
    for (int i = out->rank - 1; i >= 0; i--) {
        int64_t length = aligned(s, i, out->rank);
        step[i] = length == 1 ? 0 : stride;
        stride *= length;
    }
}

kn_bcast kn_broadcast_loop(const kn_shape *out, const kn_shape *a, const kn_shape *b) {
    kn_bcast all = {.rank = out->rank}, loop = {0};
    steps(out, a, all.a_step);
    steps(out, b, all.b_step);
    for (int i = 0; i < out->rank; i++) {
        int64_t dim = out->dim[i];
        int last = loop.rank - 1;
        /* The axis before walks on where this one ends: one longer axis. */
        if (last >= 0 && loop.a_step[last] == all.a_step[i] * dim &&
            loop.b_step[last] == all.b_step[i] * dim) {
            loop.dim[last] *= dim;
            loop.a_step[last] = all.a_step[i];
            loop.b_step[last] = all.b_step[i];
            continue;
        }
        if (dim == 1)
            continue;
        loop.dim[loop.rank] = dim;
        loop.a_step[loop.rank] = all.a_step[i];
        loop.b_step[loop.rank] = all.b_step[i];
        loop.rank++;
    }
    return loop;
}

kn_reduction kn_broadcast_undo(const kn_shape *from, const kn_shape *to) {
    kn_reduction sum = {.kind = KN_SUM, .x = *from, .count = 1};
    for (int i = 0; i < from->rank; i++)
        if (aligned(to, i, from->rank) == 1 && from->dim[i] != 1) {
            sum.axes |= 1u << i;
            sum.count *= from->dim[i];
        }
    return sum;
}
