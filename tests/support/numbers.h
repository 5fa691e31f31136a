/* numbers.h - the operands of op tests: numbers from a small generator that
 * tools/make_op_goldens.py implements too, so that only results have to be stored. */
#ifndef KN_TEST_NUMBERS_H
#define KN_TEST_NUMBERS_H

#include <kiln/tensor.h>

typedef enum number_kind {
    WIDE,     /* [-2, 2) */
    POSITIVE, /* [0.5, 2.5) */
    OFF_ZERO, /* [-2.07, 2.07), at least 1/16 from 0 */
    COARSE,   /* -1, 0, 1 or 2: with ties */
    INDEX,    /* i32, 0 to limit - 1 */
    BYTES,    /* u8 */
    LISTED,   /* as given */
} number_kind;

/* Fills n elements (f32, for INDEX i32, for BYTES u8) from the stream of that number. */
void numbers_fill(number_kind kind, unsigned stream, int limit, int64_t n, void *out);

#endif
