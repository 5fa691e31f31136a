/* square_sum.c - see square_sum.h. */
#include "learner/square_sum.h"

bool kn_gradient_range(const kn_pack *pack, int *at, int64_t *offset, int64_t *length) {
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

static kn_status begin(kn_square_sum *s, kn_device *device) {
    if (s->device != device) {
        kn_storage_drop(s->total);
        s->total = kn_storage_get(s->ctx, device, sizeof(double));
        s->device = s->total != NULL ? device : NULL;
    }
    return s->total != NULL ? device->ops->zero(device, s->total->data, sizeof(double))
                            : kn_ctx_status(s->ctx);
}

kn_status kn_square_sum_tensor(kn_square_sum *s, const kn_tensor *x) {
    kn_status status = begin(s, x->device);
    return status == KN_OK
               ? x->device->ops->square_sum(x->device, x->numel, kn_f32(x), s->total->data)
               : status;
}

kn_status kn_square_sum_gradients(kn_square_sum *s, const kn_pack *pack) {
    kn_device *d = pack->values->device;
    kn_status status = begin(s, d);
    int64_t offset, length;
    for (int at = 0; status == KN_OK && kn_gradient_range(pack, &at, &offset, &length);)
        status = d->ops->square_sum(d, length, kn_f32(pack->grads) + offset, s->total->data);
    return status;
}

kn_status kn_square_sum_read(const kn_square_sum *s, double *out) {
    return s->device->ops->copy_out(s->device, out, s->total->data, sizeof *out);
}

void kn_square_sum_free(kn_square_sum *s) {
    kn_storage_drop(s->total);
    s->total = NULL;
}
