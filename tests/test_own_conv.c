/* test_own_conv.c - Kiln's own convolutions and products against the reference, whatever the cpu
 * device would choose on this processor: at borders, strides and sizes where tiles, panels, bands
 * and blocks have a rest, with and without threads. */
#include "support/check.h"
#include "support/counted.h"
#include "support/numbers.h"

#include "backend/own_conv.h"
#include "backend/reference.h"
#include "backend/winograd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sums of up to some thousand products, in another order, and through Winograd's transforms. */
static const double tolerance = 1e-5;

typedef struct place {
    kn_ctx *ctx;
    kn_device *device;
    kn_own_conv *own;
} place;

static void need_tiles(void) {
    if (kn_tile_best() == NULL) {
        print_message("SKIPPED: this processor has no AVX2\n");
        skip();
    }
}

static bool open_place(place *p, const kn_tile_kernels *tile, int threads) {
    need_tiles();
    kn_error error = {0};
    assert_int_equal(kn_ctx_new(&p->ctx, (kn_ctx_opts){.threads = threads}, &error), KN_OK);
    p->device = kn_device_open(p->ctx, "cpu");
    assert_non_null(p->device);
    p->own = kn_own_conv_open(p->device, tile);
    return p->own != NULL;
}

static void close_place(place *p) {
    kn_own_conv_close(p->own);
    kn_ctx_free(p->ctx);
}

static float *some(unsigned stream, int64_t n) {
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 64) / 64 * 64);
    assert_non_null(x);
    numbers_fill(WIDE, stream, 0, n, x);
    return x;
}

/* ---- convolutions ---- */

static const kn_conv_dims shapes[] = {
    /* n, h, w, in, out, kernel_h, kernel_w, stride, padding; the output's size is computed */
    {3, 8, 8, 16, 16, 3, 3, 1, 1, 0, 0},   /* Winograd */
    {2, 7, 5, 32, 48, 3, 3, 1, 1, 0, 0},   /* its squares over the border */
    {3, 9, 6, 16, 32, 3, 3, 1, 0, 0, 0},   /* no padding */
    {1, 5, 5, 32, 16, 3, 3, 1, 3, 0, 0},   /* more than the kernel needs */
    {1, 1, 1, 16, 16, 3, 3, 1, 1, 0, 0},   /* one pixel */
    {5, 4, 4, 128, 144, 3, 3, 1, 1, 0, 0}, /* weights beyond the cache */
    {2, 3, 3, 144, 200, 3, 3, 1, 1, 0, 0}, /* and few pixels: threads share columns */
    {1, 5, 4, 96, 250, 1, 1, 1, 0, 0, 0},  /* likewise */
    {40, 8, 8, 32, 32, 3, 3, 1, 1, 0, 0},  /* squares of four by four */
    {6, 22, 17, 16, 32, 3, 3, 1, 0, 0, 0}, /* over the border, no padding */
    {6, 13, 14, 32, 16, 3, 3, 1, 3, 0, 0}, /* more than the kernel needs */
    {8, 8, 7, 144, 128, 3, 3, 1, 1, 0, 0}, /* deep: one block, shared */
    {7, 45, 39, 32, 16, 3, 3, 1, 1, 0, 0}, /* enough for parts of the weights' gradient */
    {2, 33, 31, 3, 16, 3, 3, 2, 1, 0, 0},  /* a first layer */
    {1, 37, 41, 3, 20, 7, 7, 2, 3, 0, 0},  /* another */
    {2, 9, 9, 1, 7, 5, 5, 3, 2, 0, 0},     /* grey */
    {3, 16, 15, 16, 33, 3, 3, 2, 1, 0, 0}, /* a rest of columns */
    {2, 12, 10, 24, 40, 3, 3, 1, 1, 0, 0}, /* no multiple of 16 */
    {2, 9, 9, 48, 24, 1, 1, 1, 0, 0, 0},   /* 1x1 */
    {2, 9, 8, 16, 32, 1, 1, 2, 0, 0, 0},   /* with a stride */
    {2, 23, 19, 20, 7, 4, 4, 3, 2, 0, 0},  /* even, and a stride of 3 */
    {1, 6, 40, 16, 18, 1, 5, 1, 1, 0, 0},  /* wide */
    {1, 40, 6, 17, 16, 5, 2, 2, 1, 0, 0},  /* tall */
    {1, 3, 3, 16, 16, 2, 2, 5, 0, 0, 0},   /* pixels that no window meets */
    {20, 4, 4, 64, 70, 3, 3, 2, 1, 0, 0},  /* many images to a band */
    {1, 70, 70, 16, 16, 3, 3, 2, 1, 0, 0}, /* several bands to an image */
    {2, 66, 66, 8, 16, 3, 3, 1, 1, 0, 0},  /* windows, several bands */
};

static kn_conv_dims sized(kn_conv_dims c) {
    c.out_h = (c.h + 2 * c.padding - c.kernel_h) / c.stride + 1;
    c.out_w = (c.w + 2 * c.padding - c.kernel_w) / c.stride + 1;
    return c;
}

static void check_shape(place *p, size_t i, const char *name) {
    kn_conv_dims c = sized(shapes[i]);
    kn_device *d = p->device;
    int64_t xs = c.n * c.h * c.w * c.in, ys = c.n * c.out_h * c.out_w * c.out;
    int64_t ws = c.out * c.in * c.kernel_h * c.kernel_w;
    float *x = some(1, xs), *w = some(2, ws), *dy = some(3, ys), *bias = some(4, c.out);
    float *got = some(5, xs + ys + ws), *want = some(6, xs + ys + ws);
    float got_bias[256], want_bias[256];
    for (int with = 0; with < 2; with++) { /* without bias and relu, and with */
        kn_weights weights = {w, 7, (uint64_t)with};
        const float *b = with ? bias : NULL;
        assert_int_equal(kn_own_conv_forward(p->own, &c, x, weights, b, with, NULL, got), KN_OK);
        assert_int_equal(kn_ref_conv(d, &c, x, weights, b, with, want), KN_OK);
        check_numbers(name, ys, got, want, tolerance);
        assert_int_equal(kn_own_conv_grad_weights(p->own, &c, x, dy, got, with ? got_bias : NULL),
                         KN_OK);
        assert_int_equal(kn_ref_conv_grad_weights(d, &c, x, dy, want, with ? want_bias : NULL),
                         KN_OK);
        check_numbers(name, ws, got, want, tolerance);
        if (with)
            check_numbers(name, c.out, got_bias, want_bias, tolerance);
    }
    kn_weights weights = {w, 7, 0};
    assert_int_equal(kn_own_conv_grad_data(p->own, &c, dy, weights, got), KN_OK);
    assert_int_equal(kn_ref_conv_grad_data(d, &c, dy, weights, want), KN_OK);
    check_numbers(name, xs, got, want, tolerance);
    kn_own_conv_forget(p->own, 7);
    float *all[] = {x, w, dy, bias, got, want};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
}

/* Squares of four by four are among the shapes, in all passes; in bf16 those of two by two. */
static void shapes_take_both_squares(void **state) {
    (void)state;
    int passes[5] = {0}, halves[5] = {0};
    need_tiles();
    for (size_t i = 0; i < KN_COUNT(shapes); i++) {
        kn_conv_dims c = sized(shapes[i]);
        kn_correlation k = kn_correlation_forward(&c);
        int forward = kn_winograd_side(kn_tile_best(), &k);
        passes[forward] += forward == kn_winograd_gradient_side(kn_tile_best(), &c);
        if (kn_tile_bf16_best() != NULL)
            halves[kn_winograd_gradient_side(kn_tile_bf16_best(), &c)]++;
    }
    assert_true(passes[0] > 0 && passes[2] > 0 && passes[4] > 0);
    assert_int_equal(halves[4], 0);
}

static void every_shape_gives_the_references_numbers(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 5};
    need_tiles();
    for (int k = 0; kn_tile_nth(k) != NULL; k++)
        for (size_t t = 0; t < KN_COUNT(threads); t++) {
            place p;
            assert_true(open_place(&p, kn_tile_nth(k), threads[t]));
            for (size_t i = 0; i < KN_COUNT(shapes); i++) {
                char name[64];
                snprintf(name, sizeof name, "%s: shape %zu on %d threads", kn_tile_nth(k)->name, i,
                         threads[t]);
                check_shape(&p, i, name);
            }
            close_place(&p);
        }
}

/* ---- bf16 ---- */

static kn_bf16 *halves_of(const float *x, int64_t n) {
    kn_bf16 *half = aligned_alloc(64, ((size_t)n * sizeof *half + 64) / 64 * 64);
    assert_non_null(half);
    for (int64_t i = 0; i < n; i++)
        half[i] = kn_bf16_from(x[i]);
    return half;
}

/* Winograd's method rounds what it multiplies once more, and each result is made of 16 products:
 * the difference, in the root of the mean square, may be a bit of bf16. */
static void check_winograd(const char *name, int64_t n, const float *got, const float *want) {
    double difference = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        square += (double)want[i] * want[i];
    }
    if (!(sqrt(difference) <= 0x1p-7 * sqrt(square)))
        fail_msg("%s: differs by %.4f of itself", name, sqrt(difference / square));
}

static void check_halves(const char *name, bool winograd, int64_t n, const kn_bf16 *got,
                         const kn_bf16 *want) {
    float *wide = some(1, 2 * n);
    for (int64_t i = 0; i < n; i++) {
        wide[i] = kn_bf16_value(got[i]);
        wide[n + i] = kn_bf16_value(want[i]);
    }
    if (winograd)
        check_winograd(name, n, wide, wide + n);
    else /* each was rounded once, from other sums */
        check_numbers(name, n, wide, wide + n, 0x1p-8);
    free(wide);
}

static void check_shape_bf16(place *p, size_t i, const char *name) {
    kn_conv_dims c = sized(shapes[i]);
    if (!kn_own_conv_can(p->own, &c))
        return;
    kn_device *d = kn_device_open(p->ctx, "reference");
    bool winograd = kn_winograd_gradient_side(kn_tile_bf16_best(), &c) > 0;
    int64_t xs = c.n * c.h * c.w * c.in, ys = c.n * c.out_h * c.out_w * c.out;
    int64_t ws = c.out * c.in * c.kernel_h * c.kernel_w;
    float *wide_x = some(1, xs), *w = some(2, ws), *wide_dy = some(3, ys), *bias = some(4, c.out);
    float *dw = some(5, ws), *want_dw = some(6, ws), db[256], want_db[256];
    kn_bf16 *x = halves_of(wide_x, xs), *dy = halves_of(wide_dy, ys);
    kn_bf16 *got = halves_of(wide_x, xs), *want = halves_of(wide_x, xs);
    kn_bf16 *y = halves_of(wide_dy, ys), *want_y = halves_of(wide_dy, ys);
    for (int with = 0; with < 2; with++) { /* without bias and relu, and with */
        kn_weights weights = {w, 7, (uint64_t)with};
        const float *b = with ? bias : NULL;
        assert_int_equal(kn_own_conv_forward(p->own, &c, x, weights, b, with, NULL, y), KN_OK);
        assert_int_equal(d->bf16->conv(d, &c, x, weights, b, with, want_y), KN_OK);
        check_halves(name, winograd, ys, y, want_y);
        assert_int_equal(kn_own_conv_grad_weights(p->own, &c, x, dy, dw, with ? db : NULL), KN_OK);
        assert_int_equal(d->bf16->conv_grad_weights(d, &c, x, dy, want_dw, with ? want_db : NULL),
                         KN_OK);
        if (winograd && !with)
            check_winograd(name, ws, dw, want_dw);
        else
            check_numbers(name, ws, dw, want_dw, tolerance);
        if (with)
            check_numbers(name, c.out, db, want_db, tolerance);
    }
    kn_weights weights = {w, 7, 0};
    assert_int_equal(kn_own_conv_grad_data(p->own, &c, dy, weights, got), KN_OK);
    assert_int_equal(d->bf16->conv_grad_data(d, &c, dy, weights, want), KN_OK);
    check_halves(name, winograd, xs, got, want);
    kn_own_conv_forget(p->own, 7);
    void *all[] = {wide_x, w, wide_dy, bias, dw, want_dw, x, dy, got, want, y, want_y};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
}

static void every_shape_gives_the_references_numbers_in_bf16(void **state) {
    (void)state;
    static const int threads[] = {1, 3};
    if (kn_tile_bf16_best() == NULL) {
        print_message("SKIPPED: this processor has no AVX-512 BF16\n");
        skip();
    }
    for (size_t t = 0; t < KN_COUNT(threads); t++) {
        place p;
        assert_true(open_place(&p, kn_tile_bf16_best(), threads[t]));
        for (size_t i = 0; i < KN_COUNT(shapes); i++) {
            char name[64];
            snprintf(name, sizeof name, "bf16: shape %zu on %d threads", i, threads[t]);
            check_shape_bf16(&p, i, name);
        }
        close_place(&p);
    }
}

/* The same bits again, on as many threads: which thread takes which item must not matter. */
static void a_pass_gives_the_same_bits_again(void **state) {
    (void)state;
    place p;
    assert_true(open_place(&p, kn_tile_best(), 3));
    kn_conv_dims c = sized((kn_conv_dims){40, 16, 16, 32, 32, 3, 3, 1, 1, 0, 0});
    kn_conv_dims strided = sized((kn_conv_dims){40, 16, 16, 32, 32, 3, 3, 2, 1, 0, 0});
    int64_t pixels = c.n * c.h * c.w * c.in, weights = c.out * c.in * 9;
    float *x = some(1, pixels), *dy = some(2, pixels);
    float *once = some(3, pixels), *again = some(4, pixels);
    kn_weights w = {some(5, weights), 0, 0};
    for (int i = 0; i < 20; i++) {
        const kn_conv_dims *dims = i % 2 == 0 ? &c : &strided;
        kn_own_conv_grad_weights(p.own, dims, x, dy, once, NULL);
        kn_own_conv_grad_weights(p.own, dims, x, dy, again, NULL);
        assert_memory_equal(once, again, (size_t)weights * sizeof *once);
        int64_t out = dims->n * dims->out_h * dims->out_w * dims->out;
        kn_own_conv_forward(p.own, dims, x, w, NULL, false, NULL, once);
        kn_own_conv_forward(p.own, dims, x, w, NULL, false, NULL, again);
        assert_memory_equal(once, again, (size_t)out * sizeof *once);
        kn_own_conv_grad_data(p.own, dims, dy, w, once);
        kn_own_conv_grad_data(p.own, dims, dy, w, again);
        assert_memory_equal(once, again, (size_t)pixels * sizeof *once);
    }
    float *all[] = {x, dy, once, again, (float *)(uintptr_t)w.data};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
    close_place(&p);
}

/* Packed weights are made anew when the version moves, and only then. */
static void packed_weights_follow_the_version(void **state) {
    (void)state;
    place p;
    assert_true(open_place(&p, kn_tile_best(), 1));
    kn_conv_dims c = sized((kn_conv_dims){1, 4, 4, 16, 16, 3, 3, 1, 1, 0, 0});
    float *x = some(1, 256), *w = some(2, 2304), *first = some(3, 256), *then = some(4, 256);
    kn_own_conv_forward(p.own, &c, x, (kn_weights){w, 3, 1}, NULL, false, NULL, first);
    w[0] += 1;
    kn_own_conv_forward(p.own, &c, x, (kn_weights){w, 3, 1}, NULL, false, NULL, then);
    assert_memory_equal(first, then, 256 * sizeof *first);
    kn_own_conv_forward(p.own, &c, x, (kn_weights){w, 3, 2}, NULL, false, NULL, then);
    assert_memory_not_equal(first, then, 256 * sizeof *first);
    float *all[] = {x, w, first, then};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
    close_place(&p);
}

/* After a pass that found no memory the next one is right, though the version stands. */
static void a_pass_without_memory_leaves_nothing_behind(void **state) {
    (void)state;
    need_tiles();
    kn_conv_dims c = sized((kn_conv_dims){2, 9, 8, 16, 32, 3, 3, 2, 1, 0, 0});
    int64_t xs = c.n * c.h * c.w * c.in, ys = c.n * c.out_h * c.out_w * c.out;
    int64_t ws = c.out * c.in * 9;
    float *x = some(1, xs), *w = some(2, ws), *dy = some(3, ys), *got = some(4, xs + ys + ws);
    float *want = some(5, xs + ys + ws);
    for (int pass = 0; pass < 3; pass++)
        for (int n = 1;; n++) {
            counted memory = {0};
            kn_ctx *ctx = counted_ctx(&memory, "cpu");
            kn_device *d = kn_device_default(ctx);
            kn_own_conv *own = kn_own_conv_open(d, kn_tile_best());
            kn_weights weights = {w, 7, 1};
            long before = memory.made;
            kn_status status = KN_OK;
            for (int again = 0; again < 2; again++) {
                memory.fail_at = again == 0 ? before + n : 0;
                if (pass == 0)
                    status = kn_own_conv_forward(own, &c, x, weights, NULL, false, NULL, got);
                else if (pass == 1)
                    status = kn_own_conv_grad_data(own, &c, dy, weights, got);
                else
                    status = kn_own_conv_grad_weights(own, &c, x, dy, got, NULL);
                if (again == 0 && status != KN_OK)
                    check_error(ctx, KN_ERR_MEMORY, "out of memory");
            }
            assert_int_equal(status, KN_OK);
            bool refused = memory.refused > 0;
            int64_t size = pass == 0 ? ys : pass == 1 ? xs : ws;
            if (pass == 0)
                kn_ref_conv(d, &c, x, weights, NULL, false, want);
            else if (pass == 1)
                kn_ref_conv_grad_data(d, &c, dy, weights, want);
            else
                kn_ref_conv_grad_weights(d, &c, x, dy, want, NULL);
            check_numbers("after a failure", size, got, want, tolerance);
            kn_own_conv_close(own);
            counted_ctx_free(&memory, ctx);
            if (!refused) {
                assert_true(n > 1);
                break;
            }
        }
    float *all[] = {x, w, dy, got, want};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
}

/* ---- what follows ---- */

typedef struct follower {
    const char *y;
    size_t size;          /* bytes of a number */
    int64_t pixels, cols; /* of the result */
    char *seen;
    int *times;
} follower;

static void follow(const void *args, int64_t first, int64_t count, int64_t col, int64_t end) {
    const follower *f = args;
    assert_true(first >= 0 && count > 0 && first + count <= f->pixels);
    assert_true(col >= 0 && col < end && end <= f->cols);
    for (int64_t pixel = first; pixel < first + count; pixel++)
        for (int64_t i = pixel * f->cols + col; i < pixel * f->cols + end; i++) {
            memcpy(f->seen + (size_t)i * f->size, f->y + (size_t)i * f->size, f->size);
            f->times[i]++;
        }
}

static void check_follower(place *p, const kn_tile_kernels *tile, size_t shape) {
    kn_conv_dims c = sized(shapes[shape]);
    int64_t xs = c.n * c.h * c.w * c.in, pixels = c.n * c.out_h * c.out_w, ys = pixels * c.out;
    float *x = some(1, xs), *w = some(2, c.out * c.in * c.kernel_h * c.kernel_w);
    float *y = some(3, ys), *seen = some(4, ys);
    kn_bf16 *half = halves_of(x, xs);
    int *times = calloc((size_t)ys, sizeof *times);
    size_t size = sizeof(float) / (size_t)tile->unit;
    follower f = {(const char *)y, size, pixels, c.out, (char *)seen, times};
    kn_conv_then then = {follow, &f};
    assert_int_equal(kn_own_conv_forward(p->own, &c, tile->unit > 1 ? (const void *)half : x,
                                         (kn_weights){w, 0, 0}, NULL, false, &then, y),
                     KN_OK);
    assert_memory_equal(y, seen, (size_t)ys * size);
    for (int64_t i = 0; i < ys; i++)
        if (times[i] != 1)
            fail_msg("%s: shape %zu: number %lld was given %d times", tile->name, shape,
                     (long long)i, times[i]);
    void *all[] = {x, w, y, seen, half, times};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
}

/* Each number of a result is given once, when it is what it will be. */
static void what_follows_gets_each_result_once(void **state) {
    (void)state;
    const kn_tile_kernels *tiles[] = {kn_tile_nth(0), kn_tile_nth(1), kn_tile_bf16_best()};
    need_tiles();
    for (size_t k = 0; k < KN_COUNT(tiles); k++)
        for (int threads = 1; tiles[k] != NULL && threads < 4; threads += 2) {
            place p;
            assert_true(open_place(&p, tiles[k], threads));
            for (size_t i = 0; i < KN_COUNT(shapes); i++) {
                kn_conv_dims c = sized(shapes[i]);
                if (kn_own_conv_can(p.own, &c))
                    check_follower(&p, tiles[k], i);
            }
            close_place(&p);
        }
}

/* ---- products ---- */

static void check_product(place *p, kn_matmul_dims m, bool with_bias, const char *name) {
    int64_t size = m.batch * m.m * m.n;
    float *a = some(1, m.batch * m.m * m.k), *b = some(2, m.batch * m.k * m.n);
    float *bias = some(3, m.n), *got = some(4, size), *want = some(5, size);
    if (m.symmetric) /* of a with itself */
        memcpy(b, a, (size_t)(m.batch * m.m * m.k) * sizeof *a);
    const float *added = with_bias ? bias : NULL;
    assert_int_equal(kn_own_matmul(p->own, &m, a, b, added, got), KN_OK);
    assert_int_equal(kn_ref_matmul(p->device, &m, a, b, added, want), KN_OK);
    check_numbers(name, size, got, want, tolerance);
    float *all[] = {a, b, bias, got, want};
    for (size_t i = 0; i < KN_COUNT(all); i++)
        free(all[i]);
}

static void every_product_gives_the_references_numbers(void **state) {
    (void)state;
    static const int threads[] = {1, 3};
    need_tiles();
    for (int i = 0; i < 4; i++) {
        const kn_tile_kernels *tile = kn_tile_nth(i / 2);
        place p;
        if (tile == NULL)
            break;
        assert_true(open_place(&p, tile, threads[i % 2]));
        for (int turned = 0; turned < 4; turned++) {
            bool a = turned % 2, b = turned / 2;
            check_product(&p, (kn_matmul_dims){1, 65, 50, 33, a, b, false}, true, "65x50x33");
            check_product(&p, (kn_matmul_dims){3, 7, 16, 5, a, b, false}, false, "three");
            check_product(&p, (kn_matmul_dims){1, 13, 21, 1100, a, b, false}, true, "deep");
            if (a != b)
                check_product(&p, (kn_matmul_dims){1, 150, 150, 600, a, b, true}, false,
                              "symmetric");
        }
        close_place(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_take_both_squares),
        cmocka_unit_test(every_shape_gives_the_references_numbers),
        cmocka_unit_test(every_shape_gives_the_references_numbers_in_bf16),
        cmocka_unit_test(a_pass_gives_the_same_bits_again),
        cmocka_unit_test(packed_weights_follow_the_version),
        cmocka_unit_test(a_pass_without_memory_leaves_nothing_behind),
        cmocka_unit_test(what_follows_gets_each_result_once),
        cmocka_unit_test(every_product_gives_the_references_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
