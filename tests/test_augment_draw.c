/* test_augment_draw.c - what augmentation draws: the distributions against their definitions. All
 * draws follow from fixed seeds, so a test passes always or never. */
#include "support/check.h"

#include "data/augment.h"

#include <math.h>
#include <string.h>

enum { DRAWS = 20000 };

static kn_rng nth(int i) {
    return kn_rng_at(3, KN_RANDOM_USER, 0, 0, (uint32_t)i);
}

/* Within four standard errors of what is expected. */
static void check_mean(double sum, double sum_of_squares, int n, double want) {
    double mean = sum / n, deviation = sqrt(fmax(0, sum_of_squares / n - mean * mean));
    if (fabs(mean - want) > 4 * deviation / sqrt(n))
        fail_msg("mean %g, expected %g (standard error %g)", mean, want, deviation / sqrt(n));
}

static void check_inside(kn_rect r, int h, int w) {
    assert_in_range(r.width, 1, w);
    assert_in_range(r.height, 1, h);
    assert_in_range(r.left, 0, w - r.width);
    assert_in_range(r.top, 0, h - r.height);
}

/* ---- crop ---- */

/* Draws that do not fit are drawn again, so of a square picture the share s has a density in
 * proportion to the aspects that fit: |log aspect| is at most -log s and log 4/3. */
static double expected_share(double least) {
    double sum = 0, weights = 0;
    enum { STEPS = 100000 };
    for (int i = 0; i < STEPS; i++) {
        double s = least + (1 - least) * (i + 0.5) / STEPS, weight = fmin(log(4.0 / 3), -log(s));
        sum += s * weight;
        weights += weight;
    }
    return sum / weights;
}

static void test_crop_of_a_square(void **state) {
    (void)state;
    enum { SIDE = 1000 };
    static const double leasts[] = {0.08, 0.35, 0.6};
    for (size_t k = 0; k < sizeof leasts / sizeof *leasts; k++) {
        double share = 0, share2 = 0, aspect = 0, aspect2 = 0, place = 0, place2 = 0;
        for (int i = 0; i < DRAWS; i++) {
            kn_rng rng = nth(i);
            kn_rect r = kn_draw_crop(&rng, SIDE, SIDE, leasts[k]);
            check_inside(r, SIDE, SIDE);
            double s = (double)r.width * r.height / SIDE / SIDE;
            double a = log((double)r.width / r.height);
            double p = (r.left + 0.5) / (SIDE - r.width + 1);
            assert_true(s > leasts[k] - 0.002 && fabs(a) < log(4.0 / 3) + 0.005);
            share += s, share2 += s * s;
            aspect += a, aspect2 += a * a;
            place += p, place2 += p * p;
        }
        check_mean(share, share2, DRAWS, expected_share(leasts[k]));
        check_mean(aspect, aspect2, DRAWS, 0);
        check_mean(place, place2, DRAWS, 0.5);
    }
}

/* Every place is drawn, also the last row and column. */
static void test_crop_places(void **state) {
    (void)state;
    bool top[9] = {false}, left[9] = {false};
    for (int i = 0; i < 5000; i++) {
        kn_rng rng = nth(i);
        kn_rect r = kn_draw_crop(&rng, 8, 8, 0.01);
        check_inside(r, 8, 8);
        if (r.width == 4)
            left[r.left] = true;
        if (r.height == 4)
            top[r.top] = true;
    }
    for (int i = 0; i <= 4; i++)
        assert_true(left[i] && top[i]);
}

/* Where no draw can fit: the largest part of an allowed aspect, from the middle. */
static void test_crop_falls_back(void **state) {
    (void)state;
    static const struct {
        int h, w;
        kn_rect want;
    } cases[] = {
        {10, 1000, {.left = 493, .top = 0, .width = 13, .height = 10}},
        {1000, 12, {.left = 0, .top = 492, .width = 12, .height = 16}},
        {1, 3, {.left = 1, .top = 0, .width = 1, .height = 1}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        kn_rng rng = nth((int)k);
        kn_rect r = kn_draw_crop(&rng, cases[k].h, cases[k].w, 1);
        assert_memory_equal(&r, &cases[k].want, sizeof r);
    }
    for (int h = 1; h < 30; h++)
        for (int w = 1; w < 30; w++) {
            kn_rng rng = nth(h * 30 + w);
            check_inside(kn_draw_crop(&rng, h, w, 0.9), h, w);
        }
}

/* ---- mirror ---- */

static int count_flips(const kn_augment *a, uint32_t epoch) {
    int flips = 0;
    for (uint32_t i = 0; i < DRAWS; i++)
        flips += kn_draw_flip(a, (kn_sample_id){9, epoch, i});
    return flips;
}

static void test_flip_probability(void **state) {
    (void)state;
    for (int k = 0; k <= 4; k++) {
        kn_augment a = {.flip = 0.25F * (float)k};
        for (uint32_t epoch = 0; epoch < 3; epoch++) {
            double flips = count_flips(&a, epoch), p = 0.25 * k;
            if (k == 0 || k == 4)
                assert_true(flips == p * DRAWS);
            else
                check_mean(flips, flips, DRAWS, p);
        }
    }
}

/* Without alternation an epoch says nothing of the next; with it, all. */
static void test_flip_alternates(void **state) {
    (void)state;
    kn_augment free = {.flip = 0.5F}, alternating = {.flip = 0.5F, .flip_alternates = true};
    double first = count_flips(&alternating, 0);
    check_mean(first, first, DRAWS, 0.5);
    for (uint32_t epoch = 0; epoch < 5; epoch++) {
        double same = 0;
        for (uint32_t i = 0; i < DRAWS; i++) {
            kn_sample_id now = {9, epoch, i}, next = {9, epoch + 1, i};
            assert_true(kn_draw_flip(&alternating, now) != kn_draw_flip(&alternating, next));
            same += kn_draw_flip(&free, now) == kn_draw_flip(&free, next);
        }
        check_mean(same, same, DRAWS, 0.5);
    }
}

/* ---- colour and erasing, through the pixels ---- */

static void sample_of(const uint8_t *pixels, int side, kn_augment a, uint32_t i, uint8_t *out) {
    kn_image image = {.height = side, .width = side, .pixels = pixels};
    kn_image_opts opts = {.augment = a};
    kn_image_reader r = {0};
    kn_sample_id id = {4, 1, i};
    assert_int_equal(kn_image_sample(&r, &image, &opts, id, out, side, side, NULL), KN_OK);
    kn_image_reader_free(&r);
}

/* On a grey of 100, brightness makes 100 times the factor. */
static void test_brightness_factors(void **state) {
    (void)state;
    const uint8_t grey[3] = {100, 100, 100};
    static const float strengths[] = {0.25F, 1.5F};
    for (int k = 0; k < 2; k++) {
        double low = fmax(0, 100 - 100 * (double)strengths[k]),
               high = 100 + 100 * (double)strengths[k];
        double sum = 0, sum2 = 0, least = 255, most = 0;
        for (uint32_t i = 0; i < DRAWS; i++) {
            uint8_t out[3];
            sample_of(grey, 1, (kn_augment){.brightness = strengths[k]}, i, out);
            assert_true(out[0] == out[1] && out[1] == out[2]);
            double value = out[0] + 0.5; /* truncated */
            sum += value, sum2 += value * value;
            least = fmin(least, out[0]);
            most = fmax(most, out[0]);
        }
        check_mean(sum, sum2, DRAWS, (low + high) / 2);
        assert_true(least == floor(low) && most >= high - 1 && most <= high);
    }
}

/* On a grey of 100, brightness alone acts: contrast and saturation have nothing to work on. On a
 * colour all three do, in each of the six orders. */
static void test_colour_orders(void **state) {
    (void)state;
    static void (*const change[3])(uint8_t *, int, int, float) = {kn_brightness, kn_contrast,
                                                                  kn_saturation};
    static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const uint8_t pixels[2 * 2 * 3] = {250, 3, 60, 10, 255, 90, 0, 30, 240, 200, 180, 1};
    const float strength = 0.9F;
    int only[6] = {0};
    for (uint32_t i = 0; i < 600; i++) {
        uint8_t got[12];
        float factor[3];
        int fitting = 0, last = 0;
        sample_of(
            pixels, 2,
            (kn_augment){.brightness = strength, .contrast = strength, .saturation = strength}, i,
            got);
        for (int k = 0; k < 3; k++) {
            kn_rng rng =
                kn_rng_at(4, KN_RANDOM_AUGMENT, (uint16_t)(KN_AUGMENT_BRIGHTNESS + k), 1, i);
            factor[k] = 1 - strength + 2 * strength * kn_rng_uniform(&rng);
        }
        for (int k = 0; k < 6; k++) {
            uint8_t want[12];
            memcpy(want, pixels, sizeof want);
            for (int step = 0; step < 3; step++)
                change[order[k][step]](want, 2, 2, factor[order[k][step]]);
            if (memcmp(want, got, sizeof want) == 0) {
                fitting++;
                last = k;
            }
        }
        assert_true(fitting > 0);
        if (fitting == 1)
            only[last]++;
    }
    for (int k = 0; k < 6; k++)
        assert_true(only[k] > 30);
}

static void test_erased_rectangles(void **state) {
    (void)state;
    enum { H = 300, W = 500 };
    double share = 0, share2 = 0, place = 0, place2 = 0;
    for (int i = 0; i < DRAWS; i++) {
        kn_rng rng = nth(i);
        kn_rect r = kn_draw_erased(&rng, H, W);
        check_inside(r, H, W);
        double s = (double)r.width * r.height / H / W, a = (double)r.height / r.width;
        double p = (r.top + 0.5) / (H - r.height + 1);
        assert_true(s > 0.019 && s < 0.335 && a > 0.28 && a < 3.45);
        share += s, share2 += s * s;
        place += p, place2 += p * p;
    }
    /* Tall rectangles of a large area do not fit: below the middle of 0.02 and 0.33. */
    assert_true(share / DRAWS > 0.15 && share / DRAWS < 0.175);
    check_mean(place, place2, DRAWS, 0.5);
}

/* Ten tries that do not fit leave the picture whole. */
static void test_nothing_erased(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++) {
        kn_rng rng = nth(i);
        kn_rect r = kn_draw_erased(&rng, 1, 50);
        assert_true(r.height == 0 || r.width == 0);
    }
}

static void test_erase_probability(void **state) {
    (void)state;
    static uint8_t pixels[20 * 20 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)i;
    for (int k = 0; k <= 4; k++) {
        double changed = 0, p = 0.25 * k;
        for (uint32_t i = 0; i < 4000; i++) {
            uint8_t out[sizeof pixels];
            sample_of(pixels, 20, (kn_augment){.erase_p = (float)p}, i, out);
            changed += memcmp(out, pixels, sizeof out) != 0;
        }
        if (k == 0 || k == 4)
            assert_true(changed == p * 4000);
        else
            check_mean(changed, changed, 4000, p);
    }
}

/* By angles of both signs up to the limit, with the probability asked for. */
static void test_rotation_draws(void **state) {
    (void)state;
    enum { SIDE = 41, COUNT = 2000 };
    static uint8_t pixels[SIDE * SIDE * 3], out[sizeof pixels];
    const int middle = SIDE / 2, at = 18; /* a dot to the right of the middle */
    double turned = 0, sum = 0, sum2 = 0, most = 0;
    memset(pixels + (middle * SIDE + middle + at) * 3, 255, 3);
    for (uint32_t i = 0; i < COUNT; i++) {
        sample_of(pixels, SIDE, (kn_augment){.rotate = 30, .rotate_p = 0.6F}, i, out);
        if (memcmp(out, pixels, sizeof out) == 0)
            continue;
        double x = 0, y = 0, mass = 0;
        for (int k = 0; k < SIDE * SIDE; k++) {
            x += out[k * 3] * (k % SIDE - middle);
            y += out[k * 3] * (middle - k / SIDE);
            mass += out[k * 3];
        }
        double degrees = atan2(y / mass, x / mass) * 180 / 3.14159265358979;
        turned++;
        sum += degrees, sum2 += degrees * degrees;
        most = fmax(most, fabs(degrees));
    }
    check_mean(turned, turned, COUNT, 0.6);
    check_mean(sum, sum2, (int)turned, 0);
    assert_true(most > 29 && most < 30.5);
    assert_true(fabs(sum2 / turned - 30.0 * 30 / 3) < 20); /* uniform: a third of the square */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crop_of_a_square), cmocka_unit_test(test_crop_places),
        cmocka_unit_test(test_crop_falls_back),  cmocka_unit_test(test_flip_probability),
        cmocka_unit_test(test_flip_alternates),  cmocka_unit_test(test_brightness_factors),
        cmocka_unit_test(test_colour_orders),    cmocka_unit_test(test_erased_rectangles),
        cmocka_unit_test(test_nothing_erased),   cmocka_unit_test(test_erase_probability),
        cmocka_unit_test(test_rotation_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
