/* test_resize_kernel.c - the processor's best kernels of resizing give the bytes of the plain ones.
 * The bytes themselves are compared with Pillow's in test_image.c. */
#include "formats/resize_kernel.h"

#include <kiln/random.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 200, TAPS = 3 * KN_TAP_LANES, ROUNDS = 2000 };

static void test_split(void **state) {
    (void)state;
    kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, 0, 0, 0);
    for (int pixels = 0; pixels <= MOST; pixels++) {
        uint8_t in[3 * MOST];
        int16_t plain[3][MOST], best[3][MOST];
        for (int i = 0; i < 3 * pixels; i++)
            in[i] = (uint8_t)kn_rng_u32(&rng);
        kn_resize_plain.split(in, pixels, plain[0], plain[1], plain[2]);
        kn_resize_best()->split(in, pixels, best[0], best[1], best[2]);
        for (int c = 0; c < 3; c++)
            assert_memory_equal(plain[c], best[c], (size_t)pixels * sizeof plain[c][0]);
    }
}

/* Weights up to those that reach past a byte on both sides, so that clamping is compared too. */
static void test_filter(void **state) {
    (void)state;
    static int16_t line[MOST + TAPS], high[MOST * TAPS], low[MOST * TAPS];
    static uint8_t plain[3 * MOST], best[3 * MOST];
    int first[MOST], clamped = 0;
    kn_rng rng = kn_rng_at(2, KN_RANDOM_USER, 0, 0, 0);
    for (int round = 0; round < ROUNDS; round++) {
        kn_filter f = {.count = 1 + (int)kn_rng_below(&rng, MOST),
                       .taps = round % 4 == 0 ? KN_FEW_TAPS
                                              : KN_TAP_LANES * (1 + (int)kn_rng_below(&rng, 3)),
                       .first = first,
                       .high = high,
                       .low = low};
        for (int i = 0; i < MOST + TAPS; i++)
            line[i] = (int16_t)kn_rng_below(&rng, 256);
        for (int i = 0; i < f.count; i++)
            first[i] = (int)kn_rng_below(&rng, MOST);
        /* Together at most 1.5: more than a bicubic filter's, and sums stay below 2^31. */
        int reach = (1 << (KN_WEIGHT_BITS - KN_LOW_BITS)) * 3 / 2 / f.taps;
        for (int i = 0; i < f.count * f.taps; i++) {
            high[i] = (int16_t)((int)kn_rng_below(&rng, (uint32_t)(2 * reach)) - reach);
            low[i] = (int16_t)kn_rng_below(&rng, 1 << KN_LOW_BITS);
        }
        memset(plain, 1, sizeof plain);
        memset(best, 1, sizeof best);
        kn_resize_plain.filter(&f, line, plain);
        kn_resize_best()->filter(&f, line, best);
        assert_memory_equal(plain, best, sizeof plain);
        for (int i = 0; i < f.count; i++)
            clamped += plain[i * 3] == 0 || plain[i * 3] == 255;
    }
    assert_true(clamped > ROUNDS);
}

/* Any number of rows and columns, odd ones too; nothing past the last row is read, which
 * AddressSanitizer would see. */
static void test_add_rows(void **state) {
    (void)state;
    int clamped = 0;
    kn_rng rng = kn_rng_at(3, KN_RANDOM_USER, 0, 0, 0);
    for (int round = 0; round < ROUNDS; round++) {
        int16_t high[TAPS + 1] = {0}, low[TAPS + 1] = {0};
        uint8_t plain[MOST] = {1}, best[MOST] = {1};
        int taps = 1 + (int)kn_rng_below(&rng, TAPS), bytes = 1 + (int)kn_rng_below(&rng, MOST);
        ptrdiff_t down = bytes + (ptrdiff_t)kn_rng_below(&rng, 5);
        size_t size = (size_t)((taps - 1) * down + bytes);
        uint8_t *in = malloc(size);
        assert_non_null(in);
        for (size_t i = 0; i < size; i++)
            in[i] = (uint8_t)kn_rng_u32(&rng);
        int reach = (1 << (KN_WEIGHT_BITS - KN_LOW_BITS)) * 3 / 2 / taps;
        for (int k = 0; k < taps; k++) {
            high[k] = (int16_t)((int)kn_rng_below(&rng, (uint32_t)(2 * reach)) - reach);
            low[k] = (int16_t)kn_rng_below(&rng, 1 << KN_LOW_BITS);
        }
        kn_resize_plain.add_rows(in, down, taps, high, low, bytes, plain);
        kn_resize_best()->add_rows(in, down, taps, high, low, bytes, best);
        assert_memory_equal(plain, best, sizeof plain);
        for (int x = 0; x < bytes; x++)
            clamped += plain[x] == 0 || plain[x] == 255;
        free(in);
    }
    assert_true(clamped > ROUNDS);
}

int main(void) {
    if (kn_resize_best() == &kn_resize_plain)
        printf("SKIPPED: this processor has no kernels but the plain ones to compare\n");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_split), cmocka_unit_test(test_filter),
                                       cmocka_unit_test(test_add_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
