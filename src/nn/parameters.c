/* parameters.c - all parameters and buffers below a module: by name, packed into two flat buffers,
 * moved to a device. */
#include "nn/module.h"

#include "core/text.h"

#include <assert.h>
#include <string.h>

/* ---- lists ---- */

typedef struct walk {
    kn_ctx *ctx;
    kn_named_list *list;
    size_t capacity;
    bool buffers;
    kn_text path; /* of the module under way, ending in a dot unless it is the root */
} walk;

static bool listed(const kn_named_list *list, const kn_param *p) {
    for (int i = 0; i < list->count; i++)
        if (list->item[i].param == p)
            return true;
    return false;
}

static kn_status add(walk *w, const char *name, kn_param *param, kn_tensor *buffer) {
    void *items = w->list->item;
    kn_text full = {.allocator = &w->ctx->allocator};
    kn_text_printf(&full, "%s%s", w->path.data != NULL ? w->path.data : "", name);
    bool room = !full.failed && kn_mem_grow(&w->ctx->allocator, &items, &w->capacity,
                                            (size_t)w->list->count + 1, sizeof(kn_named));
    w->list->item = items;
    if (!room) {
        kn_text_free(&full);
        return kn_fail(w->ctx, KN_ERR_MEMORY, "out of memory: listing parameters");
    }
    w->list->item[w->list->count++] = (kn_named){full.data, param, buffer};
    return KN_OK;
}

static kn_status visit(walk *w, kn_module *m) {
    struct kn_module_state *s = m->state;
    kn_status status = KN_OK;
    for (size_t i = 0; i < s->params.count && status == KN_OK; i++)
        if (!listed(w->list, s->params.item[i].thing))
            status = add(w, s->params.item[i].name, s->params.item[i].thing, NULL);
    for (size_t i = 0; w->buffers && i < s->buffers.count && status == KN_OK; i++)
        status = add(w, s->buffers.item[i].name, NULL, s->buffers.item[i].thing);
    for (size_t i = 0; i < s->children.count && status == KN_OK; i++) {
        size_t length = w->path.length;
        kn_text_printf(&w->path, "%s.", s->children.item[i].name);
        status = w->path.failed
                     ? kn_fail(w->ctx, KN_ERR_MEMORY, "out of memory: listing parameters")
                     : visit(w, s->children.item[i].thing);
        if (status == KN_OK) {
            w->path.length = length;
            w->path.data[length] = '\0';
        }
    }
    return status;
}

static kn_status list(kn_module *m, bool buffers, kn_named_list *out) {
    *out = (kn_named_list){0};
    if (m == NULL)
        return KN_ERR_STATE;
    kn_ctx *ctx = m->state->ctx;
    walk w = {.ctx = ctx, .list = out, .buffers = buffers, .path = {.allocator = &ctx->allocator}};
    kn_status status = visit(&w, m);
    kn_text_free(&w.path);
    if (status != KN_OK)
        kn_named_free(ctx, out);
    return status;
}

kn_status kn_module_parameters(kn_module *m, kn_named_list *out) {
    return list(m, false, out);
}

kn_status kn_module_state_list(kn_module *m, kn_named_list *out) {
    return list(m, true, out);
}

void kn_named_free(kn_ctx *ctx, kn_named_list *named) {
    for (int i = 0; i < named->count; i++)
        kn_free(ctx, (void *)(uintptr_t)named->item[i].name);
    kn_free(ctx, named->item);
    *named = (kn_named_list){0};
}

int64_t kn_module_numel(kn_module *m) {
    kn_named_list all;
    int64_t numel = 0;
    if (kn_module_parameters(m, &all) != KN_OK)
        return 0;
    for (int i = 0; i < all.count; i++)
        numel += all.item[i].param->value.numel;
    kn_named_free(m->state->ctx, &all);
    return numel;
}

/* ---- packing ---- */

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

/* ---- moving to a device ---- */

/* A copy of t on the device, in fresh. */
static kn_status copy_over(kn_ctx *ctx, const kn_tensor *t, kn_device *device, kn_tensor *fresh) {
    size_t bytes = (size_t)t->numel * kn_dtype_size(t->dtype);
    if (kn_tensor_init(ctx, fresh, device, t->dtype, t->shape) != KN_OK)
        return kn_ctx_status(ctx);
    void *host = kn_alloc(ctx, bytes + 1, "moving a module to a device");
    kn_status status =
        host == NULL ? KN_ERR_MEMORY : t->device->ops->copy_out(t->device, host, t->data, bytes);
    if (status == KN_OK)
        status = device->ops->copy_in(device, fresh->data, host, bytes);
    kn_free(ctx, host);
    return status;
}

static void settle(kn_tensor *t, const kn_tensor *fresh) {
    t->device->ops->forget(t->device, t->id);
    kn_tensor_place(t, fresh->storage, 0);
    t->device = fresh->device;
    kn_tensor_touch(t); /* for a tape from before: it cannot go back on two devices */
}

/* A parameter's value and gradient (or a buffer, without grad) move both or not at all. */
static kn_status move_pair(kn_ctx *ctx, kn_tensor *t, kn_tensor *grad, kn_device *device) {
    kn_tensor fresh = {0}, fresh_grad = {0};
    kn_status status = copy_over(ctx, t, device, &fresh);
    if (status == KN_OK && grad != NULL)
        status = copy_over(ctx, grad, device, &fresh_grad);
    if (status == KN_OK) {
        settle(t, &fresh);
        if (grad != NULL)
            settle(grad, &fresh_grad);
    }
    kn_tensor_clear(&fresh);
    kn_tensor_clear(&fresh_grad);
    return status;
}

static void all_changed(kn_module *m) {
    m->state->changes++;
    for (size_t i = 0; i < m->state->children.count; i++)
        all_changed(m->state->children.item[i].thing);
}

kn_status kn_module_to(kn_module *m, kn_device *device) {
    if (m == NULL)
        return KN_ERR_STATE;
    kn_ctx *ctx = m->state->ctx;
    kn_named_list all;
    if (device == NULL)
        return kn_ctx_status(ctx);
    bool moved = false;
    kn_status status = kn_module_state_list(m, &all);
    for (int i = 0; i < all.count && status == KN_OK; i++) {
        kn_param *p = all.item[i].param;
        kn_tensor *t = p != NULL ? &p->value : all.item[i].buffer;
        if (t->device == device)
            continue;
        status = move_pair(ctx, t, p != NULL ? &p->grad : NULL, device);
        moved = true;
    }
    if (moved) {
        all_changed(m);
        kn_module_changed(m->state->parent);
    }
    kn_named_free(ctx, &all);
    return status;
}
