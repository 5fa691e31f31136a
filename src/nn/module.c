/* module.c - modules: registration, ownership, calling with hooks. */
#include "nn/hooks.h"

#include <assert.h>
#include <string.h>

/* ---- parameters ---- */

kn_tensor *kn_param_value(kn_param *p) {
    return p != NULL ? &p->value : NULL;
}

kn_tensor *kn_param_grad(kn_param *p) {
    if (p == NULL)
        return NULL;
    kn_tensor *g = &p->grad;
    if (!p->value.grad_live && !g->zeros) {
        kn_tensor_touch(g);
        g->zeros = true;
        g->device->ops->zero(g->device, g->data, (size_t)g->numel * sizeof(float));
    }
    return g;
}

bool kn_param_has_grad(const kn_param *p) {
    return p->value.grad_live;
}

/* The zeros are written when somebody looks: the next backward overwrites them anyway. */
void kn_param_zero_grad(kn_param *p) {
    p->grad.zeros = p->grad.zeros && !p->value.grad_live;
    p->value.grad_live = false;
}

void kn_param_touch(kn_param *p) {
    kn_tensor_touch(&p->value);
}

int kn_param_group(const kn_param *p) {
    return p->group;
}

void kn_param_set_group(kn_param *p, int group) {
    assert(group >= 0 && group < KN_MAX_GROUPS);
    p->group = group;
}

bool kn_param_frozen(const kn_param *p) {
    return !p->value.wants_grad;
}

void kn_param_freeze(kn_param *p, bool frozen) {
    if (p == NULL)
        return;
    p->value.wants_grad = !frozen;
    if (frozen)
        kn_param_zero_grad(p);
}

static void drop_param(kn_ctx *ctx, kn_param *p) {
    if (--p->owners > 0)
        return;
    kn_tensor_clear(&p->value);
    kn_tensor_clear(&p->grad);
    kn_free(ctx, p);
}

static kn_param *new_param(kn_ctx *ctx, kn_shape shape) {
    kn_param *p = kn_calloc(ctx, 1, sizeof *p, "a parameter");
    if (p == NULL)
        return NULL;
    p->owners = 1;
    kn_device *device = kn_device_default(ctx);
    if (kn_tensor_init(ctx, &p->value, device, KN_F32, shape) != KN_OK ||
        kn_tensor_reserve(ctx, &p->grad, device, KN_F32, shape) != KN_OK) { /* see zero_grad */
        drop_param(ctx, p);
        return NULL;
    }
    p->value.wants_grad = true;
    p->value.grad = &p->grad;
    p->grad.grad_of = &p->value;
    return p;
}

/* ---- registration ---- */

uint64_t kn_module_changes(const kn_module *m) {
    return m->state->changes;
}

void kn_module_changed(kn_module *m) {
    for (; m != NULL; m = m->state->parent)
        m->state->changes++;
}

static bool enter(kn_module *m, kn_entries *list, const char *name, void *thing) {
    kn_ctx *ctx = m->state->ctx;
    for (size_t i = 0; i < list->count; i++)
        assert(strcmp(list->item[i].name, name) != 0 && "a name was registered twice");
    void *items = list->item;
    char *copy = kn_strdup(ctx, name);
    bool room = copy != NULL && kn_mem_grow(&ctx->allocator, &items, &list->capacity,
                                            list->count + 1, sizeof *list->item);
    list->item = items;
    if (!room) {
        kn_free(ctx, copy);
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: registering \"%s\"", name);
        return false;
    }
    list->item[list->count++] = (kn_entry){copy, thing};
    kn_module_changed(m);
    return true;
}

void *kn_module_new(kn_ctx *ctx, const kn_module_class *cls, size_t size) {
    assert(size >= sizeof(kn_module));
    kn_module *m = kn_calloc(ctx, 1, size, cls->name);
    struct kn_module_state *state = m != NULL ? kn_calloc(ctx, 1, sizeof *state, cls->name) : NULL;
    if (state == NULL) {
        kn_free(ctx, m);
        return NULL;
    }
    state->ctx = ctx;
    state->training = true;
    m->cls = cls;
    m->state = state;
    return m;
}

kn_param *kn_module_param(kn_module *m, const char *name, kn_shape shape) {
    if (m == NULL)
        return NULL;
    kn_ctx *ctx = m->state->ctx;
    kn_param *p = new_param(ctx, shape);
    if (p != NULL && !enter(m, &m->state->params, name, p)) {
        drop_param(ctx, p);
        return NULL;
    }
    return p;
}

kn_param *kn_module_share_param(kn_module *m, const char *name, kn_param *p) {
    if (m == NULL || p == NULL || !enter(m, &m->state->params, name, p))
        return NULL;
    p->owners++;
    return p;
}

kn_tensor *kn_module_buffer(kn_module *m, const char *name, kn_dtype dtype, kn_shape shape) {
    if (m == NULL)
        return NULL;
    kn_ctx *ctx = m->state->ctx;
    kn_tensor *t = kn_calloc(ctx, 1, sizeof *t, "a module's buffer");
    if (t == NULL)
        return NULL;
    if (kn_tensor_init(ctx, t, kn_device_default(ctx), dtype, shape) != KN_OK ||
        !enter(m, &m->state->buffers, name, t)) {
        kn_tensor_clear(t);
        kn_free(ctx, t);
        return NULL;
    }
    return t;
}

/* Whether m is top or lies below it. */
static bool is_below(const kn_module *m, const kn_module *top) {
    while (m != NULL && m != top)
        m = m->state->parent;
    return m != NULL;
}

kn_module *kn_module_child(kn_module *m, const char *name, kn_module *child) {
    if (m == NULL)
        kn_module_free(child);
    if (m == NULL || child == NULL)
        return NULL;
    if (child->state->ctx != m->state->ctx) {
        kn_fail(m->state->ctx, KN_ERR_STATE, "\"%s\": this %s belongs to another context", name,
                child->cls->name);
        return NULL;
    }
    if (child->state->parent != NULL || is_below(m, child)) { /* who would free it? */
        kn_fail(
            m->state->ctx, KN_ERR_ARG,
            "\"%s\": this %s is a child already, or holds its new parent; two modules can share "
            "parameters (kn_module_share_param)",
            name, child->cls->name);
        return NULL;
    }
    if (!enter(m, &m->state->children, name, child)) {
        kn_module_free(child);
        return NULL;
    }
    child->state->parent = m;
    return child;
}

static void free_entries(kn_ctx *ctx, kn_entries *list) {
    for (size_t i = 0; i < list->count; i++)
        kn_free(ctx, list->item[i].name);
    kn_free(ctx, list->item);
}

void kn_module_free(kn_module *m) {
    if (m == NULL)
        return;
    struct kn_module_state *s = m->state;
    kn_ctx *ctx = s->ctx;
    kn_tape_lose(ctx, m);
    if (m->cls->free != NULL)
        m->cls->free(m);
    for (size_t i = s->children.count; i-- > 0;)
        kn_module_free(s->children.item[i].thing);
    for (size_t i = s->params.count; i-- > 0;)
        drop_param(ctx, s->params.item[i].thing);
    for (size_t i = s->buffers.count; i-- > 0;) {
        kn_tensor_clear(s->buffers.item[i].thing);
        kn_free(ctx, s->buffers.item[i].thing);
    }
    free_entries(ctx, &s->children);
    free_entries(ctx, &s->params);
    free_entries(ctx, &s->buffers);
    kn_free(ctx, s->forward_hooks.item);
    kn_free(ctx, s->backward_hooks.item);
    kn_free(ctx, s->pack.segment);
    kn_tensor_clear(&s->values);
    kn_tensor_clear(&s->grads);
    kn_free(ctx, s);
    kn_free(ctx, m);
}

/* ---- looking around ---- */

kn_ctx *kn_module_ctx(const kn_module *m) {
    return m->state->ctx;
}

bool kn_module_training(const kn_module *m) {
    return m != NULL && m->state->training;
}

void kn_module_train(kn_module *m, bool training) {
    if (m == NULL)
        return;
    m->state->training = training && !m->state->frozen_norm;
    for (size_t i = 0; i < m->state->children.count; i++)
        kn_module_train(m->state->children.item[i].thing, training);
}

int kn_module_child_count(const kn_module *m) {
    return m != NULL ? (int)m->state->children.count : 0;
}

kn_module *kn_module_child_at(const kn_module *m, int i) {
    assert(i >= 0 && (size_t)i < m->state->children.count);
    return m->state->children.item[i].thing;
}

const char *kn_module_child_name(const kn_module *m, int i) {
    assert(i >= 0 && (size_t)i < m->state->children.count);
    return m->state->children.item[i].name;
}

/* ---- calling ---- */

/* x and y pass through the backward hooks' marks (kn_watch_*), if there are any. Without a tape all
 * that was made since mark, but y, goes back to the pool. */
kn_tensor *kn_forward(kn_module *m, kn_tensor *x) {
    if (m == NULL || x == NULL)
        return NULL;
    kn_ctx *ctx = m->state->ctx;
    size_t mark = kn_step_mark(ctx);
    kn_watch watch;
    x = kn_watch_input(m, x, &watch);
    kn_tensor *y = x != NULL ? m->cls->forward(m, ctx, x) : NULL;
    if (y == NULL && kn_ctx_status(ctx) == KN_OK)
        kn_fail(ctx, KN_ERR_STATE, "%s: its forward gave no tensor, and no reason", m->cls->name);
    y = kn_watch_output(m, kn_run_hooks(m, x, y), &watch);
    kn_step_release_since(ctx, mark, y);
    return y;
}
