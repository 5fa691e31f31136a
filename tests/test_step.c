/* test_step.c - a fit step by step is the fit in one go: the same events with the same flows, the
 * same messages, the same bits; and what may be done in between. */
#include "support/check.h"
#include "support/tiny_run.h"

#include "core/ctx.h"

#include <stdlib.h>
#include <string.h>

/* ---- a callback that writes down every event, and raises a flow at one ---- */

enum { MOST = 256, EPOCHS = 2 };

typedef struct spy {
    kn_callback base;
    kn_event event[MOST];
    int epoch[MOST];
    bool training[MOST];
    int64_t batch[MOST];
    int count;
    bool raises;
    kn_event at;
    kn_flow flow;
    int nth, seen;
} spy;

static kn_flow note(kn_callback *cb, kn_learner *l, kn_event event) {
    spy *s = (spy *)cb;
    assert_true(s->count < MOST);
    s->event[s->count] = event;
    s->epoch[s->count] = l->epoch;
    s->training[s->count] = l->training;
    s->batch[s->count++] = l->batch_index;
    if (!s->raises || event != s->at || ++s->seen != s->nth)
        return KN_GO;
    if (s->flow == KN_FAIL)
        kn_fail(l->ctx, KN_ERR_IO, "the spy's own error");
    return s->flow;
}

static const kn_callback_class spy_class = {.name = "spy", .any = note};

static kn_status whole(kn_learner *l) {
    return kn_learner_fit(l, EPOCHS);
}

static kn_status stepwise(kn_learner *l) {
    bool trained = true;
    kn_status status = kn_learner_begin(l, EPOCHS);
    while (status == KN_OK && trained)
        status = kn_learner_step(l, &trained);
    assert_int_equal(kn_learner_end(l), status);
    return status;
}

typedef struct outcome {
    kn_status status;
    char message[KN_ERROR_MAX], hex[65];
    int epoch;
    int64_t step;
    spy s;
} outcome;

static void run_one(outcome *o, kn_status (*fit)(kn_learner *l), const spy *s) {
    run r;
    run_init(&r);
    o->s = *s;
    assert_int_equal(kn_learner_add(r.l, kn_mixup_cb(r.ctx, 1)), KN_OK);
    assert_int_equal(kn_learner_add(r.l, kn_one_cycle_cb(r.ctx, (kn_one_cycle_opts){0})), KN_OK);
    assert_int_equal(kn_learner_add(r.l, &o->s.base), KN_OK);
    o->status = fit(r.l);
    memcpy(o->message, kn_error_take(r.ctx).message, sizeof o->message);
    assert_int_equal(kn_weights_sha256(r.model, o->hex), KN_OK);
    o->epoch = r.l->epoch;
    o->step = r.l->step;
    /* The learner is whole again. */
    o->s.raises = false;
    int count = o->s.count;
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    o->s.count = count;
    run_free(&r);
}

static void check_alike(const spy *s) {
    static outcome a, b;
    run_one(&a, whole, s);
    run_one(&b, stepwise, s);
    assert_int_equal(a.status, b.status);
    assert_string_equal(a.message, b.message);
    assert_string_equal(a.hex, b.hex);
    assert_int_equal(a.epoch, b.epoch);
    assert_int_equal(a.step, b.step);
    assert_int_equal(a.s.count, b.s.count);
    for (int i = 0; i < a.s.count; i++) {
        assert_int_equal(a.s.event[i], b.s.event[i]);
        assert_int_equal(a.s.epoch[i], b.s.epoch[i]);
        assert_int_equal(a.s.training[i], b.s.training[i]);
        assert_int_equal(a.s.batch[i], b.s.batch[i]);
    }
}

static void steps_are_the_fit(void **state) {
    (void)state;
    check_alike(&(spy){.base = {&spy_class}});
}

/* Also where it is cancelled or fails, at the first and at the second occurrence. */
static void every_flow_from_every_event_does_the_same(void **state) {
    (void)state;
    for (int event = 0; event < kn_event_after_cancel_backward; event++)
        for (int flow = KN_CANCEL_STEP; flow <= KN_FAIL; flow++)
            for (int nth = 1; nth <= 2; nth++)
                check_alike(&(spy){.base = {&spy_class},
                                   .raises = true,
                                   .at = (kn_event)event,
                                   .flow = (kn_flow)flow,
                                   .nth = nth});
}

/* ---- one step at a time ---- */

static int events_of(const spy *s, kn_event event) {
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += s->event[i] == event;
    return n;
}

static void a_step_is_a_batch(void **state) {
    (void)state;
    run r;
    run_init(&r);
    spy s = {.base = {&spy_class}};
    bool trained;
    kn_learner_add(r.l, kn_track_results_cb(r.ctx));
    kn_learner_add(r.l, &s.base);
    assert_int_equal(kn_learner_begin(r.l, EPOCHS), KN_OK);
    assert_int_equal(s.count, 1); /* before_fit */
    static const struct {
        int validated, samples; /* whole validations; samples trained on in the epoch so far */
    } after[] = {{0, 4}, {0, 6}, {1, 4}, {1, 6}};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(kn_learner_step(r.l, &trained), KN_OK);
        assert_true(trained);
        assert_int_equal(r.l->step, i + 1);
        assert_int_equal(events_of(&s, kn_event_after_step), i + 1);
        assert_int_equal(events_of(&s, kn_event_after_validate), after[i].validated);
        assert_int_equal(kn_track_results_now(r.l).samples, after[i].samples);
    }
    assert_int_equal(events_of(&s, kn_event_after_fit), 0);
    for (int i = 0; i < 2; i++) { /* over, and over again */
        assert_int_equal(kn_learner_step(r.l, &trained), KN_OK);
        assert_false(trained);
        assert_int_equal(events_of(&s, kn_event_after_validate), 2);
        assert_int_equal(events_of(&s, kn_event_after_fit), 1);
    }
    assert_int_equal(kn_learner_end(r.l), KN_OK);
    assert_int_equal(events_of(&s, kn_event_after_fit), 1);
    assert_int_equal(kn_track_results(r.l, true).samples, TRAIN);
    run_free(&r);
}

/* ---- in between ---- */

/* The program predicts, in evaluation mode and without a tape; no bit of the training moves. */
static void the_model_may_be_used_in_between(void **state) {
    (void)state;
    char without[65], with[65];
    for (int used = 0; used < 2; used++) {
        run r;
        run_init(&r);
        bool trained = true;
        assert_int_equal(kn_learner_begin(r.l, EPOCHS), KN_OK);
        while (kn_learner_step(r.l, &trained) == KN_OK && trained) {
            if (!used)
                continue;
            assert_true(kn_module_training(r.model));
            kn_module_train(r.model, false);
            bool was = kn_grad_enable(r.ctx, false);
            assert_true(was);
            kn_tensor *x = kn_full(r.ctx, KN_SHAPE(2, SIDE, SIDE, 3), 0.5f);
            assert_non_null(kn_forward(r.model, x));
            kn_step_end(r.ctx);
            kn_grad_enable(r.ctx, true);
        }
        assert_int_equal(kn_learner_end(r.l), KN_OK);
        assert_int_equal(kn_weights_sha256(r.model, used ? with : without), KN_OK);
        run_free(&r);
    }
    assert_string_equal(without, with);
}

static void leaving_early_cancels_the_fit(void **state) {
    (void)state;
    static const kn_event end[] = {kn_event_after_cancel_train, kn_event_after_train,
                                   kn_event_after_cancel_epoch, kn_event_after_epoch,
                                   kn_event_after_cancel_fit,   kn_event_after_fit};
    for (int steps = 0; steps < 3; steps++) {
        run r;
        run_init(&r);
        spy s = {.base = {&spy_class}};
        bool trained;
        kn_learner_add(r.l, &s.base);
        assert_int_equal(kn_learner_begin(r.l, EPOCHS), KN_OK);
        for (int i = 0; i < steps; i++)
            assert_int_equal(kn_learner_step(r.l, &trained), KN_OK);
        assert_int_equal(kn_learner_end(r.l), KN_OK);
        int n = steps == 0 ? 2 : 6; /* no epoch was begun: the fit's alone */
        for (int i = 0; i < n; i++)
            assert_int_equal(s.event[s.count - n + i], end[6 - n + i]);
        assert_int_equal(kn_learner_step(r.l, &trained), KN_OK);
        assert_false(trained);
        assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
        run_free(&r);
    }
}

/* ---- misuse, and errors from outside ---- */

static void what_cannot_be_now_is_refused(void **state) {
    (void)state;
    run r;
    run_init(&r);
    bool trained = true;
    assert_int_equal(kn_learner_step(r.l, &trained), KN_ERR_STATE);
    assert_false(trained);
    check_error(r.ctx, KN_ERR_STATE, "kn_learner_begin");
    assert_int_equal(kn_learner_end(r.l), KN_ERR_STATE);
    check_error(r.ctx, KN_ERR_STATE, "kn_learner_begin");
    assert_int_equal(kn_learner_begin(r.l, 0), KN_ERR_ARG);
    kn_error_take(r.ctx);
    assert_int_equal(kn_learner_begin(r.l, 1), KN_OK);
    assert_int_equal(kn_learner_begin(r.l, 1), KN_ERR_STATE);
    check_error(r.ctx, KN_ERR_STATE, "a fit is under way");
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_STATE);
    kn_error_take(r.ctx);
    assert_int_equal(kn_learner_validate(r.l), KN_ERR_STATE);
    kn_error_take(r.ctx);
    assert_int_equal(kn_learner_step(r.l, &trained), KN_OK); /* none of it did any harm */
    assert_true(trained);
    assert_int_equal(kn_learner_end(r.l), KN_OK);
    assert_int_equal(kn_learner_begin(NULL, 1), KN_ERR_STATE);
    assert_int_equal(kn_learner_step(NULL, &trained), KN_ERR_STATE);
    assert_int_equal(kn_learner_end(NULL), KN_ERR_STATE);
    run_free(&r);
}

static void an_error_in_between_stays_the_first(void **state) {
    (void)state;
    run r;
    run_init(&r);
    spy s = {.base = {&spy_class}};
    bool trained;
    kn_learner_add(r.l, &s.base);
    assert_int_equal(kn_learner_begin(r.l, EPOCHS), KN_OK);
    assert_int_equal(kn_learner_step(r.l, &trained), KN_OK);
    int count = s.count;
    kn_fail(r.ctx, KN_ERR_DATA, "the program's own error");
    assert_int_equal(kn_learner_step(r.l, &trained), KN_ERR_DATA);
    assert_false(trained);
    assert_int_equal(s.count, count); /* the fit waits */
    assert_int_equal(kn_learner_end(r.l), KN_ERR_DATA);
    assert_int_equal(s.event[s.count - 1], kn_event_after_fit);
    check_error(r.ctx, KN_ERR_DATA, "the program's own error");
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_the_fit),
        cmocka_unit_test(every_flow_from_every_event_does_the_same),
        cmocka_unit_test(a_step_is_a_batch),
        cmocka_unit_test(the_model_may_be_used_in_between),
        cmocka_unit_test(leaving_early_cancels_the_fit),
        cmocka_unit_test(what_cannot_be_now_is_refused),
        cmocka_unit_test(an_error_in_between_stays_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
