/* test_learner_loss.c - smoothing and class weights as options of the learner: in training they
 * count, in validation they do not, and a callback may set them for a batch. */
#include "support/check.h"
#include "support/tiny_run.h"

#include "core/ctx.h"

#include <math.h>

static const float weights[CLASSES] = {0.5f, 2, 1};

/* Compares the learner's loss with the op, called apart, and remembers the losses. */
typedef struct judge {
    kn_callback base;
    kn_learner_loss expected; /* in training */
    int batches[2];           /* validation, training */
    double before[2];         /* sums of kn_cross_entropy */
    double loss[2];
} judge;

static kn_flow judge_loss(kn_callback *cb, kn_learner *l) {
    judge *j = (judge *)cb;
    bool was = kn_grad_enable(l->ctx, false);
    kn_cross_entropy_opts opts = {0};
    if (l->training)
        opts.smoothing = j->expected.smoothing;
    if (l->training && j->expected.class_count > 0)
        opts.class_weights = kn_from(l->ctx, KN_F32, KN_SHAPE(CLASSES), j->expected.class_weights);
    double loss = kn_item(l->ctx, l->loss);
    double same = kn_item(l->ctx, kn_cross_entropy_with(l->ctx, l->preds, l->y, opts));
    assert_true(loss == same);
    j->before[l->training] += kn_item(l->ctx, kn_cross_entropy(l->ctx, l->preds, l->y));
    j->loss[l->training] += loss;
    j->batches[l->training]++;
    kn_grad_enable(l->ctx, was);
    return KN_GO;
}

static const kn_callback_class judge_class = {.name = "judge", .after_loss = judge_loss};

static kn_learner *learner_of(run *r, kn_learner_loss loss) {
    kn_learner *l = kn_learner_new(
        r->ctx,
        (kn_learner_opts){.model = r->model, .loaders = r->loaders, .lr = 0.1, .loss = loss});
    if (l != NULL)
        assert_int_equal(kn_learner_add(l, kn_setup_cb(r->ctx, &r->norm)), KN_OK);
    return l;
}

static void options_count_in_training_alone(void **state) {
    (void)state;
    const kn_learner_loss row[] = {{.smoothing = 0.1},
                                   {.class_weights = weights, .class_count = CLASSES},
                                   {0.2, weights, CLASSES}};
    for (size_t i = 0; i < KN_COUNT(row); i++) {
        run r;
        run_init(&r);
        judge j = {.base = {&judge_class}, .expected = row[i]};
        kn_learner *l = learner_of(&r, row[i]);
        assert_int_equal(kn_learner_add(l, &j.base), KN_OK);
        assert_int_equal(kn_learner_fit(l, 2), KN_OK);
        assert_int_equal(kn_learner_validate(l), KN_OK);
        assert_int_equal(j.batches[true], 4);
        assert_int_equal(j.batches[false], 3);
        assert_true(j.loss[true] != j.before[true]);
        assert_true(j.loss[false] == j.before[false]);
        kn_learner_free(l);
        run_free(&r);
    }
}

/* ---- a callback's own ---- */

static kn_flow smooth_first(kn_callback *cb, kn_learner *l) {
    (void)cb;
    assert_true(l->loss_opts.smoothing == (l->training ? 0.1 : 0));
    if (l->training && l->batch_index == 0)
        l->loss_opts.smoothing = 0;
    return KN_GO;
}

static const kn_callback_class first_class = {.name = "first", .before_batch = smooth_first};

static void a_callback_sets_them_for_one_batch(void **state) {
    (void)state;
    run r;
    run_init(&r);
    kn_callback first = {&first_class};
    kn_learner *l = learner_of(&r, (kn_learner_loss){.smoothing = 0.1});
    assert_int_equal(kn_learner_add(l, &first), KN_OK);
    assert_int_equal(kn_learner_fit(l, 2), KN_OK);
    assert_true(l->loss_opts.smoothing == 0); /* valid in a batch only */
    kn_learner_free(l);
    run_free(&r);
}

/* ---- refusals ---- */

static kn_tensor *own_loss(kn_ctx *ctx, kn_tensor *preds, kn_tensor *target) {
    return kn_cross_entropy(ctx, preds, target);
}

static void what_makes_no_loss_is_refused(void **state) {
    (void)state;
    static const float negative[CLASSES] = {1, -1, 1}, no_number[CLASSES] = {1, 1, NAN};
    const struct {
        kn_learner_loss loss;
        const char *message;
    } row[] = {{{.smoothing = 1.5}, "learner: smoothing 1.5, expected 0 to 1"},
               {{.smoothing = -1}, "learner: smoothing -1, expected 0 to 1"},
               {{.class_weights = weights}, "class weights are there, their count 0"},
               {{.class_count = 3}, "class weights are not there, their count 3"},
               {{0, negative, CLASSES}, "the weight of class 1 is -1"},
               {{0, no_number, CLASSES}, "the weight of class 2 is nan"}};
    run r;
    run_init(&r);
    for (size_t i = 0; i < KN_COUNT(row); i++) {
        assert_null(learner_of(&r, row[i].loss));
        check_error(r.ctx, KN_ERR_ARG, row[i].message);
    }
    /* As many weights as classes: found at the first batch. */
    kn_learner *l = learner_of(&r, (kn_learner_loss){0, weights, CLASSES - 1});
    assert_int_equal(kn_learner_fit(l, 1), KN_ERR_SHAPE);
    check_error(r.ctx, KN_ERR_SHAPE, "[4,3] does not fit class_weights [2]");
    kn_learner_free(l);
    /* A loss of one's own would not see them. */
    l = learner_of(&r, (kn_learner_loss){.smoothing = 0.1});
    l->loss_fn = own_loss;
    assert_int_equal(kn_learner_fit(l, 1), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "another loss function");
    kn_learner_free(l);
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_count_in_training_alone),
        cmocka_unit_test(a_callback_sets_them_for_one_batch),
        cmocka_unit_test(what_makes_no_loss_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
