/* adam.c - the Adam family: AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization",
 * 2019) and RAdam (Liu et al., "On the variance of the adaptive learning rate and beyond", 2020).
 */
#include "optim/adam.h"

#include <math.h>

const char *const kn_adam_names[] = {"average", "square_average"};

/* How step t scales the average of gradients m and the root of that of squares v. Both averages
 * begin at 0; bias1 and bias2 undo that.
 *
 * RAdam: in the first steps v averages too few squares to be divided by, so nothing is; later steps
 * are shortened by a factor that goes to 1. */
static void scale(kn_adam_kind kind, double lr, const kn_opt_run *run, kn_adam_rule *rule) {
    double beta1 = run->group->momentum, beta2 = run->group->beta2, t = (double)run->step;
    double bias1 = 1 - pow(beta1, t), bias2 = 1 - pow(beta2, t), rectify = 1;
    if (kind != KN_ADAM_W) {
        double longest = 2 / (1 - beta2) - 1;
        double length = longest - 2 * t * pow(beta2, t) / bias2;
        rule->plain = length <= 5;
        if (!rule->plain)
            rectify = sqrt((length - 4) * (length - 2) * longest /
                           ((longest - 4) * (longest - 2) * length));
    }
    rule->root = (float)(1 / sqrt(bias2));
    rule->step = (float)(lr * rectify / bias1);
    rule->eps = (float)(run->group->eps / (kind == KN_ADAM_RECTIFIED ? sqrt(bias2) : 1));
}

kn_status kn_adam_run(kn_adam_kind kind, bool l2, double lr, const kn_pack *pack,
                      kn_opt_state *state, const kn_opt_run *run) {
    kn_device *d = pack->values->device;
    kn_adam_rule rule = {.beta1 = (float)run->group->momentum,
                         .beta2 = (float)run->group->beta2,
                         .l2 = l2 ? (float)run->wd : 0,
                         .keep = l2 ? 1 : (float)(1 - lr * run->wd)};
    scale(kind, lr, run, &rule);
    return d->ops->adam(d, run->length, &rule, kn_f32(pack->grads) + run->offset,
                        kn_opt_state_at(state, 0, run->offset),
                        kn_opt_state_at(state, 1, run->offset),
                        kn_f32_out(pack->values) + run->offset);
}

/* ---- the optimizers ---- */

typedef struct adam {
    kn_optimizer base;
    kn_opt_state state;
    kn_adam_kind kind;
    bool l2;
} adam;

static kn_status adam_step(kn_optimizer *opt, const kn_pack *pack) {
    adam *a = (adam *)opt;
    kn_status status = kn_opt_state_fit(&a->state, opt->ctx, pack, 2);
    kn_opt_run run;
    for (int at = 0; status == KN_OK && kn_opt_next(opt, pack, &a->state, NULL, &at, &run);)
        status = kn_adam_run(a->kind, a->l2, run.lr, pack, &a->state, &run);
    return status;
}

static kn_status adam_visit(kn_optimizer *opt, const kn_pack *pack,
                            const kn_state_visitor *visitor) {
    adam *a = (adam *)opt;
    kn_status status = kn_opt_state_fit(&a->state, opt->ctx, pack, 2);
    return status != KN_OK
               ? status
               : kn_opt_state_visit(&a->state, "parameter_steps", kn_adam_names, visitor);
}

static void adam_free(kn_optimizer *opt) {
    kn_opt_state_free(&((adam *)opt)->state, opt->ctx);
}

static const kn_optimizer_class adamw_class = {
    .name = "adamw", .step = adam_step, .free = adam_free, .state = adam_visit};
static const kn_optimizer_class radam_class = {
    .name = "radam", .step = adam_step, .free = adam_free, .state = adam_visit};

static kn_optimizer *new_adam(kn_module *model, const kn_optimizer_class *cls, kn_adam_kind kind,
                              double lr, kn_adam_opts opts) {
    adam *a = kn_optimizer_new(model, cls, sizeof *a, lr);
    if (a == NULL)
        return NULL;
    a->kind = kind;
    a->l2 = opts.l2;
    for (int g = 0; g < KN_MAX_GROUPS; g++) {
        kn_group *group = &a->base.group[g];
        group->wd = opts.wd;
        group->momentum = opts.beta1 > 0 ? opts.beta1 : 0.9;
        group->beta2 = opts.beta2 > 0 ? opts.beta2 : 0.999;
        group->eps = opts.eps > 0 ? opts.eps : 1e-8;
        group->no_wd_rank1 = opts.no_wd_rank1;
    }
    return &a->base;
}

kn_optimizer *kn_adamw(kn_module *model, double lr, kn_adam_opts opts) {
    return new_adam(model, &adamw_class, KN_ADAM_W, lr, opts);
}

kn_optimizer *kn_radam(kn_module *model, double lr, kn_adam_opts opts) {
    return new_adam(model, &radam_class, opts.fastai ? KN_ADAM_RECTIFIED_FASTAI : KN_ADAM_RECTIFIED,
                    lr, opts);
}
