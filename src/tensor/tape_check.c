/* tape_check.c - what was recorded, and what became of its tensors since: written to, moved, freed.
 * See engine.h. */
#include "tensor/engine.h"

#include <stdio.h>
#include <string.h>

/* ---- what is freed ---- */

static bool owned_by(const kn_node *node, const void *owner) {
    const void *own;
    memcpy(&own, node->args, sizeof own);
    return node->op->owned && own == owner;
}

static unsigned wanted_of(const kn_node *node) {
    unsigned wanted = 0;
    for (int i = 0; i < KN_NODE_INPUTS; i++)
        if (node->in[i] != NULL && node->in[i]->wants_grad)
            wanted |= 1u << i;
    return wanted;
}

/* Backwards look at their inputs, if only at their shapes. */
static void lose_inputs(kn_node *node, const void *freed) {
    for (int i = 0; i < KN_NODE_INPUTS; i++)
        if (node->in[i] == freed) {
            node->in[i] = NULL;
            node->lost = true;
        }
}

void kn_tape_lose(kn_ctx *ctx, const void *freed) {
    kn_engine *e = ctx->engine;
    for (size_t n = 0; e != NULL && n < e->node_count; n++) {
        e->node[n].lost = e->node[n].lost || owned_by(&e->node[n], freed);
        lose_inputs(&e->node[n], freed);
    }
}

/* ---- before going back ---- */

/* An operand or the result, of which backward would read what it no longer is. */
static kn_status refuse(kn_ctx *ctx, const kn_node *node, int i, const char *why) {
    const kn_tensor *t = i == KN_NODE_OUT ? node->out : node->in[i];
    char text[KN_SHAPE_TEXT], which[32] = "the result";
    if (i != KN_NODE_OUT)
        snprintf(which, sizeof which, "operand %d", i + 1);
    return kn_fail(ctx, KN_ERR_STATE, "backward: %s of %s, %s, was %s", which, node->op->name,
                   kn_shape_text(&t->shape, text), why);
}

/* The gradient of a tensor from an earlier tape would end there, unseen. */
static kn_status refuse_used(kn_ctx *ctx, const kn_tensor *t) {
    char text[KN_SHAPE_TEXT];
    return kn_fail(ctx, KN_ERR_STATE,
                   "backward: the loss depends on a tensor %s whose tape was used by an earlier "
                   "backward; kn_detach cuts it off",
                   kn_shape_text(&t->shape, text));
}

kn_status kn_node_check(kn_ctx *ctx, const kn_node *node) {
    unsigned wanted = wanted_of(node);
    if (node->lost)
        return kn_fail(
            ctx, KN_ERR_STATE,
            "backward: a module was freed whose tensors or hooks the loss depends on, by "
            "%s",
            node->op->name);
    for (int i = 0; i <= KN_NODE_OUT; i++) {
        const kn_tensor *t = i == KN_NODE_OUT ? node->out : node->in[i];
        if (t == NULL)
            continue;
        if ((wanted >> i & 1) && t->node >= 0 && t->tape != ctx->engine->tape)
            return refuse_used(ctx, t);
        if (t->device != node->out->device)
            return refuse(ctx, node, i, "moved to another device since");
        if ((node->op->reads[i] & wanted) != 0 && kn_tensor_version(t) != node->version[i])
            return refuse(ctx, node, i, "written to since, and the gradient needs what it was");
    }
    return KN_OK;
}

/* Does a node behind this one, which backward comes to before, give t a gradient? */
static bool gets_before(const kn_engine *e, size_t node, const kn_tensor *t) {
    for (size_t n = node + 1; n < e->node_count; n++)
        for (int i = 0; i < KN_NODE_INPUTS; i++)
            if (e->node[n].needed && e->node[n].in[i] == t && t->wants_grad)
                return true;
    return false;
}

/* An operand that is a gradient itself must be read before this backward adds to it. */
static kn_status check_gradients(kn_ctx *ctx, size_t n) {
    const kn_node *node = &ctx->engine->node[n];
    unsigned wanted = wanted_of(node);
    for (int i = 0; i < KN_NODE_INPUTS; i++) {
        const kn_tensor *t = node->in[i];
        const kn_tensor *seen = t != NULL && t->of != NULL ? t->of : t;
        if ((node->op->reads[i] & wanted) != 0 && seen != NULL && seen->grad_of != NULL &&
            gets_before(ctx->engine, n, seen->grad_of))
            return refuse(ctx, node, i, "a gradient that this backward writes to before");
    }
    return KN_OK;
}

kn_status kn_tape_check(kn_ctx *ctx, const kn_tensor *loss) {
    kn_engine *e = ctx->engine;
    kn_status status = KN_OK;
    for (size_t i = 0; i < e->node_count; i++)
        e->node[i].needed = false;
    e->node[loss->node].needed = true;
    for (size_t i = e->node_count; i-- > 0 && status == KN_OK;) {
        const kn_node *node = &e->node[i];
        if (!node->needed)
            continue;
        status = kn_node_check(ctx, node);
        if (status == KN_OK)
            status = check_gradients(ctx, i);
        for (int k = 0; k < KN_NODE_INPUTS; k++) {
            const kn_tensor *t = node->in[k];
            if (t != NULL && t->wants_grad && t->node >= 0 && t->tape == e->tape)
                e->node[t->node].needed = true;
        }
    }
    return status;
}
