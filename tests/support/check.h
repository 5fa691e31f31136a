/* check.h - assertions that the tests share, and cmocka with the headers it wants. */
#ifndef KN_TEST_CHECK_H
#define KN_TEST_CHECK_H

#include <kiln/tensor.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* The device to test beside the reference: KILN_TEST_DEVICE, which ./test.sh --device sets, else
 * cpu. */
const char *test_device(void);

/* One that it is not. */
const char *test_other_device(void);

/* Its memory is the context's, and what it computes is done when the call returns. */
bool test_device_is_host(void);

/* A sanitizer makes everything slow, and nobody asked for the long tests (KILN_TEST_FULL): what
 * another build goes through as well need not be repeated at length. */
bool test_in_short(void);

/* part is somewhere in text. */
void check_contains(const char *text, const char *part);

/* The context holds this error, with that in its one line of message; takes it. */
void check_error(kn_ctx *ctx, kn_status status, const char *part);

/* An op refused a value with KN_ERR_ARG: at once, or, where the device computes behind the caller's
 * back, when the result is read, which tells less. Takes the error. */
void check_value_refused(kn_ctx *ctx, const kn_tensor *result, const char *at_once,
                         const char *later);

/* The context holds no error; shows it else. what says where. */
void check_good(kn_ctx *ctx, const char *what);

/* Makes that device the default; fails the test when there is none. */
void check_use(kn_ctx *ctx, const char *device);

/* got equals want but for tolerance times the largest finite number of want; NaN equals NaN. */
void check_numbers(const char *what, int64_t n, const float *got, const float *want,
                   double tolerance);

/* Reads an f32 tensor of n numbers. */
void check_read(kn_ctx *ctx, const kn_tensor *t, int64_t n, float *out);

/* The tensor is there, f32, and holds exactly these n numbers. */
void check_values(kn_ctx *ctx, const kn_tensor *t, int64_t n, const float *want);

#endif
