/* model_case.c - see model_case.h. */
#include "support/model_case.h"

#include "support/numbers.h"

#include <kiln/ops.h>

#include <stdlib.h>

static counted memory;

int model_case_open(void **state) {
    memory = (counted){0};
    *state = counted_ctx(&memory, test_device());
    return 0;
}

int model_case_close(void **state) {
    check_good(*state, "at the test's end");
    counted_ctx_free(&memory, *state);
    return 0;
}

counted *model_case_memory(void) {
    return &memory;
}

kn_tensor *made_input(kn_ctx *ctx, unsigned stream, kn_shape shape) {
    int64_t numel = kn_shape_numel(&shape);
    float *numbers = malloc((size_t)numel * sizeof *numbers + 1);
    assert_non_null(numbers);
    numbers_fill(WIDE, stream, 0, numel, numbers);
    kn_tensor *t = kn_from(ctx, KN_F32, shape, numbers);
    free(numbers);
    return t;
}

void backward_once(kn_module *m, int n, int size) {
    kn_ctx *ctx = kn_module_ctx(m);
    int32_t label[256];
    assert_in_range(n, 1, 256);
    numbers_fill(INDEX, 9, 10, n, label);
    kn_tensor *y = kn_forward(m, made_input(ctx, 5, KN_SHAPE(n, size, size, 3)));
    kn_tensor *target = kn_from(ctx, KN_I32, KN_SHAPE(n), label);
    assert_int_equal(kn_backward(ctx, kn_cross_entropy(ctx, y, target)), KN_OK);
    kn_step_end(ctx);
}

int64_t read_params(kn_module *m, bool grads, float *out) {
    kn_ctx *ctx = kn_module_ctx(m);
    kn_named_list list;
    int64_t at = 0;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    for (int i = 0; i < list.count; i++) {
        kn_param *p = list.item[i].param;
        kn_tensor *t = grads ? kn_param_grad(p) : kn_param_value(p);
        check_read(ctx, t, kn_tensor_numel(t), out + at);
        at += kn_tensor_numel(t);
    }
    kn_named_free(ctx, &list);
    return at;
}

void zero_grads(kn_module *m) {
    kn_named_list list;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    for (int i = 0; i < list.count; i++)
        kn_param_zero_grad(list.item[i].param);
    kn_named_free(kn_module_ctx(m), &list);
}
