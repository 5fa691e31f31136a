/* cpu_mix.c - a picture and its partner in one, on the cpu device: a picture belongs to one thread.
 */
#include "backend/cpu_loops.h"

#include "core/multiversion.h"

#include <string.h>

typedef struct mix_job {
    int64_t cols; /* of a row, for mix_rows */
    const kn_mix_box *box;
    const float *x, *lambda;
    const int32_t *partner;
    float *y;
} mix_job;

KN_MULTIVERSION static void mix_row(int64_t cols, float share, const float *restrict own,
                                    const float *restrict other, float *restrict y) {
    float rest = 1 - share;
    for (int64_t c = 0; c < cols; c++)
        y[c] = share * own[c] + rest * other[c];
}

static void mix_range(const void *args, int64_t begin, int64_t end) {
    const mix_job *j = args;
    for (int64_t r = begin; r < end; r++) {
        const float *own = j->x + r * j->cols, *other = j->x + j->partner[r] * j->cols;
        if (j->lambda[r] == 1)
            memcpy(j->y + r * j->cols, own, (size_t)j->cols * sizeof *own);
        else
            mix_row(j->cols, j->lambda[r], own, other, j->y + r * j->cols);
    }
}

kn_status kn_cpu_mix_rows(kn_device *d, int64_t rows, int64_t cols, const float *x,
                          const int32_t *partner, const float *lambda, float *y) {
    mix_job j = {.cols = cols, .x = x, .lambda = lambda, .partner = partner, .y = y};
    return kn_cpu_over(d, rows, 1, rows * cols, mix_range, &j);
}

static void box_range(const void *args, int64_t begin, int64_t end) {
    const mix_job *j = args;
    const kn_mix_box *b = j->box;
    int64_t line = b->w * b->c, picture = b->h * line;
    size_t width = (size_t)((b->right - b->left) * b->c);
    for (int64_t n = begin; n < end; n++) {
        const float *other = j->x + j->partner[n] * picture;
        float *y = j->y + n * picture;
        memcpy(y, j->x + n * picture, (size_t)picture * sizeof *y);
        for (int64_t i = b->top; i < b->bottom; i++) {
            int64_t at = i * line + b->left * b->c;
            memcpy(y + at, other + at, width * sizeof *y);
        }
    }
}

kn_status kn_cpu_mix_box(kn_device *d, const kn_mix_box *box, const float *x,
                         const int32_t *partner, float *y) {
    mix_job j = {.box = box, .x = x, .partner = partner, .y = y};
    return kn_cpu_over(d, box->n, 1, box->n * box->h * box->w * box->c, box_range, &j);
}
