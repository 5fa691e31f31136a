/* test_backward_hooks.c - backward hooks: PyTorch's gradients to the bit, their order, their coming
 * and going, what they may change, and that watching changes no bit. */
#include "support/counted.h"
#include "support/model_case.h"

#include <kiln/ops.h>

#include <stdio.h>
#include <string.h>

/* ---- two layers whose numbers PyTorch 2 gave; all are exact in binary ---- */

static const float a_weight[] = {1, -2, 0.5F, 1.5F, -1, 0.25F}, a_bias[] = {0.5F, -1, 0.125F},
                   b_weight[] = {2, -1, 0.5F, 1, 0.75F, -3}, b_bias[] = {0.25F, -0.5F},
                   input[] = {1, 2, -0.5F, 0.75F};
/* Of the sum of squares of b(relu(a(x))): with respect to what a and b give and take. */
static const float b_dy[] = {-4.5F, 2.75F, 1.3125F, -5.875F},
                   b_dx[] = {-6.25F, 6.5625F, -10.5F, -3.25F, -5.71875F, 18.28125F},
                   a_dy[] = {0, 6.5625F, 0, 0, 0, 18.28125F},
                   a_weight_grad[] = {0, 0, 6.5625F, 13.125F, -9.140625F, 13.7109375F};
/* Half the sum of squares of relu(a(x)) added to the loss. */
static const float both_a_dy[] = {0, 9.0625F, 0, 0, 0, 19.09375F},
                   both_a_dx[] = {4.53125F, 13.59375F, -19.09375F, 4.7734375F};

static void set(kn_module *m, int i, const float *numbers, size_t bytes) {
    kn_named_list all;
    kn_ctx *ctx = kn_module_ctx(m);
    assert_int_equal(kn_module_parameters(m, &all), KN_OK);
    assert_int_equal(kn_tensor_write(ctx, kn_param_value(all.item[i].param), numbers, bytes),
                     KN_OK);
    kn_named_free(ctx, &all);
}

static void layers(kn_ctx *ctx, kn_module **a, kn_module **b) {
    *a = kn_linear(ctx, 2, 3);
    *b = kn_linear(ctx, 3, 2);
    set(*a, 0, a_weight, sizeof a_weight);
    set(*a, 1, a_bias, sizeof a_bias);
    set(*b, 0, b_weight, sizeof b_weight);
    set(*b, 1, b_bias, sizeof b_bias);
}

static kn_tensor *sum_of_squares(kn_ctx *ctx, kn_tensor *x) {
    return kn_sum(ctx, kn_mul(ctx, x, x), KN_ALL, (kn_reduce_opts){0});
}

static kn_tensor *made(kn_ctx *ctx) {
    return kn_from(ctx, KN_F32, KN_SHAPE(2, 2), input);
}

/* ---- a hook that writes down what it is told ---- */

static char calls[64];

typedef struct watcher {
    char letter;
    kn_module *module;
    int id, told;
    int remove_id; /* removes this hook when called; 0: none */
    const float *dx, *dy;
    int64_t dx_count, dy_count; /* 0: not compared; dx NULL: there must be none */
    bool triples, fails, forgets, wrong_shape;
} watcher;

static kn_tensor *watch(void *user, kn_module *m, kn_tensor *dx, kn_tensor *dy) {
    watcher *w = user;
    kn_ctx *ctx = kn_module_ctx(m);
    assert_ptr_equal(m, w->module);
    size_t used = strlen(calls);
    snprintf(calls + used, sizeof calls - used, "%c", w->letter);
    w->told++;
    if (w->dy_count > 0)
        check_values(ctx, dy, w->dy_count, w->dy);
    if (w->dx_count > 0)
        check_values(ctx, dx, w->dx_count, w->dx);
    else if (w->dy_count > 0)
        assert_null(dx);
    if (w->remove_id > 0)
        kn_module_remove_hook(m, w->remove_id);
    if (w->fails) {
        kn_fail(ctx, KN_ERR_DATA, "hook %c has seen enough", w->letter);
        return NULL;
    }
    if (w->forgets)
        return NULL;
    if (w->wrong_shape)
        return kn_zeros(ctx, KN_F32, KN_SHAPE(7));
    return w->triples ? kn_mul(ctx, dx, kn_full(ctx, KN_SCALAR, 3)) : dx;
}

static void add(kn_module *m, watcher *w) {
    w->module = m;
    w->id = kn_module_add_backward_hook(m, watch, w);
    assert_true(w->id > 0);
}

/* ---- the gradients ---- */

static void gradients_are_those_of_pytorch(void **state) {
    kn_ctx *ctx = *state;
    const char *const devices[] = {"reference", test_device()};
    for (int i = 0; i < 2; i++) {
        check_use(ctx, devices[i]);
        kn_module *a, *b;
        layers(ctx, &a, &b);
        watcher on_a = {.letter = 'a', .dy = a_dy, .dy_count = 6};
        watcher on_b = {.letter = 'b', .dy = b_dy, .dy_count = 4, .dx = b_dx, .dx_count = 6};
        add(a, &on_a);
        add(b, &on_b);
        calls[0] = '\0';
        kn_tensor *y = kn_forward(b, kn_relu(ctx, kn_forward(a, made(ctx))));
        assert_int_equal(kn_backward(ctx, sum_of_squares(ctx, y)), KN_OK);
        assert_string_equal(calls, "ba");
        float grad[9];
        assert_int_equal(read_params(a, true, grad), 9);
        assert_memory_equal(grad, a_weight_grad, sizeof a_weight_grad);
        kn_step_end(ctx);
        kn_module_free(a);
        kn_module_free(b);
    }
}

/* The output goes two ways: dy is the sum. The input, a leaf, has its own gradient too. */
static void an_output_used_twice(void **state) {
    kn_ctx *ctx = *state;
    kn_module *a, *b;
    layers(ctx, &a, &b);
    watcher w = {.dy = both_a_dy, .dy_count = 6, .dx = both_a_dx, .dx_count = 4};
    add(a, &w);
    kn_tensor *x = kn_require_grad(ctx, made(ctx));
    kn_tensor *y = kn_relu(ctx, kn_forward(a, x));
    kn_tensor *half = kn_mul(ctx, sum_of_squares(ctx, y), kn_full(ctx, KN_SCALAR, 0.5F));
    kn_tensor *loss = kn_add(ctx, sum_of_squares(ctx, kn_forward(b, y)), half);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    assert_int_equal(w.told, 1);
    check_values(ctx, kn_grad(ctx, x), 4, both_a_dx);
    kn_step_end(ctx);
    kn_module_free(a);
    kn_module_free(b);
}

/* dx is what comes through the module, not what comes past it. */
static void an_input_used_elsewhere(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_linear(ctx, 1, 1);
    static const float three = 3, one = 1, four = 4;
    set(m, 0, &three, sizeof three);
    watcher w = {.dy = &one, .dy_count = 1, .dx = &three, .dx_count = 1};
    add(m, &w);
    kn_tensor *x = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(1, 1), &one));
    kn_tensor *y = kn_add(ctx, kn_forward(m, x), x);
    assert_int_equal(kn_backward(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0})), KN_OK);
    assert_int_equal(w.told, 1);
    check_values(ctx, kn_grad(ctx, x), 1, &four);
    kn_step_end(ctx);
    kn_module_free(m);
}

/* Two calls of one module, one around the other: each is told of its own gradients. */
static void a_module_called_twice(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_linear(ctx, 1, 1);
    static const float three = 3, one = 1;
    set(m, 0, &three, sizeof three);
    watcher w = {.letter = 'm'};
    add(m, &w);
    kn_tensor *x = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(1, 1), &one));
    assert_int_equal(kn_backward(ctx, kn_forward(m, kn_forward(m, x))), KN_OK);
    assert_int_equal(w.told, 2);
    static const float nine = 9;
    check_values(ctx, kn_grad(ctx, x), 1, &nine);
    kn_step_end(ctx);
    kn_module_free(m);
}

/* ---- what hooks may do ---- */

static void backward_of(kn_module *m, kn_status want) {
    kn_ctx *ctx = kn_module_ctx(m);
    calls[0] = '\0';
    kn_tensor *x = kn_require_grad(ctx, made(ctx));
    assert_int_equal(kn_backward(ctx, sum_of_squares(ctx, kn_forward(m, x))), want);
    kn_step_end(ctx);
}

static void they_run_in_order_and_go_at_any_time(void **state) {
    kn_module *m = kn_linear(*state, 2, 3);
    watcher w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (watcher){.letter = (char)('a' + i)};
        add(m, &w[i]);
    }
    assert_true(kn_module_hooked(m));
    backward_of(m, KN_OK);
    assert_string_equal(calls, "abcd");
    w[1].remove_id = w[1].id; /* itself */
    w[2].remove_id = w[3].id; /* a later one: it does not run any more */
    backward_of(m, KN_OK);
    assert_string_equal(calls, "abc");
    backward_of(m, KN_OK);
    assert_string_equal(calls, "ac");
    kn_module_remove_hook(m, w[0].id);
    kn_module_remove_hook(m, w[2].id);
    assert_false(kn_module_hooked(m));
    backward_of(m, KN_OK);
    assert_string_equal(calls, "");
    kn_module_free(m);
}

static void a_hook_may_replace_dx(void **state) {
    kn_ctx *ctx = *state;
    float grad[2][4];
    kn_module *a, *b;
    layers(ctx, &a, &b);
    for (int i = 0; i < 2; i++) {
        watcher first = {.letter = 'a', .triples = i == 1}, second = {.letter = 'b'};
        add(a, &first);
        add(a, &second);
        kn_tensor *x = kn_require_grad(ctx, made(ctx));
        assert_int_equal(kn_backward(ctx, sum_of_squares(ctx, kn_forward(a, x))), KN_OK);
        check_read(ctx, kn_grad(ctx, x), 4, grad[i]);
        kn_module_remove_hook(a, first.id);
        kn_module_remove_hook(a, second.id);
        kn_step_end(ctx);
    }
    for (int k = 0; k < 4; k++)
        grad[0][k] *= 3;
    assert_memory_equal(grad[0], grad[1], sizeof grad[0]);
    kn_module_free(a);
    kn_module_free(b);
}

static void a_failing_hook_fails_the_backward(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_linear(ctx, 2, 3);
    watcher a = {.letter = 'a', .fails = true}, b = {.letter = 'b'};
    add(m, &a);
    add(m, &b);
    backward_of(m, KN_ERR_DATA);
    check_error(ctx, KN_ERR_DATA, "hook a has seen enough");
    assert_string_equal(calls, "a");
    a.fails = false;
    a.forgets = true;
    backward_of(m, KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "Linear returned no gradient");
    a.forgets = false;
    a.wrong_shape = true;
    backward_of(m, KN_ERR_SHAPE);
    check_error(ctx, KN_ERR_SHAPE, "f32 [7] for a gradient f32 [2,2]");
    a.wrong_shape = false;
    backward_of(m, KN_OK);
    kn_module_free(m);
}

/* A hook keeps both; they hold their values to the step's end. */
static kn_tensor *kept[2];

static kn_tensor *keep(void *user, kn_module *m, kn_tensor *dx, kn_tensor *dy) {
    (void)user;
    kept[0] = kn_keep(kn_module_ctx(m), dx);
    kept[1] = kn_keep(kn_module_ctx(m), dy);
    return dx;
}

static void a_hook_may_keep_both(void **state) {
    kn_ctx *ctx = *state;
    kn_module *a, *b;
    layers(ctx, &a, &b);
    assert_true(kn_module_add_backward_hook(b, keep, NULL) > 0);
    kn_tensor *y = kn_forward(b, kn_relu(ctx, kn_forward(a, made(ctx))));
    assert_int_equal(kn_backward(ctx, sum_of_squares(ctx, y)), KN_OK);
    check_values(ctx, kept[0], 6, b_dx);
    check_values(ctx, kept[1], 4, b_dy);
    kn_step_end(ctx);
    kn_module_free(a);
    kn_module_free(b);
}

/* ---- watching changes no bit ---- */

static kn_tensor *look(void *user, kn_module *m, kn_tensor *dx, kn_tensor *dy) {
    kn_ctx *ctx = kn_module_ctx(m);
    ++*(int *)user;
    /* Ops of a hook are not recorded, and disturb nothing. */
    kn_item(ctx, kn_std(ctx, dy, KN_ALL, (kn_reduce_opts){0}));
    return dx;
}

static void watching_changes_no_bit(void **state) {
    kn_ctx *ctx = *state;
    const char *const devices[] = {"reference", test_device()};
    static float plain[SIMPLE_CNN_NUMBERS], hooked[SIMPLE_CNN_NUMBERS];
    for (int i = 0; i < 2; i++) {
        check_use(ctx, devices[i]);
        kn_module *m = kn_simple_cnn(ctx, 10);
        int size = i == 0 ? 16 : 33, told = 0;
        backward_once(m, 4, size);
        read_params(m, true, plain);
        zero_grads(m);
        for (int k = 0; k < 6; k++)
            assert_true(kn_module_add_backward_hook(kn_module_child_at(m, k), look, &told) > 0);
        assert_true(kn_module_add_backward_hook(m, look, &told) > 0);
        backward_once(m, 4, size);
        read_params(m, true, hooked);
        assert_int_equal(told, 7);
        assert_memory_equal(plain, hooked, sizeof plain);
        bool was = kn_grad_enable(ctx, false);
        assert_non_null(kn_forward(m, made_input(ctx, 1, KN_SHAPE(2, size, size, 3))));
        kn_grad_enable(ctx, was);
        kn_step_end(ctx);
        assert_int_equal(told, 7);
        kn_module_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(gradients_are_those_of_pytorch),
        MODEL_CASE(an_output_used_twice),
        MODEL_CASE(an_input_used_elsewhere),
        MODEL_CASE(a_module_called_twice),
        MODEL_CASE(they_run_in_order_and_go_at_any_time),
        MODEL_CASE(a_hook_may_replace_dx),
        MODEL_CASE(a_failing_hook_fails_the_backward),
        MODEL_CASE(a_hook_may_keep_both),
        MODEL_CASE(watching_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
