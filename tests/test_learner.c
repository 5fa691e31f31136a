/* test_learner.c - the training loop: the order of events, what every flow does from every event,
 * and that no failure is swallowed. */
#include "support/check.h"
#include "support/tiny_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
            if (starts(kn_event_name((kn_event)e), "before_") &&
                strcmp(kn_event_scope((kn_event)e), kn_event_scope(at)) == 0) {
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
    /* What failed before the fit is found after it: the first error, not a run without the part. */
    kn_fail(r.ctx, KN_ERR_DATA, "a part could not be made");
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_DATA);
    assert_int_equal(kn_learner_validate(r.l), KN_ERR_DATA);
    assert_string_equal(kn_error_take(r.ctx).message, "a part could not be made");
    kn_callback *orphan = kn_one_cycle_cb(r.ctx, (kn_one_cycle_opts){0}); /* freed: LSan looks */
    assert_int_equal(kn_learner_add(NULL, orphan), KN_ERR_STATE);
    assert_int_equal(kn_learner_add(NULL, NULL), KN_ERR_STATE);
    assert_null(kn_learner_find(NULL, "one_cycle"));
    assert_int_equal(kn_learner_remove(NULL, orphan), KN_ERR_STATE);
    assert_int_equal(kn_learner_fit(NULL, 1), KN_ERR_STATE);
    assert_int_equal(kn_learner_validate(NULL), KN_ERR_STATE);
    assert_true(isnan(kn_track_results(NULL, true).loss));
    kn_loader *train = r.l->loaders.train;
    r.l->loaders.train = NULL;
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_ARG);
    kn_error_take(r.ctx);
    r.l->loaders.train = train;
    r.l->loaders.valid = NULL; /* training without validation is fine */
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    run_free(&r);
}

/* ---- who fails and does not say why is named ---- */

static kn_tensor *no_loss(kn_ctx *ctx, kn_tensor *preds, kn_tensor *target) {
    (void)ctx;
    (void)preds;
    (void)target;
    return NULL;
}

static kn_optimizer *no_optimizer(kn_module *model, double lr, void *user) {
    (void)model;
    (void)lr;
    (void)user;
    return NULL;
}

static kn_tensor *no_result(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)user;
    (void)m;
    (void)x;
    (void)y;
    return NULL;
}

static kn_flow take_x_away(kn_callback *cb, kn_learner *l) {
    (void)cb;
    l->x = NULL;
    return KN_GO;
}

static const kn_callback_class thief_class = {
    .name = "thief", .order = 500, .before_batch = take_x_away};

static void test_failures_without_a_reason(void **state) {
    (void)state;
    static const char *const want[] = {"loss_fn gave no loss", "opt_fn gave no optimizer",
                                       "returned no tensor, and no reason",
                                       "the model gave no predictions"};
    kn_callback thief = {&thief_class};
    for (int i = 0; i < 4; i++) {
        run r;
        run_init(&r);
        if (i == 0)
            r.l->loss_fn = no_loss;
        else if (i == 1)
            r.l->opt_fn = no_optimizer;
        else if (i == 2)
            kn_module_add_hook(r.model, no_result, NULL);
        else
            assert_int_equal(kn_learner_add(r.l, &thief), KN_OK);
        assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_STATE);
        check_error(r.ctx, KN_ERR_STATE, want[i]);
        run_free(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_every_flow_from_every_event),
        cmocka_unit_test(test_where_the_run_goes_on),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_failures_are_not_swallowed),
        cmocka_unit_test(test_failures_without_a_reason),
        cmocka_unit_test(test_bad_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
