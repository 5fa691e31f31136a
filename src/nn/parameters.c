/* parameters.c - all parameters and buffers below a module: by name, and moved to a device. */
#include "nn/module.h"

#include "core/text.h"

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
}

/* A parameter's value and gradient (or a buffer, without grad) move both or not at all. */
static kn_status move_pair(kn_ctx *ctx, kn_tensor *t, kn_tensor *grad, kn_device *device) {
    kn_tensor fresh = {0}, fresh_grad = {0};
    kn_status status = copy_over(ctx, t, device, &fresh);
    if (status == KN_OK && grad != NULL)
        status = t->grad_live
                     ? copy_over(ctx, grad, device, &fresh_grad)
                     : kn_tensor_reserve(ctx, &fresh_grad, device, grad->dtype, grad->shape);
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
