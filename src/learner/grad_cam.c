/* grad_cam.c - Grad-CAM through hooks: a first forward pass finds the module that gives the last
 * feature map, a second cuts the tape there, so that only the head is differentiated. */
#include "tensor/tensor.h"

#include <kiln/grad_cam.h>
#include <kiln/ops.h>

typedef struct cam {
    kn_ctx *ctx;
    kn_module *model;
    const kn_normalize *norm;
    const kn_batch *batch;
    const int32_t *classes;
    kn_module *last; /* gives the last feature map */
    kn_tensor *map;  /* that map, [n,h,w,c] */
} cam;

/* ---- hooks ---- */

static kn_tensor *note_map(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    cam *c = user;
    (void)x;
    if (kn_tensor_shape(y)->rank == 4)
        c->last = m;
    return y;
}

static kn_tensor *cut_tape(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    cam *c = user;
    (void)m;
    (void)x;
    c->map = kn_keep(c->ctx, kn_require_grad(c->ctx, kn_detach(c->ctx, y)));
    return c->map;
}

/* A hook on m and all below it. */
static kn_status hook_all(cam *c, kn_module *m, int *id, int *count, int most) {
    int children = kn_module_child_count(m);
    kn_status status = KN_OK;
    if (*count == most)
        return kn_fail(c->ctx, KN_ERR_LIMIT, "grad_cam: the model has more than %d modules", most);
    id[*count] = kn_module_add_hook(m, note_map, c);
    if (id[*count] == 0)
        return kn_fail(c->ctx, KN_ERR_MEMORY, "out of memory: a hook");
    (*count)++;
    for (int i = 0; i < children && status == KN_OK; i++)
        status = hook_all(c, kn_module_child_at(m, i), id, count, most);
    return status;
}

static void unhook_all(kn_module *m, const int *id, int *next, int count) {
    if (*next == count)
        return;
    kn_module_remove_hook(m, id[(*next)++]);
    for (int i = 0; i < kn_module_child_count(m); i++)
        unhook_all(kn_module_child_at(m, i), id, next, count);
}

static int count_modules(const kn_module *m) {
    int count = 1;
    for (int i = 0; i < kn_module_child_count(m); i++)
        count += count_modules(kn_module_child_at(m, i));
    return count;
}

/* ---- the two passes ---- */

static kn_tensor *forward(const cam *c) {
    const kn_batch *b = c->batch;
    kn_tensor *x = kn_from(c->ctx, KN_U8, KN_SHAPE(b->n, b->height, b->width, 3), b->pixels);
    return kn_forward(c->model, kn_normalize_apply(c->ctx, c->norm, x)); // [n,classes]
}

static kn_status find_last(cam *c) {
    int most = count_modules(c->model), count = 0, next = 0;
    int *id = kn_calloc(c->ctx, (size_t)most, sizeof *id, "hooks");
    if (id == NULL)
        return KN_ERR_MEMORY;
    bool was = kn_grad_enable(c->ctx, false);
    if (hook_all(c, c->model, id, &count, most) == KN_OK)
        forward(c);
    unhook_all(c->model, id, &next, count);
    kn_grad_enable(c->ctx, was);
    kn_free(c->ctx, id);
    kn_step_end(c->ctx);
    if (kn_ctx_status(c->ctx) == KN_OK && c->last == NULL)
        kn_fail(c->ctx, KN_ERR_SHAPE, "grad_cam: no module gives a feature map [N,H,W,C]");
    return kn_ctx_status(c->ctx);
}

/* Sum over pictures of the score of each one's class: its gradient is that of each score. */
static kn_tensor *score(const cam *c, kn_tensor *logits) {
    kn_tensor *index = kn_from(c->ctx, KN_I32, KN_SHAPE(c->batch->n, 1), c->classes);
    if (logits != NULL && index != NULL)
        index = kn_to(c->ctx, index, kn_tensor_device(logits));
    return kn_sum(c->ctx, kn_gather(c->ctx, logits, 1, index), KN_ALL, (kn_reduce_opts){0});
}

/* heat[hw] of one picture: relu(sum over channels of mean gradient times map), its highest 1. */
static void heat_of(const float *map, const float *grad, int hw, int channels, float *heat) {
    float most = 0;
    for (int i = 0; i < hw; i++)
        heat[i] = 0;
    for (int k = 0; k < channels; k++) {
        double weight = 0;
        for (int i = 0; i < hw; i++)
            weight += (double)grad[i * channels + k] / hw;
        for (int i = 0; i < hw; i++)
            heat[i] += (float)(weight * (double)map[i * channels + k]);
    }
    for (int i = 0; i < hw; i++) {
        heat[i] = heat[i] > 0 ? heat[i] : 0;
        most = heat[i] > most ? heat[i] : most;
    }
    for (int i = 0; i < hw && most > 0; i++)
        heat[i] /= most;
}

static kn_status make_heat(const cam *c, kn_heat *out) {
    kn_tensor *grad = kn_grad(c->ctx, c->map);
    const kn_shape *shape = kn_tensor_shape(c->map);
    int hw = (int)(shape->dim[1] * shape->dim[2]), channels = (int)shape->dim[3];
    size_t numel = (size_t)kn_tensor_numel(c->map), each = (size_t)hw * (size_t)channels;
    *out = (kn_heat){c->batch->n, (int)shape->dim[1], (int)shape->dim[2], NULL};
    out->values = kn_calloc(c->ctx, (size_t)out->n * (size_t)hw, sizeof(float), "a heat map");
    float *host = kn_calloc(c->ctx, 2 * numel, sizeof *host, "a feature map");
    if (out->values == NULL || host == NULL) {
        kn_free(c->ctx, host);
        return KN_ERR_MEMORY;
    }
    kn_status status = kn_tensor_read(c->ctx, c->map, host, numel * sizeof *host);
    if (status == KN_OK && grad != NULL) /* none: the score does not depend on the map */
        status = kn_tensor_read(c->ctx, grad, host + numel, numel * sizeof *host);
    for (int i = 0; i < out->n && status == KN_OK; i++)
        heat_of(host + (size_t)i * each, host + numel + (size_t)i * each, hw, channels,
                out->values + (size_t)i * (size_t)hw);
    kn_free(c->ctx, host);
    return status;
}

static kn_status differentiate(cam *c, kn_heat *out) {
    int id = kn_module_add_hook(c->last, cut_tape, c);
    if (id == 0)
        return kn_fail(c->ctx, KN_ERR_MEMORY, "out of memory: a hook");
    bool was = kn_grad_enable(c->ctx, true);
    kn_tensor *total = score(c, forward(c));
    if (total != NULL && kn_backward(c->ctx, total) == KN_OK)
        make_heat(c, out);
    kn_grad_enable(c->ctx, was);
    kn_module_remove_hook(c->last, id);
    kn_step_end(c->ctx);
    return kn_ctx_status(c->ctx);
}

/* ---- the parameters stay out of it ---- */

/* The frozen ones are marked by NULL in the list, and left as they are. */
static void freeze(kn_named_list *all) {
    for (int i = 0; i < all->count; i++)
        if (kn_param_frozen(all->item[i].param))
            all->item[i].param = NULL;
        else
            kn_param_freeze(all->item[i].param, true);
}

static void unfreeze(const kn_named_list *all) {
    for (int i = 0; i < all->count; i++)
        if (all->item[i].param != NULL)
            kn_param_freeze(all->item[i].param, false);
}

kn_status kn_grad_cam(kn_module *model, const kn_normalize *norm, const kn_batch *batch,
                      const int32_t *classes, kn_heat *out) {
    kn_named_list all;
    *out = (kn_heat){0};
    if (model == NULL)
        return KN_ERR_STATE;
    cam c = {.ctx = kn_module_ctx(model),
             .model = model,
             .norm = norm,
             .batch = batch,
             .classes = classes};
    if (kn_ctx_status(c.ctx) != KN_OK)
        return kn_ctx_status(c.ctx);
    kn_status status = kn_module_parameters(model, &all);
    if (status != KN_OK) {
        kn_named_free(c.ctx, &all);
        return status;
    }
    bool was = kn_module_training(model);
    kn_module_train(model, false);
    freeze(&all);
    status = find_last(&c);
    if (status == KN_OK)
        status = differentiate(&c, out);
    unfreeze(&all);
    kn_module_train(model, was);
    kn_named_free(c.ctx, &all);
    if (status != KN_OK)
        kn_heat_free(c.ctx, out);
    return status;
}

void kn_heat_free(kn_ctx *ctx, kn_heat *heat) {
    kn_free(ctx, heat->values);
    *heat = (kn_heat){0};
}
