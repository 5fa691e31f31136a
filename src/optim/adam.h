/* adam.h - one step of the Adam family for a run of parameters; Muon takes it for what it leaves.
 */
#ifndef KN_OPTIM_ADAM_H
#define KN_OPTIM_ADAM_H

#include "optim/state.h"

typedef enum kn_adam_kind {
    KN_ADAM_W,
    KN_ADAM_RECTIFIED, /* RAdam as PyTorch computes it: eps is added before v's bias is undone */
    KN_ADAM_RECTIFIED_FASTAI /* as fastai: after it, as in AdamW */
} kn_adam_kind;

/* The state's buffers 0 and 1 are the averages of gradients and of their squares. l2: decay is
 * added to the gradient, not taken from the weight. lr is used in the place of the run's. */
kn_status kn_adam_run(kn_adam_kind kind, bool l2, double lr, const kn_pack *pack,
                      kn_opt_state *state, const kn_opt_run *run);

/* Their names in a checkpoint. */
extern const char *const kn_adam_names[];

#endif
