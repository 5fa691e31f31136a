/* cpu_bf16.c - bf16 on the cpu device: the passes over whole activations that are a loop each, and
 * the conversion from and to f32. */
#include "backend/cpu_bf16.h"

#include "backend/cpu_loops.h"
#include "backend/reference.h"
#include "core/multiversion.h"

typedef struct loop_args {
    kn_device *d;
    kn_unary_kind kind;
    const void *x, *y, *dy; /* b is y */
    void *out;
} loop_args;

/* ---- conversion ---- */

KN_MULTIVERSION static void widen(int64_t n, const kn_bf16 *restrict x, float *restrict y) {
    for (int64_t i = 0; i < n; i++)
        y[i] = kn_bf16_value(x[i]);
}

KN_MULTIVERSION static void narrow(int64_t n, const float *restrict x, kn_bf16 *restrict y) {
    for (int64_t i = 0; i < n; i++)
        y[i] = kn_bf16_from(x[i]);
}

static void widen_range(const void *args, int64_t begin, int64_t end) {
    const loop_args *l = args;
    widen(end - begin, (const kn_bf16 *)l->x + begin, (float *)l->out + begin);
}

static void narrow_range(const void *args, int64_t begin, int64_t end) {
    const loop_args *l = args;
    narrow(end - begin, (const float *)l->x + begin, (kn_bf16 *)l->out + begin);
}

kn_status kn_cpu_cast(kn_device *d, kn_dtype from, kn_dtype to, int64_t n, const void *x, void *y) {
    loop_args l = {.x = x, .out = y};
    if (from == KN_BF16 && to == KN_F32)
        return kn_cpu_over(d, n, 64, n, widen_range, &l);
    if (from == KN_F32 && to == KN_BF16)
        return kn_cpu_over(d, n, 64, n, narrow_range, &l);
    return kn_ref_cast(d, from, to, n, x, y);
}

/* ---- functions of each number ---- */

KN_MULTIVERSION static void relu(int64_t n, const kn_bf16 *restrict x, kn_bf16 *restrict y) {
    for (int64_t i = 0; i < n; i++)
        y[i] = kn_bf16_value(x[i]) < 0 ? 0 : x[i]; /* keeps NaN */
}

/* dx may be dy. */
KN_MULTIVERSION static void relu_grad(int64_t n, const kn_bf16 *y, const kn_bf16 *dy, kn_bf16 *dx) {
    for (int64_t i = 0; i < n; i++) {
        kn_bf16 g = dy[i]; /* read in any case: else clang makes no vectors of it */
        dx[i] = kn_bf16_value(y[i]) <= 0 ? 0 : g;
    }
}

KN_MULTIVERSION static void add(int64_t n, const kn_bf16 *a, const kn_bf16 *b, kn_bf16 *y) {
    for (int64_t i = 0; i < n; i++)
        y[i] = kn_bf16_from(kn_bf16_value(a[i]) + kn_bf16_value(b[i]));
}

/* Other functions: some numbers at a time in f32, by the kernels for that. */
enum { CHUNK = 1024 };

static void unary_range(const void *args, int64_t begin, int64_t end) {
    const loop_args *l = args;
    const kn_bf16 *x = l->x;
    kn_bf16 *out = l->out;
    float wide[CHUNK], made[CHUNK];
    if (l->kind == KN_RELU) {
        relu(end - begin, x + begin, out + begin);
        return;
    }
    for (int64_t i = begin; i < end; i += CHUNK) {
        int64_t n = end - i < CHUNK ? end - i : CHUNK;
        widen(n, x + i, wide);
        kn_cpu_unary_here(l->d, l->kind, n, wide, made);
        narrow(n, made, out + i);
    }
}

static void unary_grad_range(const void *args, int64_t begin, int64_t end) {
    const loop_args *l = args;
    const kn_bf16 *x = l->x, *y = l->y, *dy = l->dy;
    kn_bf16 *out = l->out;
    float wide_x[CHUNK], wide_y[CHUNK], wide_dy[CHUNK], made[CHUNK];
    if (l->kind == KN_RELU) {
        relu_grad(end - begin, y + begin, dy + begin, out + begin);
        return;
    }
    for (int64_t i = begin; i < end; i += CHUNK) {
        int64_t n = end - i < CHUNK ? end - i : CHUNK;
        widen(n, x + i, wide_x);
        widen(n, y + i, wide_y);
        widen(n, dy + i, wide_dy);
        kn_cpu_unary_grad_here(l->d, l->kind, n, wide_x, wide_y, wide_dy, made);
        narrow(n, made, out + i);
    }
}

static void add_range(const void *args, int64_t begin, int64_t end) {
    const loop_args *l = args;
    add(end - begin, (const kn_bf16 *)l->x + begin, (const kn_bf16 *)l->y + begin,
        (kn_bf16 *)l->out + begin);
}

kn_status kn_cpu_unary_bf16(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x,
                            kn_bf16 *y) {
    loop_args l = {.d = d, .kind = kind, .x = x, .out = y};
    return kn_cpu_over(d, n, 64, n, unary_range, &l);
}

kn_status kn_cpu_unary_grad_bf16(kn_device *d, kn_unary_kind kind, int64_t n, const kn_bf16 *x,
                                 const kn_bf16 *y, const kn_bf16 *dy, kn_bf16 *dx) {
    loop_args l = {.d = d, .kind = kind, .x = x, .y = y, .dy = dy, .out = dx};
    return kn_cpu_over(d, n, 64, n, unary_grad_range, &l);
}

kn_status kn_cpu_add_bf16(kn_device *d, int64_t n, const kn_bf16 *a, const kn_bf16 *b, kn_bf16 *y) {
    loop_args l = {.x = a, .y = b, .out = y};
    return kn_cpu_over(d, n, 64, n, add_range, &l);
}
