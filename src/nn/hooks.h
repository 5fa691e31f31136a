/* hooks.h - running a module's hooks, forward and backward. */
#ifndef KN_NN_HOOKS_H
#define KN_NN_HOOKS_H

#include "nn/module.h"

/* One call of a module, under way. */
typedef struct kn_watch {
    bool on; /* it had backward hooks when the call began */
    kn_tensor
        *dy; /* receives d(loss)/d(output) in the backward pass; NULL: the input is not watched */
} kn_watch;

/* The input to go on with: x, or what stands for it so that its gradient through this module can be
 * seen. NULL with the error set. */
kn_tensor *kn_watch_input(kn_module *m, kn_tensor *x, kn_watch *watch);

/* The forward hooks; those added while they run wait for the next call. NULL y: NULL. */
kn_tensor *kn_run_hooks(kn_module *m, kn_tensor *x, kn_tensor *y);

/* The output to go on with. */
kn_tensor *kn_watch_output(kn_module *m, kn_tensor *y, const kn_watch *watch);

#endif
