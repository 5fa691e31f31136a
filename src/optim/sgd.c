/* sgd.c - stochastic gradient descent, plain as in the chapter or with momentum (Polyak, 1964; in
 * PyTorch's form: Sutskever et al., 2013, section 2, with the rate outside the velocity). */
#include <kiln/optim.h>

#include "nn/module.h"

#include <stdlib.h>

/* Velocity lives beside the packed values, at the same offsets. */
typedef struct sgd {
    kn_optimizer base;
    kn_tensor velocity;  /* [total]; device NULL until momentum needs it */
    kn_segment *segment; /* of the pack that velocity fits, with moved[i]: has a velocity */
    bool *moved;
    int count;
    uint64_t serial;
} sgd;

static void sgd_free(kn_optimizer *opt) {
    sgd *s = (sgd *)opt;
    kn_tensor_clear(&s->velocity);
    kn_free(opt->ctx, s->segment);
    kn_free(opt->ctx, s->moved);
}

/* Carries a parameter's velocity from its place in the old pack to the one in the new. */
static kn_status carry(sgd *s, const kn_pack *pack, int i, kn_tensor *velocity, bool *moved) {
    for (int j = 0; j < s->count; j++)
        if (s->segment[j].param == pack->segment[i].param && s->moved[j] &&
            s->segment[j].length == pack->segment[i].length &&
            s->velocity.device == velocity->device) {
            *moved = true;
            kn_device *d = velocity->device;
            return d->ops->copy(d, kn_f32_out(velocity) + pack->segment[i].offset,
                                kn_f32(&s->velocity) + s->segment[j].offset,
                                (size_t)s->segment[j].length * sizeof(float));
        }
    return KN_OK;
}

/* Makes velocity fit the pack. */
static kn_status fit_velocity(sgd *s, const kn_pack *pack) {
    kn_ctx *ctx = s->base.ctx;
    if (s->velocity.device != NULL && s->serial == pack->serial)
        return KN_OK;
    kn_tensor velocity = {0};
    size_t count = (size_t)pack->count + 1;
    kn_segment *segment = kn_calloc(ctx, count, sizeof *segment, "momentum");
    bool *moved = kn_calloc(ctx, count, sizeof *moved, "momentum");
    kn_status status =
        segment == NULL || moved == NULL
            ? KN_ERR_MEMORY
            : kn_tensor_init(ctx, &velocity, pack->values->device, KN_F32, pack->values->shape);
    for (int i = 0; i < pack->count && status == KN_OK; i++) {
        segment[i] = pack->segment[i];
        status = carry(s, pack, i, &velocity, &moved[i]);
    }
    if (status != KN_OK) {
        kn_tensor_clear(&velocity);
        kn_free(ctx, segment);
        kn_free(ctx, moved);
        return status;
    }
    sgd_free(&s->base);
    s->velocity = velocity;
    s->segment = segment;
    s->moved = moved;
    s->count = pack->count;
    s->serial = pack->serial;
    return KN_OK;
}

/* Steps segments first..last of one group, which lie next to each other, in one pass. */
static kn_status step_range(sgd *s, const kn_pack *pack, int first, int last, bool fresh) {
    const kn_segment *a = &pack->segment[first], *b = &pack->segment[last];
    const kn_group *group = &s->base.group[a->group];
    kn_device *d = pack->values->device;
    float *velocity = group->momentum != 0 ? kn_f32_out(&s->velocity) + a->offset : NULL;
    return d->ops->sgd(d, b->offset + b->length - a->offset, kn_f32_out(pack->values) + a->offset,
                       kn_f32(pack->grads) + a->offset, velocity, fresh,
                       (float)(s->base.lr * group->lr_mult), (float)group->wd,
                       (float)group->momentum);
}

static bool takes_part(const kn_segment *segment) {
    return !segment->frozen && kn_param_has_grad(segment->param);
}

static kn_status sgd_step(kn_optimizer *opt, const kn_pack *pack) {
    sgd *s = (sgd *)opt;
    bool momentum = false;
    for (int g = 0; g < KN_MAX_GROUPS; g++)
        momentum = momentum || opt->group[g].momentum != 0;
    kn_status status = momentum ? fit_velocity(s, pack) : KN_OK;
    for (int i = 0; i < pack->count && status == KN_OK;) {
        if (!takes_part(&pack->segment[i])) {
            i++;
            continue;
        }
        bool fresh = momentum && !s->moved[i];
        int last = i;
        while (last + 1 < pack->count && takes_part(&pack->segment[last + 1]) &&
               pack->segment[last + 1].group == pack->segment[i].group &&
               (momentum && !s->moved[last + 1]) == fresh)
            last++;
        status = step_range(s, pack, i, last, fresh);
        for (; i <= last; i++)
            if (momentum)
                s->moved[i] = true;
    }
    return status;
}

static const kn_optimizer_class sgd_class = {"sgd", sgd_step, sgd_free};

kn_optimizer *kn_sgd(kn_module *model, double lr, kn_sgd_opts opts) {
    sgd *s = kn_optimizer_new(model, &sgd_class, sizeof *s, lr);
    if (s == NULL)
        return NULL;
    for (int g = 0; g < KN_MAX_GROUPS; g++) {
        s->base.group[g].wd = opts.wd;
        s->base.group[g].momentum = opts.momentum;
    }
    return &s->base;
}
