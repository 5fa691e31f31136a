/* move_rows.cu - rows of bytes to and from places that an index names: samples of a data set that
 * stays on the device. */
#include "backend/cuda/cuda.cuh"

enum { THREADS = 256 };

/* A row has so many words of W; a thread moves one. */
template <typename W, bool put>
static __global__ void rows_kernel(int64_t n, int64_t words, const int32_t *index, const W *x,
                                   W *y) {
    int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n * words)
        return;
    int64_t row = i / words, own = i - row * words, far = index[row] * words + own;
    y[put ? far : i] = x[put ? i : far];
}

template <typename W, bool put>
static kn_status move(kn_device *d, int64_t n, size_t bytes, const int32_t *index, const void *x,
                      void *y) {
    int64_t words = static_cast<int64_t>(bytes / sizeof(W));
    return kn_cuda_launch(d, put ? "put rows" : "take rows", rows_kernel<W, put>,
                          kn_cuda_blocks(n * words, THREADS), THREADS, 0, n, words, index,
                          static_cast<const W *>(x), static_cast<W *>(y));
}

extern "C" kn_status kn_cuda_put_rows(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                                      const void *x, void *y) {
    return kn_cuda_by_sixteen(bytes, x, y) ? move<uint4, true>(d, n, bytes, index, x, y)
                                           : move<uint8_t, true>(d, n, bytes, index, x, y);
}

extern "C" kn_status kn_cuda_take_rows(kn_device *d, int64_t n, size_t bytes, const int32_t *index,
                                       const void *x, void *y) {
    return kn_cuda_by_sixteen(bytes, x, y) ? move<uint4, false>(d, n, bytes, index, x, y)
                                           : move<uint8_t, false>(d, n, bytes, index, x, y);
}
