/* test_nn.c - modules: what they register, under which names, and what becomes of it: lists,
 * counts, sharing, initial values, another device. Hooks, packing and memory have tests of their
 * own. */
#include <kiln/layers.h>
#include <kiln/model_file.h>
#include <kiln/ops.h>
#include <kiln/optim.h>

#include "support/model_case.h"

/* The list holds exactly these names in this order. */
static void check_names(kn_module *m, bool buffers, const char *const *name, int count) {
    kn_named_list list;
    assert_int_equal(buffers ? kn_module_state_list(m, &list) : kn_module_parameters(m, &list),
                     KN_OK);
    assert_int_equal(list.count, count);
    for (int i = 0; i < count; i++) {
        assert_string_equal(list.item[i].name, name[i]);
        assert_true((list.item[i].param == NULL) != (list.item[i].buffer == NULL));
    }
    kn_named_free(kn_module_ctx(m), &list);
}

/* ---- the chapter's models ---- */

static void simple_cnn_is_the_chapters(void **state) {
    kn_ctx *ctx = *state;
    static const char *const name[] = {"layers.0.weight", "layers.0.bias",   "layers.1.weight",
                                       "layers.1.bias",   "layers.2.weight", "layers.2.bias",
                                       "layers.3.weight", "layers.3.bias",   "layers.5.weight",
                                       "layers.5.bias"};
    static const kn_shape shape[] = {
        {4, {16, 3, 3, 3}},  {1, {16}}, {4, {32, 16, 3, 3}},  {1, {32}},
        {4, {64, 32, 3, 3}}, {1, {64}}, {4, {128, 64, 3, 3}}, {1, {128}},
        {2, {10, 128}},      {1, {10}}};
    kn_module *m = kn_simple_cnn(ctx, 10);
    check_names(m, false, name, 10);
    check_names(m, true, name, 10);
    kn_named_list list;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    for (int i = 0; i < list.count; i++) {
        assert_true(kn_shape_equal(kn_tensor_shape(kn_param_value(list.item[i].param)), &shape[i]));
        assert_true(kn_shape_equal(kn_tensor_shape(kn_param_grad(list.item[i].param)), &shape[i]));
        assert_false(kn_param_has_grad(list.item[i].param));
    }
    kn_named_free(ctx, &list);
    assert_int_equal(kn_module_numel(m), SIMPLE_CNN_NUMBERS);
    const kn_shape *out =
        kn_tensor_shape(kn_forward(m, made_input(ctx, 1, KN_SHAPE(128, 64, 64, 3))));
    assert_true(kn_shape_equal(out, &KN_SHAPE(128, 10)));
    kn_step_end(ctx);
    kn_module_free(m);
}

static void models_are_found_by_name(void **state) {
    kn_ctx *ctx = *state;
    for (int i = 0; kn_model_name(i) != NULL; i++) {
        kn_module *m = kn_model_new(ctx, kn_model_name(i), 7);
        kn_tensor *y = kn_forward(m, made_input(ctx, 1, KN_SHAPE(2, 64, 64, 3)));
        assert_true(kn_shape_equal(kn_tensor_shape(y), &KN_SHAPE(2, 7)));
        kn_step_end(ctx);
        kn_module_free(m);
    }
    assert_string_equal(kn_model_name(0), "simple_cnn");
    assert_null(kn_model_name(-1));
    assert_null(kn_model_new(ctx, "simple", 10));
    check_error(ctx, KN_ERR_ARG, "model simple: unknown");
}

/* The chapter's T: a module with a ConvLayer and a Linear. */
static const kn_module_class t_class = {.name = "T"};

static kn_module *new_t(kn_ctx *ctx) {
    kn_module *t = kn_module_new(ctx, &t_class, sizeof *t);
    assert_non_null(kn_module_child(t, "c", kn_conv_layer(ctx, 3, 4, (kn_conv_opts){0})));
    assert_non_null(kn_module_child(t, "l", kn_linear(ctx, 3, 4)));
    return t;
}

static void t_has_four_parameters(void **state) {
    static const char *const name[] = {"c.weight", "c.bias", "l.weight", "l.bias"};
    kn_module *t = new_t(*state);
    check_names(t, false, name, 4);
    assert_int_equal(kn_module_numel(t), 4 * 3 * 9 + 4 + 4 * 3 + 4);
    assert_int_equal(kn_module_child_count(t), 2);
    assert_string_equal(kn_module_child_name(t, 1), "l");
    assert_string_equal(kn_module_child_at(t, 1)->cls->name, "Linear");
    kn_module_free(t);
}

/* ---- a module of one's own ---- */

/* y = x * scale + shift * uses, where uses is a buffer that says how often it was called. */
typedef struct affine {
    kn_module base;
    kn_param *scale, *shift;
    kn_tensor *uses;
} affine;

static int affines_freed;

static kn_tensor *affine_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    affine *a = (affine *)m;
    float uses = (float)kn_item(ctx, a->uses) + 1;
    kn_tensor_write(ctx, a->uses, &uses, sizeof uses);
    kn_tensor *shift = kn_mul(ctx, kn_param_value(a->shift), kn_detach(ctx, a->uses));
    return kn_add(ctx, kn_mul(ctx, x, kn_param_value(a->scale)), shift);
}

static void affine_free(kn_module *m) {
    (void)m;
    affines_freed++;
}

static const kn_module_class affine_class = {
    .name = "Affine", .forward = affine_forward, .free = affine_free};

/* Its registration failed, and its constructor did not look. */
static void a_parameter_that_is_not_there_passes_on(void **state) {
    kn_ctx *ctx = *state;
    affine *a = kn_module_new(ctx, &affine_class, sizeof *a);
    a->uses = kn_module_buffer(&a->base, "uses", KN_F32, KN_SCALAR);
    kn_fail(ctx, KN_ERR_MEMORY, "no room for a parameter");
    assert_false(kn_module_training(NULL));
    assert_int_equal(kn_module_child_count(NULL), 0);
    assert_null(kn_param_value(NULL));
    assert_null(kn_param_grad(NULL));
    assert_null(kn_forward(&a->base, kn_full(ctx, KN_SHAPE(1), 1)));
    check_error(ctx, KN_ERR_MEMORY, "no room for a parameter");
    kn_step_end(ctx);
    kn_module_free(&a->base);
}

static affine *new_affine(kn_ctx *ctx, int width, kn_param *scale) {
    affine *a = kn_module_new(ctx, &affine_class, sizeof *a);
    a->scale = scale != NULL ? kn_module_share_param(&a->base, "scale", scale)
                             : kn_module_param(&a->base, "scale", KN_SHAPE(width));
    a->shift = kn_module_param(&a->base, "shift", KN_SHAPE(width));
    a->uses = kn_module_buffer(&a->base, "uses", KN_F32, KN_SCALAR);
    assert_true(a->scale != NULL && a->shift != NULL && a->uses != NULL);
    return a;
}

static void own_modules_are_like_ours(void **state) {
    kn_ctx *ctx = *state;
    affine *a = new_affine(ctx, 3, NULL);
    kn_module *m = kn_sequential(ctx, &a->base, kn_linear(ctx, 3, 1));
    static const char *const params[] = {"layers.0.scale", "layers.0.shift", "layers.1.weight",
                                         "layers.1.bias"};
    static const char *const all[] = {"layers.0.scale", "layers.0.shift", "layers.0.uses",
                                      "layers.1.weight", "layers.1.bias"};
    check_names(m, false, params, 4);
    check_names(m, true, all, 5);
    assert_int_equal(kn_module_numel(m), 3 + 3 + 3 + 1);
    static const float scale[] = {1, 2, -1}, shift[] = {0, 1, 0.5f}, ones[] = {1, 1, 1};
    static const float x[] = {1, 2, 3, -1, 0, 4};
    static const float first[] = {1, 5, -2.5f, -1, 1, -3.5f}, second[] = {1, 6, -2, -1, 2, -3};
    kn_tensor_write(ctx, kn_param_value(a->scale), scale, sizeof scale);
    kn_tensor_write(ctx, kn_param_value(a->shift), shift, sizeof shift);
    check_values(ctx, kn_forward(&a->base, kn_from(ctx, KN_F32, KN_SHAPE(2, 3), x)), 6, first);
    check_values(ctx, kn_forward(&a->base, kn_from(ctx, KN_F32, KN_SHAPE(2, 3), x)), 6, second);
    kn_step_end(ctx);
    /* And its gradients: d(sum)/d(scale) is the sum of x down a column, with weights of one behind.
     */
    kn_named_list list;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    kn_tensor_write(ctx, kn_param_value(list.item[2].param), ones, sizeof ones);
    kn_named_free(ctx, &list);
    kn_tensor *y = kn_forward(m, kn_from(ctx, KN_F32, KN_SHAPE(2, 3), x));
    assert_int_equal(kn_backward(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0})), KN_OK);
    check_values(ctx, kn_param_grad(a->scale), 3, (const float[]){0, 2, 7});
    check_values(ctx, kn_param_grad(a->shift), 3,
                 (const float[]){6, 6, 6}); /* third use, two rows */
    kn_step_end(ctx);
    affines_freed = 0;
    kn_module_free(m);
    assert_int_equal(affines_freed, 1);
}

/* ---- sharing ---- */

static void shared_parameters_count_once(void **state) {
    kn_ctx *ctx = *state;
    affine *a = new_affine(ctx, 2, NULL), *b = new_affine(ctx, 2, a->scale);
    kn_module *m = kn_sequential(ctx, &a->base, &b->base);
    static const char *const params[] = {"layers.0.scale", "layers.0.shift", "layers.1.shift"};
    check_names(m, false, params, 3);
    assert_int_equal(kn_module_numel(m), 6);
    assert_ptr_equal(a->scale, b->scale);
    /* y = (x s) s, so dy/ds = 2 x s: both uses add up. */
    static const float scale[] = {3, -2}, x[] = {1, 5};
    kn_tensor_write(ctx, kn_param_value(a->scale), scale, sizeof scale);
    kn_tensor *y = kn_forward(m, kn_from(ctx, KN_F32, KN_SHAPE(2), x));
    kn_keep(ctx, y);
    assert_int_equal(kn_backward(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0})), KN_OK);
    check_values(ctx, y, 2, (const float[]){9, 20});
    check_values(ctx, kn_param_grad(a->scale), 2, (const float[]){6, -20});
    kn_step_end(ctx);
    const kn_pack *pack = kn_module_pack(m);
    assert_int_equal(pack->count, 3);
    kn_module_free(m); /* counted_ctx_free then finds a double free or a leak */
}

static void a_shared_parameter_outlives_its_first_owner(void **state) {
    kn_ctx *ctx = *state;
    affine *a = new_affine(ctx, 2, NULL);
    affine *b = new_affine(ctx, 2, a->scale);
    static const float scale[] = {3, -2};
    kn_tensor_write(ctx, kn_param_value(a->scale), scale, sizeof scale);
    assert_non_null(kn_module_pack(&a->base)); /* its data lies in a's buffer */
    kn_module_free(&a->base);
    check_values(ctx, kn_param_value(b->scale), 2, scale);
    assert_int_equal(kn_module_numel(&b->base), 4);
    assert_non_null(kn_module_pack(&b->base));
    check_values(ctx, kn_param_value(b->scale), 2, scale);
    kn_module_free(&b->base);
}

/* ---- flags ---- */

static void training_reaches_every_child(void **state) {
    kn_ctx *ctx = *state;
    kn_module *inner = kn_sequential(ctx, kn_linear(ctx, 2, 2), kn_linear(ctx, 2, 2));
    kn_module *m = kn_sequential(ctx, inner, kn_adaptive_pool(ctx));
    assert_true(kn_module_training(m) && kn_module_training(inner));
    for (int on = 0; on < 2; on++) {
        kn_module_train(m, on);
        assert_int_equal(kn_module_training(m), on);
        assert_int_equal(kn_module_training(kn_module_child_at(m, 1)), on);
        for (int i = 0; i < 2; i++)
            assert_int_equal(kn_module_training(kn_module_child_at(inner, i)), on);
    }
    kn_module_train(inner, false); /* and not upwards */
    assert_true(kn_module_training(m));
    kn_module_free(m);
}

static void frozen_parameters_get_no_gradient(void **state) {
    kn_ctx *ctx = *state;
    affine *a = new_affine(ctx, 2, NULL);
    kn_param_freeze(a->shift, true);
    assert_true(kn_param_frozen(a->shift) && !kn_param_frozen(a->scale));
    for (int i = 0; i < 2; i++) {
        kn_tensor *y = kn_forward(&a->base, made_input(ctx, 1, KN_SHAPE(3, 2)));
        assert_int_equal(kn_backward(ctx, kn_sum(ctx, y, KN_ALL, (kn_reduce_opts){0})), KN_OK);
        assert_true(kn_param_has_grad(a->scale));
        assert_int_equal(kn_param_has_grad(a->shift), i);
        kn_param_freeze(a->shift, false); /* for the second round */
        kn_step_end(ctx);
    }
    kn_param_zero_grad(a->scale);
    assert_false(kn_param_has_grad(a->scale));
    check_values(ctx, kn_param_grad(a->scale), 2, (const float[]){0, 0});
    kn_module_free(&a->base);
}

/* ---- another device ---- */

/* All values and gradients are on that device. */
static void check_place(kn_module *m, kn_device *device) {
    kn_named_list list;
    assert_int_equal(kn_module_parameters(m, &list), KN_OK);
    for (int i = 0; i < list.count; i++) {
        assert_ptr_equal(kn_tensor_device(kn_param_value(list.item[i].param)), device);
        assert_ptr_equal(kn_tensor_device(kn_param_grad(list.item[i].param)), device);
        assert_true(kn_param_has_grad(list.item[i].param));
    }
    kn_named_free(kn_module_ctx(m), &list);
}

static void moving_keeps_values_and_gradients(void **state) {
    kn_ctx *ctx = *state;
    static float before[2][SIMPLE_CNN_NUMBERS], after[2][SIMPLE_CNN_NUMBERS];
    kn_device *own = kn_device_open(ctx, test_device()),
              *other = kn_device_open(ctx, test_other_device());
    kn_module *m = kn_simple_cnn(ctx, 10);
    for (int packed = 0; packed < 2; packed++) {
        if (packed)
            assert_non_null(kn_module_pack(m));
        backward_once(m, 4, 32);
        read_params(m, false, before[0]);
        read_params(m, true, before[1]);
        check_place(m, own);
        assert_int_equal(kn_module_to(m, other), KN_OK);
        check_place(m, other);
        read_params(m, false, after[0]);
        read_params(m, true, after[1]);
        assert_memory_equal(before, after, sizeof before);
        /* There it is a module like any other: it packs, and it adds to its gradients. */
        kn_device_use(ctx, other);
        assert_ptr_equal(kn_tensor_device(kn_module_pack(m)->values), other);
        zero_grads(m);
        backward_once(m, 4, 32);
        read_params(m, true, after[1]);
        check_numbers("gradients there", SIMPLE_CNN_NUMBERS, after[1], before[1], 1e-5);
        kn_device_use(ctx, own);
        assert_int_equal(kn_module_to(m, own), KN_OK);
        check_place(m, own);
        read_params(m, false, after[0]);
        assert_memory_equal(before[0], after[0], sizeof before[0]);
        zero_grads(m);
    }
    kn_module_free(m);
}

static void buffers_move_too(void **state) {
    kn_ctx *ctx = *state;
    affine *a = new_affine(ctx, 2, NULL);
    static const float seven = 7;
    kn_tensor_write(ctx, a->uses, &seven, sizeof seven);
    kn_device *other = kn_device_open(ctx, test_other_device());
    assert_int_equal(kn_module_to(&a->base, other), KN_OK);
    assert_ptr_equal(kn_tensor_device(a->uses), other);
    check_values(ctx, a->uses, 1, &seven);
    kn_module_free(&a->base);
}

/* ---- what does not fit ---- */

static void wrong_shapes_name_the_op(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_simple_cnn(ctx, 10);
    assert_null(kn_forward(m, made_input(ctx, 1, KN_SHAPE(8, 32, 32, 4))));
    check_error(ctx, KN_ERR_SHAPE,
                "conv2d: input [8,32,32,4], weight [16,3,3,3] expects 3 channels");
    assert_null(kn_forward(m, made_input(ctx, 1, KN_SHAPE(8, 3))));
    check_error(ctx, KN_ERR_SHAPE, "conv2d: input [8,3]");
    kn_module *linear = kn_module_child_at(m, 5);
    assert_null(kn_forward(linear, made_input(ctx, 1, KN_SHAPE(8, 127))));
    check_error(ctx, KN_ERR_SHAPE, "[8,127]");
    assert_null(kn_forward(linear, kn_zeros(ctx, KN_I32, KN_SHAPE(8, 128))));
    check_error(ctx, KN_ERR_SHAPE, "i32");
    kn_device *other = kn_device_open(ctx, test_other_device());
    kn_tensor *away = kn_to(ctx, made_input(ctx, 1, KN_SHAPE(8, 128)), other);
    assert_null(kn_forward(linear, away));
    check_error(ctx, KN_ERR_DEVICE, test_other_device());
    /* Nothing at all passes through, and is no error of its own. */
    assert_null(kn_forward(m, NULL));
    assert_null(kn_forward(NULL, made_input(ctx, 1, KN_SHAPE(1))));
    kn_step_end(ctx);
    kn_module_free(m);
}

static void bad_layers_are_refused(void **state) {
    kn_ctx *ctx = *state;
    static const struct {
        int in, out;
        kn_conv_opts opts;
    } bad[] = {{0, 4, {0}},           {3, -1, {0}},           {3, 4, {.kernel = 2}},
               {3, 4, {.kernel = 9}}, {3, 4, {.kernel = -1}}, {3, 4, {.stride = -2}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(kn_conv_layer(ctx, bad[i].in, bad[i].out, bad[i].opts));
        check_error(ctx, KN_ERR_ARG, "conv_layer: ");
    }
    assert_null(kn_linear(ctx, 0, 1));
    check_error(ctx, KN_ERR_ARG, "linear: 0 -> 1");
    /* A model built of it is not built, and what was built of it is freed. */
    assert_null(
        kn_sequential(ctx, kn_linear(ctx, 2, 2), kn_linear(ctx, 2, -2), kn_linear(ctx, 2, 2)));
    check_error(ctx, KN_ERR_ARG, "linear: 2 -> -2");
    assert_null(kn_simple_cnn(ctx, 0));
    check_error(ctx, KN_ERR_ARG, "linear: 128 -> 0");
}

static void layers_describe_themselves(void **state) {
    kn_ctx *ctx = *state;
    char text[128];
    kn_module *c = kn_conv_layer(ctx, 3, 16, (kn_conv_opts){.stride = 2, .no_bias = true});
    c->cls->describe(c, text, sizeof text);
    assert_string_equal(text, "3 -> 16, kernel 3, stride 2, no bias, relu");
    assert_int_equal(c->cls->macs(c, &KN_SHAPE(2, 64, 64, 3), &KN_SHAPE(2, 32, 32, 16)),
                     2 * 32 * 32 * 16 * 27);
    kn_module_free(c);
    kn_module *l = kn_linear(ctx, 128, 10);
    l->cls->describe(l, text, sizeof text);
    assert_string_equal(text, "128 -> 10");
    assert_int_equal(l->cls->macs(l, &KN_SHAPE(2, 128), &KN_SHAPE(2, 10)), 2 * 128 * 10);
    kn_module_free(l);
}

/* A module has one parent, which frees it. */
static void a_child_has_one_parent(void **state) {
    kn_ctx *ctx = *state;
    kn_module *a = kn_linear(ctx, 2, 2);
    assert_null(kn_sequential(ctx, a, a)); /* it took a, and frees it */
    check_error(ctx, KN_ERR_ARG, "is a child already");
    kn_module *b = kn_linear(ctx, 2, 2), *first = kn_sequential(ctx, b);
    kn_module *second = kn_sequential(ctx, kn_linear(ctx, 2, 2));
    assert_null(kn_module_child(second, "again", b));
    check_error(ctx, KN_ERR_ARG, "\"again\": this Linear is a child already");
    assert_null(kn_module_child(second, "itself", second));
    check_error(ctx, KN_ERR_ARG, "holds its new parent");
    assert_int_equal(kn_module_child_count(second), 1);
    kn_ctx *other = NULL;
    assert_int_equal(kn_ctx_new(&other, (kn_ctx_opts){.device = "cpu"}, NULL), KN_OK);
    kn_module *theirs = kn_linear(other, 2, 2);
    assert_null(kn_module_child(second, "theirs", theirs));
    check_error(ctx, KN_ERR_STATE, "belongs to another context");
    kn_module_free(theirs);
    kn_ctx_free(other);
    kn_module_free(first);
    kn_module_free(second);
}

/* One check at the end is enough here too. */
static void null_is_passed_on(void **state) {
    kn_ctx *ctx = *state;
    kn_named_list all;
    char hex[65];
    kn_module *m = kn_model_new(ctx, "resnet81", 10);
    assert_null(m);
    assert_int_equal(kn_module_parameters(m, &all), KN_ERR_STATE);
    assert_int_equal(kn_module_to(m, kn_device_default(ctx)), KN_ERR_STATE);
    assert_int_equal(kn_module_split(m, NULL, 0), KN_ERR_STATE);
    assert_int_equal(kn_weights_load(m, "nowhere"), KN_ERR_STATE);
    assert_int_equal(kn_weights_sha256(m, hex), KN_ERR_STATE);
    assert_int_equal(kn_optimizer_step(kn_sgd(m, 0.1, (kn_sgd_opts){0})), KN_ERR_STATE);
    assert_null(kn_module_pack(m));
    assert_null(kn_module_param(m, "w", KN_SHAPE(1)));
    assert_null(kn_module_buffer(m, "b", KN_F32, KN_SHAPE(1)));
    assert_null(kn_module_child(m, "c", kn_linear(ctx, 2, 2)));
    assert_int_equal(kn_module_numel(m), 0);
    kn_module_train(m, true);
    kn_module_freeze(m, true, (kn_freeze_opts){0});
    kn_tensor *y = kn_forward(m, NULL);
    assert_int_equal(kn_tensor_dim(y, 0), 0);
    assert_int_equal(kn_tensor_numel(y), 0);
    assert_int_equal(kn_tensor_shape(y)->rank, 0);
    check_error(ctx, KN_ERR_ARG, "resnet81");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(simple_cnn_is_the_chapters),
        MODEL_CASE(models_are_found_by_name),
        MODEL_CASE(t_has_four_parameters),
        MODEL_CASE(a_parameter_that_is_not_there_passes_on),
        MODEL_CASE(own_modules_are_like_ours),
        MODEL_CASE(shared_parameters_count_once),
        MODEL_CASE(a_shared_parameter_outlives_its_first_owner),
        MODEL_CASE(training_reaches_every_child),
        MODEL_CASE(frozen_parameters_get_no_gradient),
        MODEL_CASE(moving_keeps_values_and_gradients),
        MODEL_CASE(buffers_move_too),
        MODEL_CASE(wrong_shapes_name_the_op),
        MODEL_CASE(bad_layers_are_refused),
        MODEL_CASE(layers_describe_themselves),
        MODEL_CASE(a_child_has_one_parent),
        MODEL_CASE(null_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
