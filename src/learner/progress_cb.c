/* progress_cb.c - tells a person how far the run is: on a terminal a bar that is redrawn, elsewhere
 * a line an epoch. */
#include "core/clock.h"
#include "core/ctx.h"

#include <kiln/callbacks.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BAR_WIDTH = 24, LINE_MAX_LENGTH = 256 };

typedef struct progress {
    kn_callback base;
    kn_ctx *ctx;
    kn_progress_opts opts;
    double pass_began, drawn; /* seconds on the monotonic clock */
    bool header;              /* the table's head was written */
    bool bar;                 /* a bar stands on the line */
    bool cancelled;
} progress;

static void put(progress *p, const char *text) {
    p->opts.write(p->opts.user, text, strlen(text));
}

static void wipe(progress *p) {
    if (p->bar)
        put(p, "\r\033[K");
    p->bar = false;
}

static void format_time(double seconds, char text[32]) {
    long s = seconds < 0 || !isfinite(seconds) ? 0 : (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
}

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((progress *)cb)->header = false;
    return KN_GO;
}

static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((progress *)cb)->cancelled = false;
    return KN_GO;
}

static kn_flow before_pass(kn_callback *cb, kn_learner *l) {
    progress *p = (progress *)cb;
    (void)l;
    p->pass_began = kn_clock();
    p->drawn = 0;
    return KN_GO;
}

/* epoch 3/8 train [=====>    ] 40/74, 8123 images/s, loss 1.734, 0:01 left */
static void draw(progress *p, kn_learner *l, double t) {
    char bar[BAR_WIDTH + 1], line[LINE_MAX_LENGTH], left[32];
    int64_t done = l->batch_index + 1, count = l->batch_count;
    int filled = (int)(BAR_WIDTH * done / (count > 0 ? count : 1));
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[BAR_WIDTH] = '\0';
    kn_results so_far = kn_track_results_now(l);
    double spent = t - p->pass_began;
    format_time(spent / (double)done * (double)(count - done), left);
    snprintf(line, sizeof line,
             "\r\033[Kepoch %d/%d %s [%s] %lld/%lld, %.0f images/s, loss %.3f, %s left",
             l->epoch + 1, l->epochs, l->training ? "train" : "valid", bar, (long long)done,
             (long long)count, (double)so_far.samples / spent, so_far.loss, left);
    put(p, line);
    p->bar = true;
}

static kn_flow after_batch(kn_callback *cb, kn_learner *l) {
    progress *p = (progress *)cb;
    double t = kn_clock();
    if (p->opts.bar && t - p->drawn >= 0.1) {
        p->drawn = t;
        draw(p, l, t);
    }
    return KN_GO;
}

static kn_flow after_cancel_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((progress *)cb)->cancelled = true;
    return KN_GO;
}

static kn_flow after_epoch(kn_callback *cb, kn_learner *l) {
    progress *p = (progress *)cb;
    char line[LINE_MAX_LENGTH];
    wipe(p);
    if (p->cancelled)
        return KN_GO;
    if (!p->header)
        put(p, "epoch   train loss  train acc   valid loss  valid acc   seconds  images/s\n");
    p->header = true;
    kn_results train = kn_track_results(l, true), valid = {.loss = NAN, .acc = NAN};
    if (l->loaders.valid != NULL) /* else there may be one of a fit before */
        valid = kn_track_results(l, false);
    snprintf(line, sizeof line, "%5d  %11.4f  %9.4f  %11.4f  %9.4f  %8.2f  %8.0f\n", l->epoch,
             train.loss, train.acc, valid.loss, valid.acc, train.seconds + valid.seconds,
             (double)train.samples / train.seconds);
    put(p, line);
    return KN_GO;
}

static kn_flow after_fit(kn_callback *cb, kn_learner *l) {
    (void)l;
    wipe((progress *)cb);
    return KN_GO;
}

static void free_progress(kn_callback *cb) {
    kn_free(((progress *)cb)->ctx, cb);
}

static const kn_callback_class progress_class = {.name = "progress",
                                                 .order = 70,
                                                 .skips_trials = true,
                                                 .before_fit = before_fit,
                                                 .before_epoch = before_epoch,
                                                 .before_train = before_pass,
                                                 .before_validate = before_pass,
                                                 .after_batch = after_batch,
                                                 .after_cancel_epoch = after_cancel_epoch,
                                                 .after_epoch = after_epoch,
                                                 .after_fit = after_fit,
                                                 .free = free_progress};

kn_callback *kn_progress_cb(kn_ctx *ctx, kn_progress_opts opts) {
    if (opts.write == NULL) {
        kn_fail(ctx, KN_ERR_ARG, "progress: there is nowhere to write to");
        return NULL;
    }
    progress *p = kn_calloc(ctx, 1, sizeof *p, "the progress callback");
    if (p == NULL)
        return NULL;
    p->base.cls = &progress_class;
    p->ctx = ctx;
    p->opts = opts;
    return &p->base;
}
