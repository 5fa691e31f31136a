/* ema_cb.c - an exponential moving average of the weights, which generalises better than the
 * weights that training ends with (Polyak and Juditsky, 1992; Tarvainen and Valpola, 2017).
 *
 * The averages of the parameters lie beside the packed values and those of the buffers (batch
 * norm's statistics) in tensors like them. To change places they exchange storage, so that a hook,
 * a file or a fingerprint of the model sees one or the other without a copy. */
#include "optim/state.h"
#include "nn/module.h"

#include <kiln/callbacks.h>

#include <stdio.h>

typedef struct ema {
    kn_callback base;
    kn_ctx *ctx;
    double decay;
    kn_opt_state average; /* one buffer; steps says which parameters have an average */
    kn_named_list list;   /* the model's parameters and buffers */
    kn_tensor *of_buffer; /* [list.count], of the buffers: their averages */
    uint64_t changes;     /* the model's, that list fits */
    int64_t updates;
    int64_t steps;  /* the optimizer's, at the last look */
    int64_t placed; /* 1: the model holds the averages, and the raw weights are here */
} ema;

static bool averaged(const ema *e, int i) {
    const kn_tensor *buffer = e->list.item[i].buffer;
    return buffer != NULL && buffer->dtype == KN_F32;
}

/* ---- room ---- */

static void free_buffers(ema *e) {
    for (int i = 0; i < e->list.count && e->of_buffer != NULL; i++)
        if (e->of_buffer[i].device != NULL)
            kn_tensor_clear(&e->of_buffer[i]);
    kn_free(e->ctx, e->of_buffer);
    e->of_buffer = NULL;
    kn_named_free(e->ctx, &e->list);
}

static kn_status copy(kn_tensor *to, const kn_tensor *from) {
    return to->device->ops->copy(to->device, to->data, from->data,
                                 (size_t)to->numel * sizeof(float));
}

/* Buffers have no identity that outlasts a change of the model: their averages begin anew. */
static kn_status fit_buffers(ema *e, kn_module *model) {
    if (e->of_buffer != NULL && e->changes == kn_module_changes(model))
        return KN_OK;
    free_buffers(e);
    kn_status status = kn_module_state_list(model, &e->list);
    if (status != KN_OK)
        return status;
    e->of_buffer =
        kn_calloc(e->ctx, (size_t)e->list.count + 1, sizeof *e->of_buffer, "averaging weights");
    if (e->of_buffer == NULL)
        return KN_ERR_MEMORY;
    for (int i = 0; i < e->list.count && status == KN_OK; i++) {
        const kn_tensor *from = e->list.item[i].buffer;
        if (!averaged(e, i))
            continue;
        status = kn_tensor_init(e->ctx, &e->of_buffer[i], from->device, KN_F32, from->shape);
        if (status == KN_OK)
            status = copy(&e->of_buffer[i], from);
    }
    e->changes = kn_module_changes(model);
    return status;
}

static kn_status fit(ema *e, kn_module *model, const kn_pack *pack) {
    kn_status status = kn_opt_state_follow(&e->average, e->ctx, pack);
    return status == KN_OK ? fit_buffers(e, model) : status;
}

/* ---- averaging ---- */

static kn_status update(ema *e, const kn_pack *pack) {
    double t = (double)++e->updates, most = (1 + t) / (10 + t);
    float alpha = (float)(1 - (e->decay < most ? e->decay : most));
    kn_device *d = pack->values->device;
    kn_status status = d->ops->lerp(d, pack->values->numel, alpha, kn_f32(pack->values),
                                    kn_opt_state_at(&e->average, 0, 0));
    for (int i = 0; i < e->list.count && status == KN_OK; i++)
        if (averaged(e, i))
            status = d->ops->lerp(d, e->of_buffer[i].numel, alpha, kn_f32(e->list.item[i].buffer),
                                  kn_f32_out(&e->of_buffer[i]));
    return status;
}

static void exchange(ema *e, kn_module *model, const kn_pack *pack) {
    kn_module_exchange(model, pack, &e->average.buffer[0]);
    for (int i = 0; i < e->list.count; i++)
        if (averaged(e, i))
            kn_tensor_exchange(e->list.item[i].buffer, &e->of_buffer[i]);
    e->placed = !e->placed;
}

/* ---- events ---- */

/* A fit starts from the weights that the model has, whoever made them. */
static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    ema *e = (ema *)cb;
    if (l->epochs == 0) /* validation alone */
        return KN_GO;
    kn_opt_state_free(&e->average, e->ctx);
    free_buffers(e);
    e->updates = e->steps = e->placed = 0;
    return KN_GO;
}

/* What fit carries to a changed model's pack: the averages, or the raw weights where those wait. */
static const kn_pack *fitted(ema *e, kn_learner *l) {
    const kn_pack *pack = kn_module_pack(l->model);
    return pack != NULL && fit(e, l->model, pack) == KN_OK ? pack : NULL;
}

static kn_flow before_train(kn_callback *cb, kn_learner *l) {
    ema *e = (ema *)cb;
    const kn_pack *pack = fitted(e, l);
    if (pack != NULL && e->placed)
        exchange(e, l->model, pack);
    return pack != NULL ? KN_GO : KN_FAIL;
}

/* Also after a step that was called off. */
static kn_flow after_step(kn_callback *cb, kn_learner *l) {
    ema *e = (ema *)cb;
    if (l->opt->steps == e->steps)
        return KN_GO;
    e->steps = l->opt->steps;
    const kn_pack *pack = fitted(e, l);
    return pack != NULL && update(e, pack) == KN_OK ? KN_GO : KN_FAIL;
}

static kn_flow after_train(kn_callback *cb, kn_learner *l) {
    ema *e = (ema *)cb;
    const kn_pack *pack = fitted(e, l);
    if (pack != NULL && !e->placed)
        exchange(e, l->model, pack);
    return pack != NULL ? KN_GO : KN_FAIL;
}

/* The model is a checkpoint's own business: it holds what this callback does not. */
static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    ema *e = (ema *)cb;
    char name[512];
    kn_status status = fitted(e, l) != NULL ? KN_OK : kn_ctx_status(e->ctx);
    if (status == KN_OK)
        status = visitor->integers(visitor->user, "ema_updates", &e->updates, 1);
    if (status == KN_OK)
        status = visitor->integers(visitor->user, "ema_steps", &e->steps, 1);
    if (status == KN_OK)
        status = visitor->integers(visitor->user, "ema_placed", &e->placed, 1);
    if (status == KN_OK)
        status = visitor->tensor(visitor->user, "ema", &e->average.buffer[0]);
    for (int i = 0; i < e->list.count && status == KN_OK; i++) {
        snprintf(name, sizeof name, "ema.%s", e->list.item[i].name);
        if (averaged(e, i))
            status = visitor->tensor(visitor->user, name, &e->of_buffer[i]);
    }
    return status;
}

static void free_ema(kn_callback *cb) {
    ema *e = (ema *)cb;
    kn_opt_state_free(&e->average, e->ctx);
    free_buffers(e);
    kn_free(e->ctx, e);
}

/* Before whatever looks at a pass's end, or at the model then. */
static const kn_callback_class ema_class = {.name = "ema",
                                            .order = -30,
                                            .skips_trials = true,
                                            .before_fit = before_fit,
                                            .before_train = before_train,
                                            .after_step = after_step,
                                            .after_train = after_train,
                                            .state = visit,
                                            .free = free_ema};

kn_callback *kn_ema_cb(kn_ctx *ctx, double decay) {
    if (!(decay >= 0 && decay < 1)) {
        kn_fail(ctx, KN_ERR_ARG, "ema: decay %g; expected 0 or more and below 1", decay);
        return NULL;
    }
    ema *e = kn_calloc(ctx, 1, sizeof *e, "the averaging callback");
    if (e == NULL)
        return NULL;
    e->base.cls = &ema_class;
    e->ctx = ctx;
    e->decay = decay;
    return &e->base;
}
