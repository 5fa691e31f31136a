/* reference_norm.c - batch normalisation and dropout: see reference.c. */
#include "backend/reference.h"

#include <kiln/random.h>

#include <math.h>

/* ---- batch norm (Ioffe, Szegedy, "Batch Normalization", 2015) ---- */

/* The statistics of one channel's rows, which also enter the running ones: the mean, and the
 * variance with and without the bias of a sample. */
static void measure(const kn_norm_dims *n, const kn_norm_state *s, const float *x, int64_t c) {
    double mean = 0, squares = 0;
    for (int64_t r = 0; r < n->rows; r++)
        mean += x[r * n->channels + c];
    mean /= (double)n->rows;
    for (int64_t r = 0; r < n->rows; r++) {
        double off = x[r * n->channels + c] - mean;
        squares += off * off;
    }
    s->mean[c] = (float)mean;
    s->inv_std[c] = (float)(1 / sqrt(squares / (double)n->rows + n->eps));
    if (s->running_mean == NULL)
        return;
    double variance = squares / (double)(n->rows - 1);
    s->running_mean[c] += n->momentum * (s->mean[c] - s->running_mean[c]);
    s->running_var[c] += n->momentum * ((float)variance - s->running_var[c]);
}

static float rectified(bool relu, float y) {
    return relu && y < 0 ? 0 : y; /* keeps NaN */
}

kn_status kn_ref_batch_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const float *x, const float *residual, float *y) {
    (void)d;
    for (int64_t c = 0; c < n->channels; c++) {
        if (n->batch) {
            measure(n, s, x, c);
        } else {
            s->mean[c] = s->running_mean[c];
            s->inv_std[c] = (float)(1 / sqrt((double)s->running_var[c] + n->eps));
        }
        for (int64_t i = c; i < n->rows * n->channels; i += n->channels) {
            float value = (x[i] - s->mean[c]) * s->inv_std[c] * s->weight[c] + s->bias[c];
            y[i] = rectified(n->relu, residual != NULL ? value + residual[i] : value);
        }
    }
    if (n->batch && s->batches != NULL)
        ++*s->batches;
    return KN_OK;
}

/* With h = (x - mean) / std and g = d(loss)/d(y): db = sum g, dw = sum g h, and since mean and std
 * depend on x too, dx = w / std * (g - mean(g) - h * mean(g h)). Running statistics do not. */
static void channel_grad(const kn_norm_dims *n, const kn_norm_state *s, const float *x,
                         const float *y, const float *dy, const kn_norm_grads *grads, int64_t c) {
    double sum = 0, product = 0, count = (double)n->rows;
    float *dx = grads->x, *residual = grads->residual;
    for (int64_t i = c; i < n->rows * n->channels; i += n->channels) {
        float g = n->relu && y[i] <= 0 ? 0 : dy[i];
        sum += g;
        product += (double)g * (x[i] - s->mean[c]) * s->inv_std[c];
        if (residual != NULL)
            residual[i] = g;
    }
    if (grads->weight != NULL)
        grads->weight[c] = (float)product;
    if (grads->bias != NULL)
        grads->bias[c] = (float)sum;
    for (int64_t i = c; dx != NULL && i < n->rows * n->channels; i += n->channels) {
        double g = n->relu && y[i] <= 0 ? 0 : dy[i], slope = (double)s->weight[c] * s->inv_std[c];
        double h = ((double)x[i] - s->mean[c]) * s->inv_std[c];
        dx[i] = (float)(slope * (n->batch ? g - sum / count - h * product / count : g));
    }
}

kn_status kn_ref_batch_norm_grad(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const float *x, const float *y, const float *dy,
                                 const kn_norm_grads *grads) {
    (void)d;
    for (int64_t c = 0; c < n->channels; c++)
        channel_grad(n, s, x, y, dy, grads, c);
    return KN_OK;
}

/* ---- dropout (Srivastava et al., 2014) ---- */

/* One block of the generator serves four elements. */
kn_status kn_ref_dropout(kn_device *d, int64_t n, float keep, kn_dropout_place place,
                         const float *x, float *y) {
    (void)d;
    for (int64_t i = 0; i < n; i += 4) {
        kn_rng rng =
            kn_rng_at(place.seed, KN_RANDOM_DROPOUT, place.layer, place.step, (uint32_t)(i / 4));
        for (int64_t k = i; k < n && k < i + 4; k++)
            y[k] = kn_rng_uniform(&rng) < keep ? x[k] / keep : 0;
    }
    return KN_OK;
}
