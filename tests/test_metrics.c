/* test_metrics.c - predictions gathered by a pass, and the figures from them: against scikit-learn
 * (tools/make_metrics_goldens.py), and on what it does not define. */
#include "support/check.h"
#include "support/counted.h"
#include "support/numbers.h"
#include "support/tiny_run.h"

#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 90, KINDS = 7, BATCH_OF = 32, MOST = SAMPLES * KINDS };

/* ---- a data set without pictures, and a model whose scores come from a table ---- */

typedef struct table {
    kn_dataset base;
    kn_callback cb;
    float logits[SAMPLES][KINDS];
    int32_t label[SAMPLES];
    int kinds;
} table;

static int64_t table_len(const kn_dataset *ds) {
    (void)ds;
    return SAMPLES;
}

static kn_status table_get(const kn_dataset *ds, kn_sample *s) {
    memset(s->slot, (int)s->index, 3);
    *s->label = ((const table *)ds)->label[s->index];
    return KN_OK;
}

static const kn_dataset_class table_class = {.len = table_len, .get = table_get};

/* In the model's place. */
static kn_flow look_up(kn_callback *cb, kn_learner *l) {
    const table *t = (const table *)((char *)cb - offsetof(table, cb));
    static float rows[BATCH_OF * KINDS];
    for (int i = 0; i < l->batch.n; i++)
        memcpy(rows + i * t->kinds, t->logits[l->batch.index[i]], (size_t)t->kinds * sizeof(float));
    l->preds = kn_keep(l->ctx, kn_from(l->ctx, KN_F32, KN_SHAPE(l->batch.n, t->kinds), rows));
    return l->preds != NULL ? KN_GO : KN_FAIL;
}

static const kn_callback_class look_up_class = {.name = "look_up", .after_pred = look_up};

/* As tools/make_metrics_goldens.py makes them. */
static void table_init(table *t) {
    *t = (table){.base = {&table_class, 1, 1, false}, .cb = {&look_up_class}, .kinds = KINDS};
    numbers_fill(WIDE, 3, 0, (int64_t)SAMPLES * KINDS, t->logits);
    numbers_fill(INDEX, 4, KINDS - 1, SAMPLES, t->label);
    for (int i = 0; i < SAMPLES; i++) {
        t->logits[i][t->label[i]] += 1.25f;
        t->logits[i][5] -= 8;
        t->logits[i][6] -= 8;
    }
}

typedef struct pass {
    table t;
    kn_ctx *ctx;
    kn_module *model;
    kn_loader *loader;
    kn_normalize norm;
    kn_learner *l;
    kn_predictions p;
} pass;

static void pass_open(pass *s, bool shuffle) {
    *s = (pass){.norm = {{.5f, .5f, .5f}, {.25f, .25f, .25f}}};
    table_init(&s->t);
    assert_int_equal(kn_ctx_new(&s->ctx, (kn_ctx_opts){.seed = 1, .threads = 1}, NULL), KN_OK);
    s->model = kn_sequential(s->ctx, kn_adaptive_pool(s->ctx), kn_linear(s->ctx, 3, KINDS));
    kn_loader_opts opts = {.shuffle = shuffle, .workers = 1};
    s->loader = kn_loader_new(s->ctx, &s->t.base, BATCH_OF, opts);
    s->l = kn_learner_new(s->ctx, (kn_learner_opts){.model = s->model});
    kn_learner_add(s->l, kn_setup_cb(s->ctx, &s->norm));
    assert_int_equal(kn_learner_add(s->l, &s->t.cb), KN_OK);
}

static void pass_close(pass *s) {
    kn_predictions_free(s->ctx, &s->p);
    kn_learner_free(s->l);
    kn_loader_free(s->loader);
    kn_module_free(s->model);
    kn_ctx_free(s->ctx);
}

static void pass_run(pass *s, kn_predictions_opts opts) {
    assert_int_equal(kn_learner_predictions(s->l, s->loader, opts, &s->p), KN_OK);
}

/* ---- the goldens ---- */

/* The row of that name into value; returns how many numbers it has. */
static int golden_row(const char *name, double value[MOST]) {
    char line[16384];
    FILE *f = fopen(KN_TEST_DIR "/data/metrics_golden.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        char *at = strchr(line, ' '), *end;
        int count = 0;
        *at++ = '\0';
        if (strcmp(line, name) != 0)
            continue;
        while (count < MOST) {
            value[count] = strtod(at, &end);
            if (end == at)
                break;
            at = end;
            count++;
        }
        fclose(f);
        return count;
    }
    fail_msg("no row %s", name);
    return 0;
}

static void check_real(double got, double want) {
    if (fabs(got - want) > 1e-6 * fmax(1, fabs(want)))
        fail_msg("%.9g, expected %.9g", got, want);
}

static void test_samples(void **state) {
    (void)state;
    pass s;
    double want[MOST];
    pass_open(&s, false);
    pass_run(&s, (kn_predictions_opts){0});
    assert_int_equal(s.p.samples, SAMPLES);
    assert_int_equal(s.p.classes, KINDS);
    assert_int_equal(s.p.bytes, SAMPLES * (32 + 4 * KINDS));
    assert_int_equal(golden_row("predicted", want), SAMPLES);
    for (int i = 0; i < SAMPLES; i++) {
        assert_int_equal(s.p.predicted[i], (int)want[i]);
        assert_int_equal(s.p.index[i], i);
        assert_int_equal(s.p.label[i], s.t.label[i]);
        assert_true(s.p.prob[i] == s.p.probs[i * KINDS + s.p.predicted[i]]);
        assert_true(s.p.label_prob[i] == s.p.probs[i * KINDS + s.p.label[i]]);
    }
    assert_int_equal(golden_row("loss", want), SAMPLES);
    for (int i = 0; i < SAMPLES; i++)
        check_real((double)s.p.loss[i], want[i]);
    assert_int_equal(golden_row("probs", want), 3 * KINDS);
    for (int i = 0; i < 3 * KINDS; i++)
        check_real((double)s.p.probs[i], want[i]);
    pass_close(&s);
}

static void test_top(void **state) {
    (void)state;
    pass s;
    double want[MOST];
    int64_t place[SAMPLES + 1];
    pass_open(&s, false);
    pass_run(&s, (kn_predictions_opts){.no_probs = true});
    assert_null(s.p.probs);
    static const struct {
        const char *name;
        int k;
    } tops[] = {{"top1", 1}, {"top2", 2}, {"top5", 5}};
    for (size_t i = 0; i < 3; i++) {
        golden_row(tops[i].name, want);
        check_real(kn_top_k_accuracy(&s.p, tops[i].k), want[0]);
    }
    check_real(kn_top_k_accuracy(&s.p, KINDS), 1);
    assert_int_equal(golden_row("top_losses", want), 9);
    assert_int_equal(kn_top_losses(s.ctx, &s.p, 9, place), 9);
    for (int i = 0; i < 9; i++)
        assert_int_equal(place[i], (int)want[i]);
    assert_int_equal(kn_top_losses(s.ctx, &s.p, SAMPLES + 1, place), SAMPLES);
    pass_close(&s);
}

static void check_scores(const kn_confusion *c) {
    double precision[MOST], recall[MOST], f1[MOST], support[MOST];
    kn_class_score score[KINDS];
    kn_class_scores(c, score);
    assert_int_equal(golden_row("precision", precision), KINDS);
    golden_row("recall", recall);
    golden_row("f1", f1);
    golden_row("support", support);
    for (int i = 0; i < KINDS; i++) {
        check_real(score[i].precision, precision[i]);
        check_real(score[i].recall, recall[i]);
        check_real(score[i].f1, f1[i]);
        assert_int_equal(score[i].support, (int)support[i]);
    }
    for (int weighted = 0; weighted < 2; weighted++) {
        kn_class_score average = kn_average_score(c, weighted);
        assert_int_equal(golden_row(weighted ? "weighted" : "macro", precision), 3);
        check_real(average.precision, precision[0]);
        check_real(average.recall, precision[1]);
        check_real(average.f1, precision[2]);
        assert_int_equal(average.support, SAMPLES);
    }
}

static void check_confused(const kn_confusion *c, const char *name, int64_t least) {
    double want[MOST];
    kn_confused pair[KINDS * KINDS], few[4];
    int count = kn_most_confused(c, least, KINDS * KINDS, pair);
    assert_int_equal(3 * count, golden_row(name, want));
    for (int i = 0; i < count; i++) {
        assert_int_equal(pair[i].label, (int)want[3 * i]);
        assert_int_equal(pair[i].predicted, (int)want[3 * i + 1]);
        assert_int_equal(pair[i].count, (int)want[3 * i + 2]);
    }
    for (int room = 0; room <= 4; room++) {
        assert_int_equal(kn_most_confused(c, least, room, few), room < count ? room : count);
        assert_memory_equal(few, pair, (size_t)(room < count ? room : count) * sizeof *few);
    }
}

/* The same figures in whatever order the samples came. */
static void test_confusion(void **state) {
    (void)state;
    double want[MOST];
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        pass s;
        kn_confusion c;
        pass_open(&s, shuffle);
        pass_run(&s, (kn_predictions_opts){0});
        assert_int_equal(s.p.index[0] == 0 && s.p.index[1] == 1, !shuffle);
        assert_int_equal(kn_confusion_from(s.ctx, &s.p, &c), KN_OK);
        assert_int_equal(golden_row("confusion", want), KINDS * KINDS);
        for (int i = 0; i < KINDS * KINDS; i++)
            assert_int_equal(c.count[i], (int)want[i]);
        check_scores(&c);
        check_confused(&c, "confused", 0);
        check_confused(&c, "confused3", 3);
        kn_confusion_free(s.ctx, &c);
        pass_close(&s);
    }
}

/* ---- what no formula says ---- */

static void test_ties_and_nan(void **state) {
    (void)state;
    pass s;
    int64_t place[3];
    pass_open(&s, false);
    memset(s.t.logits, 0, sizeof s.t.logits);
    s.t.logits[7][2] = NAN;
    for (int i = 0; i < SAMPLES; i++)
        s.t.label[i] = 3;
    s.t.label[8] = 0;
    pass_run(&s, (kn_predictions_opts){0});
    assert_int_equal(s.p.predicted[0], 0); /* all equal: the first */
    assert_int_equal(s.p.rank[0], 3);
    check_real((double)s.p.loss[0], log(KINDS));
    assert_int_equal(s.p.rank[8], 0);
    assert_int_equal(s.p.predicted[7], 2); /* as kn_argmax */
    assert_true(s.p.rank[7] > 0 && s.p.rank[7] < KINDS);
    assert_true(isnan(s.p.loss[7]) && isnan(s.p.prob[7]));
    assert_int_equal(kn_top_losses(s.ctx, &s.p, 3, place), 3);
    assert_int_equal(place[0], 7); /* NaN is the worst */
    assert_int_equal(place[1], 0); /* equals: the earlier */
    assert_int_equal(place[2], 1);
    pass_close(&s);
}

static void test_limit(void **state) {
    (void)state;
    pass s;
    pass_open(&s, false);
    kn_predictions_opts opts = {.max_memory = SAMPLES * (32 + 4 * KINDS) - 1};
    assert_int_equal(kn_learner_predictions(s.l, s.loader, opts, &s.p), KN_ERR_LIMIT);
    check_error(s.ctx, KN_ERR_LIMIT, "90 samples of 7 classes");
    assert_null(s.p.index);
    opts.no_probs = true; /* then there is room */
    pass_run(&s, opts);
    assert_true(s.p.bytes <= opts.max_memory);
    kn_predictions_free(s.ctx, &s.p);
    opts = (kn_predictions_opts){.max_memory = SAMPLES * (32 + 4 * KINDS)};
    pass_run(&s, opts);
    pass_close(&s);
}

static void test_refused(void **state) {
    (void)state;
    pass s;
    pass_open(&s, false);
    s.t.kinds = 2; /* fewer scores than labels */
    assert_true(kn_learner_predictions(s.l, s.loader, (kn_predictions_opts){0}, &s.p) != KN_OK);
    assert_null(s.p.index);
    assert_true(kn_error_take(s.ctx).status != KN_OK);
    s.t.kinds = KINDS; /* the callback is gone, and another pass works */
    pass_run(&s, (kn_predictions_opts){0});
    assert_int_equal(s.p.samples, SAMPLES);
    pass_close(&s);
}

static void test_nothing(void **state) {
    (void)state;
    run r;
    run_init(&r);
    kn_predictions none = {0};
    kn_confusion c;
    int64_t place;
    assert_true(isnan(kn_top_k_accuracy(&none, 1)));
    assert_int_equal(kn_top_losses(r.ctx, &none, 5, &place), 0);
    assert_int_equal(kn_confusion_from(r.ctx, &none, &c), KN_OK);
    assert_int_equal(kn_most_confused(&c, 0, 0, NULL), 0);
    assert_true(kn_average_score(&c, true).f1 == 0);
    kn_confusion_free(r.ctx, &c);
    run_free(&r);
}

/* ---- within a fit ---- */

typedef struct watch {
    kn_callback base;
    const kn_predictions *p;
    float first[3];
    int epochs;
} watch;

static kn_flow note(kn_callback *cb, kn_learner *l) {
    watch *w = (watch *)cb;
    (void)l;
    w->first[w->epochs++] = w->p->loss[0];
    return KN_GO;
}

static const kn_callback_class watch_class = {.name = "watch", .order = 80, .after_epoch = note};

/* Without saving the last pass is kept, and it agrees with the results of the same validation. */
static void test_last_epoch(void **state) {
    (void)state;
    run r;
    kn_predictions p = {0};
    watch w = {.base = {&watch_class}, .p = &p};
    run_init(&r);
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_predictions_cb(r.ctx, (kn_predictions_opts){0}, &p));
    kn_learner_add(r.l, &w.base);
    assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
    kn_results results = kn_track_results(r.l, false);
    double loss = 0;
    for (int i = 0; i < VALID; i++)
        loss += (double)p.loss[i] / VALID;
    assert_int_equal(p.samples, VALID);
    check_real(loss, results.loss);
    check_real(kn_top_k_accuracy(&p, 1), results.acc);
    assert_true(w.first[2] != w.first[1] && w.first[1] != w.first[0]);
    kn_predictions_free(r.ctx, &p);
    run_free(&r);
}

/* Leaves the second epoch with that flow. */
typedef struct leaver {
    kn_callback base;
    kn_flow flow;
    bool training; /* where */
} leaver;
static kn_flow leave(kn_callback *cb, kn_learner *l) {
    const leaver *v = (const leaver *)cb;
    if (l->epoch != 1 || l->training != v->training)
        return KN_GO;
    if (v->flow == KN_FAIL)
        kn_fail(l->ctx, KN_ERR_DATA, "left");
    return v->flow;
}
static const kn_callback_class leaver_class = {.name = "leaver", .order = 90, .after_pred = leave};

/* What was kept stays, to the bit, when a later epoch has no whole validation. */
static void test_left_epoch(void **state) {
    (void)state;
    static const kn_flow flows[] = {KN_CANCEL_VALIDATE, KN_CANCEL_EPOCH, KN_CANCEL_FIT, KN_FAIL};
    for (int i = 0; i < 7; i++) {
        run r;
        kn_predictions p = {0};
        float loss[2][VALID];
        leaver v = {{&leaver_class}, flows[i < 3 ? i + 1 : i - 3], i < 3};
        for (int fit = 0; fit < 2; fit++) {
            run_init(&r);
            kn_learner_add(r.l, kn_predictions_cb(r.ctx, (kn_predictions_opts){0}, &p));
            if (fit == 1)
                kn_learner_add(r.l, &v.base);
            bool fails = fit == 1 && v.flow == KN_FAIL;
            assert_int_equal(kn_learner_fit(r.l, 1 + fit), fails ? KN_ERR_DATA : KN_OK);
            kn_error_take(r.ctx);
            assert_int_equal(p.samples, VALID);
            memcpy(loss[fit], p.loss, sizeof loss[fit]);
            kn_predictions_free(r.ctx, &p);
            run_free(&r);
        }
        assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
    }
}

/* Accuracy as told, whatever the model: epoch 1 is the best. */
static kn_flow pretend(kn_callback *cb, kn_learner *l) {
    (void)cb;
    static float good[VALID * CLASSES], bad[VALID * CLASSES];
    if (l->training)
        return KN_GO;
    for (int i = 0; i < VALID; i++)
        for (int c = 0; c < CLASSES; c++) {
            good[i * CLASSES + c] = c == l->batch.labels[i] ? 3 : 0;
            bad[i * CLASSES + c] = (float)c * (float)(l->epoch + 1);
        }
    l->preds = kn_keep(
        l->ctx, kn_from(l->ctx, KN_F32, KN_SHAPE(VALID, CLASSES), l->epoch == 1 ? good : bad));
    return l->preds != NULL ? KN_GO : KN_FAIL;
}

static const kn_callback_class pretend_class = {.name = "pretend", .after_pred = pretend};

static void test_best_epoch(void **state) {
    (void)state;
    run r;
    kn_predictions p = {0};
    char folder[] = "/tmp/kiln-metrics-XXXXXX", path[64];
    kn_callback cb = {&pretend_class};
    run_init(&r);
    assert_non_null(mkdtemp(folder));
    kn_vocab vocab = {.name = (char *[]){"a", "b", "c"}, .count = CLASSES};
    kn_model_info info = {.vocab = &vocab, .size = SIDE, .norm = &r.norm, .batch_size = BATCH};
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, kn_predictions_cb(r.ctx, (kn_predictions_opts){0}, &p));
    kn_learner_add(r.l, kn_save_model_cb(r.ctx, folder, &info));
    kn_learner_add(r.l, &cb);
    assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
    assert_int_equal(kn_save_model_best(r.l, NULL), 1);
    check_real(kn_top_k_accuracy(&p, 1), 1);
    kn_predictions_free(r.ctx, &p);
    run_free(&r);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    remove(path);
    snprintf(path, sizeof path, "%s/last.safetensors", folder);
    remove(path);
    remove(folder);
}

/* ---- memory ---- */

static kn_status all_of_it(kn_ctx *ctx, const kn_predictions *p) {
    kn_confusion c;
    int64_t place[4];
    kn_status status = kn_confusion_from(ctx, p, &c);
    if (status == KN_OK && kn_top_losses(ctx, p, 4, place) < 0)
        status = kn_ctx_status(ctx);
    kn_confusion_free(ctx, &c);
    return status;
}

/* Every allocation of the pass and of the figures fails once; nothing is lost. */
static void test_no_memory(void **state) {
    (void)state;
    bool failed = true;
    for (long at = 1; failed; at++) {
        counted count = {0};
        table t;
        table_init(&t);
        kn_ctx *ctx = counted_ctx(&count, "reference");
        kn_normalize norm = {{.5f, .5f, .5f}, {.25f, .25f, .25f}};
        kn_module *model = kn_sequential(ctx, kn_adaptive_pool(ctx), kn_linear(ctx, 3, KINDS));
        kn_loader *loader = kn_loader_new(ctx, &t.base, BATCH_OF, (kn_loader_opts){.workers = 1});
        kn_learner *l = kn_learner_new(ctx, (kn_learner_opts){.model = model});
        kn_learner_add(l, kn_setup_cb(ctx, &norm));
        assert_int_equal(kn_learner_add(l, &t.cb), KN_OK);
        kn_predictions p;
        count.fail_at = count.made + at;
        kn_status status = kn_learner_predictions(l, loader, (kn_predictions_opts){0}, &p);
        if (status == KN_OK)
            status = all_of_it(ctx, &p);
        assert_true(status == KN_OK || status == KN_ERR_MEMORY);
        failed = count.refused > 0; /* the pool frees what it kept and asks again */
        if (status != KN_OK)
            assert_int_equal(kn_error_take(ctx).status, KN_ERR_MEMORY);
        kn_predictions_free(ctx, &p);
        kn_learner_free(l);
        kn_loader_free(loader);
        kn_module_free(model);
        counted_ctx_free(&count, ctx);
        assert_true(at < 2000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),    cmocka_unit_test(test_top),
        cmocka_unit_test(test_confusion),  cmocka_unit_test(test_ties_and_nan),
        cmocka_unit_test(test_limit),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nothing),    cmocka_unit_test(test_last_epoch),
        cmocka_unit_test(test_best_epoch), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_left_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
