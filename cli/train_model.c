/* train_model.c - the model that is trained: new, or from given weights; and what its file will say
 * beside them. */
#include "train.h"

kn_status train_open_model(train *t) {
    const args *a = &t->s->a;
    t->model = kn_model_new(t->s->ctx, a->model, t->split.vocab.count);
    if (t->model == NULL)
        return kn_ctx_status(t->s->ctx);
    for (int c = 0; c < 3 && a->std[0] > 0; c++) {
        t->norm.mean[c] = (float)a->mean[c];
        t->norm.std[c] = (float)a->std[c];
    }
    t->info = (kn_model_info){.arch = a->model,
                              .vocab = &t->split.vocab,
                              .size = a->img_size,
                              .norm = &t->norm,
                              .batch_size = 2 * a->batch_size};
    return a->weights != NULL ? kn_weights_load(t->model, a->weights) : KN_OK;
}
