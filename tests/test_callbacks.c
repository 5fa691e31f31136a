/* test_callbacks.c - what a run leaves: gradients across cancelled scopes, results, history, files.
 */
#include "support/check.h"
#include "support/made_data.h"
#include "support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- gradients across steps ---- */

static kn_flow cancel_step(kn_callback *cb, kn_learner *l) {
    (void)cb;
    (void)l;
    return KN_CANCEL_STEP;
}

typedef struct grabber {
    kn_callback base;
    float grad[2][4];
    int count;
} grabber;

static kn_flow grab(kn_callback *cb, kn_learner *l) {
    grabber *g = (grabber *)cb;
    kn_named_list all;
    assert_int_equal(kn_module_parameters(l->model, &all), KN_OK);
    kn_param *bias = all.item[1].param; /* of the convolution, [4] */
    if (g->count < 2)
        assert_int_equal(kn_tensor_read(l->ctx, kn_param_grad(bias), g->grad[g->count], 16), KN_OK);
    g->count++;
    kn_named_free(l->ctx, &all);
    return KN_GO;
}

static kn_flow cancel_batch(kn_callback *cb, kn_learner *l) {
    (void)cb;
    (void)l;
    return KN_CANCEL_BATCH;
}

static const kn_callback_class accumulate = {.name = "accumulate", .before_step = cancel_step};
static const kn_callback_class drop = {.name = "drop", .before_step = cancel_batch};
static const kn_callback_class grab_class = {.name = "grab", .order = -1, .after_backward = grab};

static void test_cancelled_step_accumulates(void **state) {
    (void)state;
    float grad[2][2][4];
    const kn_callback_class *cls[2] = {&accumulate, &drop};
    for (int i = 0; i < 2; i++) {
        run r;
        run_init(&r);
        grabber g = {.base = {&grab_class}};
        kn_callback cb = {cls[i]};
        kn_learner_add(r.l, &g.base);
        kn_learner_add(r.l, &cb);
        assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
        assert_int_equal(g.count, 2);
        memcpy(grad[i], g.grad, sizeof g.grad);
        assert_int_equal(r.l->opt->steps, 0);
        run_free(&r);
    }
    /* No step was taken, so the second batch alone gives the same gradient in both runs. */
    for (int k = 0; k < 4; k++) {
        assert_true(grad[0][0][k] == grad[1][0][k]);
        assert_true(fabsf(grad[0][1][k] - (grad[0][0][k] + grad[1][1][k])) < 1e-6f);
    }
    assert_true(grad[0][0][0] != 0 || grad[0][0][1] != 0);
}

/* ---- validation ---- */

static void test_validation_changes_nothing(void **state) {
    (void)state;
    run r;
    run_init(&r);
    char before[65], after[65];
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    assert_int_equal(kn_weights_sha256(r.model, before), KN_OK);
    assert_int_equal(kn_learner_validate(r.l), KN_OK);
    assert_int_equal(kn_weights_sha256(r.model, after), KN_OK);
    assert_string_equal(before, after);
    kn_results first = kn_track_results(r.l, false);
    assert_int_equal(first.samples, VALID);
    assert_int_equal(kn_learner_validate(r.l), KN_OK);
    assert_true(kn_track_results(r.l, false).loss == first.loss);
    run_free(&r);
}

/* ---- results, history, saving ---- */

typedef struct epochs {
    int rows;
    kn_history_row row[3];
} epochs;

static void on_epoch(void *user, const kn_history_row *row) {
    epochs *e = user;
    assert_true(e->rows < 3);
    e->row[e->rows++] = *row;
}

typedef struct written {
    char text[4096];
    size_t length;
} written;

static void write_text(void *user, const char *text, size_t length) {
    written *w = user;
    assert_true(w->length + length < sizeof w->text);
    memcpy(w->text + w->length, text, length);
    w->length += length;
}

static char *slurp(const char *folder, const char *file) {
    static char text[1 << 20];
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* The loss of the whole set as one batch, computed apart from the learner. */
static double loss_of_all(run *r, int count, double *acc) {
    uint8_t pixels[TRAIN * SIDE * SIDE * 3];
    int32_t labels[TRAIN];
    kn_dataset *ds = made_data(count, SIDE, CLASSES);
    for (int i = 0; i < count; i++) {
        kn_sample s = {.index = i, .slot = pixels + i * SIDE * SIDE * 3, .label = &labels[i]};
        assert_int_equal(ds->cls->get(ds, &s), KN_OK);
    }
    kn_dataset_free(ds);
    bool was = kn_grad_enable(r->ctx, false);
    kn_tensor *x = kn_from(r->ctx, KN_U8, KN_SHAPE(count, SIDE, SIDE, 3), pixels);
    kn_tensor *y = kn_from(r->ctx, KN_I32, KN_SHAPE(count), labels);
    kn_tensor *preds = kn_forward(r->model, kn_normalize_apply(r->ctx, &r->norm, x));
    double loss = kn_item(r->ctx, kn_cross_entropy(r->ctx, preds, y));
    kn_tensor *hits = kn_cast(r->ctx, kn_eq(r->ctx, kn_argmax(r->ctx, preds), y), KN_F32);
    *acc = kn_item(r->ctx, kn_mean(r->ctx, hits, KN_ALL, (kn_reduce_opts){0}));
    kn_grad_enable(r->ctx, was);
    kn_step_end(r->ctx);
    return loss;
}

static void test_results_history_and_files(void **state) {
    (void)state;
    run r;
    run_init(&r);
    char folder[] = "/tmp/kiln-learner-XXXXXX", line[256];
    assert_non_null(mkdtemp(folder));
    char *name[] = {"a", "b", "c"};
    kn_vocab vocab = {name, 3};
    kn_model_info info = {
        .arch = "tiny", .vocab = &vocab, .size = SIDE, .norm = &r.norm, .batch_size = BATCH};
    epochs e = {0};
    written w = {0};
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_one_cycle_cb(r.ctx, (kn_one_cycle_opts){0}));
    kn_learner_add(r.l, kn_recorder_cb(r.ctx, (kn_recorder_opts){folder, on_epoch, &e}));
    kn_learner_add(r.l, kn_save_model_cb(r.ctx, folder, &info));
    kn_learner_add(r.l, kn_progress_cb(r.ctx, (kn_progress_opts){.write = write_text, .user = &w}));
    assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
    double acc, loss = loss_of_all(&r, VALID, &acc);
    assert_int_equal(e.rows, 3);
    assert_true(fabs(e.row[2].valid_loss - loss) < 1e-6);
    assert_true(fabs(e.row[2].valid_acc - acc) < 1e-6);
    /* steps 0..5 of 6: pct 0, 1/6, ...; the last rate of each epoch is in its row */
    assert_true(fabs(e.row[2].lr - kn_one_cycle_lr(0.1, 5.0 / 6, (kn_one_cycle_opts){0})) < 1e-12);
    snprintf(line, sizeof line, "\n2,%.9g,%.9g,%.9g,%.9g,%.9g,", e.row[2].train_loss,
             e.row[2].train_acc, e.row[2].valid_loss, e.row[2].valid_acc, e.row[2].lr);
    assert_non_null(strstr(slurp(folder, "history.csv"), line));
    assert_non_null(strstr(slurp(folder, "loss.svg"), "</svg>"));
    assert_non_null(strstr(slurp(folder, "accuracy.svg"), "</svg>"));
    assert_non_null(strstr(slurp(folder, "schedule.svg"), "</svg>"));
    /* The last model is the one trained; the best is one of the three. */
    char now[65], loaded[65];
    assert_int_equal(kn_weights_sha256(r.model, now), KN_OK);
    snprintf(line, sizeof line, "%s/last.safetensors", folder);
    assert_int_equal(kn_weights_load(r.model, line), KN_OK);
    assert_int_equal(kn_weights_sha256(r.model, loaded), KN_OK);
    assert_string_equal(now, loaded);
    double best_acc;
    int best = kn_save_model_best(r.l, &best_acc);
    assert_true(best >= 0 && best < 3);
    for (int i = 0; i < 3; i++)
        assert_true(e.row[i].valid_acc < best_acc || (i >= best && e.row[i].valid_acc <= best_acc));
    snprintf(line, sizeof line, "%s/model.safetensors", folder);
    assert_int_equal(kn_weights_load(r.model, line), KN_OK);
    loss = loss_of_all(&r, VALID, &acc);
    assert_true(fabs(acc - best_acc) < 1e-6);
    /* Progress without a terminal: a head and a line an epoch, no control codes. */
    w.text[w.length] = '\0';
    assert_non_null(strstr(w.text, "epoch   train loss"));
    int lines = 0;
    for (const char *c = w.text; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 4);
    assert_null(strchr(w.text, '\r'));
    snprintf(line, sizeof line, "rm -rf %s", folder);
    assert_int_equal(system(line), 0);
    run_free(&r);
}

static void test_saving_where_one_cannot(void **state) {
    (void)state;
    run r;
    run_init(&r);
    char *name[] = {"a", "b", "c"};
    kn_vocab vocab = {name, 3};
    kn_model_info info = {
        .arch = "tiny", .vocab = &vocab, .size = SIDE, .norm = &r.norm, .batch_size = BATCH};
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_save_model_cb(r.ctx, "/nonexistent/folder", &info));
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_IO);
    assert_non_null(strstr(kn_error_take(r.ctx).message, "/nonexistent/folder/model.safetensors"));
    run_free(&r);
}

/* ---- more than one run ---- */

static void test_validation_after_a_fit_keeps_its_results(void **state) {
    (void)state;
    run r;
    run_init(&r);
    char folder[] = "/tmp/kiln-again-XXXXXX", line[256];
    assert_non_null(mkdtemp(folder));
    char *name[] = {"a", "b", "c"};
    kn_vocab vocab = {name, 3};
    kn_model_info info = {
        .arch = "tiny", .vocab = &vocab, .size = SIDE, .norm = &r.norm, .batch_size = BATCH};
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_recorder_cb(r.ctx, (kn_recorder_opts){0}));
    kn_learner_add(r.l, kn_save_model_cb(r.ctx, folder, &info));
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    assert_int_equal(r.l->epoch, 1); /* the last one begun */
    double acc;
    int rows, best = kn_save_model_best(r.l, &acc);
    assert_int_equal(kn_learner_validate(r.l), KN_OK);
    double same;
    assert_int_equal(kn_save_model_best(r.l, &same), best);
    assert_true(same == acc);
    assert_non_null(kn_recorder_rows(r.l, &rows));
    assert_int_equal(rows, 2);
    /* Without validation nothing is better or worse: the latest is kept. */
    r.l->loaders.valid = NULL;
    assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
    assert_int_equal(kn_save_model_best(r.l, NULL), 2);
    /* A file that could not be read again is not written. */
    info.batch_size = 0;
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_ARG);
    kn_error_take(r.ctx);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    assert_int_equal(system(line), 0);
    run_free(&r);
}

static void test_cancelled_steps_are_counted(void **state) {
    (void)state;
    run r;
    run_init(&r);
    kn_callback cb = {&accumulate};
    kn_learner_add(r.l, &cb);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    assert_int_equal(r.l->step, 4);
    assert_int_equal(r.l->opt->steps, 0);
    run_free(&r);
}

static kn_flow no_validation(kn_callback *cb, kn_learner *l) {
    (void)cb;
    (void)l;
    return KN_CANCEL_VALIDATE;
}

static const kn_callback_class no_validation_class = {
    .name = "no_validation", .order = -1000, .before_validate = no_validation};

/* Cancelled before the results began to be summed: none, and not the training's. */
static void test_no_validation_has_no_results(void **state) {
    (void)state;
    run r;
    run_init(&r);
    kn_callback cb = {&no_validation_class};
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    assert_int_equal(kn_learner_add(r.l, &cb), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    assert_int_equal(kn_track_results(r.l, true).samples, TRAIN);
    assert_true(isnan(kn_track_results(r.l, false).loss));
    assert_int_equal(kn_track_results(r.l, false).samples, 0);
    run_free(&r);
}

/* Without a validation loader the line shows none, though a validation went before. */
static void test_progress_without_validation(void **state) {
    (void)state;
    run r;
    written w = {0};
    run_init(&r);
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_progress_opts opts = {.write = write_text, .user = &w};
    assert_int_equal(kn_learner_add(r.l, kn_progress_cb(r.ctx, opts)), KN_OK);
    assert_int_equal(kn_learner_validate(r.l), KN_OK);
    r.l->loaders.valid = NULL;
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    w.text[w.length] = '\0';
    assert_non_null(strstr(w.text, "        nan        nan"));
    run_free(&r);
}

/* ---- the end of a fit ---- */

static kn_flow fail_at_the_end(kn_callback *cb, kn_learner *l) {
    (void)cb;
    kn_fail(l->ctx, KN_ERR_IO, "no room for what was learned");
    return KN_FAIL;
}

/* Who comes later takes his hooks off the model all the same. */
static void test_all_are_told_of_the_end(void **state) {
    (void)state;
    static const kn_callback_class failing = {
        .name = "failing", .order = -1000, .after_fit = fail_at_the_end};
    kn_callback cb = {&failing};
    run r;
    run_init(&r);
    assert_int_equal(kn_learner_add(r.l, &cb), KN_OK);
    assert_int_equal(kn_learner_add(r.l, kn_activation_stats_cb(r.ctx, (kn_activation_opts){0})),
                     KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_IO);
    check_error(r.ctx, KN_ERR_IO, "no room for what was learned");
    for (int i = 0; i < kn_module_child_count(r.model); i++)
        assert_false(kn_module_hooked(kn_module_child_at(r.model, i)));
    run_free(&r);
}

static kn_flow remove_nothing(kn_callback *cb, kn_learner *l) {
    assert_int_equal(kn_learner_remove(l, NULL), KN_ERR_STATE);
    check_error(l->ctx, KN_ERR_STATE, "callback NULL was removed during a fit");
    assert_int_equal(kn_learner_add(l, cb), KN_ERR_ARG);
    check_error(l->ctx, KN_ERR_ARG, "callback removing is there already");
    return KN_GO;
}

static void test_one_is_added_once(void **state) {
    (void)state;
    static const kn_callback_class removing = {.name = "removing", .after_batch = remove_nothing};
    kn_callback cb = {&removing};
    run r;
    run_init(&r);
    assert_int_equal(kn_learner_add(r.l, &cb), KN_OK);
    assert_int_equal(kn_learner_add(r.l, &cb), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "callback removing is there already");
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    assert_int_equal(kn_learner_remove(r.l, NULL), KN_OK);
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancelled_step_accumulates),
        cmocka_unit_test(test_validation_changes_nothing),
        cmocka_unit_test(test_results_history_and_files),
        cmocka_unit_test(test_saving_where_one_cannot),
        cmocka_unit_test(test_validation_after_a_fit_keeps_its_results),
        cmocka_unit_test(test_cancelled_steps_are_counted),
        cmocka_unit_test(test_no_validation_has_no_results),
        cmocka_unit_test(test_progress_without_validation),
        cmocka_unit_test(test_all_are_told_of_the_end),
        cmocka_unit_test(test_one_is_added_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
