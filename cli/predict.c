/* predict.c - kiln predict: what a trained model takes pictures for. */
#include "column.h"
#include "json_line.h"
#include "model.h"
#include "predict_files.h"

#include <kiln/predict.h>

#include <math.h>

#include <sys/stat.h>

typedef struct predict {
    session *s;
    kn_loaded_model m;
    predict_files files;
    kn_loader *loader;
    kn_dtype dtype;
    float *probs; /* [batch_size,classes] */
    int *order;   /* [classes]: the first top are the most probable, falling */
    int top;
    int width;      /* of the longest class name */
    bool bad;       /* a picture could not be read */
    bool no_number; /* probabilities are NaN */
} predict;

/* ---- one batch ---- */

/* Into probs, on the device that the context chose. */
static kn_status forward(predict *p, const kn_batch *batch) {
    kn_ctx *ctx = p->s->ctx;
    kn_predict_opts opts = {.tta = p->s->a.tta, .dtype = p->dtype};
    kn_tensor *probs = kn_predict_batch(p->m.model, &p->m.norm, batch, opts); // [n,classes]
    if (probs != NULL)
        kn_tensor_read(ctx, probs, p->probs, (size_t)kn_tensor_numel(probs) * sizeof *p->probs);
    kn_step_end(ctx);
    return kn_ctx_status(ctx);
}

/* Of equals the first; a NaN is never the larger. */
static bool larger(float a, float b) {
    return a > b || (isnan(b) && !isnan(a));
}

/* Into order, by insertion: top is small beside the classes. */
static void find_top(const predict *p, const float *x) {
    int used = 0;
    for (int i = 0; i < p->m.vocab.count; i++) {
        int place = used;
        while (place > 0 && larger(x[i], x[p->order[place - 1]]))
            place--;
        if (place == p->top)
            continue;
        used += used < p->top;
        for (int k = used - 1; k > place; k--)
            p->order[k] = p->order[k - 1];
        p->order[place] = i;
    }
}

static void tell_top(const predict *p, const float *probs, kn_text *t) {
    line_array_open(t, "top");
    for (int k = 0; k < p->top; k++) {
        line_object_open(t, NULL);
        line_string(t, "label", p->m.vocab.name[p->order[k]]);
        line_real(t, "prob", (double)probs[p->order[k]]);
        line_object_close(t);
    }
    line_array_close(t);
}

static void tell(const predict *p, const char *path, const float *probs, kn_text *t) {
    int classes = p->m.vocab.count;
    find_top(p, probs);
    int label = p->order[0];
    if (!p->s->r.json) {
        for (int k = 0; k < p->top; k++) {
            column_text(t, p->m.vocab.name[p->order[k]], p->width);
            kn_text_printf(t, "  %.4f  ", (double)probs[p->order[k]]);
        }
        column_clean(t, path);
        kn_text_append(t, "\n", 1);
        return;
    }
    line_open(t);
    line_string(t, "path", path);
    line_string(t, "label", p->m.vocab.name[label]);
    line_real(t, "prob", (double)probs[label]);
    line_array_open(t, "probs");
    for (int i = 0; i < classes; i++)
        line_real(t, NULL, (double)probs[i]);
    line_array_close(t);
    if (p->top > 1)
        tell_top(p, probs, t);
    line_close(t);
}

static void tell_bad(predict *p, const predict_item *item, kn_text *t) {
    bool json = p->s->r.json;
    p->bad = true;
    if (json) {
        line_open(t);
        line_string(t, "path", item->path);
        line_string(t, "error", item->error);
        line_close(t);
    }
    p->s->r.json = false; /* its event is the line above */
    report_fail(&p->s->r, EXIT_DATA, "%s", item->error);
    p->s->r.json = json;
}

/* False once stdout is gone: nobody reads the rest. */
static bool tell_batch(predict *p, const kn_batch *batch) {
    kn_text t = {0};
    for (int i = 0; i < batch->n; i++) {
        const predict_item *item = &p->files.item[batch->index[i]];
        const float *probs = p->probs + (size_t)i * (size_t)p->m.vocab.count;
        if (item->error != NULL) {
            tell_bad(p, item, &t);
            continue;
        }
        tell(p, item->path, probs, &t);
        p->no_number = p->no_number || isnan(probs[0]); /* then all of them are */
    }
    return report_out(&p->s->r, &t);
}

static kn_status run_batches(predict *p) {
    kn_batch batch;
    bool got = true, wanted = true;
    kn_status status = kn_loader_start(p->loader, 0);
    while (status == KN_OK && wanted) {
        status = kn_loader_next(p->loader, &batch, &got);
        if (status != KN_OK || !got)
            break;
        status = forward(p, &batch);
        if (status == KN_OK)
            wanted = tell_batch(p, &batch);
        kn_loader_release(p->loader, &batch);
    }
    return status;
}

/* ---- before ---- */

/* Bare weights hold no class names; a folder among the words may, if it has as many classes. */
static void find_classes(predict *p, char *const *word, int words) {
    kn_ctx *ctx = p->s->ctx;
    for (int i = 0; i < words; i++) {
        struct stat st;
        kn_split split;
        if (stat(word[i], &st) != 0 || !S_ISDIR(st.st_mode))
            continue;
        bool found = kn_split_folder(ctx, word[i], (kn_split_opts){0}, &split) == KN_OK &&
                     split.vocab.count == p->m.vocab.count;
        if (found) {
            kn_vocab numbers = p->m.vocab;
            p->m.vocab = split.vocab;
            split.vocab = numbers;
        }
        kn_error_take(ctx); /* a folder without classes is none of the user's mistakes */
        kn_split_free(ctx, &split);
        if (found)
            return;
    }
    report_warning(&p->s->r, "bare weights name no classes: labels are numbers");
}

static kn_status prepare(predict *p, char *const *word, int words) {
    kn_ctx *ctx = p->s->ctx;
    const args *a = &p->s->a;
    if (a->weights != NULL)
        find_classes(p, word, words);
    for (int i = 0; i < p->m.vocab.count; i++)
        if (column_width(p->m.vocab.name[i]) > p->width)
            p->width = column_width(p->m.vocab.name[i]);
    kn_image_opts opts = {.resize = p->m.resize, .fast_decode = args_fast_decode(a)};
    kn_status status = predict_files_open(&p->files, ctx, word, words, p->m.size, opts);
    for (size_t i = 0; i < p->files.scans; i++)
        data_warn_passed_over(p->s, &p->files.scan[i]);
    if (status != KN_OK)
        return status;
    kn_loader_opts loading = {.workers = a->workers,
                              .max_image_memory = (size_t)a->max_image_memory << 20};
    p->loader = kn_loader_new(ctx, &p->files.base, p->m.batch_size, loading);
    p->probs = kn_calloc(ctx, (size_t)p->m.batch_size * (size_t)p->m.vocab.count, sizeof *p->probs,
                         "the probabilities");
    p->top = a->top < p->m.vocab.count ? a->top : p->m.vocab.count;
    p->order = kn_calloc(ctx, (size_t)p->m.vocab.count, sizeof *p->order, "the order of classes");
    if (p->loader == NULL || p->probs == NULL || p->order == NULL)
        return kn_ctx_status(ctx);
    p->dtype = session_dtype(p->s);
    kn_grad_enable(ctx, false);
    kn_module_train(p->m.model, false);
    kn_device *device = kn_device_default(ctx);
    kn_status moved = device != NULL ? kn_module_to(p->m.model, device) : KN_OK;
    return moved == KN_OK ? kn_ctx_status(ctx) : moved;
}

int predict_run(session *s) {
    predict p = {.s = s};
    int words, code = model_open(s, &p.m);
    char **word = model_words(s, &words);
    if (code == EXIT_DONE) {
        if (prepare(&p, word, words) != KN_OK || run_batches(&p) != KN_OK)
            code = session_fail(s);
        else if (p.bad)
            code = EXIT_DATA;
        if ((code == EXIT_DONE || code == EXIT_DATA) && p.no_number)
            code = report_fail(&s->r, EXIT_FAILED, "%s", model_no_number);
    }
    kn_loader_free(p.loader);
    predict_files_free(&p.files);
    kn_free(s->ctx, p.probs);
    kn_free(s->ctx, p.order);
    kn_loaded_model_free(s->ctx, &p.m);
    return code;
}
