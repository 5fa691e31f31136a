/* reference_reduce.c - reductions over axes, argmax, gather: see reference.c. */
#include "backend/reference.h"

#include <math.h>

/* The axes of x that are reduced, or those that stay, as a loop with x's steps. A result is a place
 * of the loop over what stays; what it is made of is the whole loop over what is reduced. */
static kn_bcast axes_loop(const kn_reduction *r, bool reduced) {
    kn_bcast loop = {0};
    for (int axis = 0; axis < r->x.rank; axis++) {
        if ((r->axes >> axis & 1) != reduced)
            continue;
        loop.dim[loop.rank] = r->x.dim[axis];
        loop.a_step[loop.rank] = 1;
        for (int inner = axis + 1; inner < r->x.rank; inner++)
            loop.a_step[loop.rank] *= r->x.dim[inner];
        loop.rank++;
    }
    return loop;
}

static double reduced(kn_reduce_kind kind, const kn_bcast *loop, const float *x) {
    double total = kind == KN_MAX ? -INFINITY : 0;
    int64_t index[KN_MAX_RANK] = {0}, from = 0, unused = 0;
    if (kn_loop_empty(loop))
        return total;
    do {
        if (kind != KN_MAX)
            total += x[from];
        else if (x[from] > total || isnan(x[from]))
            total = x[from];
    } while (kn_odometer(loop, index, &from, &unused));
    return total;
}

kn_status kn_ref_reduce(kn_device *d, const kn_reduction *r, const float *x, float *y) {
    (void)d;
    kn_bcast stay = axes_loop(r, false), gone = axes_loop(r, true);
    if (kn_loop_empty(&stay))
        return KN_OK;
    int64_t index[KN_MAX_RANK] = {0}, from = 0, unused = 0;
    do {
        double total = reduced(r->kind, &gone, x + from);
        *y++ = (float)(r->kind == KN_MEAN ? total / (double)r->count : total);
    } while (kn_odometer(&stay, index, &from, &unused));
    return KN_OK;
}

/* The gradient of one result: counts its maxima, then shares. A NaN equals nothing: 0 / 0 makes the
 * gradient NaN too. */
static void share(const kn_bcast *loop, const float *x, float largest, float dy, float *dx) {
    int64_t ties = 0;
    for (int pass = 0; pass < 2; pass++) {
        int64_t index[KN_MAX_RANK] = {0}, at = 0, unused = 0;
        do {
            if (pass == 0)
                ties += x[at] == largest;
            else
                dx[at] = (x[at] == largest ? dy : 0) / (float)ties;
        } while (kn_odometer(loop, index, &at, &unused));
    }
}

kn_status kn_ref_max_grad(kn_device *d, const kn_reduction *r, const float *x, const float *y,
                          const float *dy, float *dx) {
    (void)d;
    kn_bcast stay = axes_loop(r, false), gone = axes_loop(r, true);
    if (kn_loop_empty(&stay) || kn_loop_empty(&gone))
        return KN_OK;
    int64_t index[KN_MAX_RANK] = {0}, from = 0, unused = 0;
    do
        share(&gone, x + from, *y++, *dy++, dx + from);
    while (kn_odometer(&stay, index, &from, &unused));
    return KN_OK;
}

static int32_t row_argmax(int64_t cols, const float *x) {
    int64_t best = 0;
    for (int64_t c = 1; c < cols && !isnan(x[best]); c++)
        if (x[c] > x[best] || isnan(x[c]))
            best = c;
    return (int32_t)best;
}

kn_status kn_ref_argmax(kn_device *d, int64_t rows, int64_t cols, const float *x, int32_t *y) {
    (void)d;
    for (int64_t r = 0; r < rows; r++)
        y[r] = row_argmax(cols, x + r * cols);
    return KN_OK;
}

/* A loop over the index in order, with x's offset where its own axis counts for nothing. */
static kn_bcast gather_loop(const kn_gather_dims *g, int64_t *axis_step) {
    kn_bcast loop = {.rank = g->index.rank};
    int64_t step = 1;
    for (int axis = g->x.rank - 1; axis >= 0; axis--) {
        loop.dim[axis] = g->index.dim[axis];
        loop.a_step[axis] = axis == g->axis ? 0 : step;
        if (axis == g->axis)
            *axis_step = step;
        step *= g->x.dim[axis];
    }
    return loop;
}

static kn_status bad_index(kn_device *d, const char *op, int64_t i, int64_t value, int64_t limit) {
    return kn_error_set(d->error, KN_ERR_ARG, "%s: element %lld is %lld, expected 0 to %lld", op,
                        (long long)i, (long long)value, (long long)limit - 1);
}

kn_status kn_ref_gather(kn_device *d, const kn_gather_dims *g, const float *x, const int32_t *index,
                        float *y) {
    int64_t axis_step = 1;
    kn_bcast loop = gather_loop(g, &axis_step);
    if (kn_loop_empty(&loop))
        return KN_OK;
    int64_t place[KN_MAX_RANK] = {0}, from = 0, unused = 0, i = 0;
    do {
        if (index[i] < 0 || index[i] >= g->x.dim[g->axis])
            return bad_index(d, "gather: index", i, index[i], g->x.dim[g->axis]);
        y[i] = x[from + index[i] * axis_step];
        i++;
    } while (kn_odometer(&loop, place, &from, &unused));
    return KN_OK;
}

kn_status kn_ref_put_rows(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                          const void *x, void *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)y + (size_t)index[i] * bytes, (const char *)x + (size_t)i * bytes, bytes);
    return KN_OK;
}

kn_status kn_ref_take_rows(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                           const void *x, void *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)y + (size_t)i * bytes, (const char *)x + (size_t)index[i] * bytes, bytes);
    return KN_OK;
}

kn_status kn_ref_gather_grad(kn_device *d, const kn_gather_dims *g, const int32_t *index,
                             const float *dy, float *dx) {
    int64_t axis_step = 1;
    kn_bcast loop = gather_loop(g, &axis_step);
    kn_ref_zero(d, dx, (size_t)kn_shape_numel(&g->x) * sizeof *dx);
    if (kn_loop_empty(&loop))
        return KN_OK;
    int64_t place[KN_MAX_RANK] = {0}, to = 0, unused = 0, i = 0;
    do {
        dx[to + index[i] * axis_step] += dy[i];
        i++;
    } while (kn_odometer(&loop, place, &to, &unused));
    return KN_OK;
}
