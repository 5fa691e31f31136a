/* finite_ring.c - see finite_ring.h. */
#include "learner/finite_ring.h"

#include <assert.h>
#include <math.h>

enum { NUMBERS = KN_FINITE_STEPS * KN_FINITE_KINDS };

kn_status kn_finite_ring_begin(kn_finite_ring *r, kn_device *device, kn_finite_place at) {
    assert(r->steps < KN_FINITE_STEPS);
    kn_status status = KN_OK;
    if (r->device != device) {
        kn_storage_drop(r->sums);
        r->sums = kn_storage_get(r->ctx, device, NUMBERS * sizeof(double));
        r->device = r->sums != NULL ? device : NULL;
        r->steps = 0;
    }
    if (r->sums == NULL)
        return kn_ctx_status(r->ctx);
    if (r->steps == 0)
        status = device->ops->zero(device, r->sums->data, NUMBERS * sizeof(double));
    r->at[r->steps++] = at;
    return status;
}

kn_status kn_finite_ring_add(kn_finite_ring *r, kn_finite_what what, int64_t n, const float *x) {
    double *sums = r->sums->data;
    int place = (r->steps - 1) * KN_FINITE_KINDS + (int)what;
    return r->device->ops->square_sum(r->device, n, x, sums + place);
}

bool kn_finite_ring_full(const kn_finite_ring *r) {
    return r->steps == KN_FINITE_STEPS;
}

kn_status kn_finite_ring_read(kn_finite_ring *r, bool *found, kn_finite_what *bad,
                              kn_finite_place *at) {
    double sum[NUMBERS] = {0};
    int count = r->steps * KN_FINITE_KINDS;
    *found = false;
    if (r->steps == 0)
        return KN_OK;
    kn_status status =
        r->device->ops->copy_out(r->device, sum, r->sums->data, (size_t)count * sizeof *sum);
    for (int i = 0; i < count && !*found; i++)
        if (!isfinite(sum[i])) {
            *found = true;
            *bad = (kn_finite_what)(i % KN_FINITE_KINDS);
            *at = r->at[i / KN_FINITE_KINDS];
        }
    r->steps = 0;
    return status;
}

void kn_finite_ring_free(kn_finite_ring *r) {
    kn_storage_drop(r->sums);
    r->sums = NULL;
}
