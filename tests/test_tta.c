/* test_tta.c - test-time augmentation: the mean over a picture and its mirror image, made here by
 * hand, in a batch, in a validation, and at the ends of what floats hold. */
#include "support/check.h"
#include "support/counted.h"
#include "support/made_data.h"
#include "support/tiny_run.h"

#include <kiln/kiln.h>

#include <math.h>
#include <string.h>

enum { PIXELS = SIDE * SIDE * 3 };

/* The validation pictures, as they are and mirrored. */
typedef struct batches {
    uint8_t plain[VALID * PIXELS], mirrored[VALID * PIXELS];
    int32_t label[VALID];
    int64_t index[VALID];
    kn_batch batch, mirror;
} batches;

static void batches_init(batches *b, run *r) {
    kn_image_reader reader = {0};
    for (int i = 0; i < VALID; i++) {
        kn_error error = {0};
        kn_sample s = {.index = i,
                       .slot = b->plain + (size_t)i * PIXELS,
                       .label = &b->label[i],
                       .reader = &reader,
                       .error = &error};
        assert_int_equal(r->valid->cls->get(r->valid, &s), KN_OK);
        b->index[i] = i;
    }
    for (int row = 0; row < VALID * SIDE; row++)
        for (int x = 0; x < SIDE; x++)
            memcpy(b->mirrored + (row * SIDE + x) * 3, b->plain + (row * SIDE + SIDE - 1 - x) * 3,
                   3);
    b->batch = (kn_batch){.n = VALID,
                          .height = SIDE,
                          .width = SIDE,
                          .pixels = b->plain,
                          .labels = b->label,
                          .index = b->index};
    b->mirror = b->batch;
    b->mirror.pixels = b->mirrored;
    kn_image_reader_free(&reader);
}

static void predict(run *r, const kn_batch *batch, bool tta, float out[VALID * CLASSES]) {
    kn_grad_enable(r->ctx, false);
    kn_module_train(r->model, false);
    check_read(r->ctx, kn_predict_batch(r->model, &r->norm, batch, (kn_predict_opts){.tta = tta}),
               VALID * CLASSES, out);
    kn_step_end(r->ctx);
}

static void test_mean(void **state) {
    (void)state;
    run r;
    batches b;
    float plain[VALID * CLASSES], mirror[VALID * CLASSES], got[VALID * CLASSES],
        back[VALID * CLASSES], want[VALID * CLASSES];
    run_init(&r);
    batches_init(&b, &r);
    predict(&r, &b.batch, false, plain);
    predict(&r, &b.mirror, false, mirror);
    predict(&r, &b.batch, true, got);
    predict(&r, &b.mirror, true, back);
    double apart = 0;
    for (int i = 0; i < VALID * CLASSES; i++) {
        want[i] = (plain[i] + mirror[i]) / 2;
        apart = fmax(apart, fabs((double)(plain[i] - mirror[i])));
    }
    assert_true(apart > 1e-4); /* the network does see a difference */
    check_numbers("mean", VALID * CLASSES, got, want, 1e-6);
    check_numbers("of the mirror image", VALID * CLASSES, back, want, 1e-6);
    run_free(&r);
}

/* ---- in a validation ---- */

static void test_validation(void **state) {
    (void)state;
    run r;
    batches b;
    float mean[VALID * CLASSES];
    run_init(&r);
    batches_init(&b, &r);
    predict(&r, &b.batch, true, mean);
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_tta_cb(r.ctx, &r.norm));
    kn_predictions p;
    assert_int_equal(kn_learner_predictions(r.l, r.loaders.valid, (kn_predictions_opts){0}, &p),
                     KN_OK);
    double loss = 0;
    for (int i = 0; i < VALID; i++)
        loss -= log((double)mean[i * CLASSES + b.label[i]]) / VALID;
    assert_true(fabs(kn_track_results(r.l, false).loss - loss) < 1e-5);
    check_numbers("probs", VALID * CLASSES, p.probs, mean, 1e-5);
    kn_predictions_free(r.ctx, &p);
    run_free(&r);
}

/* Training sees pictures as they are. */
static void test_training_is_left_alone(void **state) {
    (void)state;
    char sha[2][65];
    for (int tta = 0; tta < 2; tta++) {
        run r;
        run_init(&r);
        if (tta)
            kn_learner_add(r.l, kn_tta_cb(r.ctx, &r.norm));
        assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
        assert_int_equal(kn_weights_sha256(r.model, sha[tta]), KN_OK);
        run_free(&r);
    }
    assert_string_equal(sha[0], sha[1]);
}

/* ---- in bf16 ---- */

static kn_tensor *count_halves(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)m;
    *(int *)user += kn_tensor_dtype(x) == KN_BF16;
    return y;
}

/* The mirror image goes the way of the picture, in a batch and in a validation. */
static void test_both_are_bf16(void **state) {
    (void)state;
    run r;
    batches b;
    int halves = 0;
    float whole[VALID * CLASSES], got[VALID * CLASSES];
    kn_predict_opts opts = {.tta = true, .dtype = KN_BF16};
    run_init_with(&r, (kn_ctx_opts){.seed = 1, .threads = 1, .device = "reference"});
    batches_init(&b, &r);
    predict(&r, &b.batch, true, whole);
    assert_true(kn_module_add_hook(r.model, count_halves, &halves) > 0);
    check_read(r.ctx, kn_predict_batch(r.model, &r.norm, &b.batch, opts), VALID * CLASSES, got);
    assert_int_equal(halves, 2);
    assert_memory_not_equal(got, whole, sizeof got);
    check_numbers("in bf16", VALID * CLASSES, got, whole, 0x1p-6);
    kn_step_end(r.ctx);
    kn_predictions p;
    r.l->dtype = KN_BF16;
    kn_learner_add(r.l, kn_tta_cb(r.ctx, &r.norm));
    assert_int_equal(kn_learner_predictions(r.l, r.loaders.valid, (kn_predictions_opts){0}, &p),
                     KN_OK);
    assert_int_equal(halves, 4);
    check_numbers("in a validation", VALID * CLASSES, p.probs, got, 1e-5);
    kn_predictions_free(r.ctx, &p);
    run_free(&r);
}

/* ---- the ends ---- */

/* Answers far apart, and surer than an f32 probability can say. */
static kn_tensor *far(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    static const float rows[2][VALID * CLASSES] = {{900, 0, 0, 0, -900, 0, 0, 0, 0},
                                                   {-900, 0, 0, 0, -900, 0, 300, 0, 0}};
    int *calls = user;
    (void)x;
    (void)y;
    return kn_from(kn_module_ctx(m), KN_F32, KN_SHAPE(VALID, CLASSES), rows[(*calls)++ % 2]);
}

static void test_far_apart(void **state) {
    (void)state;
    run r;
    int calls = 0;
    run_init(&r);
    assert_true(kn_module_add_hook(r.model, far, &calls) > 0);
    kn_learner_add(r.l, kn_tta_cb(r.ctx, &r.norm));
    kn_predictions p;
    assert_int_equal(kn_learner_predictions(r.l, r.loaders.valid, (kn_predictions_opts){0}, &p),
                     KN_OK);
    assert_int_equal(calls, 2);                       /* the picture and its mirror image */
    const float want[] = {.5f,     .25f,    .25f,     /* sure of it; sure that it is not */
                          .5f,     0,       .5f,      /* vanishes in both */
                          2.f / 3, 1.f / 6, 1.f / 6}; /* even; sure */
    check_numbers("probs", VALID * CLASSES, p.probs, want, 1e-4); /* 900 takes digits */
    for (int i = 0; i < VALID; i++)
        assert_true(isfinite(p.loss[i]));
    assert_true(fabsf(p.loss[1] - 900.7f) < .1f);
    kn_predictions_free(r.ctx, &p);
    run_free(&r);
}

static void test_errors(void **state) {
    (void)state;
    run r;
    batches b;
    run_init(&r);
    batches_init(&b, &r);
    assert_null(kn_predict_batch(NULL, &r.norm, &b.batch, (kn_predict_opts){0}));
    kn_predictions p;
    kn_learner_add(r.l, kn_tta_cb(r.ctx, &r.norm));
    kn_fail(r.ctx, KN_ERR_DATA, "before");
    assert_int_equal(kn_learner_predictions(r.l, r.loaders.valid, (kn_predictions_opts){0}, &p),
                     KN_ERR_DATA);
    check_error(r.ctx, KN_ERR_DATA, "before");
    run_free(&r);
}

/* Every allocation of a batch fails once. */
static void test_no_memory(void **state) {
    (void)state;
    run r;
    batches b;
    run_init(&r);
    batches_init(&b, &r);
    bool failed = true;
    for (long at = 1; failed; at++) {
        counted count = {0};
        kn_ctx *ctx = counted_ctx(&count, "reference");
        kn_grad_enable(ctx, false);
        kn_module *model = kn_sequential(ctx, kn_adaptive_pool(ctx), kn_linear(ctx, 3, CLASSES));
        assert_non_null(model);
        count.fail_at = count.made + at;
        kn_tensor *probs =
            kn_predict_batch(model, &r.norm, &b.batch, (kn_predict_opts){.tta = true});
        failed = count.refused > 0;
        if (probs == NULL)
            assert_int_equal(kn_error_take(ctx).status, KN_ERR_MEMORY);
        kn_step_end(ctx);
        kn_module_free(model);
        counted_ctx_free(&count, ctx);
        assert_true(at < 1000);
    }
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mean),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_training_is_left_alone),
        cmocka_unit_test(test_both_are_bf16),
        cmocka_unit_test(test_far_apart),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
