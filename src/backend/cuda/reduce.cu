/* reduce.cu - sums, means and maxima over axes; argmax; gathering; what is asked of a whole tensor.
 *
 * A result is made by one block, or, where few results are made of much, in two stages: blocks
 * leave parts in scratch, and the last to finish adds them up in their order. Sums run in double.
 */
#include "backend/cuda/device_math.cuh"
#include "backend/cuda/index.cuh"

enum { THREADS = 256, MOST_PARTS = 256 };
static const int64_t least_part = 4096;

/* ---- one block a result ---- */

/* Of what each thread found. */
static __device__ double block_result(kn_reduce_kind kind, double sum, float largest,
                                      double *room) {
    if (kind != KN_MAX)
        return kn_block_sum(sum, room);
    __shared__ float of_warp[32];
    largest = kn_warp_max(largest);
    if (threadIdx.x % 32 == 0)
        of_warp[threadIdx.x / 32] = largest;
    __syncthreads();
    largest = of_warp[0];
    for (unsigned i = 1; i < blockDim.x / 32; i++)
        largest = kn_larger(largest, of_warp[i]);
    return largest;
}

static __global__ void reduce_kernel(kn_reduce_kind kind, kn_bcast stay, kn_bcast gone,
                                     int64_t count, const float *x, float *y) {
    __shared__ double room[32];
    const float *from = x + kn_loop_at(stay, blockIdx.x);
    double sum = 0;
    float largest = -INFINITY;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        float value = from[gone.rank == 1 ? i * gone.a_step[0] : kn_loop_at(gone, i)];
        if (kind == KN_MAX)
            largest = kn_larger(largest, value);
        else
            sum += static_cast<double>(value);
    }
    double total = block_result(kind, sum, largest, room);
    if (threadIdx.x == 0)
        y[blockIdx.x] =
            static_cast<float>(kind == KN_MEAN ? total / static_cast<double>(count) : total);
}

/* ---- sums of columns: neighbouring threads, neighbouring columns ---- */

/* y[c] = scale * sum over the rows. Block (c, p) adds up part p of the rows for 32 columns. */
static __global__ void columns_kernel(int64_t rows, int64_t cols, int64_t part, double scale,
                                      const float *x, double *parts, unsigned *counters, float *y) {
    __shared__ double room[8][33];
    int lane = static_cast<int>(threadIdx.x) % 32, own = static_cast<int>(threadIdx.x) / 32;
    int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + lane;
    int64_t first = blockIdx.y * part, end = first + part < rows ? first + part : rows;
    double sum = 0;
    for (int64_t r = first + own; r < end && c < cols; r += 8)
        sum += static_cast<double>(x[r * cols + c]);
    room[own][lane] = sum;
    __syncthreads();
    if (own == 0 && c < cols) {
        for (int i = 1; i < 8; i++)
            sum += room[i][lane];
        if (gridDim.y == 1)
            y[c] = static_cast<float>(sum * scale);
        else
            parts[blockIdx.y * cols + c] = sum;
    }
    if (gridDim.y == 1 || !kn_last_block(&counters[blockIdx.x], gridDim.y))
        return;
    sum = 0;
    for (unsigned p = static_cast<unsigned>(own); p < gridDim.y && c < cols; p += 8)
        sum += parts[p * cols + c];
    room[own][lane] = sum;
    __syncthreads();
    if (own == 0 && c < cols) {
        for (int i = 1; i < 8; i++)
            sum += room[i][lane];
        y[c] = static_cast<float>(sum * scale);
    }
}

static int64_t columns_parts(int64_t rows, int64_t cols) {
    int64_t tiles = (cols + 31) / 32, parts = (rows + 63) / 64, most = 264 / tiles;
    most = most < 1 ? 1 : most;
    return parts < most ? parts : most;
}

static kn_status sum_columns(kn_device *d, int64_t rows, int64_t cols, double scale, const float *x,
                             float *y) {
    int64_t parts = columns_parts(rows, cols), tiles = (cols + 31) / 32;
    double *room = static_cast<double *>(
        kn_cuda_scratch(d, static_cast<size_t>(parts * cols) * sizeof(double)));
    if (room == NULL)
        return KN_ERR_MEMORY;
    kn_cuda_extent(d, y, static_cast<size_t>(cols) * sizeof(float));
    return kn_cuda_launch(d, "sum of columns", columns_kernel,
                          dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(parts)), THREADS,
                          0, rows, cols, (rows + parts - 1) / parts, scale, x, room,
                          kn_cuda_counters(d), y);
}

/* ---- everything to one number ---- */

static int64_t parts_of(int64_t n) {
    int64_t parts = (n + least_part - 1) / least_part;
    return parts < 1 ? 1 : parts > MOST_PARTS ? int64_t(MOST_PARTS) : parts;
}

/* What is added up of each x. */
enum sum_kind { SUM_VALUES, SUM_SQUARES };

/* The last block's thread 0 adds the total to *total, or writes scale times it to y. */
static __global__ void total_kernel(sum_kind kind, int64_t n, double scale, const float *x,
                                    double *parts, unsigned *counters, double *total, float *y) {
    __shared__ double room[32];
    double sum = 0;
    for (int64_t i = kn_thread(); i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        double value = static_cast<double>(x[i]);
        sum += kind == SUM_SQUARES ? value * value : value;
    }
    sum = kn_block_sum(sum, room);
    if (gridDim.x > 1) {
        if (threadIdx.x == 0)
            parts[blockIdx.x] = sum;
        if (!kn_last_block(counters, gridDim.x))
            return;
        sum = kn_block_sum(threadIdx.x < gridDim.x ? parts[threadIdx.x] : 0.0, room);
    }
    if (threadIdx.x != 0)
        return;
    if (total != NULL)
        *total += sum;
    else
        *y = static_cast<float>(sum * scale);
}

static kn_status sum_all(kn_device *d, sum_kind kind, int64_t n, double scale, const float *x,
                         double *total, float *y) {
    static_assert(static_cast<int>(MOST_PARTS) <= static_cast<int>(THREADS), "a thread a part");
    double *parts = static_cast<double *>(kn_cuda_scratch(d, MOST_PARTS * sizeof(double)));
    if (parts == NULL)
        return KN_ERR_MEMORY;
    return kn_cuda_launch(d, "sum", total_kernel, static_cast<unsigned>(parts_of(n)), THREADS, 0,
                          kind, n, scale, x, parts, kn_cuda_counters(d), total, y);
}

extern "C" kn_status kn_cuda_square_sum(kn_device *d, int64_t n, const float *x, double *total) {
    return sum_all(d, SUM_SQUARES, n, 1, x, total, NULL);
}

/* ---- the table's reduce ---- */

/* The axes of x that are reduced, or those that stay; neighbours that are walked as one are one. */
static kn_bcast axes_loop(const kn_reduction *r, bool reduced) {
    kn_bcast loop = {};
    int before = -2;
    for (int axis = 0; axis < r->x.rank; axis++) {
        if (((r->axes >> axis & 1) != 0) != reduced)
            continue;
        int64_t step = 1;
        for (int inner = axis + 1; inner < r->x.rank; inner++)
            step *= r->x.dim[inner];
        if (before != axis - 1)
            loop.rank++;
        else
            loop.dim[loop.rank - 1] *= r->x.dim[axis];
        if (before != axis - 1)
            loop.dim[loop.rank - 1] = r->x.dim[axis];
        loop.a_step[loop.rank - 1] = step;
        before = axis;
    }
    return loop;
}

extern "C" kn_status kn_cuda_reduce(kn_device *d, const kn_reduction *r, const float *x, float *y) {
    kn_bcast stay = axes_loop(r, false), gone = axes_loop(r, true);
    int64_t results = kn_loop_count(&stay), count = kn_loop_count(&gone);
    double scale = r->kind == KN_MEAN ? 1 / static_cast<double>(count) : 1;
    bool sums = r->kind != KN_MAX && count > 0;
    if (results == 1 && sums && count > 2 * least_part)
        return sum_all(d, SUM_VALUES, count, scale, x, NULL, y);
    if (sums && stay.rank == 1 && gone.rank == 1 && stay.a_step[0] == 1 && results > 1)
        return sum_columns(d, count, results, scale, x, y);
    if (gone.rank == 0) /* one number each */
        gone.a_step[0] = 0;
    unsigned threads = count <= 32 ? 32 : THREADS;
    return kn_cuda_launch(d, "reduce", reduce_kernel, static_cast<unsigned>(results), threads, 0,
                          r->kind, stay, gone, count, x, y);
}

/* Counts the maxima of one result, then shares its gradient. A NaN equals nothing: 0 / 0 makes the
 * gradient NaN too. */
static __global__ void max_grad_kernel(kn_bcast stay, kn_bcast gone, int64_t count, const float *x,
                                       const float *y, const float *dy, float *dx) {
    __shared__ int64_t room[32];
    int64_t from = kn_loop_at(stay, blockIdx.x), ties = 0;
    float largest = y[blockIdx.x], grad = dy[blockIdx.x];
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x)
        ties += x[from + kn_loop_at(gone, i)] == largest;
    ties = kn_block_sum(ties, room);
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        int64_t at = from + kn_loop_at(gone, i);
        dx[at] = (x[at] == largest ? grad : 0) / static_cast<float>(ties);
    }
}

extern "C" kn_status kn_cuda_max_grad(kn_device *d, const kn_reduction *r, const float *x,
                                      const float *y, const float *dy, float *dx) {
    kn_bcast stay = axes_loop(r, false), gone = axes_loop(r, true);
    return kn_cuda_launch(d, "max_grad", max_grad_kernel,
                          static_cast<unsigned>(kn_loop_count(&stay)), 128, 0, stay, gone,
                          kn_loop_count(&gone), x, y, dy, dx);
}

/* ---- statistics for somebody who watches ---- */

/* Sums of x - x[0] and its squares: of what lies far from 0 the digits would be lost. */
static __global__ void stats_kernel(int64_t n, float near, const float *x, double *parts,
                                    unsigned *counters, double *out) {
    __shared__ double room[32];
    double base = static_cast<double>(x[0]), sum = 0, squares = 0, close = 0;
    for (int64_t i = kn_thread(); i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        double off = static_cast<double>(x[i]) - base;
        sum += off;
        squares += off * off;
        close += fabsf(x[i]) <= near;
    }
    sum = kn_block_sum(sum, room);
    squares = kn_block_sum(squares, room);
    close = kn_block_sum(close, room);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
        parts[MOST_PARTS + blockIdx.x] = squares;
        parts[2 * MOST_PARTS + blockIdx.x] = close;
    }
    if (!kn_last_block(counters, gridDim.x))
        return;
    bool mine = threadIdx.x < gridDim.x;
    sum = kn_block_sum(mine ? parts[threadIdx.x] : 0.0, room);
    squares = kn_block_sum(mine ? parts[MOST_PARTS + threadIdx.x] : 0.0, room);
    close = kn_block_sum(mine ? parts[2 * MOST_PARTS + threadIdx.x] : 0.0, room);
    if (threadIdx.x == 0) {
        double count = static_cast<double>(n), off = sum / count;
        double spread = squares - sum * off;
        out[0] = base + off;
        out[1] = sqrt((spread < 0 ? 0 : spread) / (count - 1));
        out[2] = close / count;
    }
}

extern "C" kn_status kn_cuda_stats(kn_device *d, int64_t n, float near, const float *x,
                                   double *out) {
    double *parts = static_cast<double *>(kn_cuda_scratch(d, 3 * MOST_PARTS * sizeof(double)));
    if (parts == NULL)
        return KN_ERR_MEMORY;
    return kn_cuda_launch(d, "stats", stats_kernel, static_cast<unsigned>(parts_of(n)), THREADS, 0,
                          n, near, x, parts, kn_cuda_counters(d), out);
}
