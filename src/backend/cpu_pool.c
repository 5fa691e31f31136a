/* cpu_pool.c - pooling over windows, and over whole pictures, on the cpu device. The threads share
 * the pictures; the channels of a pixel lie next to each other and are worked on together. A
 * gradient is gathered: each pixel of it adds up what the windows over it give, in f32, and is
 * written once. */
#include "backend/cpu_loops.h"

#include "core/multiversion.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 256 }; /* channels worked on together */

typedef struct pool_job pool_job;
typedef struct window window;
typedef struct reach reach;

struct pool_job {
    const kn_pool_dims *dims;
    const void *x; /* or dy */
    const uint8_t *taken;
    void *y; /* or dx */
    uint8_t *which;
    void (*pixel)(const pool_job *job, const window *w, int64_t c, int64_t channels);
    void (*grad_pixel)(const pool_job *job, const reach *r, int64_t c, int64_t channels);
};

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

/* A pixel of the result: where its picture and it begin, and its window. */
struct window {
    int64_t picture, pixel;
    span rows, columns;
};

/* The windows [first, end) along one side that a coordinate lies in. */
typedef struct covers {
    int64_t first, end;
} covers;

static covers covers_of(const kn_pool_dims *p, int64_t at, int64_t out) {
    int64_t beyond = at + p->padding - p->kernel; /* windows that start here or before end before */
    covers c = {.first = beyond < 0 ? 0 : beyond / p->stride + 1,
                .end = (at + p->padding) / p->stride + 1};
    c.end = c.end < out ? c.end : out;
    return c;
}

/* A pixel of the gradient: where dy's picture and it begin, and the windows over it. */
struct reach {
    int64_t picture, pixel, row, column;
    covers rows, columns;
};

/* Of whole pictures: x to its means, or their gradient to x's. */
typedef struct mean_job {
    int64_t hw, c;
    const void *from;
    void *to;
} mean_job;

#define NUMBER     float
#define NAME(what) what##_f32
#define GET(x)     (x)
#define PUT(x)     (x)
#include "backend/cpu_pool_rows.h"

#define NUMBER     kn_bf16
#define NAME(what) what##_bf16
#define GET(x)     kn_bf16_value(x)
#define PUT(x)     kn_bf16_from(x)
#include "backend/cpu_pool_rows.h"

/* ---- pictures ---- */

static void pool_range(const void *args, int64_t begin, int64_t end) {
    const pool_job *job = args;
    const kn_pool_dims *p = job->dims;
    for (int64_t i = begin * p->out_h * p->out_w; i < end * p->out_h * p->out_w; i++) {
        window w = {.picture = i / (p->out_h * p->out_w) * p->h * p->w * p->c,
                    .pixel = i * p->c,
                    .rows = span_at(p, i / p->out_w % p->out_h, p->h),
                    .columns = span_at(p, i % p->out_w, p->w)};
        for (int64_t c = 0; c < p->c; c += CHUNK)
            job->pixel(job, &w, c, p->c - c < CHUNK ? p->c - c : CHUNK);
    }
}

static void grad_range(const void *args, int64_t begin, int64_t end) {
    const pool_job *job = args;
    const kn_pool_dims *p = job->dims;
    for (int64_t i = begin * p->h * p->w; i < end * p->h * p->w; i++) {
        reach r = {.picture = i / (p->h * p->w) * p->out_h * p->out_w * p->c,
                   .pixel = i * p->c,
                   .row = i / p->w % p->h,
                   .column = i % p->w};
        r.rows = covers_of(p, r.row, p->out_h);
        r.columns = covers_of(p, r.column, p->out_w);
        for (int64_t c = 0; c < p->c; c += CHUNK)
            job->grad_pixel(job, &r, c, p->c - c < CHUNK ? p->c - c : CHUNK);
    }
}

static kn_status run(kn_device *d, const pool_job *job) {
    const kn_pool_dims *p = job->dims;
    return kn_cpu_over(d, p->n, 1, p->n * p->h * p->w * p->c,
                       job->pixel != NULL ? pool_range : grad_range, job);
}

kn_status kn_cpu_max_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y,
                          uint8_t *which) {
    return run(d, &(pool_job){.dims = p, .x = x, .y = y, .which = which, .pixel = max_pixel_f32});
}

kn_status kn_cpu_max_pool_bf16(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y,
                               uint8_t *which) {
    return run(d, &(pool_job){.dims = p, .x = x, .y = y, .which = which, .pixel = max_pixel_bf16});
}

kn_status kn_cpu_max_pool_grad(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const float *dy, float *dx) {
    return run(
        d,
        &(pool_job){.dims = p, .x = dy, .taken = which, .y = dx, .grad_pixel = max_grad_pixel_f32});
}

kn_status kn_cpu_max_pool_grad_bf16(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                                    const kn_bf16 *dy, kn_bf16 *dx) {
    return run(d,
               &(pool_job){
                   .dims = p, .x = dy, .taken = which, .y = dx, .grad_pixel = max_grad_pixel_bf16});
}

kn_status kn_cpu_avg_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y) {
    return run(d, &(pool_job){.dims = p, .x = x, .y = y, .pixel = mean_pixel_f32});
}

kn_status kn_cpu_avg_pool_bf16(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y) {
    return run(d, &(pool_job){.dims = p, .x = x, .y = y, .pixel = mean_pixel_bf16});
}

kn_status kn_cpu_avg_pool_grad(kn_device *d, const kn_pool_dims *p, const float *dy, float *dx) {
    return run(d, &(pool_job){.dims = p, .x = dy, .y = dx, .grad_pixel = mean_grad_pixel_f32});
}

kn_status kn_cpu_avg_pool_grad_bf16(kn_device *d, const kn_pool_dims *p, const kn_bf16 *dy,
                                    kn_bf16 *dx) {
    return run(d, &(pool_job){.dims = p, .x = dy, .y = dx, .grad_pixel = mean_grad_pixel_bf16});
}

/* ---- whole pictures ---- */

static kn_status run_mean(kn_device *d, int64_t n, mean_job job, kn_range_fn fn) {
    return kn_cpu_over(d, n, 1, n * job.hw * job.c, fn, &job);
}

kn_status kn_cpu_mean_hw(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *x, float *y) {
    return run_mean(d, n, (mean_job){hw, c, x, y}, mean_pictures_f32);
}

kn_status kn_cpu_mean_hw_bf16(kn_device *d, int64_t n, int64_t hw, int64_t c, const kn_bf16 *x,
                              float *y) {
    return run_mean(d, n, (mean_job){hw, c, x, y}, mean_pictures_bf16);
}

kn_status kn_cpu_mean_hw_grad(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              float *dx) {
    return run_mean(d, n, (mean_job){hw, c, dy, dx}, mean_pictures_grad_f32);
}

kn_status kn_cpu_mean_hw_grad_bf16(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                                   kn_bf16 *dx) {
    return run_mean(d, n, (mean_job){hw, c, dy, dx}, mean_pictures_grad_bf16);
}
