/* test_contexts.c - contexts know nothing of each other: one a thread, all at once, each trains to
 * the weights that it comes to alone; an error in one is no other's. */
#include "support/check.h"
#include "support/counted.h"
#include "support/made_data.h"

#include "core/ctx.h"

#include <kiln/kiln.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, PICTURES = 12, BATCH = 4, SIDE = 16, CLASSES = 3, EPOCHS = 2 };

/* Nothing is asserted in a thread: what went wrong is looked at after it. */
typedef struct job {
    const char *device;
    uint64_t seed;
    bool mistaken; /* also makes a mistake, before it trains */
    char hex[65];
    kn_error error;
} job;

static kn_status fit(kn_ctx *ctx, kn_module *model, kn_dataset *data, char hex[65]) {
    kn_normalize norm = {{.5f, .5f, .5f}, {.25f, .25f, .25f}};
    kn_loaders loaders = {kn_loader_new(ctx, data, BATCH, (kn_loader_opts){.workers = 2}),
                          kn_loader_new(ctx, data, BATCH, (kn_loader_opts){.workers = 1})};
    kn_learner *l = NULL;
    if (model != NULL && loaders.train != NULL && loaders.valid != NULL)
        l = kn_learner_new(ctx, (kn_learner_opts){.model = model, .loaders = loaders, .lr = 0.05});
    kn_status status = l != NULL ? kn_learner_add(l, kn_setup_cb(ctx, &norm)) : KN_ERR_STATE;
    if (status == KN_OK)
        status = kn_learner_add(l, kn_mixup_cb(ctx, 0.4));
    if (status == KN_OK)
        status = kn_learner_fit(l, EPOCHS);
    if (status == KN_OK)
        status = kn_weights_sha256(model, hex);
    kn_learner_free(l);
    kn_loader_free(loaders.train);
    kn_loader_free(loaders.valid);
    return status;
}

static void *work(void *argument) {
    job *j = argument;
    kn_ctx *ctx;
    kn_ctx_opts opts = {.seed = j->seed, .threads = 1, .device = j->device};
    if (kn_ctx_new(&ctx, opts, &j->error) != KN_OK)
        return NULL;
    if (j->mistaken) {
        kn_add(ctx, kn_zeros(ctx, KN_F32, KN_SHAPE(2, 3)), kn_zeros(ctx, KN_F32, KN_SHAPE(4, 5)));
        j->error = kn_error_take(ctx);
        kn_step_end(ctx);
    }
    kn_dataset *data = made_data(PICTURES, SIDE, CLASSES);
    kn_module *model = kn_simple_cnn(ctx, CLASSES);
    if (fit(ctx, model, data, j->hex) != KN_OK)
        j->error = kn_error_take(ctx);
    kn_module_free(model);
    kn_dataset_free(data);
    kn_ctx_free(ctx);
    return NULL;
}

static void set_up(job jobs[THREADS], const char *device) {
    for (int i = 0; i < THREADS; i++)
        jobs[i] = (job){.device = device, .seed = (uint64_t)i + 1, .mistaken = i == 1};
}

static void expect_same(const char *device) {
    job alone[THREADS], together[THREADS];
    pthread_t thread[THREADS];
    set_up(alone, device);
    set_up(together, device);
    for (int i = 0; i < THREADS; i++)
        work(&alone[i]);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &together[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        if (!together[i].mistaken && together[i].error.status != KN_OK)
            fail_msg("%s, context %d: %s", device, i, together[i].error.message);
        assert_int_equal(strlen(alone[i].hex), 64);
        assert_string_equal(together[i].hex, alone[i].hex);
        assert_string_equal(together[i].error.message, alone[i].error.message);
    }
    assert_string_not_equal(alone[0].hex, alone[1].hex);
    check_contains(together[1].error.message, "add: ");
}

static void contexts_share_nothing_on_plain_loops(void **state) {
    (void)state;
    expect_same("reference");
}

static void contexts_share_nothing(void **state) {
    (void)state;
    expect_same(test_device());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_share_nothing_on_plain_loops),
        cmocka_unit_test(contexts_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
