/* test_lr_find.c - the learning rate finder: its rates, when it stops, that whatever ends it the
 * model is as before, and that a training after it has the bits of one without. */
#include "support/counted.h"
#include "support/made_data.h"
#include "support/model_case.h"

#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 40, PER_BATCH = 4, BATCHES = 10, EDGE = 8, KINDS = 3 };

/* ---- a learner ---- */

typedef struct trial {
    kn_ctx *ctx;
    kn_dataset *set;
    kn_loaders loaders;
    kn_module *model;
    kn_normalize norm; /* not measured yet */
    kn_learner *l;
} trial;

static kn_optimizer *with_momentum(kn_module *model, double lr, void *user) {
    (void)user;
    return kn_sgd(model, lr, (kn_sgd_opts){.momentum = 0.9});
}

static void open_trial(trial *t, kn_ctx *ctx) {
    *t = (trial){.ctx = ctx, .set = made_data(COUNT, EDGE, KINDS)};
    kn_loader_opts opts = {.workers = 1};
    t->loaders.valid = kn_loader_new(ctx, t->set, PER_BATCH, opts);
    opts.shuffle = true;
    t->loaders.train = kn_loader_new(ctx, t->set, PER_BATCH, opts);
    kn_module *conv = kn_conv_layer(ctx, 3, 4, (kn_conv_opts){.stride = 2});
    kn_module *norm = kn_batch_norm(ctx, 4, (kn_batch_norm_opts){0});      /* buffers that change */
    kn_module *drop = kn_dropout(ctx, 0.2), *pool = kn_adaptive_pool(ctx); /* and chance */
    kn_module *head = kn_linear(ctx, 4, KINDS);
    t->model = kn_sequential(ctx, conv, norm, drop, pool, head);
    t->l = kn_learner_new(
        ctx, (kn_learner_opts){
                 .model = t->model, .loaders = t->loaders, .opt_fn = with_momentum, .lr = 0.05});
    assert_int_equal(kn_learner_add(t->l, kn_setup_cb(ctx, &t->norm)), KN_OK);
}

static void close_trial(trial *t) {
    kn_learner_free(t->l);
    kn_loader_free(t->loaders.train);
    kn_loader_free(t->loaders.valid);
    kn_dataset_free(t->set);
    kn_module_free(t->model);
}

/* ---- the curve ---- */

static int steps_told;

static void on_step(void *user, int step, const kn_lr_point *point) {
    const trial *t = user;
    assert_int_equal(step, steps_told++);
    assert_true(point->lr == t->l->opt->lr); // NOLINT(clang-diagnostic-float-equal)
}

static void rates_and_smoothing_are_those_of_fastai(void **state) {
    trial t;
    open_trial(&t, *state);
    kn_lr_found found;
    steps_told = 0;
    kn_lr_find_opts opts = {.steps = 25, .end = 1e-2, .on_step = on_step, .user = &t};
    assert_int_equal(kn_lr_find(t.l, opts, &found), KN_OK);
    assert_int_equal(found.count, 25); /* three epochs */
    assert_int_equal(steps_told, 25);
    double sum = 0;
    for (int i = 0; i < found.count; i++) {
        assert_true(fabs(found.point[i].lr / (1e-7 * pow(1e5, i / 25.0)) - 1) < 1e-12);
        sum = 0.98 * sum + 0.02 * found.point[i].loss;
        assert_true(fabs(found.point[i].smooth - sum / (1 - pow(0.98, i + 1))) < 1e-12);
    }
    /* The suggestion is read from all but the first two and the last five. */
    double lr[18], loss[18];
    kn_lr_suggestion want;
    for (int i = 0; i < 18; i++) {
        lr[i] = found.point[i + 2].lr;
        loss[i] = found.point[i + 2].smooth;
    }
    assert_int_equal(kn_lr_suggest(t.ctx, lr, loss, 18, &want), KN_OK);
    assert_memory_equal(&found.suggestion, &want, sizeof want);
    assert_true(isfinite(want.valley));
    /* Or the valley alone from the losses as they are. */
    kn_lr_found raw;
    kn_lr_suggestion from_losses;
    opts.on_step = NULL;
    opts.raw_valley = true;
    assert_int_equal(kn_lr_find(t.l, opts, &raw), KN_OK);
    for (int i = 0; i < 18; i++)
        loss[i] = found.point[i + 2].loss;
    assert_int_equal(kn_lr_suggest(t.ctx, lr, loss, 18, &from_losses), KN_OK);
    want.valley = from_losses.valley;
    assert_memory_equal(&raw.suggestion, &want, sizeof want);
    kn_lr_found_free(t.ctx, &raw);
    kn_lr_found_free(t.ctx, &found);
    close_trial(&t);
}

/* A loss that is what the test says, whatever the model gives. */
static const float *losses;
static int losses_left;

static kn_tensor *given_loss(kn_ctx *ctx, kn_tensor *preds, kn_tensor *target) {
    (void)target;
    assert_true(losses_left-- > 0);
    kn_tensor *nothing =
        kn_mul(ctx, kn_sum(ctx, preds, KN_ALL, (kn_reduce_opts){0}), kn_full(ctx, KN_SCALAR, 0));
    return kn_add(ctx, nothing, kn_full(ctx, KN_SCALAR, *losses++));
}

static int points_of(kn_ctx *ctx, kn_lr_find_opts opts, const float *loss, int count,
                     kn_lr_suggestion *suggestion) {
    trial t;
    open_trial(&t, ctx);
    t.l->loss_fn = given_loss;
    losses = loss;
    losses_left = count;
    kn_lr_found found;
    assert_int_equal(kn_lr_find(t.l, opts, &found), KN_OK);
    assert_int_equal(losses_left, 0);
    for (int i = 0; i < found.count; i++)
        assert_true(isnan(loss[i]) || found.point[i].loss == (double)loss[i]);
    for (int i = 0; opts.chapter && i < found.count; i++)
        assert_true(fabs(found.point[i].lr / (1e-6 * pow(1.2, i + 1)) - 1) < 1e-12);
    int points = found.count;
    if (suggestion != NULL)
        *suggestion = found.suggestion;
    kn_lr_found_free(ctx, &found);
    close_trial(&t);
    return points;
}

static void the_chapter_stops_at_three_times_the_best(void **state) {
    kn_lr_find_opts opts = {.chapter = true};
    const float high[] = {2, 4, 1, 3, 2.9F, 3.01F}, nan[] = {2, 1, NAN}, inf[] = {2, INFINITY};
    assert_int_equal(points_of(*state, opts, high, 6, NULL), 6);
    assert_int_equal(points_of(*state, opts, nan, 3, NULL), 2); /* the chapter notes no NaN */
    assert_int_equal(points_of(*state, opts, inf, 2, NULL), 2);
    float even[88];
    for (int i = 0; i < 88; i++)
        even[i] = 1;
    assert_int_equal(points_of(*state, opts, even, 88, NULL), 88); /* 1e-6 * 1.2^88 < 10 */
}

static void fastai_stops_at_four_times_the_smoothed_best(void **state) {
    float loss[100];
    for (int i = 0; i < 100; i++)
        loss[i] = 1;
    kn_lr_find_opts opts = {0};
    kn_lr_suggestion s;
    assert_int_equal(points_of(*state, opts, loss, 100, &s), 100);
    loss[30] = 100; /* 0.02 / (1 - 0.98^31) of it: 4.6 times the best */
    assert_int_equal(points_of(*state, opts, loss, 31, NULL), 31);
    loss[30] = 60; /* 3.5 times */
    assert_int_equal(points_of(*state, opts, loss, 100, NULL), 100);
    for (int i = 0; i < 100; i++)
        loss[i] = 2 - 0.01F * (float)i;
    loss[30] = NAN;
    assert_int_equal(points_of(*state, opts, loss, 31, &s), 31);
    /* All points from the tenth to the last number speak, as in a trial that went on with NaN. */
    assert_true(fabs(s.minimum / (1e-8 * pow(1e8, 0.29)) - 1) < 1e-12);
    loss[12] = NAN;
    assert_int_equal(points_of(*state, opts, loss, 13, &s), 13);
    assert_true(isnan(s.valley));
}

/* ---- the model is as before ---- */

static void sha_of(const trial *t, char out[65]) {
    assert_int_equal(kn_weights_sha256(t->model, out), KN_OK);
}

typedef struct saboteur {
    kn_callback base;
    kn_flow flow;
} saboteur;

/* In the fifth batch. */
static kn_flow sabotage(kn_callback *cb, kn_learner *l) {
    saboteur *s = (saboteur *)cb;
    if (l->batch_index != 4 || !l->training)
        return KN_GO;
    if (s->flow == KN_FAIL)
        kn_fail(l->ctx, KN_ERR_DATA, "sabotage");
    return s->flow;
}

static const kn_callback_class saboteur_class = {.name = "saboteur", .after_backward = sabotage};

static void whatever_ends_it_nothing_is_changed(void **state) {
    static const kn_flow flows[] = {KN_GO, KN_CANCEL_FIT, KN_CANCEL_EPOCH, KN_CANCEL_BATCH,
                                    KN_FAIL};
    trial t;
    open_trial(&t, *state);
    assert_int_equal(kn_learner_fit(t.l, 1), KN_OK);
    kn_module_train(t.model, true);
    kn_module_train(kn_module_child_at(t.model, 0), true);
    const kn_optimizer *opt = t.l->opt;
    kn_optimizer copy = *opt;
    saboteur s = {.base = {&saboteur_class}};
    assert_int_equal(kn_learner_add(t.l, &s.base), KN_OK);
    for (size_t i = 0; i < sizeof flows / sizeof *flows; i++) {
        char before[65], after[65];
        kn_lr_found found;
        sha_of(&t, before);
        s.flow = flows[i];
        kn_module_train(t.model, i % 2 == 0);
        kn_status want = flows[i] == KN_FAIL ? KN_ERR_DATA : KN_OK;
        assert_int_equal(kn_lr_find(t.l, (kn_lr_find_opts){.steps = 30}, &found), want);
        if (flows[i] == KN_FAIL)
            check_error(t.ctx, KN_ERR_DATA, "sabotage");
        if (flows[i] == KN_GO)
            assert_int_equal(found.count, 30);
        if (flows[i] == KN_CANCEL_FIT)
            assert_int_equal(found.count, 5);
        sha_of(&t, after);
        assert_string_equal(before, after);
        assert_ptr_equal(t.l->opt, opt);
        assert_memory_equal(opt, &copy, sizeof copy);
        assert_int_equal(kn_module_training(t.model), i % 2 == 0);
        assert_int_equal(t.l->epochs, 1);
        assert_int_equal(t.l->step, BATCHES);
        assert_false(t.l->trial);
        assert_null(kn_learner_find(t.l, "lr_finder"));
        kn_lr_found_free(t.ctx, &found);
    }
    close_trial(&t);
}

/* Several batches a step: a rate for each step, and as many of them. */
static void accumulated_batches_try_one_rate(void **state) {
    trial t;
    kn_lr_found found;
    open_trial(&t, *state);
    assert_int_equal(kn_learner_add(t.l, kn_accumulate_cb(t.ctx, 3)), KN_OK);
    assert_int_equal(kn_lr_find(t.l, (kn_lr_find_opts){.steps = 7, .end = 1e-3}, &found), KN_OK);
    assert_int_equal(found.count, 7);
    for (int i = 1; i < found.count; i++)
        assert_true(found.point[i].lr > found.point[i - 1].lr);
    kn_lr_found_free(t.ctx, &found);
    close_trial(&t);
}

/* A short last batch fills its share of a step and no more. */
static void short_batches_end_no_trial_early(void **state) {
    trial t;
    kn_lr_found found;
    open_trial(&t, *state);
    kn_loader_free(t.loaders.train);
    t.loaders.train = kn_loader_new(t.ctx, t.set, COUNT - 1, (kn_loader_opts){.workers = 1});
    t.l->loaders = t.loaders;
    assert_int_equal(kn_learner_add(t.l, kn_accumulate_cb(t.ctx, 2)), KN_OK);
    assert_int_equal(kn_lr_find(t.l, (kn_lr_find_opts){.steps = 20, .end = 1e-3}, &found), KN_OK);
    assert_int_equal(found.count, 20);
    kn_lr_found_free(t.ctx, &found);
    close_trial(&t);
}

static void lack_of_memory_changes_nothing_either(void **state) {
    trial t;
    open_trial(&t, *state);
    counted *memory = model_case_memory();
    char before[65], after[65];
    sha_of(&t, before);
    kn_status status = KN_ERR_MEMORY;
    long at = 0;
    while (status != KN_OK) {
        kn_lr_found found;
        memory->fail_at = memory->made + ++at;
        status = kn_lr_find(t.l, (kn_lr_find_opts){.steps = 12}, &found);
        memory->fail_at = 0;
        if (status != KN_OK)
            assert_int_equal(kn_error_take(t.ctx).status, KN_ERR_MEMORY);
        sha_of(&t, after);
        assert_string_equal(before, after);
        kn_lr_found_free(t.ctx, &found);
    }
    assert_true(at > 5);
    close_trial(&t);
}

/* ---- training after it ---- */

typedef struct outcome {
    char sha[65];
    double loss, acc, norm;
} outcome;

static void train(kn_ctx *ctx, int finders, outcome *out) {
    trial t;
    open_trial(&t, ctx);
    assert_int_equal(kn_learner_add(t.l, kn_track_results_cb(ctx)), KN_OK);
    assert_int_equal(kn_learner_add(t.l, kn_one_cycle_cb(ctx, (kn_one_cycle_opts){0})), KN_OK);
    for (int i = 0; i < finders; i++) {
        kn_lr_found found;
        assert_int_equal(kn_lr_find(t.l, (kn_lr_find_opts){.chapter = i % 2 == 1}, &found), KN_OK);
        assert_true(found.count > 20);
        assert_true(isnan(kn_track_results(t.l, true).loss)); /* was told nothing */
        kn_lr_found_free(ctx, &found);
    }
    assert_int_equal(kn_learner_fit(t.l, 3), KN_OK);
    kn_results r = kn_track_results(t.l, false);
    *out = (outcome){.loss = r.loss, .acc = r.acc, .norm = (double)t.norm.mean[1]};
    sha_of(&t, out->sha);
    close_trial(&t);
}

/* A context is made anew for each: initial weights depend on how many were made before. */
static void training_after_it_has_the_same_bits(void **state) {
    const char *const devices[] = {"reference", test_device()};
    (void)state;
    for (int d = 0; d < 2; d++) {
        outcome with[3];
        for (int finders = 0; finders < 3; finders++) {
            counted memory = {0};
            kn_ctx *ctx = counted_ctx(&memory, devices[d]);
            train(ctx, finders, &with[finders]);
            counted_ctx_free(&memory, ctx);
            assert_memory_equal(&with[0], &with[finders], sizeof with[0]);
        }
    }
}

static void a_trial_leaves_no_files_and_no_history(void **state) {
    trial t;
    open_trial(&t, *state);
    char folder[] = "/tmp/kiln-lr-find-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *names[] = {"a", "b", "c"};
    kn_vocab vocab = {names, KINDS};
    kn_model_info info = {
        .arch = "tiny", .vocab = &vocab, .size = EDGE, .norm = &t.norm, .batch_size = PER_BATCH};
    kn_learner_add(t.l, kn_track_results_cb(t.ctx));
    kn_learner_add(t.l, kn_recorder_cb(t.ctx, (kn_recorder_opts){.folder = folder}));
    assert_int_equal(kn_learner_add(t.l, kn_save_model_cb(t.ctx, folder, &info)), KN_OK);
    kn_lr_found found;
    assert_int_equal(kn_lr_find(t.l, (kn_lr_find_opts){0}, &found), KN_OK);
    kn_lr_found_free(t.ctx, &found);
    int rows;
    kn_recorder_rows(t.l, &rows);
    assert_int_equal(rows, 0);
    assert_int_equal(rmdir(folder), 0); /* is empty */
    close_trial(&t);
}

/* ---- as a callback of one's own fit ---- */

static void the_callback_ends_its_fit_and_stays_until_removed(void **state) {
    trial t;
    open_trial(&t, *state);
    char before[65], after[65];
    sha_of(&t, before);
    kn_callback *cb = kn_lr_finder_cb(t.ctx, (kn_lr_find_opts){.steps = 60, .stop = 1e30});
    assert_int_equal(kn_learner_add(t.l, cb), KN_OK);
    int count;
    assert_int_equal(kn_learner_fit(t.l, 100), KN_OK);
    assert_non_null(kn_lr_finder_points(t.l, &count));
    assert_int_equal(count, 60);
    assert_true(isfinite(kn_lr_finder_suggestion(t.l).valley));
    assert_int_equal(kn_learner_fit(t.l, 2), KN_OK); /* too few epochs: their end */
    kn_lr_finder_points(t.l, &count);
    assert_int_equal(count, 2 * BATCHES);
    kn_lr_found found;
    assert_int_equal(kn_lr_find(t.l, (kn_lr_find_opts){0}, &found), KN_ERR_STATE);
    check_error(t.ctx, KN_ERR_STATE, "has a finder already");
    assert_int_equal(kn_learner_validate(t.l), KN_OK); /* no trial */
    sha_of(&t, after);
    assert_string_equal(before, after);
    assert_int_equal(kn_learner_remove(t.l, cb), KN_OK);
    assert_null(kn_lr_finder_points(t.l, &count));
    assert_int_equal(count, 0);
    assert_true(isnan(kn_lr_finder_suggestion(t.l).valley));
    assert_int_equal(kn_learner_fit(t.l, 1), KN_OK);
    sha_of(&t, after);
    assert_string_not_equal(before, after);
    close_trial(&t);
}

static kn_callback *to_remove;

static kn_flow remove_now(kn_callback *cb, kn_learner *l) {
    (void)cb;
    return kn_learner_remove(l, to_remove) == KN_OK ? KN_GO : KN_FAIL;
}

static const kn_callback_class remover_class = {.name = "remover", .before_epoch = remove_now};

static void callbacks_stay_during_a_fit(void **state) {
    trial t;
    open_trial(&t, *state);
    kn_callback remover = {&remover_class};
    to_remove = &remover;
    assert_int_equal(kn_learner_add(t.l, &remover), KN_OK);
    assert_int_equal(kn_learner_fit(t.l, 1), KN_ERR_STATE);
    check_error(t.ctx, KN_ERR_STATE, "remover was removed during a fit");
    assert_int_equal(kn_learner_remove(t.l, &remover), KN_OK);
    assert_int_equal(kn_learner_remove(t.l, &remover), KN_OK); /* once more is harmless */
    close_trial(&t);
}

static void options_out_of_range_are_refused(void **state) {
    static const kn_lr_find_opts bad[] = {
        {.start = -1},
        {.start = 20},
        {.end = INFINITY},
        {.end = NAN},
        {.steps = -3},
        {.steps = 1000000},
        {.stop = 0.5},
        {.factor = 1.5},                /* only with chapter */
        {.chapter = true, .steps = 10}, /* not with chapter */
        {.chapter = true, .factor = 0.9},
        {.chapter = true, .factor = 1 + 1e-9},
        {.chapter = true, .factor = 1e9},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(kn_lr_finder_cb(*state, bad[i]));
        check_error(*state, KN_ERR_ARG, "lr_finder: start ");
    }
    kn_lr_found found;
    assert_int_equal(kn_lr_find(NULL, (kn_lr_find_opts){0}, &found), KN_ERR_STATE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(rates_and_smoothing_are_those_of_fastai),
        MODEL_CASE(the_chapter_stops_at_three_times_the_best),
        MODEL_CASE(fastai_stops_at_four_times_the_smoothed_best),
        MODEL_CASE(whatever_ends_it_nothing_is_changed),
        MODEL_CASE(accumulated_batches_try_one_rate),
        MODEL_CASE(short_batches_end_no_trial_early),
        MODEL_CASE(lack_of_memory_changes_nothing_either),
        MODEL_CASE(training_after_it_has_the_same_bits),
        MODEL_CASE(a_trial_leaves_no_files_and_no_history),
        MODEL_CASE(the_callback_ends_its_fit_and_stays_until_removed),
        MODEL_CASE(callbacks_stay_during_a_fit),
        MODEL_CASE(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
