/* learner.c - the chapter's section on the Learner: an optimizer of our own, and one epoch of
 * simple_cnn with it.
 *
 * usage: learner [IMAGENETTE]   (else KILN_TEST_DATA, else Kiln's own shapes, drawn here) */
#include <kiln/kiln.h>

#include <stdio.h>
#include <stdlib.h>

/* ---- SGD with weight decay, parameter by parameter: w -= lr * (gradient + wd * w) ---- */

typedef struct sgd {
    kn_optimizer base;
    float wd;
} sgd;

/* A step computes with ops, off the tape. The result replaces the parameter. */
static kn_status sgd_step(kn_optimizer *opt, const kn_pack *pack) {
    kn_ctx *ctx = opt->ctx;
    kn_tensor *lr = kn_full(ctx, KN_SCALAR, (float)opt->lr);
    kn_tensor *wd = kn_full(ctx, KN_SCALAR, ((sgd *)opt)->wd);
    for (int i = 0; i < pack->count; i++) {
        kn_param *p = pack->segment[i].param;
        if (kn_param_frozen(p) || !kn_param_has_grad(p))
            continue;
        kn_tensor *w = kn_param_value(p);
        kn_tensor *slope = kn_add(ctx, kn_param_grad(p), kn_mul(ctx, wd, w));
        kn_tensor_copy(ctx, w, kn_sub(ctx, w, kn_mul(ctx, lr, slope)));
    }
    return kn_ctx_status(ctx);
}

static const kn_optimizer_class sgd_class = {.name = "our SGD", .step = sgd_step};

/* The learner calls this at the start of a fit; user is its opt_user. */
static kn_optimizer *sgd_new(kn_module *model, double lr, void *user) {
    sgd *s = kn_optimizer_new(model, &sgd_class, sizeof *s, lr);
    if (s == NULL)
        return NULL;
    s->wd = *(const float *)user;
    return &s->base;
}

/* ---- training ---- */

static void write_text(void *user, const char *text, size_t length) {
    fwrite(text, 1, length, user);
}

static void train(kn_ctx *ctx, kn_module *model, kn_loaders loaders) {
    float wd = 1e-5f;
    kn_normalize norm = {0}; /* setup measures it from the first batch */
    kn_learner *learner = kn_learner_new(ctx, (kn_learner_opts){.model = model,
                                                                .loaders = loaders,
                                                                .loss_fn = kn_cross_entropy,
                                                                .opt_fn = sgd_new,
                                                                .opt_user = &wd,
                                                                .lr = 0.1});
    kn_learner_add(learner, kn_setup_cb(ctx, &norm));
    kn_learner_add(learner, kn_track_results_cb(ctx));
    kn_learner_add(learner,
                   kn_progress_cb(ctx, (kn_progress_opts){.write = write_text, .user = stderr}));
    if (kn_learner_fit(learner, 1) == KN_OK) {
        kn_results t = kn_track_results(learner, true), v = kn_track_results(learner, false);
        printf("%s, rate %g: %lld steps\n", learner->opt->cls->name, learner->opt->lr,
               (long long)learner->opt->steps);
        printf("train: loss %.3f, accuracy %.3f of %lld\n", t.loss, t.acc, (long long)t.samples);
        printf("valid: loss %.3f, accuracy %.3f of %lld\n", v.loss, v.acc, (long long)v.samples);
    }
    kn_learner_free(learner);
}

int main(int argc, char **argv) {
    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 42}, &error) != KN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const char *folder = argc > 1 ? argv[1] : getenv("KILN_TEST_DATA");
    if (folder == NULL) {
        folder = "kiln-shapes";
        kn_shapes_write(ctx, folder, 42);
    }
    kn_split split = {0};
    if (kn_split_folder(ctx, folder, (kn_split_opts){0}, &split) == KN_OK) {
        kn_dataset *train_set =
            kn_image_dataset(ctx, split.train, split.train_count, 64, (kn_image_opts){0});
        kn_dataset *valid_set =
            kn_image_dataset(ctx, split.valid, split.valid_count, 64, (kn_image_opts){0});
        kn_loaders loaders = {kn_loader_new(ctx, train_set, 128, (kn_loader_opts){.shuffle = true}),
                              kn_loader_new(ctx, valid_set, 256, (kn_loader_opts){0})};
        kn_module *model = kn_simple_cnn(ctx, split.vocab.count);
        train(ctx, model, loaders);
        kn_module_free(model);
        kn_loader_free(loaders.valid);
        kn_loader_free(loaders.train);
        kn_dataset_free(valid_set);
        kn_dataset_free(train_set);
    }
    kn_split_free(ctx, &split);

    error = kn_error_take(ctx);
    if (error.status)
        fprintf(stderr, "%s\n", error.message);
    kn_ctx_free(ctx);
    return error.status ? 1 : 0;
}
