/* progress_cb.c - tells a person how far the run is: on a terminal a bar that is redrawn, elsewhere
 * a line an epoch. */
#include "core/clock.h"
#include "core/ctx.h"

#include <kiln/callbacks.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BAR_WIDTH = 24, LEAST_BAR = 4, LINE_MAX_LENGTH = 256 };

typedef struct progress {
    kn_callback base;
    kn_ctx *ctx;
    kn_progress_opts opts;
    double pass_began, drawn; /* seconds on the monotonic clock */
    bool header;              /* the table's head was written */
    bool bar;                 /* a bar stands on the line */
    bool cancelled;
    bool passing; /* a batch of the pass was seen */
    /* Where the pass began: not at its start, if a training goes on within it. */
    int64_t first_batch, first_sample;
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
    p->passing = false;
    return KN_GO;
}

static void format_bar(int width, int64_t done, int64_t count, char text[BAR_WIDTH + 4]) {
    int filled = (int)(width * done / (count > 0 ? count : 1));
    text[0] = '\0';
    if (width < LEAST_BAR)
        return;
    snprintf(text, BAR_WIDTH + 4, " [%*s]", width, "");
    for (int i = 0; i < width && i <= filled; i++)
        text[2 + i] = i < filled ? '=' : '>';
}

/* epoch 3/8 train [=====>    ] 40/74, 8123 images/s, loss 1.734, 0:01 left
 * A line that is longer than the terminal is wide could not be wiped. */
static void draw(progress *p, kn_learner *l, double t) {
    char before[64] = "", bar[BAR_WIDTH + 4], after[128], left[32], line[LINE_MAX_LENGTH];
    int64_t done = l->batch_index + 1, count = l->batch_count;
    kn_results so_far = kn_track_results_now(l);
    double spent = t - p->pass_began;
    format_time(spent / (double)(done - p->first_batch) * (double)(count - done), left);
    if (l->epochs > 0) /* else it only validates */
        snprintf(before, sizeof before, "epoch %d/%d ", l->epoch + 1, l->epochs);
    strcat(before, l->training ? "train" : "valid");
    snprintf(after, sizeof after, " %lld/%lld, %.0f images/s, loss %.3f, %s left", (long long)done,
             (long long)count, (double)(so_far.samples - p->first_sample) / spent, so_far.loss,
             left);
    int columns = p->opts.columns != NULL ? p->opts.columns(p->opts.user) : 80;
    int room = columns - 1 - (int)(strlen(before) + strlen(after)) - 3;
    format_bar(room < BAR_WIDTH ? room : BAR_WIDTH, done, count, bar);
    int length = snprintf(line, sizeof line, "%s%s%s", before, bar, after);
    if (columns > 0 && length >= columns)
        line[columns - 1] = '\0';
    put(p, "\r\033[K");
    put(p, line);
    p->bar = true;
}

static kn_flow after_batch(kn_callback *cb, kn_learner *l) {
    progress *p = (progress *)cb;
    double t = kn_clock();
    if (p->opts.bar && !p->passing) {
        int64_t before = kn_track_results_now(l).samples - l->batch.n;
        p->first_batch = l->batch_index;
        p->first_sample = before > 0 ? before : 0;
        p->passing = true;
    }
    if (p->opts.bar && t - p->drawn >= 0.1) {
        p->drawn = t;
        draw(p, l, t);
    }
    return KN_GO;
}

/* Others write when the epoch ends. */
static kn_flow after_pass(kn_callback *cb, kn_learner *l) {
    (void)l;
    wipe((progress *)cb);
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
                                                 .after_train = after_pass,
                                                 .after_validate = after_pass,
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
