/* order.cuh - which commands of a run must wait for which. */
#ifndef KN_BACKEND_CUDA_ORDER_CUH
#define KN_BACKEND_CUDA_ORDER_CUH

#include "backend/cuda/cuda.cuh"

struct kn_run;

/* Command i waits for before[first[i]] to before[first[i + 1] - 1]. Of two commands of which the
 * later one waits for the earlier one by way of others, nothing is said again. */
struct kn_order {
    size_t count; /* of commands */
    size_t *first;
    unsigned *before;
    size_t longest; /* commands one after another, at least */
};

/* false: too many commands, or no memory. */
bool kn_order_of(kn_device *d, const kn_run *r, kn_order *o);
bool kn_order_same(const kn_order *a, const kn_order *b);
void kn_order_free(kn_order *o);

#endif
