/* test_activations.c - the kernel of the statistics, what the callback records, that it changes no
 * bit of a training, and its files. */
#include "support/counted.h"
#include "support/made_data.h"
#include "support/model_case.h"
#include "support/numbers.h"
#include "support/svg.h"
#include "support/tiny_run.h"

#include "learner/activation_files.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the kernel ---- */

static void stats_of(kn_ctx *ctx, const float *x, int64_t n, double out[3]) {
    kn_tensor *t = kn_from(ctx, KN_F32, KN_SHAPE(n), x);
    assert_non_null(t);
    assert_int_equal(t->device->ops->stats(t->device, n, 0.05F, kn_f32(t), out), KN_OK);
    kn_step_end(ctx);
}

/* Against sums of long doubles, on both devices; a large mean costs no digits. */
static void the_kernel_gives_mean_std_and_share(void **state) {
    kn_ctx *ctx = *state;
    const char *const devices[] = {"reference", test_device()};
    static const int64_t sizes[] = {2, 7, 8, 64, 1001, 100003};
    static float x[100003];
    for (int pass = 0; pass < 12; pass++) {
        int64_t n = sizes[pass % 6];
        numbers_fill(WIDE, 3, 0, n, x);
        long double sum = 0, squares = 0, close = 0;
        for (int64_t i = 0; i < n; i++) {
            x[i] = pass < 6 ? x[i] : 1000 + x[i] / 8;
            sum += x[i];
            close += fabsf(x[i]) <= 0.05F;
        }
        for (int64_t i = 0; i < n; i++)
            squares += (x[i] - sum / n) * (x[i] - sum / n);
        double want[] = {(double)(sum / n), (double)sqrtl(squares / (n - 1)), (double)(close / n)};
        for (int d = 0; d < 2; d++) {
            double got[3], again[3];
            check_use(ctx, devices[d]);
            stats_of(ctx, x, n, got);
            stats_of(ctx, x, n, again);
            assert_memory_equal(got, again, sizeof got);
            for (int c = 0; c < 3; c++)
                assert_true(fabs(got[c] - want[c]) <= 1e-9 * fmax(fabs(want[c]), 1));
        }
    }
}

static void edges_and_nan(void **state) {
    kn_ctx *ctx = *state;
    const char *const devices[] = {"reference", test_device()};
    static const float at[] = {0.05F, -0.05F, 0, 0.0500001F}, nan[] = {1, NAN, 0}, even[] = {3, 3};
    for (int d = 0; d < 2; d++) {
        double got[3];
        check_use(ctx, devices[d]);
        stats_of(ctx, at, 4, got);
        assert_true(got[2] == 0.75); // NOLINT(clang-diagnostic-float-equal)
        stats_of(ctx, nan, 3, got);
        assert_true(isnan(got[0]) && isnan(got[1]) && fabs(got[2] - 1.0 / 3) < 1e-12);
        stats_of(ctx, even, 2, got);
        assert_true(got[0] == 3 && got[1] == 0); // NOLINT(clang-diagnostic-float-equal)
        stats_of(ctx, even, 1, got);
        assert_true(isnan(got[1])); /* as PyTorch: one number has no deviation */
    }
}

/* ---- the callback ---- */

/* A hook that records the same by ops. */
typedef struct check_hook {
    double mean[8], std[8];
    int calls;
} check_hook;

static kn_tensor *by_ops(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    check_hook *h = user;
    kn_ctx *ctx = kn_module_ctx(m);
    (void)x;
    if (kn_module_training(m) && h->calls < 8) {
        bool was = kn_grad_enable(ctx, false);
        h->mean[h->calls] = kn_item(ctx, kn_mean(ctx, y, KN_ALL, (kn_reduce_opts){0}));
        h->std[h->calls++] = kn_item(ctx, kn_std(ctx, y, KN_ALL, (kn_reduce_opts){0}));
        kn_grad_enable(ctx, was);
    }
    return y;
}

static void every_batch_of_every_layer_is_recorded(void **state) {
    (void)state;
    run r;
    run_init(&r);
    check_hook h = {.calls = 0};
    assert_true(kn_module_add_hook(kn_module_child_at(r.model, 2), by_ops, &h) > 0);
    assert_int_equal(kn_learner_add(r.l, kn_activation_stats_cb(r.ctx, (kn_activation_opts){0})),
                     KN_OK);
    assert_int_equal(kn_activation_stats(r.l).records, 0);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    kn_activations a = kn_activation_stats(r.l);
    assert_int_equal(a.layers, 2); /* the pool has no parameters */
    assert_int_equal(a.records, 4);
    assert_string_equal(a.name[0], "layers.0");
    assert_string_equal(a.name[1], "layers.2");
    assert_int_equal(h.calls, 4);
    for (int k = 0; k < 4; k++) {
        assert_true(fabs(a.mean[4 + k] - h.mean[k]) < 1e-6);
        assert_true(fabs(a.std[4 + k] - h.std[k]) < 1e-6);
        assert_true(a.near_zero[k] >= 0 && a.near_zero[k] <= 1 && a.std[k] > 0);
        assert_int_equal((int)a.batch[k], k);
    }
    assert_false(kn_module_hooked(kn_module_child_at(r.model, 0)));
    /* Validation alone keeps what the fit found; another fit begins anew. */
    assert_int_equal(kn_learner_validate(r.l), KN_OK);
    assert_int_equal(kn_activation_stats(r.l).records, 4);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_OK);
    assert_int_equal(kn_activation_stats(r.l).records, 2);
    run_free(&r);
}

/* Freeing a learner in the middle of a fit ends the fit: nothing of it stays in the model. */
static void freed_in_the_middle_it_leaves_no_hooks(void **state) {
    (void)state;
    run r;
    bool trained;
    run_init(&r);
    assert_int_equal(kn_learner_add(r.l, kn_activation_stats_cb(r.ctx, (kn_activation_opts){0})),
                     KN_OK);
    assert_int_equal(kn_learner_begin(r.l, 2), KN_OK);
    assert_int_equal(kn_learner_step(r.l, &trained), KN_OK);
    kn_learner_free(r.l);
    r.l = NULL;
    for (int i = 0; i < kn_module_child_count(r.model); i++)
        assert_false(kn_module_hooked(kn_module_child_at(r.model, i)));
    run_free(&r);
}

static void chosen_modules_every_so_many_batches(void **state) {
    (void)state;
    run r;
    run_init(&r);
    kn_module *chosen[] = {kn_module_child_at(r.model, 1), r.model};
    kn_activation_opts opts = {.module = chosen, .modules = 2, .every = 3};
    assert_int_equal(kn_learner_add(r.l, kn_activation_stats_cb(r.ctx, opts)), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 4), KN_OK);
    kn_activations a = kn_activation_stats(r.l);
    assert_int_equal(a.layers, 2);
    assert_string_equal(a.name[0], "model");
    assert_string_equal(a.name[1], "layers.1");
    assert_int_equal(a.records, 3); /* of 8 batches: 0, 3, 6 */
    assert_int_equal((int)a.batch[2], 6);
    for (int i = 0; i < 6; i++)
        assert_true(isfinite(a.mean[i]) && isfinite(a.std[i]) && isfinite(a.near_zero[i]));
    run_free(&r);
}

static void what_cannot_be_watched_is_refused(void **state) {
    (void)state;
    run r;
    run_init(&r);
    kn_module *other = kn_linear(r.ctx, 2, 2);
    kn_activation_opts opts = {.module = &other, .modules = 1};
    assert_int_equal(kn_learner_add(r.l, kn_activation_stats_cb(r.ctx, opts)), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_ARG);
    check_error(r.ctx, KN_ERR_ARG, "0 of the 1 modules are in the model");
    assert_null(kn_activation_stats_cb(r.ctx, (kn_activation_opts){.every = -1}));
    check_error(r.ctx, KN_ERR_ARG, "every -1 batches");
    kn_module_free(other);
    run_free(&r);
}

static void train(const char *device, int every, char sha[65]) {
    run r;
    run_init(&r);
    kn_device_use(r.ctx, kn_device_open(r.ctx, device));
    if (every > 0)
        assert_int_equal(kn_learner_add(r.l, kn_activation_stats_cb(
                                                 r.ctx, (kn_activation_opts){.every = every})),
                         KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 3), KN_OK);
    assert_int_equal(kn_weights_sha256(r.model, sha), KN_OK);
    run_free(&r);
}

static void watching_changes_no_bit(void **state) {
    (void)state;
    const char *const devices[] = {"reference", test_device()};
    for (int d = 0; d < 2; d++) {
        char plain[65], watched[65];
        train(devices[d], 0, plain);
        for (int every = 1; every < 3; every++) {
            train(devices[d], every, watched);
            assert_string_equal(plain, watched);
        }
    }
}

/* ---- files ---- */

static char *slurp(const char *folder, const char *file) {
    static char text[1 << 18], path[512];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void the_fit_ends_with_a_table_and_a_picture(void **state) {
    (void)state;
    run r;
    run_init(&r);
    char folder[] = "/tmp/kiln-activations-XXXXXX", line[256];
    assert_non_null(mkdtemp(folder));
    kn_activation_opts opts = {.folder = folder};
    assert_int_equal(kn_learner_add(r.l, kn_activation_stats_cb(r.ctx, opts)), KN_OK);
    assert_int_equal(kn_learner_fit(r.l, 2), KN_OK);
    kn_activations a = kn_activation_stats(r.l);
    char *csv = slurp(folder, "activations.csv");
    assert_memory_equal(csv, "batch,layer,mean,std,near_zero\n0,layers.0,", 42);
    assert_int_equal(svg_count(csv, "\n"), 1 + 4 * 2);
    snprintf(line, sizeof line, "\n3,layers.2,%.9g,%.9g,%.9g\n", a.mean[7], a.std[7],
             a.near_zero[7]);
    svg_contains(csv, line);
    char *svg = slurp(folder, "activations.svg");
    assert_int_equal(svg_count(svg, ">layers.0</text>"), 3);
    svg_contains(svg, ">Standard deviation</text>");
    svg_contains(svg, "height=\"900\"");
    snprintf(line, sizeof line, "rm -rf %s", folder);
    assert_int_equal(system(line), 0);
    assert_int_equal(kn_learner_fit(r.l, 1), KN_ERR_IO); /* the folder is gone */
    check_error(r.ctx, KN_ERR_IO, "activations.csv");
    run_free(&r);
}

static void a_name_with_a_comma_stays_one_cell(void **state) {
    static const char *const name[] = {"a,\"b\"\n"};
    static const double one[] = {1};
    char folder[] = "/tmp/kiln-activations-XXXXXX", line[64];
    assert_non_null(mkdtemp(folder));
    kn_activations a = {
        .layers = 1, .records = 1, .name = name, .batch = one, .mean = one, .std = one};
    a.near_zero = one;
    assert_int_equal(kn_activation_files_write(*state, &a, folder), KN_OK);
    svg_contains(slurp(folder, "activations.csv"), "\n1,\"a,\"\"b\"\"\n\",1,1,1\n");
    snprintf(line, sizeof line, "rm -rf %s", folder);
    assert_int_equal(system(line), 0);
}

/* Whatever allocation fails, the fit says so, and the hooks are gone. */
static void lack_of_memory_is_reported(void **state) {
    kn_ctx *ctx = *state;
    counted *memory = model_case_memory();
    kn_dataset *set = made_data(6, 8, 3);
    kn_loaders loaders = {kn_loader_new(ctx, set, 4, (kn_loader_opts){.workers = 1}), NULL};
    kn_module *model = kn_simple_cnn(ctx, 3);
    kn_normalize norm = {{.5F, .5F, .5F}, {.25F, .25F, .25F}};
    kn_status status = KN_ERR_MEMORY;
    long at = 0;
    while (status != KN_OK) {
        kn_learner *l =
            kn_learner_new(ctx, (kn_learner_opts){.model = model, .loaders = loaders, .lr = 0.01});
        assert_int_equal(kn_learner_add(l, kn_setup_cb(ctx, &norm)), KN_OK);
        memory->fail_at = memory->made + ++at;
        kn_learner_add(l, kn_activation_stats_cb(ctx, (kn_activation_opts){0}));
        status = kn_learner_fit(l, 1);
        memory->fail_at = 0;
        if (status != KN_OK)
            assert_int_equal(kn_error_take(ctx).status, KN_ERR_MEMORY);
        kn_learner_free(l);
        for (int i = 0; i < kn_module_child_count(model); i++)
            assert_false(kn_module_hooked(kn_module_child_at(model, i)));
    }
    assert_true(at > 10);
    kn_module_free(model);
    kn_loader_free(loaders.train);
    kn_dataset_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(the_kernel_gives_mean_std_and_share),
        MODEL_CASE(edges_and_nan),
        cmocka_unit_test(every_batch_of_every_layer_is_recorded),
        cmocka_unit_test(freed_in_the_middle_it_leaves_no_hooks),
        cmocka_unit_test(chosen_modules_every_so_many_batches),
        cmocka_unit_test(what_cannot_be_watched_is_refused),
        cmocka_unit_test(watching_changes_no_bit),
        cmocka_unit_test(the_fit_ends_with_a_table_and_a_picture),
        MODEL_CASE(a_name_with_a_comma_stays_one_cell),
        MODEL_CASE(lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
