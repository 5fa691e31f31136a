/* eval.c - kiln eval: the loss and the accuracy that training's validation would give, bit for bit:
 * the same pictures in the same batches through the same callbacks. */
#include "json_line.h"
#include "model.h"
#include "number.h"

#include <kiln/callbacks.h>

#include <string.h>

typedef struct eval {
    session *s;
    kn_loaded_model m;
    kn_split split;
    kn_dataset *set;
    kn_loader *loader;
    kn_learner *learner;
} eval;

static kn_status open_data(eval *e, const char *folder) {
    const args *a = &e->s->a;
    kn_ctx *ctx = e->s->ctx;
    /* Bare weights hold no class names: then those of the training folders count. */
    kn_split_opts opts = {.valid_pct = a->valid_pct,
                          .vocab = a->weights == NULL ? &e->m.vocab : NULL,
                          .valid_only = a->valid_pct == 0};
    kn_status status = kn_split_folder(ctx, folder, opts, &e->split);
    if (status == KN_OK && e->split.vocab.count != e->m.vocab.count)
        status = kn_fail(ctx, KN_ERR_DATA, "%s: holds %d classes, but %s was trained on %d", folder,
                         e->split.vocab.count, a->weights, e->m.vocab.count);
    if (status != KN_OK)
        return status;
    if (!e->split.by_folder && a->valid_pct == 0)
        report_note(&e->s->r,
                    "%s has no validation folder: all its pictures count; with --valid-pct 20 "
                    "those that train held out",
                    folder);
    e->set = kn_image_dataset(ctx, e->split.valid, e->split.valid_count, e->m.size);
    if (e->set == NULL)
        return kn_ctx_status(ctx);
    kn_loader_opts loading = {.workers = a->workers,
                              .max_image_memory = (size_t)a->max_image_memory << 20};
    e->loader = kn_loader_new(ctx, e->set, e->m.batch_size, loading);
    return kn_ctx_status(ctx);
}

static kn_status validate(eval *e) {
    kn_ctx *ctx = e->s->ctx;
    kn_learner_opts opts = {.model = e->m.model, .loaders = {.valid = e->loader}};
    e->learner = kn_learner_new(ctx, opts);
    if (e->learner == NULL)
        return kn_ctx_status(ctx);
    kn_status status = kn_learner_add(e->learner, kn_setup_cb(ctx, &e->m.norm));
    if (status == KN_OK)
        status = kn_learner_add(e->learner, kn_track_results_cb(ctx));
    return status == KN_OK ? kn_learner_validate(e->learner) : status;
}

static void tell(const eval *e, kn_results results, kn_text *t) {
    char count[NUMBER_TEXT];
    if (e->s->r.json) {
        line_open(t);
        line_string(t, "event", "eval");
        line_int(t, "n", results.samples);
        line_real(t, "loss", results.loss);
        line_real(t, "acc", results.acc);
        line_real(t, "seconds", results.seconds);
        line_close(t);
        return;
    }
    kn_text_printf(t, "%s pictures: loss %.4f, accuracy %.4f\n",
                   number_text(results.samples, count), results.loss, results.acc);
}

int eval_run(session *s) {
    eval e = {.s = s};
    char folder[PATH_MAX];
    int words, code = model_open(s, &e.m);
    if (code == EXIT_DONE)
        code = data_folder(s, model_words(s, &words)[0], folder);
    if (code == EXIT_DONE && (open_data(&e, folder) != KN_OK || validate(&e) != KN_OK))
        code = session_fail(s);
    if (code == EXIT_DONE) {
        kn_text t = {0};
        tell(&e, kn_track_results(e.learner, false), &t);
        report_out(&s->r, &t);
    }
    kn_learner_free(e.learner);
    kn_loader_free(e.loader);
    kn_dataset_free(e.set);
    kn_split_free(s->ctx, &e.split);
    kn_loaded_model_free(s->ctx, &e.m);
    return code;
}
