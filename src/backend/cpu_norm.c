/* cpu_norm.c - batch normalisation on the cpu device. Memory bandwidth is what it costs, so the
 * statistics take one pass over x and the result another, with residual and relu in the same pass;
 * the backward likewise.
 *
 * Sums over rows run in parts, one a thread: within a part in short runs of f32, which then add up
 * in double. So a result depends on the number of threads, which is fixed for a run, and on nothing
 * else. */
#include "backend/cpu_norm.h"

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

typedef struct norm_kind norm_kind;

typedef struct norm_job {
    const norm_kind *kind; /* of x, y, dy, residual and out */
    const kn_norm_dims *dims;
    const kn_norm_state *state;
    const void *x, *y, *dy, *residual;
    void *out;
    const kn_norm_grads *grads;
    float *shift;     /* [channels], subtracted before the sums */
    float *a, *b, *c; /* [channels] */
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
    char *room = kn_cpu_scratch(d, 4 * line + (size_t)job->parts * part_bytes(job->dims));
    if (room == NULL)
        return d->error->status;
    job->a = (float *)(void *)room;
    job->b = (float *)(void *)(room + line);
    job->c = (float *)(void *)(room + 2 * line);
    job->shift = (float *)(void *)(room + 3 * line);
    job->room = room + 4 * line;
    return KN_OK;
}

/* ---- some rows, of either kind of numbers ---- */

struct norm_kind {
    void (*first_row)(const norm_job *job);
    void (*add_rows)(const norm_job *job, int64_t begin, int64_t rows, const sums *s);
    void (*write_result)(const norm_job *job, int64_t begin, int64_t rows);
    void (*write_grad)(const norm_job *job, int64_t begin, int64_t rows);
};

#define NUMBER     float
#define NAME(what) what##_f32
#define GET(x)     (x)
#define PUT(x)     (x)
#define ROUND(x)   (x)
#include "backend/cpu_norm_rows.h"

#define NUMBER     kn_bf16
#define NAME(what) what##_bf16
#define GET(x)     kn_bf16_value(x)
#define PUT(x)     kn_bf16_from(x)
#define ROUND(x)   kn_bf16_value(kn_bf16_from(x))
#include "backend/cpu_norm_rows.h"

/* ---- sums ---- */

KN_MULTIVERSION static void collect(int64_t channels, const float *restrict from,
                                    double *restrict to) {
    for (int64_t c = 0; c < channels; c++)
        to[c] += from[c];
}

/* Adds rows [begin, end) to the part's sums. */
static void part_of_sums(const void *args, int part, int64_t begin, int64_t end) {
    const norm_job *job = args;
    int64_t channels = job->dims->channels;
    sums s = part_sums(job, part);
    memset(s.first, 0, (size_t)channels * 2 * sizeof *s.first);
    for (int64_t r = begin; r < end; r += RUN) {
        memset(s.run_first, 0, (size_t)channels * 2 * sizeof *s.run_first);
        job->kind->add_rows(job, r, end - r < RUN ? end - r : RUN, &s);
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
    job->kind->first_row(job);
    sums total = total_of(d, job);
    for (int64_t c = 0; c < n->channels; c++) {
        double count = (double)n->rows, off = total.first[c] / count;
        double variance = total.second[c] / count - off * off;
        variance = variance < 0 ? 0 : variance; /* keeps NaN */
        s->mean[c] = (float)(job->shift[c] + off);
        s->inv_std[c] = (float)(1 / sqrt(variance + n->eps));
        if (s->running_mean == NULL)
            continue;
        float unbiased = (float)(variance * count / (count - 1));
        s->running_mean[c] += n->momentum * (s->mean[c] - s->running_mean[c]);
        s->running_var[c] += n->momentum * (unbiased - s->running_var[c]);
    }
}

static void part_of_result(const void *args, int part, int64_t begin, int64_t end) {
    const norm_job *job = args;
    (void)part;
    job->kind->write_result(job, begin, end - begin);
}

static float running_inv_std(const kn_norm_dims *n, const kn_norm_state *s, int64_t c) {
    return (float)(1 / sqrt((double)s->running_var[c] + n->eps));
}

/* What x is multiplied with, and what is added then. */
static void scale_of(const kn_norm_state *s, int64_t c, float mean, float inv_std, float *a,
                     float *b) {
    *a = s->weight[c] * inv_std;
    *b = s->bias[c] - mean * *a;
}

static kn_status forward(kn_device *d, norm_job *job) {
    const kn_norm_dims *n = job->dims;
    const kn_norm_state *s = job->state;
    kn_status status = open_job(d, job);
    if (status != KN_OK)
        return status;
    if (n->batch)
        measure(d, job);
    for (int64_t c = 0; c < n->channels; c++) {
        if (!n->batch) {
            s->mean[c] = s->running_mean[c];
            s->inv_std[c] = running_inv_std(n, s, c);
        }
        scale_of(s, c, s->mean[c], s->inv_std[c], &job->a[c], &job->b[c]);
    }
    kn_cpu_in_parts(d, n->rows, job->parts, part_of_result, job);
    if (n->batch && s->batches != NULL)
        ++*s->batches;
    return KN_OK;
}

kn_status kn_cpu_batch_norm(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                            const float *x, const float *residual, float *y) {
    norm_job job = {
        .kind = &kind_f32, .dims = n, .state = s, .x = x, .residual = residual, .out = y};
    return forward(d, &job);
}

kn_status kn_cpu_batch_norm_bf16(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const kn_bf16 *x, const kn_bf16 *residual, kn_bf16 *y) {
    norm_job job = {
        .kind = &kind_bf16, .dims = n, .state = s, .x = x, .residual = residual, .out = y};
    return forward(d, &job);
}

/* ---- where the results lie ---- */

kn_norm_after kn_norm_after_of(const kn_norm_dims *n, const kn_norm_state *s, const void *residual,
                               void *y, bool half) {
    for (int64_t c = 0; c < n->channels; c++)
        scale_of(s, c, s->running_mean[c], running_inv_std(n, s, c), &s->inv_std[c], &s->mean[c]);
    return (kn_norm_after){.rows = n->rows,
                           .channels = n->channels,
                           .a = s->inv_std,
                           .b = s->mean,
                           .floor = n->relu ? 0 : -INFINITY,
                           .residual = residual,
                           .y = y,
                           .half = half};
}

void kn_norm_after_some(const void *after, int64_t first, int64_t count, int64_t col, int64_t end) {
    const kn_norm_after *n = after;
    (n->half ? some_here_bf16 : some_here_f32)(n, first, count, col, end);
}

static void rows_after(const void *args, int64_t begin, int64_t end) {
    const kn_norm_after *n = args;
    kn_norm_after_some(n, begin, end - begin, 0, n->channels);
}

kn_status kn_norm_after_all(kn_device *d, const kn_norm_after *after) {
    return kn_cpu_over(d, after->rows, 1, after->rows * after->channels, rows_after, after);
}

/* ---- backward ---- */

static void part_of_grad(const void *args, int part, int64_t begin, int64_t end) {
    const norm_job *job = args;
    (void)part;
    job->kind->write_grad(job, begin, end - begin);
}

static kn_status backward(kn_device *d, norm_job *job) {
    const kn_norm_dims *n = job->dims;
    const kn_norm_state *s = job->state;
    const kn_norm_grads *grads = job->grads;
    kn_status status = open_job(d, job);
    if (status != KN_OK)
        return status;
    memcpy(job->shift, s->mean, (size_t)n->channels * sizeof *job->shift);
    sums total = total_of(d, job);
    for (int64_t c = 0; c < n->channels; c++) {
        double inv_std = s->inv_std[c], slope = s->weight[c] * inv_std;
        double sum = total.first[c], product = total.second[c] * inv_std;
        if (grads->weight != NULL)
            grads->weight[c] = (float)product;
        if (grads->bias != NULL)
            grads->bias[c] = (float)sum;
        job->a[c] = (float)slope;
        job->b[c] = n->batch ? (float)(slope * inv_std * product / (double)n->rows) : 0;
        job->c[c] = n->batch ? (float)(slope * sum / (double)n->rows) : 0;
    }
    if (grads->x != NULL)
        kn_cpu_in_parts(d, n->rows, job->parts, part_of_grad, job);
    return KN_OK;
}

kn_status kn_cpu_batch_norm_grad(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                 const float *x, const float *y, const float *dy,
                                 const kn_norm_grads *grads) {
    norm_job job = {
        .kind = &kind_f32, .dims = n, .state = s, .x = x, .y = y, .dy = dy, .grads = grads};
    return backward(d, &job);
}

kn_status kn_cpu_batch_norm_grad_bf16(kn_device *d, const kn_norm_dims *n, const kn_norm_state *s,
                                      const kn_bf16 *x, const kn_bf16 *y, const kn_bf16 *dy,
                                      const kn_norm_grads *grads) {
    norm_job job = {
        .kind = &kind_bf16, .dims = n, .state = s, .x = x, .y = y, .dy = dy, .grads = grads};
    return backward(d, &job);
}
