/* resident.c - see resident.h. */
#include "data/resident.h"

#include "data/cached_dataset.h"
#include "data/loader.h"
#include "tensor/tensor.h"

struct kn_resident {
    kn_ctx *ctx;
    kn_device *device;
    size_t sample_bytes;
    kn_storage *samples; /* u8 [samples,H,W,3] */
    bool *there;         /* [samples] */
    int32_t *index;      /* of a batch's samples */
};

enum { SHARE = 4 }; /* of the memory that is free, one part */

bool kn_resident_wanted(const kn_loader *loader, kn_device *device) {
    if (kn_device_is_host(device) || device->ops->room == NULL || !kn_dataset_is_kept(loader->ds))
        return false;
    return (size_t)loader->samples <= device->ops->room(device) / SHARE / loader->sample_bytes;
}

kn_resident *kn_resident_new(kn_ctx *ctx, const kn_loader *loader, kn_device *device) {
    size_t samples = (size_t)loader->samples;
    kn_resident *r = kn_calloc(ctx, 1, sizeof *r, "samples on the device");
    if (r == NULL)
        return NULL;
    *r = (kn_resident){.ctx = ctx, .device = device, .sample_bytes = loader->sample_bytes};
    r->there = kn_calloc(ctx, samples, sizeof *r->there, "samples on the device");
    r->index = kn_calloc(ctx, (size_t)loader->room, sizeof *r->index, "samples on the device");
    if (r->there != NULL && r->index != NULL)
        r->samples = kn_storage_get(ctx, device, samples * r->sample_bytes);
    if (r->samples != NULL)
        return r;
    kn_resident_free(r);
    return NULL;
}

void kn_resident_free(kn_resident *r) {
    if (r == NULL)
        return;
    kn_storage_drop(r->samples);
    kn_free(r->ctx, r->there);
    kn_free(r->ctx, r->index);
    kn_free(r->ctx, r);
}

static kn_tensor *on_device(kn_resident *r, kn_dtype dtype, kn_shape shape, const void *host) {
    kn_tensor *t = kn_tensor_new(r->ctx, r->device, dtype, shape);
    if (t == NULL || r->device->ops->copy_in(r->device, t->data, host, kn_tensor_bytes(t)) != KN_OK)
        return NULL;
    return t;
}

/* The batch as it travels, copied to its place among the samples. */
static kn_tensor *keep(kn_resident *r, const kn_batch *b, kn_shape shape, const kn_tensor *index) {
    kn_tensor *x = on_device(r, KN_U8, shape, b->pixels);
    if (x == NULL || r->device->ops->put_rows(r->device, b->n, r->sample_bytes, index->data,
                                              x->data, r->samples->data) != KN_OK)
        return NULL;
    for (int i = 0; i < b->n; i++)
        r->there[b->index[i]] = true;
    return x;
}

static kn_tensor *fetch(kn_resident *r, const kn_batch *b, kn_shape shape, const kn_tensor *index) {
    kn_tensor *x = kn_tensor_new(r->ctx, r->device, KN_U8, shape);
    if (x == NULL || r->device->ops->take_rows(r->device, b->n, r->sample_bytes, index->data,
                                               r->samples->data, x->data) != KN_OK)
        return NULL;
    return x;
}

kn_tensor *kn_resident_batch(kn_resident *r, const kn_batch *batch) {
    kn_shape shape = KN_SHAPE(batch->n, batch->height, batch->width, 3);
    bool all = true;
    for (int i = 0; i < batch->n; i++) {
        all = all && r->there[batch->index[i]];
        r->index[i] = (int32_t)batch->index[i];
    }
    kn_tensor *index = on_device(r, KN_I32, KN_SHAPE(batch->n), r->index);
    if (index == NULL)
        return NULL;
    return all ? fetch(r, batch, shape, index) : keep(r, batch, shape, index);
}
