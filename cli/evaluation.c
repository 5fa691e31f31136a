/* evaluation.c - see evaluation.h. Loss and accuracy are those that training's validation would
 * give, bit for bit: the same pictures in the same batches through the same callbacks. */
#include "evaluation.h"

#include "bad_images.h"

#include "core/ctx.h"

#include <kiln/predict.h>

#include <stdio.h>
#include <string.h>

/* Are these the files of which the model's training held some out? */
static kn_status compare_files(evaluation *e, bool *same) {
    char now[65];
    kn_status status = KN_OK;
    if (e->m.held_out.valid_pct > 0)
        status = kn_files_sha256(e->s->ctx, &e->split.files, now);
    *same = status == KN_OK && e->m.held_out.valid_pct > 0 &&
            strcmp(now, e->m.held_out.files_sha256) == 0;
    return status;
}

/* A folder without pictures to validate on, and not told which to take: all, unless the model was
 * trained on the others of them. */
static kn_status choose_pictures(evaluation *e, kn_split_opts opts) {
    kn_status status = compare_files(e, &e->held_out);
    if (status != KN_OK)
        return status;
    if (!e->held_out && e->m.held_out.valid_pct > 0) {
        char text[sizeof((kn_error *)0)->message];
        snprintf(text, sizeof text,
                 "%.700s: all its pictures count. The model held out a part of those that it was "
                 "trained on, but not of just these files: some may be among them",
                 e->folder);
        report_warning(&e->s->r, text);
    } else if (!e->held_out)
        report_note(&e->s->r,
                    "%s has no validation folder: all its pictures count; with --valid-pct 20 "
                    "those that a training held out with it",
                    e->folder);
    if (!e->held_out)
        return KN_OK;
    if (args_given(&e->s->a, "seed"))
        report_warning(&e->s->r, "--seed changes nothing without --valid-pct: the pictures are "
                                 "those that the training held out");
    opts.valid_only = false;
    opts.valid_pct = e->m.held_out.valid_pct;
    opts.seed = &e->m.held_out.seed;
    kn_split_free(e->s->ctx, &e->split);
    status = kn_split_folder(e->s->ctx, e->folder, opts, &e->split);
    if (status == KN_OK)
        report_note(&e->s->r,
                    "%s is what the model was trained on: only the %d pictures that were held out "
                    "count (--valid-pct 100: all)",
                    e->folder, e->split.valid_count);
    return status;
}

static kn_status open_split(evaluation *e) {
    const args *a = &e->s->a;
    bool given = args_given(a, "valid-pct"), part = given && a->valid_pct < 100;
    /* Bare weights hold no class names: then those of the training folders count. */
    kn_split_opts opts = {.valid_pct = part ? a->valid_pct : 0,
                          .vocab = a->weights == NULL ? &e->m.vocab : NULL,
                          .valid_only = !part};
    if (part && e->m.held_out.valid_pct > 0 && !args_given(a, "seed"))
        opts.seed = &e->m.held_out.seed;
    kn_status status = kn_split_folder(e->s->ctx, e->folder, opts, &e->split);
    if (status == KN_OK)
        data_warn_unused_pct(e->s, &e->split);
    if (status == KN_OK && !e->split.by_folder && !given)
        status = choose_pictures(e, opts);
    return status;
}

static kn_status open_data(evaluation *e) {
    const char *folder = e->folder;
    const args *a = &e->s->a;
    kn_ctx *ctx = e->s->ctx;
    kn_status status = open_split(e);
    if (status == KN_OK && e->split.vocab.count != e->m.vocab.count)
        status = kn_fail(ctx, KN_ERR_DATA, "%s: holds %d classes, but %s was trained on %d", folder,
                         e->split.vocab.count, a->weights, e->m.vocab.count);
    if (status != KN_OK)
        return status;
    data_warn_passed_over(e->s, &e->split.files);
    e->set = kn_image_dataset(
        ctx, e->split.valid, e->split.valid_count, e->m.size,
        (kn_image_opts){.resize = e->m.resize, .fast_decode = args_fast_decode(a)});
    if (e->set == NULL)
        return kn_ctx_status(ctx);
    kn_loader_opts loading = {.workers = a->workers,
                              .max_image_memory = (size_t)a->max_image_memory << 20,
                              .skip_bad = bad_images_skipped(a)};
    e->loader = kn_loader_new(ctx, e->set, e->m.batch_size, loading);
    return kn_ctx_status(ctx);
}

static kn_status validate(evaluation *e) {
    kn_ctx *ctx = e->s->ctx;
    kn_dtype dtype = session_dtype(e->s);
    e->learner = kn_learner_new(ctx, (kn_learner_opts){.model = e->m.model, .dtype = dtype});
    if (e->learner == NULL || kn_ctx_status(ctx) != KN_OK)
        return kn_ctx_status(ctx);
    kn_status status = kn_learner_add(e->learner, kn_setup_cb(ctx, &e->m.norm));
    if (status == KN_OK)
        status = kn_learner_add(e->learner, kn_track_results_cb(ctx));
    if (status == KN_OK && report_has_bar(&e->s->r))
        status = kn_learner_add(
            e->learner, kn_progress_cb(ctx, (kn_progress_opts){.bar = true,
                                                               .columns = report_progress_columns,
                                                               .write = report_progress}));
    if (status == KN_OK && e->s->a.tta)
        status = kn_learner_add(e->learner, kn_tta_cb(ctx, &e->m.norm));
    if (status == KN_OK)
        status = kn_learner_predictions(e->learner, e->loader,
                                        (kn_predictions_opts){.no_probs = true}, &e->p);
    if (status == KN_OK)
        e->results = kn_track_results(e->learner, false);
    return status;
}

static kn_status count_mistakes(evaluation *e) {
    kn_status status = kn_confusion_from(e->s->ctx, &e->p, &e->confusion);
    if (status != KN_OK)
        return status;
    e->score = kn_calloc(e->s->ctx, (size_t)e->confusion.classes + 1, sizeof *e->score,
                         "figures of the classes");
    if (e->score == NULL)
        return KN_ERR_MEMORY;
    kn_class_scores(&e->confusion, e->score);
    return KN_OK;
}

int evaluation_open(evaluation *e, session *s) {
    int words;
    *e = (evaluation){.s = s};
    int code = run_folder_check(s);
    if (code == EXIT_DONE)
        code = model_open(s, &e->m);
    if (code != EXIT_DONE)
        return code;
    e->data = model_words(s, &words)[0];
    code = data_folder(s, e->data, e->folder);
    if (code == EXIT_DONE &&
        (open_data(e) != KN_OK || validate(e) != KN_OK || count_mistakes(e) != KN_OK))
        code = session_fail(s);
    if (e->loader != NULL)
        bad_images_warn(s, e->loader);
    return code;
}

void evaluation_close(evaluation *e) {
    kn_ctx *ctx = e->s->ctx;
    kn_free(ctx, e->score);
    kn_confusion_free(ctx, &e->confusion);
    kn_predictions_free(ctx, &e->p);
    kn_learner_free(e->learner);
    kn_loader_free(e->loader);
    kn_dataset_free(e->set);
    kn_split_free(ctx, &e->split);
    kn_loaded_model_free(ctx, &e->m);
}
