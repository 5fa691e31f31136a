/* init.c - random initial weights, a function of the seed and of the how-many-th parameter it is.
 */
#include "nn/init.h"

#include "core/parallel.h"

#include <kiln/random.h>

#include <math.h>

/* Writes the two numbers that one block of the generator gives. */
typedef void (*draw_fn)(kn_rng *rng, double scale, float *out);

/* Two draws of a normal number take the block's four words. */
static void draw_normal(kn_rng *rng, double scale, float *out) {
    out[0] = (float)(scale * kn_rng_normal(rng));
    out[1] = (float)(scale * kn_rng_normal(rng));
}

static void draw_uniform(kn_rng *rng, double scale, float *out) {
    out[0] = (float)(scale * (2 * kn_rng_uniform(rng) - 1));
    out[1] = (float)(scale * (2 * kn_rng_uniform(rng) - 1));
}

/* Elements that one call fills: an even number, so that a block serves two of the same call. */
enum { GRAIN = 1 << 14 };

typedef struct filling {
    uint64_t seed;
    uint16_t layer;
    draw_fn draw;
    double scale;
    float *host;
} filling;

static void fill_range(void *args, int64_t begin, int64_t end) {
    const filling *f = args;
    for (int64_t i = begin; i < end; i += 2) {
        kn_rng rng = kn_rng_at(f->seed, KN_RANDOM_INIT, f->layer, 0, (uint32_t)(i / 2));
        f->draw(&rng, f->scale, f->host + i); /* host has room for one more */
    }
}

static kn_status fill(kn_ctx *ctx, kn_param *p, draw_fn draw, double scale) {
    if (p == NULL)
        return kn_ctx_status(ctx);
    if (ctx->no_init)
        return KN_OK;
    int64_t numel = p->value.numel;
    float *host = kn_alloc(ctx, (size_t)(numel + 1) * sizeof *host, "initial weights");
    if (host == NULL)
        return KN_ERR_MEMORY;
    filling f = {
        .seed = ctx->seed, .layer = ctx->init_layer++, .draw = draw, .scale = scale, .host = host};
    kn_parallel(ctx->threads, numel, GRAIN, fill_range, &f);
    kn_status status = kn_tensor_write(ctx, &p->value, host, (size_t)numel * sizeof *host);
    kn_free(ctx, host);
    return status;
}

kn_status kn_init_normal(kn_ctx *ctx, kn_param *p, double std) {
    return fill(ctx, p, draw_normal, std);
}

kn_status kn_init_uniform(kn_ctx *ctx, kn_param *p, double bound) {
    return fill(ctx, p, draw_uniform, bound);
}

kn_status kn_init_constant(kn_ctx *ctx, kn_param *p, double value) {
    if (p == NULL)
        return kn_ctx_status(ctx);
    kn_device *d = p->value.device;
    kn_tensor_touch(&p->value);
    return d->ops->fill(d, p->value.numel, (float)value, p->value.data);
}

/* Inputs and outputs that one weight of the layer connects, as PyTorch counts them. */
static void fans(const kn_param *p, double *in, double *out) {
    double area = 1;
    for (int i = 2; i < p->value.shape.rank; i++)
        area *= (double)p->value.shape.dim[i];
    *out = (double)p->value.shape.dim[0] * area;
    *in = p->value.shape.rank > 1 ? (double)p->value.shape.dim[1] * area : *out;
}

kn_status kn_kaiming_normal(kn_ctx *ctx, kn_param *weight) {
    double in = 1, out = 1;
    if (weight != NULL)
        fans(weight, &in, &out);
    return kn_init_normal(ctx, weight, sqrt(2 / in));
}

kn_status kn_xavier_normal(kn_ctx *ctx, kn_param *weight) {
    double in = 1, out = 1;
    if (weight != NULL)
        fans(weight, &in, &out);
    return kn_init_normal(ctx, weight, sqrt(2 / (in + out)));
}

kn_status kn_init_layer(kn_ctx *ctx, kn_init init, bool act, kn_param *weight, kn_param *bias) {
    double in = 1, out = 1;
    if (weight == NULL)
        return kn_ctx_status(ctx);
    fans(weight, &in, &out);
    switch (init) {
    case KN_INIT_CHAPTER:
        return act ? kn_kaiming_normal(ctx, weight) : kn_xavier_normal(ctx, weight);
    case KN_INIT_KAIMING:
        return kn_kaiming_normal(ctx, weight);
    case KN_INIT_KAIMING_OUT:
        return kn_init_normal(ctx, weight, sqrt(2 / out));
    case KN_INIT_UNIFORM:
        if (kn_init_uniform(ctx, weight, 1 / sqrt(in)) != KN_OK || bias == NULL)
            return kn_ctx_status(ctx);
        return kn_init_uniform(ctx, bias, 1 / sqrt(in));
    }
    return KN_OK;
}
