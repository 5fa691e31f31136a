/* train_setup.c - what every command that trains begins with: data, model, learner. */
#include "resume.h"
#include "train.h"

#include <stdlib.h>

/* What "auto" and "the processors" became: args.json says what was used. */
static kn_status settle_args(train *t) {
    args *a = &t->s->a;
    kn_device *device = kn_device_default(t->s->ctx);
    if (device == NULL)
        return kn_ctx_status(t->s->ctx);
    a->device = kn_device_name(device);
    a->workers = kn_loader_workers(t->loaders.train);
    a->threads = kn_ctx_threads(t->s->ctx);
    if (a->epochs == 0)
        a->epochs = recipe_epochs(a->recipe, t->split.train_count);
    int64_t batches = kn_loader_len(t->loaders.train) * a->epochs;
    if (a->accumulate > batches)
        return kn_fail(t->s->ctx, KN_ERR_ARG, "--accumulate %d: the training has only %lld batch%s",
                       a->accumulate, (long long)batches, batches == 1 ? "" : "es");
    if (a->warmup > 0 && a->warmup >= a->epochs)
        return kn_fail(t->s->ctx, KN_ERR_ARG, "--warmup %g: expected less than the %d epochs",
                       a->warmup, a->epochs);
    return KN_OK;
}

int train_open(train *t) {
    char folder[PATH_MAX];
    int code = data_folder(t->s, t->s->a.word[0], folder);
    if (code != EXIT_DONE)
        return code;
    args *a = &t->s->a;
    a->data_path = realpath(folder, t->folder);
    if (a->weights != NULL && a->weights_path == NULL)
        a->weights_path = realpath(a->weights, t->weights_file);
    if (train_open_data(t, folder) != KN_OK || train_open_model(t) != KN_OK ||
        settle_args(t) != KN_OK)
        return session_fail(t->s);
    train_tell_data(t);
    train_tell_weights(t);
    return EXIT_DONE;
}

static kn_learner *make_learner(train *t, unsigned commands) {
    args *a = &t->s->a;
    kn_dtype dtype = session_dtype(t->s);
    kn_learner_loss loss = {.smoothing = a->smoothing};
    float *weights = NULL;
    if (kn_ctx_status(t->s->ctx) != KN_OK || train_class_weights(t, &weights) != KN_OK)
        return NULL;
    loss.class_weights = weights;
    loss.class_count = weights != NULL ? t->split.vocab.count : 0;
    kn_learner *l = kn_learner_new(t->s->ctx, (kn_learner_opts){.model = t->model,
                                                                .loaders = t->loaders,
                                                                .opt_fn = train_optimizer,
                                                                .opt_user = a,
                                                                .lr = a->lr,
                                                                .loss = loss,
                                                                .dtype = dtype});
    free(weights);
    if (l == NULL || train_add_callbacks(t, l, commands) == KN_OK)
        return l;
    kn_learner_free(l);
    return NULL;
}

kn_status train_open_learner(train *t) {
    t->learner = make_learner(t, t->s->a.command->id);
    return kn_ctx_status(t->s->ctx);
}

kn_learner *train_trial_learner(train *t) {
    return make_learner(t, CMD_LR_FIND);
}

void train_close(train *t) {
    kn_learner_free(t->learner);
    kn_predictions_free(t->s->ctx, &t->best);
    kn_lr_found_free(t->s->ctx, &t->found);
    kn_text_free(&t->pictures);
    kn_module_free(t->model);
    train_close_data(t);
    if (t->s->resume == NULL) /* whose folder that is else */
        run_folder_leave(&t->run);
    kn_text_free(&t->words);
    kn_text_free(&t->device_words);
}
