/* test_fine_tune.c - fine-tuning: fastai's rates step for step, a frozen body whose bits stay, and
 * one history over both phases. */
#include <kiln/kiln.h>

#include "core/ctx.h"
#include "support/check.h"
#include "support/made_data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN KN_TEST_DIR "/data/fine_tune_golden.txt"

/* 8 pictures in 4 batches, as in tools/make_fine_tune_goldens.py. */
enum { PICTURES = 8, BATCH = 2, BATCHES = 4, SIDE = 8, CLASSES = 3, FROZEN = 2, FREE = 3 };
enum { ROWS = (FROZEN + FREE) * BATCHES, CONV = 108, NORM = 4 };

typedef struct run {
    kn_ctx *ctx;
    kn_dataset *data;
    kn_loaders loaders;
    kn_module *model;
    kn_normalize norm;
    kn_learner *l;
} run;

/* conv, norm, conv, norm, pool, linear: three groups. */
static void run_init(run *r) {
    *r = (run){.norm = {{.5F, .5F, .5F}, {.25F, .25F, .25F}}};
    assert_int_equal(kn_ctx_new(&r->ctx, (kn_ctx_opts){.seed = 1, .threads = 1}, NULL), KN_OK);
    kn_loader_opts one = {.workers = 1};
    kn_conv_opts bare = {.no_bias = true, .no_act = true};
    r->data = made_data(PICTURES, SIDE, CLASSES);
    r->loaders.train = kn_loader_new(r->ctx, r->data, BATCH, one);
    r->loaders.valid = kn_loader_new(r->ctx, r->data, BATCH, one);
    kn_module *part[] = {
        kn_conv_layer(r->ctx, 3, 4, bare), kn_batch_norm(r->ctx, 4, (kn_batch_norm_opts){0}),
        kn_conv_layer(r->ctx, 4, 4, bare), kn_batch_norm(r->ctx, 4, (kn_batch_norm_opts){0}),
        kn_adaptive_pool(r->ctx),          kn_linear(r->ctx, 4, CLASSES)};
    static const char *const start[] = {"layers.2", "layers.5"};
    r->model = kn_sequential_of(r->ctx, part, 6);
    assert_int_equal(kn_module_split(r->model, start, 2), KN_OK);
}

static kn_optimizer *sgd(kn_module *model, double lr, void *user) {
    (void)user;
    return kn_sgd(model, lr, (kn_sgd_opts){.momentum = 0.9});
}

static void learner_init(run *r) {
    r->l = kn_learner_new(
        r->ctx,
        (kn_learner_opts){.model = r->model, .loaders = r->loaders, .opt_fn = sgd, .lr = 0.2});
    assert_int_equal(kn_learner_add(r->l, kn_setup_cb(r->ctx, &r->norm)), KN_OK);
    assert_int_equal(kn_learner_add(r->l, kn_track_results_cb(r->ctx)), KN_OK);
    assert_int_equal(kn_learner_add(r->l, kn_recorder_cb(r->ctx, (kn_recorder_opts){0})), KN_OK);
}

static void run_free(run *r) {
    kn_learner_free(r->l);
    kn_loader_free(r->loaders.train);
    kn_loader_free(r->loaders.valid);
    kn_dataset_free(r->data);
    kn_module_free(r->model);
    kn_ctx_free(r->ctx);
}

/* A child's parameters, one after the other. */
static void read_child(kn_module *m, int child, float *out) {
    kn_named_list all;
    assert_int_equal(kn_module_parameters(kn_module_child_at(m, child), &all), KN_OK);
    for (int i = 0, at = 0; i < all.count; i++) {
        const kn_tensor *t = kn_param_value(all.item[i].param);
        size_t bytes = (size_t)kn_tensor_numel(t) * sizeof *out;
        assert_int_equal(kn_tensor_read(kn_module_ctx(m), t, out + at, bytes), KN_OK);
        at += (int)kn_tensor_numel(t);
    }
    kn_named_free(kn_module_ctx(m), &all);
}

/* ---- who watches ---- */

typedef struct watch {
    kn_callback base;
    double row[ROWS][7]; /* as in the golden file */
    int rows;
    float conv[FROZEN + FREE][CONV], norm[FROZEN + FREE][2 * NORM]; /* at each epoch's end */
    bool norm_trains;                                               /* in the last batch */
} watch;

static double trains(kn_module *m, int child) {
    kn_named_list all;
    assert_int_equal(kn_module_parameters(kn_module_child_at(m, child), &all), KN_OK);
    bool frozen = kn_param_frozen(all.item[0].param);
    kn_named_free(kn_module_ctx(m), &all);
    return !frozen;
}

static kn_flow before_step(kn_callback *cb, kn_learner *l) {
    watch *w = (watch *)cb;
    assert_true(w->rows < ROWS);
    double *row = w->row[w->rows++];
    for (int g = 0; g < 3; g++)
        row[g] = l->opt->lr * l->opt->group[g].lr_mult;
    row[3] = l->opt->group[0].momentum;
    row[4] = trains(l->model, 0);
    row[5] = trains(l->model, 1);
    row[6] = trains(l->model, 5);
    w->norm_trains = kn_module_training(kn_module_child_at(l->model, 1));
    return KN_GO;
}

static kn_flow after_epoch(kn_callback *cb, kn_learner *l) {
    watch *w = (watch *)cb;
    read_child(l->model, 0, w->conv[l->epoch]);
    read_child(l->model, 1, w->norm[l->epoch]);
    return KN_GO;
}

static const kn_callback_class watch_class = {
    .name = "watch", .before_step = before_step, .after_epoch = after_epoch};

/* ---- the tests ---- */

static void rates_are_fastais(void **state) {
    (void)state;
    run r;
    watch w = {.base.cls = &watch_class};
    run_init(&r);
    learner_init(&r);
    assert_int_equal(kn_learner_add(r.l, &w.base), KN_OK);
    kn_fine_tune_opts opts = {.freeze_epochs = FROZEN};
    if (kn_fine_tune(r.l, FREE, opts) != KN_OK)
        check_good(r.ctx, "fine-tuning");
    FILE *f = fopen(GOLDEN, "r");
    assert_non_null(f);
    assert_int_equal(w.rows, ROWS);
    for (int i = 0; i < ROWS; i++) {
        char line[256], *at = line;
        assert_non_null(fgets(line, sizeof line, f));
        for (int c = 0; c < 7; c++) {
            double want = strtod(at, &at);
            if (fabs(w.row[i][c] - want) > 1e-6 * want)
                fail_msg("step %d, column %d: %.9g, fastai has %.9g", i, c, w.row[i][c], want);
        }
    }
    fclose(f);
    run_free(&r);
}

static bool equal(const float *a, const float *b, int count) {
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

/* Frozen layers keep their bits through the frozen epochs, and no longer. */
static void a_frozen_body_stays(void **state) {
    (void)state;
    for (int freeze_norm = 0; freeze_norm < 2; freeze_norm++) {
        run r;
        watch w = {.base.cls = &watch_class};
        float conv[CONV], norm[2 * NORM];
        run_init(&r);
        learner_init(&r);
        read_child(r.model, 0, conv);
        read_child(r.model, 1, norm);
        assert_int_equal(kn_learner_add(r.l, &w.base), KN_OK);
        kn_fine_tune_opts opts = {.freeze_epochs = FROZEN, .freeze_norm = freeze_norm};
        assert_int_equal(kn_fine_tune(r.l, FREE, opts), KN_OK);
        for (int e = 0; e < FROZEN; e++) {
            assert_true(equal(w.conv[e], conv, CONV));
            assert_int_equal(equal(w.norm[e], norm, 2 * NORM), freeze_norm);
        }
        assert_false(equal(w.conv[FROZEN], conv, CONV));
        assert_false(equal(w.norm[FROZEN], w.norm[FROZEN - 1], 2 * NORM));
        assert_true(w.norm_trains);
        run_free(&r);
    }
}

/* Epochs count on, the best is of all of them, and nothing of it stays behind. */
static void the_history_goes_on(void **state) {
    (void)state;
    run r;
    int rows;
    run_init(&r);
    learner_init(&r);
    assert_int_equal(kn_fine_tune(r.l, FREE, (kn_fine_tune_opts){0}), KN_OK);
    const kn_history_row *row = kn_recorder_rows(r.l, &rows);
    assert_int_equal(rows, 1 + FREE);
    for (int i = 0; i < rows; i++)
        assert_int_equal(row[i].epoch, i);
    assert_true(row[rows - 1].train_loss < row[0].train_loss);
    assert_null(kn_learner_find(r.l, "fine_tune"));
    for (int child = 0; child < 6; child++)
        if (child != 4)
            assert_true(trains(r.model, child) == 1);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK); /* with plain rates again */
    assert_true(r.l->opt->lr == 0.2 && r.l->opt->group[0].lr_mult == 1);
    kn_recorder_rows(r.l, &rows);
    assert_int_equal(rows, 2);
    run_free(&r);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    run r;
    run_init(&r);
    learner_init(&r);
    assert_int_equal(kn_fine_tune(r.l, 0, (kn_fine_tune_opts){0}), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "fine_tune: 0 epochs");
    assert_int_equal(kn_fine_tune(r.l, 1, (kn_fine_tune_opts){.pct_start = 1}), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "pct_start 1");
    kn_callback *cb = kn_fine_tune_cb(r.ctx, (kn_fine_tune_opts){.freeze_epochs = 2});
    assert_int_equal(kn_learner_add(r.l, cb), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "fine_tune: 2 epochs, of which 2 are with a frozen body");
    assert_int_equal(kn_learner_validate(r.l), KN_OK); /* does not concern it */
    assert_int_equal(kn_learner_add(r.l, kn_one_cycle_cb(r.ctx, (kn_one_cycle_opts){0})), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 3), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "another was added");
    run_free(&r);

    run_init(&r);
    assert_int_equal(kn_module_split(r.model, NULL, 0), KN_OK);
    learner_init(&r);
    assert_int_equal(kn_fine_tune(r.l, 1, (kn_fine_tune_opts){0}), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "all parameters are in one group");
    assert_int_equal(kn_fine_tune(NULL, 1, (kn_fine_tune_opts){0}), KN_ERR_STATE);
    run_free(&r);
}

/* A trial of rates goes without it, however few batches there are. */
static void the_rate_finder_goes_without_it(void **state) {
    (void)state;
    run r;
    kn_lr_found found;
    run_init(&r);
    learner_init(&r);
    kn_callback *cb = kn_fine_tune_cb(r.ctx, (kn_fine_tune_opts){.freeze_epochs = 4});
    assert_int_equal(kn_learner_add(r.l, cb), KN_OK);
    kn_lr_find_opts few = {.steps = 10}; /* 3 epochs of 4 batches */
    assert_int_equal(kn_lr_find(r.l, few, &found), KN_OK);
    kn_lr_found_free(r.ctx, &found);
    run_free(&r);
}

/* A fit that it refuses leaves frozen what the user froze. */
static void what_is_refused_changes_nothing(void **state) {
    (void)state;
    run r;
    run_init(&r);
    learner_init(&r);
    kn_module_freeze_below(r.model, 2, (kn_freeze_opts){0});
    kn_callback *cb = kn_fine_tune_cb(r.ctx, (kn_fine_tune_opts){.freeze_epochs = 2});
    assert_int_equal(kn_learner_add(r.l, cb), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_ERR_ARG);
    kn_error_take(r.ctx);
    assert_true(trains(r.model, 0) == 0 && trains(r.model, 5) == 1);
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_fastais),
        cmocka_unit_test(a_frozen_body_stays),
        cmocka_unit_test(the_history_goes_on),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(the_rate_finder_goes_without_it),
        cmocka_unit_test(what_is_refused_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
