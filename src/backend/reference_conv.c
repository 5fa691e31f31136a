/* reference_conv.c - matrix product and convolution as nested loops: see reference.c. */
#include "backend/reference.h"

#include <string.h>

kn_status kn_ref_matmul(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                        const float *bias, float *c) {
    (void)d;
    int64_t a_row = m->trans_a ? 1 : m->k, a_col = m->trans_a ? m->m : 1;
    int64_t b_row = m->trans_b ? 1 : m->n, b_col = m->trans_b ? m->k : 1;
    for (int64_t batch = 0; batch < m->batch; batch++) {
        for (int64_t i = 0; i < m->m; i++)
            for (int64_t j = 0; j < m->n; j++) {
                double sum = bias != NULL ? bias[j] : 0;
                for (int64_t k = 0; k < m->k; k++)
                    sum += (double)a[i * a_row + k * a_col] * b[k * b_row + j * b_col];
                c[i * m->n + j] = (float)sum;
            }
        a += m->m * m->k;
        b += m->k * m->n;
        c += m->m * m->n;
    }
    return KN_OK;
}

/* The input row (or column) that output o meets with kernel position k; outside [0, size): padding.
 */
static int64_t meets(const kn_conv_dims *c, int64_t o, int64_t k) {
    return o * c->stride - c->padding + k;
}

static bool inside(int64_t i, int64_t size) {
    return i >= 0 && i < size;
}

static double conv_at(const kn_conv_dims *c, const float *x, const float *w, int64_t oy,
                      int64_t ox) {
    double sum = 0;
    for (int64_t ky = 0; ky < c->kernel_h; ky++)
        for (int64_t kx = 0; kx < c->kernel_w; kx++) {
            int64_t iy = meets(c, oy, ky), ix = meets(c, ox, kx);
            if (!inside(iy, c->h) || !inside(ix, c->w))
                continue;
            for (int64_t i = 0; i < c->in; i++)
                sum += (double)x[(iy * c->w + ix) * c->in + i] *
                       w[(i * c->kernel_h + ky) * c->kernel_w + kx];
        }
    return sum;
}

kn_status kn_ref_conv(kn_device *d, const kn_conv_dims *c, const float *x, kn_weights w,
                      const float *bias, bool relu, float *y) {
    (void)d;
    int64_t filter = c->in * c->kernel_h * c->kernel_w;
    for (int64_t n = 0; n < c->n; n++, x += c->h * c->w * c->in)
        for (int64_t oy = 0; oy < c->out_h; oy++)
            for (int64_t ox = 0; ox < c->out_w; ox++)
                for (int64_t o = 0; o < c->out; o++) {
                    double sum = conv_at(c, x, w.data + o * filter, oy, ox);
                    float value = (float)(sum + (bias != NULL ? bias[o] : 0));
                    *y++ = relu && value < 0 ? 0 : value;
                }
    return KN_OK;
}

/* One value of dx: the sum over the outputs that read this input. */
static double grad_data_at(const kn_conv_dims *c, const float *dy, const float *w, int64_t iy,
                           int64_t ix, int64_t i) {
    double sum = 0;
    for (int64_t ky = 0; ky < c->kernel_h; ky++)
        for (int64_t kx = 0; kx < c->kernel_w; kx++) {
            int64_t oy = iy + c->padding - ky, ox = ix + c->padding - kx;
            if (oy % c->stride != 0 || ox % c->stride != 0)
                continue;
            oy /= c->stride;
            ox /= c->stride;
            if (!inside(oy, c->out_h) || !inside(ox, c->out_w))
                continue;
            for (int64_t o = 0; o < c->out; o++)
                sum += (double)dy[(oy * c->out_w + ox) * c->out + o] *
                       w[((o * c->in + i) * c->kernel_h + ky) * c->kernel_w + kx];
        }
    return sum;
}

kn_status kn_ref_conv_grad_data(kn_device *d, const kn_conv_dims *c, const float *dy, kn_weights w,
                                float *dx) {
    (void)d;
    for (int64_t n = 0; n < c->n; n++, dy += c->out_h * c->out_w * c->out)
        for (int64_t iy = 0; iy < c->h; iy++)
            for (int64_t ix = 0; ix < c->w; ix++)
                for (int64_t i = 0; i < c->in; i++)
                    *dx++ = (float)grad_data_at(c, dy, w.data, iy, ix, i);
    return KN_OK;
}

/* One value of dw: the sum over all outputs of the input that this weight multiplied. */
static double grad_weight_at(const kn_conv_dims *c, const float *x, const float *dy, int64_t o,
                             int64_t i, int64_t ky, int64_t kx) {
    double sum = 0;
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t oy = 0; oy < c->out_h; oy++)
            for (int64_t ox = 0; ox < c->out_w; ox++) {
                int64_t iy = meets(c, oy, ky), ix = meets(c, ox, kx);
                if (inside(iy, c->h) && inside(ix, c->w))
                    sum += (double)x[((n * c->h + iy) * c->w + ix) * c->in + i] *
                           dy[((n * c->out_h + oy) * c->out_w + ox) * c->out + o];
            }
    return sum;
}

kn_status kn_ref_conv_grad_weights(kn_device *d, const kn_conv_dims *c, const float *x,
                                   const float *dy, float *dw, float *db) {
    (void)d;
    for (int64_t o = 0; o < c->out; o++)
        for (int64_t i = 0; i < c->in; i++)
            for (int64_t ky = 0; ky < c->kernel_h; ky++)
                for (int64_t kx = 0; kx < c->kernel_w; kx++)
                    *dw++ = (float)grad_weight_at(c, x, dy, o, i, ky, kx);
    int64_t places = c->n * c->out_h * c->out_w;
    for (int64_t o = 0; db != NULL && o < c->out; o++) {
        double sum = 0;
        for (int64_t p = 0; p < places; p++)
            sum += dy[p * c->out + o];
        db[o] = (float)sum;
    }
    return KN_OK;
}
