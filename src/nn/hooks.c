/* hooks.c - functions that watch a module: after its forward, and in the backward pass.
 *
 * Backward hooks ride on the tape. The input and the output of a watched module pass through an
 * identity op each: backward meets that of the output first, with dy, and that of the input last,
 * when all of dx that comes through the module is there. Between the two dy waits in a tensor that
 * both know. */
#include "nn/hooks.h"

#include <assert.h>

/* ---- coming and going ---- */

static int add(kn_module *m, kn_hooks *list, kn_hook hook) {
    struct kn_module_state *s = m->state;
    void *items = list->item;
    bool room = kn_mem_grow(&s->ctx->allocator, &items, &list->capacity, list->count + 1,
                            sizeof *list->item);
    list->item = items;
    if (!room) {
        kn_fail(s->ctx, KN_ERR_MEMORY, "out of memory: a hook on %s", m->cls->name);
        return 0;
    }
    hook.id = ++s->last_hook;
    list->item[list->count++] = hook;
    return hook.id;
}

int kn_module_add_hook(kn_module *m, kn_hook_fn fn, void *user) {
    assert(fn != NULL);
    return add(m, &m->state->forward_hooks, (kn_hook){.forward = fn, .user = user});
}

int kn_module_add_backward_hook(kn_module *m, kn_backward_hook_fn fn, void *user) {
    assert(fn != NULL);
    return add(m, &m->state->backward_hooks, (kn_hook){.backward = fn, .user = user});
}

static void close_gaps(kn_hooks *list) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->item[i].id != 0)
            list->item[kept++] = list->item[i];
    list->count = kept;
}

static void mark_removed(kn_hooks *list, int id) {
    for (size_t i = 0; i < list->count; i++)
        if (list->item[i].id == id)
            list->item[i].id = 0;
}

static void begin_running(struct kn_module_state *s) {
    s->running_hooks++;
}

static void end_running(struct kn_module_state *s) {
    if (--s->running_hooks > 0)
        return;
    close_gaps(&s->forward_hooks);
    close_gaps(&s->backward_hooks);
}

void kn_module_remove_hook(kn_module *m, int id) {
    begin_running(m->state);
    mark_removed(&m->state->forward_hooks, id);
    mark_removed(&m->state->backward_hooks, id);
    end_running(m->state);
}

bool kn_module_hooked(const kn_module *m) {
    return m->state->forward_hooks.count > 0 || m->state->backward_hooks.count > 0;
}

/* ---- forward ---- */

kn_tensor *kn_run_hooks(kn_module *m, kn_tensor *x, kn_tensor *y) {
    struct kn_module_state *s = m->state;
    size_t count = s->forward_hooks.count;
    begin_running(s);
    for (size_t i = 0; i < count && y != NULL; i++) {
        kn_hook hook = s->forward_hooks.item[i];
        if (hook.id != 0)
            y = hook.forward(hook.user, m, x, y);
        if (y == NULL && kn_ctx_status(s->ctx) == KN_OK)
            kn_fail(s->ctx, KN_ERR_STATE,
                    "a hook on %s returned no tensor, and no reason; one that only looks returns y",
                    m->cls->name);
    }
    end_running(s);
    return y;
}

/* ---- backward ---- */

/* What the two identity ops know. */
typedef struct watch_args {
    kn_module *m; /* first: it owns what is recorded */
    kn_tensor *dy;
    bool waits; /* of the output's: the input's op will call the hooks */
} watch_args;

static const watch_args *args_of(const kn_node *node) {
    return (const watch_args *)(const void *)node->args;
}

/* The result of the last hook, which must fit in the place of dx. */
static kn_status check_result(kn_module *m, const kn_tensor *dx, const kn_tensor *result) {
    kn_ctx *ctx = m->state->ctx;
    char want[KN_SHAPE_TEXT], got[KN_SHAPE_TEXT];
    if (kn_ctx_status(ctx) != KN_OK)
        return kn_ctx_status(ctx);
    if (dx == result)
        return KN_OK;
    if (result == NULL || dx == NULL)
        return kn_fail(ctx, KN_ERR_STATE, "a backward hook on %s returned %s", m->cls->name,
                       dx == NULL ? "a gradient for an input that wants none"
                                  : "no gradient without giving a reason");
    if (!kn_tensor_usable(ctx, "backward hook", result))
        return KN_ERR_STATE;
    if (result->dtype != dx->dtype || !kn_shape_equal(&result->shape, &dx->shape))
        return kn_fail(ctx, KN_ERR_SHAPE,
                       "a backward hook on %s returned %s %s for a gradient %s %s", m->cls->name,
                       kn_dtype_name(result->dtype), kn_shape_text(&result->shape, got),
                       kn_dtype_name(dx->dtype), kn_shape_text(&dx->shape, want));
    if (result->device != dx->device)
        return kn_fail(ctx, KN_ERR_DEVICE,
                       "a backward hook on %s returned a gradient on %s, expected %s", m->cls->name,
                       kn_device_name(result->device), kn_device_name(dx->device));
    return KN_OK;
}

/* Calls the hooks; *dx may become another tensor. */
static kn_status run_backward_hooks(kn_module *m, kn_tensor **dx, kn_tensor *dy) {
    struct kn_module_state *s = m->state;
    kn_status status = KN_OK;
    size_t count = s->backward_hooks.count;
    begin_running(s);
    for (size_t i = 0; i < count && status == KN_OK; i++) {
        kn_hook hook = s->backward_hooks.item[i];
        if (hook.id == 0)
            continue;
        kn_tensor *result = hook.backward(hook.user, m, *dx, dy);
        status = check_result(m, *dx, result);
        *dx = result;
    }
    end_running(s);
    return status;
}

/* Hands a gradient on as it is. */
static kn_status pass_on(kn_ctx *ctx, kn_tensor *to, const kn_tensor *grad) {
    kn_status status = KN_OK;
    kn_grad_slot slot;
    void *out = kn_grad_open(ctx, to, &slot, &status);
    if (out == NULL)
        return status;
    kn_device *d = to->device;
    return kn_grad_close(&slot, d->ops->copy(d, out, grad->data, kn_tensor_bytes(to)));
}

static kn_status output_backward(kn_ctx *ctx, kn_node *node, const void *grad) {
    (void)grad; /* as a tensor: */
    const watch_args args = *args_of(node);
    kn_tensor *y = node->in[0], *own = node->out->grad, *dy = args.dy, *none = NULL;
    dy->device = own->device;
    dy->dtype = own->dtype;
    dy->shape = own->shape;
    dy->numel = own->numel;
    kn_tensor_place(dy, own->storage, 0);
    kn_status status = args.waits ? KN_OK : run_backward_hooks(args.m, &none, dy);
    if (status == KN_OK)
        status = pass_on(ctx, y, dy);
    if (!args.waits)
        kn_tensor_release(dy);
    return status;
}

static kn_status input_backward(kn_ctx *ctx, kn_node *node, const void *grad) {
    (void)grad;
    const watch_args args = *args_of(node);
    kn_tensor *x = node->in[0], *dx = node->out->grad;
    bool told = args.dy->data != NULL; /* not where the loss took a way past the output */
    kn_status status = told ? run_backward_hooks(args.m, &dx, args.dy) : KN_OK;
    if (status == KN_OK)
        status = pass_on(ctx, x, dx);
    kn_tensor_release(args.dy);
    return status;
}

static const kn_op op_input = {"hooked input", input_backward, .owned = true},
                   op_output = {"hooked output", output_backward, .owned = true};

/* A tensor without a shape and a buffer yet. */
static kn_tensor *make_dy(kn_ctx *ctx, const kn_tensor *like) {
    return kn_tensor_borrow(ctx, like->device, KN_F32, KN_SHAPE(0), NULL);
}

kn_tensor *kn_watch_input(kn_module *m, kn_tensor *x, kn_watch *watch) {
    kn_ctx *ctx = m->state->ctx;
    *watch = (kn_watch){.on = m->state->backward_hooks.count > 0};
    if (!watch->on || !kn_recording(ctx, &x, 1))
        return x;
    watch_args args = {.m = m, .dy = make_dy(ctx, x)};
    kn_tensor *inside = kn_tensor_alias(ctx, x, x->shape);
    if (args.dy == NULL || inside == NULL ||
        !kn_tape_record(ctx, &op_input, inside, &x, 1, &args, sizeof args))
        return NULL;
    watch->dy = args.dy;
    return inside;
}

kn_tensor *kn_watch_output(kn_module *m, kn_tensor *y, const kn_watch *watch) {
    kn_ctx *ctx = m->state->ctx;
    if (y == NULL || !watch->on || !kn_recording(ctx, &y, 1))
        return y;
    watch_args args = {.m = m, .dy = watch->dy, .waits = watch->dy != NULL};
    if (args.dy == NULL)
        args.dy = make_dy(ctx, y);
    kn_tensor *out = args.dy != NULL ? kn_tensor_alias(ctx, y, y->shape) : NULL;
    bool good = out != NULL && kn_tape_record(ctx, &op_output, out, &y, 1, &args, sizeof args);
    return good ? out : NULL;
}
