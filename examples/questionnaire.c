/* questionnaire.c - what the chapter's questionnaire asks to write (docs/questionnaire.md has the
 * answers in words): a recursive function (16), a callback that stands alone (25), and cosine
 * annealing in one-cycle (34).
 *
 * usage: questionnaire */
#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>

/* ---- 16: the first items of the Fibonacci sequence, by recursion ---- */

enum { ITEMS = 20 };

/* Writes items from the given place on, each the sum of the two before. */
static void fibonacci(long *item, int place) {
    if (place == ITEMS)
        return;
    item[place] = place < 2 ? place : item[place - 1] + item[place - 2];
    fibonacci(item, place + 1);
}

/* ---- 25: the results of a pass, from nothing but the fields of the learner ---- */

typedef struct results {
    kn_callback base; /* which is a pointer to the class below, and nothing else */
    double loss;
    int64_t samples;
} results;

static kn_flow results_before_train(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((results *)cb)->loss = 0;
    ((results *)cb)->samples = 0;
    return KN_GO;
}

static kn_flow results_after_loss(kn_callback *cb, kn_learner *l) {
    results *r = (results *)cb;
    if (l->training) {
        r->loss += kn_item(l->ctx, l->loss) * l->batch.n;
        r->samples += l->batch.n;
    }
    return KN_GO;
}

static const kn_callback_class results_class = {
    .name = "own results", .before_train = results_before_train, .after_loss = results_after_loss};

/* ---- 34: one-cycle with cosines in place of lines ---- */

typedef struct one_cycle {
    kn_callback base;
    double highest, difference; /* from the library's own, at most */
} one_cycle;

/* From a to b along half a cosine. */
static double anneal(double a, double b, double part) {
    return b + (a - b) * (1 + cos(3.141592653589793 * part)) / 2;
}

static kn_flow one_cycle_before_batch(kn_callback *cb, kn_learner *l) {
    one_cycle *c = (one_cycle *)cb;
    if (!l->training)
        return KN_GO;
    double steps = (double)(l->epochs * l->batch_count);
    double pct = (double)(l->epoch * l->batch_count + l->batch_index) / steps;
    double lr = pct < 0.25 ? anneal(c->highest / 10, c->highest, pct / 0.25)
                           : anneal(c->highest, c->highest / 1e5, (pct - 0.25) / 0.75);
    l->opt->lr = lr;
    kn_schedule own = {.kind = KN_SCHED_ONE_CYCLE_COS};
    c->difference = fmax(c->difference, fabs(lr - kn_schedule_lr(&own, c->highest, pct)));
    if (l->batch_index == 0)
        printf("epoch %d: the rate begins at %.4f\n", l->epoch, lr);
    return KN_GO;
}

static const kn_callback_class one_cycle_class = {.name = "own one-cycle",
                                                  .before_batch = one_cycle_before_batch};

/* ---- a data set without files: each class is a shade ---- */

enum { SAMPLES = 64, CLASSES = 4, SIDE = 16 };

static int64_t shades_len(const kn_dataset *ds) {
    (void)ds;
    return SAMPLES;
}

static kn_status shades_get(const kn_dataset *ds, kn_sample *s) {
    (void)ds;
    *s->label = (int32_t)(s->index % CLASSES);
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        s->slot[i] = (uint8_t)(*s->label * 64 + (i * 7 + s->index) % 32);
    return KN_OK;
}

static const kn_dataset_class shades_class = {.len = shades_len, .get = shades_get};

static void train(kn_ctx *ctx) {
    kn_dataset shades = {.cls = &shades_class, .height = SIDE, .width = SIDE};
    kn_loader *loader = kn_loader_new(ctx, &shades, 8, (kn_loader_opts){.shuffle = true});
    kn_module *model = kn_simple_cnn(ctx, CLASSES);
    kn_normalize norm = {0};
    results r = {.base = {&results_class}};
    one_cycle c = {.base = {&one_cycle_class}, .highest = 0.1};
    kn_learner *l =
        kn_learner_new(ctx, (kn_learner_opts){.model = model, .loaders = {.train = loader}});
    kn_learner_add(l, kn_setup_cb(ctx, &norm));
    kn_learner_add(l, kn_track_results_cb(ctx));
    kn_learner_add(l, &r.base);
    kn_learner_add(l, &c.base);
    if (kn_learner_fit(l, 4) == KN_OK) {
        double theirs = kn_track_results(l, true).loss, ours = r.loss / (double)r.samples;
        printf("the rates are the library's: %s\n", c.difference < 1e-12 ? "yes" : "no");
        printf("the mean loss is the library's: %s\n", fabs(ours - theirs) < 1e-9 ? "yes" : "no");
    }
    kn_learner_free(l);
    kn_module_free(model);
    kn_loader_free(loader);
}

int main(void) {
    long item[ITEMS];
    fibonacci(item, 0);
    for (int i = 0; i < ITEMS; i++)
        printf("%ld%s", item[i], i + 1 < ITEMS ? " " : "\n");

    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 42}, &error) == KN_OK) {
        train(ctx);
        error = kn_error_take(ctx);
    }
    kn_ctx_free(ctx);
    if (error.status)
        fprintf(stderr, "%s\n", error.message);
    return error.status ? 1 : 0;
}
