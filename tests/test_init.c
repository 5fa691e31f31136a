/* test_init.c - initial weights: the spread of the papers, and nothing but a function of the seed.
 */
#include "support/model_case.h"

#include <math.h>

static double std_of(kn_ctx *ctx, kn_module *m, double *mean) {
    static float w[512 * 256 * 9];
    kn_named_list list;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    kn_tensor *t = kn_param_value(list.item[0].param);
    int64_t n = kn_tensor_numel(t);
    assert_true(n <= (int64_t)(sizeof w / sizeof *w));
    check_read(ctx, t, n, w);
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += w[i];
        square += (double)w[i] * w[i];
    }
    *mean = sum / (double)n;
    for (int i = 1; i < list.count; i++) { /* the biases */
        kn_tensor *bias = kn_param_value(list.item[i].param);
        check_read(ctx, bias, kn_tensor_numel(bias), w);
        for (int64_t k = 0; k < kn_tensor_numel(bias); k++)
            assert_true(w[k] == 0); // NOLINT(clang-diagnostic-float-equal)
    }
    kn_named_free(ctx, &list);
    return sqrt(square / (double)n - *mean * *mean);
}

/* Of n numbers the mean is off by std / sqrt(n), the std by std / sqrt(2 n): allowed is four times
 * that. */
static void check_spread(kn_ctx *ctx, kn_module *m, double n, double want) {
    double mean, std = std_of(ctx, m, &mean);
    if (!(fabs(mean) < 4 * want / sqrt(n) && fabs(std - want) < 4 * want / sqrt(2 * n)))
        fail_msg("%s: mean %g, std %g, expected 0 and %g", m->cls->name, mean, std, want);
    kn_module_free(m);
}

static void initial_weights_have_the_papers_spread(void **state) {
    kn_ctx *ctx = *state;
    check_spread(ctx, kn_conv_layer(ctx, 64, 128, (kn_conv_opts){0}), 128 * 64 * 9,
                 sqrt(2.0 / (64 * 9)));
    check_spread(ctx, kn_conv_layer(ctx, 32, 64, (kn_conv_opts){.kernel = 5, .no_bias = true}),
                 64 * 32 * 25, sqrt(2.0 / (32 * 25)));
    check_spread(ctx, kn_conv_layer(ctx, 64, 128, (kn_conv_opts){.no_act = true}), 128 * 64 * 9,
                 sqrt(2.0 / (64 * 9 + 128 * 9)));
    check_spread(ctx, kn_linear(ctx, 300, 100), 300 * 100, sqrt(2.0 / 400));
}

static void weights_of(uint64_t seed, const char *device, float *out) {
    kn_ctx *ctx;
    kn_error error = {0};
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){.seed = seed, .device = device}, &error),
                     KN_OK);
    kn_module *m = kn_simple_cnn(ctx, 10);
    assert_non_null(m);
    read_params(m, false, out);
    kn_module_free(m);
    kn_ctx_free(ctx);
}

static void initial_weights_are_a_function_of_the_seed(void **state) {
    (void)state;
    static float a[SIMPLE_CNN_NUMBERS], b[SIMPLE_CNN_NUMBERS];
    weights_of(42, test_device(), a);
    weights_of(42, test_device(), b);
    assert_memory_equal(a, b, sizeof a);
    weights_of(42, "reference", b);
    assert_memory_equal(a, b, sizeof a);
    weights_of(43, test_device(), b);
    int same = 0;
    for (int i = 0; i < 16 * 3 * 9; i++)
        same += a[i] == b[i]; // NOLINT(clang-diagnostic-float-equal)
    assert_int_equal(same, 0);
}

/* Two layers of one shape do not start alike. */
static void every_layer_has_its_own_stream(void **state) {
    kn_ctx *ctx = *state;
    static float w[2][32 * 16 + 32];
    for (int i = 0; i < 2; i++) {
        kn_module *m = kn_linear(ctx, 16, 32);
        read_params(m, false, w[i]);
        kn_module_free(m);
    }
    for (int i = 0; i < 32 * 16; i++)
        assert_true(w[0][i] != w[1][i]); // NOLINT(clang-diagnostic-float-equal)
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(initial_weights_have_the_papers_spread),
        MODEL_CASE(initial_weights_are_a_function_of_the_seed),
        MODEL_CASE(every_layer_has_its_own_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
