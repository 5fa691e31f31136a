/* analyzer.h - tells clang-tidy what it cannot see across files: the functions that record a
 * failure return the status they are given. tests/lint/tidy.sh includes it before each file. */
#include <kiln/base.h>

/* A macro does not expand inside itself, so the functions are still called. */
#define kn_error_set(error, status, ...) (kn_error_set((error), (status), __VA_ARGS__), (status))
#define kn_fail(ctx, status, ...)        (kn_fail((ctx), (status), __VA_ARGS__), (status))
