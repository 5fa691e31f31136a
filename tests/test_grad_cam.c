/* test_grad_cam.c - heat maps. With a mean over the map and one matrix as the head, Grad-CAM is CAM
 * (Zhou et al., 2016): the class's row of the matrix times the map, which is made here by hand. */
#include "support/check.h"
#include "support/counted.h"
#include "support/made_data.h"

#include <kiln/kiln.h>

#include <math.h>
#include <string.h>

enum { N = 3, SIDE = 16, CLASSES = 4, MAP = 8, CHANNELS = 6 };

typedef struct scene {
    kn_ctx *ctx;
    kn_module *conv, *model;
    uint8_t pixels[N * SIDE * SIDE * 3];
    kn_batch batch;
} scene;

static const kn_normalize norm = {{.5f, .4f, .6f}, {.25f, .2f, .3f}};
static const int32_t classes[N] = {2, 0, 3};

static void draw(scene *s) {
    kn_dataset *ds = made_data(N, SIDE, CLASSES);
    for (int i = 0; i < N; i++) {
        int32_t label;
        kn_sample sample = {
            .index = i, .slot = s->pixels + (size_t)i * SIDE * SIDE * 3, .label = &label};
        assert_int_equal(ds->cls->get(ds, &sample), KN_OK);
    }
    kn_dataset_free(ds);
    s->batch = (kn_batch){.n = N, .height = SIDE, .width = SIDE, .pixels = s->pixels};
}

static void scene_open(scene *s, const char *device) {
    *s = (scene){0};
    kn_ctx_opts opts = {.seed = 5, .threads = 1, .device = device};
    assert_int_equal(kn_ctx_new(&s->ctx, opts, NULL), KN_OK);
    kn_module *pool = kn_adaptive_pool(s->ctx), *head = kn_linear(s->ctx, CHANNELS, CLASSES);
    s->conv = kn_conv_layer(s->ctx, 3, CHANNELS, (kn_conv_opts){.stride = 2});
    s->model = kn_sequential(s->ctx, s->conv, pool, head);
    assert_non_null(s->model);
    draw(s);
}

static void scene_close(scene *s) {
    kn_module_free(s->model);
    check_good(s->ctx, "at the end");
    kn_ctx_free(s->ctx);
}

/* relu(sum over channels of weight[class][k] map[.][k]), its highest 1. */
static void by_hand(scene *s, float want[N * MAP * MAP]) {
    static float map[N * MAP * MAP * CHANNELS];
    float weight[CLASSES * CHANNELS];
    kn_named_list all;
    bool was = kn_grad_enable(s->ctx, false);
    kn_tensor *x = kn_from(s->ctx, KN_U8, KN_SHAPE(N, SIDE, SIDE, 3), s->pixels);
    x = kn_forward(s->conv, kn_normalize_apply(s->ctx, &norm, x));
    check_read(s->ctx, x, N * MAP * MAP * CHANNELS, map);
    assert_int_equal(kn_module_parameters(s->model, &all), KN_OK);
    check_read(s->ctx, kn_param_value(all.item[2].param), CLASSES * CHANNELS, weight);
    kn_named_free(s->ctx, &all);
    kn_grad_enable(s->ctx, was);
    kn_step_end(s->ctx);
    for (int n = 0; n < N; n++) {
        float most = 0, *heat = want + n * MAP * MAP;
        for (int i = 0; i < MAP * MAP; i++) {
            heat[i] = 0;
            for (int k = 0; k < CHANNELS; k++)
                heat[i] +=
                    weight[classes[n] * CHANNELS + k] * map[(n * MAP * MAP + i) * CHANNELS + k];
            heat[i] = heat[i] > 0 ? heat[i] : 0;
            most = heat[i] > most ? heat[i] : most;
        }
        for (int i = 0; i < MAP * MAP && most > 0; i++)
            heat[i] /= most;
    }
}

static void test_is_cam(void **state) {
    (void)state;
    const char *const devices[] = {"reference", test_device()};
    for (int d = 0; d < 2; d++) {
        scene s;
        kn_heat heat;
        float want[N * MAP * MAP];
        scene_open(&s, devices[d]);
        by_hand(&s, want);
        assert_int_equal(kn_grad_cam(s.model, &norm, &s.batch, classes, &heat), KN_OK);
        assert_int_equal(heat.n, N);
        assert_int_equal(heat.height, MAP);
        assert_int_equal(heat.width, MAP);
        check_numbers(devices[d], N * MAP * MAP, heat.values, want, 1e-5);
        int warm = 0;
        for (int n = 0; n < N; n++) { /* each has its own highest */
            float most = 0;
            for (int i = 0; i < MAP * MAP; i++)
                most = fmaxf(most, heat.values[n * MAP * MAP + i]);
            assert_true(most == 1 || most == 0);
            warm += most == 1;
        }
        assert_true(warm >= 2);
        kn_heat_free(s.ctx, &heat);
        scene_close(&s);
    }
}

/* No gradient, no hook, no other mode, no frozen parameter is left behind. */
static void test_leaves_no_trace(void **state) {
    (void)state;
    scene s;
    kn_heat heat;
    kn_named_list all;
    char before[65], after[65];
    scene_open(&s, test_device());
    assert_int_equal(kn_weights_sha256(s.model, before), KN_OK);
    assert_int_equal(kn_module_parameters(s.model, &all), KN_OK);
    kn_param_freeze(all.item[0].param, true);
    kn_module_train(s.model, true);
    assert_int_equal(kn_grad_cam(s.model, &norm, &s.batch, classes, &heat), KN_OK);
    for (int i = 0; i < all.count; i++) {
        assert_false(kn_param_has_grad(all.item[i].param));
        assert_int_equal(kn_param_frozen(all.item[i].param), i == 0);
    }
    assert_true(kn_module_training(s.model));
    assert_false(kn_module_hooked(s.model) || kn_module_hooked(s.conv));
    assert_int_equal(kn_weights_sha256(s.model, after), KN_OK);
    assert_string_equal(before, after);
    kn_named_free(s.ctx, &all);
    kn_heat_free(s.ctx, &heat);
    scene_close(&s);
}

static void test_no_map(void **state) {
    (void)state;
    scene s;
    kn_heat heat;
    scene_open(&s, test_device());
    kn_module *flat = kn_sequential(s.ctx, kn_adaptive_pool(s.ctx), kn_linear(s.ctx, 3, CLASSES));
    assert_int_equal(kn_grad_cam(flat, &norm, &s.batch, classes, &heat), KN_ERR_SHAPE);
    check_error(s.ctx, KN_ERR_SHAPE, "no module gives a feature map");
    assert_null(heat.values);
    kn_module_free(flat);
    scene_close(&s);
}

static void test_no_memory(void **state) {
    (void)state;
    scene s = {0};
    bool failed = true;
    draw(&s);
    for (long at = 1; failed; at++) {
        counted count = {0};
        kn_ctx *ctx = counted_ctx(&count, "reference");
        kn_module *model = kn_sequential(ctx, kn_conv_layer(ctx, 3, 2, (kn_conv_opts){.stride = 2}),
                                         kn_adaptive_pool(ctx), kn_linear(ctx, 2, CLASSES));
        assert_non_null(model);
        kn_heat heat;
        count.fail_at = count.made + at;
        kn_status status = kn_grad_cam(model, &norm, &s.batch, classes, &heat);
        failed = count.refused > 0;
        if (status != KN_OK)
            assert_int_equal(kn_error_take(ctx).status, KN_ERR_MEMORY);
        kn_heat_free(ctx, &heat);
        kn_module_free(model);
        counted_ctx_free(&count, ctx);
        assert_true(at < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_cam),
        cmocka_unit_test(test_leaves_no_trace),
        cmocka_unit_test(test_no_map),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
