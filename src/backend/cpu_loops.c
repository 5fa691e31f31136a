/* cpu_loops.c - see cpu_loops.h. Each kernel is a plain loop over a range, compiled for several
 * instruction sets of which the processor's best is chosen at run time, and given to the threads in
 * ranges of equal length. A thread's range depends only on n and the number of threads. Reductions
 * here run within one thread, so no result depends on the number of threads. */
#include "backend/cpu_loops.h"

#include "backend/cpu_exp.h"
#include "backend/reference.h"
#include "core/multiversion.h"

#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else /* built without threads: the pragmas mean nothing */
static int omp_get_num_threads(void) {
    return 1;
}
static int omp_get_thread_num(void) {
    return 0;
}
#endif

/* Below this many numbers a thread costs more than it saves. */
enum { GRAIN = 1 << 14 };

kn_status kn_cpu_over(kn_device *d, int64_t n, int64_t unit, int64_t work, kn_range_fn fn,
                      const void *args) {
    int threads = work < GRAIN ? 1 : d->threads;
    if (threads == 1) {
        fn(args, 0, n);
        return KN_OK;
    }
    int64_t units = (n + unit - 1) / unit;
#pragma omp parallel num_threads(threads)
    {
        int64_t count = omp_get_num_threads(), t = omp_get_thread_num();
        int64_t begin = units * t / count * unit, end = units * (t + 1) / count * unit;
        if (begin < n)
            fn(args, begin, end < n ? end : n);
    }
    return KN_OK;
}

int kn_cpu_parts(const kn_device *d, int64_t n, int64_t work) {
    int parts = work < GRAIN ? 1 : d->threads;
    return n < parts ? (n > 0 ? (int)n : 1) : parts;
}

void kn_cpu_in_parts(kn_device *d, int64_t n, int parts, kn_part_fn fn, const void *args) {
    if (parts == 1) {
        fn(args, 0, 0, n);
        return;
    }
    (void)d; /* all its threads: a team of another size would be made anew each time */
#pragma omp parallel for num_threads(d->threads) schedule(static, 1)
    for (int p = 0; p < parts; p++)
        fn(args, p, n * p / parts, n * (p + 1) / parts);
}

void kn_cpu_each(kn_device *d, int64_t n, kn_item_fn fn, const void *args) {
    (void)d;
#pragma omp parallel for num_threads(d->threads) schedule(dynamic, 1) if (n > 1)
    for (int64_t item = 0; item < n; item++)
        fn(args, omp_get_thread_num(), item);
}

void *kn_cpu_scratch(kn_device *d, size_t bytes) {
    if (d->scratch_bytes >= bytes)
        return d->scratch;
    kn_mem_free(d->allocator, d->scratch);
    d->scratch = kn_mem_alloc(d->allocator, bytes);
    d->scratch_bytes = d->scratch != NULL ? bytes : 0;
    if (d->scratch == NULL)
        kn_error_set(d->error, KN_ERR_MEMORY, "out of memory: %zu bytes for partial sums", bytes);
    return d->scratch;
}

void kn_cpu_scratch_free(kn_device *d) {
    kn_mem_free(d->allocator, d->scratch);
    d->scratch = NULL;
    d->scratch_bytes = 0;
}

/* ---- elementwise ---- */

typedef struct unary_args {
    kn_device *d;
    kn_unary_kind kind;
    const float *x, *y, *dy;
    float *out;
} unary_args;

KN_MULTIVERSION static void relu_range(const float *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0 ? 0 : x[i]; /* keeps NaN */
}

/* Below, exp(x) is nothing beside any x: but kn_cpu_exp has an end, and x may be as large as that.
 */
static const float nothing = -88;

/* x / (1 + exp(-x)). */
KN_MULTIVERSION static void swish_range(const float *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float value = x[i] / (1 + kn_cpu_exp(-x[i]));
        y[i] = x[i] < nothing ? x[i] * 0 : value;
    }
}

/* x tanh(log(1 + e)) with e = exp(x); the tanh is w / (w + 2) with w = e (e + 2). From 20 on it is
 * 1 in f32, and before that nothing overflows. */
KN_MULTIVERSION static void mish_range(const float *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float e = kn_cpu_exp(x[i] > 20 ? 20 : x[i]), w = e * (e + 2);
        y[i] = x[i] * (x[i] < nothing ? 0 : w / (w + 2));
    }
}

void kn_cpu_unary_here(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y) {
    if (kind == KN_RELU)
        relu_range(x, y, n);
    else if (kind == KN_SWISH)
        swish_range(x, y, n);
    else if (kind == KN_MISH)
        mish_range(x, y, n);
    else
        kn_ref_unary(d, kind, n, x, y);
}

static void unary_range(const void *args, int64_t begin, int64_t end) {
    const unary_args *u = args;
    kn_cpu_unary_here(u->d, u->kind, end - begin, u->x + begin, u->out + begin);
}

kn_status kn_cpu_unary(kn_device *d, kn_unary_kind kind, int64_t n, const float *x, float *y) {
    unary_args u = {.d = d, .kind = kind, .x = x, .out = y};
    return kn_cpu_over(d, n, 64, n, unary_range, &u);
}

KN_MULTIVERSION static void relu_grad_range(const float *y, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float g = dy[i]; /* read in any case: else clang makes no vectors of it */
        dx[i] = y[i] <= 0 ? 0 : g;
    }
}

KN_MULTIVERSION static void swish_grad_range(const float *x, const float *dy, float *dx,
                                             int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float s = 1 / (1 + kn_cpu_exp(-x[i]));
        dx[i] = dy[i] * (x[i] < nothing ? x[i] * 0 : s + x[i] * s * (1 - s));
    }
}

KN_MULTIVERSION static void mish_grad_range(const float *x, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float e = kn_cpu_exp(x[i] > 20 ? 20 : x[i]), w = e * (e + 2), t = w / (w + 2);
        float slope = t + x[i] * (1 - t * t) * (e / (1 + e));
        dx[i] = dy[i] * (x[i] < nothing ? x[i] * 0 : slope);
    }
}

void kn_cpu_unary_grad_here(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx) {
    if (kind == KN_RELU)
        relu_grad_range(y, dy, dx, n);
    else if (kind == KN_SWISH)
        swish_grad_range(x, dy, dx, n);
    else if (kind == KN_MISH)
        mish_grad_range(x, dy, dx, n);
    else
        kn_ref_unary_grad(d, kind, n, x, y, dy, dx);
}

static void unary_grad_range(const void *args, int64_t begin, int64_t end) {
    const unary_args *u = args;
    kn_cpu_unary_grad_here(u->d, u->kind, end - begin, u->x != NULL ? u->x + begin : NULL,
                           u->y + begin, u->dy + begin, u->out + begin);
}

kn_status kn_cpu_unary_grad(kn_device *d, kn_unary_kind kind, int64_t n, const float *x,
                            const float *y, const float *dy, float *dx) {
    unary_args u = {.d = d, .kind = kind, .x = x, .y = y, .dy = dy, .out = dx};
    return kn_cpu_over(d, n, 64, n, unary_grad_range, &u);
}

typedef struct binary_args {
    kn_binary_kind kind;
    const float *a, *b;
    float *y;
} binary_args;

KN_MULTIVERSION static void binary_range(const void *args, int64_t begin, int64_t end) {
    const binary_args *p = args;
    const float *a = p->a, *b = p->b;
    float *y = p->y;
    switch (p->kind) {
    case KN_ADD:
        for (int64_t i = begin; i < end; i++)
            y[i] = a[i] + b[i];
        break;
    case KN_SUB:
        for (int64_t i = begin; i < end; i++)
            y[i] = a[i] - b[i];
        break;
    case KN_MUL:
        for (int64_t i = begin; i < end; i++)
            y[i] = a[i] * b[i];
        break;
    case KN_DIV:
        for (int64_t i = begin; i < end; i++)
            y[i] = a[i] / b[i];
        break;
    case KN_EQ:
        break;
    }
}

kn_status kn_cpu_binary(kn_device *d, kn_binary_kind kind, kn_dtype dtype, const kn_bcast *loop,
                        const void *a, const void *b, void *y) {
    bool same = loop->rank == 1 && loop->a_step[0] == 1 && loop->b_step[0] == 1;
    if (kind == KN_EQ || !same)
        return kn_ref_binary(d, kind, dtype, loop, a, b, y);
    binary_args p = {.kind = kind, .a = a, .b = b, .y = y};
    return kn_cpu_over(d, loop->dim[0], 64, loop->dim[0], binary_range, &p);
}

typedef struct axpy_args {
    float alpha;
    const float *x;
    float *y;
} axpy_args;

KN_MULTIVERSION static void axpy_range(const void *args, int64_t begin, int64_t end) {
    const axpy_args *p = args;
    const float *x = p->x;
    float *y = p->y, alpha = p->alpha;
    for (int64_t i = begin; i < end; i++)
        y[i] += alpha * x[i];
}

kn_status kn_cpu_axpy(kn_device *d, int64_t n, float alpha, const float *x, float *y) {
    axpy_args p = {.alpha = alpha, .x = x, .y = y};
    return kn_cpu_over(d, n, 64, n, axpy_range, &p);
}

/* ---- around the model ---- */

/* Sixteen pixels are 48 numbers: whole registers of every width, with the channels at fixed places.
 */
enum { PIXELS = 16, LANES = 3 * PIXELS };

typedef struct normalize_args {
    float mean[LANES], std[LANES];
    const uint8_t *x;
    float *y;
} normalize_args;

KN_MULTIVERSION static void normalize_range(const void *args, int64_t begin, int64_t end) {
    const normalize_args *p = args;
    int64_t i = begin;
    for (; i + PIXELS <= end; i += PIXELS) {
        const uint8_t *x = p->x + i * 3;
        float *y = p->y + i * 3;
        for (int k = 0; k < LANES; k++)
            y[k] = ((float)x[k] / 255.0f - p->mean[k]) / p->std[k];
    }
    for (int64_t k = i * 3; k < end * 3; k++)
        p->y[k] = ((float)p->x[k] / 255.0f - p->mean[k % 3]) / p->std[k % 3];
}

kn_status kn_cpu_normalize(kn_device *d, int64_t n, const uint8_t *x, const float mean[3],
                           const float std[3], float *y) {
    normalize_args p = {.x = x, .y = y};
    for (int k = 0; k < LANES; k++) {
        p.mean[k] = mean[k % 3];
        p.std[k] = std[k % 3];
    }
    return kn_cpu_over(d, n, PIXELS, n * 3, normalize_range, &p);
}
