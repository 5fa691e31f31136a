/* clip_cb.c - gradient clipping: all gradients are one vector, which is shortened where it is too
 * long (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013). The norm
 * stays on the device. */
#include "nn/module.h"

#include <kiln/callbacks.h>

#include <math.h>

static const char name[] = "clip";

typedef struct clip {
    kn_callback base;
    kn_ctx *ctx;
    double most;
    kn_device *device;
    kn_storage *total; /* one double: the sum of squares */
    bool ready;        /* total is of a step */
} clip;

/* Neighbouring segments from *at on that have gradients: their first number and how many. */
static bool next_range(const kn_pack *pack, int *at, int64_t *offset, int64_t *length) {
    int first = *at;
    while (first < pack->count && !kn_param_has_grad(pack->segment[first].param))
        first++;
    int end = first;
    while (end < pack->count && kn_param_has_grad(pack->segment[end].param))
        end++;
    *at = end;
    if (first == end)
        return false;
    const kn_segment *last = &pack->segment[end - 1];
    *offset = pack->segment[first].offset;
    *length = last->offset + last->length - *offset;
    return true;
}

static kn_status make_room(clip *c, kn_device *device) {
    if (c->device != device) {
        kn_storage_drop(c->total);
        c->total = kn_storage_get(c->ctx, device, sizeof(double));
        c->device = c->total != NULL ? device : NULL;
    }
    return c->total != NULL ? device->ops->zero(device, c->total->data, sizeof(double))
                            : kn_ctx_status(c->ctx);
}

static kn_flow before_step(kn_callback *cb, kn_learner *l) {
    clip *c = (clip *)cb;
    const kn_pack *pack = kn_module_pack(l->model);
    if (pack == NULL || make_room(c, pack->values->device) != KN_OK)
        return KN_FAIL;
    kn_device *d = c->device;
    kn_status status = KN_OK;
    int64_t offset, length;
    for (int at = 0; status == KN_OK && next_range(pack, &at, &offset, &length);)
        status = d->ops->square_sum(d, length, kn_f32(pack->grads) + offset, c->total->data);
    for (int at = 0; status == KN_OK && next_range(pack, &at, &offset, &length);)
        status = d->ops->clip(d, length, (float)c->most, c->total->data,
                              kn_f32_out(pack->grads) + offset);
    c->ready = status == KN_OK;
    return status == KN_OK ? KN_GO : KN_FAIL;
}

static void free_clip(kn_callback *cb) {
    clip *c = (clip *)cb;
    kn_storage_drop(c->total);
    kn_free(c->ctx, c);
}

/* After kn_accumulate_cb, which may call the step off. */
static const kn_callback_class clip_class = {
    .name = name, .order = 10, .before_step = before_step, .free = free_clip};

kn_callback *kn_clip_cb(kn_ctx *ctx, double most) {
    if (!(most > 0)) {
        kn_fail(ctx, KN_ERR_ARG, "clip: to a norm of %g; expected more than 0", most);
        return NULL;
    }
    clip *c = kn_calloc(ctx, 1, sizeof *c, "the clipping callback");
    if (c == NULL)
        return NULL;
    c->base.cls = &clip_class;
    c->ctx = ctx;
    c->most = most;
    return &c->base;
}

double kn_clip_norm(const kn_learner *l) {
    const clip *c = (const clip *)kn_learner_find((kn_learner *)(uintptr_t)l, name);
    double total = NAN;
    if (c == NULL || !c->ready ||
        c->device->ops->copy_out(c->device, &total, c->total->data, sizeof total) != KN_OK)
        return NAN;
    return sqrt(total);
}
