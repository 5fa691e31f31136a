/* rows.cuh - a row of logits, to a warp. */
#ifndef KN_BACKEND_CUDA_ROWS_CUH
#define KN_BACKEND_CUDA_ROWS_CUH

#include "backend/cuda/device_math.cuh"

/* log(sum(exp(x))) with the largest subtracted first, so that nothing overflows. Every lane of the
 * warp has it. */
static __device__ inline double kn_row_logsumexp(int64_t cols, const float *x) {
    int lane = static_cast<int>(threadIdx.x) % 32;
    float largest = -INFINITY;
    for (int64_t c = lane; c < cols; c += 32)
        largest = kn_larger(largest, x[c]);
    largest = kn_warp_max(largest);
    if (!isfinite(largest))
        return static_cast<double>(largest);
    double sum = 0;
    for (int64_t c = lane; c < cols; c += 32)
        sum += static_cast<double>(expf(x[c] - largest));
    return static_cast<double>(largest) + log(kn_warp_sum(sum));
}

/* The log-probabilities of a row. No distribution has an infinite logit: NaN, as in PyTorch. */
static __device__ inline void kn_row_log_softmax(int64_t cols, const float *x, float *y) {
    double lse = kn_row_logsumexp(cols, x);
    if (lse == INFINITY)
        lse = NAN;
    for (int64_t c = threadIdx.x % 32; c < cols; c += 32)
        y[c] = static_cast<float>(static_cast<double>(x[c]) - lse);
}

#endif
