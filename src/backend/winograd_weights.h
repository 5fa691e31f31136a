/* winograd_weights.h - 3x3 weights transformed for the products of Winograd's method: all of them,
 * to be kept, or some, for one product. */
#ifndef KN_BACKEND_WINOGRAD_WEIGHTS_H
#define KN_BACKEND_WINOGRAD_WEIGHTS_H

#include "backend/correlation.h"
#include "backend/winograd_tile.h"

typedef struct kn_winograd_weights {
    const kn_correlation *c; /* its columns and depth are multiples of 16 */
    const kn_tile_kernels *tile;
    const kn_winograd_kernels *kernels;
    const float *plain;
} kn_winograd_weights;

/* Those of columns [col, end) and depths [from, from + depth), all multiples of 16: numbers of the
 * tile's kind, [(end - col) / 16, depth, 16] for a place, and places so many numbers apart. */
void kn_winograd_some(const kn_winograd_weights *w, int64_t col, int64_t end, int64_t from,
                      int64_t depth, int64_t place, char *to);

#endif
