/* test_checkpoint.c - a fit that is stopped after any batch and goes on from its checkpoint gives
 * the same bits as one that was not; and a checkpoint that is damaged, or of another training, is
 * refused with what is wrong. */
#include "support/check.h"
#include "support/counted.h"
#include "support/made_data.h"
#include "support/root.h"

#include "core/ctx.h"
#include "learner/checkpoint.h"

#include <kiln/kiln.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRAIN = 22, VALID = 5, BATCH = 4, BATCHES = 6, SIDE = 8, CLASSES = 3, EPOCHS = 3 };

typedef struct recipe {
    const char *name;
    int accumulate;
    double ema, mixup;
    kn_schedule_kind schedule;
    kn_optimizer *(*optimizer)(kn_module *model, double lr, void *user);
    bool fine_tune;
    int channels; /* 0: 4 */
} recipe;

static kn_optimizer *momentum(kn_module *model, double lr, void *user) {
    (void)user;
    return kn_sgd(model, lr, (kn_sgd_opts){.momentum = 0.9, .wd = 0.01});
}

static kn_optimizer *ranger(kn_module *model, double lr, void *user) {
    (void)user;
    return kn_ranger(model, lr, (kn_adam_opts){0});
}

static kn_optimizer *muon(kn_module *model, double lr, void *user) {
    (void)user;
    return kn_muon(model, lr, (kn_muon_opts){0});
}

static const recipe recipes[] = {
    {.name = "plain"},
    {"all of it", 3, 0.8, 0.4, KN_SCHED_ONE_CYCLE_COS, momentum, false, 0},
    {"ranger", 1, 0.9, 0, KN_SCHED_FLAT_COS, ranger, false, 0},
    {"muon", 1, 0, 0.4, KN_SCHED_COSINE, muon, false, 0},
    {"fine-tuned", 2, 0, 0, KN_SCHED_CONSTANT, momentum, true, 0},
};

/* ---- a training ---- */

typedef struct stopper {
    kn_callback base;
    int64_t after; /* so many batches of training; 0: never */
    int64_t seen;
} stopper;

static kn_flow stop(kn_callback *cb, kn_learner *l) {
    stopper *s = (stopper *)cb;
    s->seen += l->training;
    return l->training && s->seen == s->after ? KN_CANCEL_FIT : KN_GO;
}

static const kn_callback_class stopper_class = {
    .name = "stopper", .order = 1000, .after_batch = stop};

typedef struct training {
    kn_ctx *ctx;
    kn_dataset *train, *valid;
    kn_loaders loaders;
    kn_module *model;
    kn_normalize norm;
    kn_model_info info;
    kn_vocab vocab;
    kn_predictions best;
    stopper stopper;
    kn_learner *l;
} training;

static kn_module *net(kn_ctx *ctx, int channels) {
    return kn_sequential(ctx, kn_conv_layer(ctx, 3, channels, (kn_conv_opts){.stride = 2}),
                         kn_batch_norm(ctx, channels, (kn_batch_norm_opts){0}),
                         kn_dropout(ctx, 0.1), kn_adaptive_pool(ctx),
                         kn_linear(ctx, channels, CLASSES));
}

static void add_callbacks(training *t, const recipe *r, const char *folder, double every) {
    static const char *const names[] = {"a", "b", "c"};
    kn_ctx *ctx = t->ctx;
    assert_int_equal(kn_vocab_from(ctx, names, CLASSES, &t->vocab), KN_OK);
    t->info =
        (kn_model_info){.vocab = &t->vocab, .size = SIDE, .norm = &t->norm, .batch_size = BATCH};
    kn_learner_add(t->l, kn_setup_cb(ctx, &t->norm));
    kn_learner_add(t->l, kn_track_results_cb(ctx));
    kn_learner_add(t->l, kn_recorder_cb(ctx, (kn_recorder_opts){.folder = folder}));
    kn_learner_add(t->l, kn_activation_stats_cb(ctx, (kn_activation_opts){.every = 2}));
    kn_learner_add(t->l, kn_save_model_cb(ctx, folder, &t->info));
    kn_learner_add(t->l, kn_predictions_cb(ctx, (kn_predictions_opts){0}, &t->best));
    kn_learner_add(t->l, kn_early_stopping_cb(ctx, (kn_early_stopping_opts){.patience = 2}));
    if (r->fine_tune)
        kn_learner_add(t->l, kn_fine_tune_cb(ctx, (kn_fine_tune_opts){0}));
    else
        kn_learner_add(t->l, kn_schedule_cb(ctx, (kn_schedule){.kind = r->schedule}));
    if (r->accumulate > 1)
        kn_learner_add(t->l, kn_accumulate_cb(ctx, r->accumulate));
    if (r->ema > 0)
        kn_learner_add(t->l, kn_ema_cb(ctx, r->ema));
    if (r->mixup > 0)
        kn_learner_add(t->l, kn_mixup_cb(ctx, r->mixup));
    kn_learner_add(t->l, &t->stopper.base);
    kn_learner_add(t->l,
                   kn_checkpoint_cb(ctx, (kn_checkpoint_opts){.folder = folder, .every = every}));
}

static void open_training(training *t, const recipe *r, const char *folder, int64_t stop_after,
                          int workers) {
    *t = (training){.norm = {{.5f, .5f, .5f}, {.25f, .25f, .25f}},
                    .stopper = {.base = {&stopper_class}, .after = stop_after}};
    assert_int_equal(kn_ctx_new(&t->ctx, (kn_ctx_opts){.seed = 7, .threads = 1}, NULL), KN_OK);
    t->train = made_data(TRAIN, SIDE, CLASSES);
    t->valid = made_data(VALID, SIDE, CLASSES);
    t->loaders.train = kn_loader_new(t->ctx, t->train, BATCH,
                                     (kn_loader_opts){.workers = workers, .shuffle = true});
    t->loaders.valid = kn_loader_new(t->ctx, t->valid, BATCH, (kn_loader_opts){.workers = workers});
    t->model = net(t->ctx, r->channels > 0 ? r->channels : 4);
    if (r->fine_tune)
        assert_int_equal(kn_module_split(t->model, (const char *const[]){"layers.4"}, 1), KN_OK);
    t->l = kn_learner_new(
        t->ctx, (kn_learner_opts){
                    .model = t->model, .loaders = t->loaders, .opt_fn = r->optimizer, .lr = 0.05});
    add_callbacks(t, r, folder, 0);
    check_good(t->ctx, r->name);
}

static void close_training(training *t) {
    kn_learner_free(t->l);
    kn_predictions_free(t->ctx, &t->best);
    kn_loader_free(t->loaders.train);
    kn_loader_free(t->loaders.valid);
    kn_dataset_free(t->train);
    kn_dataset_free(t->valid);
    kn_module_free(t->model);
    kn_vocab_free(t->ctx, &t->vocab);
    kn_ctx_free(t->ctx);
}

/* ---- what a training gives ---- */

typedef struct outcome {
    char weights[65];
    kn_history_row row[EPOCHS];
    int rows, best_epoch, stopped_at;
    int32_t predicted[VALID];
    double means[64]; /* of activations */
    int records;
} outcome;

static void take_outcome(training *t, outcome *o) {
    memset(o, 0, sizeof *o);
    assert_int_equal(kn_weights_sha256(t->model, o->weights), KN_OK);
    const kn_history_row *row = kn_recorder_rows(t->l, &o->rows);
    for (int i = 0; i < o->rows; i++) {
        o->row[i] = row[i];
        o->row[i].seconds = o->row[i].train_img_per_s = 0; /* of the clock */
    }
    o->best_epoch = kn_save_model_best(t->l, NULL);
    o->stopped_at = kn_early_stopping_at(t->l);
    for (int64_t i = 0; i < t->best.samples; i++)
        o->predicted[i] = t->best.predicted[i];
    kn_activations a = kn_activation_stats(t->l);
    o->records = a.records;
    for (int i = 0; i < a.records * a.layers && i < 64; i++)
        o->means[i] = a.mean[i];
}

static void run_through(const recipe *r, const char *folder, outcome *o) {
    training t;
    open_training(&t, r, folder, 0, 1);
    assert_int_equal(kn_learner_fit(t.l, EPOCHS), KN_OK);
    take_outcome(&t, o);
    kn_checkpoint_report report = kn_checkpoint_cb_report(t.l);
    assert_int_equal(report.failed, 0);
    assert_true(report.written >= BATCHES);
    close_training(&t);
}

/* Stops after that batch, then goes on in another context with other loader threads; again after
 * each `again` batches more, if that is not 0. */
static void run_in_parts(const recipe *r, const char *folder, int64_t after, int64_t again,
                         outcome *o) {
    training t;
    bool stopped = true;
    open_training(&t, r, folder, after, 2);
    assert_int_equal(kn_learner_fit(t.l, EPOCHS), KN_OK);
    close_training(&t);
    while (stopped) {
        kn_checkpoint *c;
        kn_error error = {0};
        assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_OK);
        assert_non_null(c);
        kn_checkpoint_place place = kn_checkpoint_at(c);
        assert_int_equal(place.batches, BATCHES);
        open_training(&t, r, folder, again, 3);
        assert_int_equal(kn_learner_resume(t.l, c), KN_OK);
        if (kn_learner_fit(t.l, EPOCHS) != KN_OK)
            check_good(t.ctx, r->name);
        stopped = again > 0 && t.stopper.seen == again;
        take_outcome(&t, o);
        close_training(&t);
        kn_checkpoint_close(c);
    }
}

static void folder_of(char path[TREE_PATH + 32], const char *name) {
    snprintf(path, TREE_PATH + 32, "%s/%s", root, name);
    tree_folder(root, name);
}

static void stopped_anywhere_it_gives_the_same(void **state) {
    (void)state;
    char whole[TREE_PATH + 32], parts[TREE_PATH + 32];
    folder_of(whole, "whole");
    folder_of(parts, "parts");
    for (size_t i = 0; i < KN_COUNT(recipes); i++) {
        static outcome want, got;
        run_through(&recipes[i], whole, &want);
        int64_t batches = (int64_t)want.rows * BATCHES;
        for (int64_t after = 1; after < batches; after++) {
            run_in_parts(&recipes[i], parts, after, 0, &got);
            if (memcmp(&got, &want, sizeof want) != 0)
                fail_msg("%s, stopped after batch %d: weights %.8s, expected %.8s; %d rows of %d",
                         recipes[i].name, (int)after, got.weights, want.weights, got.rows,
                         want.rows);
        }
        run_in_parts(&recipes[i], parts, 2, 4, &got); /* and stopped again and again */
        assert_memory_equal(&got, &want, sizeof want);
    }
}

/* ---- step by step ---- */

static void a_fit_step_by_step_goes_on_too(void **state) {
    (void)state;
    char folder[TREE_PATH + 32];
    outcome want, got;
    training t;
    folder_of(folder, "steps");
    run_through(&recipes[1], folder, &want);
    open_training(&t, &recipes[1], folder, 8, 1);
    assert_int_equal(kn_learner_fit(t.l, EPOCHS), KN_OK);
    close_training(&t);
    kn_checkpoint *c;
    bool trained = true;
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, NULL), KN_OK);
    open_training(&t, &recipes[1], folder, 0, 1);
    assert_int_equal(kn_learner_resume(t.l, c), KN_OK);
    assert_int_equal(kn_learner_begin(t.l, EPOCHS), KN_OK);
    while (trained)
        assert_int_equal(kn_learner_step(t.l, &trained), KN_OK);
    take_outcome(&t, &got);
    assert_memory_equal(&got, &want, sizeof want);
    close_training(&t);
    kn_checkpoint_close(c);
}

/* ---- generations ---- */

static void put_byte(const char *path, long at, int change) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(c ^ change, f);
    assert_int_equal(fclose(f), 0);
}

static void stop_after(const char *folder, int64_t batch) {
    training t;
    open_training(&t, &recipes[1], folder, batch, 1);
    assert_int_equal(kn_learner_fit(t.l, EPOCHS), KN_OK);
    close_training(&t);
}

static void the_previous_takes_a_damaged_ones_place(void **state) {
    (void)state;
    char folder[TREE_PATH + 32], last[TREE_PATH + 64], path[TREE_PATH + 64];
    kn_checkpoint *c;
    kn_error error = {0};
    folder_of(folder, "generations");
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_OK);
    assert_null(c); /* there is none */
    stop_after(folder, 5);
    snprintf(last, sizeof last, "%s/last.ckpt", folder);
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_OK);
    assert_int_equal(kn_checkpoint_at(c).batch, 5);
    assert_null(kn_checkpoint_passed_over(c));
    kn_checkpoint_close(c);
    put_byte(last, -1, 1); /* one bit of the last number */
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_OK);
    assert_int_equal(kn_checkpoint_at(c).batch, 4);
    check_contains(kn_checkpoint_passed_over(c), "last.ckpt: damaged");
    check_contains(kn_checkpoint_path(c), "previous.ckpt");
    kn_checkpoint_close(c);
    snprintf(path, sizeof path, "%s/previous.ckpt", folder);
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_ERR_FORMAT);
    check_contains(error.message, "last.ckpt: damaged");
    assert_null(c);
    /* A stop between two renames. */
    put_byte(last, -1, 1);
    snprintf(path, sizeof path, "%s/next.ckpt", folder);
    assert_int_equal(rename(last, path), 0);
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_OK);
    check_contains(kn_checkpoint_path(c), "next.ckpt");
    kn_checkpoint_close(c);
}

/* Every byte of a checkpoint counts: one bit more or less anywhere, and it is not taken. */
static void no_damage_goes_unseen(void **state) {
    (void)state;
    char folder[TREE_PATH + 32], path[TREE_PATH + 64];
    kn_checkpoint *c;
    folder_of(folder, "damage");
    stop_after(folder, 1);
    snprintf(path, sizeof path, "%s/last.ckpt", folder);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fclose(f);
    for (long at = 0; at < size; at += 1 + at % 7) {
        put_byte(path, at, 1 << at % 8);
        kn_status status = kn_checkpoint_open(&c, folder, NULL, NULL);
        if (status == KN_OK)
            fail_msg("a bit of byte %ld of %ld may change unseen", at, size);
        put_byte(path, at, 1 << at % 8);
    }
    for (long length = size - 1; length >= 0; length -= 1 + length / 50) {
        assert_int_equal(truncate(path, length), 0);
        assert_int_not_equal(kn_checkpoint_open(&c, folder, NULL, NULL), KN_OK);
    }
}

/* ---- of another training ---- */

static void expect_refusal(const char *folder, training *t, int epochs, const char *part) {
    kn_checkpoint *c;
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, NULL), KN_OK);
    assert_int_equal(kn_learner_resume(t->l, c), KN_OK);
    assert_int_equal(kn_learner_fit(t->l, epochs), KN_ERR_ARG);
    check_error(t->ctx, KN_ERR_ARG, part);
    close_training(t);
    kn_checkpoint_close(c);
}

static void another_training_is_refused(void **state) {
    (void)state;
    char folder[TREE_PATH + 32];
    training t;
    folder_of(folder, "other");
    stop_after(folder, 3);
    open_training(&t, &recipes[1], folder, 0, 1);
    expect_refusal(folder, &t, EPOCHS + 1, "with epochs: 3, this has 4");
    open_training(&t, &recipes[0], folder, 0, 1);
    expect_refusal(folder, &t, EPOCHS, "this one has no place for its ");
    open_training(&t, &recipes[2], folder, 0, 1);
    expect_refusal(folder, &t, EPOCHS, "of another training: it has no optimizer.");
    recipe wider = recipes[1];
    wider.channels = 5;
    open_training(&t, &wider, folder, 0, 1);
    expect_refusal(folder, &t, EPOCHS, "its model.layers.0.weight is f32 [4,3,3,3], not f32 [5,");
}

/* ---- failures ---- */

/* A folder that is gone: said once a checkpoint, and the training ends well. */
static void a_checkpoint_that_fails_ends_no_training(void **state) {
    (void)state;
    char folder[TREE_PATH + 32], gone[TREE_PATH + 64];
    training t;
    outcome want, got;
    folder_of(folder, "fails");
    run_through(&recipes[0], folder, &want);
    open_training(&t, &recipes[0], folder, 0, 1);
    snprintf(gone, sizeof gone, "%s/gone", folder);
    kn_learner_remove(t.l, kn_learner_find(t.l, "checkpoint"));
    kn_learner_add(t.l, kn_checkpoint_cb(t.ctx, (kn_checkpoint_opts){.folder = gone, .every = 0}));
    assert_int_equal(kn_learner_fit(t.l, EPOCHS), KN_OK);
    kn_checkpoint_report report = kn_checkpoint_cb_report(t.l);
    assert_int_equal(report.failed, want.rows * BATCHES);
    assert_true(report.last_failed);
    check_contains(report.reason, "gone/next.ckpt: cannot create: No such file");
    take_outcome(&t, &got);
    assert_memory_equal(&got, &want, sizeof want);
    close_training(&t);
}

/* Each allocation of reading one refused in turn. */
static void without_memory_reading_says_so(void **state) {
    (void)state;
    char folder[TREE_PATH + 32];
    folder_of(folder, "memory");
    stop_after(folder, 2);
    bool refused = true;
    for (long nth = 1; refused; nth++) {
        counted c = {.fail_at = nth};
        kn_allocator allocator = counted_allocator(&c);
        kn_checkpoint *checkpoint;
        kn_error error = {0};
        kn_status status = kn_checkpoint_open(&checkpoint, folder, &allocator, &error);
        refused = c.refused > 0;
        assert_int_equal(status, refused ? KN_ERR_MEMORY : KN_OK);
        kn_checkpoint_close(checkpoint);
        assert_int_equal(c.live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_anywhere_it_gives_the_same),
        cmocka_unit_test(a_fit_step_by_step_goes_on_too),
        cmocka_unit_test(the_previous_takes_a_damaged_ones_place),
        cmocka_unit_test(no_damage_goes_unseen),
        cmocka_unit_test(another_training_is_refused),
        cmocka_unit_test(a_checkpoint_that_fails_ends_no_training),
        cmocka_unit_test(without_memory_reading_says_so),
    };
    return cmocka_run_group_tests(tests, root_make, root_remove);
}
