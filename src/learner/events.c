/* events.c - the protocol between learner and callbacks: who is told what, and what a flow ends. */
#include "learner/events.h"

#include <assert.h>

/* ---- names ---- */

const char *kn_event_name(kn_event event) {
    static const char *const names[] = {
#define NAME(name) #name,
        KN_EVENTS(NAME)
#undef NAME
    };
    assert(event >= 0 && event < KN_EVENT_COUNT);
    return names[event];
}

const char *kn_flow_name(kn_flow flow) {
    static const char *const names[] = {"go",           "cancel_step",  "cancel_backward",
                                        "cancel_batch", "cancel_train", "cancel_validate",
                                        "cancel_epoch", "cancel_fit",   "fail"};
    assert(flow >= KN_GO && flow <= KN_FAIL);
    return names[flow];
}

/* A scope's name and events. */
static const struct {
    const char *name;
    kn_event before, after, cancelled;
} scopes[] = {
#define SCOPE(name)                                                                                \
    { #name, kn_event_before_##name, kn_event_after_##name, kn_event_after_cancel_##name }
    [KN_SCOPE_STEP] = SCOPE(step),         [KN_SCOPE_BACKWARD] = SCOPE(backward),
    [KN_SCOPE_BATCH] = SCOPE(batch),       [KN_SCOPE_TRAIN] = SCOPE(train),
    [KN_SCOPE_VALIDATE] = SCOPE(validate), [KN_SCOPE_EPOCH] = SCOPE(epoch),
    [KN_SCOPE_FIT] = SCOPE(fit),
#undef SCOPE
};

const char *kn_event_scope(kn_event event) {
    for (size_t s = 0; s < KN_COUNT(scopes); s++)
        if (scopes[s].before == event || scopes[s].after == event || scopes[s].cancelled == event)
            return scopes[s].name;
    return scopes[KN_SCOPE_BATCH].name; /* after_pred, after_loss */
}

/* ---- telling ---- */

static kn_event_fn handler(const kn_callback_class *cls, kn_event event) {
    switch (event) {
#define CASE(name)                                                                                 \
    case kn_event_##name:                                                                          \
        return cls->name;
        KN_EVENTS(CASE)
#undef CASE
    case KN_EVENT_COUNT:
        break;
    }
    return NULL;
}

/* A flow must come from within the scope it ends; an error must come as KN_FAIL and with a reason.
 */
static kn_flow checked(kn_learner *l, const kn_callback *cb, kn_event event, kn_flow flow) {
    assert(flow >= KN_GO && flow <= KN_FAIL);
    if (kn_ctx_status(l->ctx) != KN_OK)
        return KN_FAIL;
    if (flow == KN_FAIL) {
        kn_fail(l->ctx, KN_ERR_STATE, "callback %s failed in %s without giving a reason",
                cb->cls->name, kn_event_name(event));
        return KN_FAIL;
    }
    if (flow == KN_GO)
        return KN_GO;
    kn_scope scope = (kn_scope)(flow - KN_CANCEL_STEP);
    if (l->state->active >> scope & 1)
        return flow;
    kn_fail(l->ctx, KN_ERR_STATE, "callback %s returned %s in %s, outside %s", cb->cls->name,
            kn_flow_name(flow), kn_event_name(event), scopes[scope].name);
    return KN_FAIL;
}

static kn_flow tell_one(kn_learner *l, kn_callback *cb, kn_event event) {
    kn_flow flow = KN_GO;
    if (l->trial && cb->cls->skips_trials)
        return KN_GO;
    if (cb->cls->any != NULL)
        flow = checked(l, cb, event, cb->cls->any(cb, l, event));
    kn_event_fn fn = handler(cb->cls, event);
    if (flow == KN_GO && fn != NULL)
        flow = checked(l, cb, event, fn(cb, l));
    return flow;
}

kn_flow kn_tell(kn_learner *l, kn_event event) {
    kn_flow flow = KN_GO;
    for (size_t i = 0; i < l->state->count && flow == KN_GO; i++)
        flow = tell_one(l, l->state->callback[i], event);
    return flow;
}

/* Takes the context's error away, so that callbacks can go on using it; the first one counts. */
static void put_aside(kn_ctx *ctx, kn_error *first) {
    kn_error error = kn_error_take(ctx);
    if (first->status == KN_OK)
        *first = error;
}

/* One callback's failure must not keep the others from cleaning up. */
kn_flow kn_tell_all(kn_learner *l, kn_event event) {
    kn_flow widest = KN_GO;
    kn_error first = {0};
    for (size_t i = 0; i < l->state->count; i++) {
        widest = kn_wider(widest, tell_one(l, l->state->callback[i], event));
        put_aside(l->ctx, &first);
    }
    kn_fail_with(l->ctx, &first);
    return widest;
}

/* ---- scopes ---- */

/* after_cancel_X and after_X of a scope left by flow, for every callback. The error of a failure is
 * put aside meanwhile and then restored. */
static kn_flow clean_up(kn_learner *l, kn_scope scope, kn_flow flow) {
    kn_error first = {0};
    put_aside(l->ctx, &first);
    /* What a batch left half done must not leak into the next; a cancelled step is accumulation. */
    if (scope >= KN_SCOPE_BATCH && l->opt != NULL)
        kn_optimizer_zero_grad(l->opt);
    kn_flow outer = flow == kn_cancel_of(scope) ? KN_GO : flow;
    outer = kn_wider(outer, kn_tell_all(l, scopes[scope].cancelled));
    put_aside(l->ctx, &first);
    outer = kn_wider(outer, kn_tell_all(l, scopes[scope].after));
    put_aside(l->ctx, &first);
    kn_fail_with(l->ctx, &first);
    return outer;
}

kn_flow kn_scope_begin(kn_learner *l, kn_scope scope) {
    l->state->active |= 1u << scope;
    return kn_tell(l, scopes[scope].before);
}

kn_flow kn_scope_end(kn_learner *l, kn_scope scope, kn_flow flow) {
    l->state->active &= ~(1u << scope);
    if (flow != KN_GO)
        return clean_up(l, scope, flow);
    /* At the end of all nobody comes after who would tell the others. */
    return scope == KN_SCOPE_FIT ? kn_tell_all(l, scopes[scope].after)
                                 : kn_tell(l, scopes[scope].after);
}

kn_flow kn_run_scope(kn_learner *l, kn_scope scope, kn_flow (*body)(kn_learner *l)) {
    kn_flow flow = kn_scope_begin(l, scope);
    if (flow == KN_GO)
        flow = body(l);
    return kn_scope_end(l, scope, flow);
}
