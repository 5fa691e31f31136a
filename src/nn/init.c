/* init.c - random initial weights, a function of the seed and of the how-many-th parameter it is.
 */
#include "nn/module.h"

#include <kiln/layers.h>
#include <kiln/random.h>

#include <math.h>

/* Two draws share one block of the generator: its four words are two normal numbers. */
static kn_status fill_normal(kn_ctx *ctx, kn_param *p, double std) {
    if (p == NULL)
        return kn_ctx_status(ctx);
    int64_t numel = p->value.numel;
    float *host = kn_alloc(ctx, (size_t)numel * sizeof *host + 1, "initial weights");
    if (host == NULL)
        return KN_ERR_MEMORY;
    uint16_t layer = ctx->init_layer++;
    for (int64_t i = 0; i < numel; i += 2) {
        kn_rng rng = kn_rng_at(ctx->seed, KN_RANDOM_INIT, layer, 0, (uint32_t)(i / 2));
        host[i] = (float)(std * kn_rng_normal(&rng));
        if (i + 1 < numel)
            host[i + 1] = (float)(std * kn_rng_normal(&rng));
    }
    kn_status status = kn_tensor_write(ctx, &p->value, host, (size_t)numel * sizeof *host);
    kn_free(ctx, host);
    return status;
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
    return fill_normal(ctx, weight, sqrt(2 / in));
}

kn_status kn_xavier_normal(kn_ctx *ctx, kn_param *weight) {
    double in = 1, out = 1;
    if (weight != NULL)
        fans(weight, &in, &out);
    return fill_normal(ctx, weight, sqrt(2 / (in + out)));
}
