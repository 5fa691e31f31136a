/* test_tape.c - a tape and what happens to its tensors before backward: what is written to, moved
 * or freed is refused where a gradient needs it, and nothing else is. What each op needs:
 * test_ops.c. */
#include "support/model_case.h"

#include "nn/module.h"

#include <kiln/ops.h>
#include <kiln/optim.h>

#include <string.h>

#define LIST(...) ((const float[]){__VA_ARGS__})

static const char written[] = "was written to since, and the gradient needs what it was";

static kn_tensor *sum(kn_ctx *ctx, kn_tensor *x) {
    return kn_sum(ctx, x, KN_ALL, (kn_reduce_opts){0});
}

static kn_tensor *input(kn_ctx *ctx) {
    return kn_from(ctx, KN_F32, KN_SHAPE(1, 2), LIST(3, 5));
}

/* y = x w^T + b of known numbers. */
static kn_module *layer(kn_ctx *ctx) {
    kn_module *m = kn_linear(ctx, 2, 2);
    const kn_pack *pack = kn_module_pack(m);
    kn_tensor_write(ctx, kn_param_value(pack->segment[0].param), LIST(1, 2, 3, 4), 16);
    kn_tensor_write(ctx, kn_param_value(pack->segment[1].param), LIST(0, 1), 8);
    check_good(ctx, "a layer");
    return m;
}

static kn_param *param(kn_module *m, int i) {
    return kn_module_pack(m)->segment[i].param;
}

static void check_refused(kn_ctx *ctx, kn_tensor *loss, const char *what) {
    assert_int_equal(kn_backward(ctx, loss), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, what);
}

/* ---- writes ---- */

static void a_message_names_op_operand_and_shape(void **state) {
    kn_ctx *ctx = *state;
    kn_tensor *a = kn_require_grad(ctx, input(ctx)), *b = input(ctx);
    kn_tensor *loss = sum(ctx, kn_mul(ctx, a, b));
    assert_int_equal(kn_tensor_write(ctx, b, LIST(1, 1), 8), KN_OK);
    check_refused(ctx, loss, "backward: operand 2 of mul, [1,2], was written to since");
    kn_step_end(ctx);
    a = kn_require_grad(ctx, input(ctx));
    kn_tensor *y = kn_exp(ctx, a);
    loss = sum(ctx, y);
    assert_int_equal(kn_tensor_copy(ctx, y, input(ctx)), KN_OK);
    check_refused(ctx, loss, "backward: the result of exp, [1,2], was written to since");
    kn_step_end(ctx);
    /* The tape is used up, and the next one is in order. */
    a = kn_require_grad(ctx, input(ctx));
    assert_int_equal(kn_backward(ctx, sum(ctx, kn_mul(ctx, a, a))), KN_OK);
    check_values(ctx, kn_grad(ctx, a), 2, LIST(6, 10));
}

/* Two tensors on one buffer: a write to either is seen through the other. */
static void a_shared_buffer_is_written_through_either(void **state) {
    kn_ctx *ctx = *state;
    for (int other = 0; other < 2; other++) {
        kn_tensor *a = kn_require_grad(ctx, input(ctx)), *b = input(ctx);
        kn_tensor *alias = other ? kn_detach(ctx, b) : kn_reshape(ctx, b, KN_SHAPE(1, 2));
        kn_tensor *loss = sum(ctx, kn_mul(ctx, a, other ? alias : b));
        assert_int_equal(kn_tensor_write(ctx, other ? b : alias, LIST(1, 1), 8), KN_OK);
        check_refused(ctx, loss, written);
        kn_step_end(ctx);
    }
    kn_module *m = layer(ctx);
    kn_tensor *loss = sum(ctx, kn_forward(m, kn_require_grad(ctx, input(ctx))));
    kn_tensor *alias = kn_detach(ctx, kn_param_value(param(m, 0)));
    assert_int_equal(kn_tensor_write(ctx, alias, LIST(1, 1, 1, 1), 16), KN_OK);
    check_refused(ctx, loss, written);
    kn_step_end(ctx);
    /* The other way round. */
    kn_tensor *a = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(2, 2), LIST(1, 2, 3, 4)));
    loss = sum(ctx, kn_mul(ctx, a, kn_detach(ctx, kn_param_value(param(m, 0)))));
    assert_int_equal(kn_tensor_write(ctx, kn_param_value(param(m, 0)), LIST(1, 1, 1, 1), 16),
                     KN_OK);
    check_refused(ctx, loss, written);
    kn_step_end(ctx);
    kn_module_free(m);
}

/* Parameters of a pack share a buffer; each is written to by itself. */
static void another_parameter_is_another(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = layer(ctx);
    kn_tensor *x = kn_require_grad(ctx, input(ctx)), *loss = sum(ctx, kn_forward(m, x));
    assert_int_equal(kn_tensor_write(ctx, kn_param_value(param(m, 1)), LIST(7, 7), 8), KN_OK);
    assert_int_equal(kn_backward(ctx, loss), KN_OK); /* a bias is only added */
    check_values(ctx, kn_grad(ctx, x), 2, LIST(4, 6));
    kn_step_end(ctx);
    loss = sum(ctx, kn_forward(m, kn_require_grad(ctx, input(ctx))));
    assert_int_equal(kn_tensor_write(ctx, kn_param_value(param(m, 0)), LIST(1, 1, 1, 1), 16),
                     KN_OK);
    check_refused(ctx, loss, "operand 2 of linear, [2,2], was written to since");
    kn_step_end(ctx);
    kn_module_free(m);
}

static void an_optimizer_writes_all(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = layer(ctx);
    kn_optimizer *opt = kn_sgd(m, 0.1, (kn_sgd_opts){0});
    kn_backward(ctx, sum(ctx, kn_forward(m, input(ctx))));
    kn_tensor *loss = sum(ctx, kn_forward(m, kn_require_grad(ctx, input(ctx))));
    assert_int_equal(kn_optimizer_step(opt), KN_OK);
    check_refused(ctx, loss, "operand 2 of linear, [2,2], was written to since");
    kn_step_end(ctx);
    kn_optimizer_free(opt);
    kn_module_free(m);
}

/* What a loader's batch is: memory that the tape's tensor does not own. */
static void borrowed_memory_is_written_through_a_view(void **state) {
    kn_ctx *ctx = *state;
    float data[] = {3, 5};
    kn_tensor *a = kn_require_grad(ctx, input(ctx));
    kn_tensor *b = kn_tensor_borrow(ctx, kn_device_default(ctx), KN_F32, KN_SHAPE(1, 2), data);
    kn_tensor *loss = sum(ctx, kn_mul(ctx, a, b));
    assert_int_equal(kn_tensor_write(ctx, kn_detach(ctx, b), LIST(1, 1), 8), KN_OK);
    check_refused(ctx, loss, written);
}

/* A view of one parameter is not one of its neighbours. */
static void a_view_of_a_parameter_is_of_that_one(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = layer(ctx);
    kn_tensor *a = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(4), LIST(1, 1, 1, 1)));
    kn_tensor *w = kn_reshape(ctx, kn_param_value(param(m, 0)), KN_SHAPE(4));
    kn_tensor *loss = sum(ctx, kn_mul(ctx, a, w));
    assert_int_equal(kn_tensor_write(ctx, kn_param_value(param(m, 1)), LIST(7, 7), 8), KN_OK);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    check_values(ctx, kn_grad(ctx, a), 4, LIST(1, 2, 3, 4));
    kn_step_end(ctx);
    kn_module_free(m);
}

/* No gradient is given before all is known to be in order. */
static void what_is_refused_gives_nothing(void **state) {
    kn_ctx *ctx = *state;
    kn_module *first = layer(ctx), *second = layer(ctx);
    kn_tensor *x = input(ctx), *loss = sum(ctx, kn_forward(second, kn_forward(first, x)));
    assert_int_equal(kn_tensor_write(ctx, x, LIST(1, 1), 8), KN_OK);
    check_refused(ctx, loss, "operand 1 of linear, [1,2], was written to since");
    assert_false(kn_param_has_grad(param(second, 0)));
    assert_false(kn_param_has_grad(param(first, 0)));
    kn_step_end(ctx);
    kn_module_free(first);
    kn_module_free(second);
}

/* A gradient that is an operand: adding to it is writing to it. */
static void a_gradient_is_written_by_backward(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = layer(ctx);
    kn_tensor *w = kn_param_value(param(m, 0));
    assert_int_equal(kn_backward(ctx, sum(ctx, kn_mul(ctx, w, w))), KN_OK);
    kn_tensor *x = kn_require_grad(ctx, kn_full(ctx, KN_SHAPE(2, 2), 3));
    kn_tensor *g = kn_param_grad(param(m, 0));
    kn_tensor *first = kn_mul(ctx, g, x), *second = kn_mul(ctx, w, w); /* in this order */
    kn_tensor *loss = sum(ctx, kn_add(ctx, first, second));
    check_refused(ctx, loss, "operand 1 of mul, [2,2], was a gradient that this backward writes");
    check_values(ctx, g, 4, LIST(2, 4, 6, 8)); /* nothing was added */
    /* The other way round it is read first. */
    second = kn_mul(ctx, w, w);
    first = kn_mul(ctx, g, x);
    assert_int_equal(kn_backward(ctx, sum(ctx, kn_add(ctx, first, second))), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 4, LIST(2, 4, 6, 8));
    check_values(ctx, g, 4, LIST(4, 8, 12, 16));
    kn_step_end(ctx);
    x = kn_require_grad(ctx, kn_full(ctx, KN_SHAPE(2, 2), 3));
    loss = sum(ctx, kn_mul(ctx, g, x));
    kn_param_zero_grad(param(m, 0));
    assert_non_null(kn_param_grad(param(m, 0))); /* here the zeros are written */
    check_refused(ctx, loss, written);
    kn_step_end(ctx);
    x = kn_require_grad(ctx, kn_full(ctx, KN_SHAPE(2, 2), 3));
    loss = sum(ctx, kn_mul(ctx, kn_param_grad(param(m, 0)), x));
    assert_non_null(kn_param_grad(param(m, 0))); /* looking once more is no write */
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    kn_step_end(ctx);
    kn_module_free(m);
}

static void running_statistics_are_written_by_a_norm(void **state) {
    kn_ctx *ctx = *state;
    kn_module *norm = kn_batch_norm(ctx, 2, (kn_batch_norm_opts){0});
    kn_named_list all;
    assert_int_equal(kn_module_state_list(norm, &all), KN_OK);
    kn_tensor *mean = NULL;
    for (int i = 0; i < all.count; i++)
        if (strcmp(all.item[i].name, "running_mean") == 0)
            mean = all.item[i].buffer;
    assert_non_null(mean);
    kn_tensor *a = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(2), LIST(1, 1)));
    kn_tensor *loss = sum(ctx, kn_mul(ctx, a, mean));
    assert_non_null(kn_forward(norm, kn_from(ctx, KN_F32, KN_SHAPE(2, 2), LIST(1, 2, 3, 4))));
    check_refused(ctx, loss, "operand 2 of mul, [2], was written to since");
    kn_named_free(ctx, &all);
    kn_step_end(ctx);
    kn_module_free(norm);
}

/* ---- moves ---- */

static void packing_moves_without_a_change(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_linear(ctx, 2, 2); /* not packed yet */
    kn_tensor *x = kn_require_grad(ctx, input(ctx)), *loss = sum(ctx, kn_forward(m, x));
    float w[4], want[2];
    const kn_pack *pack = kn_module_pack(m);
    assert_non_null(pack);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    check_read(ctx, kn_param_value(pack->segment[0].param), 4, w);
    want[0] = w[0] + w[2];
    want[1] = w[1] + w[3];
    check_values(ctx, kn_grad(ctx, x), 2, want);
    check_values(ctx, kn_param_grad(pack->segment[0].param), 4, LIST(3, 5, 3, 5));
    kn_step_end(ctx);
    kn_module_free(m);
}

/* A view from before stays on the old buffer, which nobody writes to. */
static void packing_leaves_views(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_linear(ctx, 2, 2);
    kn_named_list all;
    assert_int_equal(kn_module_parameters(m, &all), KN_OK);
    kn_tensor *w = kn_param_value(all.item[0].param), *view = kn_detach(ctx, w);
    float was[4];
    check_read(ctx, w, 4, was);
    assert_non_null(kn_module_pack(m));
    kn_tensor *x = kn_require_grad(ctx, kn_full(ctx, KN_SHAPE(2, 2), 3));
    kn_tensor *loss = sum(ctx, kn_mul(ctx, x, view));
    assert_int_equal(kn_tensor_write(ctx, w, LIST(1, 1, 1, 1), 16), KN_OK);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 4, was);
    kn_named_free(ctx, &all);
    kn_step_end(ctx);
    kn_module_free(m);
}

static void exchanged_values_are_others(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = layer(ctx);
    const kn_pack *pack = kn_module_pack(m);
    kn_tensor average;
    assert_int_equal(
        kn_tensor_init(ctx, &average, pack->values->device, KN_F32, pack->values->shape), KN_OK);
    kn_tensor *loss = sum(ctx, kn_forward(m, kn_require_grad(ctx, input(ctx))));
    kn_module_exchange(m, pack, &average);
    check_refused(ctx, loss, written);
    kn_step_end(ctx);
    loss = sum(ctx, kn_forward(m, kn_require_grad(ctx, input(ctx))));
    kn_module_exchange(m, pack, &average);
    check_refused(ctx, loss, written);
    kn_step_end(ctx);
    check_values(ctx, kn_param_value(param(m, 0)), 4, LIST(1, 2, 3, 4));
    kn_tensor_clear(&average);
    kn_module_free(m);
}

/* Also where nothing of it is read, as there is no gradient of the input. */
static void a_module_that_went_to_another_device(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = layer(ctx);
    kn_device *other = kn_device_open(ctx, test_other_device());
    kn_tensor *loss = sum(ctx, kn_forward(m, input(ctx)));
    assert_int_equal(kn_module_to(m, other), KN_OK);
    check_refused(ctx, loss, "operand 2 of linear, [2,2], was moved to another device since");
    kn_step_end(ctx);
    kn_module_free(m);
}

/* ---- frees ---- */

static void a_freed_module_is_missed(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = layer(ctx);
    kn_tensor *loss = sum(ctx, kn_forward(m, input(ctx)));
    kn_module_free(m);
    check_refused(ctx, loss,
                  "a module was freed whose tensors or hooks the loss depends on, by linear");
    kn_step_end(ctx);
    /* A loss that does not depend on it. */
    m = layer(ctx);
    kn_tensor *x = kn_require_grad(ctx, input(ctx));
    assert_non_null(kn_forward(m, x));
    loss = sum(ctx, kn_mul(ctx, x, x));
    kn_module_free(m);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 2, LIST(6, 10));
    kn_step_end(ctx);
    /* Its shapes are asked for, too, where nothing of it is read. */
    m = layer(ctx);
    x = kn_require_grad(ctx, input(ctx));
    kn_param_freeze(param(m, 1), true);
    loss = sum(ctx, kn_div(ctx, kn_param_value(param(m, 1)), x));
    kn_module_free(m);
    check_refused(ctx, loss, "a module was freed whose tensors");
    kn_step_end(ctx);
    /* A view holds the numbers itself. */
    m = layer(ctx);
    x = kn_require_grad(ctx, input(ctx));
    loss = sum(ctx, kn_mul(ctx, x, kn_detach(ctx, kn_param_value(param(m, 1)))));
    kn_module_free(m);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 2, LIST(0, 1));
}

static kn_tensor *look(void *user, kn_module *m, kn_tensor *dx, kn_tensor *dy) {
    (void)m;
    (void)dy;
    ++*(int *)user;
    return dx;
}

/* It has no parameter; its hook is what would be called. */
static void a_freed_module_with_a_hook_is_missed(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_adaptive_pool(ctx);
    int calls = 0;
    assert_true(kn_module_add_backward_hook(m, look, &calls) > 0);
    kn_tensor *x = kn_require_grad(ctx, kn_full(ctx, KN_SHAPE(1, 2, 2, 1), 1));
    kn_tensor *loss = sum(ctx, kn_forward(m, x));
    kn_module_free(m);
    check_refused(ctx, loss, "depends on, by hooked output");
    assert_int_equal(calls, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(a_message_names_op_operand_and_shape),
        MODEL_CASE(a_shared_buffer_is_written_through_either),
        MODEL_CASE(another_parameter_is_another),
        MODEL_CASE(an_optimizer_writes_all),
        MODEL_CASE(borrowed_memory_is_written_through_a_view),
        MODEL_CASE(a_view_of_a_parameter_is_of_that_one),
        MODEL_CASE(what_is_refused_gives_nothing),
        MODEL_CASE(a_gradient_is_written_by_backward),
        MODEL_CASE(running_statistics_are_written_by_a_norm),
        MODEL_CASE(packing_moves_without_a_change),
        MODEL_CASE(packing_leaves_views),
        MODEL_CASE(exchanged_values_are_others),
        MODEL_CASE(a_module_that_went_to_another_device),
        MODEL_CASE(a_freed_module_is_missed),
        MODEL_CASE(a_freed_module_with_a_hook_is_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
