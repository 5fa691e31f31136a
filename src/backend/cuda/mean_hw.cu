/* mean_hw.cu - the mean over a whole map, [N,H*W,C] to [N,C]. */
#include "backend/cuda/device_math.cuh"

enum { THREADS = 256, ACROSS = 32, DOWN = THREADS / ACROSS };

/* Block (tile, n): 32 channels of picture n, eight threads each. */
template <typename T>
static __global__ void mean_kernel(int64_t pixels, int64_t channels, const T *x, float *y) {
    __shared__ float room[DOWN][ACROSS];
    int lane = static_cast<int>(threadIdx.x) % ACROSS, own = static_cast<int>(threadIdx.x) / ACROSS;
    int64_t c = static_cast<int64_t>(blockIdx.x) * ACROSS + lane;
    const T *from = x + blockIdx.y * pixels * channels + c;
    float sum = 0;
    for (int64_t p = own; p < pixels && c < channels; p += DOWN)
        sum += kn_wide(from[p * channels]);
    room[own][lane] = sum;
    __syncthreads();
    for (int i = 1; i < DOWN && own == 0; i++)
        sum += room[i][lane];
    if (own == 0 && c < channels)
        y[blockIdx.y * channels + c] = sum / static_cast<float>(pixels);
}

template <typename T>
static __global__ void mean_grad_kernel(int64_t count, int64_t pixels, int64_t channels,
                                        const float *dy, T *dx) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t n = i / (pixels * channels), c = i % channels;
    kn_put(&dx[i], dy[n * channels + c] * (1 / static_cast<float>(pixels)));
}

template <typename T>
static kn_status mean_hw(kn_device *d, int64_t n, int64_t pixels, int64_t c, const T *x, float *y) {
    enum { MOST = 65535 }; /* blocks down */
    kn_status status = KN_OK;
    for (int64_t first = 0; first < n && status == KN_OK; first += MOST) {
        int64_t some = n - first < MOST ? n - first : int64_t(MOST);
        status = kn_cuda_launch(d, "mean_hw", mean_kernel<T>,
                                dim3(kn_cuda_blocks(c, ACROSS), static_cast<unsigned>(some)),
                                THREADS, 0, pixels, c, x + first * pixels * c, y + first * c);
    }
    return status;
}

template <typename T>
static kn_status mean_hw_grad(kn_device *d, int64_t n, int64_t pixels, int64_t c, const float *dy,
                              T *dx) {
    int64_t count = n * pixels * c;
    return kn_cuda_launch(d, "mean_hw_grad", mean_grad_kernel<T>, kn_cuda_blocks(count, THREADS),
                          THREADS, 0, count, pixels, c, dy, dx);
}

extern "C" kn_status kn_cuda_mean_hw(kn_device *d, int64_t n, int64_t pixels, int64_t c,
                                     const float *x, float *y) {
    return mean_hw(d, n, pixels, c, x, y);
}
extern "C" kn_status kn_cuda_mean_hw_grad(kn_device *d, int64_t n, int64_t pixels, int64_t c,
                                          const float *dy, float *dx) {
    return mean_hw_grad(d, n, pixels, c, dy, dx);
}
extern "C" kn_status kn_cuda_bf16_mean_hw(kn_device *d, int64_t n, int64_t pixels, int64_t c,
                                          const kn_bf16 *x, float *y) {
    return mean_hw(d, n, pixels, c, kn_halves(x), y);
}
extern "C" kn_status kn_cuda_bf16_mean_hw_grad(kn_device *d, int64_t n, int64_t pixels, int64_t c,
                                               const float *dy, kn_bf16 *dx) {
    return mean_hw_grad(d, n, pixels, c, dy, kn_halves(dx));
}
