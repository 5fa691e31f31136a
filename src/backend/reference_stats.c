/* reference_stats.c - what somebody who watches a layer wants to know of its output. */
#include "backend/reference.h"

#include <math.h>

kn_status kn_ref_stats(kn_device *d, int64_t n, float near, const float *x, double *out) {
    (void)d;
    double sum = 0, squares = 0;
    int64_t close = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        close += fabsf(x[i]) <= near;
    }
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    out[0] = mean;
    out[1] = sqrt(squares / (double)(n - 1));
    out[2] = (double)close / (double)n;
    return KN_OK;
}
