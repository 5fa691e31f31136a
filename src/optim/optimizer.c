/* optimizer.c - what all optimizers share. */
#include <kiln/optim.h>

#include "nn/module.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void *kn_optimizer_new(kn_module *model, const kn_optimizer_class *cls, size_t size, double lr) {
    assert(size >= sizeof(kn_optimizer));
    if (model == NULL)
        return NULL;
    kn_ctx *ctx = kn_module_ctx(model);
    kn_optimizer *opt = kn_calloc(ctx, 1, size, cls->name);
    if (opt == NULL)
        return NULL;
    opt->cls = cls;
    opt->ctx = ctx;
    opt->model = model;
    opt->lr = lr;
    opt->size = size;
    const kn_pack *pack = kn_module_pack(model);
    for (int i = 0; pack != NULL && i < pack->count; i++) {
        int group = pack->segment[i].group;
        assert(group >= 0 && group < KN_MAX_GROUPS);
        if (group >= opt->groups)
            opt->groups = group + 1;
    }
    for (int g = 0; g < KN_MAX_GROUPS; g++)
        opt->group[g].lr_mult = 1;
    if (pack == NULL) {
        kn_free(ctx, opt);
        return NULL;
    }
    return opt;
}

void kn_optimizer_free(kn_optimizer *opt) {
    if (opt == NULL)
        return;
    if (opt->cls->free != NULL)
        opt->cls->free(opt);
    kn_free(opt->ctx, opt);
}

kn_status kn_optimizer_step(kn_optimizer *opt) {
    if (opt == NULL)
        return KN_ERR_STATE;
    const kn_pack *pack = kn_module_pack(opt->model);
    if (pack == NULL)
        return kn_ctx_status(opt->ctx);
    for (int i = 0; i < pack->count; i++)
        assert(pack->segment[i].group >= 0 && pack->segment[i].group < KN_MAX_GROUPS);
    bool was = kn_grad_enable(opt->ctx, false);
    kn_status status = opt->cls->step(opt, pack);
    kn_grad_enable(opt->ctx, was);
    /* And with the pack every parameter. A failed step may have written too. */
    kn_tensor_touch(pack->values);
    if (status == KN_OK)
        opt->steps++;
    else if (kn_ctx_status(opt->ctx) == KN_OK)
        kn_fail(opt->ctx, status, "optimizer %s: its step failed, without a reason",
                opt->cls->name);
    return status;
}

void kn_optimizer_zero_grad(kn_optimizer *opt) {
    const kn_pack *pack = opt != NULL ? kn_module_pack(opt->model) : NULL;
    for (int i = 0; pack != NULL && i < pack->count; i++)
        kn_param_zero_grad(pack->segment[i].param);
}

kn_status kn_optimizer_state(kn_optimizer *opt, const kn_state_visitor *visitor) {
    if (opt == NULL)
        return KN_ERR_STATE;
    const kn_pack *pack = kn_module_pack(opt->model);
    if (pack == NULL)
        return kn_ctx_status(opt->ctx);
    kn_status status = visitor->reals(visitor->user, "lr", &opt->lr, 1);
    if (status == KN_OK)
        status = visitor->integers(visitor->user, "steps", &opt->steps, 1);
    if (status == KN_OK && opt->cls->state != NULL)
        status = opt->cls->state(opt, pack, visitor);
    return status;
}

void kn_optimizer_spread(kn_optimizer *opt, double ratio) {
    assert(ratio > 0);
    int groups = kn_module_groups(opt->model); /* 0: no memory to look, and the context says so */
    if (groups > 0)
        opt->groups = groups;
    int last = opt->groups - 1;
    for (int g = 0; g < KN_MAX_GROUPS; g++)
        opt->group[g].lr_mult = g < last ? pow(ratio, (double)g / last - 1) : 1;
}
