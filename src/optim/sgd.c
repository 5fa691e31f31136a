/* sgd.c - stochastic gradient descent, plain as in the chapter, with momentum (Polyak, 1964; in
 * PyTorch's form: Sutskever et al., 2013, section 2, with the rate outside the velocity), or with
 * Nesterov's. */
#include "optim/state.h"

typedef struct sgd {
    kn_optimizer base;
    kn_opt_state state; /* the velocity, once there is momentum */
    bool nesterov;
} sgd;

static kn_status fit(sgd *s, const kn_pack *pack) {
    int buffers = 0;
    for (int g = 0; g < KN_MAX_GROUPS; g++)
        if (s->base.group[g].momentum != 0)
            buffers = 1;
    return kn_opt_state_fit(&s->state, s->base.ctx, pack, buffers);
}

static kn_status sgd_step(kn_optimizer *opt, const kn_pack *pack) {
    sgd *s = (sgd *)opt;
    kn_device *d = pack->values->device;
    kn_status status = fit(s, pack);
    kn_opt_run run;
    for (int at = 0; status == KN_OK && kn_opt_next(opt, pack, &s->state, NULL, &at, &run);) {
        bool momentum = run.group->momentum != 0;
        kn_sgd_rule rule = {.lr = (float)run.lr,
                            .wd = (float)run.wd,
                            .momentum = (float)run.group->momentum,
                            .first = run.step == 1,
                            .nesterov = s->nesterov};
        status = d->ops->sgd(d, run.length, &rule, kn_f32(pack->grads) + run.offset,
                             momentum ? kn_opt_state_at(&s->state, 0, run.offset) : NULL,
                             kn_f32_out(pack->values) + run.offset);
    }
    return status;
}

static kn_status sgd_visit(kn_optimizer *opt, const kn_pack *pack,
                           const kn_state_visitor *visitor) {
    sgd *s = (sgd *)opt;
    kn_status status = fit(s, pack);
    return status != KN_OK ? status
                           : kn_opt_state_visit(&s->state, "parameter_steps",
                                                (const char *[]){"velocity"}, visitor);
}

static void sgd_free(kn_optimizer *opt) {
    kn_opt_state_free(&((sgd *)opt)->state, opt->ctx);
}

static const kn_optimizer_class sgd_class = {
    .name = "sgd", .step = sgd_step, .free = sgd_free, .state = sgd_visit};

kn_optimizer *kn_sgd(kn_module *model, double lr, kn_sgd_opts opts) {
    if (model != NULL && opts.nesterov && !(opts.momentum > 0)) {
        kn_fail(kn_module_ctx(model), KN_ERR_ARG, "sgd: Nesterov's form needs momentum, it is %g",
                opts.momentum);
        return NULL;
    }
    sgd *s = kn_optimizer_new(model, &sgd_class, sizeof *s, lr);
    if (s == NULL)
        return NULL;
    s->nesterov = opts.nesterov;
    for (int g = 0; g < KN_MAX_GROUPS; g++) {
        s->base.group[g].wd = opts.wd;
        s->base.group[g].momentum = opts.momentum;
        s->base.group[g].no_wd_rank1 = opts.no_wd_rank1;
    }
    return &s->base;
}
