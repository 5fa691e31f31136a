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

/* Hyper-parameters of one parameter group (kn_param_set_group chooses a parameter's). Each step
 * reads them. */
typedef struct kn_group {
    double lr_mult;   /* the group's rate is the optimizer's lr times this */
    double wd;        /* weight decay, as the optimizer applies it */
    double momentum;  /* SGD's and Muon's (0: none), and the Adam family's beta1 */
    double beta2;     /* of the Adam family */
    double eps;       /* of the Adam family */
    bool no_wd_rank1; /* biases and norm layers' parameters, of rank 0 or 1, do not decay */
} kn_group;

typedef struct kn_optimizer kn_optimizer;

/* What a checkpoint does with each part of an optimizer's state: it reads or overwrites it. Tensors
 * are f32 and lie beside the packed values. A name is good during the call. A visit ends at the
 * first failure. */
typedef struct kn_state_visitor {
    kn_status (*tensor)(void *user, const char *name, kn_tensor *t);
    kn_status (*integers)(void *user, const char *name, int64_t *value, int count);
    kn_status (*reals)(void *user, const char *name, double *value, int count);
    void *user;
} kn_state_visitor;

typedef struct kn_optimizer_class {
    const char *name;
    /* Called without a tape, so it may compute with ops: examples/learner.c. */
    kn_status (*step)(kn_optimizer *opt, const kn_pack *pack);
    void (*free)(kn_optimizer *opt); /* what the object owns beside the base; may be NULL */
    /* Shows everything that the next step depends on beside the base and the options it was made
     * with, always in the same order; may be NULL: nothing. */
    kn_status (*state)(kn_optimizer *opt, const kn_pack *pack, const kn_state_visitor *visitor);
} kn_optimizer_class;

struct kn_optimizer {
    const kn_optimizer_class *cls;
    kn_ctx *ctx;
    kn_module *model; /* borrowed */
    double lr;        /* read at each step; schedules write it */
    kn_group group[KN_MAX_GROUPS];
    int groups;    /* in use when it was made, or last spread */
    int64_t steps; /* taken so far */
    size_t size;   /* of the object */
};

/* Of the constructors below: the optimizer is owned by the caller; NULL on error. */

typedef struct kn_sgd_opts {
    double wd, momentum;
    bool nesterov; /* needs momentum */
    bool no_wd_rank1;
} kn_sgd_opts;

/* Plain SGD as in the chapter, w -= lr * (g + wd * w); with momentum PyTorch's form: v = momentum *
 * v + (g + wd * w), w -= lr * v, with v = g + wd * w at a parameter's first step. With Nesterov's
 * w -= lr * (g + wd * w + momentum * v). */
KN_API kn_optimizer *kn_sgd(kn_module *model, double lr, kn_sgd_opts opts);

typedef struct kn_adam_opts {
    double wd;
    double beta1; /* 0: 0.9 */
    double beta2; /* 0: 0.999 */
    double eps;   /* 0: 1e-8 */
    bool l2;      /* decay is added to the gradient, and not taken from the weight as lr * wd * w */
    bool fastai;  /* RAdam's eps where fastai adds it, below */
    bool no_wd_rank1;
} kn_adam_opts;

/* torch.optim.AdamW (Loshchilov and Hutter, 2019), but that wd is 0 unless given. */
KN_API kn_optimizer *kn_adamw(kn_module *model, double lr, kn_adam_opts opts);

/* torch.optim.RAdam with decoupled_weight_decay (Liu et al., 2020). The divisor of a step is
 * (sqrt(v) + eps) / sqrt(1 - beta2^t); fastai's is sqrt(v / (1 - beta2^t)) + eps, and its defaults
 * are beta2 0.99, eps 1e-5. */
KN_API kn_optimizer *kn_radam(kn_module *model, double lr, kn_adam_opts opts);

typedef struct kn_lookahead_opts {
    int k;        /* 0: 6 */
    double alpha; /* 0: 0.5 */
} kn_lookahead_opts;

/* Lookahead (Zhang et al., 2019): after every k steps of the fast optimizer the slow weights go the
 * share alpha of the way to its weights, which then go on from there. Takes ownership of fast, also
 * on failure; its rate and groups are from now on those of what is returned. NULL fast: NULL. */
KN_API kn_optimizer *kn_lookahead(kn_optimizer *fast, kn_lookahead_opts opts);

/* fastai's ranger: Lookahead around its RAdam, with beta1 0.95, beta2 0.99 and eps 1e-6 where opts
 * has 0. opts.fastai is taken as set. */
KN_API kn_optimizer *kn_ranger(kn_module *model, double lr, kn_adam_opts opts);

typedef struct kn_muon_opts {
    double wd;       /* decoupled: w -= lr * wd * w */
    double momentum; /* 0: 0.95 */
    bool no_nesterov;
    double adam_ratio; /* AdamW's rate is lr times this; 0: 0.1 */
    bool no_wd_rank1;
} kn_muon_opts;

/* Muon (Jordan, 2024): weights of rank 2 or more but the last one, a convolution's taken as a
 * matrix [O, I*KH*KW], step by lr * sqrt(max(1, rows / cols)) along their momentum made nearly
 * orthogonal. The last one, biases and norm layers' parameters take AdamW's steps (betas 0.9 and
 * 0.95, eps 1e-10). */
KN_API kn_optimizer *kn_muon(kn_module *model, double lr, kn_muon_opts opts);

KN_API void kn_optimizer_free(kn_optimizer *opt);
KN_API kn_status kn_optimizer_step(kn_optimizer *opt);
KN_API void kn_optimizer_zero_grad(kn_optimizer *opt);

/* Shows a visitor the rate, the number of steps and what the class remembers. A visitor that writes
 * must find the same parameters in the same order as the one that read. */
KN_API kn_status kn_optimizer_state(kn_optimizer *opt, const kn_state_visitor *visitor);

/* Discriminative rates: the last of the groups in use has the optimizer's rate, the first ratio
 * times less, and those between are evenly spread in the logarithm, as in fastai's slice(lr /
 * ratio, lr). Early layers, which fit any picture, move less than late ones: Howard, Ruder,
 * "Universal Language Model Fine-tuning for Text Classification" (2018). Writes every group's
 * lr_mult. */
KN_API void kn_optimizer_spread(kn_optimizer *opt, double ratio);

/* For a new class of optimizer: a zeroed object of size bytes with the base filled in. */
KN_API void *kn_optimizer_new(kn_module *model, const kn_optimizer_class *cls, size_t size,
                              double lr);

/* ---- schedules: the rate at a point of the run, pct = step / steps in [0, 1) ---- */

typedef enum kn_schedule_kind {
    KN_SCHED_CONSTANT,
    KN_SCHED_ONE_CYCLE,     /* the chapter's: linear from lr / div to lr, then linear to 0 */
    KN_SCHED_ONE_CYCLE_COS, /* fastai's: half cosines from lr / div to lr, then to lr / div_final,
                               and the momentum from high to low and back */
    KN_SCHED_COSINE,        /* half a cosine from lr to 0 */
    KN_SCHED_FLAT_COS,      /* fastai's fit_flat_cos: lr, then half a cosine to lr / div_final */
    KN_SCHED_STEP           /* lr times gamma after each of steps - 1 equal parts of the run */
} kn_schedule_kind;

/* A field that is 0 has the default named. */
typedef struct kn_schedule {
    kn_schedule_kind kind;
    double warmup; /* share of the run, in [0, 1), over which the rate first rises linearly from a
                      hundredth to where the schedule starts; the schedule has the rest */
    double pct_start;                   /* share before the turn; one-cycle: 0.25, flat-cos: 0.75 */
    double div;                         /* one-cycle: 10 */
    double div_final;                   /* one-cycle-cos, flat-cos: 1e5 */
    int steps;                          /* step: 3 */
    double gamma;                       /* step: 0.1 */
    double momentum_high, momentum_low; /* one-cycle-cos: 0.95, 0.85 */
    bool no_momentum;                   /* one-cycle-cos leaves the momentum alone */
} kn_schedule;

/* The rate where the highest, or for constant the only one, is lr. */
KN_API double kn_schedule_lr(const kn_schedule *s, double lr, double pct);

/* Does the schedule move the momentum? Then kn_schedule_momentum says where to. */
KN_API bool kn_schedule_has_momentum(const kn_schedule *s);
KN_API double kn_schedule_momentum(const kn_schedule *s, double pct);

/* Sets the optimizer's rate and, where the schedule moves it, the momentum of every group whose
 * momentum is not 0. */
KN_API void kn_schedule_apply(const kn_schedule *s, kn_optimizer *opt, double lr, double pct);

/* "one-cycle-cos", ..., as --sched has them; NULL past the last kind. */
KN_API const char *kn_schedule_name(kn_schedule_kind kind);

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
