/* test_freeze.c - groups by depth, rates by group, and freezing, with and without norm layers. */
#include "support/model_case.h"

#include <kiln/ops.h>
#include <kiln/optim.h>

#include <math.h>
#include <string.h>

/* ---- groups ---- */

static int group_of(kn_module *m, const char *name) {
    kn_named_list all;
    int group = -1;
    assert_int_equal(kn_module_parameters(m, &all), KN_OK);
    for (int i = 0; i < all.count; i++)
        if (strcmp(all.item[i].name, name) == 0)
            group = kn_param_group(all.item[i].param);
    kn_named_free(kn_module_ctx(m), &all);
    return group;
}

/* fastai's: _resnet_split, and _xresnet_split, whose late body follows the stem's three layers. */
static void models_are_split_as_by_fastai(void **state) {
    kn_ctx *ctx = *state;
    static const struct {
        const char *model, *early, *late, *head;
    } models[] = {{"simple_cnn", "layers.1.bias", "layers.2.weight", "layers.5.weight"},
                  {"resnet18", "layer2.1.bn2.bias", "layer3.0.conv1.weight", "fc.weight"},
                  {"xresnet18", "2.1.bias", "4.0.convpath.0.0.weight", "11.weight"}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        kn_module *m = kn_model_new(ctx, models[i].model, 4);
        assert_int_equal(kn_module_groups(m), 1);
        assert_int_equal(kn_model_split(m, models[i].model), KN_OK);
        assert_int_equal(group_of(m, models[i].early), 0);
        assert_int_equal(group_of(m, models[i].late), 1);
        assert_int_equal(group_of(m, models[i].head), 2);
        assert_int_equal(kn_module_groups(m), 3);
        kn_module_free(m);
    }
    kn_module *any = kn_simple_cnn(ctx, 2);
    for (int i = 0; kn_model_name(i) != NULL; i++) /* none was forgotten */
        if (kn_model_split(any, kn_model_name(i)) != KN_OK)
            check_error(ctx, KN_ERR_ARG, "split: there is no parameter at ");
    kn_module_free(any);
}

static void wrong_splits_are_refused(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_simple_cnn(ctx, 2);
    static const char *const gone[] = {"layers.2", "fc"}, *const back[] = {"layers.3", "layers.2"},
                             *const part[] = {"layers.2.wei"},
                             *const same[] = {"layers.5.bias", "layers.5.bias"};
    assert_int_equal(kn_module_split(m, gone, 2), KN_ERR_ARG);
    check_error(ctx, KN_ERR_ARG, "no parameter at \"fc\" after the first at \"layers.2\"");
    assert_int_equal(kn_module_split(m, back, 2), KN_ERR_ARG);
    check_error(ctx, KN_ERR_ARG, "no parameter at \"layers.2\" after");
    assert_int_equal(kn_module_split(m, part, 1), KN_ERR_ARG);
    check_error(ctx, KN_ERR_ARG, "no parameter at \"layers.2.wei\"");
    assert_int_equal(kn_module_split(m, same, 2), KN_ERR_ARG);
    check_error(ctx, KN_ERR_ARG, "layers.5.bias");
    assert_int_equal(kn_module_groups(m), 1);
    assert_int_equal(kn_model_split(m, "vgg"), KN_ERR_ARG);
    check_error(ctx, KN_ERR_ARG, "model vgg: unknown");
    kn_module_free(m);
}

/* even_mults(0.01, 1, 3) and (0.01, 1, 2) and of one group. */
static void rates_spread_over_groups(void **state) {
    kn_ctx *ctx = *state;
    kn_module *m = kn_simple_cnn(ctx, 2);
    static const char *const head[] = {"layers.5"};
    kn_optimizer *opt = kn_sgd(m, 0.5, (kn_sgd_opts){0});
    kn_optimizer_spread(opt, 100);
    assert_true(opt->group[0].lr_mult == 1);
    kn_optimizer_free(opt);
    assert_int_equal(kn_module_split(m, head, 1), KN_OK);
    opt = kn_sgd(m, 0.5, (kn_sgd_opts){0});
    kn_optimizer_spread(opt, 100);
    assert_true(fabs(opt->group[0].lr_mult - 0.01) < 1e-15 && opt->group[1].lr_mult == 1);
    kn_optimizer_free(opt);
    assert_int_equal(kn_model_split(m, "simple_cnn"), KN_OK);
    opt = kn_sgd(m, 0.5, (kn_sgd_opts){0});
    kn_optimizer_spread(opt, 100);
    assert_true(fabs(opt->group[0].lr_mult - 0.01) < 1e-15);
    assert_true(fabs(opt->group[1].lr_mult - 0.1) < 1e-15);
    assert_true(opt->group[2].lr_mult == 1);
    assert_true(opt->lr == 0.5);
    kn_optimizer_free(opt);
    kn_module_free(m);
}

/* ---- freezing ---- */

enum { CONV = 108, NORM = 4, HEAD = 50, ALL = CONV + 2 * NORM + HEAD };

/* conv 3 -> 4 without bias, norm, pool, linear 4 -> 10: groups 0, 0, -, 1. */
static kn_module *new_net(kn_ctx *ctx) {
    kn_module *part[] = {kn_conv_layer(ctx, 3, 4, (kn_conv_opts){.no_bias = true, .no_act = true}),
                         kn_batch_norm(ctx, 4, (kn_batch_norm_opts){0}), kn_adaptive_pool(ctx),
                         kn_linear(ctx, 4, 10)};
    static const char *const head[] = {"layers.3"};
    kn_module *m = kn_sequential_of(ctx, part, 4);
    assert_int_equal(kn_module_split(m, head, 1), KN_OK);
    return m;
}

static void one_step(kn_module *m) {
    kn_optimizer *opt = kn_sgd(m, 0.5, (kn_sgd_opts){.wd = 0.1});
    kn_module_train(m, true);
    zero_grads(m);
    backward_once(m, 4, 8);
    assert_int_equal(kn_optimizer_step(opt), KN_OK);
    kn_optimizer_free(opt);
}

/* Running mean and variance. */
static void read_statistics(kn_module *m, float out[2 * NORM]) {
    kn_named_list all;
    assert_int_equal(kn_module_state_list(kn_module_child_at(m, 1), &all), KN_OK);
    assert_int_equal(all.count, 5);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kn_tensor_read(kn_module_ctx(m), all.item[2 + i].buffer, out + i * NORM,
                                        NORM * sizeof *out),
                         KN_OK);
    kn_named_free(kn_module_ctx(m), &all);
}

static bool differ(const float *a, const float *b, int count) {
    return memcmp(a, b, (size_t)count * sizeof *a) != 0;
}

static void norm_layers_go_on_training(void **state) {
    kn_ctx *ctx = *state;
    float before[ALL], after[ALL], was[2 * NORM], is[2 * NORM];
    kn_module *m = new_net(ctx);
    kn_module_freeze_below(m, 1, (kn_freeze_opts){0});
    assert_int_equal(read_params(m, false, before), ALL);
    read_statistics(m, was);
    one_step(m);
    read_params(m, false, after);
    read_statistics(m, is);
    assert_false(differ(before, after, CONV)); /* not by decay either */
    assert_true(differ(before + CONV, after + CONV, NORM));
    assert_true(differ(before + CONV + 2 * NORM, after + CONV + 2 * NORM, HEAD));
    assert_true(differ(was, is, 2 * NORM));
    kn_module_freeze_below(m, 0, (kn_freeze_opts){0});
    one_step(m);
    read_params(m, false, before);
    assert_true(differ(before, after, CONV));
    kn_module_free(m);
}

static void norm_layers_may_be_frozen_too(void **state) {
    kn_ctx *ctx = *state;
    float before[ALL], after[ALL], was[2 * NORM], is[2 * NORM];
    kn_module *m = new_net(ctx);
    one_step(m);
    kn_module_freeze_below(m, 1, (kn_freeze_opts){.norm = true});
    read_params(m, false, before);
    read_statistics(m, was);
    one_step(m);
    assert_true(kn_module_training(m));
    assert_false(kn_module_training(kn_module_child_at(m, 1)));
    read_params(m, false, after);
    read_statistics(m, is);
    assert_false(differ(before, after, CONV + 2 * NORM));
    assert_true(differ(before + CONV + 2 * NORM, after + CONV + 2 * NORM, HEAD));
    assert_false(differ(was, is, 2 * NORM));
    kn_module_freeze(m, false, (kn_freeze_opts){0});
    one_step(m);
    assert_true(kn_module_training(kn_module_child_at(m, 1)));
    read_params(m, false, before);
    read_statistics(m, was);
    assert_true(differ(before, after, CONV) && differ(before + CONV, after + CONV, NORM));
    assert_true(differ(was, is, 2 * NORM));
    kn_module_free(m);
}

/* A part of a model, whatever its groups. */
static void a_tree_is_frozen_whole(void **state) {
    kn_ctx *ctx = *state;
    float before[ALL], after[ALL];
    kn_module *m = new_net(ctx);
    kn_module_freeze(kn_module_child_at(m, 3), true, (kn_freeze_opts){0});
    read_params(m, false, before);
    one_step(m);
    read_params(m, false, after);
    assert_true(differ(before, after, CONV));
    assert_false(differ(before + CONV + 2 * NORM, after + CONV + 2 * NORM, HEAD));
    kn_module_freeze(m, true, (kn_freeze_opts){.norm = true});
    kn_named_list all;
    assert_int_equal(kn_module_parameters(m, &all), KN_OK);
    for (int i = 0; i < all.count; i++)
        assert_true(kn_param_frozen(all.item[i].param));
    kn_named_free(ctx, &all);
    kn_module_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(models_are_split_as_by_fastai), MODEL_CASE(wrong_splits_are_refused),
        MODEL_CASE(rates_spread_over_groups),      MODEL_CASE(norm_layers_go_on_training),
        MODEL_CASE(norm_layers_may_be_frozen_too), MODEL_CASE(a_tree_is_frozen_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
