/* snapshot.c - see snapshot.h. */
#include "learner/snapshot.h"

#include "nn/module.h"

kn_status kn_snapshot_take(kn_snapshot *s, kn_module *model) {
    kn_ctx *ctx = kn_module_ctx(model);
    *s = (kn_snapshot){.ctx = ctx, .model = model, .training = kn_module_training(model)};
    kn_status status = kn_module_state_list(model, &s->list);
    size_t bytes = 0;
    for (int i = 0; i < s->list.count; i++)
        bytes += kn_tensor_bytes(kn_named_tensor(&s->list.item[i]));
    if (status == KN_OK)
        s->data = kn_alloc(ctx, bytes + 1, "a copy of the model");
    if (status == KN_OK && s->data == NULL)
        status = KN_ERR_MEMORY;
    unsigned char *at = s->data;
    for (int i = 0; i < s->list.count && status == KN_OK; i++) {
        const kn_tensor *t = kn_named_tensor(&s->list.item[i]);
        status = kn_tensor_read(ctx, t, at, kn_tensor_bytes(t));
        at += kn_tensor_bytes(t);
    }
    if (status != KN_OK)
        kn_snapshot_free(s);
    return status;
}

kn_status kn_snapshot_restore(const kn_snapshot *s) {
    const unsigned char *at = s->data;
    kn_status status = KN_OK;
    for (int i = 0; i < s->list.count; i++) {
        kn_tensor *t = kn_named_tensor(&s->list.item[i]);
        kn_status written = kn_tensor_write(s->ctx, t, at, kn_tensor_bytes(t));
        status = status == KN_OK ? written : status; /* the rest is written all the same */
        if (s->list.item[i].param != NULL)
            kn_param_zero_grad(s->list.item[i].param);
        at += kn_tensor_bytes(t);
    }
    kn_module_train(s->model, s->training);
    return status;
}

void kn_snapshot_free(kn_snapshot *s) {
    if (s->ctx == NULL)
        return;
    kn_named_free(s->ctx, &s->list);
    kn_free(s->ctx, s->data);
    *s = (kn_snapshot){0};
}
