/* test_writes.c - what a user writes counts: weights through the packed buffer, gradients by hand.
 * And what cannot be: a buffer that wants a gradient, a channel that does not vary. */
#include "support/check.h"
#include "support/counted.h"

#include <kiln/kiln.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static kn_ctx *context(const char *device) {
    kn_ctx *ctx;
    assert_int_equal(
        kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 4, .threads = 1, .device = device}, NULL), KN_OK);
    return ctx;
}

static double forward_sum(kn_ctx *ctx, kn_module *m) {
    bool was = kn_grad_enable(ctx, false);
    kn_tensor *y = kn_forward(m, kn_full(ctx, KN_SHAPE(2, 8, 8, 16), 1));
    double sum = kn_item(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0}));
    kn_grad_enable(ctx, was);
    kn_step_end(ctx);
    return sum;
}

/* A backend's packed copies of the weights must not outlive a write to all of them at once. */
static void test_write_through_the_pack(void **state) {
    (void)state;
    const char *const devices[] = {"reference", test_device()};
    for (int i = 0; i < 2; i++) {
        kn_ctx *ctx = context(devices[i]);
        kn_module *m = kn_conv_layer(ctx, 16, 16, (kn_conv_opts){0});
        const kn_pack *pack = kn_module_pack(m);
        assert_non_null(pack);
        assert_true(forward_sum(ctx, m) != 0);
        int64_t total = kn_tensor_numel(pack->values);
        float *zeros = calloc((size_t)total, sizeof *zeros);
        assert_int_equal(kn_tensor_write(ctx, pack->values, zeros, (size_t)total * sizeof *zeros),
                         KN_OK);
        assert_true(forward_sum(ctx, m) == 0);
        free(zeros);
        kn_module_free(m);
        kn_ctx_free(ctx);
    }
}

static void test_gradient_by_hand(void **state) {
    (void)state;
    kn_ctx *ctx = context(test_device());
    kn_module *m = kn_linear(ctx, 2, 1);
    kn_optimizer *opt = kn_sgd(m, 0.5, (kn_sgd_opts){0});
    kn_named_list all;
    assert_int_equal(kn_module_parameters(m, &all), KN_OK);
    kn_param *weight = all.item[0].param;
    const float ones[2] = {1, 1};
    float before[2], after[2];
    assert_int_equal(kn_tensor_read(ctx, kn_param_value(weight), before, sizeof before), KN_OK);
    assert_int_equal(kn_tensor_write(ctx, kn_param_grad(weight), ones, sizeof ones), KN_OK);
    assert_true(kn_param_has_grad(weight));
    assert_int_equal(kn_optimizer_step(opt), KN_OK);
    assert_int_equal(kn_tensor_read(ctx, kn_param_value(weight), after, sizeof after), KN_OK);
    for (int i = 0; i < 2; i++)
        assert_true(after[i] == before[i] - 0.5f);
    kn_named_free(ctx, &all);
    kn_optimizer_free(opt);
    kn_module_free(m);
    kn_ctx_free(ctx);
}

static const kn_module_class bare_class = {.name = "bare"};

static void test_buffer_wants_no_gradient(void **state) {
    (void)state;
    kn_ctx *ctx = context(test_device());
    kn_module *m = kn_module_new(ctx, &bare_class, sizeof *m);
    kn_tensor *buffer = kn_module_buffer(m, "running", KN_F32, KN_SHAPE(3));
    assert_null(kn_require_grad(ctx, buffer));
    assert_int_equal(kn_error_take(ctx).status, KN_ERR_STATE);
    kn_module_free(m);
    kn_ctx_free(ctx);
}

/* Every constant value, in a count of pixels that floating point does not sum exactly. */
static void test_constant_channel(void **state) {
    (void)state;
    enum { SIDE = 30, COUNT = 7, BYTES = COUNT * SIDE * SIDE * 3 };
    kn_ctx *ctx = context(test_device());
    uint8_t *pixels = malloc(BYTES);
    kn_batch batch = {.n = COUNT, .height = SIDE, .width = SIDE, .pixels = pixels};
    for (int value = 0; value < 256; value++) {
        kn_normalize norm = {0};
        for (int i = 0; i < BYTES; i++)
            pixels[i] = (uint8_t)(i % 3 == 2 ? value : i);
        assert_int_equal(kn_normalize_from(ctx, &batch, &norm), KN_ERR_DATA);
        assert_non_null(strstr(kn_error_take(ctx).message, "channel 2"));
        for (int c = 0; c < 3; c++) /* all or nothing */
            assert_true(norm.std[c] == 0);
    }
    free(pixels);
    kn_ctx_free(ctx);
}

/* ---- kn_tensor_copy ---- */

static void assert_failed(kn_ctx *ctx, kn_status got, kn_status want, const char *message) {
    kn_error error = kn_error_take(ctx);
    assert_int_equal(got, want);
    assert_int_equal(error.status, want);
    assert_string_equal(error.message, message);
}

static void test_copy(void **state) {
    (void)state;
    kn_ctx *ctx = context("reference");
    const float old[] = {1, 2, 3, 4, 5, 6}, new[] = {6, 5, 4, 3, 2, 1};
    float got[6];
    kn_tensor *to = kn_from(ctx, KN_F32, KN_SHAPE(2, 3), old);
    kn_tensor *from = kn_from(ctx, KN_F32, KN_SHAPE(2, 3), new);
    assert_failed(ctx, kn_tensor_copy(ctx, to, kn_zeros(ctx, KN_F32, KN_SHAPE(3, 2))), KN_ERR_SHAPE,
                  "tensor_copy: f32 [3,2] into f32 [2,3]");
    assert_failed(ctx, kn_tensor_copy(ctx, to, kn_zeros(ctx, KN_I32, KN_SHAPE(2, 3))), KN_ERR_SHAPE,
                  "tensor_copy: i32 [2,3] into f32 [2,3]");
    assert_failed(ctx, kn_tensor_copy(ctx, to, kn_to(ctx, from, kn_device_open(ctx, "cpu"))),
                  KN_ERR_DEVICE, "tensor_copy: from cpu to reference");
    assert_failed(ctx, kn_tensor_copy(ctx, to, NULL), KN_ERR_STATE,
                  "tensor_copy: there is no tensor");
    kn_fail(ctx, KN_ERR_IO, "the first error");
    assert_failed(ctx, kn_tensor_copy(ctx, NULL, from), KN_ERR_IO, "the first error");
    assert_int_equal(kn_tensor_read(ctx, to, got, sizeof got), KN_OK);
    assert_memory_equal(got, old, sizeof got);

    assert_int_equal(kn_tensor_copy(ctx, to, from), KN_OK);
    assert_int_equal(kn_tensor_copy(ctx, to, to), KN_OK);
    assert_int_equal(kn_tensor_read(ctx, to, got, sizeof got), KN_OK);
    assert_memory_equal(got, new, sizeof got);
    kn_ctx_free(ctx);
}

/* As a user's optimizer does: a layer computes with what was copied, not with a packed old weight.
 */
static void test_copy_into_a_parameter(void **state) {
    (void)state;
    kn_ctx *ctx = context(test_device());
    kn_module *m = kn_conv_layer(ctx, 16, 16, (kn_conv_opts){0});
    kn_named_list all;
    assert_true(forward_sum(ctx, m) != 0);
    assert_int_equal(kn_module_parameters(m, &all), KN_OK);
    for (int i = 0; i < all.count; i++) {
        kn_tensor *p = kn_param_value(all.item[i].param);
        kn_tensor *zeros = kn_zeros(ctx, KN_F32, *kn_tensor_shape(p));
        assert_int_equal(kn_tensor_copy(ctx, p, zeros), KN_OK);
    }
    kn_named_free(ctx, &all);
    assert_true(forward_sum(ctx, m) == 0);
    kn_module_free(m);
    kn_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_through_the_pack),
        cmocka_unit_test(test_gradient_by_hand),
        cmocka_unit_test(test_buffer_wants_no_gradient),
        cmocka_unit_test(test_constant_channel),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_into_a_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
