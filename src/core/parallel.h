/* parallel.h - a loop shared among threads. */
#ifndef KN_CORE_PARALLEL_H
#define KN_CORE_PARALLEL_H

#include <stdint.h>

/* Calls fn over [0, n) in ranges of at most grain, by so many threads. Ranges begin at multiples of
 * grain, so what fn computes can depend on them and not on the number of threads. */
void kn_parallel(int threads, int64_t n, int64_t grain,
                 void (*fn)(void *args, int64_t begin, int64_t end), void *args);

#endif
