/* test_models.c - the residual networks: torchvision's and fastai's names and shapes, their answers
 * and gradients on the same weights (tests/data/models_golden.txt, made by
 * tools/make_model_goldens.py, which says what is in it), and what hooks and memory see of them. */
#include "support/model_case.h"

#include "formats/sha256.h"
#include "tensor/tensor.h"

#include <kiln/ops.h>
#include <kiln/random.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES = 4, SIDE = 64, CLASSES = 10, PIXELS = 9999 };

/* ---- the golden's numbers ---- */

static void uniform(int stream, int64_t n, double middle, double half, float *out) {
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t words[4], key[2] = {2026, 0};
        uint32_t counter[4] = {(uint32_t)(i / 4), 0, 0,
                               (uint32_t)KN_RANDOM_USER << 16 | (uint32_t)stream};
        kn_philox(key, counter, words);
        for (int64_t k = i; k < n && k < i + 4; k++)
            out[k] = (float)((2 * ((double)(words[k - i] >> 8) * 0x1p-24) - 1) * half + middle);
    }
}

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static void fill(kn_ctx *ctx, const kn_named_list *all) {
    int stream = 0;
    for (int i = 0; i < all->count; i++) {
        const kn_named *item = &all->item[i];
        kn_tensor *t = item->param != NULL ? kn_param_value(item->param) : item->buffer;
        if (t->dtype == KN_I64)
            continue;
        double fan_in = 1, middle = 0, half = 0.125;
        for (int a = 1; a < t->shape.rank; a++)
            fan_in *= (double)t->shape.dim[a];
        if (t->shape.rank > 1)
            half = sqrt(6.0 / fan_in);
        else if (ends_with(item->name, "running_mean"))
            half = 0.25;
        else if (ends_with(item->name, "running_var") || ends_with(item->name, "weight"))
            middle = 1, half = 0.25;
        float *host = malloc((size_t)t->numel * sizeof *host);
        assert_non_null(host);
        uniform(stream++, t->numel, middle, half, host);
        assert_int_equal(kn_tensor_write(ctx, t, host, (size_t)t->numel * sizeof *host), KN_OK);
        free(host);
    }
}

static kn_tensor *pictures(kn_ctx *ctx, int n) {
    static float host[PICTURES * SIDE * SIDE * 3];
    uniform(PIXELS, PICTURES * SIDE * SIDE * 3, 0, 1, host);
    return kn_from(ctx, KN_F32, KN_SHAPE(n, SIDE, SIDE, 3), host);
}

/* ---- comparing ---- */

static FILE *golden;

static double number(void) {
    double value;
    assert_int_equal(fscanf(golden, "%lf", &value), 1);
    return value;
}

static void next_word(const char *want) {
    char found[64] = "";
    if (fscanf(golden, "%63s", found) != 1 || strcmp(found, want) != 0)
        fail_msg("the golden has \"%s\" where \"%s\" is expected", found, want);
}

static void check_near(const char *model, const char *what, double got, double tolerance) {
    double want = number();
    if (!(fabs(got - want) <= tolerance * fabs(want)))
        fail_msg("%s: %s is %.9g, expected %.9g", model, what, got, want);
}

static void check_names(const char *model, const kn_named_list *all, int64_t numel) {
    char line[256], shape[KN_SHAPE_TEXT], hex[65], want[65];
    kn_sha256 h;
    kn_error error = {0};
    int params = 0;
    kn_sha256_begin(&h);
    for (int i = 0; i < all->count; i++) {
        const kn_named *item = &all->item[i];
        kn_tensor *t = item->param != NULL ? kn_param_value(item->param) : item->buffer;
        params += item->param != NULL;
        snprintf(line, sizeof line, "%s %s\n", item->name, kn_shape_text(&t->shape, shape));
        kn_sha256_add(&h, line, strlen(line));
    }
    assert_int_equal(kn_sha256_end(&h, hex, &error), KN_OK);
    check_near(model, "the number of parameters", params, 0);
    check_near(model, "the count of their numbers", (double)numel, 0);
    assert_int_equal(fscanf(golden, "%64s", want), 1);
    assert_string_equal(hex, want);
}

static void check_eval(kn_ctx *ctx, const char *name, kn_module *model) {
    float got[2 * CLASSES], want[2 * CLASSES];
    next_word("eval");
    for (int i = 0; i < 2 * CLASSES; i++)
        want[i] = (float)number();
    kn_module_train(model, false);
    bool was = kn_grad_enable(ctx, false);
    kn_tensor *y = kn_forward(model, pictures(ctx, 2));
    kn_grad_enable(ctx, was);
    check_good(ctx, name);
    check_read(ctx, y, 2 * CLASSES, got);
    check_numbers(name, 2 * CLASSES, got, want, 2e-5);
    kn_step_end(ctx);
}

static double norm_of(kn_ctx *ctx, const kn_tensor *t) {
    float *host = malloc((size_t)t->numel * sizeof *host);
    assert_non_null(host);
    check_read(ctx, t, t->numel, host);
    double sum = 0;
    for (int64_t i = 0; i < t->numel; i++)
        sum += (double)host[i] * host[i];
    free(host);
    return sqrt(sum);
}

static void check_train(kn_ctx *ctx, const char *name, kn_module *model, const kn_named_list *all) {
    int32_t labels[PICTURES] = {0, 1, 2, 3};
    kn_module_train(model, true);
    kn_tensor *y = kn_forward(model, pictures(ctx, PICTURES));
    kn_tensor *loss = kn_cross_entropy(ctx, y, kn_from(ctx, KN_I32, KN_SHAPE(PICTURES), labels));
    next_word("train");
    check_near(name, "the loss", kn_item(ctx, loss), 1e-4);
    assert_int_equal(kn_backward(ctx, loss), KN_OK);
    next_word("float32"); /* the small batch and the depth cost every float32 these digits */
    double running = 0, tolerance = 1e-4 + 2 * number();
    int params = 0, last = 0;
    for (int i = 0; i < all->count; i++) {
        last += all->item[i].param != NULL;
        if (all->item[i].buffer != NULL && all->item[i].buffer->dtype == KN_F32)
            running += pow(norm_of(ctx, all->item[i].buffer), 2);
    }
    next_word("running");
    check_near(name, "the running statistics", sqrt(running), 1e-5);
    for (int i = 0; i < all->count; i++) {
        if (all->item[i].param == NULL)
            continue;
        if (params % 9 == 0 || params == last - 1) {
            next_word("grad");
            next_word(all->item[i].name);
            check_near(name, all->item[i].name, norm_of(ctx, kn_param_grad(all->item[i].param)),
                       tolerance);
        }
        params++;
    }
    next_word("end");
    kn_step_end(ctx);
}

static void models_answer_as_pytorch_does(void **state) {
    kn_ctx *ctx = *state;
    char name[32];
    int models = 0;
    golden = fopen(KN_TEST_DIR "/data/models_golden.txt", "r");
    assert_non_null(golden);
    while (fscanf(golden, " model %31s", name) == 1) {
        kn_named_list all;
        kn_module *model = kn_model_new(ctx, name, CLASSES);
        check_good(ctx, name);
        assert_int_equal(kn_module_state_list(model, &all), KN_OK);
        check_names(name, &all, kn_module_numel(model));
        fill(ctx, &all);
        check_eval(ctx, name, model);
        check_train(ctx, name, model, &all);
        kn_named_free(ctx, &all);
        kn_module_free(model);
        models++;
    }
    fclose(golden);
    assert_int_equal(models, 6);
}

/* ---- hooks ---- */

static kn_tensor *watch(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    (void)m;
    (void)x;
    ++*(int *)user;
    return y;
}

static void add_everywhere(kn_module *m, int *calls, int *modules) {
    ++*modules;
    assert_true(kn_module_add_hook(m, watch, calls) > 0);
    for (int i = 0; i < kn_module_child_count(m); i++)
        add_everywhere(kn_module_child_at(m, i), calls, modules);
}

enum { FIRST = 64 }; /* numbers of a gradient */

/* What it says, and in training a gradient of its beginning. */
typedef struct answers {
    float said[2 * CLASSES], slope[FIRST];
} answers;

static void answer(kn_ctx *ctx, kn_module *model, kn_dtype dtype, bool training, answers *out) {
    kn_named_list all;
    bool was = kn_grad_enable(ctx, training);
    memset(out, 0, sizeof *out);
    kn_module_train(model, training);
    kn_tensor *y = kn_forward(model, kn_cast(ctx, pictures(ctx, 2), dtype));
    check_read(ctx, y, 2 * CLASSES, out->said);
    if (training) {
        assert_int_equal(kn_module_parameters(model, &all), KN_OK);
        const kn_tensor *grad = kn_param_grad(all.item[1].param); /* of the first norm */
        assert_int_equal(
            kn_backward(ctx, kn_sum(ctx, kn_mul(ctx, y, y), KN_ALL, (kn_reduce_opts){0})), KN_OK);
        assert_true(kn_tensor_bytes(grad) <= sizeof out->slope);
        assert_int_equal(kn_tensor_read(ctx, grad, out->slope, kn_tensor_bytes(grad)), KN_OK);
        for (int i = 0; i < all.count; i++)
            kn_param_zero_grad(all.item[i].param);
        kn_named_free(ctx, &all);
    }
    kn_grad_enable(ctx, was);
    kn_step_end(ctx);
}

/* Watched everywhere, every module is called and every fusion is off, those of training and those
 * of predicting: the bits are the same. */
static void hooks_see_every_module_and_change_no_bit(void **state) {
    kn_ctx *ctx = *state;
    static const char *const names[] = {"resnet18", "xresnet50", "resnet18", "xresnet50"};
    static const kn_dtype dtypes[] = {KN_F32, KN_F32, KN_BF16, KN_BF16};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        answers plain[2], watched[2];
        int calls = 0, modules = 0;
        kn_named_list all;
        if (!kn_device_can(kn_device_default(ctx), dtypes[i]))
            continue;
        kn_module *model = kn_model_new(ctx, names[i], CLASSES);
        assert_int_equal(kn_module_state_list(model, &all), KN_OK);
        fill(ctx, &all);
        answer(ctx, model, dtypes[i], false, &plain[0]);
        answer(ctx, model, dtypes[i], true, &plain[1]);
        fill(ctx, &all); /* the running statistics */
        add_everywhere(model, &calls, &modules);
        answer(ctx, model, dtypes[i], false, &watched[0]);
        answer(ctx, model, dtypes[i], true, &watched[1]);
        assert_memory_equal(plain, watched, sizeof plain);
        assert_int_equal(calls, 2 * modules);
        kn_named_free(ctx, &all);
        kn_module_free(model);
    }
}

/* ---- beginnings ---- */

static kn_param *param_named(const kn_named_list *all, const char *name) {
    for (int i = 0; i < all->count; i++)
        if (strcmp(all->item[i].name, name) == 0)
            return all->item[i].param;
    fail_msg("there is no parameter %s", name);
    return NULL;
}

/* The root mean square of a parameter is want, but for what chance allows. */
static void check_spread(kn_ctx *ctx, const kn_named_list *all, const char *name, double want) {
    const kn_tensor *t = kn_param_value(param_named(all, name));
    double rms = norm_of(ctx, t) / sqrt((double)t->numel);
    if (!(fabs(rms - want) <= 4 * want / sqrt(2.0 * (double)t->numel)))
        fail_msg("%s has root mean square %g, expected %g", name, rms, want);
}

static void models_begin_as_their_originals(void **state) {
    kn_ctx *ctx = *state;
    kn_named_list all;
    kn_module *model = kn_resnet(ctx, 18, CLASSES);
    assert_int_equal(kn_module_parameters(model, &all), KN_OK);
    check_spread(ctx, &all, "conv1.weight", sqrt(2.0 / (64 * 49)));
    check_spread(ctx, &all, "layer2.0.downsample.0.weight", sqrt(2.0 / 128));
    check_spread(ctx, &all, "layer4.0.conv1.weight", sqrt(2.0 / (512 * 9)));
    check_spread(ctx, &all, "fc.weight", 1 / sqrt(512.0) / sqrt(3.0));
    check_spread(ctx, &all, "bn1.weight", 1);
    check_spread(ctx, &all, "layer1.1.bn2.weight", 1);
    kn_named_free(ctx, &all);
    kn_module_free(model);

    model = kn_xresnet(ctx, 18, CLASSES, (kn_xresnet_opts){.act = KN_ACT_MISH});
    assert_int_equal(kn_module_parameters(model, &all), KN_OK);
    check_spread(ctx, &all, "0.0.weight", sqrt(2.0 / 27));
    check_spread(ctx, &all, "7.1.convpath.1.0.weight", sqrt(2.0 / (512 * 9)));
    check_spread(ctx, &all, "7.1.convpath.1.1.weight", 0);
    check_spread(ctx, &all, "7.1.convpath.0.1.weight", 1);
    check_spread(ctx, &all, "11.weight", sqrt(2.0 / 512));
    kn_named_free(ctx, &all);
    kn_module_free(model);

    assert_null(kn_resnet(ctx, 20, CLASSES));
    check_error(ctx, KN_ERR_ARG, "18, 34 or 50");
    assert_null(kn_xresnet(ctx, 20, CLASSES, (kn_xresnet_opts){0}));
    check_error(ctx, KN_ERR_ARG, "18, 34 or 50");
}

/* The one i64 that a model holds can be read, and is no operand. */
static void batches_are_counted(void **state) {
    kn_ctx *ctx = *state;
    kn_module *norm = kn_batch_norm(ctx, 2, (kn_batch_norm_opts){0});
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    kn_named_list all;
    assert_int_equal(kn_module_state_list(norm, &all), KN_OK);
    assert_string_equal(all.item[4].name, "num_batches_tracked");
    kn_tensor *batches = all.item[4].buffer;
    for (int i = 0; i < 3; i++)
        assert_non_null(kn_forward(norm, kn_from(ctx, KN_F32, KN_SHAPE(3, 2), values)));
    assert_true(fabs(kn_item(ctx, batches) - 3) < 1e-9);
    assert_null(kn_cast(ctx, batches, KN_F32));
    check_error(ctx, KN_ERR_SHAPE, "i64");
    kn_module_train(norm, false);
    assert_non_null(kn_forward(norm, kn_from(ctx, KN_F32, KN_SHAPE(3, 2), values)));
    assert_true(fabs(kn_item(ctx, batches) - 3) < 1e-9);
    kn_tensor *x = kn_from(ctx, KN_F32, KN_SHAPE(3, 2), values),
              *row = kn_full(ctx, KN_SHAPE(2), 1);
    assert_null(kn_batch_norm_op(ctx, x, row, row,
                                 (kn_batch_norm_op_opts){.training = true, .batches = row}));
    check_error(ctx, KN_ERR_SHAPE, "counter of batches");
    kn_step_end(ctx);
    kn_named_free(ctx, &all);
    kn_module_free(norm);
}

/* A picture without rows has no maximum, whatever the padding. */
static void pools_refuse_pictures_of_nothing(void **state) {
    kn_ctx *ctx = *state;
    kn_tensor *x = kn_zeros(ctx, KN_F32, KN_SHAPE(1, 0, 4, 8));
    assert_null(kn_max_pool(ctx, x, (kn_pool_opts){.kernel = 2, .padding = 1}));
    check_error(ctx, KN_ERR_SHAPE, "too small");
    kn_step_end(ctx);
}

/* A stem of zeros would be no model; a step without memory must not leave half of one. */
static void models_that_do_not_fit_into_memory_leave_nothing(void **state) {
    kn_ctx *ctx = *state;
    counted *memory = model_case_memory();
    static const char *const names[] = {"resnet18", "xresnet18"};
    if (!test_device_is_host())
        skip(); /* its tensors are not in the memory that fails here */
    for (size_t i = 0; i < 2; i++)
        for (long at = 1; at < 600; at += 97) {
            memory->fail_at = memory->made + at;
            memory->fail_after = true;
            kn_module *model = kn_model_new(ctx, names[i], CLASSES);
            memory->fail_at = 0;
            memory->fail_after = false;
            assert_null(model);
            assert_int_equal(kn_error_take(ctx).status, KN_ERR_MEMORY);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(models_answer_as_pytorch_does),
        MODEL_CASE(hooks_see_every_module_and_change_no_bit),
        MODEL_CASE(models_begin_as_their_originals),
        MODEL_CASE(batches_are_counted),
        MODEL_CASE(pools_refuse_pictures_of_nothing),
        MODEL_CASE(models_that_do_not_fit_into_memory_leave_nothing),
    };
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
