/* test_stopping.c - fits that end early: no longer better, no longer a number; and the history as
 * lines of JSON. */
#include "support/check.h"
#include "support/tiny_run.h"
#include "support/tree.h"

#include "core/ctx.h"
#include "learner/terminate_on_nan.h"
#include "tensor/tensor.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- epochs whose results are made up ---- */

enum { MOST = 12 };

/* Its loss function gives the numbers of a script, in training and in validation. */
static const double *script_train, *script_valid;
static kn_learner *scripted;

static kn_tensor *scripted_loss(kn_ctx *ctx, kn_tensor *preds, kn_tensor *target) {
    double value = (scripted->training ? script_train : script_valid)[scripted->epoch];
    kn_tensor *plain = kn_cross_entropy(ctx, preds, target);
    kn_tensor *zero = kn_mul(ctx, plain, kn_full(ctx, KN_SCALAR, 0));
    return kn_add(ctx, zero, kn_full(ctx, KN_SCALAR, (float)value));
}

typedef struct counter {
    kn_callback base;
    int epochs, cancels;
} counter;

static kn_flow count_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((counter *)cb)->epochs++;
    return KN_GO;
}

static kn_flow count_cancel(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((counter *)cb)->cancels++;
    return KN_GO;
}

static const kn_callback_class counter_class = {
    .name = "counter", .order = 700, .after_epoch = count_epoch, .after_cancel_fit = count_cancel};

typedef struct stopping {
    kn_early_stopping_opts opts;
    int epochs;
    double loss[MOST];
    int stops_at; /* -1: not */
} stopping;

static void check_stopping(const stopping *s, bool validated) {
    static const double flat[MOST] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    run r;
    run_init(&r);
    counter c = {.base = {&counter_class}};
    scripted = r.l;
    script_train = validated ? flat : s->loss;
    script_valid = s->loss;
    r.l->loss_fn = scripted_loss;
    if (!validated)
        r.l->loaders.valid = NULL;
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_early_stopping_cb(r.ctx, s->opts));
    kn_learner_add(r.l, &c.base);
    assert_int_equal(kn_early_stopping_at(r.l), -1);
    for (int again = 0; again < 2; again++) { /* a second fit begins anew */
        c.epochs = c.cancels = 0;
        assert_int_equal(kn_learner_fit(r.l, s->epochs), KN_OK);
        assert_int_equal(kn_early_stopping_at(r.l), s->stops_at);
        assert_int_equal(c.epochs, s->stops_at < 0 ? s->epochs : s->stops_at + 1);
        assert_int_equal(c.cancels, s->stops_at >= 0);
    }
    if (validated) { /* validation alone asks nothing and changes nothing */
        assert_int_equal(kn_learner_validate(r.l), KN_OK);
        assert_int_equal(kn_early_stopping_at(r.l), s->stops_at);
    }
    run_free(&r);
}

static void a_fit_that_gets_no_better_stops(void **state) {
    (void)state;
    const stopping row[] = {
        {{.patience = 2}, 8, {5, 4, 3, 3, 3, 3, 3, 3}, 4},
        {{.patience = 2}, 8, {5, 4, 4, 3, 4, 2, 1, 0}, -1}, /* one bad epoch at a time */
        {{0}, 5, {3, 3, 2, 1, 1}, 1},                       /* patience 1 */
        {{.patience = 2, .min_delta = 0.5}, 8, {5, 4.75, 4.25, 4, 3.8, 3.7, 3, 2}, 4},
        {{.patience = 2}, 6, {NAN, NAN, 2, NAN, NAN, 1}, 1},
        {{.patience = 3}, 6, {NAN, NAN, 2, NAN, NAN, 1}, -1},
        {{.patience = 2}, 4, {1, 1, 1, 1}, 2},
        {{.patience = 3}, 4, {1, 1, 1, 1}, -1}, /* the last epoch ends the fit anyway */
    };
    for (size_t i = 0; i < KN_COUNT(row); i++) {
        check_stopping(&row[i], true);
        check_stopping(&row[i], false);
    }
}

/* A model that does not learn hits the same every epoch: the accuracy gets no better. */
static void accuracy_may_be_monitored(void **state) {
    (void)state;
    static const double falling[MOST] = {9, 8, 7, 6, 5, 4};
    run r;
    run_init(&r);
    scripted = r.l;
    script_train = script_valid = falling;
    r.l->loss_fn = scripted_loss;
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_early_stopping_cb(r.ctx, (kn_early_stopping_opts){
                                                        .patience = 3, .monitor = KN_MONITOR_ACC}));
    assert_int_equal(kn_learner_fit(r.l, 6), KN_OK);
    assert_int_equal(kn_early_stopping_at(r.l), 3);
    run_free(&r);
}

static void early_stopping_says_what_it_needs(void **state) {
    (void)state;
    run r;
    run_init(&r);
    assert_null(kn_early_stopping_cb(r.ctx, (kn_early_stopping_opts){.patience = -1}));
    check_error(r.ctx, KN_ERR_ARG, "patience -1");
    assert_null(kn_early_stopping_cb(r.ctx, (kn_early_stopping_opts){.min_delta = NAN}));
    check_error(r.ctx, KN_ERR_ARG, "min_delta");
    assert_int_equal(kn_early_stopping_at(r.l), -1);
    kn_learner_add(r.l, kn_early_stopping_cb(r.ctx, (kn_early_stopping_opts){0}));
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_STATE);
    check_error(r.ctx, KN_ERR_STATE, "needs kn_track_results_cb");
    run_free(&r);
}

/* ---- no longer a number ---- */

/* A device that works asynchronously looks later, and cannot say. */
static bool looks_later(void) {
    run r;
    run_init(&r);
    bool later = !kn_device_is_host(kn_device_default(r.ctx));
    run_free(&r);
    return later;
}

static void a_loss_that_is_no_number_fails_the_fit(void **state) {
    (void)state;
    static const struct {
        double loss[3];
        const char *message; /* NULL: it does not fail */
        const char *later;
    } row[] = {{{1, NAN, 1},
                "epoch 1, batch 0: the loss is not a number",
                "epoch 1, batch 0: the loss is not finite"},
               {{INFINITY, 1, 1},
                "epoch 0, batch 0: the loss is infinite",
                "epoch 0, batch 0: the loss is not finite"},
               {{1, 1, 1e30}, NULL, NULL}};
    static const double diverged[3] = {NAN, NAN, NAN};
    for (size_t k = 0; k < 2 * KN_COUNT(row); k++) {
        size_t i = k / 2;
        bool defer = k % 2 == 1;
        run r;
        run_init(&r);
        counter c = {.base = {&counter_class}};
        scripted = r.l;
        script_train = row[i].loss;
        script_valid = diverged; /* which is not looked at */
        r.l->loss_fn = scripted_loss;
        kn_callback *cb = kn_terminate_on_nan_cb(r.ctx);
        if (defer)
            kn_terminate_on_nan_defer(cb);
        kn_learner_add(r.l, cb);
        kn_learner_add(r.l, &c.base);
        kn_status status = kn_learner_fit(r.l, 3);
        assert_int_equal(c.cancels, row[i].message != NULL); /* the others clean up */
        if (row[i].message != NULL)
            check_error(r.ctx, KN_ERR_STATE,
                        defer || looks_later() ? row[i].later : row[i].message);
        else
            assert_int_equal(status, KN_OK);
        run_free(&r);
    }
}

/* Also where it is looked for some steps later: the steps since the last look are looked at first.
 */
static void nothing_that_went_wrong_is_saved(void **state) {
    (void)state;
    static const double second_epoch[3] = {1, NAN, 1}, fine[3] = {1, 1, 1};
    for (int defer = 0; defer < 2; defer++) {
        char folder[TREE_PATH];
        kn_checkpoint *c = NULL;
        kn_error error = {0};
        run r;
        tree_make(folder);
        run_init(&r);
        scripted = r.l;
        script_train = second_epoch;
        script_valid = fine;
        r.l->loss_fn = scripted_loss;
        kn_callback *cb = kn_terminate_on_nan_cb(r.ctx);
        if (defer)
            kn_terminate_on_nan_defer(cb);
        kn_learner_add(r.l, cb);
        kn_learner_add(r.l, kn_checkpoint_cb(r.ctx, (kn_checkpoint_opts){.folder = folder}));
        assert_int_equal(kn_learner_fit(r.l, 3), KN_ERR_STATE);
        kn_error_take(r.ctx);
        assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_OK);
        assert_non_null(c);
        kn_checkpoint_place place = kn_checkpoint_at(c);
        assert_int_equal(place.epoch, 0);
        assert_int_equal(place.batch, place.batches);
        kn_checkpoint_close(c);
        run_free(&r);
        tree_remove(folder);
    }
}

/* The batch that went wrong does not reach the weights. */
static void the_weights_stay_numbers(void **state) {
    (void)state;
    static const double fine_then_not[2] = {1, NAN};
    char before[65], after[65];
    run r;
    run_init(&r);
    scripted = r.l;
    script_train = script_valid = fine_then_not;
    kn_learner_add(r.l, kn_terminate_on_nan_cb(r.ctx));
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK); /* its own loss: weights move */
    r.l->loss_fn = scripted_loss;
    assert_int_equal(kn_weights_sha256(r.model, before), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_ERR_STATE); /* gradients 0, then no step */
    kn_error_take(r.ctx);
    assert_int_equal(kn_weights_sha256(r.model, after), KN_OK);
    assert_string_equal(before, after);
    run_free(&r);
}

/* ---- where it began ---- */

static kn_module *poison; /* whose weights, or gradients, get a number that is none */
static bool poison_gradient;

static kn_flow poison_one(kn_callback *cb, kn_learner *l) {
    kn_named_list list;
    (void)cb;
    assert_int_equal(kn_module_parameters(poison, &list), KN_OK);
    kn_param *p = list.item[0].param;
    kn_tensor *t = poison_gradient ? kn_param_grad(p) : kn_param_value(p);
    float value[256];
    size_t bytes = (size_t)kn_tensor_numel(t) * sizeof(float);
    assert_true(bytes <= sizeof value);
    assert_int_equal(kn_tensor_read(l->ctx, t, value, bytes), KN_OK);
    value[1] = poison_gradient ? INFINITY : NAN;
    assert_int_equal(kn_tensor_write(l->ctx, t, value, bytes), KN_OK);
    kn_named_free(l->ctx, &list);
    return KN_GO;
}

static const kn_callback_class poison_weights = {.name = "poison", .before_batch = poison_one},
                               poison_before_step = {.name = "poison",
                                                     .after_backward = poison_one};

static void poisoned(const kn_callback_class *cls, bool gradient, int child, const char *message) {
    run r;
    run_init(&r);
    kn_callback cb = {cls};
    poison = kn_module_child_at(r.model, child);
    poison_gradient = gradient;
    kn_learner_add(r.l, &cb);
    kn_learner_add(r.l, kn_terminate_on_nan_cb(r.ctx));
    assert_int_equal(kn_learner_fit(r.l, 2), KN_ERR_STATE);
    check_error(r.ctx, KN_ERR_STATE, message);
    run_free(&r);
}

/* A layer whose output overflows: no weight is at fault. */
static kn_tensor *overflow(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)m;
    (void)x;
    return kn_mul(user, y, kn_full(user, KN_SCALAR, INFINITY));
}

static void it_says_where_it_began(void **state) {
    (void)state;
    if (looks_later()) {
        print_message(
            "SKIPPED: this device looks for NaN some steps later, and cannot name the layer\n");
        skip();
    }
    poisoned(&poison_weights, false, 0, "which began with the weights of layers.0.weight");
    poisoned(&poison_weights, false, 2, "which began with the weights of layers.2.weight");
    poisoned(&poison_before_step, true, 2,
             "the gradients are not finite, which began with that of layers.2.weight");
    run r;
    run_init(&r);
    assert_int_not_equal(kn_module_add_hook(kn_module_child_at(r.model, 1), overflow, r.ctx), 0);
    kn_learner_add(r.l, kn_terminate_on_nan_cb(r.ctx));
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_STATE);
    check_error(r.ctx, KN_ERR_STATE, "which began in the output of layers.1, so");
    run_free(&r);
}

/* ---- log.jsonl ---- */

static void check_line(json_t *line, const kn_history_row *row) {
    assert_string_equal(json_string_value(json_object_get(line, "event")), "epoch");
    assert_int_equal(json_integer_value(json_object_get(line, "epoch")), row->epoch);
    assert_int_equal(json_object_size(line), 9);
    const struct {
        const char *key;
        double value;
    } member[] = {{"train_loss", row->train_loss},
                  {"train_acc", row->train_acc},
                  {"valid_loss", row->valid_loss},
                  {"valid_acc", row->valid_acc},
                  {"lr", row->lr},
                  {"seconds", row->seconds},
                  {"train_img_per_s", row->train_img_per_s}};
    for (size_t i = 0; i < KN_COUNT(member); i++) {
        json_t *value = json_object_get(line, member[i].key);
        if (isnan(member[i].value))
            assert_true(json_is_null(value));
        else
            assert_true(fabs(json_number_value(value) - member[i].value) <=
                        1e-8 * fabs(member[i].value));
    }
}

static void the_history_is_kept_as_json(void **state) {
    (void)state;
    char folder[] = "/tmp/kiln-stopping-XXXXXX", path[64], command[64];
    assert_non_null(mkdtemp(folder));
    for (int validated = 0; validated < 2; validated++) {
        run r;
        run_init(&r);
        if (!validated)
            r.l->loaders.valid = NULL;
        kn_learner_add(r.l, kn_track_results_cb(r.ctx));
        kn_learner_add(r.l, kn_recorder_cb(r.ctx, (kn_recorder_opts){.folder = folder}));
        assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
        int rows;
        const kn_history_row *row = kn_recorder_rows(r.l, &rows);
        snprintf(path, sizeof path, "%s/log.jsonl", folder);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        char text[1024];
        int lines = 0;
        for (; fgets(text, sizeof text, f) != NULL; lines++) {
            json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
            assert_non_null(line);
            assert_true(lines < rows);
            check_line(line, &row[lines]);
            json_decref(line);
        }
        assert_int_equal(lines, 3);
        fclose(f);
        run_free(&r);
    }
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fit_that_gets_no_better_stops),
        cmocka_unit_test(accuracy_may_be_monitored),
        cmocka_unit_test(early_stopping_says_what_it_needs),
        cmocka_unit_test(a_loss_that_is_no_number_fails_the_fit),
        cmocka_unit_test(nothing_that_went_wrong_is_saved),
        cmocka_unit_test(the_weights_stay_numbers),
        cmocka_unit_test(it_says_where_it_began),
        cmocka_unit_test(the_history_is_kept_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
