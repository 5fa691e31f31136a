/* state.c - see state.h. */
#include "optim/state.h"

#include <string.h>

void kn_opt_state_free(kn_opt_state *s, kn_ctx *ctx) {
    for (int b = 0; b < KN_OPT_BUFFERS; b++)
        if (s->buffer[b].device != NULL)
            kn_tensor_clear(&s->buffer[b]);
    kn_free(ctx, s->segment);
    kn_free(ctx, s->steps);
    *s = (kn_opt_state){0};
}

float *kn_opt_state_at(kn_opt_state *s, int buffer, int64_t offset) {
    return kn_f32_out(&s->buffer[buffer]) + offset;
}

/* Carries what the old state knows of a parameter to its place in the new one. */
static kn_status carry(kn_opt_state *fresh, int i, kn_opt_state *old) {
    const kn_segment *to = &fresh->segment[i];
    int j = 0;
    while (j < old->count && (old->segment[j].param != to->param || old->steps[j] == 0 ||
                              old->segment[j].length != to->length))
        j++;
    if (j == old->count || old->buffers < fresh->buffers)
        return KN_OK;
    kn_status status = KN_OK;
    for (int b = 0; b < fresh->buffers && status == KN_OK; b++) {
        kn_device *d = fresh->buffer[b].device;
        if (old->buffer[b].device != d)
            return KN_OK;
        status = d->ops->copy(d, kn_opt_state_at(fresh, b, to->offset),
                              kn_opt_state_at(old, b, old->segment[j].offset),
                              (size_t)to->length * sizeof(float));
    }
    fresh->steps[i] = old->steps[j];
    return status;
}

kn_status kn_opt_state_fit(kn_opt_state *s, kn_ctx *ctx, const kn_pack *pack, int buffers) {
    if (s->segment != NULL && s->serial == pack->serial && s->buffers >= buffers)
        return KN_OK;
    size_t count = (size_t)pack->count + 1;
    kn_opt_state fresh = {.buffers = buffers > s->buffers ? buffers : s->buffers,
                          .count = pack->count,
                          .serial = pack->serial};
    fresh.segment = kn_calloc(ctx, count, sizeof *fresh.segment, "an optimizer's state");
    fresh.steps = kn_calloc(ctx, count, sizeof *fresh.steps, "an optimizer's state");
    kn_status status = fresh.segment == NULL || fresh.steps == NULL ? KN_ERR_MEMORY : KN_OK;
    for (int b = 0; b < fresh.buffers && status == KN_OK; b++)
        status = kn_tensor_init(ctx, &fresh.buffer[b], pack->values->device, KN_F32,
                                pack->values->shape);
    for (int i = 0; i < pack->count && status == KN_OK; i++) {
        fresh.segment[i] = pack->segment[i];
        status = carry(&fresh, i, s);
    }
    kn_opt_state_free(status == KN_OK ? s : &fresh, ctx);
    if (status == KN_OK)
        *s = fresh;
    return status;
}

kn_status kn_opt_state_visit(kn_opt_state *s, const char *steps, const char *const *names,
                             const kn_state_visitor *visitor) {
    kn_status status = visitor->integers(visitor->user, steps, s->steps, s->count);
    for (int b = 0; b < s->buffers && status == KN_OK; b++)
        status = visitor->tensor(visitor->user, names[b], &s->buffer[b]);
    return status;
}

/* ---- runs ---- */

static bool takes_part(const kn_segment *segment) {
    return !segment->frozen && kn_param_has_grad(segment->param);
}

static bool decays(const kn_segment *segment, const kn_group *group) {
    return !group->no_wd_rank1 || segment->param->value.shape.rank > 1;
}

bool kn_opt_next(const kn_optimizer *opt, const kn_pack *pack, kn_opt_state *s, kn_opt_kind kind,
                 int *at, kn_opt_run *run) {
    int first = *at;
    while (first < pack->count && !takes_part(&pack->segment[first]))
        first++;
    if (first == pack->count)
        return false;
    const kn_segment *begin = &pack->segment[first];
    const kn_group *group = &opt->group[begin->group];
    int64_t taken = s->steps[first];
    int last = first, kind_of_first = kind != NULL ? kind(pack, first) : 0;
    bool decay = decays(begin, group);
    for (; last + 1 < pack->count; last++) {
        const kn_segment *next = &pack->segment[last + 1];
        if (!takes_part(next) || next->group != begin->group || s->steps[last + 1] != taken ||
            decays(next, group) != decay || (kind != NULL && kind(pack, last + 1) != kind_of_first))
            break;
    }
    for (int i = first; i <= last; i++)
        s->steps[i]++;
    *run = (kn_opt_run){.first = first,
                        .offset = begin->offset,
                        .length =
                            pack->segment[last].offset + pack->segment[last].length - begin->offset,
                        .group = group,
                        .lr = opt->lr * group->lr_mult,
                        .wd = decay ? group->wd : 0,
                        .step = taken + 1,
                        .kind = kind_of_first};
    *at = last + 1;
    return true;
}

kn_status kn_opt_state_follow(kn_opt_state *s, kn_ctx *ctx, const kn_pack *pack) {
    kn_device *d = pack->values->device;
    kn_status status = kn_opt_state_fit(s, ctx, pack, 1);
    for (int i = 0; i < pack->count && status == KN_OK; i++) {
        const kn_segment *segment = &pack->segment[i];
        if (s->steps[i] > 0)
            continue;
        status = d->ops->copy(d, kn_opt_state_at(s, 0, segment->offset),
                              kn_f32(pack->values) + segment->offset,
                              (size_t)segment->length * sizeof(float));
        s->steps[i] = status == KN_OK;
    }
    return status;
}
