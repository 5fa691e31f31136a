/* conv_trial.cuh - is a way right? It is tried on operands made for that, and its result held
 * against the plain kernels'. A caller's own operands would not do: in a network's first steps many
 * are zeros, of which a wrong engine makes the right result. */
#ifndef KN_BACKEND_CUDA_CONV_TRIAL_CUH
#define KN_BACKEND_CUDA_CONV_TRIAL_CUH

#include "backend/cuda/conv_way.cuh"

struct kn_trial {
    kn_operands operands; /* random, without relu; out is overwritten by each try */
    void *want;           /* what the plain kernels make of them */
    void *memory;
};

/* Free it with kn_trial_end. The error set: no memory on the device. */
kn_status kn_trial_begin(kn_device *d, const kn_conv_form *f, kn_trial *t);
void kn_trial_end(kn_device *d, kn_trial *t);

/* The largest difference between a way's result and the plain one, in parts of the latter's largest
 * number; NaN when the way does not run. */
float kn_trial_off(kn_device *d, const kn_way *w, const kn_trial *t);

/* How large it may be. */
float kn_trial_allowed(const kn_conv_form *f);

/* The same for a result that o->out holds already. */
float kn_way_off(kn_device *d, const kn_way *w, const kn_operands *o);

#endif
