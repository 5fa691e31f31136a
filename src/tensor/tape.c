/* tape.c - reverse-mode differentiation (Linnainmaa, 1970; Baydin et al., "Automatic
 * Differentiation in Machine Learning: a Survey", 2018, section 3.2). The tape is the list of ops
 * in the order they ran, which is a topological order; backward is the loop over it in reverse. */
#include "tensor/engine.h"

#include <assert.h>
#include <string.h>

bool kn_grad_enable(kn_ctx *ctx, bool on) {
    kn_engine *e = kn_engine_get(ctx);
    if (e == NULL)
        return false;
    bool was = e->recording;
    e->recording = on;
    return was;
}

bool kn_recording(const kn_ctx *ctx, kn_tensor *const *in, int count) {
    if (ctx->engine == NULL || !ctx->engine->recording)
        return false;
    for (int i = 0; i < count; i++)
        if (in[i] != NULL && in[i]->wants_grad)
            return true;
    return false;
}

bool kn_tape_record(kn_ctx *ctx, const kn_op *op, kn_tensor *out, kn_tensor *const *in, int count,
                    const void *args, size_t args_size) {
    assert(count <= KN_NODE_INPUTS && args_size <= KN_NODE_ARGS);
    if (!kn_recording(ctx, in, count))
        return true;
    kn_engine *e = ctx->engine;
    void *nodes = e->node;
    bool room =
        kn_mem_grow(&ctx->allocator, &nodes, &e->node_capacity, e->node_count + 1, sizeof *e->node);
    e->node = nodes;
    if (!room) {
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: a tape of %zu ops", e->node_count);
        return false;
    }
    kn_node *node = &e->node[e->node_count];
    node->op = op;
    node->out = out;
    node->lost = false;
    for (int i = 0; i < KN_NODE_INPUTS; i++) {
        node->in[i] = i < count ? in[i] : NULL;
        node->version[i] = node->in[i] != NULL ? kn_tensor_version(in[i]) : 0;
    }
    node->version[KN_NODE_OUT] = kn_tensor_version(out);
    if (args_size > 0)
        memcpy(node->args, args, args_size);
    out->wants_grad = true;
    out->node = (int)e->node_count++;
    out->tape = e->tape;
    return true;
}

void kn_tape_clear(kn_engine *e) {
    e->node_count = 0;
    e->tape++;
}

/* ---- gradients ---- */

kn_tensor *kn_require_grad(kn_ctx *ctx, kn_tensor *t) {
    if (t == NULL || !kn_tensor_usable(ctx, "require_grad", t))
        return t;
    if (t->dtype != KN_F32 || t->node >= 0) {
        kn_fail(ctx, KN_ERR_STATE, "require_grad: expects an f32 tensor that no op produced");
        return NULL;
    }
    if (t->model && t->grad == NULL) { /* a gradient of the step would outlive its step there */
        kn_fail(ctx, KN_ERR_STATE,
                "require_grad: a module's buffer has no gradient; parameters do");
        return NULL;
    }
    if (t->model) /* a parameter: whether it is frozen is kn_param_freeze's to say */
        return t;
    t->wants_grad = true;
    t->kept = true;
    return t;
}

kn_tensor *kn_grad(kn_ctx *ctx, kn_tensor *t) {
    if (t == NULL || !kn_tensor_usable(ctx, "grad", t))
        return NULL;
    return t->grad_live ? t->grad : NULL;
}

kn_tensor *kn_detach(kn_ctx *ctx, kn_tensor *t) {
    if (t == NULL || !kn_tensor_usable(ctx, "detach", t))
        return NULL;
    return kn_tensor_alias(ctx, t, t->shape);
}

void *kn_grad_open(kn_ctx *ctx, kn_tensor *t, kn_grad_slot *slot, kn_status *status) {
    *slot = (kn_grad_slot){0};
    if (t == NULL || !t->wants_grad || *status != KN_OK)
        return NULL;
    slot->t = t;
    if (t->grad_live) {
        slot->temporary = kn_storage_get(ctx, t->device, kn_tensor_bytes(t));
        slot->data = slot->temporary != NULL ? slot->temporary->data : NULL;
    } else {
        if (t->grad == NULL)
            t->grad = kn_tensor_new(ctx, t->device, t->dtype, t->shape);
        slot->data = t->grad != NULL ? t->grad->data : NULL;
        if (t->grad != NULL)
            t->grad->grad_of = t;
    }
    if (slot->data == NULL)
        *status = kn_ctx_status(ctx);
    return slot->data;
}

static kn_status add_to_grad(kn_tensor *t, const void *more) {
    kn_device *d = t->device;
    void *grad = t->grad->data;
    return t->dtype == KN_BF16 ? d->bf16->add(d, t->numel, grad, more, grad)
                               : d->ops->axpy(d, t->numel, 1, more, grad);
}

kn_status kn_grad_close(kn_grad_slot *slot, kn_status status) {
    kn_tensor *t = slot->t;
    if (status == KN_OK && slot->temporary != NULL)
        status = add_to_grad(t, slot->data);
    kn_storage_drop(slot->temporary);
    if (status != KN_OK)
        return status;
    t->grad_live = true;
    t->grad->zeros = false;
    kn_tensor_touch(t->grad);
    return KN_OK;
}

/* ---- backward ---- */

static kn_status seed(kn_ctx *ctx, kn_tensor *loss) {
    kn_status status = KN_OK;
    kn_grad_slot slot;
    float *one = kn_grad_open(ctx, loss, &slot, &status);
    if (one == NULL)
        return status;
    return kn_grad_close(&slot, loss->device->ops->fill(loss->device, 1, 1, one));
}

static kn_status check_loss(kn_ctx *ctx, kn_tensor *loss) {
    char text[KN_SHAPE_TEXT];
    if (loss == NULL)
        return kn_ctx_status(ctx) != KN_OK
                   ? kn_ctx_status(ctx)
                   : kn_fail(ctx, KN_ERR_STATE, "backward: there is no loss");
    if (loss->alive && loss->node >= 0 && loss->tape != ctx->engine->tape)
        return kn_fail(ctx, KN_ERR_STATE,
                       "backward: this loss's tape was used by an earlier backward");
    if (!kn_tensor_usable(ctx, "backward", loss))
        return KN_ERR_STATE;
    if (loss->numel != 1 || loss->dtype != KN_F32)
        return kn_fail(ctx, KN_ERR_SHAPE, "backward: the loss is %s %s, expected one f32 number",
                       kn_dtype_name(loss->dtype), kn_shape_text(&loss->shape, text));
    if (loss->node < 0)
        return kn_fail(
            ctx, KN_ERR_STATE,
            "backward: nothing was recorded that this loss depends on (recording off, or "
            "no input wants a gradient)");
    return KN_OK;
}

/* An op's result is not needed before the op ran, so in reverse order its buffers are free once its
 * own backward is done. */
static void release_output(kn_tensor *out, const kn_tensor *loss) {
    if (out == loss || out->kept)
        return;
    if (out->grad != NULL)
        kn_tensor_release(out->grad);
    out->grad = NULL;
    out->grad_live = false;
    kn_tensor_release(out);
}

/* Each node adds to its inputs' gradients (kn_grad_open, kn_grad_close). When its turn comes all
 * uses of its output have been passed, so the output's gradient is whole. */
kn_status kn_backward(kn_ctx *ctx, kn_tensor *loss) {
    kn_status status = check_loss(ctx, loss);
    if (status != KN_OK)
        return status;
    kn_engine *e = ctx->engine;
    if (e->in_backward)
        return kn_fail(ctx, KN_ERR_STATE,
                       "backward: one is under way; a hook cannot begin another");
    bool was = kn_grad_enable(ctx, false);
    e->in_backward = true;
    status = kn_tape_check(ctx, loss);
    if (status == KN_OK)
        status = seed(ctx, loss);
    for (size_t i = e->node_count; i-- > 0 && status == KN_OK;) {
        kn_node *node = &e->node[i];
        kn_tensor *out = node->out; /* a hook may record, and so move the nodes */
        if (out->grad_live)
            status = kn_node_check(ctx, node); /* once more: hooks may write, too */
        if (out->grad_live && status == KN_OK)
            status = node->op->backward(ctx, node, out->grad->data);
        release_output(out, loss);
    }
    e->in_backward = false;
    kn_grad_enable(ctx, was);
    kn_tape_clear(e);
    return status;
}
