/* test_tensor.c - tensors and the tape: making, reading, moving, how long a tensor lives, and what
 * backward gives and refuses. */
#include "support/check.h"
#include "support/counted.h"

#include "core/ctx.h"
#include "tensor/tensor.h"

#include <kiln/ops.h>

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static counted memory;
static kn_ctx *ctx;

static int open_context(void **state) {
    (void)state;
    memory = (counted){0};
    ctx = counted_ctx(&memory, "reference");
    return 0;
}

static int close_context(void **state) {
    (void)state;
    counted_ctx_free(&memory, ctx);
    return 0;
}

static kn_tensor *numbers(int64_t n, const float *values) {
    return kn_from(ctx, KN_F32, KN_SHAPE(n), values);
}

static kn_tensor *leaf(int64_t n, const float *values) {
    return kn_require_grad(ctx, numbers(n, values));
}

static kn_tensor *sum(kn_tensor *x) {
    return kn_sum(ctx, x, KN_ALL, (kn_reduce_opts){0});
}

#define LIST(...) ((const float[]){__VA_ARGS__})

/* ---- making, reading, writing ---- */

static void tensors_hold_what_they_were_given(void **state) {
    (void)state;
    kn_tensor *t = kn_from(ctx, KN_F32, KN_SHAPE(2, 3), LIST(1, 2, 3, 4, 5, 6));
    assert_int_equal(kn_tensor_dim(t, 0), 2);
    assert_int_equal(kn_tensor_dim(t, -1), 3);
    assert_int_equal(kn_tensor_numel(t), 6);
    assert_ptr_equal(kn_tensor_device(t), kn_device_default(ctx));
    check_values(ctx, t, 6, LIST(1, 2, 3, 4, 5, 6));
    check_values(ctx, kn_full(ctx, KN_SHAPE(3), 2.5f), 3, LIST(2.5f, 2.5f, 2.5f));
    check_values(ctx, kn_zeros(ctx, KN_F32, KN_SHAPE(2)), 2, LIST(0, 0));
    assert_int_equal(kn_tensor_write(ctx, t, LIST(6, 5, 4, 3, 2, 1), 24), KN_OK);
    check_values(ctx, t, 6, LIST(6, 5, 4, 3, 2, 1));
    float out[7];
    assert_int_equal(kn_tensor_read(ctx, t, out, 28), KN_ERR_SHAPE);
    check_error(ctx, KN_ERR_SHAPE, "28 bytes for a tensor [2,3] of 24 bytes");
    assert_int_equal(kn_tensor_write(ctx, t, out, 20), KN_ERR_SHAPE);
    check_error(ctx, KN_ERR_SHAPE, "20 bytes for a tensor [2,3] of 24 bytes");
    assert_int_equal(kn_tensor_read(ctx, NULL, out, 4), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "tensor_read: there is no tensor");
    kn_tensor *empty = kn_from(ctx, KN_I32, KN_SHAPE(2, 0), NULL);
    assert_int_equal(kn_tensor_read(ctx, empty, NULL, 0), KN_OK);
    assert_int_equal(kn_tensor_numel(empty), 0);
}

static void item_reads_every_type(void **state) {
    (void)state;
    const uint16_t bf16 = 0xC020;
    const uint8_t u8 = 200;
    const int32_t i32 = -123456789;
    assert_true(kn_item(ctx, kn_from(ctx, KN_F32, KN_SCALAR, LIST(0.1f))) == (double)0.1f);
    assert_true(kn_item(ctx, kn_from(ctx, KN_BF16, KN_SHAPE(1), &bf16)) == -2.5);
    assert_true(kn_item(ctx, kn_from(ctx, KN_U8, KN_SHAPE(1, 1), &u8)) == 200);
    assert_true(kn_item(ctx, kn_from(ctx, KN_I32, KN_SCALAR, &i32)) == -123456789);
    assert_true(isinf(kn_item(ctx, kn_full(ctx, KN_SCALAR, INFINITY))));
    check_good(ctx, "item");
    assert_true(isnan(kn_item(ctx, kn_zeros(ctx, KN_F32, KN_SHAPE(2, 2)))));
    check_error(ctx, KN_ERR_SHAPE, "item: tensor [2,2]");
    assert_true(isnan(kn_item(ctx, kn_zeros(ctx, KN_F32, KN_SHAPE(0)))));
    check_error(ctx, KN_ERR_SHAPE, "item: tensor [0]");
    assert_true(isnan(kn_item(ctx, NULL)));
    check_error(ctx, KN_ERR_STATE, "item: there is no tensor");
}

static void sizes_that_cannot_be_are_refused(void **state) {
    (void)state;
    assert_null(kn_zeros(ctx, KN_F32, KN_SHAPE(2, -1)));
    check_error(ctx, KN_ERR_SHAPE, "shape [2,-1] is negative or too large");
    assert_null(kn_zeros(ctx, KN_F32, KN_SHAPE(1ll << 40, 1ll << 40)));
    check_error(ctx, KN_ERR_SHAPE, "is negative or too large");
    assert_null(kn_zeros(ctx, KN_F32, KN_SHAPE(1ll << 59)));
    check_error(ctx, KN_ERR_MEMORY, "out of memory");
    memory.fail_at = memory.made + 1;
    memory.fail_after = true;
    assert_null(kn_zeros(ctx, KN_F32, KN_SHAPE(1 << 20)));
    check_error(ctx, KN_ERR_MEMORY, "out of memory");
}

/* ---- devices ---- */

static void devices_are_found_by_name(void **state) {
    (void)state;
    kn_device *reference = kn_device_open(ctx, "reference"), *cpu = kn_device_open(ctx, "cpu");
    assert_string_equal(kn_device_name(reference), "reference");
    assert_string_equal(kn_device_name(cpu), "cpu");
    assert_true(strlen(kn_device_about(cpu)) > 5);
    assert_ptr_equal(kn_device_open(ctx, "cpu"), cpu);
    kn_device *best = kn_device_open(ctx, "auto"); /* cuda where there is one */
    assert_true(best == cpu || strcmp(kn_device_name(best), "cuda") == 0);
    assert_ptr_equal(kn_device_default(ctx), reference);
    kn_device_use(ctx, cpu);
    assert_ptr_equal(kn_tensor_device(kn_full(ctx, KN_SCALAR, 1)), cpu);
    assert_null(kn_device_open(ctx, "gpu"));
    check_error(ctx, KN_ERR_ARG,
                "device gpu: unknown; there are auto, cpu, cuda, cuda:N, reference");
    assert_null(kn_device_open(ctx, "cuda:4000"));
    check_error(ctx, KN_ERR_DEVICE, "cuda:4000");
    kn_ctx *other = counted_ctx(&memory, "abacus");
    assert_null(kn_zeros(other, KN_F32, KN_SHAPE(1)));
    check_error(other, KN_ERR_ARG, "device abacus: unknown");
    kn_ctx_free(other);
}

static void tensors_move_between_devices(void **state) {
    (void)state;
    kn_device *reference = kn_device_default(ctx), *cpu = kn_device_open(ctx, "cpu");
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const kn_dtype types[] = {KN_F32, KN_BF16, KN_U8, KN_I32};
    for (size_t i = 0; i < KN_COUNT(types); i++) {
        int64_t n = (int64_t)(sizeof bytes / kn_dtype_size(types[i]));
        uint8_t back[sizeof bytes] = {0};
        kn_tensor *here = kn_from(ctx, types[i], KN_SHAPE(1, n), bytes);
        kn_tensor *there = kn_to(ctx, here, cpu);
        assert_ptr_not_equal(there, here);
        assert_ptr_equal(kn_tensor_device(there), cpu);
        assert_int_equal(kn_tensor_dtype(there), types[i]);
        assert_int_equal(kn_tensor_dim(there, 1), n);
        kn_tensor *again = kn_to(ctx, there, reference);
        assert_ptr_equal(kn_to(ctx, again, reference), again);
        assert_int_equal(kn_tensor_read(ctx, again, back, sizeof back), KN_OK);
        assert_memory_equal(back, bytes, sizeof bytes);
    }
    assert_non_null(kn_to(ctx, kn_zeros(ctx, KN_F32, KN_SHAPE(0, 3)), cpu));
    check_good(ctx, "to");
    kn_fail(ctx, KN_ERR_IO, "an earlier error");
    assert_null(kn_to(ctx, NULL, cpu));
    check_error(ctx, KN_ERR_IO, "an earlier error");
}

/* ---- the tape ---- */

static void gradients_follow_the_chain_rule(void **state) {
    (void)state;
    kn_tensor *x = leaf(3, LIST(1, 2, 3)), *c = numbers(3, LIST(4, 5, 6));
    kn_tensor *loss = sum(kn_mul(ctx, kn_mul(ctx, x, x), c)); /* d = 2 x c */
    assert_null(kn_grad(ctx, x));
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 3, LIST(8, 20, 36));
    assert_null(kn_grad(ctx, c));
    check_good(ctx, "grad");
    assert_true(kn_item(ctx, loss) == 1 * 4 + 4 * 5 + 9 * 6); /* still there */
}

static void gradients_add_up_over_backwards(void **state) {
    (void)state;
    kn_tensor *x = leaf(2, LIST(1, 2));
    assert_int_equal(kn_backward(ctx, sum(kn_mul(ctx, x, x))), KN_OK);
    assert_int_equal(kn_backward(ctx, sum(x)), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 2, LIST(3, 5));
    kn_step_end(ctx);
    x = leaf(2, LIST(1, 2)); /* a new step begins at nothing */
    assert_int_equal(kn_backward(ctx, sum(x)), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 2, LIST(1, 1));
}

/* A result that several ops read gets the sum, whatever their order on the tape. */
static void branches_meet_again(void **state) {
    (void)state;
    kn_tensor *x = leaf(2, LIST(3, -1));
    kn_tensor *y = kn_neg(ctx, x), *a = kn_mul(ctx, y, y), *b = kn_add(ctx, y, x);
    kn_tensor *unused = kn_exp(ctx, y);
    kn_tensor *loss = sum(kn_add(ctx, kn_add(ctx, a, kn_mul(ctx, b, y)), y));
    assert_non_null(unused);
    assert_int_equal(kn_backward(ctx, loss), KN_OK); /* d(x^2 - x)/dx */
    check_values(ctx, kn_grad(ctx, x), 2, LIST(5, -3));
}

static void what_needs_no_gradient_records_nothing(void **state) {
    (void)state;
    kn_tensor *x = numbers(2, LIST(1, 2));
    assert_int_equal(kn_backward(ctx, sum(kn_mul(ctx, x, x))), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "nothing was recorded");
    x = leaf(2, LIST(1, 2));
    assert_true(kn_grad_enable(ctx, false));
    kn_tensor *quiet = sum(kn_mul(ctx, x, x));
    assert_false(kn_grad_enable(ctx, true));
    assert_true(kn_grad_enable(ctx, true));
    assert_int_equal(kn_backward(ctx, quiet), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "recording off");
    assert_null(kn_grad(ctx, x));
    /* Recorded around it: a constant. */
    assert_int_equal(kn_backward(ctx, kn_mul(ctx, sum(x), quiet)), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 2, LIST(5, 5));
}

static void detach_cuts_the_tape(void **state) {
    (void)state;
    kn_tensor *x = leaf(2, LIST(3, 4)), *y = kn_mul(ctx, x, x);
    kn_tensor *cut = kn_detach(ctx, y);
    check_values(ctx, cut, 2, LIST(9, 16));
    assert_int_equal(kn_backward(ctx, sum(kn_mul(ctx, x, cut))), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 2, LIST(9, 16)); /* x^2, not 3 x^2 */
    check_values(ctx, cut, 2, LIST(9, 16));             /* y's buffer is still its own */
    kn_tensor *again = kn_require_grad(ctx, kn_detach(ctx, cut));
    assert_int_equal(kn_backward(ctx, sum(kn_mul(ctx, again, again))), KN_OK);
    check_values(ctx, kn_grad(ctx, again), 2, LIST(18, 32));
    assert_null(kn_grad(ctx, cut));
    check_values(ctx, kn_grad(ctx, x), 2, LIST(9, 16));
}

static void a_reshape_shares_the_buffer(void **state) {
    (void)state;
    kn_tensor *x = kn_from(ctx, KN_F32, KN_SHAPE(2, 2), LIST(1, 2, 3, 4));
    size_t before = kn_step_memory(ctx);
    kn_tensor *y = kn_reshape(ctx, x, KN_SHAPE(-1));
    assert_int_equal(kn_step_memory(ctx), before);
    assert_int_equal(kn_tensor_write(ctx, x, LIST(5, 6, 7, 8), 16), KN_OK);
    check_values(ctx, y, 4, LIST(5, 6, 7, 8));
    kn_tensor_release(x); /* the other view holds the buffer */
    kn_full(ctx, KN_SHAPE(4), -1);
    check_values(ctx, y, 4, LIST(5, 6, 7, 8));
}

static void a_second_backward_is_refused(void **state) {
    (void)state;
    kn_tensor *x = leaf(2, LIST(1, 2));
    kn_tensor *loss = sum(kn_mul(ctx, x, x)), *other = sum(x);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    assert_int_equal(kn_backward(ctx, loss), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "used by an earlier backward");
    assert_int_equal(kn_backward(ctx, other), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "used by an earlier backward");
    check_values(ctx, kn_grad(ctx, x), 2, LIST(2, 4)); /* as the first left it */
}

/* What was kept can be looked at after backward, and not led back through the tape that is gone. */
static void a_used_tape_is_not_entered_again(void **state) {
    (void)state;
    kn_tensor *x = leaf(2, LIST(1, 2)), *w = leaf(2, LIST(3, 4));
    kn_tensor *preds = kn_keep(ctx, kn_mul(ctx, x, x));
    assert_int_equal(kn_backward(ctx, sum(preds)), KN_OK);
    assert_true(kn_item(ctx, sum(kn_relu(ctx, preds))) == 5);
    assert_int_equal(kn_backward(ctx, sum(kn_mul(ctx, preds, w))), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "a tensor [2] whose tape was used by an earlier backward");
    assert_null(kn_grad(ctx, w)); /* nothing was given yet */
    kn_tensor *cut = kn_detach(ctx, preds);
    assert_int_equal(kn_backward(ctx, sum(kn_mul(ctx, cut, w))), KN_OK);
    check_values(ctx, kn_grad(ctx, w), 2, LIST(1, 4));
    check_values(ctx, kn_grad(ctx, x), 2, LIST(2, 4));
}

static void a_loss_is_one_number(void **state) {
    (void)state;
    kn_tensor *x = leaf(2, LIST(1, 2));
    assert_int_equal(kn_backward(ctx, kn_mul(ctx, x, x)), KN_ERR_SHAPE);
    check_error(ctx, KN_ERR_SHAPE, "the loss is f32 [2], expected one f32 number");
    assert_int_equal(kn_backward(ctx, kn_argmax(ctx, x)), KN_ERR_SHAPE);
    check_error(ctx, KN_ERR_SHAPE, "the loss is i32 []");
    assert_int_equal(kn_backward(ctx, NULL), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE, "there is no loss");
    kn_fail(ctx, KN_ERR_DATA, "an earlier error");
    assert_int_equal(kn_backward(ctx, NULL), KN_ERR_DATA);
    check_error(ctx, KN_ERR_DATA, "an earlier error");
    /* Of any rank. */
    assert_int_equal(kn_backward(ctx, kn_reshape(ctx, sum(x), KN_SHAPE(1, 1))), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 2, LIST(1, 1));
}

static void only_leaves_can_ask_for_gradients(void **state) {
    (void)state;
    kn_tensor *x = leaf(1, LIST(1));
    assert_null(kn_require_grad(ctx, kn_mul(ctx, x, x)));
    check_error(ctx, KN_ERR_STATE, "that no op produced");
    assert_null(kn_require_grad(ctx, kn_zeros(ctx, KN_I32, KN_SHAPE(1))));
    check_error(ctx, KN_ERR_STATE, "expects an f32 tensor");
    assert_null(kn_require_grad(ctx, NULL));
    assert_null(kn_grad(ctx, NULL));
    assert_null(kn_detach(ctx, NULL));
    assert_null(kn_keep(ctx, NULL));
    check_good(ctx, "NULL passes");
}

/* ---- lifetimes ---- */

static void backward_releases_what_it_is_done_with(void **state) {
    (void)state;
    kn_tensor *x = leaf(2, LIST(1, 2));
    kn_tensor *y = kn_mul(ctx, x, x), *z = kn_keep(ctx, kn_exp(ctx, y));
    float out[2];
    assert_int_equal(kn_backward(ctx, sum(z)), KN_OK);
    assert_int_equal(kn_tensor_read(ctx, y, out, sizeof out), KN_ERR_STATE);
    check_error(ctx, KN_ERR_STATE,
                "tensor_read: tensor [2] was released after its last use; kn_keep holds it");
    assert_null(kn_relu(ctx, y));
    check_error(ctx, KN_ERR_STATE, "relu: tensor [2] was released");
    kn_keep(ctx, y);
    check_error(ctx, KN_ERR_STATE, "keep: tensor [2] was released"); /* too late */
    assert_null(kn_grad(ctx, y));
    check_error(ctx, KN_ERR_STATE, "grad: tensor [2] was released");
    assert_null(kn_detach(ctx, y));
    check_error(ctx, KN_ERR_STATE, "detach: tensor [2] was released");
    assert_null(kn_to(ctx, y, kn_device_open(ctx, "cpu")));
    check_error(ctx, KN_ERR_STATE, "to: tensor [2] was released");
    /* What was kept is whole, and has its gradient. */
    check_read(ctx, z, 2, out);
    check_numbers("kept", 2, out, LIST(2.7182818f, 54.59815f), 1e-6);
    check_values(ctx, kn_grad(ctx, z), 2, LIST(1, 1));
    assert_null(kn_grad(ctx, numbers(1, LIST(0))));
}

/* What a module's forward does without a tape. */
static void a_scope_releases_all_but_its_result(void **state) {
    (void)state;
    kn_tensor *x = numbers(2, LIST(1, 2));
    bool was = kn_grad_enable(ctx, false);
    size_t mark = kn_step_mark(ctx);
    kn_tensor *inner = kn_mul(ctx, x, x), *kept = kn_keep(ctx, kn_neg(ctx, inner));
    kn_tensor *result = kn_reshape(ctx, kn_add(ctx, inner, x), KN_SHAPE(2, 1));
    kn_step_release_since(ctx, mark, result);
    assert_null(kn_neg(ctx, inner));
    check_error(ctx, KN_ERR_STATE, "kn_keep holds it");
    kn_full(ctx, KN_SHAPE(2), -1); /* would take over a buffer wrongly given back */
    kn_full(ctx, KN_SHAPE(2), -1);
    check_values(ctx, x, 2, LIST(1, 2));
    check_values(ctx, kept, 2, LIST(-1, -4));
    check_values(ctx, result, 2, LIST(2, 6));
    /* While recording, the tape holds them. */
    kn_grad_enable(ctx, was);
    mark = kn_step_mark(ctx);
    inner = kn_mul(ctx, x, x);
    kn_step_release_since(ctx, mark, NULL);
    check_values(ctx, inner, 2, LIST(1, 4));
}

static void step_end_takes_everything_back(void **state) {
    (void)state;
    kn_step_end(ctx);
    for (int step = 0; step < 3; step++) {
        size_t before = kn_step_memory(ctx);
        kn_tensor *x = kn_keep(ctx, kn_full(ctx, KN_SHAPE(1000), 1));
        kn_backward(ctx, sum(kn_mul(ctx, kn_require_grad(ctx, x), x)));
        check_good(ctx, "a step");
        assert_true(step == 0 || kn_step_memory(ctx) == before);
        kn_step_end(ctx);
    }
    /* A tape that was not used is gone with its step. */
    kn_tensor *x = leaf(1, LIST(2));
    sum(kn_mul(ctx, x, x));
    kn_step_end(ctx);
    x = leaf(1, LIST(3));
    assert_int_equal(kn_backward(ctx, sum(kn_mul(ctx, x, x))), KN_OK);
    check_values(ctx, kn_grad(ctx, x), 1, LIST(6));
}

#ifdef KN_DEBUG
static void use_in_op(kn_tensor *t) {
    kn_neg(ctx, t);
}
static void use_as_second(kn_tensor *t) {
    kn_add(ctx, kn_full(ctx, KN_SHAPE(2), 1), t);
}
static void use_item(kn_tensor *t) {
    kn_item(ctx, t);
}
static void use_read(kn_tensor *t) {
    float out[2];
    kn_tensor_read(ctx, t, out, sizeof out);
}
static void use_write(kn_tensor *t) {
    float zeros[2] = {0};
    kn_tensor_write(ctx, t, zeros, sizeof zeros);
}
static void use_shape(kn_tensor *t) {
    kn_tensor_shape(t);
}
static void use_dim(kn_tensor *t) {
    kn_tensor_dim(t, 0);
}
static void use_copy_to(kn_tensor *t) {
    kn_tensor_copy(ctx, t, kn_full(ctx, KN_SHAPE(2), 1));
}
static void use_copy_from(kn_tensor *t) {
    kn_tensor_copy(ctx, kn_full(ctx, KN_SHAPE(2), 1), t);
}
static void use_numel(kn_tensor *t) {
    kn_tensor_numel(t);
}
static void use_dtype(kn_tensor *t) {
    kn_tensor_dtype(t);
}
static void use_device(kn_tensor *t) {
    kn_tensor_device(t);
}
static void use_keep(kn_tensor *t) {
    kn_keep(ctx, t);
}
static void use_grad(kn_tensor *t) {
    kn_grad(ctx, t);
}
static void use_backward(kn_tensor *t) {
    kn_backward(ctx, t);
}

/* Uses a tensor of an ended step in a child, which must abort. New tensors in between must not take
 * its place. */
static bool is_trapped(void (*use)(kn_tensor *t), int tensors_between) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 2); /* what assert says */
        signal(SIGABRT, SIG_DFL);
        kn_tensor *t = kn_full(ctx, KN_SHAPE(2), 1);
        kn_step_end(ctx);
        for (int i = 0; i < tensors_between; i++)
            kn_full(ctx, KN_SHAPE(2), 1);
        use(t);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void use_after_the_step_is_trapped(void **state) {
    (void)state;
    static void (*const uses[])(kn_tensor *) = {
        use_in_op, use_as_second, use_item,     use_read,    use_write,
        use_shape, use_dim,       use_numel,    use_dtype,   use_device,
        use_keep,  use_grad,      use_backward, use_copy_to, use_copy_from};
    for (size_t i = 0; i < KN_COUNT(uses); i++)
        for (int between = 0; between <= 1000; between += 500)
            if (!is_trapped(uses[i], between))
                fail_msg("use %zu with %d tensors in between is not trapped", i, between);
}
#else
static void use_after_the_step_is_trapped(void **state) {
    (void)state;
    print_message("SKIPPED: only a debug build traps the use of a tensor after its step\n");
    skip();
}
#endif

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_context, close_context)
    const struct CMUnitTest tests[] = {
        TEST(tensors_hold_what_they_were_given),
        TEST(item_reads_every_type),
        TEST(sizes_that_cannot_be_are_refused),
        TEST(devices_are_found_by_name),
        TEST(tensors_move_between_devices),
        TEST(gradients_follow_the_chain_rule),
        TEST(gradients_add_up_over_backwards),
        TEST(branches_meet_again),
        TEST(what_needs_no_gradient_records_nothing),
        TEST(detach_cuts_the_tape),
        TEST(a_reshape_shares_the_buffer),
        TEST(a_second_backward_is_refused),
        TEST(a_used_tape_is_not_entered_again),
        TEST(a_loss_is_one_number),
        TEST(only_leaves_can_ask_for_gradients),
        TEST(backward_releases_what_it_is_done_with),
        TEST(a_scope_releases_all_but_its_result),
        TEST(step_end_takes_everything_back),
        TEST(use_after_the_step_is_trapped),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
