/* test_augment.c - what each augmentation does to pixels: bytes against Pillow's
 * (tests/data/augment_golden.txt, made by tools/make_augment_goldens.py) and known pictures; and
 * how they go together. What is drawn is tested in test_augment_draw.c. */
#include "support/counted.h"
#include "support/pictures.h"

#include "core/ctx.h"
#include "data/augment.h"
#include "data/rotate_row.h"

#include <kiln/data.h>

#include <math.h>

#include <stdlib.h>
#include <string.h>

enum { SIZE = 24, SAMPLE = SIZE * SIZE * 3, MOST = 64 * 64 * 3, LINE = 4096 };

static kn_augment strong(void) {
    kn_augment a = {0};
    assert_true(kn_augment_preset("strong", &a));
    a.rotate_p = a.erase_p = 1;
    return a;
}

/* A gradient with noise, so that errors of place and of colour both show. */
static kn_image made_image(void) {
    enum { H = 50, W = 70 };
    static uint8_t pixels[H * W * 3];
    kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, 0, 0, 0);
    for (int i = 0; i < H * W * 3; i++)
        pixels[i] = (uint8_t)(i % (W * 3) / 2 + (int)kn_rng_below(&rng, 100));
    return (kn_image){.height = H, .width = W, .pixels = pixels};
}

static void make_sample(const kn_image_opts *opts, kn_sample_id id, uint8_t *out) {
    kn_image image = made_image();
    kn_image_reader r = {0};
    assert_int_equal(kn_image_sample(&r, &image, opts, id, out, SIZE, SIZE, NULL), KN_OK);
    kn_image_reader_free(&r);
}

static void augmented(kn_augment a, kn_sample_id id, uint8_t *out) {
    kn_image_opts opts = {.augment = a};
    make_sample(&opts, id, out);
}

/* ---- against Pillow ---- */

static kn_image load(kn_image_reader *r, const char *name) {
    static unsigned char data[PICTURE_MAX];
    kn_image image;
    size_t size = made_load(name, data);
    assert_int_equal(kn_image_decode(r, data, size, name, &image, NULL), KN_OK);
    assert_true(image.height * image.width * 3 <= MOST);
    return image;
}

static void check_colour(const kn_image *image, const char *kind, float factor, const char *want,
                         const char *line) {
    uint8_t pixels[MOST];
    char sha[PICTURE_HEX];
    memcpy(pixels, image->pixels, (size_t)image->height * (size_t)image->width * 3);
    if (strcmp(kind, "brightness") == 0)
        kn_brightness(pixels, image->height, image->width, factor);
    else if (strcmp(kind, "contrast") == 0)
        kn_contrast(pixels, image->height, image->width, factor);
    else
        kn_saturation(pixels, image->height, image->width, factor);
    picture_sha(pixels, image->height, image->width, sha);
    if (strcmp(sha, want) != 0)
        fail_msg("differs from Pillow: %s", line);
}

/* At most one level apart: Pillow truncates where Kiln rounds. Turns by right angles are copies. */
static void check_rotation(const kn_image *image, kn_edge edge, float degrees, const char *want) {
    uint8_t pixels[MOST];
    bool exact = fmodf(degrees, 90) == 0;
    int count = image->height * image->width * 3, apart = 0;
    assert_int_equal(strlen(want), 2 * count);
    kn_rotate(image->pixels, image->height, image->width, (double)degrees, edge, pixels);
    for (int i = 0; i < count; i++) {
        char byte[3] = {want[i * 2], want[i * 2 + 1], '\0'};
        int difference = abs(pixels[i] - (int)strtol(byte, NULL, 16));
        assert_in_range(difference, 0, exact ? 0 : 1);
        apart += difference;
    }
    assert_true(exact || apart > 0); /* else this compares less than it says */
}

static void test_goldens(void **state) {
    (void)state;
    static char line[LINE], rest[LINE];
    char kind[16], name[64], number[16];
    int colours = 0, rotations = 0;
    kn_image_reader r = {0};
    FILE *file = fopen(KN_TEST_DIR "/data/augment_golden.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        assert_int_equal(sscanf(line, "%15s %63s %15s %4095s", kind, name, number, rest), 4);
        kn_image image = load(&r, name);
        bool reflect = strcmp(kind, "reflect") == 0, repeat = strcmp(kind, "repeat") == 0;
        if (reflect || repeat)
            check_rotation(&image, reflect ? KN_EDGE_REFLECT : KN_EDGE_REPEAT, strtof(number, NULL),
                           rest);
        else
            check_colour(&image, kind, strtof(number, NULL), rest, line);
        colours += !reflect && !repeat;
        rotations += reflect || repeat;
    }
    fclose(file);
    kn_image_reader_free(&r);
    assert_int_equal(colours, 3 * 4 * 8);
    assert_int_equal(rotations, 2 * 7);
}

/* ---- known pictures ---- */

static void test_flip(void **state) {
    (void)state;
    for (int w = 1; w <= 6; w++) {
        uint8_t pixels[2 * 6 * 3], before[2 * 6 * 3];
        for (int i = 0; i < 2 * w * 3; i++)
            pixels[i] = before[i] = (uint8_t)(i * 7);
        kn_flip(pixels, 2, w);
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < w; x++)
                assert_memory_equal(pixels + (y * w + x) * 3, before + (y * w + w - 1 - x) * 3, 3);
        kn_flip(pixels, 2, w);
        assert_memory_equal(pixels, before, (size_t)(2 * w * 3));
    }
}

/* Counter-clockwise: what was at the right is then at the top. */
static void test_quarter_turn(void **state) {
    (void)state;
    enum { N = 9 };
    uint8_t in[N][N][3], out[N][N][3];
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++)
            for (int c = 0; c < 3; c++)
                in[y][x][c] = (uint8_t)(y * 20 + x * 2 + c * 30);
    for (int edge = 0; edge < 2; edge++) {
        kn_rotate(in[0][0], N, N, 90, (kn_edge)edge, out[0][0]);
        for (int y = 0; y < N; y++)
            for (int x = 0; x < N; x++)
                assert_memory_equal(out[y][x], in[x][N - 1 - y], 3);
    }
}

/* Nothing from outside the picture comes in, however far an edge is passed. */
static void test_rotation_of_one_colour(void **state) {
    (void)state;
    static uint8_t in[3 * 40 * 3], out[3 * 40 * 3];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(60 + 70 * (i % 3));
    for (int degrees = -180; degrees <= 180; degrees += 9)
        for (int edge = 0; edge < 2; edge++) {
            kn_rotate(in, 3, 40, degrees, (kn_edge)edge, out);
            assert_memory_equal(out, in, sizeof in);
            kn_rotate(in, 40, 3, degrees, (kn_edge)edge, out);
            assert_memory_equal(out, in, sizeof in);
        }
}

/* The processor's best row and the plain one, on pictures of all small sizes, whose ends are the
 * heap's: AddressSanitizer would see what lies beyond. */
static void test_rows_agree(void **state) {
    (void)state;
    kn_rng rng = kn_rng_at(6, KN_RANDOM_USER, 0, 0, 0);
    if (kn_turn_row_best() == kn_turn_row_plain)
        print_message("SKIPPED: this processor has no rows but the plain ones to compare\n");
    for (int round = 0; round < 3000; round++) {
        int h = 1 + (int)kn_rng_below(&rng, 20), w = 1 + (int)kn_rng_below(&rng, 20);
        size_t size = (size_t)(h * w * 3), row = (size_t)w * 3;
        uint8_t *pixels = malloc(size), *plain = malloc(row), *best = malloc(row);
        assert_true(pixels != NULL && plain != NULL && best != NULL);
        for (size_t i = 0; i < size; i++)
            pixels[i] = (uint8_t)kn_rng_u32(&rng);
        double turn = (double)kn_rng_uniform(&rng) * 6.3, unit = ldexp(1, KN_TURN_POINT);
        kn_turn t = {pixels,
                     h,
                     w,
                     (kn_edge)(round % 2),
                     .down = (int64_t)(sin(turn) * unit),
                     .right = (int64_t)(cos(turn) * unit)};
        int64_t y = (int64_t)(((double)kn_rng_uniform(&rng) * 40 - 10) * unit);
        int64_t x = (int64_t)(((double)kn_rng_uniform(&rng) * 40 - 10) * unit);
        kn_turn_row_plain(&t, y, x, plain);
        kn_turn_row_best()(&t, y, x, best);
        assert_memory_equal(plain, best, row);
        free(pixels);
        free(plain);
        free(best);
    }
}

static void test_erase(void **state) {
    (void)state;
    enum { H = 10, W = 12 };
    uint8_t pixels[H][W][3];
    const kn_rect rect = {.left = 3, .top = 2, .width = 5, .height = 4};
    kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, 0, 0, 0);
    for (int fill = 0; fill < 2; fill++) {
        int other = 0;
        for (int i = 0; i < H * W; i++)
            memcpy(pixels[i / W][i % W], (uint8_t[]){(uint8_t)i, 100, i % 2 ? 255 : 0}, 3);
        kn_erase(pixels[0][0], H, W, rect, (kn_erase_fill)fill, &rng);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                int i = y * W + x;
                const uint8_t whole[3] = {(uint8_t)i, 100, i % 2 ? 255 : 0};
                const uint8_t mean[3] = {60, 100, 128}; /* 59.5 and 127.5 rounded */
                bool erased = x >= 3 && x < 8 && y >= 2 && y < 6;
                if (!erased)
                    assert_memory_equal(pixels[y][x], whole, 3);
                else if (fill == KN_ERASE_MEAN)
                    assert_memory_equal(pixels[y][x], mean, 3);
                else
                    other += memcmp(pixels[y][x], whole, 3) != 0;
            }
        assert_true(fill == KN_ERASE_MEAN || other >= 19);
    }
}

/* ---- zero changes nothing ---- */

/* The resize method's bytes, whatever else is said of a kind that is off. */
static void test_identity(void **state) {
    (void)state;
    static const kn_augment off[] = {
        {.crop_min = 0},
        {.flip_alternates = true},
        {.rotate = 90},
        {.rotate_p = 1, .rotate_edge = KN_EDGE_REPEAT},
        {.erase_fill = KN_ERASE_NOISE},
    };
    uint8_t want[SAMPLE], got[SAMPLE];
    kn_image image = made_image();
    kn_image_reader r = {0};
    for (int method = 0; method < 3; method++) {
        kn_image_opts opts = {.resize = (kn_resize_method)method};
        assert_int_equal(kn_image_fit(&r, image.pixels, image.height, image.width, opts.resize,
                                      want, SIZE, SIZE, NULL),
                         KN_OK);
        for (size_t i = 0; i < sizeof off / sizeof *off; i++)
            for (uint32_t k = 0; k < 20; k++) {
                opts.augment = off[i];
                make_sample(&opts, (kn_sample_id){k, k / 2, k}, got);
                assert_memory_equal(got, want, SAMPLE);
            }
    }
    kn_image_reader_free(&r);
}

/* A kind alone that is on does something: the test above could fail. */
static void test_each_kind_acts(void **state) {
    (void)state;
    static const kn_augment on[] = {
        {.crop_min = 0.5F},
        {.flip = 1},
        {.flip = 0.5F, .flip_alternates = true},
        {.rotate = 90, .rotate_p = 1},
        {.brightness = 0.5F},
        {.contrast = 0.5F},
        {.saturation = 0.5F},
        {.erase_p = 1},
        {.erase_p = 1, .erase_fill = KN_ERASE_NOISE},
    };
    uint8_t plain[SAMPLE], got[SAMPLE];
    augmented((kn_augment){0}, (kn_sample_id){0}, plain);
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        int changed = 0;
        for (uint32_t k = 0; k < 20; k++) {
            augmented(on[i], (kn_sample_id){.seed = 1, .sample = k}, got);
            changed += memcmp(got, plain, SAMPLE) != 0;
        }
        assert_in_range(changed, 4, 20);
    }
}

/* ---- a function of seed, epoch and sample ---- */

static void test_function_of_its_id(void **state) {
    (void)state;
    uint8_t first[SAMPLE], got[SAMPLE];
    const kn_sample_id id = {7, 3, 11};
    static const kn_sample_id others[] = {
        {8, 3, 11}, {7, 2, 11}, {7, 3, 12}, {7 | 1LL << 40, 3, 11}};
    augmented(strong(), id, first);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        augmented(strong(), others[i], got);
        assert_memory_not_equal(got, first, SAMPLE);
        augmented(strong(), id, got); /* whatever came in between */
        assert_memory_equal(got, first, SAMPLE);
    }
}

/* The same noise at the same place, whatever other kinds are on. */
static void test_kinds_do_not_move_each_other(void **state) {
    (void)state;
    uint8_t plain[SAMPLE], alone[SAMPLE], among[SAMPLE];
    kn_augment noise = {.erase_p = 1, .erase_fill = KN_ERASE_NOISE}, all = strong();
    all.erase_fill = KN_ERASE_NOISE;
    augmented((kn_augment){0}, (kn_sample_id){0}, plain);
    for (uint32_t k = 0; k < 20; k++) {
        const kn_sample_id id = {.seed = 1, .sample = k};
        int erased = 0;
        augmented(noise, id, alone);
        augmented(all, id, among);
        for (int i = 0; i < SAMPLE; i++)
            if (alone[i] != plain[i]) {
                assert_int_equal(among[i], alone[i]);
                erased++;
            }
        assert_true(erased > SAMPLE / 100);
    }
}

/* The crop and the mirror that were drawn, done by hand. */
static void test_order_of_crop_and_flip(void **state) {
    (void)state;
    uint8_t want[SAMPLE], got[SAMPLE];
    kn_image image = made_image();
    kn_image_reader r = {0};
    const kn_augment a = {.crop_min = 0.3F, .flip = 0.5F};
    int flips = 0;
    for (uint32_t k = 0; k < 40; k++) {
        const kn_sample_id id = {.seed = 5, .epoch = k % 3, .sample = k};
        kn_rng rng = kn_rng_at(5, KN_RANDOM_AUGMENT, KN_AUGMENT_CROP, k % 3, k);
        kn_rect c = kn_draw_crop(&rng, image.height, image.width, (double)a.crop_min);
        kn_box box = {(float)c.left, (float)c.top, (float)(c.left + c.width),
                      (float)(c.top + c.height)};
        kn_image_resize_box(&r, image.pixels, image.height, image.width, box, want, SIZE, SIZE,
                            NULL);
        if (kn_draw_flip(&a, id)) {
            kn_flip(want, SIZE, SIZE);
            flips++;
        }
        augmented(a, id, got);
        assert_memory_equal(got, want, SAMPLE);
    }
    assert_in_range(flips, 8, 32);
    kn_image_reader_free(&r);
}

/* ---- memory, and what is refused ---- */

static void test_out_of_memory(void **state) {
    (void)state;
    uint8_t out[SAMPLE];
    kn_image image = made_image();
    kn_image_opts opts = {.augment = strong()};
    for (long fail = 1;; fail++) {
        counted memory = {.fail_at = fail};
        kn_allocator allocator = counted_allocator(&memory);
        kn_image_reader r = {.allocator = &allocator};
        kn_error error = {0};
        kn_status status =
            kn_image_sample(&r, &image, &opts, (kn_sample_id){0}, out, SIZE, SIZE, &error);
        kn_image_reader_free(&r);
        assert_int_equal(memory.live, 0);
        if (memory.refused == 0) {
            assert_int_equal(status, KN_OK);
            assert_int_equal(fail, 3); /* the plan of resizing, and the picture to rotate */
            return;
        }
        assert_int_equal(status, KN_ERR_MEMORY);
        check_contains(error.message, "out of memory");
    }
}

static void test_presets(void **state) {
    (void)state;
    static const kn_augment none;
    kn_augment a = {.flip = 1}, before = none;
    assert_true(kn_augment_preset("none", &a));
    assert_memory_equal(&a, &none, sizeof a);
    int count = 0;
    for (; kn_augment_preset_name(count) != NULL; count++) {
        assert_true(kn_augment_preset(kn_augment_preset_name(count), &a));
        assert_int_equal(kn_augment_check(&a, NULL), KN_OK);
        assert_true(count == 0 || a.crop_min != before.crop_min || a.rotate != before.rotate);
        before = a;
    }
    assert_int_equal(count, 4);
    assert_false(kn_augment_preset("Strong", &a));
    assert_null(kn_augment_preset_name(-1));
}

static void test_bad_values(void **state) {
    (void)state;
    static const struct {
        kn_augment a;
        const char *part;
    } bad[] = {
        {{.crop_min = 1.01F}, "crop_min is 1.01, expected 0 to 1"},
        {{.crop_min = -0.1F}, "crop_min"},
        {{.flip = 2}, "flip"},
        {{.rotate = 181}, "rotate is 181, expected 0 to 180"},
        {{.rotate_p = -1}, "rotate_p"},
        {{.brightness = -1}, "brightness"},
        {{.contrast = 11}, "contrast"},
        {{.saturation = -0.5F}, "saturation"},
        {{.erase_p = 1.5F}, "erase_p"},
        {{.erase_p = (float)NAN}, "erase_p"},
    };
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, "reference");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kn_image_opts opts = {.augment = bad[i].a};
        assert_null(kn_image_dataset(ctx, NULL, 0, 8, opts));
        check_error(ctx, KN_ERR_ARG, bad[i].part);
    }
    counted_ctx_free(&memory, ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_flip),
        cmocka_unit_test(test_quarter_turn),
        cmocka_unit_test(test_rotation_of_one_colour),
        cmocka_unit_test(test_rows_agree),
        cmocka_unit_test(test_erase),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_each_kind_acts),
        cmocka_unit_test(test_function_of_its_id),
        cmocka_unit_test(test_kinds_do_not_move_each_other),
        cmocka_unit_test(test_order_of_crop_and_flip),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_bad_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
