/* weights.cuh - packed copies of parameters, kept while their version does not move. */
#ifndef KN_BACKEND_CUDA_WEIGHTS_CUH
#define KN_BACKEND_CUDA_WEIGHTS_CUH

#include "backend/cuda/cuda.cuh"

struct kn_packed {
    uint64_t id, version[2]; /* of the f32 and of the bf16 copy */
    void *data[2];           /* NULL: not yet made */
    int64_t padded[2];
    kn_packed *next; /* in its bucket */
};

enum { KN_PACKED_BUCKETS = 256 };
struct kn_packed_table {
    kn_packed *bucket[KN_PACKED_BUCKETS];
};

/* The packed copy of a parameter, [O,KH,KW,padded], made anew when the parameter has changed. NULL
 * with the error set. w.id must not be 0. */
const void *kn_packed_get(kn_device *d, kn_packed_table *table, const kn_conv_dims *c,
                          int64_t padded, bool bf16, kn_weights w);
void kn_packed_forget(kn_device *d, kn_packed_table *table, uint64_t id);
void kn_packed_free(kn_device *d, kn_packed_table *table);

#endif
