/* setup_cb.c - what every run needs first: the model and its batches on the device, and normalised
 * (the chapter's SetupLearnerCB). */
#include "core/ctx.h"
#include "data/resident.h"
#include "tensor/tensor.h"

#include <kiln/callbacks.h>

/* Of one of a fit's two loaders. */
typedef struct pass_samples {
    const kn_loader *loader; /* NULL: not yet asked for */
    kn_resident *samples;    /* NULL: its batches travel */
    kn_device *device;
} pass_samples;

typedef struct setup {
    kn_callback base;
    kn_normalize *norm;
    kn_ctx *ctx;
    pass_samples pass[2]; /* [training], within a fit */
} setup;

static void drop_samples(setup *s) {
    for (int i = 0; i < 2; i++) {
        kn_resident_free(s->pass[i].samples);
        s->pass[i] = (pass_samples){0};
    }
}

/* The samples on the device that a batch may come from. NULL without an error: there are none. */
static kn_resident *samples_for(setup *s, kn_learner *l, kn_device *device) {
    pass_samples *k = &s->pass[l->training];
    if (k->loader == l->loader && k->device == device)
        return k->samples;
    kn_resident_free(k->samples);
    *k = (pass_samples){.loader = l->loader, .device = device};
    if (l->epochs - l->epoch < 2 || !kn_resident_wanted(l->loader, device))
        return NULL;
    k->samples = kn_resident_new(l->ctx, l->loader, device);
    if (k->samples == NULL) /* it only saves time */
        kn_error_take(l->ctx);
    return k->samples;
}

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
    drop_samples((setup *)cb);
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
    /* Whoever came before may have put another x in the batch's place. */
    bool as_loaded = l->x != NULL && l->x->data == l->batch.pixels;
    kn_resident *samples = as_loaded ? samples_for((setup *)cb, l, device) : NULL;
    /* The labels first, so that both transfers lie at the start of the step: between commands a
     * transfer ends what a CUDA graph can replay. */
    l->y = kn_keep(l->ctx, kn_to(l->ctx, l->y, device));
    kn_tensor *x =
        samples != NULL ? kn_resident_batch(samples, &l->batch) : kn_to(l->ctx, l->x, device);
    l->x = kn_keep(l->ctx, kn_normalize_apply(l->ctx, ((setup *)cb)->norm, x));
    return l->x != NULL && l->y != NULL ? KN_GO : KN_FAIL;
}

static kn_flow after_fit(kn_callback *cb, kn_learner *l) {
    (void)l;
    drop_samples((setup *)cb);
    return KN_GO;
}

static void free_setup(kn_callback *cb) {
    drop_samples((setup *)cb);
    kn_free(((setup *)cb)->ctx, cb);
}

static const kn_callback_class setup_class = {.name = "setup",
                                              .order = -100,
                                              .before_fit = before_fit,
                                              .before_batch = before_batch,
                                              .after_fit = after_fit,
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
