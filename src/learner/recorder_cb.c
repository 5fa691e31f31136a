/* recorder_cb.c - keeps the history: a row an epoch, the rate and the loss of every step; writes it
 * as CSV and as charts. All its memory is taken before the first batch. */
#include "core/file.h"
#include "core/text.h"
#include "tensor/tensor.h"

#include <kiln/callbacks.h>
#include <kiln/chart.h>

#include <assert.h>
#include <math.h>
#include <stdio.h>

static const char name[] = "recorder";

typedef struct recorder {
    kn_callback base;
    kn_ctx *ctx;
    kn_recorder_opts opts;
    kn_history_row *row;
    int rows;
    double *lr; /* [steps] */
    int64_t steps, most;
    kn_device *device;
    kn_storage *loss; /* f32 [most], on the device: read when it is drawn */
    kn_text csv;
    double epoch_lr;
    bool cancelled; /* the epoch under way */
} recorder;

/* ---- keeping ---- */

static void release(recorder *r) {
    kn_free(r->ctx, r->row);
    kn_free(r->ctx, r->lr);
    kn_storage_drop(r->loss);
    kn_text_free(&r->csv);
    r->row = NULL;
    r->lr = NULL;
    r->loss = NULL;
    r->rows = 0;
    r->steps = r->most = 0;
}

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    if (l->epochs == 0) /* validation alone: the history of the fit before stays */
        return KN_GO;
    release(r);
    r->most = (int64_t)l->epochs * kn_loader_len(l->loaders.train);
    size_t most = (size_t)(r->most > 0 ? r->most : 1);
    r->row = kn_calloc(r->ctx, (size_t)l->epochs, sizeof *r->row, "the history");
    r->lr = r->row != NULL ? kn_calloc(r->ctx, most, sizeof *r->lr, "the history") : NULL;
    r->device = r->lr != NULL ? kn_device_default(r->ctx) : NULL;
    r->loss = r->device != NULL ? kn_storage_get(r->ctx, r->device, most * sizeof(float)) : NULL;
    return r->loss != NULL ? KN_GO : KN_FAIL;
}

static kn_flow after_loss(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    if (!l->training || r->steps >= r->most)
        return KN_GO;
    r->lr[r->steps] = r->epoch_lr = l->opt->lr;
    kn_status status = r->device->ops->copy(r->device, (float *)r->loss->data + r->steps,
                                            l->loss->data, sizeof(float));
    r->steps++;
    return status == KN_OK ? KN_GO : KN_FAIL;
}

/* ---- history.csv ---- */

static void add_row(kn_text *t, const kn_history_row *row) {
    const double column[] = {row->train_loss, row->train_acc, row->valid_loss,     row->valid_acc,
                             row->lr,         row->seconds,   row->train_img_per_s};
    kn_text_printf(t, "%d", row->epoch);
    for (size_t i = 0; i < KN_COUNT(column); i++) {
        kn_text_append(t, ",", 1);
        if (isfinite(column[i]))
            kn_text_number(t, column[i], 9);
    }
    kn_text_append(t, "\n", 1);
}

static kn_status write_csv(recorder *r) {
    char path[KN_PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/history.csv", r->opts.folder);
    if (length < 0 || (size_t)length >= sizeof path)
        return kn_fail(r->ctx, KN_ERR_IO, "%.64s...: the path is too long", r->opts.folder);
    r->csv.length = 0;
    kn_text_printf(&r->csv, "epoch,train_loss,train_acc,valid_loss,valid_acc,lr,seconds,"
                            "train_img_per_s\n");
    for (int i = 0; i < r->rows; i++)
        add_row(&r->csv, &r->row[i]);
    if (r->csv.failed)
        return kn_fail(r->ctx, KN_ERR_MEMORY, "%s: no memory to write it", path);
    return kn_file_write(path, r->csv.data, r->csv.length, &r->ctx->error);
}

/* Room for every row, so that later epochs only write. A number takes at most 24 characters. */
static kn_status make_csv_room(recorder *r, int epochs) {
    void *data = r->csv.data;
    bool room =
        kn_mem_grow(r->csv.allocator, &data, &r->csv.capacity, (size_t)(epochs + 1) * 256, 1);
    r->csv.data = data;
    return room ? KN_OK : kn_fail(r->ctx, KN_ERR_MEMORY, "out of memory: the history's text");
}

static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    r->cancelled = false;
    r->epoch_lr = NAN;
    return make_csv_room(r, l->epochs) == KN_OK ? KN_GO : KN_FAIL;
}

static kn_flow after_cancel_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((recorder *)cb)->cancelled = true;
    return KN_GO;
}

/* Only whole epochs make a row. */
static kn_flow after_epoch(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    if (r->cancelled)
        return KN_GO;
    kn_results train = kn_track_results(l, true), valid = kn_track_results(l, false);
    kn_history_row *row = &r->row[r->rows++];
    *row = (kn_history_row){
        .epoch = l->epoch,
        .train_loss = train.loss,
        .train_acc = train.acc,
        .valid_loss = l->loaders.valid != NULL ? valid.loss : NAN,
        .valid_acc = l->loaders.valid != NULL ? valid.acc : NAN,
        .lr = r->epoch_lr,
        .seconds = train.seconds + (l->loaders.valid != NULL ? valid.seconds : 0),
        .train_img_per_s = (double)train.samples / train.seconds,
    };
    if (r->opts.folder != NULL && write_csv(r) != KN_OK)
        return KN_FAIL;
    if (r->opts.on_epoch != NULL)
        r->opts.on_epoch(r->opts.user, row);
    return KN_GO;
}

/* ---- charts ---- */

static kn_status draw(recorder *r, const char *file, const kn_chart *chart) {
    char path[KN_PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", r->opts.folder, file);
    if (length < 0 || (size_t)length >= sizeof path)
        return kn_fail(r->ctx, KN_ERR_IO, "%.64s...: the path is too long", r->opts.folder);
    return kn_chart_write(chart, path, &r->ctx->allocator, &r->ctx->error);
}

/* Loss of every step against the epochs passed, and both losses at each epoch's end. */
static kn_status draw_loss(recorder *r, const double *epoch, const double *train,
                           const double *valid, const double *place, const double *loss) {
    kn_series series[] = {{"each batch", place, loss, (int)r->steps, false},
                          {"training", epoch, train, r->rows, false},
                          {"validation", epoch, valid, r->rows, false}};
    return draw(r, "loss.svg",
                &(kn_chart){.title = "Loss",
                            .x_title = "epochs",
                            .y_title = "cross entropy",
                            .series = series,
                            .series_count = KN_COUNT(series)});
}

static kn_status draw_rest(recorder *r, const double *epoch, const double *train,
                           const double *valid, const double *place) {
    kn_series acc[] = {{"training", epoch, train, r->rows, false},
                       {"validation", epoch, valid, r->rows, false}};
    kn_status status = draw(r, "accuracy.svg",
                            &(kn_chart){.title = "Accuracy",
                                        .x_title = "epochs",
                                        .y_title = "share of pictures right",
                                        .series = acc,
                                        .series_count = KN_COUNT(acc)});
    kn_series lr = {NULL, place, r->lr, (int)r->steps, false};
    if (status != KN_OK)
        return status;
    return draw(r, "schedule.svg",
                &(kn_chart){.title = "Learning rate",
                            .x_title = "epochs",
                            .y_title = "learning rate",
                            .series = &lr,
                            .series_count = 1});
}

/* Columns for the charts in one block: 5 of a number an epoch, 2 of one a step, and the f32 losses.
 */
static kn_status draw_all(recorder *r, int64_t epoch_steps) {
    size_t rows = (size_t)r->rows, steps = (size_t)r->steps;
    double *block = kn_calloc(r->ctx, rows * 5 + steps * 3 + 1, sizeof *block, "charts");
    if (block == NULL)
        return KN_ERR_MEMORY;
    double *epoch = block, *column[4], *place = block + rows * 5, *loss = place + steps;
    float *raw = (float *)(void *)(loss + steps);
    for (int c = 0; c < 4; c++)
        column[c] = block + rows * (size_t)(c + 1);
    for (size_t i = 0; i < rows; i++) {
        epoch[i] = r->row[i].epoch + 1;
        column[0][i] = r->row[i].train_loss;
        column[1][i] = r->row[i].valid_loss;
        column[2][i] = r->row[i].train_acc;
        column[3][i] = r->row[i].valid_acc;
    }
    kn_status status =
        steps == 0 ? KN_OK
                   : r->device->ops->copy_out(r->device, raw, r->loss->data, steps * sizeof *raw);
    for (size_t i = 0; i < steps; i++) {
        place[i] = (double)(i + 1) / (double)epoch_steps;
        loss[i] = raw[i];
    }
    if (status == KN_OK)
        status = draw_loss(r, epoch, column[0], column[1], place, loss);
    if (status == KN_OK)
        status = draw_rest(r, epoch, column[2], column[3], place);
    kn_free(r->ctx, block);
    return status;
}

static kn_flow after_fit(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    if (l->epochs == 0 || r->opts.folder == NULL || r->steps == 0)
        return KN_GO;
    return draw_all(r, kn_loader_len(l->loaders.train)) == KN_OK ? KN_GO : KN_FAIL;
}

/* ---- the callback ---- */

static void free_recorder(kn_callback *cb) {
    recorder *r = (recorder *)cb;
    release(r);
    kn_free(r->ctx, r);
}

static const kn_callback_class recorder_class = {.name = name,
                                                 .order = 50,
                                                 .before_fit = before_fit,
                                                 .before_epoch = before_epoch,
                                                 .after_loss = after_loss,
                                                 .after_cancel_epoch = after_cancel_epoch,
                                                 .after_epoch = after_epoch,
                                                 .after_fit = after_fit,
                                                 .free = free_recorder};

kn_callback *kn_recorder_cb(kn_ctx *ctx, kn_recorder_opts opts) {
    recorder *r = kn_calloc(ctx, 1, sizeof *r, "the recorder callback");
    if (r == NULL)
        return NULL;
    r->base.cls = &recorder_class;
    r->ctx = ctx;
    r->opts = opts;
    r->csv.allocator = &ctx->allocator;
    return &r->base;
}

const kn_history_row *kn_recorder_rows(const kn_learner *l, int *count) {
    const recorder *r = (const recorder *)kn_learner_find((kn_learner *)(uintptr_t)l, name);
    *count = r != NULL ? r->rows : 0;
    return r != NULL ? r->row : NULL;
}
