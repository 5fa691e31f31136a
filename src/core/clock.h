/* clock.h - seconds on the clock that nobody sets. */
#ifndef KN_CORE_CLOCK_H
#define KN_CORE_CLOCK_H

#include <time.h>

static inline double kn_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
