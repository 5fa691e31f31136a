/* test_tensor_memory.c - what a step costs: nothing once it is warm, no more than it must before,
 * all of it from the caller's allocator, and when there is none the error says so and nothing is
 * lost. KILN_TEST_DEVICE names the one device to test; else there are "reference" and "cpu". */
#include "support/check.h"
#include "support/counted.h"
#include "support/numbers.h"

#include "core/ctx.h"
#include "tensor/tensor.h"

#include <kiln/ops.h>

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const *devices(size_t *count) {
    static const char *all[] = {"reference", "cpu"};
    const char *only = getenv("KILN_TEST_DEVICE");
    if (only != NULL && only[0] != '\0')
        all[0] = only;
    *count = all[0] == only ? 1 : KN_COUNT(all);
    return all;
}

/* ---- a small convolutional net, written with ops ---- */

enum { BATCH = 4, SIZE = 8, CLASSES = 5, PARAMS = 6 };

typedef struct net {
    kn_tensor value[PARAMS], grad[PARAMS];
    int made;
} net;

static const kn_shape shapes[PARAMS] = {{4, {8, 3, 3, 3}}, {1, {8}},          {4, {6, 8, 3, 3}},
                                        {1, {6}},          {2, {CLASSES, 6}}, {1, {CLASSES}}};

static bool net_make(kn_ctx *ctx, net *n) {
    float values[1024];
    *n = (net){0};
    kn_device *device = kn_device_default(ctx);
    for (int i = 0; i < PARAMS; i++, n->made++) {
        kn_tensor *value = &n->value[i], *grad = &n->grad[i];
        if (kn_tensor_init(ctx, value, device, KN_F32, shapes[i]) != KN_OK ||
            kn_tensor_init(ctx, grad, device, KN_F32, shapes[i]) != KN_OK) {
            kn_tensor_clear(value);
            kn_tensor_clear(grad);
            return false;
        }
        numbers_fill(WIDE, (unsigned)i, 0, value->numel, values);
        kn_tensor_write(ctx, value, values, (size_t)value->numel * sizeof *values);
        value->wants_grad = true;
        value->grad = grad;
    }
    return true;
}

static void net_free(net *n) {
    for (int i = 0; i < n->made; i++) {
        kn_tensor_clear(&n->value[i]);
        kn_tensor_clear(&n->grad[i]);
    }
}

/* One training step; its loss, or NaN with the error set. */
static double net_step(kn_ctx *ctx, net *n) {
    float pixels[BATCH * SIZE * SIZE * 3];
    int32_t labels[BATCH];
    kn_tensor *p = n->value;
    numbers_fill(WIDE, 20, 0, KN_COUNT(pixels), pixels);
    numbers_fill(INDEX, 21, CLASSES, BATCH, labels);
    kn_tensor *x = kn_from(ctx, KN_F32, KN_SHAPE(BATCH, SIZE, SIZE, 3), pixels);
    kn_tensor *target = kn_from(ctx, KN_I32, KN_SHAPE(BATCH), labels);
    kn_conv2d_opts conv = {.stride = 2, .padding = 1, .relu = true};
    kn_tensor *mean = kn_mean(ctx, x, KN_AXIS(0) | KN_AXIS(1) | KN_AXIS(2), (kn_reduce_opts){0});
    kn_tensor *y = kn_conv2d(ctx, kn_sub(ctx, x, mean), &p[0], &p[1], conv);
    y = kn_conv2d(ctx, y, &p[2], &p[3], conv);
    y = kn_linear_op(ctx, kn_mean_hw(ctx, kn_relu(ctx, y)), &p[4], &p[5]);
    kn_tensor *loss = kn_cross_entropy(ctx, y, target);
    kn_backward(ctx, loss);
    double value = kn_item(ctx, loss);
    for (int i = 0; i < PARAMS; i++) {
        if (kn_ctx_status(ctx) == KN_OK && !p[i].grad_live)
            kn_fail(ctx, KN_ERR_STATE, "parameter %d got no gradient", i);
        p[i].grad_live = false;
    }
    kn_step_end(ctx);
    return kn_ctx_status(ctx) == KN_OK ? value : NAN;
}

/* ---- warm steps ---- */

/* A debug build holds dead headers back, so it is warm later. */
#ifdef KN_DEBUG
enum { COLD_STEPS = 400 };
#else
enum { COLD_STEPS = 2 };
#endif

static void a_warm_step_takes_no_memory(void **state) {
    (void)state;
    size_t count;
    const char *const *device = devices(&count);
    for (size_t d = 0; d < count; d++) {
        counted memory = {0};
        kn_ctx *ctx = counted_ctx(&memory, device[d]);
        net n;
        assert_true(net_make(ctx, &n));
        double first = 0;
        for (int i = 0; i < COLD_STEPS; i++)
            first = net_step(ctx, &n);
        check_good(ctx, device[d]);
        assert_true(isfinite(first));
        size_t bytes = kn_step_memory(ctx);
        long made = memory.made;
        assert_true(bytes > 0);
        for (int i = 0; i < 100; i++) {
            kn_tensor_touch(&n.value[i % PARAMS]); /* as the optimizer does */
            double loss = net_step(ctx, &n);
            if (memcmp(&loss, &first, sizeof loss) != 0)
                fail_msg("%s: step %d has loss %.9g, the first %.9g", device[d], i, loss, first);
        }
        if (memory.made != made)
            fail_msg("%s: 100 warm steps made %ld allocations", device[d], memory.made - made);
        assert_int_equal(kn_step_memory(ctx), bytes);
        net_free(&n);
        counted_ctx_free(&memory, ctx);
    }
}

/* Sums of other shapes every step: classes of sizes are shared, so the pool stays bounded. */
static void batches_of_changing_size_share_the_pool(void **state) {
    (void)state;
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, "reference");
    for (int round = 0; round < 3; round++) {
        size_t before = kn_step_memory(ctx);
        for (int64_t n = 1; n < 4000; n = n * 9 / 8 + 1) {
            kn_tensor *x = kn_require_grad(ctx, kn_full(ctx, KN_SHAPE(n), 1));
            kn_backward(ctx, kn_sum(ctx, kn_mul(ctx, x, x), KN_ALL, (kn_reduce_opts){0}));
            check_good(ctx, "a step");
            kn_step_end(ctx);
        }
        assert_true(round == 0 || kn_step_memory(ctx) == before);
    }
    counted_ctx_free(&memory, ctx);
}

/* ---- what a step holds at once ---- */

enum { LONG = 1 << 16, LINKS = 30 };

static size_t chain(kn_ctx *ctx, bool backward) {
    kn_tensor *x = kn_full(ctx, KN_SHAPE(LONG), 0.5f);
    kn_tensor *y = backward ? kn_require_grad(ctx, x) : x;
    for (int i = 0; i < LINKS; i++)
        y = kn_neg(ctx, y);
    if (backward)
        kn_backward(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0}));
    check_good(ctx, "chain");
    kn_step_end(ctx);
    return kn_step_memory(ctx) / (LONG * sizeof(float));
}

static void backward_gives_buffers_back_as_it_goes(void **state) {
    (void)state;
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, "reference");
    size_t forward = chain(ctx, false);
    assert_in_range(forward, LINKS + 1, LINKS + 2);
    size_t both = chain(ctx, true);
    if (both > forward + 3) /* a gradient for what comes in, what goes out, and the leaf */
        fail_msg("forward holds %zu tensors, with backward %zu", forward, both);
    counted_ctx_free(&memory, ctx);
}

static void without_a_tape_a_scope_holds_little(void **state) {
    (void)state;
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, "reference");
    kn_grad_enable(ctx, false);
    kn_tensor *x = kn_full(ctx, KN_SHAPE(LONG), 0.5f);
    for (int i = 0; i < LINKS; i++) {
        size_t mark = kn_step_mark(ctx);
        kn_tensor *y = kn_neg(ctx, kn_exp(ctx, kn_neg(ctx, x)));
        kn_step_release_since(ctx, mark, y);
        kn_tensor_release(x);
        x = y;
    }
    check_good(ctx, "scope");
    assert_in_range(kn_step_memory(ctx) / (LONG * sizeof(float)), 2, 4);
    counted_ctx_free(&memory, ctx);
}

/* ---- the caller's allocator ---- */

/* Memory that malloc knows nothing of; nothing is reused. */
static _Alignas(64) unsigned char arena[1 << 24];
static size_t arena_used;

static void *arena_alloc(void *user, size_t bytes, size_t align) {
    (void)user;
    size_t at = (arena_used + align - 1) / align * align;
    if (at > sizeof arena || bytes > sizeof arena - at)
        return NULL;
    arena_used = at + bytes;
    return arena + at;
}

static void arena_free(void *user, void *p) {
    (void)user;
    assert_true((unsigned char *)p >= arena && (unsigned char *)p < arena + sizeof arena);
}

static void all_memory_is_the_callers(void **state) {
    (void)state;
    kn_ctx *ctx;
    net n;
    kn_ctx_opts opts = {.allocator = {arena_alloc, arena_free, NULL}, .device = "reference"};
    size_t before = mallinfo2().uordblks;
    assert_int_equal(kn_ctx_new(&ctx, opts, NULL), KN_OK);
    assert_true(net_make(ctx, &n));
    net_step(ctx, &n);
    size_t after = mallinfo2().uordblks;
    check_good(ctx, "a step in an arena");
    assert_int_equal(after, before);
    assert_true(arena_used > 20000);
    net_free(&n);
    kn_ctx_free(ctx);
}

/* ---- memory that is not there ---- */

/* A whole life on little memory: true when it went through. */
static bool life(kn_ctx *ctx, double *loss) {
    net n;
    bool good = net_make(ctx, &n);
    if (good)
        *loss = net_step(ctx, &n);
    net_free(&n);
    return good && kn_ctx_status(ctx) == KN_OK;
}

/* Lives with the call number fail_at of the allocator failing. False: it never came so far. */
static bool life_with_failure(const char *device, long fail_at, bool after, double expected) {
    counted memory = {.fail_at = fail_at, .fail_after = after};
    kn_ctx_opts opts = {
        .allocator = counted_allocator(&memory), .seed = 1, .threads = 2, .device = device};
    kn_ctx *ctx;
    kn_error error = {0};
    if (kn_ctx_new(&ctx, opts, &error) != KN_OK) {
        assert_int_equal(error.status, KN_ERR_MEMORY);
        assert_null(ctx);
        assert_int_equal(memory.live, 0);
        return true;
    }
    double loss = NAN;
    bool good = life(ctx, &loss);
    error = kn_error_take(ctx);
    long refused = memory.refused;
    if (!good && (error.status != KN_ERR_MEMORY || refused == 0))
        fail_msg("%s: call %ld fails: the error is %s: %s", device, fail_at,
                 kn_status_name(error.status), error.message);
    if (good && after && refused > 0)
        fail_msg("%s: from call %ld on all fail, and nothing is said", device, fail_at);
    /* The same context, with memory again, is as good as new. */
    memory.fail_at = 0;
    kn_step_end(ctx);
    if (!life(ctx, &loss) || loss != expected)
        fail_msg("%s: after the failure of call %ld the loss is %.9g, expected %.9g: %s", device,
                 fail_at, loss, expected, kn_error_take(ctx).message);
    counted_ctx_free(&memory, ctx);
    return refused > 0;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    size_t count;
    const char *const *device = devices(&count);
    for (size_t d = 0; d < count; d++) {
        counted memory = {0};
        kn_ctx *ctx = counted_ctx(&memory, device[d]);
        double expected = NAN;
        assert_true(life(ctx, &expected));
        counted_ctx_free(&memory, ctx);
        for (int after = 0; after < 2; after++) {
            long n = 1;
            while (life_with_failure(device[d], n, after, expected))
                n++;
            if (n < 30)
                fail_msg("%s: only %ld allocations were made to fail", device[d], n - 1);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_warm_step_takes_no_memory),
        cmocka_unit_test(batches_of_changing_size_share_the_pool),
        cmocka_unit_test(backward_gives_buffers_back_as_it_goes),
        cmocka_unit_test(without_a_tape_a_scope_holds_little),
        cmocka_unit_test(all_memory_is_the_callers),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("tensor memory", tests, NULL, NULL);
}
