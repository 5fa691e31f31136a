/* callbacks.c - the chapter's section on callbacks: the order of the events, a learning rate finder
 * of our own that cancels the fit, and one-cycle training.
 *
 * usage: callbacks [IMAGENETTE]   (else KILN_TEST_DATA, else Kiln's own shapes, drawn here) */
#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- prints each event, once a pass, and the rate of some steps ---- */

typedef struct trace {
    kn_callback base;
    bool seen[KN_EVENT_COUNT];
    double first, highest, last; /* rates */
} trace;

static kn_flow trace_any(kn_callback *cb, kn_learner *l, kn_event event) {
    trace *t = (trace *)cb;
    if (event == kn_event_before_validate)
        for (int i = 0; i < KN_EVENT_COUNT; i++)
            t->seen[i] = false;
    if (!t->seen[event])
        printf("  %-8s %s\n", kn_event_scope(event), kn_event_name(event));
    t->seen[event] = true;

    if (event == kn_event_before_step) {
        t->last = l->opt->lr;
        t->first = l->opt->steps == 0 ? t->last : t->first;
        t->highest = fmax(t->highest, t->last);
    }
    return KN_GO;
}

static const kn_callback_class trace_class = {.name = "trace", .any = trace_any};

/* ---- raises the rate with every batch, until the loss is three times the best so
 * far (the book stops at a rate of 10, or at NaN) ---- */

typedef struct finder {
    kn_callback base;
    double rate, best_rate, best_loss, last_loss;
} finder;

static kn_flow finder_before_batch(kn_callback *cb, kn_learner *l) {
    l->opt->lr = ((finder *)cb)->rate;
    return KN_GO;
}

static kn_flow finder_after_batch(kn_callback *cb, kn_learner *l) {
    finder *f = (finder *)cb;
    f->last_loss = kn_item(l->ctx, l->loss);
    if (l->step % 25 == 1)
        printf("  step %3lld, rate %.1e, loss %.3f\n", (long long)l->step, f->rate, f->last_loss);
    if (isnan(f->last_loss) || f->last_loss > 3 * f->best_loss)
        return KN_CANCEL_FIT;
    if (f->last_loss < f->best_loss) {
        f->best_loss = f->last_loss;
        f->best_rate = f->rate;
    }
    f->rate *= 1.2;
    return KN_GO;
}

static kn_flow finder_before_validate(kn_callback *cb, kn_learner *l) {
    (void)cb, (void)l;
    return KN_CANCEL_VALIDATE;
}

static const kn_callback_class finder_class = {.name = "finder",
                                               .before_batch = finder_before_batch,
                                               .after_batch = finder_after_batch,
                                               .before_validate = finder_before_validate};

/* ---- both at work ---- */

/* Trains a fresh model. own has no free, so it stays ours; it is added last and of the highest
 * order, so it has the last word on the rate. */
static kn_results fit(kn_ctx *ctx, kn_loaders loaders, int classes, int epochs, kn_callback *own) {
    kn_normalize norm = {0};
    kn_module *model = kn_simple_cnn(ctx, classes);
    kn_learner *l =
        kn_learner_new(ctx, (kn_learner_opts){.model = model, .loaders = loaders, .lr = 0.1});
    kn_learner_add(l, kn_setup_cb(ctx, &norm));
    kn_learner_add(l, kn_track_results_cb(ctx));
    kn_learner_add(l, kn_one_cycle_cb(ctx, (kn_one_cycle_opts){0}));
    kn_learner_add(l, own);
    kn_learner_fit(l, epochs);
    kn_results valid = kn_track_results(l, false);
    kn_learner_free(l);
    kn_module_free(model);
    return valid;
}

static void run(kn_ctx *ctx, kn_loaders loaders, int classes) {
    printf("rate finder:\n");
    finder f = {.base = {&finder_class}, .rate = 1e-6, .best_loss = INFINITY};
    fit(ctx, loaders, classes, 10, &f.base);
    printf("cancelled at rate %.1e, loss %.3f; lowest loss %.3f at rate %.1e\n", f.rate,
           f.last_loss, f.best_loss, f.best_rate);

    printf("one-cycle, the events of an epoch:\n");
    trace t = {.base = {&trace_class}};
    kn_results valid = fit(ctx, loaders, classes, 1, &t.base);
    printf("rates: %.4f at first, %.4f at most, %.4f at last\n", t.first, t.highest, t.last);
    printf("valid: loss %.3f, accuracy %.3f\n", valid.loss, valid.acc);
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
        run(ctx, loaders, split.vocab.count);
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
