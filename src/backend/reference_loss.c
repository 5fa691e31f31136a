/* reference_loss.c - pooling, softmax and the losses, and the kernels around the model: normalise,
 * metrics: see reference.c. */
#include "backend/reference.h"

#include <math.h>
#include <string.h>

kn_status kn_ref_mean_hw(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *x, float *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < c; j++) {
            double sum = 0;
            for (int64_t p = 0; p < hw; p++)
                sum += x[(i * hw + p) * c + j];
            y[i * c + j] = (float)(sum / (double)hw);
        }
    return KN_OK;
}

kn_status kn_ref_mean_hw_grad(kn_device *d, int64_t n, int64_t hw, int64_t c, const float *dy,
                              float *dx) {
    (void)d;
    float share = 1 / (float)hw;
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < hw; p++)
            for (int64_t j = 0; j < c; j++)
                *dx++ = dy[i * c + j] * share;
    return KN_OK;
}

/* ---- rows of logits ---- */

/* log(sum(exp(x))) with the largest subtracted first, so that nothing overflows. */
static double row_logsumexp(int64_t cols, const float *x) {
    double largest = -INFINITY, sum = 0;
    for (int64_t c = 0; c < cols; c++)
        if (x[c] > largest || isnan(x[c]))
            largest = x[c];
    if (!isfinite(largest))
        return largest;
    for (int64_t c = 0; c < cols; c++)
        sum += exp(x[c] - largest);
    return largest + log(sum);
}

kn_status kn_ref_softmax(kn_device *d, int64_t rows, int64_t cols, bool log, const float *x,
                         float *y) {
    (void)d;
    for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
        double lse = row_logsumexp(cols, x);
        if (lse == INFINITY) /* no distribution has an infinite logit: NaN, as in PyTorch */
            lse = NAN;
        for (int64_t c = 0; c < cols; c++)
            y[c] = (float)(log ? x[c] - lse : exp(x[c] - lse));
    }
    return KN_OK;
}

kn_status kn_ref_softmax_grad(kn_device *d, int64_t rows, int64_t cols, bool log, const float *y,
                              const float *dy, float *dx) {
    (void)d;
    for (int64_t r = 0; r < rows; r++, y += cols, dy += cols, dx += cols) {
        double sum = 0;
        for (int64_t c = 0; c < cols; c++)
            sum += log ? dy[c] : (double)dy[c] * y[c];
        for (int64_t c = 0; c < cols; c++)
            dx[c] = (float)(log ? dy[c] - exp(y[c]) * sum : y[c] * (dy[c] - sum));
    }
    return KN_OK;
}

kn_status kn_ref_logsumexp(kn_device *d, int64_t rows, int64_t cols, const float *x, float *y) {
    (void)d;
    for (int64_t r = 0; r < rows; r++)
        y[r] = (float)row_logsumexp(cols, x + r * cols);
    return KN_OK;
}

kn_status kn_ref_logsumexp_grad(kn_device *d, int64_t rows, int64_t cols, const float *x,
                                const float *y, const float *dy, float *dx) {
    (void)d;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            dx[r * cols + c] = (float)(dy[r] * exp((double)x[r * cols + c] - y[r]));
    return KN_OK;
}

static kn_status check_targets(kn_device *d, int64_t rows, int64_t cols, const int32_t *target) {
    for (int64_t r = 0; r < rows; r++)
        if (target[r] < 0 || target[r] >= cols)
            return kn_error_set(d->error, KN_ERR_ARG, "loss: target %lld is %d, expected 0 to %lld",
                                (long long)r, target[r], (long long)cols - 1);
    return KN_OK;
}

kn_status kn_ref_nll(kn_device *d, int64_t rows, int64_t cols, const float *log_probs,
                     const int32_t *target, float *loss) {
    kn_status status = check_targets(d, rows, cols, target);
    if (status != KN_OK)
        return status;
    double sum = 0;
    for (int64_t r = 0; r < rows; r++)
        sum -= log_probs[r * cols + target[r]];
    *loss = (float)(sum / (double)rows);
    return KN_OK;
}

kn_status kn_ref_nll_grad(kn_device *d, int64_t rows, int64_t cols, const int32_t *target,
                          const float *dloss, float *dx) {
    kn_ref_zero(d, dx, (size_t)(rows * cols) * sizeof *dx);
    for (int64_t r = 0; r < rows; r++)
        dx[r * cols + target[r]] = -*dloss / (float)rows;
    return KN_OK;
}

/* ---- cross entropy with smoothing, class weights and mixed targets ---- */

static double weight_of(const kn_loss_terms *t, int64_t class) {
    return t->class_weights != NULL ? t->class_weights[class] : 1;
}

static double share_of_first(const kn_loss_terms *t, int64_t row) {
    return t->lambda != NULL ? t->lambda[row] : 1;
}

static kn_status check_terms(kn_device *d, const kn_loss_terms *t) {
    kn_status status = check_targets(d, t->rows, t->cols, t->target);
    if (status == KN_OK && t->target2 != NULL)
        status = check_targets(d, t->rows, t->cols, t->target2);
    for (int64_t r = 0; status == KN_OK && r < t->rows; r++)
        if (!(share_of_first(t, r) >= 0 && share_of_first(t, r) <= 1))
            status = kn_error_set(d->error, KN_ERR_ARG, "loss: lambda %lld is %g, expected 0 to 1",
                                  (long long)r, share_of_first(t, r));
    return status;
}

/* What the mean divides by: with no weights the number of rows. */
static double total_weight(const kn_loss_terms *t) {
    double total = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        double first = share_of_first(t, r);
        total += first * weight_of(t, t->target[r]);
        if (first < 1)
            total += (1 - first) * weight_of(t, t->target2[r]);
    }
    return total;
}

/* A target of no share is left out, not taken times 0: its log-probability may be infinite. */
static double row_loss(const kn_loss_terms *t, int64_t r, const float *log_probs) {
    double keep = 1 - t->smoothing, spread = t->smoothing / (double)t->cols, loss = 0;
    double first = share_of_first(t, r);
    int32_t a = t->target[r];
    if (first > 0)
        loss -= keep * first * weight_of(t, a) * log_probs[a];
    if (first < 1)
        loss -= keep * (1 - first) * weight_of(t, t->target2[r]) * log_probs[t->target2[r]];
    for (int64_t c = 0; spread > 0 && c < t->cols; c++)
        loss -= spread * weight_of(t, c) * log_probs[c];
    return loss;
}

kn_status kn_ref_cross_entropy(kn_device *d, const kn_loss_terms *t, const float *x,
                               float *log_probs, float *loss) {
    kn_status status = check_terms(d, t);
    if (status != KN_OK)
        return status;
    kn_ref_softmax(d, t->rows, t->cols, true, x, log_probs);
    double sum = 0;
    for (int64_t r = 0; r < t->rows; r++)
        sum += row_loss(t, r, log_probs + r * t->cols);
    *loss = (float)(sum / total_weight(t));
    return KN_OK;
}

/* With q the weighted target of a class: d loss / d x = (softmax(x) * sum of q - q) / total. */
kn_status kn_ref_cross_entropy_grad(kn_device *d, const kn_loss_terms *t, const float *log_probs,
                                    const float *dloss, float *dx) {
    (void)d;
    double keep = 1 - t->smoothing, spread = t->smoothing / (double)t->cols, every = 0;
    for (int64_t c = 0; c < t->cols; c++)
        every += spread * weight_of(t, c);
    float share = *dloss / (float)total_weight(t);
    for (int64_t r = 0; r < t->rows; r++, log_probs += t->cols, dx += t->cols) {
        double first = share_of_first(t, r);
        int32_t a = t->target[r], b = first < 1 ? t->target2[r] : a;
        double to_a = keep * first * weight_of(t, a), to_b = keep * (1 - first) * weight_of(t, b);
        float all = (float)(to_a + to_b + every);
        for (int64_t c = 0; c < t->cols; c++) {
            double q = (c == a ? to_a : 0) + (c == b ? to_b : 0) + spread * weight_of(t, c);
            dx[c] = (expf(log_probs[c]) * all - (float)q) * share;
        }
    }
    return KN_OK;
}

/* ---- around the model ---- */

kn_status kn_ref_normalize(kn_device *d, int64_t n, const uint8_t *x, const float mean[3],
                           const float std[3], float *y) {
    (void)d;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < 3; c++)
            y[i * 3 + c] = (x[i * 3 + c] / 255.0f - mean[c]) / std[c];
    return KN_OK;
}

kn_status kn_ref_track(kn_device *d, int64_t rows, int64_t cols, const float *preds,
                       const int32_t *target, const float *loss, double *total) {
    int64_t hits = 0;
    for (int64_t r = 0; r < rows && preds != NULL; r++) {
        int32_t best;
        kn_ref_argmax(d, 1, cols, preds + r * cols, &best);
        hits += best == target[r];
    }
    total[0] += (double)rows * *loss;
    total[1] += (double)hits;
    total[2] += (double)rows;
    return KN_OK;
}
