/* picture_store.h - decoded pictures, each of its own size, kept in memory up to a limit. For data
 * that augmentation draws from: the sample changes with the epoch, the picture does not, and
 * decoding it is most of the work. Any number of threads may ask and put at the same time. */
#ifndef KN_DATA_PICTURE_STORE_H
#define KN_DATA_PICTURE_STORE_H

#include <kiln/image.h>

typedef struct kn_picture_store kn_picture_store;

/* Room for so many pictures, which together may take limit bytes of memory. NULL, with
 * KN_ERR_MEMORY in the context, when there is none for the list of them. */
kn_picture_store *kn_picture_store_new(kn_ctx *ctx, int64_t pictures, size_t limit);
void kn_picture_store_free(kn_picture_store *s); /* NULL is allowed */

/* False when it is not kept. The pixels stay until the store is freed; of what a file says of its
 * picture (form, bits, orientation) nothing is kept. */
bool kn_picture_store_get(kn_picture_store *s, int64_t index, kn_image *picture, int32_t *label);

/* Keeps a copy, unless there is one, or the limit or the memory is reached: that is no failure. */
void kn_picture_store_put(kn_picture_store *s, int64_t index, const kn_image *picture,
                          int32_t label);

/* What is kept so far: how many, their bytes, and whether for any there was no room. */
typedef struct kn_picture_count {
    int64_t pictures;
    size_t bytes;
    bool crowded;
} kn_picture_count;
kn_picture_count kn_picture_store_count(kn_picture_store *s);

#endif
