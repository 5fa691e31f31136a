/* test_step_callbacks.c - the callbacks around a step: the schedule, clipping, accumulation and the
 * average of the weights. */
#include "support/check.h"
#include "support/counted.h"
#include "support/made_data.h"
#include "support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 1024, STEPS = 64 };

/* ---- reading a model ---- */

/* All parameters' values, or gradients, then with buffers the f32 buffers. Returns how many. */
static int read_model(kn_module *m, bool grads, bool buffers, float *out) {
    kn_ctx *ctx = kn_module_ctx(m);
    kn_named_list all;
    int at = 0;
    assert_int_equal(kn_module_state_list(m, &all), KN_OK);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < all.count; i++) {
            kn_param *p = all.item[i].param;
            kn_tensor *t = p == NULL ? all.item[i].buffer
                           : grads   ? kn_param_grad(p)
                                     : kn_param_value(p);
            int n = (int)kn_tensor_numel(t);
            if ((p != NULL) != (pass == 0) || (pass == 1 && !buffers) ||
                kn_tensor_dtype(t) != KN_F32)
                continue;
            assert_true(at + n <= MOST);
            assert_int_equal(kn_tensor_read(ctx, t, out + at, (size_t)n * sizeof(float)), KN_OK);
            at += n;
        }
    kn_named_free(ctx, &all);
    return at;
}

static kn_optimizer *with_momentum(kn_module *m, double lr, void *user) {
    return kn_sgd(m, lr, (kn_sgd_opts){.momentum = *(double *)user});
}

/* ---- the schedule ---- */

typedef struct watcher {
    kn_callback base;
    double lr[STEPS], momentum[STEPS];
    int count;
} watcher;

static kn_flow watch_rate(kn_callback *cb, kn_learner *l) {
    watcher *w = (watcher *)cb;
    if (!l->training)
        return KN_GO;
    w->lr[w->count] = l->opt->lr;
    w->momentum[w->count++] = l->opt->group[0].momentum;
    return KN_GO;
}

static const kn_callback_class watcher_class = {.name = "watcher", .after_loss = watch_rate};

static bool there(const char *folder, const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    bool found = access(path, F_OK) == 0;
    unlink(path);
    return found;
}

/* Of SGD made without momentum it moves none, and then there is no chart of it. */
static void schedule_sets_rate_and_momentum(void **state) {
    (void)state;
    for (int with = 0; with < 2; with++) {
        char folder[] = "/tmp/kiln-schedule-XXXXXX";
        double momentum = with ? 0.9 : 0;
        run r;
        run_init(&r);
        assert_non_null(mkdtemp(folder));
        watcher w = {.base = {&watcher_class}};
        kn_schedule s = {.kind = KN_SCHED_ONE_CYCLE_COS, .warmup = 0.2};
        r.l->opt_fn = with_momentum;
        r.l->opt_user = &momentum;
        kn_learner_add(r.l, kn_schedule_cb(r.ctx, s));
        kn_learner_add(r.l, kn_track_results_cb(r.ctx));
        kn_learner_add(r.l, kn_recorder_cb(r.ctx, (kn_recorder_opts){.folder = folder}));
        kn_learner_add(r.l, &w.base);
        assert_int_equal(kn_learner_fit(r.l, 5), KN_OK);
        assert_int_equal(w.count, 10);
        for (int i = 0; i < 10; i++) {
            assert_true(w.lr[i] == kn_schedule_lr(&s, 0.1, i / 10.0));
            assert_true(w.momentum[i] == (with ? kn_schedule_momentum(&s, i / 10.0) : 0));
        }
        assert_int_equal(there(folder, "momentum.svg"), with);
        assert_true(there(folder, "schedule.svg") && there(folder, "loss.svg") &&
                    there(folder, "accuracy.svg") && there(folder, "history.csv") &&
                    there(folder, "log.jsonl"));
        assert_int_equal(rmdir(folder), 0);
        run_free(&r);
    }
}

/* ---- clipping ---- */

typedef struct grabber {
    kn_callback base;
    float grad[STEPS][MOST];
    int count, numbers;
} grabber;

static kn_flow grab(kn_callback *cb, kn_learner *l) {
    grabber *g = (grabber *)cb;
    g->numbers = read_model(l->model, true, false, g->grad[g->count++]);
    return KN_GO;
}

static const kn_callback_class before_clip = {.name = "before", .order = 5, .before_step = grab};
static const kn_callback_class after_clip = {.name = "after", .order = 15, .before_step = grab};

static double norm_of(const float *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

/* torch.nn.utils.clip_grad_norm_: times min(1, most / (norm + 1e-6)). */
static void check_clip(const char *device, double most) {
    static grabber before, after;
    run r;
    run_init(&r);
    kn_device_use(r.ctx, kn_device_open(r.ctx, device));
    before = (grabber){.base = {&before_clip}};
    after = (grabber){.base = {&after_clip}};
    kn_learner_add(r.l, kn_clip_cb(r.ctx, most));
    kn_learner_add(r.l, &before.base);
    kn_learner_add(r.l, &after.base);
    assert_true(isnan(kn_clip_norm(r.l)));
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    assert_int_equal(before.count, 4);
    for (int i = 0; i < 4; i++) {
        double norm = norm_of(before.grad[i], before.numbers);
        double factor = fmin(1, most / (norm + 1e-6));
        assert_true(norm > 0);
        for (int k = 0; k < before.numbers; k++)
            assert_true(fabs(after.grad[i][k] - factor * before.grad[i][k]) <= 1e-7 * norm);
        if (i == 3)
            assert_true(fabs(kn_clip_norm(r.l) - norm) <= 1e-9 * norm);
    }
    run_free(&r);
}

static void clipping_shortens_the_gradients_together(void **state) {
    (void)state;
    check_clip(test_device(), 1e-3);
    check_clip("reference", 1e-3);
    check_clip(test_device(), 1e6);
    check_clip("reference", 1e6);
}

/* ---- accumulation ---- */

/* Fits the tiny model on 12 pictures in batches of that size. */
static kn_results fit_in_batches(int size, int accumulate, int epochs, float *weights,
                                 int64_t *steps) {
    run r;
    run_init(&r);
    kn_dataset *data = made_data(12, SIDE, CLASSES);
    kn_loader *own = kn_loader_new(r.ctx, data, size, (kn_loader_opts){.workers = 1});
    r.l->loaders.train = own;
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    if (accumulate > 1)
        assert_int_equal(kn_learner_add(r.l, kn_accumulate_cb(r.ctx, accumulate)), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, epochs), KN_OK);
    read_model(r.model, false, false, weights);
    *steps = r.l->opt->steps;
    kn_results results = kn_track_results(r.l, true);
    kn_loader_free(own);
    kn_dataset_free(data);
    run_free(&r);
    return results;
}

static void accumulated_batches_are_one_large_one(void **state) {
    (void)state;
    float large[MOST] = {0}, small[MOST] = {0};
    int64_t steps;
    kn_results want = fit_in_batches(6, 1, 3, large, &steps);
    assert_int_equal(steps, 6);
    kn_results got = fit_in_batches(2, 3, 3, small, &steps);
    assert_int_equal(steps, 6);
    for (int i = 0; i < MOST; i++)
        assert_true(fabsf(large[i] - small[i]) <= 1e-6f);
    assert_true(norm_of(large, MOST) > 0);
    /* The loss that others see is not the share that backward starts from. */
    assert_true(fabs(want.loss - got.loss) <= 1e-6);
}

/* 12 pictures in batches of 5, 5 and 2, two batches to a step: what an epoch leaves goes on, what
 * the fit leaves makes a step. */
static void what_an_epoch_leaves_waits(void **state) {
    (void)state;
    float weights[MOST];
    int64_t steps;
    fit_in_batches(5, 2, 1, weights, &steps);
    assert_int_equal(steps, 2); /* 10, 2 */
    fit_in_batches(5, 2, 2, weights, &steps);
    assert_int_equal(steps, 3); /* 10, 2 + 5 + 5, 2 */
    fit_in_batches(5, 100, 1, weights, &steps);
    assert_int_equal(steps, 1); /* 12 */
}

/* ---- the average of the weights ---- */

typedef struct follower {
    kn_callback base;
    bool buffers;
    float raw[STEPS][MOST]; /* the weights after each step */
    double average[MOST];
    int count, numbers, validations;
    double decay;
} follower;

static kn_flow follow_begin(kn_callback *cb, kn_learner *l) {
    follower *f = (follower *)cb;
    float now[MOST];
    f->numbers = read_model(l->model, false, f->buffers, now);
    for (int i = 0; i < f->numbers && l->epoch == 0; i++)
        f->average[i] = now[i];
    if (l->epoch > 0) /* the raw weights are back */
        assert_memory_equal(now, f->raw[f->count - 1], (size_t)f->numbers * sizeof *now);
    return KN_GO;
}

static kn_flow follow_step(kn_callback *cb, kn_learner *l) {
    follower *f = (follower *)cb;
    float *now = f->raw[f->count];
    kn_module_free(kn_dropout(l->ctx, 0.5)); /* no module of the model: it changes nothing */
    read_model(l->model, false, f->buffers, now);
    double t = ++f->count, decay = fmin(f->decay, (1 + t) / (10 + t));
    for (int i = 0; i < f->numbers; i++)
        f->average[i] += (1 - decay) * (now[i] - f->average[i]);
    return KN_GO;
}

static void check_average(const follower *f, kn_module *m) {
    float now[MOST];
    read_model(m, false, f->buffers, now);
    for (int i = 0; i < f->numbers; i++)
        assert_true(fabs(now[i] - f->average[i]) <= 1e-6);
}

static kn_flow follow_validation(kn_callback *cb, kn_learner *l) {
    check_average((follower *)cb, l->model);
    ((follower *)cb)->validations++;
    return KN_GO;
}

static const kn_callback_class alone = {
    .name = "follower", .order = 100, .before_train = follow_begin, .after_step = follow_step};
static const kn_callback_class beside_ema = {.name = "follower",
                                             .order = 100,
                                             .before_train = follow_begin,
                                             .after_step = follow_step,
                                             .before_validate = follow_validation};

/* A model with batch norm in the tiny one's place. */
static void run_init_norm(run *r) {
    run_init(r);
    kn_module_free(r->model);
    r->model = kn_sequential(r->ctx, kn_conv_layer(r->ctx, 3, 4, (kn_conv_opts){.stride = 2}),
                             kn_batch_norm(r->ctx, 4, (kn_batch_norm_opts){0}),
                             kn_adaptive_pool(r->ctx), kn_linear(r->ctx, 4, CLASSES));
    r->l->model = r->model;
}

/* Validation and what follows see the averages, of batch norm's statistics too; training goes on
 * with the raw weights and takes the steps it would take without. A second fit starts from the
 * averages, as from any other weights. */
static void averages_are_validated_and_kept(void **state) {
    (void)state;
    static follower plain, averaged;
    run r;
    run_init_norm(&r);
    plain = (follower){.base = {&alone}, .buffers = true};
    kn_learner_add(r.l, &plain.base);
    assert_int_equal(kn_learner_fit(r.l, 4), KN_OK);
    run_free(&r);

    run_init_norm(&r);
    averaged = (follower){.base = {&beside_ema}, .buffers = true, .decay = 0.5};
    kn_learner_add(r.l, &averaged.base);
    kn_learner_add(r.l, kn_ema_cb(r.ctx, averaged.decay));
    assert_int_equal(kn_learner_fit(r.l, 4), KN_OK);
    assert_int_equal(averaged.count, 8);
    assert_int_equal(averaged.validations, 4);
    assert_memory_equal(plain.raw, averaged.raw, sizeof plain.raw);
    check_average(&averaged, r.model);
    assert_true(fabs(averaged.average[0] - plain.raw[7][0]) > 1e-6);

    assert_int_equal(kn_learner_validate(r.l), KN_OK);
    check_average(&averaged, r.model);
    averaged.count = averaged.validations = 0;
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    assert_int_equal(averaged.validations, 2);
    check_average(&averaged, r.model);
    run_free(&r);
}

static kn_flow stop_in_training(kn_callback *cb, kn_learner *l) {
    (void)cb;
    return l->training && l->epoch == 1 ? KN_CANCEL_FIT : KN_GO;
}

static const kn_callback_class stopper_class = {
    .name = "stopper", .order = 200, .after_batch = stop_in_training};

/* A parameter more in the middle of the run moves all others in the flat buffers. */
static kn_flow grow(kn_callback *cb, kn_learner *l) {
    (void)cb;
    kn_module *first = kn_module_child_at(l->model, 0);
    if (l->epoch == 0)
        assert_non_null(kn_module_param(first, "more", KN_SHAPE(20)));
    return KN_GO;
}

static const kn_callback_class grower_class = {
    .name = "grower", .order = 300, .before_validate = grow};

static void averages_are_kept_by_a_cancelled_fit(void **state) {
    (void)state;
    static follower averaged;
    run r;
    run_init_norm(&r);
    kn_callback stopper = {&stopper_class};
    averaged = (follower){.base = {&beside_ema}, .buffers = true, .decay = 0.9};
    kn_learner_add(r.l, &averaged.base);
    kn_learner_add(r.l, &stopper);
    kn_learner_add(r.l, kn_ema_cb(r.ctx, averaged.decay));
    assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
    assert_int_equal(averaged.count, 3);
    check_average(&averaged, r.model);
    run_free(&r);
}

/* Raw weights and averages follow their parameters; the numbers do not change. */
static void averages_outlast_repacking(void **state) {
    (void)state;
    float model[2][MOST] = {{0}};
    int numbers[2];
    for (int i = 0; i < 2; i++) {
        run r;
        run_init(&r);
        kn_callback grower = {&grower_class};
        kn_learner_add(r.l, kn_ema_cb(r.ctx, 0.5));
        if (i == 1)
            kn_learner_add(r.l, &grower);
        assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
        numbers[i] = read_model(r.model, false, false, model[i]);
        run_free(&r);
    }
    assert_int_equal(numbers[1], numbers[0] + 20);
    int head = 4 * 3 * 9 + 4; /* the convolution's own; then come the new ones */
    assert_memory_equal(model[0], model[1], (size_t)head * sizeof(float));
    assert_memory_equal(model[0] + head, model[1] + head + 20,
                        (size_t)(numbers[0] - head) * sizeof(float));
}

/* ---- what a checkpoint must know ---- */

static kn_status name_tensor(void *user, const char *name, kn_tensor *t) {
    char *names = user;
    snprintf(names + strlen(names), MOST - strlen(names), "%s[%d] ", name, (int)kn_tensor_numel(t));
    return KN_OK;
}

static kn_status name_integers(void *user, const char *name, int64_t *value, int count) {
    char *names = user;
    assert_int_equal(count, 1);
    snprintf(names + strlen(names), MOST - strlen(names), "%s=%d ", name, (int)*value);
    return KN_OK;
}

static void callbacks_show_their_state(void **state) {
    (void)state;
    char names[MOST] = "";
    const kn_state_visitor visitor = {
        .tensor = name_tensor, .integers = name_integers, .user = names};
    run r;
    run_init_norm(&r);
    kn_callback *ema = kn_ema_cb(r.ctx, 0.9), *accumulate = kn_accumulate_cb(r.ctx, 2);
    kn_learner_add(r.l, ema);
    kn_learner_add(r.l, accumulate);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    assert_int_equal(ema->cls->state(ema, r.l, &visitor), KN_OK);
    assert_int_equal(accumulate->cls->state(accumulate, r.l, &visitor), KN_OK);
    assert_string_equal(names,
                        "ema_updates=2 ema_steps=2 ema_placed=1 ema[192] "
                        "ema.layers.1.running_mean[4] ema.layers.1.running_var[4] accumulated=0 ");
    run_free(&r);
}

/* ---- memory ---- */

/* A fit with all of them; false when something failed. */
static bool fit_with_all(kn_ctx *ctx, kn_dataset *data) {
    kn_normalize norm = {{.5f, .5f, .5f}, {.25f, .25f, .25f}};
    kn_loaders loaders = {kn_loader_new(ctx, data, BATCH, (kn_loader_opts){.workers = 1}),
                          kn_loader_new(ctx, data, BATCH, (kn_loader_opts){.workers = 1})};
    kn_module *model = kn_sequential(ctx, kn_conv_layer(ctx, 3, 4, (kn_conv_opts){.stride = 2}),
                                     kn_batch_norm(ctx, 4, (kn_batch_norm_opts){0}),
                                     kn_adaptive_pool(ctx), kn_linear(ctx, 4, CLASSES));
    kn_learner *l =
        kn_learner_new(ctx, (kn_learner_opts){.model = model, .loaders = loaders, .lr = 0.1});
    kn_learner_add(l, kn_setup_cb(ctx, &norm));
    kn_learner_add(l, kn_schedule_cb(ctx, (kn_schedule){.kind = KN_SCHED_COSINE}));
    kn_learner_add(l, kn_accumulate_cb(ctx, 2));
    kn_learner_add(l, kn_clip_cb(ctx, 0.1));
    kn_learner_add(l, kn_ema_cb(ctx, 0.9));
    bool good = kn_learner_fit(l, 2) == KN_OK;
    kn_learner_free(l);
    kn_module_free(model);
    kn_loader_free(loaders.train);
    kn_loader_free(loaders.valid);
    return good;
}

/* Each allocation in turn is refused: that is said, and nothing leaks. */
static void without_memory_a_fit_fails_and_says_so(void **state) {
    (void)state;
    kn_dataset *data = made_data(TRAIN, SIDE, CLASSES);
    bool refused = true;
    for (long nth = 1; refused; nth++) {
        counted c = {0};
        kn_ctx *ctx = counted_ctx(&c, test_device());
        c.fail_at = c.made + nth;
        bool good = fit_with_all(ctx, data);
        refused = c.refused > 0;
        c.fail_at = 0;
        assert_true(good || refused);
        if (!good)
            check_error(ctx, KN_ERR_MEMORY, "memory");
        counted_ctx_free(&c, ctx);
    }
    kn_dataset_free(data);
}

/* ---- refusals ---- */

static void nonsense_is_refused(void **state) {
    (void)state;
    run r;
    run_init(&r);
    assert_null(kn_clip_cb(r.ctx, 0));
    check_error(r.ctx, KN_ERR_ARG, "clip: to a norm of 0");
    assert_null(kn_clip_cb(r.ctx, NAN));
    check_error(r.ctx, KN_ERR_ARG, "clip");
    assert_null(kn_accumulate_cb(r.ctx, 0));
    check_error(r.ctx, KN_ERR_ARG, "accumulate: 0 batches");
    assert_null(kn_ema_cb(r.ctx, 1));
    check_error(r.ctx, KN_ERR_ARG, "ema: decay 1");
    assert_null(kn_schedule_cb(r.ctx, (kn_schedule){.warmup = 1}));
    check_error(r.ctx, KN_ERR_ARG, "schedule: kind 0, warmup 1");
    assert_null(kn_schedule_cb(r.ctx, (kn_schedule){.momentum_high = 1}));
    check_error(r.ctx, KN_ERR_ARG, "schedule");
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule_sets_rate_and_momentum),
        cmocka_unit_test(clipping_shortens_the_gradients_together),
        cmocka_unit_test(accumulated_batches_are_one_large_one),
        cmocka_unit_test(what_an_epoch_leaves_waits),
        cmocka_unit_test(averages_are_validated_and_kept),
        cmocka_unit_test(averages_are_kept_by_a_cancelled_fit),
        cmocka_unit_test(averages_outlast_repacking),
        cmocka_unit_test(callbacks_show_their_state),
        cmocka_unit_test(without_memory_a_fit_fails_and_says_so),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
