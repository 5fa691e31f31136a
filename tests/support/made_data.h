/* made_data.h - a data set of pictures computed from their index, for tests that need none of disk.
 */
#ifndef KN_TEST_MADE_DATA_H
#define KN_TEST_MADE_DATA_H

#include <kiln/data.h>

/* count pictures of side x side, labels index % classes; the pixels follow from index and label.
 * Free with kn_dataset_free. */
kn_dataset *made_data(int count, int side, int classes);

#endif
