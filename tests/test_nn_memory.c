/* test_nn_memory.c - modules and memory: how much a forward holds, and what happens when there is
 * none. Each allocation in turn is refused; whatever then fails says so, leaks nothing and leaves
 * everything as good as before, so that the same call succeeds the next time. */
#include "support/model_case.h"

#include <kiln/ops.h>
#include <kiln/optim.h>

#include <string.h>

/* ---- how much a forward holds ---- */

enum { DEPTH = 24, WIDTH = 8, SIDE = 16, BATCH = 16 };

static kn_module *deep(kn_ctx *ctx) {
    kn_module *layer[DEPTH];
    for (int i = 0; i < DEPTH; i++)
        layer[i] = kn_conv_layer(ctx, WIDTH, WIDTH, (kn_conv_opts){0});
    return kn_sequential_of(ctx, layer, DEPTH);
}

/* Bytes that the forwards of one step take beyond the model, in activations of the deep model. */
static double activations(bool tape, int forwards) {
    counted c = {0};
    kn_ctx *ctx = counted_ctx(&c, test_device());
    kn_module *m = deep(ctx);
    kn_tensor *x = made_input(ctx, 1, KN_SHAPE(BATCH, SIDE, SIDE, WIDTH));
    size_t before = kn_step_memory(ctx);
    kn_grad_enable(ctx, tape);
    for (int i = 0; i < forwards; i++)
        assert_non_null(kn_forward(m, x));
    size_t taken = kn_step_memory(ctx) - before;
    kn_step_end(ctx);
    kn_module_free(m);
    counted_ctx_free(&c, ctx);
    return (double)taken / (BATCH * SIDE * SIDE * WIDTH * sizeof(float));
}

/* Without a tape a layer's input goes back to the pool once it was used: two activations are alive
 * at a time however deep the model, and each call leaves its result. */
static void without_a_tape_only_the_result_stays(void **state) {
    (void)state;
    double with = activations(true, 1), without = activations(false, 1);
    if (!(with >= DEPTH && without <= 2.5))
        fail_msg("a forward of %d layers took %g activations with and %g without a tape", DEPTH,
                 with, without);
    double five = activations(false, 5); /* five results, and the one under way */
    if (!(five <= 5 + 1.5))
        fail_msg("five forwards without a tape took %g activations", five);
}

/* MiB that four forwards of one step take. */
static double taken_by_simple_cnn(bool tape) {
    counted c = {0};
    kn_ctx *ctx = counted_ctx(&c, test_device());
    kn_module *m = kn_simple_cnn(ctx, 10);
    kn_tensor *x = made_input(ctx, 1, KN_SHAPE(128, 64, 64, 3));
    size_t before = kn_step_memory(ctx);
    kn_grad_enable(ctx, tape);
    for (int i = 0; i < 4; i++)
        assert_non_null(kn_forward(m, x));
    size_t taken = kn_step_memory(ctx) - before;
    kn_step_end(ctx);
    kn_module_free(m);
    counted_ctx_free(&c, ctx);
    return (double)taken / (1 << 20);
}

/* Its activations are 8, 4, 2 and 1 MiB. */
static void simple_cnn_takes_what_it_must(void **state) {
    (void)state;
    double with = taken_by_simple_cnn(true), without = taken_by_simple_cnn(false);
    if (!(with >= 4 * 15 && without >= 15 && without <= 15.5))
        fail_msg("four forwards took %g MiB with and %g without a tape", with, without);
}

/* A module of one's own, ten ops long: they are released at its end, its result is not. */
static kn_tensor *ten_ops(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    (void)m;
    for (int i = 0; i < 10; i++)
        x = kn_neg(ctx, x);
    return x;
}

static const kn_module_class ten_class = {.name = "Ten", .forward = ten_ops};

static void own_modules_give_back_too(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_module_new(ctx, &ten_class, sizeof *m);
    kn_grad_enable(ctx, false);
    kn_tensor *x = made_input(ctx, 1, KN_SHAPE(1024));
    float in[1024], out[1024];
    check_read(ctx, x, 1024, in);
    size_t before = kn_step_memory(ctx);
    for (int i = 0; i < 20; i++)
        x = kn_forward(m, x); /* the former result is the caller's, and stays */
    check_read(ctx, x, 1024, out);
    assert_memory_equal(in, out, sizeof in);
    assert_true(kn_step_memory(ctx) - before <= (size_t)(20 + 10) * sizeof in);
    kn_step_end(ctx);
    kn_grad_enable(ctx, true);
    kn_module_free(m);
}

/* ---- no memory ---- */

/* Something that needs memory. prepare makes what run works on; run returns whether it succeeded;
 * check looks at the result of a run that did. All may be called several times, m is freed after.
 */
typedef struct memory_case {
    const char *name;
    kn_module *(*prepare)(kn_ctx *ctx); /* may be NULL */
    bool (*run)(kn_ctx *ctx, kn_module **m);
    void (*check)(kn_ctx *ctx, kn_module *m); /* may be NULL */
} memory_case;

static bool make_conv(kn_ctx *ctx, kn_module **m) {
    return (*m = kn_conv_layer(ctx, 3, 8, (kn_conv_opts){0})) != NULL;
}

static bool make_plain_conv(kn_ctx *ctx, kn_module **m) {
    return (*m = kn_conv_layer(ctx, 3, 8, (kn_conv_opts){.no_bias = true, .no_act = true})) != NULL;
}

static bool make_linear(kn_ctx *ctx, kn_module **m) {
    return (*m = kn_linear(ctx, 7, 3)) != NULL;
}

static bool make_pool(kn_ctx *ctx, kn_module **m) {
    return (*m = kn_adaptive_pool(ctx)) != NULL;
}

static bool make_sequential(kn_ctx *ctx, kn_module **m) {
    return (*m = kn_sequential(ctx, kn_linear(ctx, 2, 3), kn_sequential(ctx, kn_linear(ctx, 3, 2)),
                               kn_adaptive_pool(ctx))) != NULL;
}

static bool make_simple_cnn(kn_ctx *ctx, kn_module **m) {
    return (*m = kn_model_new(ctx, "simple_cnn", 10)) != NULL;
}

static kn_module *small_net(kn_ctx *ctx) {
    kn_module *m = kn_sequential(ctx, kn_conv_layer(ctx, 3, 8, (kn_conv_opts){.stride = 2}),
                                 kn_adaptive_pool(ctx), kn_linear(ctx, 8, 10));
    assert_non_null(m);
    return m;
}

static kn_module *small_net_with_gradients(kn_ctx *ctx) {
    kn_module *m = small_net(ctx);
    backward_once(m, 2, 8);
    return m;
}

static const kn_module_class own_class = {.name = "Own"};

static bool make_own(kn_ctx *ctx, kn_module **m) {
    *m = kn_module_new(ctx, &own_class, sizeof **m);
    kn_module *a = *m != NULL ? kn_module_child(*m, "a", kn_linear(ctx, 2, 2)) : NULL;
    kn_param *p = a != NULL ? kn_module_param(*m, "p", KN_SHAPE(3)) : NULL;
    bool good = p != NULL && kn_module_share_param(a, "p", p) != NULL &&
                kn_module_buffer(*m, "b", KN_I32, KN_SHAPE(5)) != NULL;
    if (!good) { /* half made is freed as any other */
        kn_module_free(*m);
        *m = NULL;
    }
    return good;
}

static bool list_state(kn_ctx *ctx, kn_module **m) {
    kn_named_list list;
    bool good = kn_module_state_list(*m, &list) == KN_OK;
    assert_int_equal(list.count, good ? 4 : 0);
    kn_named_free(ctx, &list);
    return good;
}

static bool count_numbers(kn_ctx *ctx, kn_module **m) {
    (void)ctx;
    return kn_module_numel(*m) == 8 * 27 + 8 + 80 + 10;
}

static kn_tensor *leave(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)user;
    (void)m;
    (void)x;
    return y;
}

static bool hook_on(kn_ctx *ctx, kn_module **m) {
    (void)ctx;
    for (int i = 0; i < 9; i++) /* past the room for eight */
        if (kn_module_add_hook(*m, leave, NULL) == 0)
            return false;
    return true;
}

/* The numbers of a model that is moved about must come through, whatever failed on the way. */
static float expected[2][512];

static kn_module *known_net(kn_ctx *ctx) {
    kn_module *m = small_net_with_gradients(ctx);
    assert_true(read_params(m, false, expected[0]) <= 512);
    read_params(m, true, expected[1]);
    return m;
}

static void check_known(kn_ctx *ctx, kn_module *m) {
    (void)ctx;
    float values[512], grads[512];
    size_t bytes = (size_t)read_params(m, false, values) * sizeof(float);
    read_params(m, true, grads);
    assert_memory_equal(values, expected[0], bytes);
    assert_memory_equal(grads, expected[1], bytes);
}

static bool pack(kn_ctx *ctx, kn_module **m) {
    (void)ctx;
    return kn_module_pack(*m) != NULL;
}

static kn_module *packed_then_changed(kn_ctx *ctx) {
    kn_module *m = known_net(ctx);
    assert_non_null(kn_module_pack(m));
    assert_non_null(kn_module_child(m, "more", kn_adaptive_pool(ctx)));
    return m;
}

static bool move_over(kn_ctx *ctx, kn_module **m) {
    kn_device *reference = kn_device_open(ctx, "reference");
    return reference != NULL && kn_module_to(*m, reference) == KN_OK;
}

static void check_moved(kn_ctx *ctx, kn_module *m) {
    check_known(ctx, m);
    kn_named_list list;
    kn_device *reference = kn_device_open(ctx, "reference");
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    for (int i = 0; i < list.count; i++) {
        assert_ptr_equal(kn_tensor_device(kn_param_value(list.item[i].param)), reference);
        assert_ptr_equal(kn_tensor_device(kn_param_grad(list.item[i].param)), reference);
    }
    kn_named_free(ctx, &list);
}

/* One training step, with momentum, of a fresh optimizer. */
static bool train_step(kn_ctx *ctx, kn_module **m) {
    static const int32_t label[4] = {1, 2, 3, 9};
    static float x[4 * 8 * 8 * 3];
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)(i % 7) - 3;
    kn_optimizer *opt = kn_sgd(*m, 0.1, (kn_sgd_opts){.momentum = 0.9});
    if (opt == NULL)
        return false;
    kn_optimizer_zero_grad(opt);
    kn_tensor *y = kn_forward(*m, kn_from(ctx, KN_F32, KN_SHAPE(4, 8, 8, 3), x));
    kn_tensor *loss = kn_cross_entropy(ctx, y, kn_from(ctx, KN_I32, KN_SHAPE(4), label));
    bool good = loss != NULL && kn_backward(ctx, loss) == KN_OK && kn_optimizer_step(opt) == KN_OK;
    kn_optimizer_free(opt);
    kn_step_end(ctx);
    return good;
}

static const memory_case cases[] = {
    {"conv_layer", NULL, make_conv, NULL},
    {"conv_layer without bias", NULL, make_plain_conv, NULL},
    {"linear", NULL, make_linear, NULL},
    {"adaptive_pool", NULL, make_pool, NULL},
    {"sequential", NULL, make_sequential, NULL},
    {"simple_cnn", NULL, make_simple_cnn, NULL},
    {"own module", NULL, make_own, NULL},
    {"state_list", small_net, list_state, NULL},
    {"numel", small_net, count_numbers, NULL},
    {"add_hook", small_net, hook_on, NULL},
    {"pack", known_net, pack, check_known},
    {"pack again", packed_then_changed, pack, check_known},
    {"to", known_net, move_over, check_moved},
    {"train step", small_net, train_step, NULL},
};

/* One run with the nth allocation refused, and then the same without. Whether any was refused. */
static bool refuse_one(const memory_case *mc, long nth, bool and_after) {
    counted c = {0};
    kn_ctx *ctx = counted_ctx(&c, test_device());
    kn_module *m = mc->prepare != NULL ? mc->prepare(ctx) : NULL;
    c.fail_at = c.made + nth;
    c.fail_after = and_after;
    bool good = mc->run(ctx, &m);
    c.fail_at = 0;
    bool refused = c.refused > 0;
    if (good) { /* the pool may have found a way */
        check_good(ctx, mc->name);
    } else {
        if (!refused)
            fail_msg("%s failed with all the memory it wanted: %s", mc->name,
                     kn_error_take(ctx).message);
        check_error(ctx, KN_ERR_MEMORY, "memory");
        kn_step_end(ctx);
        if (!mc->run(ctx, &m))
            fail_msg("%s fails for good once allocation %ld failed: %s", mc->name, nth,
                     kn_error_take(ctx).message);
    }
    if (mc->check != NULL)
        mc->check(ctx, m);
    kn_module_free(m);
    counted_ctx_free(&c, ctx);
    return refused;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int and_after = 0; and_after < 2; and_after++) {
            long nth = 1;
            while (refuse_one(&cases[i], nth, and_after))
                nth++;
            assert_true(nth > 1);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_tape_only_the_result_stays),
        cmocka_unit_test(simple_cnn_takes_what_it_must),
        MODEL_CASE(own_modules_give_back_too),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
