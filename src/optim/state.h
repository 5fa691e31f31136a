/* state.h - what an optimizer remembers of each parameter, and the walk over parameters that are
 * treated alike. */
#ifndef KN_OPTIM_STATE_H
#define KN_OPTIM_STATE_H

#include "nn/module.h"

#include <kiln/optim.h>

enum { KN_OPT_BUFFERS = 2 };

/* Buffers that lie beside the packed values, at the same offsets, and how many steps each parameter
 * has taken. Zeroed: nothing is remembered yet. */
typedef struct kn_opt_state {
    kn_tensor buffer[KN_OPT_BUFFERS]; /* each [total]; zeros before a parameter's first step */
    int buffers;
    int64_t *steps;      /* [count] */
    kn_segment *segment; /* [count], of the pack that this fits */
    int count;
    uint64_t serial;
} kn_opt_state;

/* Makes the state fit the pack, with that many buffers. A parameter keeps what is remembered of it
 * wherever the packing moved it. More buffers than before: all parameters start anew. Allocates
 * nothing when it fits already. */
kn_status kn_opt_state_fit(kn_opt_state *s, kn_ctx *ctx, const kn_pack *pack, int buffers);

/* The same with one buffer that begins at each parameter's value, and, where one was added later,
 * there: steps is then 1. */
kn_status kn_opt_state_follow(kn_opt_state *s, kn_ctx *ctx, const kn_pack *pack);
void kn_opt_state_free(kn_opt_state *s, kn_ctx *ctx);

/* The place of an offset in a buffer. */
float *kn_opt_state_at(kn_opt_state *s, int buffer, int64_t offset);

/* Shows the steps and the buffers, under the names given. */
kn_status kn_opt_state_visit(kn_opt_state *s, const char *steps, const char *const *names,
                             const kn_state_visitor *visitor);

/* Neighbouring parameters that one call of a kernel can step: same group, same decay, same number
 * of steps taken, same kind. */
typedef struct kn_opt_run {
    int first; /* its segments end before *at */
    int64_t offset, length;
    const kn_group *group;
    double lr, wd;
    int64_t step; /* that this is for these parameters, from 1 */
    int kind;
} kn_opt_run;

/* The next run from segment *at on, of those that have a gradient and are not frozen; its
 * parameters' steps are counted. kind may be NULL: all are alike. False at the end. */
typedef int (*kn_opt_kind)(const kn_pack *pack, int i);
bool kn_opt_next(const kn_optimizer *opt, const kn_pack *pack, kn_opt_state *s, kn_opt_kind kind,
                 int *at, kn_opt_run *run);

#endif
