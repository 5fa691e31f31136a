/* pack.c - all parameters below a module in two flat buffers, values and gradients, which an
 * optimizer goes through at once. */
#include "nn/module.h"

#include <assert.h>

/* Segments start at a cache line. */
static int64_t padded(int64_t numel) {
    int64_t line = KN_ALIGN / (int64_t)sizeof(float);
    return (numel + line - 1) / line * line;
}

/* Groups and freezing may change without the structure. */
static const kn_pack *refreshed(kn_pack *pack) {
    for (int i = 0; i < pack->count; i++) {
        pack->segment[i].group = pack->segment[i].param->group;
        pack->segment[i].frozen = kn_param_frozen(pack->segment[i].param);
    }
    return pack;
}

static kn_device *common_device(kn_ctx *ctx, const kn_named_list *all) {
    kn_device *device = all->count > 0 ? all->item[0].param->value.device : kn_device_default(ctx);
    for (int i = 0; i < all->count; i++)
        if (all->item[i].param->value.device != device) {
            kn_fail(ctx, KN_ERR_DEVICE, "pack: %s is on %s, %s on %s", all->item[0].name,
                    kn_device_name(device), all->item[i].name,
                    kn_device_name(all->item[i].param->value.device));
            return NULL;
        }
    return device;
}

/* Moves one parameter into the new flat buffers. */
static kn_status move_in(kn_param *p, kn_tensor *values, kn_tensor *grads, int64_t offset) {
    kn_device *d = p->value.device;
    size_t bytes = (size_t)p->value.numel * sizeof(float), at = (size_t)offset * sizeof(float);
    kn_status status = d->ops->copy(d, (char *)values->data + at, p->value.data, bytes);
    if (status == KN_OK && p->value.grad_live)
        status = d->ops->copy(d, (char *)grads->data + at, p->grad.data, bytes);
    if (status != KN_OK)
        return status;
    kn_tensor_place(&p->value, values->storage, at);
    kn_tensor_place(&p->grad, grads->storage, at);
    return KN_OK;
}

static kn_status pack_all(kn_module *root, const kn_named_list *all) {
    struct kn_module_state *s = root->state;
    kn_ctx *ctx = s->ctx;
    int64_t total = 0;
    for (int i = 0; i < all->count; i++)
        total += padded(all->item[i].param->value.numel);
    kn_device *device = common_device(ctx, all);
    kn_segment *segment = NULL;
    kn_tensor values = {0}, grads = {0};
    if (device == NULL || kn_tensor_init(ctx, &values, device, KN_F32, KN_SHAPE(total)) != KN_OK ||
        kn_tensor_init(ctx, &grads, device, KN_F32, KN_SHAPE(total)) != KN_OK ||
        (segment = kn_calloc(ctx, (size_t)all->count + 1, sizeof *segment, "packing")) == NULL) {
        kn_tensor_clear(&values);
        kn_tensor_clear(&grads);
        return kn_ctx_status(ctx);
    }
    int64_t offset = 0;
    kn_status status = KN_OK;
    for (int i = 0; i < all->count && status == KN_OK; i++) {
        kn_param *p = all->item[i].param;
        segment[i] = (kn_segment){.offset = offset, .length = p->value.numel, .param = p};
        status = move_in(p, &values, &grads, offset);
        offset += padded(p->value.numel);
    }
    kn_tensor_clear(&s->values); /* parameters that still live there hold the storage */
    kn_tensor_clear(&s->grads);
    kn_free(ctx, s->pack.segment);
    s->values = values;
    s->grads = grads;
    s->pack = (kn_pack){.values = &s->values,
                        .grads = &s->grads,
                        .segment = segment,
                        .count = status == KN_OK ? all->count : 0,
                        .serial = ++ctx->serial};
    return status;
}

/* Whether all parameters still live in the pack: the pack of another root that has some of them,
 * too, takes them away. */
static bool lies_there(const kn_pack *pack) {
    bool there = true;
    for (int i = 0; i < pack->count && there; i++) {
        const kn_param *p = pack->segment[i].param;
        size_t at = (size_t)pack->segment[i].offset * sizeof(float);
        there = p->value.data == (char *)pack->values->data + at &&
                p->grad.data == (char *)pack->grads->data + at;
    }
    return there;
}

const kn_pack *kn_module_pack(kn_module *root) {
    if (root == NULL)
        return NULL;
    struct kn_module_state *s = root->state;
    if (s->packed && s->packed_changes == s->changes && lies_there(&s->pack))
        return refreshed(&s->pack);
    kn_named_list all;
    if (kn_module_parameters(root, &all) != KN_OK)
        return NULL;
    kn_status status = pack_all(root, &all);
    kn_named_free(s->ctx, &all);
    s->packed = status == KN_OK;
    s->packed_changes = s->changes;
    return s->packed ? refreshed(&s->pack) : NULL;
}

void kn_module_exchange(kn_module *root, const kn_pack *pack, kn_tensor *values) {
    assert(pack == &root->state->pack);
    kn_tensor_exchange(pack->values, values);
    for (int i = 0; i < pack->count; i++)
        kn_tensor_place(&pack->segment[i].param->value, pack->values->storage,
                        (size_t)pack->segment[i].offset * sizeof(float));
    kn_tensor_touch(pack->values);
}
