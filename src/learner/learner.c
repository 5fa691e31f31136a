/* learner.c - the training loop: fit, epochs, batches. What happens around it is callbacks'
 * business. */
#include "learner/checkpoint.h"
#include "learner/events.h"
#include "learner/loop.h"
#include "learner/training_loss.h"

#include "tensor/tensor.h"

#include <kiln/ops.h>

#include <string.h>

/* ---- making ---- */

kn_learner *kn_learner_new(kn_ctx *ctx, kn_learner_opts opts) {
    if (opts.model == NULL) {
        if (kn_ctx_status(ctx) == KN_OK)
            kn_fail(ctx, KN_ERR_ARG, "learner: there is no model");
        return NULL;
    }
    if (opts.dtype != KN_F32 && opts.dtype != KN_BF16) {
        kn_fail(ctx, KN_ERR_ARG, "learner: activations of %s; expected f32 or bf16",
                kn_dtype_name(opts.dtype));
        return NULL;
    }
    kn_learner *l = kn_calloc(ctx, 1, sizeof *l, "a learner");
    struct kn_learner_state *state =
        l != NULL ? kn_calloc(ctx, 1, sizeof *state, "a learner") : NULL;
    if (state == NULL) {
        kn_free(ctx, l);
        return NULL;
    }
    l->ctx = ctx;
    l->model = opts.model;
    l->loaders = opts.loaders;
    l->loss_fn = opts.loss_fn;
    l->opt_fn = opts.opt_fn;
    l->opt_user = opts.opt_user;
    l->lr = opts.lr;
    l->dtype = opts.dtype;
    l->state = state;
    state->loss = kn_training_loss_new(ctx, opts.loss);
    if (state->loss == NULL) {
        kn_learner_free(l);
        return NULL;
    }
    return l;
}

static void free_callback(kn_callback *cb) {
    if (cb != NULL && cb->cls->free != NULL)
        cb->cls->free(cb);
}

void kn_learner_free(kn_learner *l) {
    if (l == NULL)
        return;
    if (l->state->fitting) /* begun and not ended: callbacks have things to put back */
        kn_learner_end(l);
    for (size_t i = l->state->count; i-- > 0;)
        free_callback(l->state->callback[i]);
    kn_optimizer_free(l->opt);
    kn_training_loss_free(l->ctx, l->state->loss);
    kn_free(l->ctx, l->state->callback);
    kn_free(l->ctx, l->state);
    kn_free(l->ctx, l);
}

kn_status kn_learner_add(kn_learner *l, kn_callback *cb) {
    if (l == NULL) {
        free_callback(cb);
        return KN_ERR_STATE;
    }
    struct kn_learner_state *s = l->state;
    if (cb == NULL)
        return kn_ctx_status(l->ctx) != KN_OK
                   ? kn_ctx_status(l->ctx)
                   : kn_fail(l->ctx, KN_ERR_ARG, "learner: there is no callback to add");
    for (size_t i = 0; i < s->count; i++) /* it would be told, and freed, twice */
        if (s->callback[i] == cb)
            return kn_fail(l->ctx, KN_ERR_ARG, "learner: callback %s is there already",
                           cb->cls->name);
    if (s->fitting) {
        kn_fail(l->ctx, KN_ERR_STATE, "learner: callback %s was added during a fit", cb->cls->name);
        free_callback(cb);
        return KN_ERR_STATE;
    }
    void *callbacks = s->callback;
    bool room = kn_mem_grow(&l->ctx->allocator, &callbacks, &s->capacity, s->count + 1,
                            sizeof(kn_callback *));
    s->callback = callbacks;
    if (!room) {
        kn_fail(l->ctx, KN_ERR_MEMORY, "out of memory: adding callback %s", cb->cls->name);
        free_callback(cb);
        return KN_ERR_MEMORY;
    }
    size_t at = s->count++;
    for (; at > 0 && s->callback[at - 1]->cls->order > cb->cls->order; at--)
        s->callback[at] = s->callback[at - 1];
    s->callback[at] = cb;
    return KN_OK;
}

kn_status kn_learner_remove(kn_learner *l, kn_callback *cb) {
    if (l == NULL)
        return KN_ERR_STATE;
    struct kn_learner_state *s = l->state;
    if (s->fitting)
        return kn_fail(l->ctx, KN_ERR_STATE, "learner: callback %s was removed during a fit",
                       cb != NULL ? cb->cls->name : "NULL");
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->callback[i] != cb)
            s->callback[kept++] = s->callback[i];
    if (kept < s->count)
        free_callback(cb);
    s->count = kept;
    return KN_OK;
}

kn_callback *kn_learner_find(const kn_learner *l, const char *name) {
    for (size_t i = 0; l != NULL && i < l->state->count; i++)
        if (strcmp(l->state->callback[i]->cls->name, name) == 0)
            return l->state->callback[i];
    return NULL;
}

/* ---- one batch ----
 * A _body is what kn_run_scope runs between a scope's before_X and after_X. */

/* The context has the reason, or else at least this. */
static kn_flow failed(kn_learner *l, const char *what) {
    if (kn_ctx_status(l->ctx) == KN_OK)
        kn_fail(l->ctx, KN_ERR_STATE, "learner: %s, and no reason", what);
    return KN_FAIL;
}

static kn_flow fails_if(kn_status status) {
    return status == KN_OK ? KN_GO : KN_FAIL;
}

static kn_flow backward_body(kn_learner *l) {
    return fails_if(kn_backward(l->ctx, l->loss));
}

static kn_flow step_body(kn_learner *l) {
    return fails_if(kn_optimizer_step(l->opt));
}

static kn_tensor *loss_of(kn_learner *l) {
    return l->loss_fn != NULL ? l->loss_fn(l->ctx, l->preds, l->y)
                              : kn_cross_entropy_with(l->ctx, l->preds, l->y, l->loss_opts);
}

/* In f32 nothing is cast. If no callback normalised x it is still u8, and the model's first op
 * refuses it. */
static kn_tensor *model_input(kn_learner *l) {
    return l->dtype == KN_F32 ? l->x : kn_cast(l->ctx, l->x, l->dtype);
}

static kn_flow batch_body(kn_learner *l) {
    l->preds = kn_keep(l->ctx, kn_forward(l->model, model_input(l)));
    if (l->preds == NULL)
        return failed(l, "the model gave no predictions");
    kn_flow flow = kn_tell(l, kn_event_after_pred);
    if (flow != KN_GO)
        return flow;
    l->loss = kn_keep(l->ctx, loss_of(l));
    if (l->loss == NULL)
        return failed(l, "loss_fn gave no loss");
    flow = kn_tell(l, kn_event_after_loss);
    if (flow != KN_GO || !l->training)
        return flow;
    flow = kn_run_scope(l, KN_SCOPE_BACKWARD, backward_body);
    if (flow != KN_GO)
        return flow;
    int64_t taken = l->opt->steps;
    l->step++;
    flow = kn_run_scope(l, KN_SCOPE_STEP, step_body);
    if (l->opt->steps != taken) /* a cancelled step keeps its gradients: accumulation */
        kn_optimizer_zero_grad(l->opt);
    return flow;
}

/* The batch as the step's tensors, on the host. */
static kn_flow take_batch(kn_learner *l) {
    kn_device *host = kn_device_open(l->ctx, "cpu");
    const kn_batch *b = &l->batch;
    if (host == NULL)
        return KN_FAIL;
    l->x = kn_keep(l->ctx, kn_tensor_borrow(l->ctx, host, KN_U8,
                                            KN_SHAPE(b->n, b->height, b->width, 3), b->pixels));
    l->y = kn_keep(l->ctx, kn_tensor_borrow(l->ctx, host, KN_I32, KN_SHAPE(b->n), b->labels));
    l->loss_opts = l->training ? kn_training_loss_opts(l->state->loss) : (kn_cross_entropy_opts){0};
    return l->x != NULL && l->y != NULL ? KN_GO : KN_FAIL;
}

static kn_flow run_batch(kn_learner *l) {
    kn_flow flow = take_batch(l);
    if (l->training)
        kn_ctx_set_step(l->ctx, (uint32_t)(l->epoch * l->batch_count + l->batch_index));
    if (flow == KN_GO)
        flow = kn_run_scope(l, KN_SCOPE_BATCH, batch_body);
    l->x = l->y = l->preds = l->loss = NULL;
    l->loss_opts = (kn_cross_entropy_opts){0};
    kn_loader_release(l->loader, &l->batch);
    kn_step_end(l->ctx);
    return flow;
}

/* ---- a pass over a loader ---- */

/* The first pass of a fit that goes on from a checkpoint. */
static kn_status restore(kn_learner *l) {
    const kn_checkpoint *c = l->state->resume;
    l->state->resume = NULL;
    l->batch_index = kn_checkpoint_at(c).batch;
    return kn_checkpoint_restore(l, c);
}

kn_flow kn_pass_start(kn_learner *l, kn_loader *loader) {
    l->loader = loader;
    l->batch_count = kn_loader_len(loader);
    l->batch_index = 0;
    if (l->training && !l->trial && l->state->resume != NULL && restore(l) != KN_OK)
        return KN_FAIL;
    return fails_if(kn_loader_start_at(loader, (uint32_t)l->epoch, l->batch_index));
}

kn_flow kn_pass_next(kn_learner *l, bool *got) {
    *got = false;
    if (kn_loader_next(l->loader, &l->batch, got) != KN_OK)
        return KN_FAIL;
    if (!*got)
        return KN_GO;
    l->batch_index = l->batch.number; /* batches without samples are passed over */
    kn_flow flow = run_batch(l);
    l->batch_index++;
    return flow;
}

static kn_flow pass(kn_learner *l, kn_loader *loader) {
    bool got = true;
    kn_flow flow = kn_pass_start(l, loader);
    while (flow == KN_GO && got)
        flow = kn_pass_next(l, &got);
    return flow;
}

static kn_flow train_body(kn_learner *l) {
    return pass(l, l->loaders.train);
}

static kn_flow validate_body(kn_learner *l) {
    return pass(l, l->loaders.valid);
}

/* train or validate, with model and tape set accordingly, its events included. */
kn_flow kn_run_pass(kn_learner *l, bool training) {
    l->training = training;
    kn_module_train(l->model, training);
    bool was = kn_grad_enable(l->ctx, training);
    kn_flow flow = training ? kn_run_scope(l, KN_SCOPE_TRAIN, train_body)
                            : kn_run_scope(l, KN_SCOPE_VALIDATE, validate_body);
    kn_grad_enable(l->ctx, was);
    l->training = false;
    return flow;
}

/* ---- epochs and fit ---- */

static kn_flow epoch_body(kn_learner *l) {
    kn_flow flow = kn_run_pass(l, true);
    if (flow == KN_GO && l->loaders.valid != NULL)
        flow = kn_run_pass(l, false);
    return flow;
}

static kn_flow make_optimizer(kn_learner *l) {
    kn_optimizer_free(l->opt);
    l->opt = l->opt_fn != NULL ? l->opt_fn(l->model, l->lr, l->opt_user)
                               : kn_sgd(l->model, l->lr, (kn_sgd_opts){0});
    return l->opt != NULL ? KN_GO : failed(l, "opt_fn gave no optimizer");
}

kn_flow kn_fit_ready(kn_learner *l) {
    return kn_module_pack(l->model) != NULL ? make_optimizer(l) : KN_FAIL;
}

static kn_flow fit_body(kn_learner *l) {
    kn_flow flow = kn_fit_ready(l);
    for (; flow == KN_GO; l->epoch++) {
        flow = kn_run_scope(l, KN_SCOPE_EPOCH, epoch_body);
        if (flow != KN_GO || l->epoch + 1 == l->epochs)
            break; /* epoch stays at the last one begun */
    }
    return flow;
}

static kn_flow validation_body(kn_learner *l) {
    return kn_run_pass(l, false);
}

static kn_status zero_gradients(kn_learner *l) {
    kn_named_list all;
    kn_status status = kn_module_parameters(l->model, &all);
    for (int i = 0; status == KN_OK && i < all.count; i++)
        kn_param_zero_grad(all.item[i].param);
    kn_named_free(l->ctx, &all);
    return status;
}

static bool is_trial(const kn_learner *l) {
    bool trial = false;
    for (size_t i = 0; i < l->state->count; i++)
        trial = trial || l->state->callback[i]->cls->makes_trial;
    return trial;
}

/* Callbacks are told of the epoch that was under way as if it began. */
static kn_status resume(kn_learner *l) {
    kn_checkpoint_place place = kn_checkpoint_at(l->state->resume);
    kn_status status = kn_checkpoint_fits(l, l->state->resume);
    if (status != KN_OK) {
        l->state->resume = NULL;
        return status;
    }
    l->epoch = (int)place.epoch;
    l->step = place.step;
    return KN_OK;
}

kn_status kn_run_start(kn_learner *l, int count) {
    if (l->state->fitting)
        return kn_fail(l->ctx, KN_ERR_STATE, "learner: a fit is under way");
    kn_status status = zero_gradients(l);
    if (status == KN_OK)
        status = kn_training_loss_place(l->ctx, l->state->loss, l->loss_fn);
    if (status != KN_OK)
        return status;
    l->epochs = count;
    l->epoch = 0;
    l->step = 0;
    l->trial = count > 0 && is_trial(l);
    if (count > 0 && !l->trial && l->state->resume != NULL)
        status = resume(l);
    if (status != KN_OK)
        return status;
    l->state->active = 0;
    l->state->fitting = true;
    return KN_OK;
}

kn_status kn_run_finish(kn_learner *l, kn_flow flow) {
    l->state->fitting = false;
    if (l->epochs > 0 && !l->trial) /* validation and trials leave it to the next fit */
        l->state->resume = NULL;
    l->trial = false;
    l->loader = NULL;
    kn_step_end(l->ctx);
    if (flow != KN_GO)
        failed(l, "the fit failed");
    return flow == KN_GO ? KN_OK : kn_ctx_status(l->ctx);
}

static kn_status run(kn_learner *l, int count, kn_flow (*body)(kn_learner *l)) {
    kn_status status = kn_run_start(l, count);
    return status == KN_OK ? kn_run_finish(l, kn_run_scope(l, KN_SCOPE_FIT, body)) : status;
}

kn_status kn_learner_usable(const kn_learner *l) {
    return l != NULL ? kn_ctx_status(l->ctx) : KN_ERR_STATE;
}

kn_status kn_fit_check(kn_learner *l, int count) {
    kn_status status = kn_learner_usable(l);
    if (status != KN_OK)
        return status;
    if (l->loaders.train == NULL)
        return kn_fail(l->ctx, KN_ERR_ARG, "fit: there is no training loader");
    if (count < 1)
        return kn_fail(l->ctx, KN_ERR_ARG, "fit: %d epochs, expected 1 or more", count);
    return KN_OK;
}

kn_status kn_learner_fit(kn_learner *l, int count) {
    kn_status status = kn_fit_check(l, count);
    return status == KN_OK ? run(l, count, fit_body) : status;
}

kn_status kn_learner_validate(kn_learner *l) {
    kn_status status = kn_learner_usable(l);
    if (status != KN_OK)
        return status;
    if (l->loaders.valid == NULL)
        return kn_fail(l->ctx, KN_ERR_ARG, "validate: there is no validation loader");
    return run(l, 0, validation_body);
}
