/* tiny_run.c - see tiny_run.h. */
#include "support/tiny_run.h"

#include "support/made_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void run_init(run *r) {
    run_init_with(r, (kn_ctx_opts){.seed = 1, .threads = 1});
}

void run_init_with(run *r, kn_ctx_opts opts) {
    *r = (run){.norm = {{.5f, .5f, .5f}, {.25f, .25f, .25f}}};
    assert_int_equal(kn_ctx_new(&r->ctx, opts, NULL), KN_OK);
    r->train = made_data(TRAIN, SIDE, CLASSES);
    r->valid = made_data(VALID, SIDE, CLASSES);
    r->loaders.train = kn_loader_new(r->ctx, r->train, BATCH, (kn_loader_opts){.workers = 1});
    r->loaders.valid = kn_loader_new(r->ctx, r->valid, BATCH, (kn_loader_opts){.workers = 1});
    r->model = kn_sequential(r->ctx, kn_conv_layer(r->ctx, 3, 4, (kn_conv_opts){.stride = 2}),
                             kn_adaptive_pool(r->ctx), kn_linear(r->ctx, 4, CLASSES));
    r->l = kn_learner_new(r->ctx,
                          (kn_learner_opts){.model = r->model, .loaders = r->loaders, .lr = 0.1});
    assert_non_null(r->l);
    assert_int_equal(kn_learner_add(r->l, kn_setup_cb(r->ctx, &r->norm)), KN_OK);
}

void run_free(run *r) {
    kn_learner_free(r->l);
    kn_loader_free(r->loaders.train);
    kn_loader_free(r->loaders.valid);
    kn_dataset_free(r->train);
    kn_dataset_free(r->valid);
    kn_module_free(r->model);
    kn_ctx_free(r->ctx);
}
