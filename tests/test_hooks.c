/* test_hooks.c - hooks: their order, what they may change, their removal at any time, and that
 * watching a model changes no bit of it. */
#include "support/model_case.h"

#include "tensor/engine.h"

#include <kiln/ops.h>

#include <stdio.h>
#include <string.h>

/* ---- a hook that writes down its calls ---- */

static char calls[256];

typedef struct watcher {
    char letter;
    kn_module *module; /* what it is told of */
    int own_id;
    int remove_id;        /* removes this hook when called; 0: none */
    struct watcher *adds; /* adds this one when called */
    bool negates, fails;
} watcher;

static kn_tensor *watch(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    watcher *w = user;
    kn_ctx *ctx = kn_module_ctx(m);
    assert_ptr_equal(m, w->module);
    assert_non_null(x);
    size_t used = strlen(calls);
    snprintf(calls + used, sizeof calls - used, "%c%g ", w->letter, kn_item(ctx, y));
    if (w->remove_id > 0)
        kn_module_remove_hook(m, w->remove_id);
    if (w->adds != NULL) {
        w->adds->own_id = kn_module_add_hook(m, watch, w->adds);
        w->adds = NULL;
    }
    if (w->fails) {
        kn_fail(ctx, KN_ERR_DATA, "hook %c has seen enough", w->letter);
        return NULL;
    }
    return w->negates ? kn_neg(ctx, y) : y;
}

static void add(kn_module *m, watcher *w) {
    w->module = m;
    w->own_id = kn_module_add_hook(m, watch, w);
    assert_true(w->own_id > 0);
}

/* Calls m, whose output for 2 is 2 but for its hooks, and compares what they wrote. */
static void check_calls(kn_module *m, const char *want, double result) {
    kn_ctx *ctx = kn_module_ctx(m);
    static const float two = 2;
    calls[0] = '\0';
    kn_tensor *y = kn_forward(m, kn_from(ctx, KN_F32, KN_SHAPE(1, 1, 1, 1), &two));
    assert_string_equal(calls, want);
    assert_non_null(y);
    assert_true(kn_item(ctx, y) == result); // NOLINT(clang-diagnostic-float-equal)
    kn_step_end(ctx);
}

/* AdaptivePool of one pixel is the identity. */
static void hooks_run_in_order_and_see_each_other(void **state) {
    kn_module *m = kn_adaptive_pool(*state);
    watcher a = {.letter = 'a'}, b = {.letter = 'b', .negates = true}, c = {.letter = 'c'};
    check_calls(m, "", 2);
    add(m, &a);
    add(m, &b);
    add(m, &c);
    assert_true(a.own_id != b.own_id && b.own_id != c.own_id && a.own_id != c.own_id);
    check_calls(m, "a2 b2 c-2 ", -2);
    check_calls(m, "a2 b2 c-2 ", -2);
    kn_module_remove_hook(m, b.own_id);
    check_calls(m, "a2 c2 ", 2);
    kn_module_remove_hook(m, b.own_id); /* once more is once too often, and harmless */
    kn_module_remove_hook(m, 12345);
    check_calls(m, "a2 c2 ", 2);
    kn_module_remove_hook(m, a.own_id);
    assert_true(kn_module_hooked(m));
    kn_module_remove_hook(m, c.own_id);
    assert_false(kn_module_hooked(m));
    check_calls(m, "", 2);
    kn_module_free(m);
}

static void an_id_is_given_once(void **state) {
    kn_module *m = kn_adaptive_pool(*state);
    watcher a = {.letter = 'a'}, b = {.letter = 'b'};
    add(m, &a);
    kn_module_remove_hook(m, a.own_id);
    add(m, &b);
    kn_module_remove_hook(m, a.own_id);
    check_calls(m, "b2 ", 2);
    kn_module_free(m); /* with a hook on it */
}

static void hooks_may_go_and_come_while_hooks_run(void **state) {
    kn_module *m = kn_adaptive_pool(*state);
    watcher a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'}, d = {.letter = 'd'};
    add(m, &a);
    add(m, &b);
    add(m, &c);
    b.remove_id = b.own_id; /* itself: the others of this call still run */
    check_calls(m, "a2 b2 c2 ", 2);
    check_calls(m, "a2 c2 ", 2);
    add(m, &b);
    a.remove_id = c.own_id; /* a later one: it does not run any more */
    b.remove_id = a.own_id; /* an earlier one: it has run */
    check_calls(m, "a2 b2 ", 2);
    check_calls(m, "b2 ", 2);
    d.module = m; /* added on the way: from the next call on, also past the room for eight */
    b.adds = &d;
    watcher more[8];
    for (int i = 0; i < 7; i++) {
        more[i] = (watcher){.letter = (char)('0' + i)};
        add(m, &more[i]);
    }
    check_calls(m, "b2 02 12 22 32 42 52 62 ", 2);
    check_calls(m, "b2 02 12 22 32 42 52 62 d2 ", 2);
    kn_module_free(m);
}

/* The last hook's removal from within leaves a module without hooks. */
static void the_last_hook_may_remove_itself(void **state) {
    kn_module *m = kn_adaptive_pool(*state);
    watcher a = {.letter = 'a'};
    add(m, &a);
    a.remove_id = a.own_id;
    check_calls(m, "a2 ", 2);
    assert_false(kn_module_hooked(m));
    kn_module_free(m);
}

/* A hook that calls the module again, once. */
typedef struct nested {
    int depth, id;
} nested;

static kn_tensor *call_again(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    nested *n = user;
    if (n->depth++ > 0) {
        kn_module_remove_hook(m, n->id); /* while the outer call still runs its hooks */
        return kn_neg(kn_module_ctx(m), y);
    }
    return kn_forward(m, x);
}

static void a_hook_may_call_its_module(void **state) {
    kn_module *m = kn_adaptive_pool(*state);
    nested n = {0};
    watcher a = {.letter = 'a'};
    n.id = kn_module_add_hook(m, call_again, &n);
    add(m, &a);
    check_calls(m, "a-2 a-2 ", -2); /* the inner call's, then the outer's */
    check_calls(m, "a2 ", 2);
    kn_module_free(m);
}

static void a_failing_hook_fails_the_forward(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_sequential(ctx, kn_adaptive_pool(ctx), kn_linear(ctx, 1, 1));
    watcher a = {.letter = 'a', .fails = true}, b = {.letter = 'b'}, c = {.letter = 'c'};
    add(kn_module_child_at(m, 0), &a);
    add(kn_module_child_at(m, 0), &b);
    add(m, &c);
    calls[0] = '\0';
    assert_null(kn_forward(m, made_input(ctx, 1, KN_SHAPE(1, 1, 1, 1))));
    assert_int_equal(calls[0], 'a');
    assert_null(strchr(calls, 'b'));
    assert_null(strchr(calls, 'c'));
    check_error(ctx, KN_ERR_DATA, "hook a has seen enough");
    kn_module_free(m);
}

/* The gradient goes through what a hook put in place of the output. */
static kn_tensor *times_three(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)user;
    (void)x;
    return kn_mul(kn_module_ctx(m), y, kn_full(kn_module_ctx(m), KN_SCALAR, 3));
}

static void gradients_go_through_a_replacement(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_linear(ctx, 5, 4);
    float plain[24], hooked[24];
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            assert_true(kn_module_add_hook(m, times_three, NULL) > 0);
        kn_tensor *y = kn_forward(m, made_input(ctx, 1, KN_SHAPE(3, 5)));
        assert_int_equal(kn_backward(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0})), KN_OK);
        assert_int_equal(read_params(m, true, pass == 0 ? plain : hooked), 24);
        zero_grads(m);
        kn_step_end(ctx);
    }
    for (int i = 0; i < 24; i++)
        plain[i] *= 3;
    check_numbers("tripled", 24, hooked, plain, 1e-6);
    kn_module_free(m);
}

/* ---- watching changes no bit ---- */

static int seen;

static kn_tensor *look(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)user;
    assert_true(kn_module_hooked(m));
    assert_non_null(x);
    seen++;
    return y;
}

typedef struct outcome {
    float out[8 * 10], silent[8 * 10]; /* with and without a tape */
    float grad[SIMPLE_CNN_NUMBERS];
} outcome;

static void run_model(kn_module *m, int size, outcome *o) {
    kn_ctx *ctx = kn_module_ctx(m);
    static const int32_t label[8] = {0, 3, 9, 3, 1, 2, 2, 5};
    kn_tensor *x = made_input(ctx, 3, KN_SHAPE(8, size, size, 3));
    bool was = kn_grad_enable(ctx, false);
    check_read(ctx, kn_forward(m, x), 80, o->silent);
    kn_grad_enable(ctx, was);
    kn_tensor *y = kn_keep(ctx, kn_forward(m, x));
    check_read(ctx, y, 80, o->out);
    kn_tensor *loss = kn_cross_entropy(ctx, y, kn_from(ctx, KN_I32, KN_SHAPE(8), label));
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    kn_step_end(ctx);
    read_params(m, true, o->grad);
    zero_grads(m);
}

static void watch_and_compare(kn_ctx *ctx, const char *device, int size) {
    static outcome plain, hooked, again;
    kn_device_use(ctx, kn_device_open(ctx, device));
    kn_module *m = kn_simple_cnn(ctx, 10);
    int id[7];
    run_model(m, size, &plain);
    for (int i = 0; i < 6; i++)
        id[i] = kn_module_add_hook(kn_module_child_at(m, i), look, NULL);
    id[6] = kn_module_add_hook(m, look, NULL);
    seen = 0;
    run_model(m, size, &hooked);
    assert_int_equal(seen, 2 * 7);
    for (int i = 0; i < 6; i++)
        kn_module_remove_hook(kn_module_child_at(m, i), id[i]);
    kn_module_remove_hook(m, id[6]);
    run_model(m, size, &again);
    assert_int_equal(seen, 2 * 7);
    assert_memory_equal(&plain, &hooked, sizeof plain);
    assert_memory_equal(&plain, &again, sizeof plain);
    assert_memory_equal(plain.out, plain.silent, sizeof plain.out);
    kn_module_free(m);
}

static void watching_changes_no_bit(void **state) {
    static const int size[] = {64, 33, 16};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        watch_and_compare(*state, test_device(), size[i]);
    watch_and_compare(*state, "reference", 16);
}

/* The watched layer runs its convolution and its relu one by one: the tape has one op more. */
static void a_hook_turns_fusion_off(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_conv_layer(ctx, 3, 4, (kn_conv_opts){0});
    int id = 0;
    for (int round = 0; round < 3; round++) { /* without, with, without */
        if (round == 1)
            id = kn_module_add_hook(m, look, NULL);
        if (round == 2)
            kn_module_remove_hook(m, id);
        assert_non_null(kn_forward(m, made_input(ctx, 1, KN_SHAPE(2, 8, 8, 3))));
        assert_int_equal(ctx->engine->node_count, round == 1 ? 2 : 1);
        kn_step_end(ctx);
    }
    kn_module_free(m);
}

static kn_tensor *kept;

static kn_tensor *keep_output(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)user;
    (void)x;
    kept = kn_keep(kn_module_ctx(m), y);
    return y;
}

/* What a hook keeps is there until the step's end, recording or not. */
static void a_hook_may_keep_what_it_sees(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_simple_cnn(ctx, 10);
    kn_module_add_hook(kn_module_child_at(m, 1), keep_output, NULL);
    static float first[2 * 16 * 16 * 32], second[2 * 16 * 16 * 32];
    for (int recording = 0; recording < 2; recording++) {
        kn_grad_enable(ctx, recording);
        assert_non_null(kn_forward(m, made_input(ctx, 1, KN_SHAPE(2, 64, 64, 3))));
        check_read(ctx, kept, 2 * 16 * 16 * 32, recording ? second : first);
        kn_step_end(ctx);
    }
    assert_memory_equal(first, second, sizeof first);
    kn_module_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(hooks_run_in_order_and_see_each_other),
        MODEL_CASE(an_id_is_given_once),
        MODEL_CASE(hooks_may_go_and_come_while_hooks_run),
        MODEL_CASE(the_last_hook_may_remove_itself),
        MODEL_CASE(a_hook_may_call_its_module),
        MODEL_CASE(a_failing_hook_fails_the_forward),
        MODEL_CASE(gradients_go_through_a_replacement),
        MODEL_CASE(watching_changes_no_bit),
        MODEL_CASE(a_hook_turns_fusion_off),
        MODEL_CASE(a_hook_may_keep_what_it_sees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
