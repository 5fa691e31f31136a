/* checkpoint.h - what a checkpoint is made of, for those who write it and those who read it back:
 * one walk over everything, so that both meet the same parts under the same names. */
#ifndef KN_LEARNER_CHECKPOINT_H
#define KN_LEARNER_CHECKPOINT_H

#include "core/ctx.h"

#include <kiln/checkpoint.h>

#define KN_CHECKPOINT_KIND   "kiln.kind"   /* metadata: "checkpoint" */
#define KN_CHECKPOINT_SHA256 "kiln.sha256" /* and the sum over all the rest */
#define KN_CHECKPOINT_PLACE  "place"       /* the tensor with the numbers of kn_checkpoint_place */

enum { KN_CHECKPOINT_VERSION = 1, KN_CHECKPOINT_NUMBERS = 9 };

/* The names of a folder's files. A new one is first written beside the last, whole, as next. */
extern const char kn_checkpoint_last[], kn_checkpoint_next[], kn_checkpoint_previous[];

/* What the walk shows: tensors on their device, and values in host memory, each to be read or
 * overwritten. Reals are u8 [count,8], the bytes of doubles; integers i64 [count]. */
typedef struct kn_checkpoint_sink {
    kn_status (*tensor)(void *user, const char *name, kn_tensor *t);
    kn_status (*values)(void *user, const char *name, kn_dtype dtype, const kn_shape *shape,
                        void *value);
    void *user;
} kn_checkpoint_sink;

/* Between two batches of training. Ends at the first failure. */
kn_status kn_checkpoint_walk(kn_learner *l, const kn_checkpoint_sink *sink);

/* Where l will stand once the batch under way is done, `trained` of its epoch. */
kn_checkpoint_place kn_checkpoint_place_of(const kn_learner *l, int64_t trained);
void kn_checkpoint_place_pack(const kn_checkpoint_place *p, int64_t out[KN_CHECKPOINT_NUMBERS]);
bool kn_checkpoint_place_unpack(const int64_t in[KN_CHECKPOINT_NUMBERS], kn_checkpoint_place *p);

/* The sum over the tensors and all metadata but the sum itself. */
kn_status kn_checkpoint_sum(const kn_st_entry *tensor, int tensors, const kn_st_meta *meta,
                            int metas, char hex[65], kn_error *error);

/* checkpoint_write.c: keeps its memory from one to the next; to begin with all but ctx is 0. */
typedef struct kn_checkpoint_writer {
    kn_ctx *ctx;
    kn_st_entry *entry;
    size_t entries, entry_room;
    unsigned char *data;
    size_t bytes, data_room;
    bool counting; /* the first walk, that only adds up */
} kn_checkpoint_writer;

kn_status kn_checkpoint_write(kn_checkpoint_writer *w, kn_learner *l, int64_t trained,
                              const char *folder, const kn_st_meta *meta, int metas);
void kn_checkpoint_writer_free(kn_checkpoint_writer *w);

/* checkpoint_read.c: whether c is of this fit, and putting all of it back. */
kn_status kn_checkpoint_fits(kn_learner *l, const kn_checkpoint *c);
kn_status kn_checkpoint_restore(kn_learner *l, const kn_checkpoint *c);

#endif
