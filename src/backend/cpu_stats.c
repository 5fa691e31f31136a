/* cpu_stats.c - mean, deviation and the share near zero in one pass over an activation. Sums are
 * double, of differences from the first element, so that a large mean takes no digits from the
 * deviation. */
#include "backend/cpu_loops.h"

#include "core/multiversion.h"

#include <math.h>

enum { LANES = 8 };

typedef struct sums {
    double sum, squares; /* of x minus the first element */
    int64_t close;
} sums;

typedef struct stats_args {
    const float *x;
    double first;
    float near;
    sums *part;
} stats_args;

KN_MULTIVERSION static void part_sums(const float *x, int64_t n, double first, float near,
                                      sums *out) {
    double sum[LANES] = {0}, squares[LANES] = {0};
    int64_t close[LANES] = {0}, i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            double v = (double)x[i + k] - first;
            sum[k] += v;
            squares[k] += v * v;
            close[k] += fabsf(x[i + k]) <= near;
        }
    for (; i < n; i++) {
        double v = (double)x[i] - first;
        sum[0] += v;
        squares[0] += v * v;
        close[0] += fabsf(x[i]) <= near;
    }
    *out = (sums){0};
    for (int k = 0; k < LANES; k++) {
        out->sum += sum[k];
        out->squares += squares[k];
        out->close += close[k];
    }
}

static void stats_part(const void *args, int part, int64_t begin, int64_t end) {
    const stats_args *p = args;
    part_sums(p->x + begin, end - begin, p->first, p->near, &p->part[part]);
}

kn_status kn_cpu_stats(kn_device *d, int64_t n, float near, const float *x, double *out) {
    int parts = kn_cpu_parts(d, n, n);
    stats_args p = {.x = x, .first = n > 0 ? (double)x[0] : 0, .near = near};
    p.part = kn_cpu_scratch(d, (size_t)parts * sizeof *p.part);
    if (p.part == NULL)
        return d->error->status;
    kn_cpu_in_parts(d, n, parts, stats_part, &p);
    sums all = {0};
    for (int i = 0; i < parts; i++) {
        all.sum += p.part[i].sum;
        all.squares += p.part[i].squares;
        all.close += p.part[i].close;
    }
    double count = (double)n, squares = all.squares - all.sum * all.sum / count;
    out[0] = p.first + all.sum / count;
    out[1] = sqrt((squares < 0 ? 0 : squares) / (count - 1)); /* NaN stays NaN */
    out[2] = (double)all.close / count;
    return KN_OK;
}
