/* test_optim_kernels.c - the kernels of the optimizers on each device against the reference, at
 * lengths where threads share a loop and vectors have a rest.
 *
 * KILN_TEST_DEVICE names the one device to test; without it it is "cpu". */
#include "support/check.h"
#include "support/counted.h"
#include "support/numbers.h"

#include "backend/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 100003, ARRAYS = 5 };

static counted memory;
static kn_ctx *ctx;
static kn_device *device, *reference;
static float host[2][ARRAYS][MOST]; /* of the device under test, and of the reference */
static float start[ARRAYS][MOST];

static int open_context(void **state) {
    (void)state;
    ctx = counted_ctx(&memory, test_device());
    device = kn_device_default(ctx);
    reference = kn_device_open(ctx, "reference");
    for (int a = 0; a < ARRAYS; a++)
        numbers_fill(a == 3 ? POSITIVE : WIDE, 70 + (unsigned)a, 0, MOST, start[a]);
    return device != NULL && reference != NULL ? 0 : 1;
}

static int close_context(void **state) {
    (void)state;
    counted_ctx_free(&memory, ctx);
    return 0;
}

/* Runs a kernel on arrays g, x, m, v (not below zero), w of n numbers. */
typedef kn_status (*kernel_fn)(kn_device *d, int64_t n, float *const a[ARRAYS]);

static void run_on(kn_device *d, int64_t n, kernel_fn kernel, float out[ARRAYS][MOST]) {
    float *a[ARRAYS];
    size_t bytes = (size_t)(n > 0 ? n : 1) * sizeof(float);
    for (int i = 0; i < ARRAYS; i++) {
        a[i] = d->ops->alloc(d, bytes);
        assert_non_null(a[i]);
        assert_int_equal(d->ops->copy_in(d, a[i], start[i], bytes), KN_OK);
    }
    assert_int_equal(kernel(d, n, a), KN_OK);
    for (int i = 0; i < ARRAYS; i++) {
        assert_int_equal(d->ops->copy_out(d, out[i], a[i], bytes), KN_OK);
        d->ops->free(d, a[i]);
    }
}

static void compare(const char *name, kernel_fn kernel) {
    static const int64_t lengths[] = {0, 1, 15, 64, 1000, 16384, 33333, MOST};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        int64_t n = lengths[l];
        run_on(device, n, kernel, host[0]);
        run_on(reference, n, kernel, host[1]);
        for (int i = 0; i < ARRAYS; i++)
            for (int64_t k = 0; k < n; k++) {
                double got = host[0][i][k], want = host[1][i][k];
                if (!(fabs(got - want) <= 1e-6 * fmax(1, fabs(want))))
                    fail_msg("%s, %d numbers: array %d at %d is %g, expected %g", name, (int)n, i,
                             (int)k, got, want);
            }
    }
}

/* ---- the kernels ---- */

static kn_status sgd(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    kn_sgd_rule rule = {.lr = 0.1f, .wd = 0.01f};
    return d->ops->sgd(d, n, &rule, a[0], NULL, a[4]);
}

static kn_status sgd_first(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    kn_sgd_rule rule = {.lr = 0.1f, .wd = 0.01f, .momentum = 0.9f, .first = true};
    return d->ops->sgd(d, n, &rule, a[0], a[3], a[4]);
}

static kn_status sgd_momentum(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    kn_sgd_rule rule = {.lr = 0.1f, .wd = 0.01f, .momentum = 0.9f};
    return d->ops->sgd(d, n, &rule, a[0], a[3], a[4]);
}

static kn_status sgd_nesterov(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    kn_sgd_rule rule = {.lr = 0.1f, .wd = 0.01f, .momentum = 0.9f, .nesterov = true};
    return d->ops->sgd(d, n, &rule, a[0], a[3], a[4]);
}

static kn_status sgd_nesterov_first(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    kn_sgd_rule rule = {.lr = 0.1f, .momentum = 0.9f, .first = true, .nesterov = true};
    return d->ops->sgd(d, n, &rule, a[0], a[3], a[4]);
}

static kn_status adam(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    kn_adam_rule rule = {.beta1 = 0.9f,
                         .beta2 = 0.99f,
                         .l2 = 0.1f,
                         .keep = 0.98f,
                         .step = 0.02f,
                         .root = 1.5f,
                         .eps = 1e-3f};
    return d->ops->adam(d, n, &rule, a[0], a[2], a[3], a[4]);
}

static kn_status adam_plain(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    kn_adam_rule rule = {
        .beta1 = 0.9f, .beta2 = 0.99f, .keep = 1, .step = 0.02f, .root = 1, .plain = true};
    return d->ops->adam(d, n, &rule, a[0], a[2], a[3], a[4]);
}

static kn_status muon_momentum(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    return d->ops->muon_momentum(d, n, 0.9f, false, a[0], a[2], a[1]);
}

static kn_status muon_nesterov(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    return d->ops->muon_momentum(d, n, 0.9f, true, a[0], a[2], a[1]);
}

/* a[3] is above zero: its first number is the norm. */
static kn_status muon_step(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    return d->ops->muon_step(d, n, 0.98f, 0.02f, a[0], a[3], a[4]);
}

/* The matrices are as large as n has room for. */
static int64_t side_of(int64_t n) {
    return (int64_t)sqrt((double)n);
}

static kn_status muon_normalize(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    return n == 0 ? KN_OK : d->ops->muon_normalize(d, side_of(n), a[3], a[4]);
}

static kn_status muon_poly(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    static const float k[3] = {3.4445f, -4.7750f, 2.0315f};
    return d->ops->muon_poly(d, side_of(n), k, a[0], a[1], a[4]);
}

static kn_status lerp(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    return d->ops->lerp(d, n, 0.3f, a[0], a[4]);
}

/* To a norm of 2, which all but the shortest exceed. */
static kn_status clip(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    double *total = d->ops->alloc(d, sizeof *total);
    assert_non_null(total);
    kn_status status = d->ops->zero(d, total, sizeof *total);
    if (status == KN_OK)
        status = d->ops->square_sum(d, n / 2, a[0], total);
    if (status == KN_OK)
        status = d->ops->square_sum(d, n - n / 2, a[0] + n / 2, total);
    if (status == KN_OK)
        status = d->ops->clip(d, n, 2, total, a[0]);
    d->ops->free(d, total);
    return status;
}

static void kernels_agree_with_the_reference(void **state) {
    (void)state;
    compare("sgd", sgd);
    compare("sgd_first", sgd_first);
    compare("sgd_momentum", sgd_momentum);
    compare("sgd_nesterov", sgd_nesterov);
    compare("sgd_nesterov_first", sgd_nesterov_first);
    compare("adam", adam);
    compare("adam_plain", adam_plain);
    compare("muon_momentum", muon_momentum);
    compare("muon_nesterov", muon_nesterov);
    compare("muon_step", muon_step);
    compare("muon_normalize", muon_normalize);
    compare("muon_poly", muon_poly);
    compare("lerp", lerp);
    compare("clip", clip);
}

/* ---- what is special ---- */

static double square_sum(kn_device *d, const float *x, int64_t n) {
    double total = 0;
    float *on_device = d->ops->alloc(d, (size_t)n * sizeof *x);
    double *sum = d->ops->alloc(d, sizeof *sum);
    assert_true(on_device != NULL && sum != NULL);
    assert_int_equal(d->ops->copy_in(d, on_device, x, (size_t)n * sizeof *x), KN_OK);
    assert_int_equal(d->ops->zero(d, sum, sizeof *sum), KN_OK);
    assert_int_equal(d->ops->square_sum(d, n, on_device, sum), KN_OK);
    assert_int_equal(d->ops->copy_out(d, &total, sum, sizeof total), KN_OK);
    d->ops->free(d, on_device);
    d->ops->free(d, sum);
    return total;
}

static void sums_have_no_bit_of_the_threads(void **state) {
    (void)state;
    double want = square_sum(device, start[0], MOST);
    int threads = device->threads;
    for (device->threads = 1; device->threads < 5; device->threads++) {
        double got = square_sum(device, start[0], MOST);
        assert_memory_equal(&got, &want, sizeof got);
    }
    device->threads = threads;
    assert_true(fabs(want - square_sum(reference, start[0], MOST)) <= 1e-12 * want);
}

static kn_status clip_at_nan(kn_device *d, int64_t n, float *const a[ARRAYS]) {
    double nan = NAN, *total = d->ops->alloc(d, sizeof *total);
    assert_non_null(total);
    assert_int_equal(d->ops->copy_in(d, total, &nan, sizeof nan), KN_OK);
    kn_status status = d->ops->clip(d, n, 2, total, a[0]);
    d->ops->free(d, total);
    return status;
}

/* A norm that is none is not hidden: as in PyTorch all gradients become NaN. */
static void a_norm_of_nan_reaches_every_gradient(void **state) {
    (void)state;
    kn_device *devices[] = {device, reference};
    for (int i = 0; i < 2; i++) {
        run_on(devices[i], 1000, clip_at_nan, host[0]);
        for (int k = 0; k < 1000; k++)
            assert_true(isnan(host[0][0][k]));
    }
}

/* Of zeros: no division by zero. */
static void a_matrix_of_zeros_stays(void **state) {
    (void)state;
    static float saved[MOST];
    memcpy(saved, start[3], sizeof saved);
    memset(start[3], 0, sizeof start[3]);
    run_on(device, 64, muon_normalize, host[0]);
    for (int k = 0; k < 64; k++)
        assert_true(host[0][3][k] == 0);
    assert_true(host[0][4][0] > 0);
    memcpy(start[3], saved, sizeof saved);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_agree_with_the_reference),
        cmocka_unit_test(sums_have_no_bit_of_the_threads),
        cmocka_unit_test(a_norm_of_nan_reaches_every_gradient),
        cmocka_unit_test(a_matrix_of_zeros_stays),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
