/* cached_dataset.h - what others of this room ask of kn_cached_dataset. */
#ifndef KN_DATA_CACHED_DATASET_H
#define KN_DATA_CACHED_DATASET_H

#include <kiln/data.h>

/* It is a cached data set that keeps its samples, in memory or in a file. */
bool kn_dataset_is_kept(const kn_dataset *ds);

#endif
