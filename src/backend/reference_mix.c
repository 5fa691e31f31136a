/* reference_mix.c - a picture and its partner in one: see reference.c. */
#include "backend/reference.h"

#include <string.h>

kn_status kn_ref_mix_rows(kn_device *d, int64_t rows, int64_t cols, const float *x,
                          const int32_t *partner, const float *lambda, float *y) {
    (void)d;
    for (int64_t r = 0; r < rows; r++) {
        const float *own = x + r * cols, *other = x + partner[r] * cols;
        for (int64_t c = 0; c < cols; c++)
            y[r * cols + c] =
                lambda[r] == 1 ? own[c] : lambda[r] * own[c] + (1 - lambda[r]) * other[c];
    }
    return KN_OK;
}

kn_status kn_ref_mix_box(kn_device *d, const kn_mix_box *box, const float *x,
                         const int32_t *partner, float *y) {
    (void)d;
    for (int64_t n = 0; n < box->n; n++)
        for (int64_t i = 0; i < box->h; i++)
            for (int64_t j = 0; j < box->w; j++) {
                bool inside = i >= box->top && i < box->bottom && j >= box->left && j < box->right;
                int64_t from = inside ? partner[n] : n, at = i * box->w + j;
                memcpy(y + (n * box->h * box->w + at) * box->c,
                       x + (from * box->h * box->w + at) * box->c, (size_t)box->c * sizeof *y);
            }
    return KN_OK;
}
