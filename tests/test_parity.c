/* test_parity.c - the whole model against PyTorch and against plain loops: the same weights and the
 * same batch give the same loss, the same gradients and the same first 20 steps of training.
 *
 * The goldens are made by tools/make_parity_goldens.py, which says what is in them; weights, made
 * pictures and signs come from the same exact arithmetic here. */
#include "support/model_case.h"
#include "support/pictures.h"

#include <kiln/data.h>
#include <kiln/ops.h>
#include <kiln/optim.h>
#include <kiln/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNT = 128, /* pictures */
    SIDE = 64,
    EVERY = 74, /* of the training pictures */
    STEPS = 20,
    FEW = 8, /* pictures of the steps that the reference takes too */
    PARAMS = 10,
    PROJECTIONS = 64,
    PIXELS = 100, /* streams of random numbers; parameters have 0 to 9 */
    SIGNS = 200,
};

static const double rate = 0.1, loss_tolerance = 1e-5, gradient_tolerance = 1e-4,
                    trace_tolerance = 1e-3;

static kn_rng stream_of(int number) {
    return kn_rng_at(2026, KN_RANDOM_USER, (uint16_t)number, 0, 0);
}

/* ---- the batch ---- */

static uint8_t pixels[COUNT * SIDE * SIDE * 3];
static int32_t labels[COUNT];

/* Squares of 8x8 pixels, each of one colour. */
static void make_pictures(void) {
    kn_rng rng = stream_of(PIXELS);
    static uint8_t square[COUNT][8][8][3];
    for (size_t i = 0; i < sizeof square; i++)
        ((uint8_t *)square)[i] = (uint8_t)(kn_rng_u32(&rng) >> 24);
    for (int i = 0; i < COUNT * SIDE * SIDE; i++)
        memcpy(pixels + (size_t)i * 3, square[i / SIDE / SIDE][i / SIDE % SIDE / 8][i % SIDE / 8],
               3);
    for (int i = 0; i < COUNT; i++)
        labels[i] = i % 10;
}

static void read_pictures(kn_ctx *ctx, const char *folder) {
    kn_split split;
    kn_image_reader reader = {0};
    if (kn_split_folder(ctx, folder, (kn_split_opts){0}, &split) != KN_OK)
        check_good(ctx, folder);
    assert_true(split.train_count > (COUNT - 1) * EVERY);
    assert_int_equal(split.vocab.count, 10);
    for (int i = 0; i < COUNT; i++) {
        kn_image image;
        kn_error error = {0};
        const kn_labelled *item = &split.train[i * EVERY];
        labels[i] = item->label;
        if (kn_image_read(&reader, item->path, &image, &error) != KN_OK ||
            kn_image_resize(&reader, image.pixels, image.height, image.width,
                            pixels + (size_t)i * SIDE * SIDE * 3, SIDE, SIDE, &error) != KN_OK)
            fail_msg("%s", error.message);
    }
    kn_image_reader_free(&reader);
    kn_split_free(ctx, &split);
}

/* ---- the golden ---- */

typedef struct gradient_golden {
    char name[64];
    double norm, distance; /* of the float32 gradient from the float64 one, in norms */
    double projection[PROJECTIONS];
} gradient_golden;

static struct {
    char sha[PICTURE_HEX];
    double mean[3], std[3], loss32, loss64, trace32[STEPS], trace64[STEPS];
    gradient_golden gradient[PARAMS];
} golden;

static FILE *golden_file;

static void read_numbers(const char *word, int count, double *out) {
    char found[64] = "";
    if (word != NULL && (fscanf(golden_file, "%63s", found) != 1 || strcmp(found, word) != 0))
        fail_msg("the golden has \"%s\" where \"%s\" is expected", found, word);
    for (int i = 0; i < count; i++)
        assert_int_equal(fscanf(golden_file, "%lf", &out[i]), 1);
}

static void read_golden(const char *path) {
    golden_file = fopen(path, "r");
    if (golden_file == NULL)
        fail_msg("cannot open %s", path);
    assert_int_equal(fscanf(golden_file, " batch %64s", golden.sha), 1);
    read_numbers("mean", 3, golden.mean);
    read_numbers("std", 3, golden.std);
    read_numbers("loss", 1, &golden.loss32);
    read_numbers(NULL, 1, &golden.loss64);
    read_numbers("trace32", STEPS, golden.trace32);
    read_numbers("trace64", STEPS, golden.trace64);
    for (int i = 0; i < PARAMS; i++) {
        gradient_golden *g = &golden.gradient[i];
        assert_int_equal(fscanf(golden_file, " grad %63s", g->name), 1);
        read_numbers(NULL, 1, &g->norm);
        read_numbers(NULL, 1, &g->distance);
        read_numbers(NULL, PROJECTIONS, g->projection);
    }
    fclose(golden_file);
}

/* ---- the model ---- */

/* 24 random bits times a 64th is exact in double, and rounded once. */
static kn_module *new_model(kn_ctx *ctx) {
    static const int width[PARAMS] = {50, 4, 22, 4, 15, 4, 11, 4, 12, 4}; /* in 64ths, around 0 */
    static float numbers[128 * 64 * 9];
    kn_module *m = kn_simple_cnn(ctx, 10);
    kn_named_list list;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    assert_int_equal(list.count, PARAMS);
    for (int i = 0; i < PARAMS; i++) {
        kn_tensor *t = kn_param_value(list.item[i].param);
        kn_rng rng = stream_of(i);
        for (int64_t k = 0; k < kn_tensor_numel(t); k++)
            numbers[k] = (float)(((double)(kn_rng_u32(&rng) >> 8) * 0x1p-24 - 0.5) * width[i] / 64);
        kn_tensor_write(ctx, t, numbers, (size_t)kn_tensor_numel(t) * sizeof(float));
    }
    kn_named_free(ctx, &list);
    return m;
}

/* The loss of the first n pictures on the context's device, a step tensor. */
static kn_tensor *loss_of(kn_module *m, const kn_normalize *norm, int n) {
    kn_ctx *ctx = kn_module_ctx(m);
    kn_tensor *x = kn_from(ctx, KN_U8, KN_SHAPE(n, SIDE, SIDE, 3), pixels);
    kn_tensor *y = kn_from(ctx, KN_I32, KN_SHAPE(n), labels);
    return kn_cross_entropy(ctx, kn_forward(m, kn_normalize_apply(ctx, norm, x)), y);
}

/* Loss and gradients of the whole batch; gradients one after the other, ready for read_params. */
static double run_once(kn_module *m, const kn_normalize *norm, float grads[SIMPLE_CNN_NUMBERS]) {
    kn_ctx *ctx = kn_module_ctx(m);
    kn_tensor *loss = kn_keep(ctx, loss_of(m, norm, COUNT));
    double value = kn_item(ctx, loss);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    assert_int_equal(read_params(m, true, grads), SIMPLE_CNN_NUMBERS);
    zero_grads(m);
    kn_step_end(ctx);
    return value;
}

static void train(kn_ctx *ctx, const kn_normalize *norm, int n, double trace[STEPS]) {
    kn_module *m = new_model(ctx);
    kn_optimizer *opt = kn_sgd(m, rate, (kn_sgd_opts){0});
    for (int step = 0; step < STEPS; step++) {
        kn_tensor *loss = kn_keep(ctx, loss_of(m, norm, n));
        trace[step] = kn_item(ctx, loss);
        assert_int_equal(kn_backward(ctx, loss), KN_OK);
        assert_int_equal(kn_optimizer_step(opt), KN_OK);
        kn_optimizer_zero_grad(opt);
        kn_step_end(ctx);
    }
    kn_optimizer_free(opt);
    kn_module_free(m);
}

/* ---- comparisons ---- */

static void check_near(const char *what, double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s: %.9g, expected %.9g, allowed difference %g", what, got, want, tolerance);
}

/* The root of the mean square of differences of projections: |g - g'|, estimated without bias (of
 * its square) from 64 numbers. Sign k of an element is bit k of its two words. */
static double estimated_distance(int i, int64_t n, const float *g) {
    double sum[PROJECTIONS] = {0}, square = 0;
    kn_rng rng = stream_of(SIGNS + i);
    for (int64_t e = 0; e < n; e++) {
        uint64_t bits = kn_rng_u32(&rng);
        bits |= (uint64_t)kn_rng_u32(&rng) << 32;
        for (int k = 0; k < PROJECTIONS; k++)
            sum[k] += bits >> k & 1 ? (double)g[e] : -(double)g[e];
    }
    for (int k = 0; k < PROJECTIONS; k++) {
        double d = sum[k] - golden.gradient[i].projection[k];
        square += d * d;
    }
    return sqrt(square / PROJECTIONS);
}

/* Calls check with each parameter's place among the numbers. */
static void each_parameter(kn_module *m,
                           void (*check)(int i, const char *name, int64_t n, const float *got,
                                         const float *want),
                           const float *got, const float *want) {
    kn_named_list list;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    for (int i = 0; i < list.count; i++) {
        int64_t n = kn_tensor_numel(kn_param_value(list.item[i].param));
        check(i, list.item[i].name, n, got, want);
        got += n;
        want += want != NULL ? n : 0;
    }
    kn_named_free(kn_module_ctx(m), &list);
}

/* From float64, and, as the sides of a triangle have it, from float32. */
static void near_pytorch(int i, const char *name, int64_t n, const float *got, const float *want) {
    const gradient_golden *g = &golden.gradient[i];
    (void)want;
    assert_string_equal(name, g->name);
    double norm = 0;
    for (int64_t k = 0; k < n; k++)
        norm += (double)got[k] * got[k];
    check_near(name, sqrt(norm) / g->norm, 1, gradient_tolerance);
    double distance = estimated_distance(i, n, got) / g->norm;
    print_message("    %s: gradient off by %.2g of its norm (PyTorch's float32 by %.2g)\n", name,
                  distance, g->distance);
    check_near(name, distance + g->distance, 0, gradient_tolerance);
}

static void near_reference(int i, const char *name, int64_t n, const float *got,
                           const float *want) {
    double distance = 0, norm = 0;
    (void)i;
    for (int64_t k = 0; k < n; k++) {
        distance += ((double)got[k] - want[k]) * ((double)got[k] - want[k]);
        norm += (double)want[k] * want[k];
    }
    print_message("    %s: gradient off by %.2g of its norm\n", name, sqrt(distance / norm));
    check_near(name, sqrt(distance / norm), 0, gradient_tolerance);
}

static kn_normalize measure(kn_ctx *ctx) {
    kn_batch batch = {
        .n = COUNT, .height = SIDE, .width = SIDE, .pixels = pixels, .labels = labels};
    kn_normalize norm;
    char sha[PICTURE_HEX];
    picture_sha(pixels, COUNT * SIDE, SIDE, sha);
    assert_string_equal(sha, golden.sha); /* else nothing that follows means anything */
    assert_int_equal(kn_normalize_from(ctx, &batch, &norm), KN_OK);
    for (int c = 0; c < 3; c++) {
        check_near("mean", norm.mean[c], golden.mean[c], 1e-7);
        check_near("std", norm.std[c], golden.std[c], 1e-7);
    }
    return norm;
}

/* ---- the tests ---- */

static void check_against_pytorch(kn_ctx *ctx, const kn_normalize *norm) {
    static float grads[SIMPLE_CNN_NUMBERS], again[SIMPLE_CNN_NUMBERS];
    double trace[STEPS];
    kn_module *m = new_model(ctx);
    double loss = run_once(m, norm, grads);
    print_message("    loss %.9g, PyTorch's %.9g\n", loss, golden.loss32);
    check_near("loss", loss, golden.loss32, loss_tolerance);
    check_near("loss", loss, golden.loss64, loss_tolerance);
    each_parameter(m, near_pytorch, grads, NULL);
    assert_true(run_once(m, norm, again) == loss); // NOLINT(clang-diagnostic-float-equal)
    assert_memory_equal(grads, again, sizeof grads);
    kn_module_free(m);
    train(ctx, norm, COUNT, trace);
    for (int step = 0; step < STEPS; step++) {
        check_near("loss trace", trace[step], golden.trace32[step], trace_tolerance);
        check_near("loss trace", trace[step], golden.trace64[step], trace_tolerance);
    }
    print_message("    20 steps: %.7g, PyTorch's %.7g\n", trace[STEPS - 1],
                  golden.trace32[STEPS - 1]);
}

static void check_against_reference(kn_ctx *ctx, const kn_normalize *norm) {
    static float grads[2][SIMPLE_CNN_NUMBERS];
    const char *const device[] = {test_device(), "reference"};
    double loss[2], trace[2][STEPS];
    kn_module *m = new_model(ctx);
    for (int i = 0; i < 2; i++) {
        kn_device_use(ctx, kn_device_open(ctx, device[i]));
        assert_int_equal(kn_module_to(m, kn_device_default(ctx)), KN_OK);
        loss[i] = run_once(m, norm, grads[i]);
        train(ctx, norm, FEW, trace[i]);
    }
    check_near("loss", loss[0], loss[1], loss_tolerance);
    each_parameter(m, near_reference, grads[0], grads[1]);
    for (int step = 0; step < STEPS; step++)
        check_near("loss trace", trace[0][step], trace[1][step], trace_tolerance);
    kn_module_free(m);
}

static void a_made_batch_as_in_pytorch(void **state) {
    kn_ctx *ctx = *state;
    read_golden(KN_TEST_DIR "/data/parity_made.txt");
    make_pictures();
    kn_normalize norm = measure(ctx);
    check_against_pytorch(ctx, &norm);
}

static void a_made_batch_as_in_plain_loops(void **state) {
    kn_ctx *ctx = *state;
    read_golden(KN_TEST_DIR "/data/parity_made.txt");
    make_pictures();
    kn_normalize norm = measure(ctx);
    check_against_reference(ctx, &norm);
}

static void real_pictures_as_in_pytorch_and_plain_loops(void **state) {
    kn_ctx *ctx = *state;
    const char *folder = getenv("KILN_TEST_DATA");
    if (folder == NULL) {
        print_message("SKIPPED: parity on real pictures: KILN_TEST_DATA is not set\n");
        skip();
    }
    read_golden(KN_TEST_DIR "/data/parity_real.txt");
    read_pictures(ctx, folder);
    kn_normalize norm = measure(ctx);
    check_against_pytorch(ctx, &norm);
    check_against_reference(ctx, &norm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(a_made_batch_as_in_pytorch),
        MODEL_CASE(a_made_batch_as_in_plain_loops),
        MODEL_CASE(real_pictures_as_in_pytorch_and_plain_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
