/* cpu_norm.c - batch normalisation on the cpu device. Memory bandwidth is what it costs, so the
 * statistics take one pass over x and the result another, with residual and relu in the same pass;
 * the backward likewise.
 *
 * Sums over rows run in parts, one a thread: within a part in short runs of f32, which then add up
 * in double. So a result depends on the number of threads, which is fixed for a run, and on nothing
 * else. */
#include "backend/cpu_loops.h"

#include "core/multiversion.h"

#include <math.h>
#include <string.h>

enum { RUN = 32 }; /* rows summed in f32 before they enter the double sums */

/* One part's sums, and what the second pass multiplies with, each [channels]. */
typedef struct sums {
    double *first, *second;
    float *run_first, *run_second;
} sums;

typedef struct norm_job {
    const kn_norm_dims *dims;
    const kn_norm_state *state;
    const float *x, *y, *dy, *residual;
    float *out;
    const kn_norm_grads *grads;
    const float *shift; /* [channels] */
    float *a, *b, *c;   /* [channels] */
    int parts;
    char *room; /* the parts' sums */
} norm_job;

/* ---- room ---- */

static size_t part_bytes(const kn_norm_dims *n) {
    size_t doubles = (size_t)n->channels * 2 * sizeof(double);
    size_t floats = (size_t)n->channels * 2 * sizeof(float);
    return (doubles + floats + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

static sums part_sums(const norm_job *job, int part) {
    size_t channels = (size_t)job->dims->channels;
    double *first = (double *)(void *)(job->room + (size_t)part * part_bytes(job->dims));
    float *run = (float *)(void *)(first + 2 * channels);
    return (sums){first, first + channels, run, run + channels};
}

static kn_status open_job(kn_device *d, norm_job *job) {
    size_t channels = (size_t)job->dims->channels;
    size_t line = (channels * sizeof(float) + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
    job->parts = kn_cpu_parts(d, job->dims->rows, job->dims->rows * job->dims->channels);
    char *room = kn_cpu_scratch(d, 3 * line + (size_t)job->parts * part_bytes(job->dims));
    if (room == NULL)
        return d->error->status;
    job->a = (float *)(void *)room;
    job->b = (float *)(void *)(room + line);
    job->c = (float *)(void *)(room + 2 * line);
    job->room = room + 3 * line;
    return KN_OK;
}

/* ---- sums ---- */

KN_MULTIVERSION static void add_squares(int64_t rows, int64_t channels, const float *restrict x,
                                        const float *restrict shift, float *restrict sum,
                                        float *restrict squares) {
    for (int64_t r = 0; r < rows; r++, x += channels)
        for (int64_t c = 0; c < channels; c++) {
            float off = x[c] - shift[c];
            sum[c] += off;
            squares[c] += off * off;
        }
}

KN_MULTIVERSION static void add_products(int64_t rows, int64_t channels, const float *restrict x,
                                         const float *restrict g, const float *restrict mean,
                                         float *restrict sum, float *restrict product) {
    for (int64_t r = 0; r < rows; r++, x += channels, g += channels)
        for (int64_t c = 0; c < channels; c++) {
            sum[c] += g[c];
            product[c] += g[c] * (x[c] - mean[c]);
        }
}

KN_MULTIVERSION static void add_masked(int64_t rows, int64_t channels, const float *restrict x,
                                       const float *restrict y, const float *restrict dy,
                                       const float *restrict mean, float *restrict sum,
                                       float *restrict product) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels, dy += channels)
        for (int64_t c = 0; c < channels; c++) {
            float g = y[c] <= 0 ? 0 : dy[c];
            sum[c] += g;
            product[c] += g * (x[c] - mean[c]);
        }
}

KN_MULTIVERSION static void mask(int64_t n, const float *restrict y, const float *restrict dy,
                                 float *restrict g) {
    for (int64_t i = 0; i < n; i++)
        g[i] = y[i] <= 0 ? 0 : dy[i];
}

KN_MULTIVERSION static void collect(int64_t channels, const float *restrict from,
                                    double *restrict to) {
    for (int64_t c = 0; c < channels; c++)
        to[c] += from[c];
}

/* Adds rows [begin, end) to the part's sums: of x and its square, or, given dy, of the gradient and
 * its product with x. A residual's gradient is the masked one, so it is written on the way. */
static void part_of_sums(const void *args, int part, int64_t begin, int64_t end) {
    const norm_job *job = args;
    const kn_norm_dims *n = job->dims;
    int64_t channels = n->channels;
    sums s = part_sums(job, part);
    memset(s.first, 0, (size_t)channels * 2 * sizeof *s.first);
    for (int64_t r = begin; r < end; r += RUN) {
        int64_t rows = end - r < RUN ? end - r : RUN, at = r * channels;
        memset(s.run_first, 0, (size_t)channels * 2 * sizeof *s.run_first);
        if (job->dy == NULL) {
            add_squares(rows, channels, job->x + at, job->shift, s.run_first, s.run_second);
        } else if (job->grads->residual != NULL && n->relu) {
            float *g = job->grads->residual + at;
            mask(rows * channels, job->y + at, job->dy + at, g);
            add_products(rows, channels, job->x + at, g, job->shift, s.run_first, s.run_second);
        } else if (n->relu) {
            add_masked(rows, channels, job->x + at, job->y + at, job->dy + at, job->shift,
                       s.run_first, s.run_second);
        } else {
            if (job->grads->residual != NULL)
                memcpy(job->grads->residual + at, job->dy + at,
                       (size_t)(rows * channels) * sizeof(float));
            add_products(rows, channels, job->x + at, job->dy + at, job->shift, s.run_first,
                         s.run_second);
        }
        collect(channels, s.run_first, s.first);
        collect(channels, s.run_second, s.second);
    }
}

/* All parts' sums into those of part 0, in the parts' order. */
static sums total_of(kn_device *d, const norm_job *job) {
    kn_cpu_in_parts(d, job->dims->rows, job->parts, part_of_sums, job);
    sums total = part_sums(job, 0);
    for (int p = 1; p < job->parts; p++) {
        sums s = part_sums(job, p);
        for (int64_t c = 0; c < job->dims->channels; c++) {
            total.first[c] += s.first[c];
            total.second[c] += s.second[c];
        }
    }
    return total;
}

/* ---- forward ---- */

/* Squares are summed of x minus its first row: far from zero, a variance from sums of x itself
 * would cancel to nothing. */
static void measure(kn_device *d, norm_job *job) {
    const kn_norm_dims *n = job->dims;
    const kn_norm_state *s = job->state;
    job->shift = job->x;
    sums total = total_of(d, job);
    for (int64_t c = 0; c < n->channels; c++) {
        double count = (double)n->rows, off = total.first[c] / count;
        double variance = total.second[c] / count - off * off;
        variance = variance < 0 ? 0 : variance; /* keeps NaN */
        s->mean[c] = (float)(job->x[c] + off);
        s->inv_std[c] = (float)(1 / sqrt(variance + n->eps));
        if (s->running_mean == NULL)
            continue;
        float unbiased = (float)(variance * count / (count - 1));
        s->running_mean[c] += n->momentum * (s->mean[c] - s->running_mean[c]);
        s->running_var[c] += n->momentum * (unbiased - s->running_var[c]);
    }
}

KN_MULTIVERSION static void scale_rows(int64_t rows, int64_t channels, const float *restrict a,
                                       const float *restrict b, const float *restrict x,
                                       float *restrict y) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels)
        for (int64_t c = 0; c < channels; c++)
            y[c] = x[c] * a[c] + b[c];
}

KN_MULTIVERSION static void scale_relu_rows(int64_t rows, int64_t channels, const float *restrict a,
                                            const float *restrict b, const float *restrict x,
                                            float *restrict y) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels)
        for (int64_t c = 0; c < channels; c++) {
            float value = x[c] * a[c] + b[c];
            y[c] = value < 0 ? 0 : value;
        }
}

KN_MULTIVERSION static void scale_add_rows(int64_t rows, int64_t channels, bool relu,
                                           const float *restrict a, const float *restrict b,
                                           const float *restrict x, const float *restrict residual,
                                           float *restrict y) {
    float floor = relu ? 0 : -INFINITY;
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels, residual += channels)
        for (int64_t c = 0; c < channels; c++) {
            float value = (x[c] * a[c] + b[c]) + residual[c];
            y[c] = value < floor ? floor : value;
        }
}

static void part_of_result(const void *args, int part, int64_t begin, int64_t end) {
    const norm_job *job = args;
    int64_t channels = job->dims->channels, at = begin * channels, rows = end - begin;
    (void)part;
    if (job->residual != NULL)
        scale_add_rows(rows, channels, job->dims->relu, job->a, job->b, job->x + at,
                       job->residual + at, job->out + at);
    else if (job->dims->relu)
        scale_relu_rows(rows, channels, job->a, job->b, job->x + at, job->out + at);
    else
        scale_rows(rows, channels, job->a, job->b, job->x + at, job->out + at);
}

kn_status kn_cpu_batch_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const float *x, const float *residual, float *y) {
    norm_job job = {.dims = n, .state = s, .x = x, .residual = residual, .out = y};
    kn_status status = open_job(d, &job);
    if (status != KN_OK)
        return status;
    if (n->batch)
        measure(d, &job);
    for (int64_t c = 0; c < n->channels; c++) {
        if (!n->batch) {
            s->mean[c] = s->running_mean[c];
            s->inv_std[c] = (float)(1 / sqrt((double)s->running_var[c] + n->eps));
        }
        job.a[c] = s->weight[c] * s->inv_std[c];
        job.b[c] = s->bias[c] - s->mean[c] * job.a[c];
    }
    kn_cpu_in_parts(d, n->rows, job.parts, part_of_result, &job);
    if (n->batch && s->batches != NULL)
        ++*s->batches;
    return KN_OK;
}

/* ---- backward ---- */

/* dx = a g - (b (x - mean) + c): see reference_norm.c. */
KN_MULTIVERSION static void grad_rows(int64_t rows, const norm_job *job, const float *restrict x,
                                      const float *restrict g, float *restrict dx) {
    const float *restrict a = job->a, *restrict b = job->b, *restrict k = job->c;
    const float *restrict mean = job->state->mean;
    int64_t channels = job->dims->channels;
    for (int64_t r = 0; r < rows; r++, x += channels, g += channels, dx += channels)
        for (int64_t c = 0; c < channels; c++)
            dx[c] = a[c] * g[c] - (b[c] * (x[c] - mean[c]) + k[c]);
}

KN_MULTIVERSION static void grad_masked_rows(int64_t rows, const norm_job *job,
                                             const float *restrict x, const float *restrict y,
                                             const float *restrict dy, float *restrict dx) {
    const float *restrict a = job->a, *restrict b = job->b, *restrict k = job->c;
    const float *restrict mean = job->state->mean;
    int64_t channels = job->dims->channels;
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels, dy += channels, dx += channels)
        for (int64_t c = 0; c < channels; c++) {
            float g = y[c] <= 0 ? 0 : dy[c];
            dx[c] = a[c] * g - (b[c] * (x[c] - mean[c]) + k[c]);
        }
}

static void part_of_grad(const void *args, int part, int64_t begin, int64_t end) {
    const norm_job *job = args;
    int64_t at = begin * job->dims->channels, rows = end - begin;
    (void)part;
    if (job->grads->residual != NULL)
        grad_rows(rows, job, job->x + at, job->grads->residual + at, job->grads->x + at);
    else if (job->dims->relu)
        grad_masked_rows(rows, job, job->x + at, job->y + at, job->dy + at, job->grads->x + at);
    else
        grad_rows(rows, job, job->x + at, job->dy + at, job->grads->x + at);
}

kn_status kn_cpu_batch_norm_grad(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const float *x, const float *y, const float *dy,
                                 const kn_norm_grads *grads) {
    norm_job job = {
        .dims = n, .state = s, .x = x, .y = y, .dy = dy, .grads = grads, .shift = s->mean};
    kn_status status = open_job(d, &job);
    if (status != KN_OK)
        return status;
    sums total = total_of(d, &job);
    for (int64_t c = 0; c < n->channels; c++) {
        double inv_std = s->inv_std[c], slope = s->weight[c] * inv_std;
        double sum = total.first[c], product = total.second[c] * inv_std;
        if (grads->weight != NULL)
            grads->weight[c] = (float)product;
        if (grads->bias != NULL)
            grads->bias[c] = (float)sum;
        job.a[c] = (float)slope;
        job.b[c] = n->batch ? (float)(slope * inv_std * product / (double)n->rows) : 0;
        job.c[c] = n->batch ? (float)(slope * sum / (double)n->rows) : 0;
    }
    if (grads->x != NULL)
        kn_cpu_in_parts(d, n->rows, job.parts, part_of_grad, &job);
    return KN_OK;
}
