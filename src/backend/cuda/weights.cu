/* weights.cu - see weights.cuh. */
#include "backend/cuda/weights.cuh"
#include "backend/cuda/conv_parts.cuh"

#include <cstdlib>

static kn_packed *find(kn_packed_table *table, uint64_t id) {
    kn_packed *p = table->bucket[id % KN_PACKED_BUCKETS];
    while (p != NULL && p->id != id)
        p = p->next;
    return p;
}

static kn_packed *find_or_add(kn_device *d, kn_packed_table *table, uint64_t id) {
    kn_packed *p = find(table, id);
    if (p != NULL)
        return p;
    p = static_cast<kn_packed *>(calloc(1, sizeof *p));
    if (p == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: packed weights");
        return NULL;
    }
    p->id = id;
    p->next = table->bucket[id % KN_PACKED_BUCKETS];
    table->bucket[id % KN_PACKED_BUCKETS] = p;
    return p;
}

const void *kn_packed_get(kn_device *d, kn_packed_table *table, const kn_conv_dims *c,
                          int64_t padded, bool bf16, kn_weights w) {
    kn_packed *p = find_or_add(d, table, w.id);
    if (p == NULL)
        return NULL;
    if (p->data[bf16] != NULL && p->padded[bf16] == padded && p->version[bf16] == w.version)
        return p->data[bf16];
    if (p->data[bf16] == NULL || p->padded[bf16] != padded) {
        size_t bytes = static_cast<size_t>(c->out * c->kernel_h * c->kernel_w * padded) *
                       (bf16 ? sizeof(kn_bf16) : sizeof(float));
        void *room = NULL;
        if (p->data[bf16] != NULL && kn_cuda_wait(d) != KN_OK)
            return NULL;
        kn_cuda_release(d, p->data[bf16]);
        p->data[bf16] = NULL;
        room = kn_cuda_alloc(d, bytes);
        if (room == NULL) {
            kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory on device cuda:%d: packed weights",
                         d->ordinal);
            return NULL;
        }
        p->data[bf16] = room;
        p->padded[bf16] = padded;
    }
    if (kn_cuda_pack_weights(d, c, padded, bf16, w.data, p->data[bf16]) != KN_OK)
        return NULL;
    p->version[bf16] = w.version;
    return p->data[bf16];
}

static void drop(kn_device *d, kn_packed *p) {
    kn_cuda_release(d, p->data[0]);
    kn_cuda_release(d, p->data[1]);
    free(p);
}

void kn_packed_forget(kn_device *d, kn_packed_table *table, uint64_t id) {
    for (kn_packed **at = &table->bucket[id % KN_PACKED_BUCKETS]; *at != NULL; at = &(*at)->next)
        if ((*at)->id == id) {
            kn_packed *gone = *at;
            *at = gone->next;
            kn_cuda_wait(d); /* it may be in use; an error stays in the device */
            drop(d, gone);
            return;
        }
}

void kn_packed_free(kn_device *d, kn_packed_table *table) {
    for (kn_packed *&first : table->bucket)
        while (first != NULL) {
            kn_packed *gone = first;
            first = gone->next;
            drop(d, gone);
        }
}
