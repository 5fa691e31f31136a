/* test_mix.c - MixUp and CutMix: the kernels, what the callbacks make of a batch and its targets,
 * and that nothing of it stays. */
#include "support/check.h"
#include "support/counted.h"
#include "support/numbers.h"
#include "support/tiny_run.h"

#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- kernels ---- */

enum { ROWS = 5, H = 3, W = 5, C = 3, COLS = H * W * C };

static const char *devices[] = {"reference", "cpu"}; /* the second as KILN_TEST_DEVICE says */
static const int32_t partner[ROWS] = {3, 1, 0, 4, 2};
static const float share[ROWS] = {0.75f, 0.5f, 1, 0, 0.9f};

typedef struct pictures {
    kn_tensor *x, *partner, *share, *y;
} pictures;

static pictures made(kn_ctx *ctx, const char *device, float *x) {
    numbers_fill(WIDE, 0, 0, ROWS * COLS, x);
    check_use(ctx, device);
    return (pictures){kn_from(ctx, KN_F32, KN_SHAPE(ROWS, H, W, C), x),
                      kn_from(ctx, KN_I32, KN_SHAPE(ROWS), partner),
                      kn_from(ctx, KN_F32, KN_SHAPE(ROWS), share),
                      kn_zeros(ctx, KN_F32, KN_SHAPE(ROWS, H, W, C))};
}

static void rows_are_mixed(void **state) {
    (void)state;
    counted memory = {0};
    for (size_t i = 0; i < KN_COUNT(devices); i++) {
        kn_ctx *ctx = counted_ctx(&memory, devices[i]);
        float x[ROWS * COLS], want[ROWS * COLS];
        pictures p = made(ctx, devices[i], x);
        kn_device *d = p.x->device;
        assert_int_equal(d->ops->mix_rows(d, ROWS, COLS, kn_f32(p.x), p.partner->data,
                                          kn_f32(p.share), kn_f32_out(p.y)),
                         KN_OK);
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLS; c++)
                want[r * COLS + c] =
                    share[r] * x[r * COLS + c] + (1 - share[r]) * x[partner[r] * COLS + c];
        check_values(ctx, p.y, ROWS * COLS, want);
        kn_step_end(ctx);
        counted_ctx_free(&memory, ctx);
    }
}

/* A share of 1 is a copy: no NaN or infinity of the partner gets in, no sign is lost. */
static void a_share_of_one_is_a_copy(void **state) {
    (void)state;
    counted memory = {0};
    for (size_t i = 0; i < KN_COUNT(devices); i++) {
        kn_ctx *ctx = counted_ctx(&memory, devices[i]);
        check_use(ctx, devices[i]);
        const float x[4] = {-0.0f, 1, NAN, INFINITY}, one[2] = {1, 0.5f};
        const int32_t other[2] = {1, 0};
        kn_tensor *from = kn_from(ctx, KN_F32, KN_SHAPE(2, 2), x);
        kn_tensor *to = kn_zeros(ctx, KN_F32, KN_SHAPE(2, 2));
        kn_device *d = from->device;
        kn_tensor *lambda = kn_from(ctx, KN_F32, KN_SHAPE(2), one);
        kn_tensor *order = kn_from(ctx, KN_I32, KN_SHAPE(2), other);
        assert_int_equal(
            d->ops->mix_rows(d, 2, 2, kn_f32(from), order->data, kn_f32(lambda), kn_f32_out(to)),
            KN_OK);
        float got[4];
        check_read(ctx, to, 4, got);
        assert_true(signbit(got[0]) && got[0] == 0 && got[1] == 1);
        assert_true(isnan(got[2]) && isinf(got[3]));
        kn_step_end(ctx);
        counted_ctx_free(&memory, ctx);
    }
}

static void a_box_is_filled_from_the_partner(void **state) {
    (void)state;
    static const kn_mix_box boxes[] = {
        {ROWS, H, W, C, 1, 2, 3, 4}, {ROWS, H, W, C, 0, 0, 3, 5}, {ROWS, H, W, C, 2, 3, 2, 3}};
    counted memory = {0};
    for (size_t i = 0; i < KN_COUNT(devices) * KN_COUNT(boxes); i++) {
        kn_ctx *ctx = counted_ctx(&memory, devices[i % 2]);
        const kn_mix_box *b = &boxes[i / 2];
        float x[ROWS * COLS], want[ROWS * COLS];
        pictures p = made(ctx, devices[i % 2], x);
        kn_device *d = p.x->device;
        assert_int_equal(d->ops->mix_box(d, b, kn_f32(p.x), p.partner->data, kn_f32_out(p.y)),
                         KN_OK);
        memcpy(want, x, sizeof want);
        for (int n = 0; n < ROWS; n++)
            for (int64_t row = b->top; row < b->bottom; row++)
                for (int64_t k = b->left * C; k < b->right * C; k++)
                    want[n * COLS + row * W * C + k] = x[partner[n] * COLS + row * W * C + k];
        check_values(ctx, p.y, ROWS * COLS, want);
        kn_step_end(ctx);
        counted_ctx_free(&memory, ctx);
    }
}

/* ---- what the callbacks make of a batch ---- */

enum { SIZE = SIDE * SIDE * 3, BATCHES = 8 };

typedef struct seen {
    bool training;
    int n, epoch, batch;
    float before[BATCH][SIZE], after[BATCH][SIZE], lambda[BATCH];
    int32_t y_before[BATCH], y[BATCH], target2[BATCH];
    bool mixed;
    bool plain_loss; /* the loss is kn_cross_entropy's to the bit */
} seen;

/* One on each side of the mixing. */
typedef struct spy {
    kn_callback base;
    seen *seen;
    int *count;
} spy;

static kn_flow look_before(kn_callback *cb, kn_learner *l) {
    spy *s = (spy *)cb;
    assert_true(*s->count < BATCHES);
    seen *b = &s->seen[*s->count];
    b->n = (int)kn_tensor_dim(l->x, 0);
    b->training = l->training;
    b->epoch = l->epoch;
    b->batch = (int)l->batch_index;
    kn_tensor_read(l->ctx, l->x, b->before, (size_t)b->n * sizeof b->before[0]);
    kn_tensor_read(l->ctx, l->y, b->y_before, (size_t)b->n * 4);
    assert_null(l->loss_opts.target2);
    assert_null(l->loss_opts.lambda);
    return KN_GO;
}

static kn_flow look_after(kn_callback *cb, kn_learner *l) {
    spy *s = (spy *)cb;
    seen *b = &s->seen[*s->count];
    kn_tensor_read(l->ctx, l->x, b->after, (size_t)b->n * sizeof b->after[0]);
    kn_tensor_read(l->ctx, l->y, b->y, (size_t)b->n * 4);
    b->mixed = l->loss_opts.target2 != NULL;
    if (b->mixed) {
        kn_tensor_read(l->ctx, l->loss_opts.target2, b->target2, (size_t)b->n * 4);
        kn_tensor_read(l->ctx, l->loss_opts.lambda, b->lambda, (size_t)b->n * 4);
    }
    return KN_GO;
}

static kn_flow look_at_loss(kn_callback *cb, kn_learner *l) {
    spy *s = (spy *)cb;
    bool was = kn_grad_enable(l->ctx, false);
    kn_tensor *plain = kn_cross_entropy(l->ctx, l->preds, l->y);
    s->seen[(*s->count)++].plain_loss = kn_item(l->ctx, plain) == kn_item(l->ctx, l->loss);
    kn_grad_enable(l->ctx, was);
    return KN_GO;
}

static const kn_callback_class spy_before = {
    .name = "before", .order = -90, .before_batch = look_before};
static const kn_callback_class spy_after = {
    .name = "after", .order = -70, .before_batch = look_after, .after_loss = look_at_loss};

static seen batches[BATCHES];

/* Two epochs: batches of 4, 2 and 3, the last for validation; twice. */
static void watch(run *r, kn_callback *first, kn_callback *second) {
    static int count;
    static spy a = {{&spy_before}, batches, &count}, b = {{&spy_after}, batches, &count};
    count = 0;
    memset(batches, 0, sizeof batches);
    assert_int_equal(kn_learner_add(r->l, &a.base), KN_OK);
    assert_int_equal(kn_learner_add(r->l, first), KN_OK);
    if (second != NULL)
        assert_int_equal(kn_learner_add(r->l, second), KN_OK);
    assert_int_equal(kn_learner_add(r->l, &b.base), KN_OK);
    assert_int_equal(kn_learner_fit(r->l, 2), KN_OK);
    assert_int_equal(count, 6);
    assert_null(r->l->loss_opts.target2);
}

static void check_untouched(const seen *b) {
    assert_false(b->mixed);
    assert_true(b->plain_loss);
    assert_memory_equal(b->after, b->before, (size_t)b->n * sizeof b->after[0]);
    assert_memory_equal(b->y, b->y_before, (size_t)b->n * 4);
}

static void mixup_mixes_pictures_and_targets(void **state) {
    (void)state;
    int other_loss = 0; /* partners of one class have the plain one */
    run r;
    run_init(&r);
    watch(&r, kn_mixup_cb(r.ctx, 0.4), NULL);
    for (int i = 0; i < 6; i++) {
        const seen *b = &batches[i];
        uint32_t order[BATCH];
        if (!b->training) {
            check_untouched(b);
            continue;
        }
        assert_true(b->mixed);
        other_loss += !b->plain_loss;
        assert_memory_equal(b->y, b->y_before, (size_t)b->n * 4);
        /* A function of the seed, the epoch and the batch. */
        kn_rng rng = kn_rng_at(kn_ctx_seed(r.ctx), KN_RANDOM_MIXUP, 0, (uint32_t)b->epoch,
                               (uint32_t)b->batch);
        for (int n = 0; n < b->n; n++) {
            double lambda = kn_rng_beta(&rng, 0.4, 0.4);
            assert_true(b->lambda[n] == (float)(lambda > 0.5 ? lambda : 1 - lambda));
        }
        kn_rng_shuffle(&rng, order, (uint32_t)b->n);
        for (int n = 0; n < b->n; n++) {
            assert_int_equal(b->target2[n], b->y_before[order[n]]);
            for (int k = 0; k < SIZE; k++) {
                float own = b->lambda[n] * b->before[n][k];
                float other = (1 - b->lambda[n]) * b->before[order[n]][k];
                assert_true(b->after[n][k] == own + other);
            }
        }
    }
    assert_true(other_loss > 0);
    assert_true(batches[0].lambda[0] != batches[3].lambda[0]); /* another epoch, other shares */
    run_free(&r);
}

static const double cut_alpha = 0.3;

/* The box, worked out apart from the callback. */
static float expected_box(kn_rng *rng, double alpha, int side[2][2]) {
    double part = sqrt(1 - kn_rng_beta(rng, alpha, alpha));
    int half = (int)(SIDE * part) / 2;
    for (int i = 0; i < 2; i++) {
        int centre = (int)kn_rng_below(rng, SIDE);
        side[i][0] = centre - half < 0 ? 0 : centre - half;
        side[i][1] = centre + half > SIDE ? SIDE : centre + half;
    }
    int area = (side[0][1] - side[0][0]) * (side[1][1] - side[1][0]);
    return (float)(1 - (double)area / (SIDE * SIDE));
}

static bool inside(int side[2][2], int k) {
    int row = k / (SIDE * 3), column = k / 3 % SIDE;
    return row >= side[0][0] && row < side[0][1] && column >= side[1][0] && column < side[1][1];
}

static void check_cut(const seen *b, uint64_t seed, bool *swapped) {
    uint32_t order[BATCH];
    int side[2][2];
    kn_rng rng = kn_rng_at(seed, KN_RANDOM_CUTMIX, 0, (uint32_t)b->epoch, (uint32_t)b->batch);
    float own = expected_box(&rng, cut_alpha, side);
    kn_rng_shuffle(&rng, order, (uint32_t)b->n);
    *swapped = *swapped || own < 0.5f;
    for (int n = 0; n < b->n; n++) {
        int32_t mine = b->y_before[n], others = b->y_before[order[n]];
        assert_int_equal(b->y[n], own < 0.5f ? others : mine);
        assert_int_equal(b->target2[n], own < 0.5f ? mine : others);
        assert_true(b->lambda[n] == (own < 0.5f ? 1 - own : own));
        for (int k = 0; k < SIZE; k++)
            assert_true(b->after[n][k] == b->before[inside(side, k) ? order[n] : (uint32_t)n][k]);
    }
}

static void cutmix_fills_a_box_and_shares_by_its_area(void **state) {
    (void)state;
    bool swapped = false;
    run r;
    run_init(&r);
    watch(&r, kn_cutmix_cb(r.ctx, cut_alpha), NULL);
    for (int i = 0; i < 6; i++)
        if (batches[i].training)
            check_cut(&batches[i], kn_ctx_seed(r.ctx), &swapped);
        else
            check_untouched(&batches[i]);
    assert_true(swapped); /* of these four boxes one is more than half of the picture */
    run_free(&r);
}

/* Where both are there each batch has one of them. */
static void both_take_turns(void **state) {
    (void)state;
    int mixup = 0, cutmix = 0;
    run r;
    run_init(&r);
    watch(&r, kn_cutmix_cb(r.ctx, 1), kn_mixup_cb(r.ctx, 1));
    for (int i = 0; i < 6; i++) {
        const seen *b = &batches[i];
        kn_rng coin = kn_rng_at(kn_ctx_seed(r.ctx), KN_RANDOM_MIX_CHOICE, 0, (uint32_t)b->epoch,
                                (uint32_t)b->batch);
        if (!b->training)
            check_untouched(b);
        else if (kn_rng_below(&coin, 2) == 0)
            mixup += b->lambda[0] != b->lambda[1]; /* a share each */
        else
            cutmix += b->lambda[0] == b->lambda[1]; /* one for the batch */
    }
    assert_int_equal(mixup + cutmix, 4);
    assert_true(mixup > 0 && cutmix > 0);
    run_free(&r);
}

/* ---- the bits of a run ---- */

static void fingerprint(double alpha, char hex[65]) {
    run r;
    run_init(&r);
    if (alpha > 0)
        assert_int_equal(kn_learner_add(r.l, kn_mixup_cb(r.ctx, alpha)), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
    assert_int_equal(kn_weights_sha256(r.model, hex), KN_OK);
    run_free(&r);
}

/* Beta(1e-6, 1e-6) gives 0 and 1 only, so every share is 1. */
static void mixup_with_shares_of_one_changes_no_bit(void **state) {
    (void)state;
    char without[65], ones[65], mixed[65], again[65];
    fingerprint(0, without);
    fingerprint(1e-6, ones);
    fingerprint(0.4, mixed);
    fingerprint(0.4, again);
    assert_string_equal(without, ones);
    assert_string_not_equal(without, mixed);
    assert_string_equal(mixed, again);
}

/* ---- after a cancel, after a failure ---- */

typedef struct breaker {
    kn_callback base;
    kn_flow flow;
    int batches;
} breaker;

static kn_flow break_first(kn_callback *cb, kn_learner *l) {
    breaker *b = (breaker *)cb;
    if (!l->training) {
        assert_null(l->loss_opts.target2);
        return KN_GO;
    }
    assert_non_null(l->loss_opts.target2);
    if (b->batches++ > 0)
        return KN_GO;
    if (b->flow == KN_FAIL)
        kn_fail(l->ctx, KN_ERR_IO, "the breaker's own error");
    return b->flow;
}

static const kn_callback_class breaker_class = {.name = "breaker", .after_pred = break_first};

static void nothing_stays_after_a_cancel_or_a_failure(void **state) {
    (void)state;
    static const kn_flow flows[] = {KN_CANCEL_BATCH, KN_CANCEL_TRAIN, KN_CANCEL_EPOCH,
                                    KN_CANCEL_FIT, KN_FAIL};
    for (size_t i = 0; i < KN_COUNT(flows); i++) {
        run r;
        run_init(&r);
        breaker b = {.base = {&breaker_class}, .flow = flows[i]};
        assert_int_equal(kn_learner_add(r.l, kn_mixup_cb(r.ctx, 1)), KN_OK);
        assert_int_equal(kn_learner_add(r.l, kn_track_results_cb(r.ctx)), KN_OK);
        assert_int_equal(kn_learner_add(r.l, &b.base), KN_OK);
        kn_status status = kn_learner_fit(r.l, 2);
        assert_int_equal(status, flows[i] == KN_FAIL ? KN_ERR_IO : KN_OK);
        kn_error_take(r.ctx);
        assert_null(r.l->loss_opts.target2);
        assert_null(r.l->loss_opts.lambda);
        assert_null(r.l->loss_fn);
        assert_int_equal(kn_learner_validate(r.l), KN_OK);
        assert_int_equal(kn_track_results(r.l, false).samples, VALID);
        assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
        run_free(&r);
    }
}

/* ---- refusals ---- */

static kn_tensor *own_loss(kn_ctx *ctx, kn_tensor *preds, kn_tensor *target) {
    return kn_cross_entropy(ctx, preds, target);
}

static void what_cannot_be_mixed_is_refused(void **state) {
    (void)state;
    kn_callback *(*const make[])(kn_ctx *, double) = {kn_mixup_cb, kn_cutmix_cb};
    static const char *const names[] = {"mixup", "cutmix"};
    static const double bad[] = {0, -1, NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        run r;
        run_init(&r);
        for (size_t k = 0; k < KN_COUNT(bad); k++) {
            assert_null(make[i](r.ctx, bad[k]));
            check_error(r.ctx, KN_ERR_ARG, "alpha");
        }
        r.l->loss_fn = own_loss;
        assert_int_equal(kn_learner_add(r.l, make[i](r.ctx, 1)), KN_OK);
        assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_ARG);
        kn_error error = kn_error_take(r.ctx);
        check_contains(error.message, names[i]);
        check_contains(error.message, "loss function");
        assert_int_equal(kn_learner_validate(r.l), KN_OK); /* which mixes nothing */
        run_free(&r);
    }
}

static void pictures_must_be_normalised_before(void **state) {
    (void)state;
    run r;
    run_init(&r);
    kn_learner *bare =
        kn_learner_new(r.ctx, (kn_learner_opts){.model = r.model, .loaders = r.loaders, .lr = 0.1});
    assert_int_equal(kn_learner_add(bare, kn_mixup_cb(r.ctx, 1)), KN_OK);
    assert_int_equal(kn_learner_fit(bare, 1), KN_ERR_STATE);
    check_error(r.ctx, KN_ERR_STATE, "mixup: pictures u8 [4,8,8,3], expected normalised ones");
    kn_learner_free(bare);
    run_free(&r);
}

int main(void) {
    devices[1] = test_device();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_mixed),
        cmocka_unit_test(a_share_of_one_is_a_copy),
        cmocka_unit_test(a_box_is_filled_from_the_partner),
        cmocka_unit_test(mixup_mixes_pictures_and_targets),
        cmocka_unit_test(cutmix_fills_a_box_and_shares_by_its_area),
        cmocka_unit_test(both_take_turns),
        cmocka_unit_test(mixup_with_shares_of_one_changes_no_bit),
        cmocka_unit_test(nothing_stays_after_a_cancel_or_a_failure),
        cmocka_unit_test(what_cannot_be_mixed_is_refused),
        cmocka_unit_test(pictures_must_be_normalised_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
