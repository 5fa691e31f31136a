/* lr_finder_cb.c - the learning rate finder as a callback, and the fit that uses it. The trial is
 * an ordinary fit, events and all, on the very model; what it changed is put back when it ends, for
 * whatever reason. */
#include "learner/accumulate.h"
#include "learner/snapshot.h"

#include <kiln/lr_find.h>

#include <math.h>

static const char name[] = "lr_finder";

enum { MOST_STEPS = 100000, LAST_DROPPED = 5 };

static const double beta = 0.98; /* of the smoothing */

typedef struct finder {
    kn_callback base;
    kn_ctx *ctx;
    kn_lr_find_opts opts; /* defaults filled in */
    kn_lr_point *point;   /* [opts.steps] */
    int count;
    double sum, lowest;
    /* Of the batches since the last step: their losses, and how many they are. */
    double part;
    int parts;
    int64_t steps; /* the optimizer's */
    /* What the trial must leave as it was. */
    kn_snapshot snapshot;
    kn_optimizer *opt;
    double lr;
} finder;

/* ---- the curve ---- */

static double rate_of(const finder *f, int step) {
    const kn_lr_find_opts *o = &f->opts;
    if (o->chapter)
        return o->start * pow(o->factor, step + 1);
    return o->start * pow(o->end / o->start, (double)step / o->steps);
}

/* Adds a step's loss. Whether the trial goes on. */
static bool add_point(finder *f, double lr, double loss) {
    const kn_lr_find_opts *o = &f->opts;
    if (o->chapter && isnan(loss)) /* the chapter notes only numbers */
        return false;
    f->sum = beta * f->sum + (1 - beta) * loss;
    double smooth = f->sum / (1 - pow(beta, f->count + 1));
    f->point[f->count++] = (kn_lr_point){.lr = lr, .loss = loss, .smooth = smooth};
    if (o->on_step != NULL)
        o->on_step(o->user, f->count - 1, &f->point[f->count - 1]);
    double judged = o->chapter ? loss : smooth;
    f->lowest = fmin(f->lowest, judged);
    return isfinite(judged) && judged <= o->stop * f->lowest && f->count < o->steps;
}

/* The points that speak: from *first on, so many. */
static int speaking(const kn_lr_find_opts *o, const kn_lr_point *point, int count, int *first) {
    /* A trial that ends with a NaN stops there; had it gone on, the last five were NaN too. */
    int end = count - LAST_DROPPED, most = o->steps - LAST_DROPPED, speak = 0;
    if (!o->chapter && count > 0 && isnan(point[count - 1].loss))
        end = count - 1 < most ? count - 1 : most;
    *first = o->steps / 10;
    while (*first + speak < end && isfinite(point[*first + speak].smooth))
        speak++;
    return speak;
}

/* The options have their defaults filled in. */
static kn_status suggest(kn_ctx *ctx, const kn_lr_find_opts *o, const kn_lr_point *point, int count,
                         kn_lr_suggestion *out) {
    int first, speak = speaking(o, point, count, &first);
    *out = (kn_lr_suggestion){NAN, NAN, NAN, NAN};
    if (speak <= 0)
        return KN_OK;
    double *lr = kn_calloc(ctx, (size_t)speak * 3, sizeof *lr, "the rate finder");
    if (lr == NULL)
        return KN_ERR_MEMORY;
    double *smooth = lr + speak, *loss = smooth + speak;
    for (int i = 0; i < speak; i++) {
        lr[i] = point[first + i].lr;
        smooth[i] = point[first + i].smooth;
        loss[i] = point[first + i].loss;
    }
    kn_lr_suggestion raw;
    kn_status status = kn_lr_suggest(ctx, lr, smooth, speak, out);
    if (status == KN_OK && o->raw_valley) {
        status = kn_lr_suggest(ctx, lr, loss, speak, &raw);
        out->valley = raw.valley;
    }
    kn_free(ctx, lr);
    return status;
}

static kn_lr_suggestion suggestion_of(finder *f) {
    kn_lr_suggestion found;
    (void)!suggest(f->ctx, &f->opts, f->point, f->count, &found); /* the context says why not */
    return found;
}

/* ---- the trial ---- */

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    finder *f = (finder *)cb;
    if (!l->trial) /* validation alone */
        return KN_GO;
    f->count = f->parts = 0;
    f->steps = 0;
    f->sum = f->part = 0;
    f->lowest = INFINITY;
    if (f->point == NULL)
        f->point = kn_calloc(f->ctx, (size_t)f->opts.steps, sizeof *f->point, "the rate finder");
    if (f->point == NULL || kn_snapshot_take(&f->snapshot, l->model) != KN_OK)
        return KN_FAIL;
    f->lr = l->lr;
    f->opt = l->opt;
    l->opt = NULL; /* stays aside: a fit makes its own */
    return KN_GO;
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    const finder *f = (const finder *)cb;
    if (l->training)
        l->opt->lr = rate_of(f, f->count);
    return KN_GO;
}

/* A rate is tried by a step. Where several batches make one, its loss is their mean. */
static kn_flow after_batch(kn_callback *cb, kn_learner *l) {
    finder *f = (finder *)cb;
    if (!l->training || l->loss == NULL) /* cancelled before there was a loss */
        return KN_GO;
    f->part += kn_item(l->ctx, l->loss);
    f->parts++;
    if (kn_ctx_status(l->ctx) != KN_OK)
        return KN_FAIL;
    bool waits = kn_accumulate_batches(l) > 1 && l->opt->steps == f->steps;
    if (waits && isfinite(f->part))
        return KN_GO;
    double loss = f->part / f->parts;
    f->steps = l->opt->steps;
    f->part = 0;
    f->parts = 0;
    return add_point(f, l->opt->lr, loss) ? KN_GO : KN_CANCEL_FIT;
}

/* The end of the last epoch is the end of the trial. */
static kn_flow after_train(kn_callback *cb, kn_learner *l) {
    (void)cb;
    return l->epoch + 1 == l->epochs ? KN_CANCEL_FIT : KN_GO;
}

static kn_flow before_validate(kn_callback *cb, kn_learner *l) {
    (void)cb;
    return l->trial ? KN_CANCEL_VALIDATE : KN_GO;
}

static kn_flow after_fit(kn_callback *cb, kn_learner *l) {
    finder *f = (finder *)cb;
    if (f->snapshot.ctx == NULL)
        return KN_GO;
    kn_status status = kn_snapshot_restore(&f->snapshot);
    kn_snapshot_free(&f->snapshot);
    kn_optimizer_free(l->opt);
    l->opt = f->opt;
    l->lr = f->lr;
    return status == KN_OK ? KN_GO : KN_FAIL;
}

static void free_finder(kn_callback *cb) {
    finder *f = (finder *)cb;
    kn_snapshot_free(&f->snapshot);
    kn_free(f->ctx, f->point);
    kn_free(f->ctx, f);
}

/* Last of all: its rate is the one that counts, and what others do when the fit ends is undone. */
static const kn_callback_class finder_class = {.name = name,
                                               .order = 900,
                                               .makes_trial = true,
                                               .before_fit = before_fit,
                                               .before_batch = before_batch,
                                               .after_batch = after_batch,
                                               .after_train = after_train,
                                               .before_validate = before_validate,
                                               .after_fit = after_fit,
                                               .free = free_finder};

/* ---- making ---- */

static kn_status fill_in(kn_ctx *ctx, kn_lr_find_opts *o) {
    bool mixed = o->chapter ? o->steps != 0 : o->factor != 0;
    o->start = o->start != 0 ? o->start : o->chapter ? 1e-6 : 1e-7;
    o->end = o->end != 0 ? o->end : 10;
    o->stop = o->stop != 0 ? o->stop : o->chapter ? 3 : 4;
    o->factor = o->factor != 0 ? o->factor : 1.2;
    o->steps = o->steps != 0 ? o->steps : 100;
    bool good = !mixed && o->start > 0 && o->start < o->end && isfinite(o->end) && o->stop > 1 &&
                o->factor > 1 && o->steps >= 1 && o->steps <= MOST_STEPS;
    if (good && o->chapter) { /* as many as there are rates up to end */
        double steps = floor(log(o->end / o->start) / log(o->factor) * (1 + 1e-12));
        good = steps >= 1 && steps <= MOST_STEPS;
        o->steps = good ? (int)steps : 0;
    }
    return good ? KN_OK
                : kn_fail(ctx, KN_ERR_ARG,
                          "lr_finder: start %g, end %g, %d steps, factor %g, stop %g; expected 0 < "
                          "start < end, stop > 1, and either 1 to %d steps or, for the chapter, a "
                          "factor > 1",
                          o->start, o->end, o->steps, o->factor, o->stop, MOST_STEPS);
}

kn_status kn_lr_suggest_from(kn_ctx *ctx, kn_lr_find_opts opts, const kn_lr_point *point, int count,
                             kn_lr_suggestion *out) {
    *out = (kn_lr_suggestion){NAN, NAN, NAN, NAN};
    kn_status status = fill_in(ctx, &opts);
    return status == KN_OK ? suggest(ctx, &opts, point, count, out) : status;
}

kn_callback *kn_lr_finder_cb(kn_ctx *ctx, kn_lr_find_opts opts) {
    if (fill_in(ctx, &opts) != KN_OK)
        return NULL;
    finder *f = kn_calloc(ctx, 1, sizeof *f, "the rate finder");
    if (f == NULL)
        return NULL;
    f->base.cls = &finder_class;
    f->ctx = ctx;
    f->opts = opts;
    return &f->base;
}

/* ---- what it found ---- */

static finder *find(const kn_learner *l) {
    return (finder *)kn_learner_find(l, name);
}

const kn_lr_point *kn_lr_finder_points(const kn_learner *l, int *count) {
    const finder *f = find(l);
    *count = f != NULL ? f->count : 0;
    return f != NULL ? f->point : NULL;
}

kn_lr_suggestion kn_lr_finder_suggestion(const kn_learner *l) {
    finder *f = find(l);
    return f != NULL ? suggestion_of(f) : (kn_lr_suggestion){NAN, NAN, NAN, NAN};
}

static kn_status take_found(finder *f, kn_lr_found *out) {
    out->suggestion = suggestion_of(f);
    out->point = f->point;
    out->count = f->count;
    f->point = NULL;
    f->count = 0;
    return kn_ctx_status(f->ctx);
}

/* That have so many steps, and one more. Batches that are accumulated count by their samples. */
static int epochs_for(const kn_learner *l, int64_t batches, int steps) {
    int64_t n = kn_accumulate_batches(l), size = kn_loader_batch_size(l->loaders.train);
    int64_t samples = kn_loader_samples(l->loaders.train);
    samples = samples < batches * size ? samples : batches * size;
    return n > 1 ? (int)(steps * n * size / samples) + 1 : (int)(steps / batches) + 1;
}

kn_status kn_lr_find(kn_learner *l, kn_lr_find_opts opts, kn_lr_found *out) {
    *out = (kn_lr_found){0};
    if (l == NULL)
        return KN_ERR_STATE;
    if (find(l) != NULL)
        return kn_fail(l->ctx, KN_ERR_STATE, "lr_find: the learner has a finder already");
    kn_callback *cb = kn_lr_finder_cb(l->ctx, opts);
    kn_status status = kn_learner_add(l, cb);
    if (status != KN_OK)
        return status;
    finder *f = (finder *)cb;
    kn_loader *valid =
        l->loaders.valid; /* not needed; and cancelling each pass would drop gradients */
    int epochs = l->epochs, epoch = l->epoch;
    int64_t step = l->step;
    l->loaders.valid = NULL;
    int64_t batches = l->loaders.train != NULL ? kn_loader_len(l->loaders.train) : 0;
    status = kn_learner_fit(l, batches > 0 ? epochs_for(l, batches, f->opts.steps) : 1);
    l->loaders.valid = valid;
    l->epochs = epochs;
    l->epoch = epoch;
    l->step = step;
    if (status == KN_OK)
        status = take_found(f, out);
    if (status != KN_OK)
        kn_lr_found_free(l->ctx, out);
    kn_learner_remove(l, cb);
    return status;
}

void kn_lr_found_free(kn_ctx *ctx, kn_lr_found *found) {
    kn_free(ctx, found->point);
    *found = (kn_lr_found){0};
}
