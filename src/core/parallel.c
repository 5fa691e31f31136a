/* parallel.c - see parallel.h. Devices share their kernels' work themselves; this is for what the
 * host computes, such as initial weights. */
#include "core/parallel.h"

void kn_parallel(int threads, int64_t n, int64_t grain,
                 void (*fn)(void *args, int64_t begin, int64_t end), void *args) {
    (void)threads; /* built without threads: the pragma means nothing */
    int64_t ranges = (n + grain - 1) / grain;
#pragma omp parallel for num_threads(threads) schedule(static) if (ranges > 1)
    for (int64_t r = 0; r < ranges; r++)
        fn(args, r * grain, (r + 1) * grain < n ? (r + 1) * grain : n);
}
