/* snapshot.h - the values of a module, aside in host memory, to be put back. */
#ifndef KN_LEARNER_SNAPSHOT_H
#define KN_LEARNER_SNAPSHOT_H

#include "core/ctx.h"

#include <kiln/module.h>

typedef struct kn_snapshot {
    kn_ctx *ctx; /* NULL: nothing was taken */
    kn_module *model;
    kn_named_list list; /* parameters and buffers */
    unsigned char *data;
    bool training;
} kn_snapshot;

/* Copies every parameter and buffer, and the mode. *s is zeroed on failure. */
kn_status kn_snapshot_take(kn_snapshot *s, kn_module *model);

/* Writes all of it back, wherever the parameters live by now; their gradients are zeros then. May
 * be called more than once. */
kn_status kn_snapshot_restore(const kn_snapshot *s);
void kn_snapshot_free(kn_snapshot *s);

#endif
