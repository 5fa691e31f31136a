/* softmax.cu - softmax, its logarithm and logsumexp over rows: a warp a row. */
#include "backend/cuda/rows.cuh"

enum { THREADS = 256, ROWS = THREADS / 32 };

/* The warp's row, and the lane; whole warps leave. */
#define ROW_OR_RETURN(rows)                                                                        \
    const int64_t row = kn_thread() / 32;                                                          \
    const int lane = static_cast<int>(threadIdx.x) % 32;                                           \
    if (row >= (rows))                                                                             \
        return;

static __global__ void softmax_kernel(int64_t rows, int64_t cols, bool log, const float *x,
                                      float *y) {
    ROW_OR_RETURN(rows)
    x += row * cols;
    y += row * cols;
    if (log) {
        kn_row_log_softmax(cols, x, y);
        return;
    }
    double lse = kn_row_logsumexp(cols, x);
    if (lse == INFINITY)
        lse = NAN;
    for (int64_t c = lane; c < cols; c += 32)
        y[c] = static_cast<float>(exp(static_cast<double>(x[c]) - lse));
}

static __global__ void softmax_grad_kernel(int64_t rows, int64_t cols, bool log, const float *y,
                                           const float *dy, float *dx) {
    ROW_OR_RETURN(rows)
    y += row * cols;
    dy += row * cols;
    dx += row * cols;
    double sum = 0;
    for (int64_t c = lane; c < cols; c += 32)
        sum += static_cast<double>(dy[c]) * (log ? 1 : static_cast<double>(y[c]));
    sum = kn_warp_sum(sum);
    for (int64_t c = lane; c < cols; c += 32) {
        double g = static_cast<double>(dy[c]), out = static_cast<double>(y[c]);
        dx[c] = static_cast<float>(log ? g - exp(out) * sum : out * (g - sum));
    }
}

static __global__ void logsumexp_kernel(int64_t rows, int64_t cols, const float *x, float *y) {
    ROW_OR_RETURN(rows)
    double lse = kn_row_logsumexp(cols, x + row * cols);
    if (lane == 0)
        y[row] = static_cast<float>(lse);
}

static __global__ void logsumexp_grad_kernel(int64_t rows, int64_t cols, const float *x,
                                             const float *y, const float *dy, float *dx) {
    ROW_OR_RETURN(rows)
    for (int64_t c = lane; c < cols; c += 32) {
        double off = static_cast<double>(x[row * cols + c]) - static_cast<double>(y[row]);
        dx[row * cols + c] = static_cast<float>(static_cast<double>(dy[row]) * exp(off));
    }
}

extern "C" kn_status kn_cuda_softmax(kn_device *d, int64_t rows, int64_t cols, bool log,
                                     const float *x, float *y) {
    return kn_cuda_launch(d, "softmax", softmax_kernel, kn_cuda_blocks(rows, ROWS), THREADS, 0,
                          rows, cols, log, x, y);
}
extern "C" kn_status kn_cuda_softmax_grad(kn_device *d, int64_t rows, int64_t cols, bool log,
                                          const float *y, const float *dy, float *dx) {
    return kn_cuda_launch(d, "softmax_grad", softmax_grad_kernel, kn_cuda_blocks(rows, ROWS),
                          THREADS, 0, rows, cols, log, y, dy, dx);
}
extern "C" kn_status kn_cuda_logsumexp(kn_device *d, int64_t rows, int64_t cols, const float *x,
                                       float *y) {
    return kn_cuda_launch(d, "logsumexp", logsumexp_kernel, kn_cuda_blocks(rows, ROWS), THREADS, 0,
                          rows, cols, x, y);
}
extern "C" kn_status kn_cuda_logsumexp_grad(kn_device *d, int64_t rows, int64_t cols,
                                            const float *x, const float *y, const float *dy,
                                            float *dx) {
    return kn_cuda_launch(d, "logsumexp_grad", logsumexp_grad_kernel, kn_cuda_blocks(rows, ROWS),
                          THREADS, 0, rows, cols, x, y, dy, dx);
}
