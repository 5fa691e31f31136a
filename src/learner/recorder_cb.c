/* recorder_cb.c - keeps the history: a row an epoch, the rate and the loss of every step; writes it
 * as CSV, as lines of JSON and as charts. All its memory is taken before the first batch. */
#include "core/file.h"
#include "core/text.h"
#include "learner/history_charts.h"
#include "learner/history_line.h"
#include "tensor/tensor.h"

#include <kiln/callbacks.h>

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

static const char name[] = "recorder";

typedef struct recorder {
    kn_callback base;
    kn_ctx *ctx;
    kn_recorder_opts opts;
    kn_history_row *row;
    int rows;
    double *lr, *momentum; /* [steps] */
    int64_t steps, most, epoch_steps;
    kn_device *device;
    kn_storage *loss; /* f32 [most], on the device: read when it is drawn */
    kn_text text;     /* of a file being written */
    double epoch_lr;
    bool cancelled; /* the epoch under way */
} recorder;

/* ---- keeping ---- */

static void release(recorder *r) {
    kn_free(r->ctx, r->row);
    kn_free(r->ctx, r->lr);
    kn_free(r->ctx, r->momentum);
    kn_storage_drop(r->loss);
    kn_text_free(&r->text);
    r->row = NULL;
    r->lr = r->momentum = NULL;
    r->loss = NULL;
    r->rows = 0;
    r->steps = r->most = 0;
}

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    if (l->epochs == 0) /* validation alone: the history of the fit before stays */
        return KN_GO;
    release(r);
    r->epoch_steps = kn_loader_len(l->loaders.train);
    r->most = (int64_t)l->epochs * r->epoch_steps;
    size_t most = (size_t)(r->most > 0 ? r->most : 1);
    r->row = kn_calloc(r->ctx, (size_t)l->epochs, sizeof *r->row, "the history");
    r->lr = r->row != NULL ? kn_calloc(r->ctx, most, sizeof *r->lr, "the history") : NULL;
    r->momentum =
        r->lr != NULL ? kn_calloc(r->ctx, most, sizeof *r->momentum, "the history") : NULL;
    r->device = r->momentum != NULL ? kn_device_default(r->ctx) : NULL;
    r->loss = r->device != NULL ? kn_storage_get(r->ctx, r->device, most * sizeof(float)) : NULL;
    return r->loss != NULL ? KN_GO : KN_FAIL;
}

static kn_flow after_loss(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    if (!l->training || r->steps >= r->most)
        return KN_GO;
    r->lr[r->steps] = r->epoch_lr = l->opt->lr;
    r->momentum[r->steps] = l->opt->group[0].momentum;
    kn_status status = r->device->ops->copy(r->device, (float *)r->loss->data + r->steps,
                                            l->loss->data, sizeof(float));
    r->steps++;
    return status == KN_OK ? KN_GO : KN_FAIL;
}

/* ---- history.csv, log.jsonl ---- */

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

static void add_csv(kn_text *t, const recorder *r) {
    kn_text_printf(t, "epoch,train_loss,train_acc,valid_loss,valid_acc,lr,seconds,"
                      "train_img_per_s\n");
    for (int i = 0; i < r->rows; i++)
        add_row(t, &r->row[i]);
}

static void add_lines(kn_text *t, const recorder *r) {
    for (int i = 0; i < r->rows; i++)
        kn_history_line(t, &r->row[i]);
}

/* The whole history, in place of the file of the epoch before. */
static kn_status write_history(recorder *r, const char *file,
                               void (*add)(kn_text *t, const recorder *r)) {
    char path[KN_PATH_MAX];
    if (kn_path_join(path, r->opts.folder, file, &r->ctx->error) != KN_OK)
        return KN_ERR_IO;
    r->text.length = 0;
    add(&r->text, r);
    if (r->text.failed)
        return kn_fail(r->ctx, KN_ERR_MEMORY, "%s: no memory to write it", path);
    return kn_file_write(path, r->text.data, r->text.length, &r->ctx->error);
}

static kn_status write_files(recorder *r) {
    kn_status status = write_history(r, "history.csv", add_csv);
    return status == KN_OK ? write_history(r, "log.jsonl", add_lines) : status;
}

/* Room for every row in the longer form, so that later epochs only write. */
static kn_status make_room(recorder *r, int epochs) {
    void *data = r->text.data;
    bool room = kn_mem_grow(r->text.allocator, &data, &r->text.capacity,
                            (size_t)(epochs + 1) * KN_HISTORY_LINE, 1);
    r->text.data = data;
    return room ? KN_OK : kn_fail(r->ctx, KN_ERR_MEMORY, "out of memory: the history's text");
}

static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    r->cancelled = false;
    r->epoch_lr = NAN;
    return make_room(r, l->epochs) == KN_OK ? KN_GO : KN_FAIL;
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
    if (r->opts.folder != NULL && write_files(r) != KN_OK)
        return KN_FAIL;
    if (r->opts.on_epoch != NULL)
        r->opts.on_epoch(r->opts.user, row);
    return KN_GO;
}

/* ---- a checkpoint ---- */

enum { ROW = 8 }; /* numbers of a row */

static void row_numbers(kn_history_row *row, double *number, bool take) {
    double epoch = row->epoch;
    double *const field[ROW] = {&epoch,           &row->train_loss,     &row->train_acc,
                                &row->valid_loss, &row->valid_acc,      &row->lr,
                                &row->seconds,    &row->train_img_per_s};
    for (int i = 0; i < ROW; i++)
        if (take)
            *field[i] = number[i];
        else
            number[i] = *field[i];
    row->epoch = (int)epoch;
}

static kn_status visit_rows(recorder *r, const kn_state_visitor *visitor, double *room) {
    for (int i = 0; i < r->rows; i++)
        row_numbers(&r->row[i], room + (size_t)i * ROW, false);
    kn_status status = visitor->reals(visitor->user, "rows", room, r->rows * ROW);
    for (int i = 0; i < r->rows && status == KN_OK; i++)
        row_numbers(&r->row[i], room + (size_t)i * ROW, true);
    return status;
}

/* The losses are f32 on the device, and doubles in a checkpoint. */
static kn_status visit_losses(recorder *r, const kn_state_visitor *visitor, double *room) {
    int64_t steps = r->steps;
    size_t bytes = (size_t)steps * sizeof(float);
    float *loss = kn_alloc(r->ctx, bytes + 1, "a checkpoint");
    if (loss == NULL)
        return KN_ERR_MEMORY;
    kn_status status =
        steps > 0 ? r->device->ops->copy_out(r->device, loss, r->loss->data, bytes) : KN_OK;
    for (int64_t i = 0; i < steps; i++)
        room[i] = (double)loss[i];
    if (status == KN_OK)
        status = visitor->reals(visitor->user, "loss", room, (int)steps);
    for (int64_t i = 0; i < steps; i++)
        loss[i] = (float)room[i];
    if (status == KN_OK && steps > 0)
        status = r->device->ops->copy_in(r->device, r->loss->data, loss, bytes);
    kn_free(r->ctx, loss);
    return status;
}

static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    recorder *r = (recorder *)cb;
    int64_t number[] = {r->rows, r->steps};
    kn_status status = visitor->integers(visitor->user, "counts", number, KN_COUNT(number));
    if (status != KN_OK)
        return status;
    if (number[0] < 0 || number[0] > l->epochs || number[1] < 0 || number[1] > r->most ||
        r->most > INT_MAX)
        return kn_fail(r->ctx, KN_ERR_FORMAT, "recorder: a history of %lld rows and %lld steps",
                       (long long)number[0], (long long)number[1]);
    r->rows = (int)number[0];
    r->steps = number[1];
    size_t most =
        (size_t)r->rows * ROW > (size_t)r->steps ? (size_t)r->rows * ROW : (size_t)r->steps;
    double *room = kn_alloc(r->ctx, (most + 1) * sizeof *room, "a checkpoint");
    if (room == NULL)
        return KN_ERR_MEMORY;
    status = visit_rows(r, visitor, room);
    if (status == KN_OK)
        status = visitor->reals(visitor->user, "lr", r->lr, (int)r->steps);
    if (status == KN_OK)
        status = visitor->reals(visitor->user, "momentum", r->momentum, (int)r->steps);
    if (status == KN_OK)
        status = visit_losses(r, visitor, room);
    if (status == KN_OK)
        status = visitor->reals(visitor->user, "epoch_lr", &r->epoch_lr, 1);
    kn_free(r->ctx, room);
    return status;
}

/* The files are cut back to what they were then. */
static kn_status restored(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    (void)l;
    return r->opts.folder != NULL ? write_files(r) : KN_OK;
}

/* ---- charts ---- */

static kn_status draw(const recorder *r, kn_history_chart chart, int width, int height,
                      kn_text *out) {
    size_t bytes = (size_t)r->steps * sizeof(float);
    float *loss = kn_calloc(r->ctx, (size_t)r->steps + 1, sizeof *loss, "a chart");
    if (loss == NULL)
        return KN_ERR_MEMORY;
    kn_status status =
        r->steps == 0 ? KN_OK : r->device->ops->copy_out(r->device, loss, r->loss->data, bytes);
    kn_history h = {.row = r->row,
                    .rows = r->rows,
                    .lr = r->lr,
                    .momentum = r->momentum,
                    .loss = loss,
                    .steps = r->steps,
                    .epoch_steps = r->epoch_steps};
    if (status == KN_OK)
        status = kn_history_draw(r->ctx, &h, chart, width, height, out);
    kn_free(r->ctx, loss);
    return status;
}

static kn_status write_chart(const recorder *r, kn_history_chart chart) {
    char path[KN_PATH_MAX];
    const char *file = kn_history_chart_file(chart);
    if (kn_path_join(path, r->opts.folder, file, &r->ctx->error) != KN_OK)
        return KN_ERR_IO;
    kn_text out = {.allocator = &r->ctx->allocator};
    kn_status status = draw(r, chart, 0, 0, &out);
    if (status == KN_OK)
        status = kn_file_write(path, out.data, out.length, &r->ctx->error);
    kn_text_free(&out);
    return status;
}

static bool shows(const recorder *r, kn_history_chart chart) {
    bool varies = chart != KN_HISTORY_MOMENTUM;
    for (int64_t i = 1; i < r->steps && !varies; i++)
        varies = r->momentum[i] != r->momentum[0];
    return r->steps > 0 && varies;
}

static kn_flow after_fit(kn_callback *cb, kn_learner *l) {
    recorder *r = (recorder *)cb;
    if (l->epochs == 0 || r->opts.folder == NULL || r->steps == 0)
        return KN_GO;
    for (int i = 0; i < KN_HISTORY_CHARTS; i++)
        if (shows(r, (kn_history_chart)i) && write_chart(r, (kn_history_chart)i) != KN_OK)
            return KN_FAIL;
    return KN_GO;
}

/* ---- the callback ---- */

static void free_recorder(kn_callback *cb) {
    recorder *r = (recorder *)cb;
    release(r);
    kn_free(r->ctx, r);
}

static const kn_callback_class recorder_class = {.name = name,
                                                 .order = 50,
                                                 .skips_trials = true,
                                                 .before_fit = before_fit,
                                                 .before_epoch = before_epoch,
                                                 .after_loss = after_loss,
                                                 .after_cancel_epoch = after_cancel_epoch,
                                                 .after_epoch = after_epoch,
                                                 .after_fit = after_fit,
                                                 .state = visit,
                                                 .restored = restored,
                                                 .free = free_recorder};

kn_callback *kn_recorder_cb(kn_ctx *ctx, kn_recorder_opts opts) {
    recorder *r = kn_calloc(ctx, 1, sizeof *r, "the recorder callback");
    if (r == NULL)
        return NULL;
    r->base.cls = &recorder_class;
    r->ctx = ctx;
    r->opts = opts;
    r->text.allocator = &ctx->allocator;
    return &r->base;
}

static const recorder *recorder_of(const kn_learner *l) {
    return (const recorder *)kn_learner_find(l, name);
}

const kn_history_row *kn_recorder_rows(const kn_learner *l, int *count) {
    const recorder *r = recorder_of(l);
    *count = r != NULL ? r->rows : 0;
    return r != NULL ? r->row : NULL;
}

bool kn_recorder_shows(const kn_learner *l, kn_history_chart chart) {
    const recorder *r = recorder_of(l);
    return r != NULL && shows(r, chart);
}

kn_status kn_recorder_draw(const kn_learner *l, kn_history_chart chart, int width, int height,
                           kn_text *out) {
    const recorder *r = recorder_of(l);
    if (r == NULL || r->loss == NULL)
        return kn_fail(l->ctx, KN_ERR_STATE, "%s: nothing is recorded",
                       kn_history_chart_file(chart));
    return draw(r, chart, width, height, out);
}
