/* test_learner.c - the training loop: the order of events, what every flow does from every event,
 * gradients across cancelled scopes, results and history. */
#include "support/made_data.h"

#include <kiln/kiln.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a tiny run: 6 pictures in 2 training batches, 3 in 1 validation batch ---- */

enum { TRAIN = 6, VALID = 3, BATCH = 4, SIDE = 8, CLASSES = 3 };

typedef struct run {
    kn_ctx *ctx;
    kn_dataset *train, *valid;
    kn_loaders loaders;
    kn_module *model;
    kn_normalize norm;
    kn_learner *l;
} run;

/* In place: the setup callback keeps a pointer to norm. */
static void run_init(run *r) {
    *r = (run){.norm = {{.5f, .5f, .5f}, {.25f, .25f, .25f}}};
    assert_int_equal(kn_ctx_new(&r->ctx, (kn_ctx_opts){.seed = 1, .threads = 1}, NULL), KN_OK);
    r->train = made_data(TRAIN, SIDE, CLASSES);
    r->valid = made_data(VALID, SIDE, CLASSES);
    r->loaders.train = kn_loader_new(r->ctx, r->train, BATCH, (kn_loader_opts){.workers = 1});
    r->loaders.valid = kn_loader_new(r->ctx, r->valid, BATCH, (kn_loader_opts){.workers = 1});
    r->model = kn_sequential(r->ctx, kn_conv_layer(r->ctx, 3, 4, (kn_conv_opts){.stride = 2}),
                             kn_adaptive_pool(r->ctx), kn_linear(r->ctx, 4, CLASSES));
    r->l = kn_learner_new(r->ctx,
                          (kn_learner_opts){.model = r->model, .loaders = r->loaders, .lr = 0.1});
    assert_non_null(r->l);
    assert_int_equal(kn_learner_add(r->l, kn_setup_cb(r->ctx, &r->norm)), KN_OK);
}

static void run_free(run *r) {
    kn_learner_free(r->l);
    kn_loader_free(r->loaders.train);
    kn_loader_free(r->loaders.valid);
    kn_dataset_free(r->train);
    kn_dataset_free(r->valid);
    kn_module_free(r->model);
    kn_ctx_free(r->ctx);
}

/* ---- a callback that writes down every event, and may raise flows ---- */

typedef struct spy {
    kn_callback base;
    kn_event event[512];
    int count;
    /* Raises flow at the first (or nth, from 1) occurrence of at; twice to reach
     * after_cancel_X. */
    struct {
        bool on;
        kn_event at;
        kn_flow flow;
        int nth, seen, place;
    } raise[2];
} spy;

static kn_flow spy_any(kn_callback *cb, kn_learner *l, kn_event event) {
    spy *s = (spy *)cb;
    (void)l;
    assert_true(s->count < (int)(sizeof s->event / sizeof s->event[0]));
    s->event[s->count++] = event;
    for (int i = 0; i < 2; i++)
        if (s->raise[i].on && s->raise[i].at == event &&
            ++s->raise[i].seen == (s->raise[i].nth > 0 ? s->raise[i].nth : 1)) {
            s->raise[i].place = s->count - 1;
            if (s->raise[i].flow == KN_FAIL)
                kn_fail(l->ctx, KN_ERR_IO, "the spy's own error");
            return s->raise[i].flow;
        }
    return KN_GO;
}

static const kn_callback_class spy_class = {.name = "spy", .any = spy_any};

/* ---- 1: the trace ---- */

static const char *const two_epochs[] = {
    "before_fit",      "before_epoch",    "before_train",    "before_batch",   "after_pred",
    "after_loss",      "before_backward", "after_backward",  "before_step",    "after_step",
    "after_batch",     "before_batch",    "after_pred",      "after_loss",     "before_backward",
    "after_backward",  "before_step",     "after_step",      "after_batch",    "after_train",
    "before_validate", "before_batch",    "after_pred",      "after_loss",     "after_batch",
    "after_validate",  "after_epoch",     "before_epoch",    "before_train",   "before_batch",
    "after_pred",      "after_loss",      "before_backward", "after_backward", "before_step",
    "after_step",      "after_batch",     "before_batch",    "after_pred",     "after_loss",
    "before_backward", "after_backward",  "before_step",     "after_step",     "after_batch",
    "after_train",     "before_validate", "before_batch",    "after_pred",     "after_loss",
    "after_batch",     "after_validate",  "after_epoch",     "after_fit"};

static void test_trace(void **state) {
    (void)state;
    run r;
    run_init(&r);
    spy s = {.base = {&spy_class}};
    assert_int_equal(kn_learner_add(r.l, &s.base), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    assert_int_equal(s.count, sizeof two_epochs / sizeof two_epochs[0]);
    for (int i = 0; i < s.count; i++)
        assert_string_equal(kn_event_name(s.event[i]), two_epochs[i]);
    run_free(&r);
}

/* ---- 2: every flow from every event ---- */

static const char *const scope_of_flow[] = {"",         "step",  "backward", "batch", "train",
                                            "validate", "epoch", "fit",      ""};

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* Walks a trace up to place (exclusive) and leaves the scopes open there on the stack. An event of
 * after_X or after_cancel_X means that X can no longer be cancelled. */
static int open_scopes(const spy *s, int place, const char *stack[8]) {
    int depth = 0;
    for (int i = 0; i <= place; i++) {
        const char *name = kn_event_name(s->event[i]);
        bool closing = starts(name, "after_") && strcmp(name, "after_pred") != 0 &&
                       strcmp(name, "after_loss") != 0;
        bool closed =
            closing && depth > 0 && strcmp(stack[depth - 1], kn_event_scope(s->event[i])) == 0;
        if (starts(name, "before_"))
            stack[depth++] = kn_event_scope(s->event[i]);
        else if (closed)
            depth--;
    }
    return depth;
}

/* Every scope that began ends, inner before outer; after_cancel_X comes right before its after_X.
 */
static void assert_balanced(const spy *s) {
    const char *stack[8];
    int depth = 0;
    for (int i = 0; i < s->count; i++) {
        const char *name = kn_event_name(s->event[i]), *scope = kn_event_scope(s->event[i]);
        if (starts(name, "before_")) {
            stack[depth++] = scope;
        } else if (starts(name, "after_cancel_")) {
            assert_true(depth > 0);
            assert_string_equal(stack[depth - 1], scope);
            assert_true(i + 1 < s->count);
            assert_string_equal(kn_event_scope(s->event[i + 1]), scope);
            assert_true(starts(kn_event_name(s->event[i + 1]), "after_"));
        } else if (strcmp(name, "after_pred") != 0 && strcmp(name, "after_loss") != 0) {
            assert_true(depth > 0);
            assert_string_equal(stack[--depth], scope);
        }
    }
    assert_int_equal(depth, 0);
}

static bool was_cancelled_after(const spy *s, int place, const char *scope) {
    char name[64];
    snprintf(name, sizeof name, "after_cancel_%s", scope);
    for (int i = place + 1; i < s->count; i++) {
        if (strcmp(kn_event_name(s->event[i]), name) == 0)
            return true;
        if (starts(kn_event_name(s->event[i]), "before_"))
            return false; /* the run went on */
    }
    return false;
}

/* What DESIGN says: the scopes from the innermost open one out to the flow's are cancelled and no
 * others; a flow whose scope is not open is an error that names both. */
static void check_flow(const spy *s, kn_event at, kn_flow flow, kn_status status,
                       const char *message) {
    const char *stack[8];
    int place = s->raise[0].place, depth = open_scopes(s, place, stack), reach = depth;
    for (int i = 0; i < depth; i++)
        if (strcmp(stack[i], scope_of_flow[flow]) == 0)
            reach = i;
    bool error = flow == KN_FAIL || reach == depth;
    if (flow == KN_FAIL) {
        assert_int_equal(status, KN_ERR_IO);
        assert_string_equal(message, "the spy's own error");
    } else if (error) {
        assert_int_equal(status, KN_ERR_STATE);
        assert_non_null(strstr(message, kn_flow_name(flow)));
        assert_non_null(strstr(message, kn_event_name(at)));
    } else {
        assert_int_equal(status, KN_OK);
    }
    for (int i = 0; i < depth; i++)
        assert_int_equal(was_cancelled_after(s, place, stack[i]), error || i >= reach);
    assert_balanced(s);
}

/* Raises flow at an event; for after_cancel_X the scope is first cancelled, from its before_X. */
static void raise_once(kn_event at, kn_flow flow) {
    run r;
    run_init(&r);
    spy s = {.base = {&spy_class}};
    s.raise[0].on = true;
    s.raise[0].at = at;
    s.raise[0].flow = flow;
    if (starts(kn_event_name(at), "after_cancel_"))
        for (int e = 0; e < KN_EVENT_COUNT; e++)
            if (starts(kn_event_name(e), "before_") &&
                strcmp(kn_event_scope(e), kn_event_scope(at)) == 0) {
                s.raise[1].on = true;
                s.raise[1].at = (kn_event)e;
                for (int f = KN_CANCEL_STEP; f <= KN_CANCEL_FIT; f++)
                    if (strcmp(scope_of_flow[f], kn_event_scope(at)) == 0)
                        s.raise[1].flow = (kn_flow)f;
            }
    assert_int_equal(kn_learner_add(r.l, &s.base), KN_OK);
    kn_status status = kn_learner_fit(r.l, 2);
    kn_error error = kn_error_take(r.ctx);
    assert_int_equal(s.raise[0].seen > 0, 1); /* the event happened */
    check_flow(&s, at, flow, status, error.message);
    /* The learner is whole again: the next fit is an ordinary one. */
    s.raise[0].on = s.raise[1].on = false;
    s.count = 0;
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    assert_int_equal(s.count, sizeof two_epochs / sizeof two_epochs[0]);
    run_free(&r);
}

static void test_every_flow_from_every_event(void **state) {
    (void)state;
    for (int event = 0; event < KN_EVENT_COUNT; event++)
        for (int flow = KN_CANCEL_STEP; flow <= KN_FAIL; flow++)
            raise_once((kn_event)event, (kn_flow)flow);
}

/* The run goes on where it should: counts of what still happens after a flow raised in the first
 * training batch of two epochs. */
static void test_where_the_run_goes_on(void **state) {
    (void)state;
    static const struct {
        kn_event at;
        kn_flow flow;
        int epochs, trains, validates, batches, backwards,
            steps; /* after_X of scopes not cancelled */
    } row[] = {
        {kn_event_before_step, KN_CANCEL_STEP, 2, 2, 2, 6, 4, 3},
        {kn_event_before_backward, KN_CANCEL_BACKWARD, 2, 2, 2, 6, 3, 4},
        {kn_event_after_pred, KN_CANCEL_BATCH, 2, 2, 2, 5, 3, 3},
        {kn_event_after_loss, KN_CANCEL_TRAIN, 2, 1, 2, 4, 2, 2},
        {kn_event_before_validate, KN_CANCEL_VALIDATE, 2, 2, 1, 5, 4, 4},
        {kn_event_after_loss, KN_CANCEL_EPOCH, 1, 1, 1, 3, 2, 2},
        {kn_event_after_loss, KN_CANCEL_FIT, 0, 0, 0, 0, 0, 0},
        {kn_event_after_batch, KN_CANCEL_FIT, 0, 0, 0, 1, 1, 1},
        {kn_event_before_fit, KN_CANCEL_FIT, 0, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        run r;
        run_init(&r);
        spy s = {.base = {&spy_class}};
        s.raise[0].on = true;
        s.raise[0].at = row[i].at;
        s.raise[0].flow = row[i].flow;
        kn_learner_add(r.l, &s.base);
        assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
        int count[KN_EVENT_COUNT] = {0};
        for (int e = 0; e < s.count; e++)
            count[s.event[e]]++;
#define WHOLE(scope) (count[kn_event_after_##scope] - count[kn_event_after_cancel_##scope])
        assert_int_equal(WHOLE(epoch), row[i].epochs);
        assert_int_equal(WHOLE(train), row[i].trains);
        assert_int_equal(WHOLE(validate), row[i].validates);
        assert_int_equal(WHOLE(batch), row[i].batches);
        assert_int_equal(WHOLE(backward), row[i].backwards);
        assert_int_equal(WHOLE(step), row[i].steps);
        run_free(&r);
    }
}

/* ---- order, and the end of an event ---- */

typedef struct noter {
    kn_callback base;
    kn_flow flow;                  /* in after_batch */
    int calls, cancels, *log, *at; /* of all, in turn */
    int id;
} noter;

static kn_flow noter_after_batch(kn_callback *cb, kn_learner *l) {
    noter *n = (noter *)cb;
    (void)l;
    n->calls++;
    if (*n->at < 8)
        n->log[(*n->at)++] = n->id;
    return n->flow;
}

static kn_flow noter_cancel(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((noter *)cb)->cancels++;
    return KN_GO;
}

static const kn_callback_class early = {.name = "early",
                                        .order = -1,
                                        .after_batch = noter_after_batch,
                                        .after_cancel_fit = noter_cancel};
static const kn_callback_class late = {
    .name = "late", .order = 1, .after_batch = noter_after_batch, .after_cancel_fit = noter_cancel};

static void test_order(void **state) {
    (void)state;
    run r;
    run_init(&r);
    int log[8] = {0}, at = 0;
    noter a = {.base = {&late}, .log = log, .at = &at, .id = 1};
    noter b = {.base = {&early}, .log = log, .at = &at, .id = 2};
    noter c = {.base = {&late}, .log = log, .at = &at, .id = 3};
    kn_learner_add(r.l, &a.base);
    kn_learner_add(r.l, &b.base);
    kn_learner_add(r.l, &c.base);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    assert_int_equal(log[0], 2);
    assert_int_equal(log[1], 1);
    assert_int_equal(log[2], 3);
    assert_ptr_equal(kn_learner_find(r.l, "early"), &b.base);
    assert_null(kn_learner_find(r.l, "nobody"));
    /* The flow of one ends the event; clean-up is for all. */
    a.calls = b.calls = c.calls = 0;
    b.flow = KN_CANCEL_FIT;
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    assert_int_equal(b.calls, 1);
    assert_int_equal(a.calls, 0);
    assert_int_equal(a.cancels, 1);
    assert_int_equal(b.cancels, 1);
    assert_int_equal(c.cancels, 1);
    run_free(&r);
}

/* A failing callback without a reason gets one; one that set an error but returned KN_GO fails too.
 */
static kn_flow fail_silently(kn_callback *cb, kn_learner *l) {
    (void)cb;
    (void)l;
    return KN_FAIL;
}

static kn_flow go_with_error(kn_callback *cb, kn_learner *l) {
    (void)cb;
    kn_fail(l->ctx, KN_ERR_IO, "left behind");
    return KN_GO;
}

static const kn_callback_class silent = {.name = "silent", .after_loss = fail_silently};
static const kn_callback_class careless = {.name = "careless", .after_loss = go_with_error};

static void test_failures_are_not_swallowed(void **state) {
    (void)state;
    static const struct {
        const kn_callback_class *cls;
        kn_status status;
        const char *message;
    } row[] = {{&silent, KN_ERR_STATE, "callback silent failed in after_loss"},
               {&careless, KN_ERR_IO, "left behind"}};
    for (size_t i = 0; i < 2; i++) {
        run r;
        run_init(&r);
        kn_callback cb = {row[i].cls};
        kn_learner_add(r.l, &cb);
        assert_int_equal(kn_learner_fit(r.l, 1), row[i].status);
        assert_non_null(strstr(kn_error_take(r.ctx).message, row[i].message));
        run_free(&r);
    }
}

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

static void test_bad_calls(void **state) {
    (void)state;
    run r;
    run_init(&r);
    assert_int_equal(kn_learner_fit(r.l, 0), KN_ERR_ARG);
    kn_error_take(r.ctx);
    assert_int_equal(kn_learner_add(r.l, NULL), KN_ERR_ARG);
    kn_error_take(r.ctx);
    assert_null(kn_learner_new(r.ctx, (kn_learner_opts){.lr = 1}));
    assert_int_equal(kn_error_take(r.ctx).status, KN_ERR_ARG);
    kn_loader *train = r.l->loaders.train;
    r.l->loaders.train = NULL;
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_ARG);
    kn_error_take(r.ctx);
    r.l->loaders.train = train;
    r.l->loaders.valid = NULL; /* training without validation is fine */
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_every_flow_from_every_event),
        cmocka_unit_test(test_where_the_run_goes_on),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_failures_are_not_swallowed),
        cmocka_unit_test(test_cancelled_step_accumulates),
        cmocka_unit_test(test_validation_changes_nothing),
        cmocka_unit_test(test_results_history_and_files),
        cmocka_unit_test(test_saving_where_one_cannot),
        cmocka_unit_test(test_bad_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
