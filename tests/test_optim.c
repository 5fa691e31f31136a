/* test_optim.c - SGD in all its forms takes parameters where PyTorch takes them, and the learning
 * rate's schedule is the chapter's. */
#include "support/model_case.h"
#include "support/numbers.h"

#include <kiln/ops.h>
#include <kiln/optim.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN KN_TEST_DIR "/data/optim_golden.txt"

enum { PARAMS = 3, LONGEST = 37, NUMBERS = 5 + 3 + 37, STEPS = 20 };

static const int size[PARAMS] = {5, 3, LONGEST};
static const double rate = 0.1;

/* ---- the problem of tools/make_optim_goldens.py ---- */

static const kn_module_class box_class = {.name = "Box"};

typedef struct box {
    kn_module base;
    kn_param *p[PARAMS];
} box;

/* Each parameter in a child of its own, so that more can come between them. */
static box *new_box(kn_ctx *ctx) {
    static const char *const name[PARAMS] = {"a", "b", "c"};
    box *m = kn_module_new(ctx, &box_class, sizeof *m);
    for (int i = 0; i < PARAMS; i++) {
        float numbers[LONGEST];
        kn_module *child = kn_module_new(ctx, &box_class, sizeof(box));
        assert_non_null(kn_module_child(&m->base, name[i], child));
        m->p[i] = kn_module_param(child, "p", KN_SHAPE(size[i]));
        numbers_fill(WIDE, 40 + (unsigned)i, 0, size[i], numbers);
        kn_tensor_write(ctx, kn_param_value(m->p[i]), numbers, (size_t)size[i] * sizeof(float));
    }
    return m;
}

/* sum(p * (c_t + d * p)) over the parameters that take part in step t. */
static kn_tensor *loss_of(box *m, int step, bool second_takes_part) {
    kn_ctx *ctx = kn_module_ctx(&m->base);
    kn_tensor *loss = NULL;
    for (int i = 0; i < PARAMS; i++) {
        float c[LONGEST], d[LONGEST];
        kn_shape shape = KN_SHAPE(size[i]);
        numbers_fill(WIDE, 1000 + 10 * (unsigned)step + (unsigned)i, 0, size[i], c);
        numbers_fill(WIDE, 50 + (unsigned)i, 0, size[i], d);
        for (int k = 0; k < size[i]; k++)
            d[k] /= 8;
        if (i == 1 && !second_takes_part)
            continue;
        kn_tensor *p = kn_param_value(m->p[i]);
        kn_tensor *slope = kn_mul(ctx, kn_from(ctx, KN_F32, shape, d), p);
        kn_tensor *inner = kn_add(ctx, kn_from(ctx, KN_F32, shape, c), slope);
        kn_tensor *term = kn_sum(ctx, kn_mul(ctx, p, inner), KN_ALL, (kn_reduce_opts){0});
        loss = loss == NULL ? term : kn_add(ctx, loss, term);
    }
    return loss;
}

/* ---- the cases ---- */

typedef struct optim_case {
    const char *name;
    kn_sgd_opts opts;
    bool groups;       /* the second parameter has a tenth of the rate, decay 0.2, momentum 0.5 */
    bool frozen;       /* the second parameter */
    bool now_and_then; /* the second takes part in the 6th step and in every third from there */
    bool scheduled;    /* the rate falls by a twentieth a step */
} optim_case;

static const optim_case cases[] = {
    {.name = "plain"},
    {.name = "decay", .opts = {.wd = 0.05}},
    {.name = "momentum", .opts = {.momentum = 0.9}},
    {.name = "momentum_decay", .opts = {.momentum = 0.9, .wd = 0.05}},
    {.name = "groups", .opts = {.momentum = 0.9}, .groups = true},
    {.name = "frozen", .opts = {.momentum = 0.9, .wd = 0.05}, .frozen = true},
    {.name = "absent", .opts = {.momentum = 0.9, .wd = 0.05}, .now_and_then = true},
    {.name = "scheduled", .opts = {.momentum = 0.9}, .scheduled = true},
};

enum { CASES = sizeof cases / sizeof *cases };

static kn_optimizer *new_optimizer(box *m, const optim_case *c) {
    if (c->groups)
        kn_param_set_group(m->p[1], 1);
    kn_param_freeze(m->p[1], c->frozen);
    kn_optimizer *opt = kn_sgd(&m->base, rate, c->opts);
    assert_non_null(opt);
    assert_int_equal(opt->groups, c->groups ? 2 : 1);
    if (c->groups)
        opt->group[1] = (kn_group){.lr_mult = 0.1, .wd = 0.2, .momentum = 0.5};
    return opt;
}

static void take_steps(box *m, kn_optimizer *opt, const optim_case *c, int from, int to) {
    kn_ctx *ctx = kn_module_ctx(&m->base);
    for (int step = from; step < to; step++) {
        bool second = !c->now_and_then || (step >= 5 && step % 3 == 2);
        if (c->scheduled)
            opt->lr = rate * (STEPS - step) / STEPS;
        assert_int_equal(kn_backward(ctx, loss_of(m, step, second)), KN_OK);
        assert_int_equal(kn_param_has_grad(m->p[1]), second && !c->frozen);
        assert_int_equal(kn_optimizer_step(opt), KN_OK);
        kn_optimizer_zero_grad(opt);
        kn_step_end(ctx);
    }
    assert_int_equal(opt->steps, to);
}

/* The parameters' places in the file, one line each after the line of the case's name. */
static void read_golden(const char *name, float want[NUMBERS]) {
    char word[64], found[64];
    FILE *f = fopen(GOLDEN, "r");
    if (f == NULL)
        fail_msg("cannot open %s", GOLDEN);
    while (fscanf(f, "%63s", word) == 1)
        if (strcmp(word, "case") == 0 && fscanf(f, "%63s", found) == 1 && strcmp(found, name) == 0)
            break;
    for (int i = 0; i < NUMBERS; i++)
        if (fscanf(f, "%f", &want[i]) != 1)
            fail_msg("%s: case %s has not %d numbers", GOLDEN, name, NUMBERS);
    fclose(f);
}

/* ‖got - want‖ / ‖want‖ of each parameter. */
static void check_parameters(box *m, const char *name) {
    float want[NUMBERS], got[LONGEST];
    const float *w = want;
    read_golden(name, want);
    for (int i = 0; i < PARAMS; w += size[i++]) {
        double difference = 0, norm = 0;
        check_read(kn_module_ctx(&m->base), kn_param_value(m->p[i]), size[i], got);
        for (int k = 0; k < size[i]; k++) {
            difference += ((double)got[k] - w[k]) * ((double)got[k] - w[k]);
            norm += (double)w[k] * w[k];
        }
        if (!(sqrt(difference) <= 1e-6 * sqrt(norm)))
            fail_msg("%s, parameter %d: off by %.3g of its norm", name, i, sqrt(difference / norm));
    }
}

static void run_cases(kn_ctx *ctx, const char *device) {
    kn_device_use(ctx, kn_device_open(ctx, device));
    for (int i = 0; i < CASES; i++) {
        box *m = new_box(ctx);
        kn_optimizer *opt = new_optimizer(m, &cases[i]);
        take_steps(m, opt, &cases[i], 0, STEPS);
        check_parameters(m, cases[i].name);
        kn_optimizer_free(opt);
        kn_module_free(&m->base);
    }
}

static void sgd_goes_where_pytorch_goes(void **state) {
    run_cases(*state, test_device());
    run_cases(*state, "reference");
}

/* A parameter more in the first child moves all others in the flat buffers. */
static void repacking_keeps_momentum(void **state) {
    kn_ctx *ctx = *state;
    for (int i = 0; i < CASES; i++) {
        box *m = new_box(ctx);
        kn_optimizer *opt = new_optimizer(m, &cases[i]);
        take_steps(m, opt, &cases[i], 0, 7);
        uint64_t serial = kn_module_pack(&m->base)->serial;
        kn_module *first = kn_module_child_at(&m->base, 0);
        kn_param *more = kn_module_param(first, "more", KN_SHAPE(100));
        assert_non_null(more);
        take_steps(m, opt, &cases[i], 7, 13);
        assert_int_not_equal(kn_module_pack(&m->base)->serial, serial);
        assert_non_null(kn_module_pack(first)); /* and once more, by another root */
        take_steps(m, opt, &cases[i], 13, STEPS);
        check_parameters(m, cases[i].name);
        static const float zeros[100];
        check_values(ctx, kn_param_value(more), 100, zeros); /* never had a gradient */
        kn_optimizer_free(opt);
        kn_module_free(&m->base);
    }
}

/* ---- what a step leaves alone ---- */

static void without_gradients_a_step_changes_nothing(void **state) {
    kn_ctx *ctx = *state;
    float before[NUMBERS], after[NUMBERS];
    box *m = new_box(ctx);
    kn_optimizer *opt = kn_sgd(&m->base, rate, (kn_sgd_opts){.wd = 0.5, .momentum = 0.9});
    read_params(&m->base, false, before);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kn_optimizer_step(opt), KN_OK);
    read_params(&m->base, false, after);
    assert_memory_equal(before, after, sizeof before);
    /* Looking at a gradient that is not there makes none. */
    float zeros[LONGEST] = {0};
    check_values(ctx, kn_param_grad(m->p[2]), LONGEST, zeros);
    assert_int_equal(kn_optimizer_step(opt), KN_OK);
    read_params(&m->base, false, after);
    assert_memory_equal(before, after, sizeof before);
    kn_optimizer_free(opt);
    kn_module_free(&m->base);
}

/* Two backward passes before a step are one with both losses: accumulation. */
static void gradients_add_up_until_zeroed(void **state) {
    kn_ctx *ctx = *state;
    float once[NUMBERS], twice[NUMBERS];
    box *m = new_box(ctx);
    kn_optimizer *opt = kn_sgd(&m->base, rate, (kn_sgd_opts){0});
    for (int pass = 0; pass < 2; pass++) {
        kn_tensor *loss = loss_of(m, 0, true);
        if (pass == 0)
            loss = kn_add(ctx, loss, loss_of(m, 1, true));
        assert_int_equal(kn_backward(ctx, loss), KN_OK);
        if (pass == 1)
            assert_int_equal(kn_backward(ctx, loss_of(m, 1, true)), KN_OK);
        read_params(&m->base, true, pass == 0 ? once : twice);
        kn_optimizer_zero_grad(opt);
        for (int i = 0; i < PARAMS; i++)
            assert_false(kn_param_has_grad(m->p[i]));
        kn_step_end(ctx);
    }
    check_numbers("accumulated", NUMBERS, twice, once, 1e-6);
    kn_optimizer_free(opt);
    kn_module_free(&m->base);
}

/* Rates are read at each step. */
static void a_rate_of_zero_moves_nothing(void **state) {
    kn_ctx *ctx = *state;
    float before[NUMBERS], after[NUMBERS];
    box *m = new_box(ctx);
    kn_optimizer *opt = kn_sgd(&m->base, 0, (kn_sgd_opts){.momentum = 0.9});
    read_params(&m->base, false, before);
    assert_int_equal(kn_backward(ctx, loss_of(m, 0, true)), KN_OK);
    assert_int_equal(kn_optimizer_step(opt), KN_OK);
    read_params(&m->base, false, after);
    assert_memory_equal(before, after, sizeof before);
    opt->group[0].lr_mult = 0;
    opt->lr = 1;
    assert_int_equal(kn_optimizer_step(opt), KN_OK);
    read_params(&m->base, false, after);
    assert_memory_equal(before, after, sizeof before);
    kn_step_end(ctx);
    kn_optimizer_free(opt);
    kn_module_free(&m->base);
}

/* ---- a class of one's own, made of ops ---- */

static kn_status own_step(kn_optimizer *opt, const kn_pack *pack) {
    kn_ctx *ctx = opt->ctx;
    assert_false(kn_grad_enable(ctx, false));
    kn_tensor *lr = kn_full(ctx, KN_SCALAR, (float)opt->lr);
    for (int i = 0; i < pack->count; i++) {
        kn_tensor *w = kn_param_value(pack->segment[i].param);
        kn_tensor *g = kn_param_grad(pack->segment[i].param);
        kn_tensor_copy(ctx, w, kn_sub(ctx, w, kn_mul(ctx, lr, g)));
    }
    return kn_ctx_status(ctx);
}

static const kn_optimizer_class own_class = {.name = "own", .step = own_step};

/* It goes where kn_sgd goes, bit for bit; the tape is off for it alone. */
static void ones_own_class_computes_with_ops(void **state) {
    kn_ctx *ctx = *state;
    float w[2][NUMBERS];
    for (int own = 0; own < 2; own++) {
        box *m = new_box(ctx);
        kn_optimizer *opt = own ? kn_optimizer_new(&m->base, &own_class, sizeof *opt, rate)
                                : kn_sgd(&m->base, rate, (kn_sgd_opts){0});
        for (int step = 0; step < STEPS; step++) {
            assert_int_equal(kn_backward(ctx, loss_of(m, step, true)), KN_OK);
            assert_int_equal(kn_optimizer_step(opt), KN_OK);
            assert_true(kn_grad_enable(ctx, true));
            kn_optimizer_zero_grad(opt);
            kn_step_end(ctx);
        }
        read_params(&m->base, false, w[own]);
        kn_optimizer_free(opt);
        kn_module_free(&m->base);
    }
    check_numbers("the same steps", NUMBERS, w[1], w[0], test_device_is_host() ? 0 : 1e-6);
}

static void no_model_no_optimizer(void **state) {
    kn_ctx *ctx = *state;
    assert_null(kn_sgd(kn_linear(ctx, 0, 1), 0.1, (kn_sgd_opts){0}));
    check_error(ctx, KN_ERR_ARG, "linear: 0 -> 1"); /* the first error, not another */
    kn_optimizer_free(NULL);
}

/* ---- schedules ---- */

static void check_rate(double got, double want) {
    if (!(fabs(got - want) <= 1e-6))
        fail_msg("the rate is %.9g, expected %.9g", got, want);
}

static void one_cycle_is_the_chapters(void **state) {
    (void)state;
    static const struct {
        int step;
        double lr;
    } want[] = {{0, 0.01}, {37, 0.0325}, {74, 0.055}, {148, 0.1}, {259, 0.075}, {591, 2.252e-4}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double got = kn_one_cycle_lr(0.1, want[i].step / 592.0, (kn_one_cycle_opts){0});
        check_rate(got, want[i].lr);
    }
}

static void one_cycle_has_options(void **state) {
    (void)state;
    kn_one_cycle_opts opts = {.pct_start = 0.5, .div = 4};
    check_rate(kn_one_cycle_lr(2, 0, opts), 0.5);
    check_rate(kn_one_cycle_lr(2, 0.25, opts), 1.25);
    check_rate(kn_one_cycle_lr(2, 0.5, opts), 2);
    check_rate(kn_one_cycle_lr(2, 0.75, opts), 1);
    check_rate(kn_one_cycle_lr(2, 1, opts), 0);
    /* Warming up all the time: no division by what is left. */
    opts = (kn_one_cycle_opts){.pct_start = 1, .div = 1};
    check_rate(kn_one_cycle_lr(2, 0.999, opts), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(sgd_goes_where_pytorch_goes),
        MODEL_CASE(repacking_keeps_momentum),
        MODEL_CASE(without_gradients_a_step_changes_nothing),
        MODEL_CASE(gradients_add_up_until_zeroed),
        MODEL_CASE(a_rate_of_zero_moves_nothing),
        MODEL_CASE(ones_own_class_computes_with_ops),
        MODEL_CASE(no_model_no_optimizer),
        cmocka_unit_test(one_cycle_is_the_chapters),
        cmocka_unit_test(one_cycle_has_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
