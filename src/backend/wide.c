/* wide.c - see wide.h. */
#include "backend/wide.h"

enum { MOST_ROOMS = 5 };

/* The f32 copies that one call works on. */
typedef struct rooms {
    kn_device *device;
    float *room[MOST_ROOMS];
    int count;
    kn_status status;
} rooms;

static float *room_for(rooms *r, int64_t n) {
    kn_device *d = r->device;
    if (r->status != KN_OK)
        return NULL;
    float *room = kn_mem_alloc(d->allocator, (size_t)(n > 0 ? n : 1) * sizeof *room);
    if (room == NULL)
        r->status = kn_error_set(d->error, KN_ERR_MEMORY,
                                 "out of memory: %lld numbers of bf16 in f32", (long long)n);
    else
        r->room[r->count++] = room;
    return room;
}

static kn_status cast(rooms *r, kn_dtype from, kn_dtype to, int64_t n, const void *x, void *y) {
    if (r->status == KN_OK)
        r->status = r->device->ops->cast(r->device, from, to, n, x, y);
    return r->status;
}

/* x in f32. NULL: x is, or there is no room. */
static float *widened(rooms *r, int64_t n, const kn_bf16 *x) {
    float *room = x != NULL ? room_for(r, n) : NULL;
    if (room != NULL)
        cast(r, KN_BF16, KN_F32, n, x, room);
    return room;
}

/* Weights count as bf16 too: rounded, in f32. */
static kn_weights rounded(rooms *r, int64_t n, kn_weights w) {
    float *room = room_for(r, n), *half = room_for(r, n);
    if (half != NULL && cast(r, KN_F32, KN_BF16, n, w.data, half) == KN_OK)
        cast(r, KN_BF16, KN_F32, n, half, room);
    return (kn_weights){.data = room};
}

/* The end of a call: what it made, if all went well, into y. */
static kn_status narrowed(rooms *r, int64_t n, const float *made, kn_bf16 *y) {
    if (y != NULL)
        cast(r, KN_F32, KN_BF16, n, made, y);
    return r->status;
}

static kn_status done(rooms *r) {
    for (int i = 0; i < r->count; i++)
        kn_mem_free(r->device->allocator, r->room[i]);
    return r->status;
}

/* ---- elementwise ---- */

static kn_status unary(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x, kn_bf16 *y) {
    rooms r = {.device = d};
    float *wide = widened(&r, n, x), *made = room_for(&r, n);
    if (r.status == KN_OK)
        r.status = d->ops->unary(d, kind, n, wide, made);
    narrowed(&r, n, made, y);
    return done(&r);
}

static kn_status unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x,
                            const kn_bf16 *y, const kn_bf16 *dy, kn_bf16 *dx) {
    rooms r = {.device = d};
    float *wide_x = widened(&r, n, x), *wide_y = widened(&r, n, y), *wide_dy = widened(&r, n, dy);
    float *made = room_for(&r, n);
    if (r.status == KN_OK)
        r.status = d->ops->unary_grad(d, kind, n, wide_x, wide_y, wide_dy, made);
    narrowed(&r, n, made, dx);
    return done(&r);
}

static kn_status add(kn_device *d, int64_t n, const kn_bf16 *a, const kn_bf16 *b, kn_bf16 *y) {
    rooms r = {.device = d};
    float *wide_a = widened(&r, n, a), *wide_b = widened(&r, n, b);
    if (r.status == KN_OK)
        r.status = d->ops->axpy(d, n, 1, wide_a, wide_b);
    narrowed(&r, n, wide_b, y);
    return done(&r);
}

static kn_status dropout(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                         const kn_bf16 *x, kn_bf16 *y) {
    rooms r = {.device = d};
    float *wide = widened(&r, n, x), *made = room_for(&r, n);
    if (r.status == KN_OK)
        r.status = d->ops->dropout(d, n, keep, place, wide, made);
    narrowed(&r, n, made, y);
    return done(&r);
}

/* ---- convolution ---- */

static int64_t pixels_in(const kn_conv_dims *c) {
    return c->n * c->h * c->w * c->in;
}

static int64_t pixels_out(const kn_conv_dims *c) {
    return c->n * c->out_h * c->out_w * c->out;
}

static int64_t weights_of(const kn_conv_dims *c) {
    return c->out * c->in * c->kernel_h * c->kernel_w;
}

static kn_status conv(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x, kn_weights w,
                      const float *bias, bool relu, kn_bf16 *y) {
    rooms r = {.device = d};
    float *wide = widened(&r, pixels_in(c), x), *made = room_for(&r, pixels_out(c));
    kn_weights weights = rounded(&r, weights_of(c), w);
    if (r.status == KN_OK)
        r.status = d->ops->conv(d, c, wide, weights, bias, relu, made);
    narrowed(&r, pixels_out(c), made, y);
    return done(&r);
}

static kn_status conv_grad_data(kn_device *d, const kn_conv_dims *c, const kn_bf16 *dy,
                                kn_weights w, kn_bf16 *dx) {
    rooms r = {.device = d};
    float *wide = widened(&r, pixels_out(c), dy), *made = room_for(&r, pixels_in(c));
    kn_weights weights = rounded(&r, weights_of(c), w);
    if (r.status == KN_OK)
        r.status = d->ops->conv_grad_data(d, c, wide, weights, made);
    narrowed(&r, pixels_in(c), made, dx);
    return done(&r);
}

static kn_status conv_grad_weights(kn_device *d, const kn_conv_dims *c, const kn_bf16 *x,
                                   const kn_bf16 *dy, float *dw, float *db) {
    rooms r = {.device = d};
    float *wide_x = widened(&r, pixels_in(c), x), *wide_dy = widened(&r, pixels_out(c), dy);
    if (r.status == KN_OK)
        r.status = d->ops->conv_grad_weights(d, c, wide_x, wide_dy, dw, db);
    return done(&r);
}

/* ---- normalisation ---- */

/* Before a residual is added the norm's own result is rounded, as it is where somebody looks at it:
 * then the steps are taken one by one. */
static kn_status batch_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const kn_bf16 *x, const kn_bf16 *residual, kn_bf16 *y) {
    rooms r = {.device = d};
    int64_t count = n->rows * n->channels;
    kn_norm_dims own = *n;
    float *wide = widened(&r, count, x), *made = room_for(&r, count);
    own.relu = n->relu && residual == NULL;
    if (r.status == KN_OK)
        r.status = d->ops->batch_norm(d, &own, s, wide, NULL, made);
    narrowed(&r, count, made, y);
    if (r.status == KN_OK && residual != NULL)
        r.status = add(d, count, y, residual, y);
    if (r.status == KN_OK && residual != NULL && n->relu)
        r.status = unary(d, KN_RELU, count, y, y);
    return done(&r);
}

static kn_status batch_norm_grad(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const kn_bf16 *x, const kn_bf16 *y, const kn_bf16 *dy,
                                 const kn_norm_grads *grads) {
    rooms r = {.device = d};
    int64_t count = n->rows * n->channels;
    float *wide_x = widened(&r, count, x), *wide_y = widened(&r, count, y);
    float *wide_dy = widened(&r, count, dy);
    kn_norm_grads made = *grads;
    if (grads->x != NULL)
        made.x = room_for(&r, count);
    if (grads->residual != NULL)
        made.residual = room_for(&r, count);
    if (r.status == KN_OK)
        r.status = d->ops->batch_norm_grad(d, n, s, wide_x, wide_y, wide_dy, &made);
    narrowed(&r, count, made.x, grads->x);
    narrowed(&r, count, made.residual, grads->residual);
    return done(&r);
}

/* ---- pooling ---- */

static int64_t pool_in(const kn_pool_dims *p) {
    return p->n * p->h * p->w * p->c;
}

static int64_t pool_out(const kn_pool_dims *p) {
    return p->n * p->out_h * p->out_w * p->c;
}

static kn_status max_pool(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y,
                          uint8_t *which) {
    rooms r = {.device = d};
    float *wide = widened(&r, pool_in(p), x), *made = room_for(&r, pool_out(p));
    if (r.status == KN_OK)
        r.status = d->ops->max_pool(d, p, wide, made, which);
    narrowed(&r, pool_out(p), made, y);
    return done(&r);
}

static kn_status max_pool_grad(kn_device *d, const kn_pool_dims *p, const uint8_t *which,
                               const kn_bf16 *dy, kn_bf16 *dx) {
    rooms r = {.device = d};
    float *wide = widened(&r, pool_out(p), dy), *made = room_for(&r, pool_in(p));
    if (r.status == KN_OK)
        r.status = d->ops->max_pool_grad(d, p, which, wide, made);
    narrowed(&r, pool_in(p), made, dx);
    return done(&r);
}

static kn_status avg_pool(kn_device *d, const kn_pool_dims *p, const kn_bf16 *x, kn_bf16 *y) {
    rooms r = {.device = d};
    float *wide = widened(&r, pool_in(p), x), *made = room_for(&r, pool_out(p));
    if (r.status == KN_OK)
        r.status = d->ops->avg_pool(d, p, wide, made);
    narrowed(&r, pool_out(p), made, y);
    return done(&r);
}

static kn_status avg_pool_grad(kn_device *d, const kn_pool_dims *p, const kn_bf16 *dy,
                               kn_bf16 *dx) {
    rooms r = {.device = d};
    float *wide = widened(&r, pool_out(p), dy), *made = room_for(&r, pool_in(p));
    if (r.status == KN_OK)
        r.status = d->ops->avg_pool_grad(d, p, wide, made);
    narrowed(&r, pool_in(p), made, dx);
    return done(&r);
}

static kn_status mean_hw(kn_device *d, int64_t n, int64_t hw, int64_t c, const kn_bf16 *x,
                         float *y) {
    rooms r = {.device = d};
    float *wide = widened(&r, n * hw * c, x);
    if (r.status == KN_OK)
        r.status = d->ops->mean_hw(d, n, hw, c, wide, y);
    return done(&r);
}

static kn_status mean_hw_grad(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              kn_bf16 *dx) {
    rooms r = {.device = d};
    float *made = room_for(&r, n * hw * c);
    if (r.status == KN_OK)
        r.status = d->ops->mean_hw_grad(d, n, hw, c, dy, made);
    narrowed(&r, n * hw * c, made, dx);
    return done(&r);
}

const kn_bf16_kernels kn_wide_kernels = {.unary = unary,
                                         .unary_grad = unary_grad,
                                         .add = add,
                                         .dropout = dropout,
                                         .conv = conv,
                                         .conv_grad_data = conv_grad_data,
                                         .conv_grad_weights = conv_grad_weights,
                                         .batch_norm = batch_norm,
                                         .batch_norm_grad = batch_norm_grad,
                                         .max_pool = max_pool,
                                         .max_pool_grad = max_pool_grad,
                                         .avg_pool = avg_pool,
                                         .avg_pool_grad = avg_pool_grad,
                                         .mean_hw = mean_hw,
                                         .mean_hw_grad = mean_hw_grad};
