/* check.c - see check.h. */
#include "support/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *test_device(void) {
    const char *name = getenv("KILN_TEST_DEVICE");
    return name != NULL && name[0] != '\0' ? name : "cpu";
}

const char *test_other_device(void) {
    return strcmp(test_device(), "cpu") == 0 ? "reference" : "cpu";
}

bool test_in_short(void) {
#ifdef __SANITIZE_ADDRESS__
    return getenv("KILN_TEST_FULL") == NULL;
#else
    return false;
#endif
}

bool test_device_is_host(void) {
    return strncmp(test_device(), "cuda", 4) != 0;
}

void check_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

void check_error(kn_ctx *ctx, kn_status status, const char *part) {
    kn_error error = kn_error_take(ctx);
    if (error.status != status)
        fail_msg("expected the error %s (%s), got %s: %s", kn_status_name(status), part,
                 kn_status_name(error.status), error.message);
    check_contains(error.message, part);
    assert_null(strchr(error.message, '\n'));
}

void check_value_refused(kn_ctx *ctx, const kn_tensor *result, const char *at_once,
                         const char *later) {
    if (test_device_is_host())
        assert_null(result);
    if (result != NULL) { /* any read waits for the device */
        char bytes[4096];
        size_t size = (size_t)kn_tensor_numel(result) * sizeof(float);
        assert_true(size <= sizeof bytes);
        assert_int_equal(kn_tensor_read(ctx, result, bytes, size), KN_ERR_ARG);
    }
    check_error(ctx, KN_ERR_ARG, result != NULL ? later : at_once);
}

void check_good(kn_ctx *ctx, const char *what) {
    kn_error error = kn_error_take(ctx);
    if (error.status != KN_OK)
        fail_msg("%s: %s: %s", what, kn_status_name(error.status), error.message);
}

void check_use(kn_ctx *ctx, const char *device) {
    kn_device *d = kn_device_open(ctx, device);
    check_good(ctx, device);
    kn_device_use(ctx, d);
}

static bool close_to(float got, float want, double allowed) {
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (isinf(want) || isinf(got))
        return want == got; // NOLINT(clang-diagnostic-float-equal)
    return fabs((double)got - want) <= allowed;
}

void check_numbers(const char *what, int64_t n, const float *got, const float *want,
                   double tolerance) {
    double scale = 0.1; /* zeros that are sums of opposite numbers are zero only so far */
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i]) && fabs(want[i]) > scale)
            scale = fabs(want[i]);
    for (int64_t i = 0; i < n; i++)
        if (!close_to(got[i], want[i], tolerance * scale))
            fail_msg("%s: number %lld of %lld is %.9g, expected %.9g, allowed difference %.2g",
                     what, (long long)i, (long long)n, got[i], want[i], tolerance * scale);
}

void check_read(kn_ctx *ctx, const kn_tensor *t, int64_t n, float *out) {
    if (t == NULL)
        check_good(ctx, "no tensor to read");
    assert_non_null(t);
    assert_int_equal(kn_tensor_dtype(t), KN_F32);
    assert_int_equal(kn_tensor_numel(t), n);
    if (kn_tensor_read(ctx, t, out, (size_t)n * sizeof *out) != KN_OK)
        check_good(ctx, "read");
}

void check_values(kn_ctx *ctx, const kn_tensor *t, int64_t n, const float *want) {
    float got[256];
    assert_true(n <= 256);
    check_read(ctx, t, n, got);
    check_numbers("tensor", n, got, want, 0);
}
