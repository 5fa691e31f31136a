/* train_optimizer.c - the optimizer that --opt names. A row an optimizer. */
#include "train.h"

#include <string.h>

static kn_optimizer *make_sgd(kn_module *model, double lr, const args *a) {
    return kn_sgd(model, lr,
                  (kn_sgd_opts){.wd = a->wd,
                                .momentum = a->momentum,
                                .nesterov = a->nesterov,
                                .no_wd_rank1 = a->no_bias_wd});
}

static kn_adam_opts adam_opts(const args *a) {
    return (kn_adam_opts){.wd = a->wd, .beta1 = a->momentum, .no_wd_rank1 = a->no_bias_wd};
}

static kn_optimizer *make_adamw(kn_module *model, double lr, const args *a) {
    return kn_adamw(model, lr, adam_opts(a));
}

static kn_optimizer *make_radam(kn_module *model, double lr, const args *a) {
    return kn_radam(model, lr, adam_opts(a));
}

static kn_optimizer *make_ranger(kn_module *model, double lr, const args *a) {
    return kn_ranger(model, lr, adam_opts(a));
}

static kn_optimizer *make_muon(kn_module *model, double lr, const args *a) {
    return kn_muon(
        model, lr,
        (kn_muon_opts){.wd = a->wd, .momentum = a->momentum, .no_wd_rank1 = a->no_bias_wd});
}

static const struct {
    const char *name; /* as in the table of options */
    kn_optimizer *(*make)(kn_module *model, double lr, const args *a);
} optimizers[] = {
    {"sgd", make_sgd},       {"adamw", make_adamw}, {"radam", make_radam},
    {"ranger", make_ranger}, {"muon", make_muon},
};

kn_optimizer *train_optimizer(kn_module *model, double lr, void *user) {
    const args *a = user;
    for (size_t i = 0; i < KN_COUNT(optimizers); i++)
        if (strcmp(optimizers[i].name, a->opt) == 0)
            return optimizers[i].make(model, lr, a);
    kn_fail(kn_module_ctx(model), KN_ERR_ARG, "--opt %s has no row in train_optimizer.c", a->opt);
    return NULL;
}
