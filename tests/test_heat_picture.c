/* test_heat_picture.c - the heat lies where the map says, and nowhere else is there colour. */
#include "heat_picture.h"
#include "support/check.h"

#include <string.h>

enum { H = 6, W = 10 };

static int colour(const uint8_t *pixels, int y, int x) {
    const uint8_t *p = pixels + (y * W + x) * 3;
    return p[0] - p[2]; /* red to yellow: no blue */
}

static void fill(uint8_t *pixels) {
    for (int i = 0; i < H * W; i++)
        memcpy(pixels + i * 3, (const uint8_t[]){40, 160, 220}, 3);
}

/* Hot in the corner top right of a map of 2 rows and 3 columns. */
static void test_place(void **state) {
    (void)state;
    static const float heat[2 * 3] = {0, 0, 1, 0, 0, 0};
    uint8_t pixels[H * W * 3];
    fill(pixels);
    heat_picture(pixels, H, W, heat, 2, 3);
    assert_true(colour(pixels, 0, W - 1) > 80);
    assert_int_equal(colour(pixels, 0, 0), 0);
    assert_int_equal(colour(pixels, H - 1, 0), 0);
    assert_int_equal(colour(pixels, H - 1, W - 1), 0); /* grey, though the picture was blue */
    for (int x = 1; x < W; x++)
        assert_true(colour(pixels, 0, x) >= colour(pixels, 0, x - 1));
    for (int y = 1; y < H; y++)
        assert_true(colour(pixels, y, W - 1) <= colour(pixels, y - 1, W - 1));
}

/* One cell covers all; without heat the picture is grey, and darker than it was. */
static void test_even(void **state) {
    (void)state;
    uint8_t pixels[H * W * 3];
    for (int hot = 0; hot < 2; hot++) {
        float heat = (float)hot;
        fill(pixels);
        heat_picture(pixels, H, W, &heat, 1, 1);
        for (int i = 1; i < H * W; i++)
            assert_memory_equal(pixels + i * 3, pixels, 3);
        assert_int_equal(colour(pixels, 0, 0) > 0, hot);
    }
    heat_picture(pixels, H, W, (const float[]){0}, 1, 1);
    assert_true(pixels[0] == pixels[1] && pixels[1] == pixels[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
