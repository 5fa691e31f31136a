/* setup_cb.c - what every run needs first: the model and its batches on the device, and normalised
 * (the chapter's SetupLearnerCB). */
#include "core/ctx.h"

#include <kiln/callbacks.h>

typedef struct setup {
    kn_callback base;
    kn_normalize *norm;
    kn_ctx *ctx;
} setup;

static kn_flow measure(kn_learner *l, kn_normalize *norm) {
    kn_batch batch;
    bool got = false;
    kn_loader *loader = l->loaders.train;
    if (loader == NULL) {
        kn_fail(l->ctx, KN_ERR_STATE, "setup: no training batch to measure the normalisation from");
        return KN_FAIL;
    }
    if (kn_loader_start(loader, 0) != KN_OK || kn_loader_next(loader, &batch, &got) != KN_OK)
        return KN_FAIL;
    if (!got) {
        kn_fail(l->ctx, KN_ERR_DATA, "setup: there are no training pictures");
        return KN_FAIL;
    }
    kn_status status = kn_normalize_from(l->ctx, &batch, norm);
    kn_loader_release(loader, &batch);
    return status == KN_OK ? KN_GO : KN_FAIL;
}

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    kn_normalize *norm = ((setup *)cb)->norm;
    if (kn_module_to(l->model, kn_device_default(l->ctx)) != KN_OK)
        return KN_FAIL;
    if (norm->std[0] == 0 && norm->std[1] == 0 && norm->std[2] == 0)
        return measure(l, norm);
    for (int c = 0; c < 3; c++)
        if (!(norm->std[c] > 0)) {
            kn_fail(l->ctx, KN_ERR_ARG, "setup: the standard deviation of channel %d is %g", c,
                    norm->std[c]);
            return KN_FAIL;
        }
    return KN_GO;
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    kn_device *device = kn_device_default(l->ctx);
    kn_tensor *x = kn_to(l->ctx, l->x, device);
    l->y = kn_keep(l->ctx, kn_to(l->ctx, l->y, device));
    l->x = kn_keep(l->ctx, kn_normalize_apply(l->ctx, ((setup *)cb)->norm, x));
    return l->x != NULL && l->y != NULL ? KN_GO : KN_FAIL;
}

static void free_setup(kn_callback *cb) {
    kn_free(((setup *)cb)->ctx, cb);
}

static const kn_callback_class setup_class = {.name = "setup",
                                              .order = -100,
                                              .before_fit = before_fit,
                                              .before_batch = before_batch,
                                              .free = free_setup};

kn_callback *kn_setup_cb(kn_ctx *ctx, kn_normalize *norm) {
    setup *s = kn_calloc(ctx, 1, sizeof *s, "the setup callback");
    if (s == NULL)
        return NULL;
    s->base.cls = &setup_class;
    s->norm = norm;
    s->ctx = ctx;
    return &s->base;
}
