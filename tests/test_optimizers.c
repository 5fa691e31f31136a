/* test_optimizers.c - every optimizer takes parameters of several shapes where PyTorch and fastai
 * take them, on every device, and every schedule goes where fastai's goes. */
#include "support/model_case.h"
#include "support/numbers.h"

#include <kiln/ops.h>
#include <kiln/optim.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIMIZERS KN_TEST_DIR "/data/optimizers_golden.txt"
#define SCHEDULES  KN_TEST_DIR "/data/schedules_golden.txt"

enum { PARAMS = 6, LONGEST = 144, NUMBERS = 5 + 24 + 144 + 60 + 3 + 28, STEPS = 20, RUN = 592 };

static const kn_shape shapes[PARAMS] = {{1, {5}},     {2, {4, 6}}, {4, {8, 2, 3, 3}},
                                        {2, {12, 5}}, {1, {3}},    {2, {4, 7}}};

/* ---- the problem of tools/make_optimizers_goldens.py ---- */

static const kn_module_class box_class = {.name = "Box"};

typedef struct box {
    kn_module base;
    kn_param *p[PARAMS];
} box;

/* Each parameter in a child of its own, so that more can come between them. */
static box *new_box(kn_ctx *ctx) {
    static const char *const name[PARAMS] = {"a", "b", "c", "d", "e", "f"};
    box *m = kn_module_new(ctx, &box_class, sizeof *m);
    for (int i = 0; i < PARAMS; i++) {
        float numbers[LONGEST];
        int64_t n = kn_shape_numel(&shapes[i]);
        kn_module *child = kn_module_new(ctx, &box_class, sizeof(box));
        assert_non_null(kn_module_child(&m->base, name[i], child));
        m->p[i] = kn_module_param(child, "p", shapes[i]);
        numbers_fill(WIDE, 40 + (unsigned)i, 0, n, numbers);
        kn_tensor_write(ctx, kn_param_value(m->p[i]), numbers, (size_t)n * sizeof(float));
    }
    return m;
}

/* sum(p * (c_t + d * p)) over the parameters that take part in step t. */
static kn_tensor *loss_of(box *m, int step, bool third_takes_part) {
    kn_ctx *ctx = kn_module_ctx(&m->base);
    kn_tensor *loss = NULL;
    for (int i = 0; i < PARAMS; i++) {
        float c[LONGEST], d[LONGEST];
        int64_t n = kn_shape_numel(&shapes[i]);
        numbers_fill(WIDE, 1000 + 10 * (unsigned)step + (unsigned)i, 0, n, c);
        numbers_fill(WIDE, 50 + (unsigned)i, 0, n, d);
        for (int64_t k = 0; k < n; k++)
            d[k] /= 8;
        if (i == 2 && !third_takes_part)
            continue;
        kn_tensor *p = kn_param_value(m->p[i]);
        kn_tensor *slope = kn_mul(ctx, kn_from(ctx, KN_F32, shapes[i], d), p);
        kn_tensor *inner = kn_add(ctx, kn_from(ctx, KN_F32, shapes[i], c), slope);
        kn_tensor *term = kn_sum(ctx, kn_mul(ctx, p, inner), KN_ALL, (kn_reduce_opts){0});
        loss = loss == NULL ? term : kn_add(ctx, loss, term);
    }
    return loss;
}

/* ---- the cases ---- */

static kn_optimizer *nesterov(kn_module *m) {
    return kn_sgd(m, 0.05, (kn_sgd_opts){.momentum = 0.9, .nesterov = true});
}
static kn_optimizer *nesterov_decay(kn_module *m) {
    return kn_sgd(m, 0.05, (kn_sgd_opts){.momentum = 0.9, .nesterov = true, .wd = 0.05});
}
static kn_optimizer *adamw(kn_module *m) {
    return kn_adamw(m, 0.02, (kn_adam_opts){0});
}
static kn_optimizer *adamw_options(kn_module *m) {
    return kn_adamw(m, 0.05, (kn_adam_opts){.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .wd = 0.1});
}
static kn_optimizer *adamw_no_wd_rank1(kn_module *m) {
    return kn_adamw(m, 0.02, (kn_adam_opts){.wd = 0.5, .no_wd_rank1 = true});
}
static kn_optimizer *adam_l2(kn_module *m) {
    return kn_adamw(m, 0.02, (kn_adam_opts){.wd = 0.1, .l2 = true});
}
static kn_optimizer *radam(kn_module *m) {
    return kn_radam(m, 0.05, (kn_adam_opts){0});
}
static kn_optimizer *radam_decay(kn_module *m) {
    return kn_radam(m, 0.05, (kn_adam_opts){.wd = 0.1, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-3});
}
static kn_optimizer *radam_l2(kn_module *m) {
    return kn_radam(m, 0.05, (kn_adam_opts){.wd = 0.1, .beta2 = 0.99, .l2 = true});
}
static kn_optimizer *radam_fastai(kn_module *m) {
    kn_adam_opts opts = {.wd = 0.1, .beta2 = 0.99, .eps = 1e-5, .fastai = true};
    return kn_radam(m, 0.05, opts);
}
static kn_optimizer *lookahead(kn_module *m) {
    return kn_lookahead(kn_sgd(m, 0.05, (kn_sgd_opts){.momentum = 0.9}), (kn_lookahead_opts){0});
}
static kn_optimizer *lookahead_3(kn_module *m) {
    return kn_lookahead(kn_adamw(m, 0.02, (kn_adam_opts){.wd = 0.1}),
                        (kn_lookahead_opts){.k = 3, .alpha = 0.8});
}
static kn_optimizer *ranger(kn_module *m) {
    return kn_ranger(m, 0.05, (kn_adam_opts){.wd = 0.01});
}
static kn_optimizer *muon(kn_module *m) {
    return kn_muon(m, 0.02, (kn_muon_opts){0});
}
static kn_optimizer *muon_decay(kn_module *m) {
    return kn_muon(m, 0.02, (kn_muon_opts){.momentum = 0.8, .no_nesterov = true, .wd = 0.5});
}

typedef struct optim_case {
    const char *name;
    kn_optimizer *(*make)(kn_module *m);
    double tolerance;  /* of a parameter's norm */
    bool now_and_then; /* the third takes part in the 6th step and in every third from there */
} optim_case;

static const optim_case cases[] = {
    {"nesterov", nesterov, 1e-6, false},
    {"nesterov_decay", nesterov_decay, 1e-6, true},
    {"adamw", adamw, 2e-6, false},
    {"adamw_options", adamw_options, 2e-6, true},
    {"adamw_no_wd_rank1", adamw_no_wd_rank1, 2e-6, false},
    {"adam_l2", adam_l2, 2e-6, false},
    {"radam", radam, 2e-6, true},
    {"radam_decay", radam_decay, 2e-6, false},
    {"radam_l2", radam_l2, 2e-6, false},
    {"radam_fastai", radam_fastai, 2e-6, false},
    {"lookahead", lookahead, 1e-6, false},
    {"lookahead_3", lookahead_3, 2e-6, true},
    {"ranger", ranger, 2e-6, false},
    {"muon", muon, 1e-5, false}, /* five rounds of a quintic multiply a rounding error */
    {"muon_decay", muon_decay, 1e-5, false},
};

enum { CASES = sizeof cases / sizeof *cases };

static void take_steps(box *m, kn_optimizer *opt, const optim_case *c, int from, int to) {
    kn_ctx *ctx = kn_module_ctx(&m->base);
    for (int step = from; step < to; step++) {
        bool third = !c->now_and_then || (step >= 5 && step % 3 == 2);
        assert_int_equal(kn_backward(ctx, loss_of(m, step, third)), KN_OK);
        assert_int_equal(kn_optimizer_step(opt), KN_OK);
        kn_optimizer_zero_grad(opt);
        kn_step_end(ctx);
    }
    assert_int_equal(opt->steps, to);
}

/* The numbers that follow "case NAME". */
static void read_golden(const char *path, const char *name, int count, float *want) {
    char word[64], found[64];
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    while (fscanf(f, "%63s", word) == 1)
        if (strcmp(word, "case") == 0 && fscanf(f, "%63s", found) == 1 && strcmp(found, name) == 0)
            break;
    for (int i = 0; i < count; i++) {
        char *end = word;
        if (fscanf(f, "%63s", word) == 1)
            want[i] = strtof(word, &end);
        if (end == word || *end != '\0')
            fail_msg("%s: case %s has not %d numbers", path, name, count);
    }
    fclose(f);
}

/* ‖got - want‖ / ‖want‖ of each parameter. */
static void check_parameters(box *m, const optim_case *c) {
    float want[NUMBERS], got[LONGEST];
    const float *w = want;
    read_golden(OPTIMIZERS, c->name, NUMBERS, want);
    for (int i = 0; i < PARAMS; i++) {
        int n = (int)kn_shape_numel(&shapes[i]);
        double difference = 0, norm = 0;
        check_read(kn_module_ctx(&m->base), kn_param_value(m->p[i]), n, got);
        for (int k = 0; k < n; k++, w++) {
            difference += ((double)got[k] - *w) * ((double)got[k] - *w);
            norm += (double)*w * *w;
        }
        if (!(sqrt(difference) <= c->tolerance * sqrt(norm)))
            fail_msg("%s, parameter %d: off by %.3g of its norm", c->name, i,
                     sqrt(difference / norm));
    }
}

static void run_cases(kn_ctx *ctx, const char *device) {
    kn_device_use(ctx, kn_device_open(ctx, device));
    for (int i = 0; i < CASES; i++) {
        box *m = new_box(ctx);
        kn_optimizer *opt = cases[i].make(&m->base);
        assert_non_null(opt);
        take_steps(m, opt, &cases[i], 0, STEPS);
        check_parameters(m, &cases[i]);
        kn_optimizer_free(opt);
        kn_module_free(&m->base);
    }
}

static void optimizers_go_where_the_originals_go(void **state) {
    run_cases(*state, test_device());
    run_cases(*state, "reference");
}

/* A parameter more in the first child moves all others in the flat buffers. */
static void repacking_keeps_state(void **state) {
    kn_ctx *ctx = *state;
    for (int i = 0; i < CASES; i++) {
        box *m = new_box(ctx);
        kn_optimizer *opt = cases[i].make(&m->base);
        take_steps(m, opt, &cases[i], 0, 7);
        kn_module *first = kn_module_child_at(&m->base, 0);
        assert_non_null(kn_module_param(first, "more", KN_SHAPE(100)));
        take_steps(m, opt, &cases[i], 7, STEPS);
        check_parameters(m, &cases[i]);
        kn_optimizer_free(opt);
        kn_module_free(&m->base);
    }
}

/* ---- the state that a checkpoint keeps ---- */

enum { STORE = 1 << 16 };

typedef struct store {
    kn_ctx *ctx;
    bool writing; /* into the optimizer */
    size_t at;
    unsigned char bytes[STORE];
    char names[256];
} store;

static kn_status pass(store *s, const char *name, void *data, size_t bytes) {
    assert_true(s->at + bytes <= STORE);
    if (s->writing)
        memcpy(data, s->bytes + s->at, bytes);
    else
        memcpy(s->bytes + s->at, data, bytes);
    s->at += bytes;
    strncat(s->names, name, sizeof s->names - strlen(s->names) - 1);
    strncat(s->names, " ", sizeof s->names - strlen(s->names) - 1);
    return KN_OK;
}

static kn_status pass_tensor(void *user, const char *name, kn_tensor *t) {
    store *s = user;
    float host[1024];
    size_t bytes = (size_t)kn_tensor_numel(t) * sizeof(float);
    assert_true(bytes <= sizeof host);
    assert_int_equal(kn_tensor_read(s->ctx, t, host, bytes), KN_OK);
    pass(s, name, host, bytes);
    return kn_tensor_write(s->ctx, t, host, bytes);
}

static kn_status pass_integers(void *user, const char *name, int64_t *value, int count) {
    return pass(user, name, value, (size_t)count * sizeof *value);
}

static kn_status pass_reals(void *user, const char *name, double *value, int count) {
    return pass(user, name, value, (size_t)count * sizeof *value);
}

static void pass_state(kn_optimizer *opt, store *s, bool writing) {
    kn_state_visitor visitor = {pass_tensor, pass_integers, pass_reals, s};
    s->ctx = opt->ctx;
    s->writing = writing;
    s->at = 0;
    s->names[0] = '\0';
    assert_int_equal(kn_optimizer_state(opt, &visitor), KN_OK);
}

/* Stopped after 7 steps and continued by another object: the same bits. */
static void state_is_all_that_a_step_depends_on(void **state) {
    static store s;
    float through[NUMBERS], resumed[NUMBERS];
    for (int i = 0; i < CASES; i++) {
        box *m = new_box(*state);
        kn_optimizer *opt = cases[i].make(&m->base);
        take_steps(m, opt, &cases[i], 0, 7);
        pass_state(opt, &s, false);
        size_t bytes = s.at;
        float at_7[NUMBERS];
        read_params(&m->base, false, at_7);
        take_steps(m, opt, &cases[i], 7, STEPS);
        read_params(&m->base, false, through);
        kn_optimizer_free(opt);

        float *from = at_7;
        for (int k = 0; k < PARAMS; from += kn_shape_numel(&shapes[k++]))
            kn_tensor_write(*state, kn_param_value(m->p[k]), from,
                            (size_t)kn_shape_numel(&shapes[k]) * sizeof(float));
        opt = cases[i].make(&m->base);
        pass_state(opt, &s, true);
        assert_int_equal(s.at, bytes);
        take_steps(m, opt, &cases[i], 7, STEPS);
        read_params(&m->base, false, resumed);
        assert_memory_equal(through, resumed, sizeof through);
        kn_optimizer_free(opt);
        kn_module_free(&m->base);
    }
    assert_string_equal(s.names, "lr steps parameter_steps average square_average ");
}

/* ---- memory ---- */

/* Makes an optimizer and takes two steps; false when something failed. The first step makes what it
 * remembers, the second has all it needs. */
static bool two_steps(const optim_case *c, box *m) {
    kn_ctx *ctx = kn_module_ctx(&m->base);
    kn_optimizer *opt = c->make(&m->base);
    bool good = opt != NULL;
    for (int step = 0; step < 2 && good; step++) {
        kn_tensor *p = kn_param_value(m->p[3]);
        good = kn_backward(ctx, kn_sum(ctx, p, KN_ALL, (kn_reduce_opts){0})) == KN_OK &&
               kn_optimizer_step(opt) == KN_OK;
        kn_optimizer_zero_grad(opt);
        kn_step_end(ctx);
    }
    kn_optimizer_free(opt);
    return good;
}

/* Each allocation in turn is refused: that is said, nothing leaks, and the next try succeeds. */
static void without_memory_a_step_fails_and_says_so(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        for (long nth = 1;; nth++) {
            counted c = {0};
            kn_ctx *ctx = counted_ctx(&c, test_device());
            box *m = new_box(ctx);
            c.fail_at = c.made + nth;
            bool good = two_steps(&cases[i], m);
            bool refused = c.refused > 0;
            c.fail_at = 0;
            if (!good) {
                check_error(ctx, KN_ERR_MEMORY, "memory");
                assert_true(refused);
                for (int k = 0; k < PARAMS; k++)
                    kn_param_zero_grad(m->p[k]);
                assert_true(two_steps(&cases[i], m));
            }
            kn_module_free(&m->base);
            counted_ctx_free(&c, ctx);
            if (!refused)
                break;
        }
}

/* ---- refusals ---- */

static void nesterov_needs_momentum(void **state) {
    box *m = new_box(*state);
    assert_null(kn_sgd(&m->base, 0.1, (kn_sgd_opts){.nesterov = true}));
    check_error(*state, KN_ERR_ARG, "Nesterov");
    kn_module_free(&m->base);
}

static void no_model_no_optimizer(void **state) {
    (void)state;
    assert_null(kn_adamw(NULL, 0.1, (kn_adam_opts){0}));
    assert_null(kn_muon(NULL, 0.1, (kn_muon_opts){0}));
    assert_null(kn_lookahead(NULL, (kn_lookahead_opts){0}));
    assert_null(kn_ranger(NULL, 0.1, (kn_adam_opts){0}));
}

/* ---- schedules ---- */

static double constant(const kn_schedule *s, double pct) {
    return kn_schedule_lr(s, 0.1, pct);
}

static const struct {
    const char *name;
    kn_schedule s;
    double (*value)(const kn_schedule *s, double pct);
} schedules[] = {
    {"constant", {.kind = KN_SCHED_CONSTANT}, constant},
    {"one-cycle", {.kind = KN_SCHED_ONE_CYCLE}, constant},
    {"one-cycle-cos", {.kind = KN_SCHED_ONE_CYCLE_COS}, constant},
    {"one-cycle-cos_options",
     {.kind = KN_SCHED_ONE_CYCLE_COS, .pct_start = 0.4, .div = 25, .div_final = 1e3},
     constant},
    {"momentum", {.kind = KN_SCHED_ONE_CYCLE_COS}, kn_schedule_momentum},
    {"momentum_options",
     {.kind = KN_SCHED_ONE_CYCLE_COS, .pct_start = 0.4, .momentum_high = 0.9, .momentum_low = 0.7},
     kn_schedule_momentum},
    {"cosine", {.kind = KN_SCHED_COSINE}, constant},
    {"flat-cos", {.kind = KN_SCHED_FLAT_COS}, constant},
    {"step", {.kind = KN_SCHED_STEP}, constant},
    {"step_options", {.kind = KN_SCHED_STEP, .steps = 5, .gamma = 0.5}, constant},
    {"constant_warm", {.kind = KN_SCHED_CONSTANT, .warmup = 0.1}, constant},
    {"cosine_warm", {.kind = KN_SCHED_COSINE, .warmup = 0.2}, constant},
    {"one-cycle_warm", {.kind = KN_SCHED_ONE_CYCLE, .warmup = 0.05}, constant},
};

static void check_rate(const char *name, int step, double got, double want) {
    if (!(fabs(got - want) <= 1e-6))
        fail_msg("%s, step %d: %.9g, expected %.9g", name, step, got, want);
}

static void schedules_go_where_fastais_go(void **state) {
    (void)state;
    float want[RUN];
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
        read_golden(SCHEDULES, schedules[i].name, RUN, want);
        for (int step = 0; step < RUN; step++)
            check_rate(schedules[i].name, step,
                       schedules[i].value(&schedules[i].s, (double)step / RUN), want[step]);
    }
}

/* With a rate of 0.1: the places that a reader would look at first. */
static void one_cycle_cos_passes_known_places(void **state) {
    (void)state;
    static const struct {
        int step;
        double lr;
    } want[] = {{0, 0.01}, {37, 0.02318019}, {74, 0.055}, {148, 0.1}, {259, 0.08535549}};
    kn_schedule s = {.kind = KN_SCHED_ONE_CYCLE_COS};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        check_rate("one-cycle-cos", want[i].step, kn_schedule_lr(&s, 0.1, want[i].step / 592.0),
                   want[i].lr);
    assert_true(kn_schedule_has_momentum(&s));
    s.no_momentum = true;
    assert_false(kn_schedule_has_momentum(&s));
}

/* A third of a run that three divides begins exactly there. */
static void steps_fall_at_the_batch(void **state) {
    (void)state;
    kn_schedule s = {.kind = KN_SCHED_STEP};
    for (int n = 3; n < 3000; n += 3)
        for (int part = 1; part < 3; part++) {
            int at = n / 3 * part;
            check_rate("step", at, kn_schedule_lr(&s, 1, (double)at / n), pow(0.1, part));
            check_rate("step", at, kn_schedule_lr(&s, 1, (at - 1.0) / n), pow(0.1, part - 1));
        }
}

static void schedules_have_names(void **state) {
    (void)state;
    assert_string_equal(kn_schedule_name(KN_SCHED_CONSTANT), "constant");
    assert_string_equal(kn_schedule_name(KN_SCHED_STEP), "step");
    assert_null(kn_schedule_name(KN_SCHED_STEP + 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_CASE(optimizers_go_where_the_originals_go),
        MODEL_CASE(repacking_keeps_state),
        MODEL_CASE(state_is_all_that_a_step_depends_on),
        cmocka_unit_test(without_memory_a_step_fails_and_says_so),
        MODEL_CASE(nesterov_needs_momentum),
        MODEL_CASE(no_model_no_optimizer),
        cmocka_unit_test(schedules_go_where_fastais_go),
        cmocka_unit_test(one_cycle_cos_passes_known_places),
        cmocka_unit_test(steps_fall_at_the_batch),
        cmocka_unit_test(schedules_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
