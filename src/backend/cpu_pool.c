/* cpu_pool.c - pooling over windows on the cpu device. A picture belongs to one
 * thread, so neighbouring windows may write to the same pixel; the channels of a pixel lie next to
 * each other and are worked on together. */
#include "backend/cpu_loops.h"

#include "core/multiversion.h"

#include <math.h>
#include <string.h>

typedef struct pool_job {
    const kn_pool_dims *dims;
    const float *x;
    const uint8_t *taken;
    float *y;
    uint8_t *which;
} pool_job;

/* A window's rows or columns that lie on the picture: places [from, to) of the kernel, the first at
 * coordinate start; and its length up to where the padding ends. */
typedef struct span {
    int64_t start, from, to, length;
} span;

static span span_at(const kn_pool_dims *p, int64_t out, int64_t side) {
    span s = {.start = out * p->stride - p->padding};
    int64_t end = s.start + p->kernel;
    s.length = (end < side + p->padding ? end : side + p->padding) - s.start;
    s.from = s.start < 0 ? -s.start : 0;
    s.to = end < side ? p->kernel : side - s.start;
    return s;
}

/* ---- one place of a window, all channels ---- */

KN_MULTIVERSION static void take_larger(int64_t channels, uint8_t place, const float *restrict x,
                                        float *restrict y, uint8_t *restrict which) {
    for (int64_t c = 0; c < channels; c++) {
        bool larger = x[c] > y[c] || x[c] != x[c];
        y[c] = larger ? x[c] : y[c];
        which[c] = larger ? place : which[c];
    }
}

KN_MULTIVERSION static void give_taken(int64_t channels, uint8_t place,
                                       const uint8_t *restrict taken, const float *restrict dy,
                                       float *restrict dx) {
    for (int64_t c = 0; c < channels; c++)
        dx[c] += taken[c] == place ? dy[c] : 0;
}

KN_MULTIVERSION static void add_scaled(int64_t channels, float scale, const float *restrict x,
                                       float *restrict y) {
    for (int64_t c = 0; c < channels; c++)
        y[c] += x[c] * scale;
}

/* ---- one window ---- */

static void max_window(const pool_job *job, const float *picture, span rows, span columns,
                       int64_t out) {
    const kn_pool_dims *p = job->dims;
    float *y = job->y + out;
    uint8_t *which = job->which + out;
    for (int64_t c = 0; c < p->c; c++)
        y[c] = -INFINITY;
    memset(which, (int)(rows.from * p->kernel + columns.from), (size_t)p->c);
    for (int64_t i = rows.from; i < rows.to; i++)
        for (int64_t k = columns.from; k < columns.to; k++)
            take_larger(p->c, (uint8_t)(i * p->kernel + k),
                        picture + ((rows.start + i) * p->w + columns.start + k) * p->c, y, which);
}

static void max_window_grad(const pool_job *job, float *picture, span rows, span columns,
                            int64_t out) {
    const kn_pool_dims *p = job->dims;
    for (int64_t i = rows.from; i < rows.to; i++)
        for (int64_t k = columns.from; k < columns.to; k++)
            give_taken(p->c, (uint8_t)(i * p->kernel + k), job->taken + out, job->x + out,
                       picture + ((rows.start + i) * p->w + columns.start + k) * p->c);
}

static void mean_window(const pool_job *job, const float *picture, span rows, span columns,
                        int64_t out) {
    const kn_pool_dims *p = job->dims;
    float share = 1 / (float)(rows.length * columns.length);
    memset(job->y + out, 0, (size_t)p->c * sizeof(float));
    for (int64_t i = rows.from; i < rows.to; i++)
        for (int64_t k = columns.from; k < columns.to; k++)
            add_scaled(p->c, share, picture + ((rows.start + i) * p->w + columns.start + k) * p->c,
                       job->y + out);
}

static void mean_window_grad(const pool_job *job, float *picture, span rows, span columns,
                             int64_t out) {
    const kn_pool_dims *p = job->dims;
    float share = 1 / (float)(rows.length * columns.length);
    for (int64_t i = rows.from; i < rows.to; i++)
        for (int64_t k = columns.from; k < columns.to; k++)
            add_scaled(p->c, share, job->x + out,
                       picture + ((rows.start + i) * p->w + columns.start + k) * p->c);
}

/* ---- pictures ---- */

static void pictures(const pool_job *job, int64_t begin, int64_t end,
                     void (*fn)(const pool_job *, const float *, span, span, int64_t)) {
    const kn_pool_dims *p = job->dims;
    for (int64_t n = begin; n < end; n++)
        for (int64_t y = 0; y < p->out_h; y++)
            for (int64_t x = 0; x < p->out_w; x++)
                fn(job, job->x + n * p->h * p->w * p->c, span_at(p, y, p->h), span_at(p, x, p->w),
                   ((n * p->out_h + y) * p->out_w + x) * p->c);
}

static void picture_grads(const pool_job *job, int64_t begin, int64_t end,
                          void (*fn)(const pool_job *, float *, span, span, int64_t)) {
    const kn_pool_dims *p = job->dims;
    int64_t size = p->h * p->w * p->c;
    for (int64_t n = begin; n < end; n++) {
        float *picture = job->y + n * size;
        memset(picture, 0, (size_t)size * sizeof *picture);
        for (int64_t y = 0; y < p->out_h; y++)
            for (int64_t x = 0; x < p->out_w; x++)
                fn(job, picture, span_at(p, y, p->h), span_at(p, x, p->w),
                   ((n * p->out_h + y) * p->out_w + x) * p->c);
    }
}

static void max_range(const void *args, int64_t begin, int64_t end) {
    pictures(args, begin, end, max_window);
}

static void max_grad_range(const void *args, int64_t begin, int64_t end) {
    picture_grads(args, begin, end, max_window_grad);
}

static void mean_range(const void *args, int64_t begin, int64_t end) {
    pictures(args, begin, end, mean_window);
}

static void mean_grad_range(const void *args, int64_t begin, int64_t end) {
    picture_grads(args, begin, end, mean_window_grad);
}

kn_status kn_cpu_max_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y,
                          uint8_t *which) {
    pool_job job = {.dims = p, .x = x, .y = y, .which = which};
    return kn_cpu_over(d, p->n, 1, p->n * p->h * p->w * p->c, max_range, &job);
}

kn_status kn_cpu_max_pool_grad(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const float *dy, float *dx) {
    pool_job job = {.dims = p, .x = dy, .taken = which, .y = dx};
    return kn_cpu_over(d, p->n, 1, p->n * p->h * p->w * p->c, max_grad_range, &job);
}

kn_status kn_cpu_avg_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y) {
    pool_job job = {.dims = p, .x = x, .y = y};
    return kn_cpu_over(d, p->n, 1, p->n * p->h * p->w * p->c, mean_range, &job);
}

kn_status kn_cpu_avg_pool_grad(kn_device *d, const kn_pool_dims *p, const float *dy, float *dx) {
    pool_job job = {.dims = p, .x = dy, .y = dx};
    return kn_cpu_over(d, p->n, 1, p->n * p->h * p->w * p->c, mean_grad_range, &job);
}
