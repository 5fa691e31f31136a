/* correlation.h - what a convolution and the gradient of its input have in common: sums over
 * windows of an image, one window a pixel of the result. */
#ifndef KN_BACKEND_CORRELATION_H
#define KN_BACKEND_CORRELATION_H

#include "backend/backend.h"
#include "backend/conv_tile.h"

/* What is done with results as soon as they are there, while a cache holds them: the threads call
 * it once for each, with pixels [first, first + count) of all images' and their columns [col, end).
 */
typedef struct kn_conv_then {
    void (*run)(const void *args, int64_t first, int64_t count, int64_t col, int64_t end);
    const void *args;
} kn_conv_then;

/* out[n, out_y + out_step r, out_x + out_step c, :] for r < grid_h, c < grid_w is the sum over
 * y < kernel_h, x < kernel_w of in[n, in_y + in_step r + y, in_x + in_step c + x, :] (0 outside the
 * image) times weights[y,x]. */
typedef struct kn_correlation {
    int64_t n, in_h, in_w, depth, out_h, out_w, cols;
    int64_t grid_h, grid_w, out_step, out_y, out_x, in_step, in_y, in_x, kernel_h, kernel_w;
    int64_t pixel; /* numbers from pixel to pixel of the input: depth, or more */
    bool add;      /* to what is there, in place of a bias */
    bool triangle; /* of a symmetric product, a row a pixel: columns beyond the diagonal may stay */
    /* Where the weight of window place (y,x) is among the plain ones: kernel place (first_y +
     * y_step y, first_x + y_step x), columns and depths so many numbers apart. */
    int64_t first_y, first_x, place_step, weights_w, col_step, depth_step;
    const kn_conv_then *then; /* NULL: nothing; only of a forward pass */
} kn_correlation;

kn_correlation kn_correlation_forward(const kn_conv_dims *c);

/* The input's gradient at pixels (i, j) of every stride-th row and column: those that the same part
 * of the kernel reached. i, j < stride; all together are the gradient. Its window is over dy. */
kn_correlation kn_correlation_grad(const kn_conv_dims *c, int64_t i, int64_t j);

/* Whether these tiles can: a unit holds whole numbers of one pixel, or of a row of a few channels.
 */
bool kn_correlation_can(const kn_tile_kernels *tile, const kn_correlation *c);

/* Weights as the tiles read them, [ceil(cols / 16), taps, depth, 16] units, rest 0: how many units,
 * and making them. */
int64_t kn_correlation_packed(const kn_tile_kernels *tile, const kn_correlation *c);
void kn_correlation_pack(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                         const float *weights, void *packed);

/* in and out are of the tiles' kind; bias is [cols] or NULL. */
kn_status kn_correlation_run(kn_device *d, const kn_tile_kernels *tile, const kn_correlation *c,
                             const void *in, const void *packed, const float *bias, bool relu,
                             void *out);

#endif
