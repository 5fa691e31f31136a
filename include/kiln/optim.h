/* optim.h - optimizers and schedules.
 *
 * An optimizer steps over the module's packed buffers, one pass for all parameters. A parameter
 * that got no gradient since the last zeroing, or is frozen, is left alone. */
#ifndef KILN_OPTIM_H
#define KILN_OPTIM_H

#include <kiln/module.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KN_MAX_GROUPS = 16 };

/* Hyper-parameters of one parameter group (kn_param_set_group chooses a parameter's). */
typedef struct kn_group {
    double lr_mult;  /* the group's rate is the optimizer's lr times this */
    double wd;       /* weight decay: wd * weight is added to the gradient */
    double momentum; /* 0: none */
} kn_group;

typedef struct kn_optimizer kn_optimizer;

typedef struct kn_optimizer_class {
    const char *name;
    /* Called without a tape, so it may compute with ops: examples/learner.c. */
    kn_status (*step)(kn_optimizer *opt, const kn_pack *pack);
    void (*free)(kn_optimizer *opt); /* what the object owns beside the base; may be NULL */
} kn_optimizer_class;

struct kn_optimizer {
    const kn_optimizer_class *cls;
    kn_ctx *ctx;
    kn_module *model; /* borrowed */
    double lr;        /* read at each step; schedules write it */
    kn_group group[KN_MAX_GROUPS];
    int groups;
    int64_t steps; /* taken so far */
    size_t size;   /* of the object */
};

typedef struct kn_sgd_opts {
    double wd, momentum;
} kn_sgd_opts;

/* Plain SGD as in the chapter, w -= lr * (g + wd * w); with momentum PyTorch's form: v = momentum *
 * v
 * + (g + wd * w), w -= lr * v, with v = g + wd * w at a parameter's first step. Owned by the
 * caller. NULL on error. */
KN_API kn_optimizer *kn_sgd(kn_module *model, double lr, kn_sgd_opts opts);

KN_API void kn_optimizer_free(kn_optimizer *opt);
KN_API kn_status kn_optimizer_step(kn_optimizer *opt);
KN_API void kn_optimizer_zero_grad(kn_optimizer *opt);

/* For a new class of optimizer: a zeroed object of size bytes with the base filled in. */
KN_API void *kn_optimizer_new(kn_module *model, const kn_optimizer_class *cls, size_t size,
                              double lr);

/* ---- schedules: the rate at a point of the run, pct = step / steps in [0, 1) ---- */

typedef struct kn_one_cycle_opts {
    double pct_start; /* share of the run that warms up; 0: 0.25 */
    double div;       /* the rate starts at lr / div; 0: 10 */
} kn_one_cycle_opts;

/* The chapter's: linear from lr/div up to lr at pct_start, then linear down to 0. */
KN_API double kn_one_cycle_lr(double lr, double pct, kn_one_cycle_opts opts);

#ifdef __cplusplus
}
#endif
#endif
