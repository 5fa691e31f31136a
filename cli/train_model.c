/* train_model.c - the model that is trained: new, or from given weights; and what its file will say
 * beside them. */
#include "model.h"
#include "resume.h"
#include "train.h"

/* A network sees pictures as those it learned from: what it learned before counts, unless
 * --mean and --std say otherwise. */
static void take_norm(args *a, const kn_weights_report *weights) {
    for (int c = 0; c < 3; c++) {
        a->mean[c] = weights->has_norm ? (double)weights->norm.mean[c] : imagenet_mean[c];
        a->std[c] = weights->has_norm ? (double)weights->norm.std[c] : imagenet_std[c];
    }
}

/* A training that goes on has its numbers in the checkpoint, and mean and deviation among its
 * arguments: the file may be gone. */
static kn_status take_weights(train *t) {
    args *a = &t->s->a;
    kn_weights_opts opts = {.replace_head = true, .classes = &t->split.vocab};
    kn_status status = KN_OK;
    if (!resume_has_checkpoint(t->s))
        status = kn_weights_load_with(t->model, a->weights, opts, &t->weights);
    if (status == KN_OK && a->std[0] == 0)
        take_norm(a, &t->weights);
    if (status == KN_OK && a->fine_tune > 0)
        status = kn_model_split(t->model, a->model);
    return status;
}

/* Where Kiln chose the pictures to validate on, eval and explain are to find them again. */
static kn_status take_held_out(train *t) {
    if (t->split.by_folder)
        return KN_OK;
    kn_held_out *h = &t->info.held_out;
    h->valid_pct = t->s->a.valid_pct;
    h->seed = t->s->a.seed;
    return kn_files_sha256(t->s->ctx, &t->split.files, h->files_sha256);
}

kn_status train_open_model(train *t) {
    const args *a = &t->s->a;
    t->model = kn_model_new(t->s->ctx, a->model, t->split.vocab.count);
    if (t->model == NULL)
        return kn_ctx_status(t->s->ctx);
    kn_status status = a->weights != NULL ? take_weights(t) : KN_OK;
    for (int c = 0; c < 3 && a->std[0] > 0; c++) {
        t->norm.mean[c] = (float)a->mean[c];
        t->norm.std[c] = (float)a->std[c];
    }
    t->info = (kn_model_info){.arch = a->model,
                              .vocab = &t->split.vocab,
                              .size = a->img_size,
                              .resize = train_resize(t),
                              .norm = &t->norm,
                              .batch_size = 2 * a->batch_size};
    return status == KN_OK ? take_held_out(t) : status;
}
