/* test_no_malloc.c - from the second epoch on, the training thread asks the system for no memory:
 * an interposed malloc counts its calls, whoever makes them - Kiln, libgomp or libc. The exception
 * is what oneDNN allocates inside dnnl_primitive_execute and dnnl_sgemm, which are interposed too:
 * those calls are counted apart and printed. */
#include "support/made_data.h"

#include <kiln/kiln.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <dlfcn.h>

#ifdef KN_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)

static void test_second_epoch(void **state) {
    (void)state;
    printf("SKIPPED: a sanitizer (or another libc) has malloc of its own\n");
    skip();
}

static void test_optimizers(void **state) {
    test_second_epoch(state);
}

#else

/* glibc's own functions, under the names that stay when malloc is interposed. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

/* Per thread: loader threads never set it. */
static _Thread_local bool counting, inside;
static _Thread_local long calls, inside_calls;

static void count_call(void) {
    if (counting)
        *(inside ? &inside_calls : &calls) += 1;
}

void *malloc(size_t bytes) {
    count_call();
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t size) {
    count_call();
    return __libc_calloc(count, size);
}

void *realloc(void *p, size_t bytes) {
    count_call();
    return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t align, size_t bytes) {
    count_call();
    return __libc_memalign(align, bytes);
}

void *memalign(size_t align, size_t bytes) {
    count_call();
    return __libc_memalign(align, bytes);
}

int posix_memalign(void **out, size_t align, size_t bytes) {
    count_call();
    *out = __libc_memalign(align, bytes);
    return *out == NULL ? 12 : 0;
}

#ifdef KN_HAVE_ONEDNN
dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int n,
                                     const dnnl_exec_arg_t *args) {
    static dnnl_status_t (*real)(const_dnnl_primitive_t, dnnl_stream_t, int,
                                 const dnnl_exec_arg_t *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
    inside = true;
    dnnl_status_t status = real(primitive, stream, n, args);
    inside = false;
    return status;
}

dnnl_status_t dnnl_sgemm(char ta, char tb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha,
                         const float *a, dnnl_dim_t lda, const float *b, dnnl_dim_t ldb, float beta,
                         float *c, dnnl_dim_t ldc) {
    static dnnl_status_t (*real)(char, char, dnnl_dim_t, dnnl_dim_t, dnnl_dim_t, float,
                                 const float *, dnnl_dim_t, const float *, dnnl_dim_t, float,
                                 float *, dnnl_dim_t);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "dnnl_sgemm");
    inside = true;
    dnnl_status_t status = real(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    inside = false;
    return status;
}
#endif

typedef struct counter {
    kn_callback base;
    long in_epoch[4];
} counter;

static kn_flow begin(kn_callback *cb, kn_learner *l) {
    (void)cb;
    (void)l;
    calls = 0;
    counting = true;
    return KN_GO;
}

static kn_flow end(kn_callback *cb, kn_learner *l) {
    ((counter *)cb)->in_epoch[l->epoch] = calls;
    return KN_GO;
}

/* After every other callback's turn at an epoch's end, so that their writing counts too. */
static const kn_callback_class counter_class = {
    .name = "counter", .order = 1000, .before_epoch = begin, .after_epoch = end};

static void swallow(void *user, const char *text, size_t length) {
    (void)text;
    *(size_t *)user += length;
}

/* What beside plain SGD touches all parameters. */
typedef struct variant {
    const char *name;
    kn_opt_fn opt_fn; /* NULL: plain SGD */
    bool around;      /* clipping, accumulation and averaging around it, and another schedule */
} variant;

static void add_around(kn_learner *l) {
    kn_schedule cos = {.kind = KN_SCHED_ONE_CYCLE_COS, .warmup = 0.1};
    assert_int_equal(kn_learner_add(l, kn_schedule_cb(l->ctx, cos)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_accumulate_cb(l->ctx, 2)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_clip_cb(l->ctx, 0.5)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_ema_cb(l->ctx, 0.9)), KN_OK);
}

static void add_all(kn_learner *l, const variant *v, kn_normalize *norm, const kn_model_info *info,
                    const char *folder, size_t *written, kn_predictions *best, counter *c) {
    kn_ctx *ctx = l->ctx;
    if (v->around)
        add_around(l);
    assert_int_equal(kn_learner_add(l, kn_setup_cb(ctx, norm)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_track_results_cb(ctx)), KN_OK);
    if (!v->around)
        assert_int_equal(kn_learner_add(l, kn_activation_stats_cb(ctx, (kn_activation_opts){0})),
                         KN_OK);
    assert_int_equal(kn_learner_add(l, kn_one_cycle_cb(ctx, (kn_one_cycle_opts){0})), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_mixup_cb(ctx, 0.4)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_cutmix_cb(ctx, 1)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_recorder_cb(ctx, (kn_recorder_opts){.folder = folder})),
                     KN_OK);
    assert_int_equal(kn_learner_add(l, kn_save_model_cb(ctx, folder, info)), KN_OK);
    kn_predictions_opts bare = {.no_probs = true};
    assert_int_equal(kn_learner_add(l, kn_predictions_cb(ctx, bare, best)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_terminate_on_nan_cb(ctx)), KN_OK);
    assert_int_equal(kn_learner_add(l, kn_progress_cb(ctx, (kn_progress_opts){.bar = true,
                                                                              .write = swallow,
                                                                              .user = written})),
                     KN_OK);
    assert_int_equal(kn_learner_add(l, &c->base), KN_OK);
}

/* The chapter's model and all callbacks of kiln train, on pictures of 64x64 in uneven batches. */
static void fit_counted(const variant *v) {
    char folder[] = "/tmp/kiln-malloc-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    kn_ctx *ctx;
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 3, .threads = 2}, NULL), KN_OK);
    char *name[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    kn_vocab vocab = {name, 10};
    kn_normalize norm = {0};
    kn_model_info info = {
        .arch = "simple_cnn", .vocab = &vocab, .size = 64, .norm = &norm, .batch_size = 64};
    kn_dataset *train = made_data(150, 64, 10), *valid = made_data(70, 64, 10);
    kn_loaders loaders = {
        kn_loader_new(ctx, train, 32, (kn_loader_opts){.shuffle = true, .workers = 2}),
        kn_loader_new(ctx, valid, 64, (kn_loader_opts){.workers = 2})};
    kn_module *model = kn_simple_cnn(ctx, 10);
    static const float weights[10] = {1, 2, 1, 1, 1, 0.5f, 1, 1, 1, 1};
    kn_learner *l = kn_learner_new(ctx, (kn_learner_opts){.model = model,
                                                          .loaders = loaders,
                                                          .opt_fn = v->opt_fn,
                                                          .lr = 0.1,
                                                          .loss = {0.1, weights, 10}});
    assert_non_null(l);
    size_t written = 0;
    kn_predictions best = {0};
    counter c = {.base = {&counter_class}};
    add_all(l, v, &norm, &info, folder, &written, &best, &c);
    assert_int_equal(kn_learner_fit(l, 4), KN_OK);
    counting = false;
    printf("%s: calls of malloc from the training thread in epochs 0 to 3: %ld %ld %ld %ld\n",
           v->name, c.in_epoch[0], c.in_epoch[1], c.in_epoch[2], c.in_epoch[3]);
    printf("inside oneDNN's execute, over all four: %ld\n", inside_calls);
    assert_true(c.in_epoch[0] > 0); /* the counter counts */
    assert_true(written > 0);
    for (int epoch = 1; epoch < 4; epoch++)
        assert_int_equal(c.in_epoch[epoch], 0);
    kn_predictions_free(ctx, &best);
    kn_learner_free(l);
    kn_module_free(model);
    kn_loader_free(loaders.train);
    kn_loader_free(loaders.valid);
    kn_dataset_free(train);
    kn_dataset_free(valid);
    kn_ctx_free(ctx);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static kn_optimizer *momentum(kn_module *m, double lr, void *user) {
    (void)user;
    return kn_sgd(m, lr, (kn_sgd_opts){.momentum = 0.9, .nesterov = true, .wd = 1e-4});
}

static kn_optimizer *adamw(kn_module *m, double lr, void *user) {
    (void)user;
    return kn_adamw(m, lr / 50, (kn_adam_opts){.wd = 0.01, .no_wd_rank1 = true});
}

static kn_optimizer *radam(kn_module *m, double lr, void *user) {
    (void)user;
    return kn_radam(m, lr / 50, (kn_adam_opts){0});
}

static kn_optimizer *ranger(kn_module *m, double lr, void *user) {
    (void)user;
    return kn_ranger(m, lr / 50, (kn_adam_opts){0});
}

static kn_optimizer *muon(kn_module *m, double lr, void *user) {
    (void)user;
    return kn_muon(m, lr / 5, (kn_muon_opts){0});
}

static void test_second_epoch(void **state) {
    static const variant plain = {"sgd", NULL, false};
    (void)state;
    fit_counted(&plain);
}

static void test_optimizers(void **state) {
    static const variant variants[] = {{"momentum", momentum, true}, {"adamw", adamw, true},
                                       {"radam", radam, true},       {"ranger", ranger, true},
                                       {"muon", muon, true},         {"muon alone", muon, false}};
    (void)state;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        fit_counted(&variants[i]);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_second_epoch),
                                       cmocka_unit_test(test_optimizers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
