/* gather.cu - picking elements: argmax, gather and its gradient. */
#include "backend/cuda/device_math.cuh"
#include "backend/cuda/index.cuh"

enum { THREADS = 256 };

/* ---- argmax: a warp a row ---- */

/* Is (value, at) a better find? The first NaN, else the largest, else the first of equals. */
static __device__ bool better(float value, int32_t at, float best, int32_t best_at) {
    if (isnan(value) || isnan(best))
        return isnan(value) && (!isnan(best) || at < best_at);
    return value > best || (value == best && at < best_at);
}

static __global__ void argmax_kernel(int64_t rows, int64_t cols, const float *x, int32_t *y) {
    int64_t row = kn_thread() / 32;
    int lane = static_cast<int>(threadIdx.x) % 32;
    if (row >= rows) /* whole warps */
        return;
    float best = -INFINITY;
    int32_t at = INT32_MAX;
    for (int64_t c = lane; c < cols; c += 32)
        if (better(x[row * cols + c], static_cast<int32_t>(c), best, at)) {
            best = x[row * cols + c];
            at = static_cast<int32_t>(c);
        }
    for (int away = 16; away > 0; away /= 2) {
        float other = __shfl_xor_sync(kn_all_lanes, best, away);
        int32_t other_at = __shfl_xor_sync(kn_all_lanes, at, away);
        if (better(other, other_at, best, at)) {
            best = other;
            at = other_at;
        }
    }
    if (lane == 0)
        y[row] = at;
}

extern "C" kn_status kn_cuda_argmax(kn_device *d, int64_t rows, int64_t cols, const float *x,
                                    int32_t *y) {
    return kn_cuda_launch(d, "argmax", argmax_kernel, kn_cuda_blocks(rows, THREADS / 32), THREADS,
                          0, rows, cols, x, y);
}

/* ---- gather ---- */

/* A loop over the index in order, with x's offset where its own axis counts for nothing. */
static kn_bcast index_loop(const kn_gather_dims *g, int64_t *axis_step) {
    kn_bcast loop = {};
    int64_t step = 1;
    loop.rank = g->index.rank;
    for (int axis = g->x.rank - 1; axis >= 0; axis--) {
        loop.dim[axis] = g->index.dim[axis];
        loop.a_step[axis] = axis == g->axis ? 0 : step;
        if (axis == g->axis)
            *axis_step = step;
        step *= g->x.dim[axis];
    }
    return loop;
}

static __global__ void gather_kernel(int64_t n, kn_bcast loop, int64_t axis_step, int64_t limit,
                                     const float *x, const int32_t *index, float *y, int *trouble) {
    int64_t i = kn_thread();
    if (i >= n)
        return;
    bool good = index[i] >= 0 && index[i] < limit;
    if (!good)
        trouble[KN_CUDA_BAD_INDEX] = 1;
    y[i] = good ? x[kn_loop_at(loop, i) + index[i] * axis_step] : NAN;
}

extern "C" kn_status kn_cuda_gather(kn_device *d, const kn_gather_dims *g, const float *x,
                                    const int32_t *index, float *y) {
    int64_t axis_step = 1;
    kn_bcast loop = index_loop(g, &axis_step);
    int64_t n = kn_loop_count(&loop);
    return kn_cuda_launch(d, "gather", gather_kernel, kn_cuda_blocks(n, THREADS), THREADS, 0, n,
                          loop, axis_step, g->x.dim[g->axis], x, index, y, kn_cuda_trouble(d));
}

/* A loop over x; b: where the index has its first element for that place, along the axis. */
struct gather_back {
    kn_bcast loop;
    int64_t index_dim[KN_MAX_RANK];
    int axis;
    int64_t along, along_step; /* of the index, along the axis */
};
KN_HAS_NO_POINTERS(gather_back);

/* Each element of dx adds up what was taken from it, in the index's order. */
static __global__ void gather_grad_kernel(int64_t n, gather_back g, const int32_t *index,
                                          const float *dy, float *dx) {
    int64_t i = kn_thread(), left = i, from = 0, own = 0;
    if (i >= n)
        return;
    bool inside = true;
    for (int axis = g.loop.rank - 1; axis >= 0; axis--) {
        int64_t q = left / g.loop.dim[axis], at = left - q * g.loop.dim[axis];
        if (axis == g.axis)
            own = at;
        else
            inside = inside && at < g.index_dim[axis];
        from += axis == g.axis ? 0 : at * g.loop.b_step[axis];
        left = q;
    }
    float sum = 0;
    for (int64_t k = 0; k < g.along && inside; k++)
        if (index[from + k * g.along_step] == own)
            sum += dy[from + k * g.along_step];
    dx[i] = sum;
}

extern "C" kn_status kn_cuda_gather_grad(kn_device *d, const kn_gather_dims *g,
                                         const int32_t *index, const float *dy, float *dx) {
    gather_back back = {};
    int64_t n = 1, step = 1;
    back.axis = g->axis;
    back.loop.rank = g->x.rank;
    for (int axis = g->x.rank - 1; axis >= 0; axis--) {
        back.loop.dim[axis] = g->x.dim[axis];
        back.index_dim[axis] = g->index.dim[axis];
        back.loop.b_step[axis] = step;
        if (axis == g->axis) {
            back.along = g->index.dim[axis];
            back.along_step = step;
        }
        step *= g->index.dim[axis];
        n *= g->x.dim[axis];
    }
    return kn_cuda_launch(d, "gather_grad", gather_grad_kernel, kn_cuda_blocks(n, THREADS), THREADS,
                          0, n, back, index, dy, dx);
}
