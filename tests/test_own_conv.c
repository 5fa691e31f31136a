/* test_own_conv.c - Kiln's own convolutions and products against the reference, whatever the cpu
 * device would choose on this processor, with and without threads. */
#include "support/check.h"
#include "support/own_conv.h"

#include "backend/reference.h"
#include "backend/winograd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sums of up to some thousand products, in another order, and through Winograd's transforms. */
static const double tolerance = 1e-5;

/* ---- convolutions ---- */

static void check_shape(own_place *p, size_t i, const char *name) {
    kn_conv_dims c = own_shape(i);
    kn_device *d = p->device;
    int64_t xs = c.n * c.h * c.w * c.in, ys = c.n * c.out_h * c.out_w * c.out;
    int64_t ws = c.out * c.in * c.kernel_h * c.kernel_w;
    float *x = own_some(1, xs), *w = own_some(2, ws), *dy = own_some(3, ys),
          *bias = own_some(4, c.out);
    float *got = own_some(5, xs + ys + ws), *want = own_some(6, xs + ys + ws);
    float got_bias[512], want_bias[512];
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
    own_need_tiles();
    for (size_t i = 0; i < OWN_SHAPES; i++) {
        kn_conv_dims c = own_shape(i);
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
    own_need_tiles();
    for (int k = 0; kn_tile_nth(k) != NULL; k++)
        for (size_t t = 0; t < KN_COUNT(threads); t++) {
            own_place p;
            assert_true(own_open(&p, kn_tile_nth(k), threads[t]));
            for (size_t i = 0; i < OWN_SHAPES; i++) {
                char name[64];
                snprintf(name, sizeof name, "%s: shape %zu on %d threads", kn_tile_nth(k)->name, i,
                         threads[t]);
                check_shape(&p, i, name);
            }
            own_close(&p);
        }
}

/* ---- bf16 ---- */
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
    float *wide = own_some(1, 2 * n);
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

static void check_shape_bf16(own_place *p, size_t i, const char *name) {
    kn_conv_dims c = own_shape(i);
    if (!kn_own_conv_can(p->own, &c))
        return;
    kn_device *d = kn_device_open(p->ctx, "reference");
    bool winograd = kn_winograd_gradient_side(kn_tile_bf16_best(), &c) > 0;
    int64_t xs = c.n * c.h * c.w * c.in, ys = c.n * c.out_h * c.out_w * c.out;
    int64_t ws = c.out * c.in * c.kernel_h * c.kernel_w;
    float *wide_x = own_some(1, xs), *w = own_some(2, ws), *wide_dy = own_some(3, ys),
          *bias = own_some(4, c.out);
    float *dw = own_some(5, ws), *want_dw = own_some(6, ws), db[512], want_db[512];
    kn_bf16 *x = own_halves(wide_x, xs), *dy = own_halves(wide_dy, ys);
    kn_bf16 *got = own_halves(wide_x, xs), *want = own_halves(wide_x, xs);
    kn_bf16 *y = own_halves(wide_dy, ys), *want_y = own_halves(wide_dy, ys);
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
        own_place p;
        assert_true(own_open(&p, kn_tile_bf16_best(), threads[t]));
        for (size_t i = 0; i < OWN_SHAPES; i++) {
            char name[64];
            snprintf(name, sizeof name, "bf16: shape %zu on %d threads", i, threads[t]);
            check_shape_bf16(&p, i, name);
        }
        own_close(&p);
    }
}
/* ---- products ---- */

static void check_product(own_place *p, kn_matmul_dims m, bool with_bias, const char *name) {
    int64_t size = m.batch * m.m * m.n;
    float *a = own_some(1, m.batch * m.m * m.k), *b = own_some(2, m.batch * m.k * m.n);
    float *bias = own_some(3, m.n), *got = own_some(4, size), *want = own_some(5, size);
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
    own_need_tiles();
    for (int i = 0; i < 4; i++) {
        const kn_tile_kernels *tile = kn_tile_nth(i / 2);
        own_place p;
        if (tile == NULL)
            break;
        assert_true(own_open(&p, tile, threads[i % 2]));
        for (int turned = 0; turned < 4; turned++) {
            bool a = turned % 2, b = turned / 2;
            check_product(&p, (kn_matmul_dims){1, 65, 50, 33, a, b, false}, true, "65x50x33");
            check_product(&p, (kn_matmul_dims){3, 7, 16, 5, a, b, false}, false, "three");
            check_product(&p, (kn_matmul_dims){1, 13, 21, 1100, a, b, false}, true, "deep");
            if (a != b)
                check_product(&p, (kn_matmul_dims){1, 150, 150, 600, a, b, true}, false,
                              "symmetric");
        }
        own_close(&p);
    }
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_take_both_squares),
        cmocka_unit_test(every_shape_gives_the_references_numbers),
        cmocka_unit_test(every_shape_gives_the_references_numbers_in_bf16),
        cmocka_unit_test(every_product_gives_the_references_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
