/* resident.h - the samples of a data set that are already on the device, where its memory is its
 * own: from the second epoch on a batch is put together there, and only its indices travel.
 *
 * The bytes are those of the loader's batches. So it is for data sets whose samples stay the same
 * from epoch to epoch and that somebody keeps anyway (kn_cached_dataset). What augmentation draws
 * is drawn from whole pictures, not from samples, and made by the loader's threads. */
#ifndef KN_DATA_RESIDENT_H
#define KN_DATA_RESIDENT_H

#include "core/ctx.h"

#include <kiln/data.h>

typedef struct kn_resident kn_resident;

/* Is it worth having, for a loader whose epochs follow one another: a data set that is kept, a
 * device with memory of its own, of which it would take at most a quarter of what is free. */
bool kn_resident_wanted(const kn_loader *loader, kn_device *device);

/* Room for the samples of a loader's data set on a device. NULL with the error set. */
kn_resident *kn_resident_new(kn_ctx *ctx, const kn_loader *loader, kn_device *device);
void kn_resident_free(kn_resident *r); /* NULL is allowed */

/* A batch's pixels, u8 [n,height,width,3], as a step tensor on the device; they are kept for its
 * next time. NULL with the error set. */
kn_tensor *kn_resident_batch(kn_resident *r, const kn_batch *batch);

#endif
