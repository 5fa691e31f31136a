/* test_beta.c - the gamma and beta numbers are of their distributions. The draws follow from fixed
 * counters, so these tests pass always or never. */
#include "support/check.h"

#include <kiln/random.h>

#include "core/ctx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 20000 };

static double drawn[DRAWS];

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void draw(uint64_t seed, double a, double b) {
    for (uint32_t i = 0; i < DRAWS; i++) {
        kn_rng rng = kn_rng_at(seed, KN_RANDOM_USER, 0, 3, i);
        drawn[i] = kn_rng_beta(&rng, a, b);
        assert_true(drawn[i] >= 0 && drawn[i] <= 1);
    }
}

/* ---- against distribution functions that have a closed form ---- */

static double arcsine(double x) {
    return 2 / acos(-1.0) * asin(sqrt(x));
}
static double uniform(double x) {
    return x;
}
static double two_two(double x) {
    return x * x * (3 - 2 * x);
}
static double five_one(double x) {
    return pow(x, 5);
}
static double tenth_one(double x) {
    return pow(x, 0.1);
}
static double one_third(double x) {
    return 1 - pow(1 - x, 1.0 / 3);
}
static double half_two(double x) { /* the integral of x^-1/2 (1 - x), scaled to 1 */
    return 1.5 * sqrt(x) - 0.5 * x * sqrt(x);
}

/* The largest distance between the share of draws below x and the distribution function. */
static double distance(double (*cdf)(double)) {
    double most = 0;
    qsort(drawn, DRAWS, sizeof *drawn, ascending);
    for (int i = 0; i < DRAWS; i++) {
        double at = cdf(drawn[i]);
        most = fmax(most, fmax(fabs(at - (double)i / DRAWS), fabs(at - (i + 1.0) / DRAWS)));
    }
    return most;
}

static void beta_numbers_follow_their_distribution(void **state) {
    (void)state;
    static const struct {
        double a, b;
        double (*cdf)(double);
    } row[] = {{0.5, 0.5, arcsine}, {1, 1, uniform},         {2, 2, two_two},   {5, 1, five_one},
               {0.1, 1, tenth_one}, {1, 1.0 / 3, one_third}, {0.5, 2, half_two}};
    /* Kolmogorov and Smirnov: beyond this one in a thousand. */
    double limit = 1.95 / sqrt(DRAWS);
    for (size_t i = 0; i < KN_COUNT(row); i++) {
        draw(i, row[i].a, row[i].b);
        double d = distance(row[i].cdf);
        if (!(d < limit))
            fail_msg("Beta(%g,%g): distance %.4f, expected below %.4f", row[i].a, row[i].b, d,
                     limit);
    }
    draw(9, 0.5, 0.5); /* and the test can fail */
    assert_true(distance(uniform) > 5 * limit);
}

/* Mean 1/2 and variance 1/(4(2a+1)), down to a where every power underflows. */
static void moments_of_what_mixup_draws(void **state) {
    (void)state;
    static const double alpha[] = {0.001, 0.1, 0.2, 0.4, 1, 4, 200};
    for (size_t i = 0; i < KN_COUNT(alpha); i++) {
        double a = alpha[i], sum = 0, square = 0, variance = 1 / (4 * (2 * a + 1));
        draw(20 + i, a, a);
        for (int k = 0; k < DRAWS; k++) {
            sum += drawn[k] - 0.5;
            square += (drawn[k] - 0.5) * (drawn[k] - 0.5);
        }
        assert_true(fabs(sum / DRAWS) < 4 * sqrt(variance / DRAWS));
        assert_true(fabs(square / DRAWS / variance - 1) < 0.05);
    }
}

static void gamma_numbers_have_mean_and_variance_of_their_shape(void **state) {
    (void)state;
    static const double shape[] = {0.3, 1, 2.5, 30};
    for (size_t i = 0; i < KN_COUNT(shape); i++) {
        double sum = 0, square = 0, k = shape[i];
        kn_rng rng = kn_rng_at(5, KN_RANDOM_USER, 1, 0, (uint32_t)i);
        for (int n = 0; n < DRAWS; n++) {
            double g = kn_rng_gamma(&rng, k);
            assert_true(g >= 0);
            sum += g - k;
            square += (g - k) * (g - k);
        }
        assert_true(fabs(sum / DRAWS) < 4 * sqrt(k / DRAWS));
        assert_true(fabs(square / DRAWS / k - 1) < 0.1);
    }
}

/* ---- shuffling from a stream ---- */

static void a_stream_shuffles_as_the_function_does(void **state) {
    (void)state;
    uint32_t a[50], b[50];
    kn_rng rng = kn_rng_at(7, KN_RANDOM_SHUFFLE, 0, 2, 0);
    kn_shuffle(7, KN_RANDOM_SHUFFLE, 2, a, 50);
    kn_rng_shuffle(&rng, b, 50);
    assert_memory_equal(a, b, sizeof a);
    kn_rng_shuffle(&rng, b, 50); /* the stream goes on */
    assert_int_not_equal(memcmp(a, b, sizeof a), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beta_numbers_follow_their_distribution),
        cmocka_unit_test(moments_of_what_mixup_draws),
        cmocka_unit_test(gamma_numbers_have_mean_and_variance_of_their_shape),
        cmocka_unit_test(a_stream_shuffles_as_the_function_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
