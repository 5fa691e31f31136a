/* onednn_team.h - how many threads oneDNN gets.
 *
 * The library plans for as many threads as OpenMP says there may be, and trusts that it gets them:
 * with fewer (OMP_THREAD_LIMIT, OMP_DYNAMIC, OMP_MAX_ACTIVE_LEVELS, a parallel region of the
 * caller's) it computes nonsense or waits for ever. For a call's length it is told how many there
 * will be. */

#ifndef KN_BACKEND_ONEDNN_TEAM_H
#define KN_BACKEND_ONEDNN_TEAM_H

#include "backend/backend.h"

#include <omp.h>

typedef struct team {
    int size;             /* for the call */
    int threads, dynamic; /* the caller's settings, for afterwards */
} team;

static inline team enter(const kn_device *d) {
    team t = {.threads = omp_get_max_threads(), .dynamic = omp_get_dynamic()};
    bool alone = omp_in_parallel() || omp_get_max_active_levels() < 1;
    int limit = alone ? 1 : omp_get_thread_limit();
    t.size = d->threads < limit ? d->threads : limit;
    if (t.dynamic)
        omp_set_dynamic(0);
    if (t.threads != t.size)
        omp_set_num_threads(t.size);
    return t;
}

static inline void leave(team t) {
    if (t.threads != t.size)
        omp_set_num_threads(t.threads);
    if (t.dynamic)
        omp_set_dynamic(1);
}

#endif
