/* mix.cu - around the model: pixels to numbers, and pictures mixed with their partners. */
#include "backend/cuda/device_math.cuh"

enum { THREADS = 256 };

/* ---- normalise ---- */

struct channels {
    float mean[3], std[3];
};
KN_HAS_NO_POINTERS(channels);

/* Four pixels a thread: twelve bytes in, three times sixteen out. */
static __global__ void normalize_kernel(int64_t pixels, channels by, const uint8_t *x, float *y) {
    int64_t at = kn_thread() * 4;
    if (at + 4 <= pixels) {
        const uint32_t *from = reinterpret_cast<const uint32_t *>(x + at * 3);
        const uint32_t word[3] = {from[0], from[1], from[2]};
        float value[12];
#pragma unroll
        for (int k = 0; k < 12; k++) {
            float byte = static_cast<float>(word[k / 4] >> (k % 4 * 8) & 255u);
            value[k] = (byte / 255.0f - by.mean[k % 3]) / by.std[k % 3];
        }
        kn_store<4>(y + at * 3, value);
        kn_store<4>(y + at * 3 + 4, value + 4);
        kn_store<4>(y + at * 3 + 8, value + 8);
        return;
    }
    for (; at < pixels; at++)
        for (int c = 0; c < 3; c++)
            y[at * 3 + c] = (static_cast<float>(x[at * 3 + c]) / 255.0f - by.mean[c]) / by.std[c];
}

extern "C" kn_status kn_cuda_normalize(kn_device *d, int64_t n, const uint8_t *x,
                                       const float mean[3], const float std[3], float *y) {
    channels by;
    for (int c = 0; c < 3; c++) {
        by.mean[c] = mean[c];
        by.std[c] = std[c];
    }
    return kn_cuda_launch(d, "normalize", normalize_kernel, kn_cuda_blocks(n, 4 * THREADS), THREADS,
                          0, n, by, x, y);
}

/* ---- mixing ---- */

static __global__ void mix_rows_kernel(int64_t count, int64_t cols, const float *x,
                                       const int32_t *partner, const float *lambda, float *y) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t row = i / cols;
    float share = lambda[row];
    float other = share == 1 ? 0 : x[partner[row] * cols + i % cols];
    /* Rounded after each step, as everywhere: the same bits on every device. */
    y[i] = share == 1 ? x[i] : __fadd_rn(__fmul_rn(share, x[i]), __fmul_rn(1 - share, other));
}

extern "C" kn_status kn_cuda_mix_rows(kn_device *d, int64_t rows, int64_t cols, const float *x,
                                      const int32_t *partner, const float *lambda, float *y) {
    return kn_cuda_launch(d, "mix_rows", mix_rows_kernel, kn_cuda_blocks(rows * cols, THREADS),
                          THREADS, 0, rows * cols, cols, x, partner, lambda, y);
}

static __global__ void mix_box_kernel(int64_t count, kn_mix_box box, const float *x,
                                      const int32_t *partner, float *y) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t picture = box.h * box.w * box.c, n = i / picture, within = i % picture;
    int64_t column = within / box.c % box.w, line = within / (box.c * box.w);
    bool inside = line >= box.top && line < box.bottom && column >= box.left && column < box.right;
    y[i] = inside ? x[partner[n] * picture + within] : x[i];
}

extern "C" kn_status kn_cuda_mix_box(kn_device *d, const kn_mix_box *box, const float *x,
                                     const int32_t *partner, float *y) {
    int64_t count = box->n * box->h * box->w * box->c;
    return kn_cuda_launch(d, "mix_box", mix_box_kernel, kn_cuda_blocks(count, THREADS), THREADS, 0,
                          count, *box, x, partner, y);
}
