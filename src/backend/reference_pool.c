/* reference_pool.c - maxima and means over windows: see reference.c. */
#include "backend/reference.h"

#include <math.h>

/* One window: the part of it that lies on the picture, and the number of its places up to where the
 * padding ends. */
typedef struct window {
    int64_t top, left, bottom, right; /* rows and columns of x; the last ones excluded */
    int64_t first_y, first_x;         /* of the whole window: may be negative */
    int64_t places;
} window;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static window window_at(const kn_pool_dims *p, int64_t out_y, int64_t out_x) {
    int64_t y = out_y * p->stride - p->padding, x = out_x * p->stride - p->padding;
    int64_t end_y = least(y + p->kernel, p->h + p->padding);
    int64_t end_x = least(x + p->kernel, p->w + p->padding);
    return (window){.top = y > 0 ? y : 0,
                    .left = x > 0 ? x : 0,
                    .bottom = least(end_y, p->h),
                    .right = least(end_x, p->w),
                    .first_y = y,
                    .first_x = x,
                    .places = (end_y - y) * (end_x - x)};
}

/* Calls fn for every window and channel; in and out point to the channel in the picture's and the
 * result's first pixel. */
typedef void (*window_fn)(const kn_pool_dims *p, const window *w, int64_t in, int64_t out,
                          const void *args);

static void each_window(const kn_pool_dims *p, window_fn fn, const void *args) {
    int64_t out = 0;
    for (int64_t n = 0; n < p->n; n++)
        for (int64_t y = 0; y < p->out_h; y++)
            for (int64_t x = 0; x < p->out_w; x++) {
                window w = window_at(p, y, x);
                for (int64_t c = 0; c < p->c; c++, out++)
                    fn(p, &w, n * p->h * p->w * p->c + c, out, args);
            }
}

typedef struct pool_args {
    const float *x;
    const uint8_t *taken;
    float *y;
    uint8_t *which;
} pool_args;

/* ---- maxima ---- */

static void window_max(const kn_pool_dims *p, const window *w, int64_t in, int64_t out,
                       const void *args) {
    const pool_args *a = args;
    float best = -INFINITY;
    int64_t place = (w->top - w->first_y) * p->kernel + w->left - w->first_x;
    for (int64_t y = w->top; y < w->bottom; y++)
        for (int64_t x = w->left; x < w->right; x++) {
            float value = a->x[in + (y * p->w + x) * p->c];
            if (value > best || isnan(value)) {
                best = value;
                place = (y - w->first_y) * p->kernel + x - w->first_x;
            }
        }
    a->y[out] = best;
    a->which[out] = (uint8_t)place;
}

kn_status kn_ref_max_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y,
                          uint8_t *which) {
    (void)d;
    each_window(p, window_max, &(pool_args){.x = x, .y = y, .which = which});
    return KN_OK;
}

static void window_max_grad(const kn_pool_dims *p, const window *w, int64_t in, int64_t out,
                            const void *args) {
    const pool_args *a = args;
    int64_t y = w->first_y + a->taken[out] / p->kernel, x = w->first_x + a->taken[out] % p->kernel;
    a->y[in + (y * p->w + x) * p->c] += a->x[out];
}

kn_status kn_ref_max_pool_grad(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const float *dy, float *dx) {
    kn_ref_zero(d, dx, (size_t)(p->n * p->h * p->w * p->c) * sizeof *dx);
    each_window(p, window_max_grad, &(pool_args){.x = dy, .taken = which, .y = dx});
    return KN_OK;
}

/* ---- means ---- */

static void window_mean(const kn_pool_dims *p, const window *w, int64_t in, int64_t out,
                        const void *args) {
    const pool_args *a = args;
    double sum = 0;
    for (int64_t y = w->top; y < w->bottom; y++)
        for (int64_t x = w->left; x < w->right; x++)
            sum += a->x[in + (y * p->w + x) * p->c];
    a->y[out] = (float)(sum / (double)w->places);
}

kn_status kn_ref_avg_pool(kn_device *d, const kn_pool_dims *p, const float *x, float *y) {
    (void)d;
    each_window(p, window_mean, &(pool_args){.x = x, .y = y});
    return KN_OK;
}

static void window_mean_grad(const kn_pool_dims *p, const window *w, int64_t in, int64_t out,
                             const void *args) {
    const pool_args *a = args;
    for (int64_t y = w->top; y < w->bottom; y++)
        for (int64_t x = w->left; x < w->right; x++)
            a->y[in + (y * p->w + x) * p->c] += a->x[out] / (float)w->places;
}

kn_status kn_ref_avg_pool_grad(kn_device *d, const kn_pool_dims *p, const float *dy, float *dx) {
    kn_ref_zero(d, dx, (size_t)(p->n * p->h * p->w * p->c) * sizeof *dx);
    each_window(p, window_mean_grad, &(pool_args){.x = dy, .y = dx});
    return KN_OK;
}
