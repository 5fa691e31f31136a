/* test_pack.c - packing: values and gradients move into two flat buffers and stay what they are,
 * whatever happens to the model afterwards. */
#include "support/model_case.h"

#include "nn/module.h"

#include <kiln/ops.h>

#include <stdio.h>
#include <string.h>

/* Every segment is its parameter's data, in registration order, without overlap. */
static void check_pack(kn_module *m, const kn_pack *pack) {
    kn_ctx *ctx = kn_module_ctx(m);
    kn_named_list list;
    int64_t end = 0;
    assert_non_null(pack);
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    assert_int_equal(pack->count, list.count);
    const float *values = pack->values->data, *grads = pack->grads->data;
    for (int i = 0; i < pack->count; i++) {
        const kn_segment *s = &pack->segment[i];
        assert_ptr_equal(s->param, list.item[i].param);
        assert_int_equal(s->length, kn_tensor_numel(kn_param_value(s->param)));
        assert_true(s->offset >= end);
        end = s->offset + s->length;
        assert_ptr_equal(kn_param_value(s->param)->data, values + s->offset);
        assert_ptr_equal(kn_param_grad(s->param)->data, grads + s->offset);
        assert_int_equal(s->group, kn_param_group(s->param));
        assert_int_equal(s->frozen, kn_param_frozen(s->param));
    }
    assert_true(kn_tensor_numel(pack->values) >= end);
    assert_int_equal(kn_tensor_numel(pack->grads), kn_tensor_numel(pack->values));
    kn_named_free(ctx, &list);
}

static void logits(kn_module *m, float out[20]) {
    kn_ctx *ctx = kn_module_ctx(m);
    check_read(ctx, kn_forward(m, made_input(ctx, 4, KN_SHAPE(2, 32, 32, 3))), 20, out);
    kn_step_end(ctx);
}

static void packing_moves_and_changes_nothing(void **state) {
    kn_ctx *ctx = *state;
    static float before[2][SIMPLE_CNN_NUMBERS], after[2][SIMPLE_CNN_NUMBERS];
    float out_before[20], out_after[20];
    kn_module *m = kn_simple_cnn(ctx, 10);
    backward_once(m, 4, 32);
    logits(m, out_before);
    read_params(m, false, before[0]);
    read_params(m, true, before[1]);
    const kn_pack *pack = kn_module_pack(m);
    check_pack(m, pack);
    assert_int_equal(pack->count, 10);
    for (int i = 0; i < pack->count; i++)
        assert_true(kn_param_has_grad(pack->segment[i].param));
    read_params(m, false, after[0]);
    read_params(m, true, after[1]);
    assert_memory_equal(before, after, sizeof before);
    logits(m, out_after);
    assert_memory_equal(out_before, out_after, sizeof out_before);
    /* A second backward adds to the gradients where they are now. */
    backward_once(m, 4, 32);
    read_params(m, true, after[1]);
    for (int i = 0; i < SIMPLE_CNN_NUMBERS; i++)
        before[1][i] *= 2;
    check_numbers("gradients", SIMPLE_CNN_NUMBERS, after[1], before[1], 1e-6);
    kn_module_free(m);
}

static void packing_again_does_nothing(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_simple_cnn(ctx, 10);
    const kn_pack *first = kn_module_pack(m);
    uint64_t serial = first->serial;
    const void *values = first->values->data, *grads = first->grads->data;
    backward_once(m, 2, 32);
    long made = model_case_memory()->made;
    const kn_pack *second = kn_module_pack(m);
    assert_int_equal(model_case_memory()->made, made);
    assert_ptr_equal(second, first);
    assert_int_equal(second->serial, serial);
    assert_ptr_equal(second->values->data, values);
    assert_ptr_equal(second->grads->data, grads);
    /* Groups and freezing are read anew each time. */
    kn_param_set_group(second->segment[3].param, 2);
    kn_param_freeze(second->segment[0].param, true);
    check_pack(m, kn_module_pack(m));
    assert_int_equal(kn_module_pack(m)->segment[3].group, 2);
    assert_true(kn_module_pack(m)->segment[0].frozen);
    assert_int_equal(kn_module_pack(m)->serial, serial);
    kn_module_free(m);
}

/* A parameter written in the flat buffer, as an optimizer does, is what the next forward uses, also
 * where a device keeps packed copies of weights. */
static void the_flat_buffer_is_the_model(void **state) {
    kn_ctx *ctx = *state;
    static float zeros[SIMPLE_CNN_NUMBERS * 2];
    static const float none[20];
    float out[20];
    kn_module *m = kn_simple_cnn(ctx, 10);
    const kn_pack *pack = kn_module_pack(m);
    logits(m, out);
    kn_tensor_write(ctx, pack->values, zeros,
                    (size_t)kn_tensor_numel(pack->values) * sizeof(float));
    for (int i = 0; i < pack->count; i++)
        kn_param_touch(pack->segment[i].param);
    logits(m, out);
    check_numbers("logits of a model of zeros", 20, out, none, 0);
    kn_module_free(m);
}

/* ---- what comes after ---- */

static void a_new_parameter_unpacks(void **state) {
    kn_ctx *ctx = *state;
    static float before[2][SIMPLE_CNN_NUMBERS + 200], after[2][SIMPLE_CNN_NUMBERS + 200];
    kn_module *m = kn_simple_cnn(ctx, 10);
    const kn_pack *pack = kn_module_pack(m);
    uint64_t serial = pack->serial;
    backward_once(m, 2, 32);
    int64_t n = read_params(m, false, before[0]);
    read_params(m, true, before[1]);
    /* At the root, so it comes before what the children have. */
    static const float extra[7] = {1, 2, 3, 4, 5, 6, 7};
    kn_param *p = kn_module_param(m, "extra", KN_SHAPE(7));
    kn_tensor_write(ctx, kn_param_value(p), extra, sizeof extra);
    pack = kn_module_pack(m);
    check_pack(m, pack);
    assert_int_equal(pack->count, 11);
    assert_int_not_equal(pack->serial, serial);
    assert_ptr_equal(pack->segment[0].param, p);
    assert_int_equal(read_params(m, false, after[0]), n + 7);
    read_params(m, true, after[1]);
    assert_memory_equal(after[0], extra, sizeof extra);
    assert_memory_equal(after[0] + 7, before[0], (size_t)n * sizeof(float));
    assert_memory_equal(after[1] + 7, before[1], (size_t)n * sizeof(float));
    kn_module_free(m);
}

static void a_new_child_unpacks(void **state) {
    kn_ctx *ctx = *state;
    kn_module *inner = kn_sequential(ctx, kn_linear(ctx, 3, 2));
    kn_module *m = kn_sequential(ctx, inner);
    uint64_t serial = kn_module_pack(m)->serial;
    assert_non_null(kn_module_child(inner, "more", kn_linear(ctx, 2, 2)));
    const kn_pack *pack = kn_module_pack(m);
    check_pack(m, pack);
    assert_int_equal(pack->count, 4);
    assert_int_not_equal(pack->serial, serial);
    kn_module_free(m);
}

/* Whoever packs last has the parameters; the other packs again when asked. */
static void part_and_whole_can_both_be_packed(void **state) {
    kn_ctx *ctx = *state;
    float before[64], after[64];
    kn_module *m = kn_sequential(ctx, kn_linear(ctx, 3, 5), kn_linear(ctx, 5, 2));
    int64_t n = read_params(m, false, before);
    for (int i = 0; i < 3; i++) {
        check_pack(m, kn_module_pack(m));
        check_pack(kn_module_child_at(m, 1), kn_module_pack(kn_module_child_at(m, 1)));
        assert_int_equal(read_params(m, false, after), n);
        assert_memory_equal(before, after, (size_t)n * sizeof(float));
    }
    kn_module_free(m);
}

/* Neither made, packed nor freed: a pack stays the one that it is. */
static void other_models_do_not_matter(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_simple_cnn(ctx, 10);
    const kn_pack *pack = kn_module_pack(m);
    assert_non_null(pack);
    uint64_t serial = pack->serial;
    kn_module *other = kn_linear(ctx, 3, 2);
    assert_non_null(kn_module_pack(other));
    assert_int_equal(kn_module_pack(m)->serial, serial);
    check_pack(other, kn_module_pack(other));
    kn_module_free(other);
    assert_int_equal(kn_module_pack(m)->serial, serial);
    check_pack(m, kn_module_pack(m));
    kn_module_free(m);
}

static void moving_unpacks(void **state) {
    kn_ctx *ctx = *state;
    float before[64], after[64];
    kn_module *m = kn_linear(ctx, 3, 5);
    uint64_t serial = kn_module_pack(m)->serial;
    int64_t n = read_params(m, false, before);
    kn_device *other = kn_device_open(ctx, test_other_device());
    assert_int_equal(kn_module_to(m, other), KN_OK);
    const kn_pack *pack = kn_module_pack(m);
    check_pack(m, pack);
    assert_ptr_equal(kn_tensor_device(pack->values), other);
    assert_int_not_equal(pack->serial, serial);
    read_params(m, false, after);
    assert_memory_equal(before, after, (size_t)n * sizeof(float));
    kn_module_free(m);
}

static void two_devices_are_an_error(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_sequential(ctx, kn_linear(ctx, 3, 5), kn_linear(ctx, 5, 2));
    kn_device *other = kn_device_open(ctx, test_other_device());
    assert_int_equal(kn_module_to(kn_module_child_at(m, 1), other), KN_OK);
    assert_null(kn_module_pack(m));
    char part[96];
    snprintf(part, sizeof part, "pack: layers.0.weight is on %s, layers.1.weight on %s",
             test_device(), test_other_device());
    check_error(ctx, KN_ERR_DEVICE, part);
    assert_int_equal(kn_module_to(m, kn_device_open(ctx, test_device())), KN_OK);
    check_pack(m, kn_module_pack(m));
    kn_module_free(m);
}

/* A new model lies where another one's gradients were. */
static void new_gradients_are_zero(void **state) {
    kn_ctx *ctx = *state;
    static float grads[SIMPLE_CNN_NUMBERS];
    for (int packed = 0; packed < 2; packed++) {
        kn_module *old = kn_simple_cnn(ctx, 10);
        backward_once(old, 4, 32);
        kn_module_free(old);
        kn_module *m = kn_simple_cnn(ctx, 10);
        if (packed)
            assert_non_null(kn_module_pack(m));
        assert_int_equal(read_params(m, true, grads), SIMPLE_CNN_NUMBERS);
        for (int i = 0; i < SIMPLE_CNN_NUMBERS; i++)
            assert_true(grads[i] == 0);
        kn_module_free(m);
    }
}

static void a_model_without_parameters_packs(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_adaptive_pool(ctx);
    const kn_pack *pack = kn_module_pack(m);
    assert_non_null(pack);
    assert_int_equal(pack->count, 0);
    kn_module_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(packing_moves_and_changes_nothing),
        MODEL_CASE(packing_again_does_nothing),
        MODEL_CASE(the_flat_buffer_is_the_model),
        MODEL_CASE(a_new_parameter_unpacks),
        MODEL_CASE(a_new_child_unpacks),
        MODEL_CASE(part_and_whole_can_both_be_packed),
        MODEL_CASE(other_models_do_not_matter),
        MODEL_CASE(moving_unpacks),
        MODEL_CASE(two_devices_are_an_error),
        MODEL_CASE(new_gradients_are_zero),
        MODEL_CASE(a_model_without_parameters_packs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
