/* test_checkpoint_odd.c - checkpoints at the edges: options out of range, folders with paths too
 * long, callbacks whose state grows, is empty, or is of two callbacks of one class; and files with
 * a right checksum that no training wrote. */
#include "support/check.h"
#include "support/root.h"
#include "support/tiny_run.h"

#include "core/ctx.h"
#include "core/file.h"
#include "learner/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCHS = 3 };

static void folder_of(char path[TREE_PATH + 32], const char *name) {
    snprintf(path, TREE_PATH + 32, "%s/%s", root, name);
    tree_folder(root, name);
}

static void save_into(run *r, const char *folder, int metas) {
    static const kn_st_meta meta[32];
    kn_checkpoint_opts opts = {.folder = folder, .meta = meta, .metas = metas};
    assert_int_equal(kn_learner_add(r->l, kn_checkpoint_cb(r->ctx, opts)), KN_OK);
}

/* ---- options ---- */

static void expect_refused(kn_ctx *ctx, kn_checkpoint_opts opts, const char *part) {
    assert_null(kn_checkpoint_cb(ctx, opts));
    check_error(ctx, KN_ERR_ARG, part);
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    run r;
    char path[KN_PATH_MAX + 1];
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    run_init(&r);
    expect_refused(r.ctx, (kn_checkpoint_opts){.folder = root, .every = -1}, "every -1 seconds");
    expect_refused(r.ctx, (kn_checkpoint_opts){.folder = root, .every = NAN}, "seconds");
    expect_refused(r.ctx, (kn_checkpoint_opts){0}, "needs a folder");
    expect_refused(r.ctx, (kn_checkpoint_opts){.folder = ""}, "needs a folder");
    expect_refused(r.ctx, (kn_checkpoint_opts){.folder = path}, "needs a folder");
    run_free(&r);
}

/* Each is a warning, and no end of the training. */
static void expect_unsaved(const char *folder, int metas, const char *part) {
    run r;
    run_init(&r);
    save_into(&r, folder, metas);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    kn_checkpoint_report report = kn_checkpoint_cb_report(r.l);
    assert_int_equal(report.written, 0);
    assert_true(report.failed > 0 && report.last_failed);
    check_contains(report.reason, part);
    run_free(&r);
}

static void what_cannot_be_saved_is_told(void **state) {
    (void)state;
    char path[KN_PATH_MAX];
    kn_checkpoint *c;
    kn_error error = {0};
    memset(path, 'a', sizeof path);
    path[sizeof path - 4] = '\0';
    expect_unsaved(path, 0, "the path is too long");
    expect_unsaved(root, 14, "14 words of metadata, the limit is 13");
    expect_unsaved(root, -1, "-1 words of metadata");
    assert_int_equal(kn_checkpoint_open(&c, path, NULL, &error), KN_OK); /* nothing is there */
    assert_null(c);
}

static void without_the_callback_there_is_nothing_to_report(void **state) {
    (void)state;
    run r;
    run_init(&r);
    assert_int_equal(kn_checkpoint_cb_report(r.l).written, 0);
    assert_int_equal(kn_learner_resume(NULL, NULL), KN_ERR_STATE);
    save_into(&r, root, 0);
    assert_int_equal(kn_learner_validate(r.l), KN_OK); /* nothing is trained, nothing is saved */
    assert_int_equal(kn_checkpoint_cb_report(r.l).written, 0);
    run_free(&r);
}

/* ---- states of callbacks ---- */

typedef struct memory {
    kn_callback base;
    int64_t seen[96]; /* counts batches; ever more of them are shown */
    int shown;
    bool reals; /* shows another kind of number */
} memory;

static kn_flow count(kn_callback *cb, kn_learner *l) {
    memory *m = (memory *)cb;
    if (!l->training)
        return KN_GO;
    m->seen[0]++;
    m->seen[m->shown - 1] = m->seen[0] * 3;
    return KN_GO;
}

static kn_flow grow(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((memory *)cb)->shown += 24;
    return KN_GO;
}

static kn_status show(kn_callback *cb, kn_learner *l, const kn_state_visitor *v) {
    memory *m = (memory *)cb;
    int64_t none = 0;
    double real = 0;
    (void)l;
    kn_status status = m->reals ? v->reals(v->user, "shown", &real, 1) : KN_OK;
    int64_t shown = m->shown;
    if (!m->reals)
        status = v->integers(v->user, "shown", &shown, 1);
    m->shown = (int)shown;
    /* Two that are empty, the later in the alphabet first. */
    if (status == KN_OK)
        status = v->integers(v->user, "nothing", &none, 0);
    if (status == KN_OK)
        status = v->reals(v->user, "empty", &real, 0);
    for (int i = 0; i < m->shown && status == KN_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "number %d", i);
        status = v->integers(v->user, name, &m->seen[i], 1);
    }
    return status;
}

static const kn_callback_class memory_class = {
    .name = "memory", .order = 850, .before_epoch = grow, .after_batch = count, .state = show};

static void add_memories(run *r, memory m[2]) {
    for (int i = 0; i < 2; i++) {
        m[i] = (memory){{&memory_class}, {100 * i}, 1, false};
        assert_int_equal(kn_learner_add(r->l, &m[i].base), KN_OK);
    }
}

/* After the checkpoint. */
static kn_flow stop(kn_callback *cb, kn_learner *l) {
    (void)cb;
    return l->training && l->epoch == 1 ? KN_CANCEL_FIT : KN_GO;
}

static const kn_callback_class stopper_class = {
    .name = "stopper", .order = 950, .after_batch = stop};

/* Stopped after the third batch, the first of the second epoch of three. */
static void stop_in_the_middle(const char *folder, memory m[2]) {
    run r;
    kn_callback stopper = {&stopper_class};
    run_init(&r);
    save_into(&r, folder, 0);
    add_memories(&r, m);
    assert_int_equal(kn_learner_add(r.l, &stopper), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, EPOCHS), KN_OK);
    assert_int_equal(kn_checkpoint_cb_report(r.l).failed, 0);
    run_free(&r);
}

static kn_checkpoint *open_good(const char *folder) {
    kn_checkpoint *c;
    kn_error error = {0};
    if (kn_checkpoint_open(&c, folder, NULL, &error) != KN_OK)
        fail_msg("%s", error.message);
    assert_non_null(c);
    return c;
}

/* Two callbacks of one class keep their states apart; one that grows makes the next file larger. */
static void states_grow_and_stay_apart(void **state) {
    (void)state;
    char folder[TREE_PATH + 32];
    memory first[2], again[2];
    run r;
    folder_of(folder, "states");
    stop_in_the_middle(folder, first);
    kn_checkpoint *c = open_good(folder);
    assert_int_equal(kn_checkpoint_at(c).epoch, 1);
    run_init(&r);
    add_memories(&r, again);
    assert_int_equal(kn_learner_resume(r.l, c), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, EPOCHS), KN_OK);
    check_good(r.ctx, "resumed");
    for (int i = 0; i < 2; i++)
        assert_int_equal(again[i].seen[0], 100 * i + EPOCHS * 2);
    run_free(&r);
    kn_checkpoint_close(c);
}

static void a_state_of_another_kind_is_refused(void **state) {
    (void)state;
    char folder[TREE_PATH + 32];
    memory m[2];
    run r;
    folder_of(folder, "kinds");
    stop_in_the_middle(folder, m);
    kn_checkpoint *c = open_good(folder);
    run_init(&r);
    add_memories(&r, m);
    m[0].reals = true;
    assert_int_equal(kn_learner_resume(r.l, c), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, EPOCHS), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "its callback.memory.shown is i64 [1], not u8 [1,8]");
    run_free(&r);
    kn_checkpoint_close(c);
}

static kn_flow resume_now(kn_callback *cb, kn_learner *l) {
    (void)cb;
    assert_int_equal(kn_learner_resume(l, NULL), KN_ERR_STATE);
    return KN_FAIL;
}

static void a_fit_under_way_cannot_be_resumed(void **state) {
    (void)state;
    static const kn_callback_class class = {.name = "resumer", .after_batch = resume_now};
    kn_callback resumer = {&class};
    run r;
    run_init(&r);
    assert_int_equal(kn_learner_add(r.l, &resumer), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_STATE);
    check_error(r.ctx, KN_ERR_STATE, "a fit is under way");
    run_free(&r);
}

/* ---- what is in it ---- */

/* Fills what it gives, so that memory nobody wrote would be told by it. */
static void *filled(void *user, size_t bytes, size_t align) {
    void *p = kn_default_allocator.alloc(NULL, bytes, align);
    if (p != NULL)
        memset(p, *(const unsigned char *)user, bytes);
    return p;
}

/* With callbacks that keep much, stopped in the second epoch. */
static kn_st_file *saved_with(unsigned char fill, const char *folder) {
    run r;
    kn_callback stopper = {&stopper_class};
    kn_predictions best = {0};
    kn_st_file *f;
    char path[TREE_PATH + 64];
    kn_allocator allocator = {filled, kn_default_allocator.free, &fill};
    run_init_with(&r, (kn_ctx_opts){.seed = 1, .threads = 1, .allocator = allocator});
    kn_callback *const cbs[] = {
        kn_track_results_cb(r.ctx),
        kn_predictions_cb(r.ctx, (kn_predictions_opts){0}, &best),
        kn_activation_stats_cb(r.ctx, (kn_activation_opts){.every = 2}),
        kn_ema_cb(r.ctx, 0.9),
        &stopper,
    };
    for (size_t i = 0; i < KN_COUNT(cbs); i++)
        assert_int_equal(kn_learner_add(r.l, cbs[i]), KN_OK);
    save_into(&r, folder, 0);
    assert_int_equal(kn_learner_fit(r.l, EPOCHS), KN_OK);
    kn_predictions_free(r.ctx, &best);
    run_free(&r);
    snprintf(path, sizeof path, "%s/last.ckpt", folder);
    assert_int_equal(kn_st_open(&f, path, NULL, NULL), KN_OK);
    return f;
}

static void nothing_is_in_it_that_was_never_written(void **state) {
    (void)state;
    char one[TREE_PATH + 32], other[TREE_PATH + 32];
    folder_of(one, "one");
    folder_of(other, "other");
    kn_st_file *f = saved_with(0x11, one), *g = saved_with(0xEE, other);
    assert_int_equal(f->tensors, g->tensors);
    for (int i = 0; i < f->tensors; i++) {
        const kn_st_entry *a = &f->tensor[i], *b = &g->tensor[i];
        size_t bytes = (size_t)kn_shape_numel(&a->shape) * kn_dtype_size(a->dtype);
        assert_string_equal(a->name, b->name);
        /* How long epochs took is the clock's. */
        if (strstr(a->name, ".elapsed") == NULL && memcmp(a->data, b->data, bytes) != 0)
            fail_msg("%s holds memory that nobody wrote", a->name);
    }
    kn_st_close(f);
    kn_st_close(g);
}

/* ---- files that no training wrote ---- */

static int64_t place[KN_CHECKPOINT_NUMBERS + 1];

/* The folder's last checkpoint again, with another place, and a sum that is right. */
static void forge(const char *folder, const char *name, kn_dtype dtype, kn_shape shape) {
    char path[TREE_PATH + 64], hex[65], sum[68];
    kn_st_file *f;
    kn_st_meta meta[16];
    int metas = 0;
    snprintf(path, sizeof path, "%s/last.ckpt", folder);
    assert_int_equal(kn_st_open(&f, path, NULL, NULL), KN_OK);
    kn_st_entry *entry = calloc((size_t)f->tensors, sizeof *entry);
    assert_non_null(entry);
    for (int i = 0; i < f->tensors; i++) {
        entry[i] = f->tensor[i];
        if (strcmp(entry[i].name, KN_CHECKPOINT_PLACE) == 0 || entry[i].data == place)
            entry[i] = (kn_st_entry){.name = name, .dtype = dtype, .shape = shape, .data = place};
    }
    for (int i = 0; i < f->metas; i++)
        if (strcmp(f->meta[i].key, KN_CHECKPOINT_SHA256) != 0)
            meta[metas++] = f->meta[i];
    assert_int_equal(kn_checkpoint_sum(entry, f->tensors, meta, metas, hex, NULL), KN_OK);
    snprintf(sum, sizeof sum, "\"%s\"", hex);
    meta[metas++] = (kn_st_meta){KN_CHECKPOINT_SHA256, sum};
    assert_int_equal(kn_st_write(path, entry, f->tensors, meta, metas, NULL, NULL), KN_OK);
    free(entry);
    kn_st_close(f);
}

static void expect_forged(const char *folder, const char *name, kn_dtype dtype, kn_shape shape,
                          const char *part) {
    memory m[2];
    kn_checkpoint *c;
    kn_error error = {0};
    char path[TREE_PATH + 64];
    stop_in_the_middle(folder, m);
    snprintf(path, sizeof path, "%s/previous.ckpt", folder);
    assert_int_equal(remove(path), 0);
    forge(folder, name, dtype, shape);
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_ERR_FORMAT);
    check_contains(error.message, part);
}

static void a_place_of_another_form_is_refused(void **state) {
    (void)state;
    char folder[TREE_PATH + 32];
    folder_of(folder, "forged");
    static const char none[] = "has no place in a training";
    expect_forged(folder, "elsewhere", KN_I64, KN_SHAPE(9), none);
    expect_forged(folder, KN_CHECKPOINT_PLACE, KN_F32, KN_SHAPE(18), none);
    expect_forged(folder, KN_CHECKPOINT_PLACE, KN_I64, KN_SHAPE(9, 1), none);
    expect_forged(folder, KN_CHECKPOINT_PLACE, KN_I64, KN_SHAPE(10), none);
    place[0] = KN_CHECKPOINT_VERSION + 1;
    expect_forged(folder, KN_CHECKPOINT_PLACE, KN_I64, KN_SHAPE(9), "a checkpoint of version 2");
}

/* Each is looked for among all: of very many that would take minutes. */
static void very_many_keys_are_refused(void **state) {
    (void)state;
    enum { KEYS = 5000 };
    static char key[KEYS][16];
    static kn_st_meta meta[KEYS + 2];
    char folder[TREE_PATH + 32], path[TREE_PATH + 64];
    kn_checkpoint *c;
    kn_error error = {0};
    folder_of(folder, "keys");
    snprintf(path, sizeof path, "%s/last.ckpt", folder);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key[i], sizeof key[i], "key %d", i);
        meta[i] = (kn_st_meta){key[i], "1"};
    }
    meta[KEYS] = (kn_st_meta){KN_CHECKPOINT_KIND, "\"checkpoint\""};
    meta[KEYS + 1] = (kn_st_meta){KN_CHECKPOINT_SHA256, "\"\""};
    assert_int_equal(kn_st_write(path, NULL, 0, meta, KEYS + 2, NULL, NULL), KN_OK);
    assert_int_equal(kn_checkpoint_open(&c, folder, NULL, &error), KN_ERR_LIMIT);
    check_contains(error.message, path);
    check_contains(error.message, "5002 keys and 0 tensors without numbers");
}

static void a_place_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    const kn_checkpoint_place good = {
        .epochs = 3, .epoch = 1, .batch = 1, .batches = 2, .samples = 6, .step = 3, .threads = 1};
    static const struct {
        int number;
        int64_t value;
    } wrong[] = {
        {1, 1}, {1, (int64_t)INT32_MAX + 1}, {2, -1}, {2, 3}, {3, -1}, {3, 3}, {5, -1}, {6, -1},
        {8, 0}};
    char folder[TREE_PATH + 32];
    kn_checkpoint_place got;
    folder_of(folder, "senseless");
    kn_checkpoint_place_pack(&good, place);
    assert_true(kn_checkpoint_place_unpack(place, &got));
    assert_memory_equal(&got, &good, sizeof got);
    for (size_t i = 0; i < KN_COUNT(wrong); i++) {
        kn_checkpoint_place_pack(&good, place);
        place[wrong[i].number] = wrong[i].value;
        assert_false(kn_checkpoint_place_unpack(place, &got));
    }
    expect_forged(folder, KN_CHECKPOINT_PLACE, KN_I64, KN_SHAPE(9), "makes no sense");
}

static void keep_warning(void *user, kn_log_level level, const char *line) {
    if (level == KN_LOG_WARNING)
        snprintf(user, KN_ERROR_MAX, "%s", line);
}

static void another_number_of_threads_is_told(void **state) {
    (void)state;
    char folder[TREE_PATH + 32], warning[KN_ERROR_MAX] = "";
    memory m[2];
    run r;
    folder_of(folder, "threads");
    stop_in_the_middle(folder, m);
    kn_checkpoint *c = open_good(folder);
    run_init_with(&r,
                  (kn_ctx_opts){.seed = 1, .threads = 2, .log = keep_warning, .log_user = warning});
    add_memories(&r, m);
    assert_int_equal(kn_learner_resume(r.l, c), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, EPOCHS), KN_OK);
    check_contains(warning, "was computed on 1 threads, now on 2");
    run_free(&r);
    kn_checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(what_cannot_be_saved_is_told),
        cmocka_unit_test(without_the_callback_there_is_nothing_to_report),
        cmocka_unit_test(states_grow_and_stay_apart),
        cmocka_unit_test(a_state_of_another_kind_is_refused),
        cmocka_unit_test(a_fit_under_way_cannot_be_resumed),
        cmocka_unit_test(nothing_is_in_it_that_was_never_written),
        cmocka_unit_test(a_place_of_another_form_is_refused),
        cmocka_unit_test(very_many_keys_are_refused),
        cmocka_unit_test(a_place_that_makes_no_sense_is_refused),
        cmocka_unit_test(another_number_of_threads_is_told),
    };
    return cmocka_run_group_tests(tests, root_make, root_remove);
}
