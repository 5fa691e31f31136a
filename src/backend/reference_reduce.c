/* reference_reduce.c - reductions over axes, argmax, gather: see reference.c. */
#include "backend/reference.h"

#include <math.h>

/* A loop over x in order (a), with the place of each element's result (b). */
static kn_bcast reduction_loop(const kn_reduction *r) {
    kn_bcast loop = {.rank = r->x.rank};
    int64_t x_step = 1, y_step = 1;
    for (int axis = r->x.rank - 1; axis >= 0; axis--) {
        bool reduced = r->axes >> axis & 1;
        loop.dim[axis] = r->x.dim[axis];
        loop.a_step[axis] = x_step;
        loop.b_step[axis] = reduced ? 0 : y_step;
        x_step *= r->x.dim[axis];
        y_step *= reduced ? 1 : r->x.dim[axis];
    }
    return loop;
}

static int64_t result_count(const kn_reduction *r) {
    int64_t count = 1;
    for (int axis = 0; axis < r->x.rank; axis++)
        if (!(r->axes >> axis & 1))
            count *= r->x.dim[axis];
    return count;
}

kn_status kn_ref_reduce(kn_device *d, const kn_reduction *r, const float *x, float *y) {
    int64_t results = result_count(r);
    if (results == 0)
        return KN_OK;
    double *total = kn_mem_alloc(d->allocator, (size_t)results * sizeof *total);
    if (total == NULL)
        return kn_error_set(d->error, KN_ERR_MEMORY, "out of memory: reduction to %lld numbers",
                            (long long)results);
    for (int64_t i = 0; i < results; i++)
        total[i] = r->kind == KN_MAX ? -INFINITY : 0;
    kn_bcast loop = reduction_loop(r);
    if (!kn_loop_empty(&loop)) {
        int64_t index[KN_MAX_RANK] = {0}, from = 0, to = 0;
        do {
            if (r->kind != KN_MAX)
                total[to] += x[from];
            else if (x[from] > total[to] || isnan(x[from]))
                total[to] = x[from];
        } while (kn_odometer(&loop, index, &from, &to));
    }
    for (int64_t i = 0; i < results; i++)
        y[i] = (float)(r->kind == KN_MEAN ? total[i] / (double)r->count : total[i]);
    kn_mem_free(d->allocator, total);
    return KN_OK;
}

/* Two passes over x: count each result's maxima, then share. */
kn_status kn_ref_max_grad(kn_device *d, const kn_reduction *r, const float *x, const float *y,
                          const float *dy, float *dx) {
    int64_t results = result_count(r);
    kn_bcast loop = reduction_loop(r);
    if (results == 0 || kn_loop_empty(&loop))
        return KN_OK;
    int64_t *ties = kn_mem_calloc(d->allocator, (size_t)results, sizeof *ties);
    if (ties == NULL)
        return kn_error_set(d->error, KN_ERR_MEMORY, "out of memory: max over %lld numbers",
                            (long long)results);
    for (int pass = 0; pass < 2; pass++) {
        int64_t index[KN_MAX_RANK] = {0}, from = 0, to = 0;
        do {
            bool largest = x[from] == y[to];
            if (pass == 0)
                ties[to] += largest;
            else /* a NaN equals nothing: 0 / 0 makes the gradient NaN too */
                dx[from] = (largest ? dy[to] : 0) / (float)ties[to];
        } while (kn_odometer(&loop, index, &from, &to));
    }
    kn_mem_free(d->allocator, ties);
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
