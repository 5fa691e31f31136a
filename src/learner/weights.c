/* weights.c - filling a module from a file of tensors: one of Kiln's own, or one of published
 * weights whose head is for other classes. */
#include "learner/weights.h"

#include "core/text.h"
#include "nn/module.h"

#include <stdio.h>
#include <string.h>

enum { LISTED_MOST = 640 }; /* characters of names in a message; the log has them all */

/* The model's tensors beside the file's. */
typedef struct match {
    kn_ctx *ctx;
    kn_named_list own;
    const kn_st_file *file;
    int head, head_bias; /* of own; -1: none */
    bool keep_head;
} match;

/* PyTorch's batch norm counts its batches and never reads the number at the default momentum: some
 * files have it, some do not, and nothing depends on it. */
static bool is_counter(const char *name) {
    static const char counter[] = "num_batches_tracked";
    size_t length = strlen(name), tail = sizeof counter - 1;
    return length >= tail && strcmp(name + length - tail, counter) == 0;
}

/* ---- the head: the last matrix, and the bias beside it ---- */

static void find_head(match *m) {
    m->head = m->head_bias = -1;
    for (int i = 0; i < m->own.count; i++)
        if (m->own.item[i].param != NULL &&
            kn_tensor_shape(kn_named_tensor(&m->own.item[i]))->rank == 2)
            m->head = i;
    int next = m->head + 1;
    if (m->head < 0 || next >= m->own.count || m->own.item[next].param == NULL)
        return;
    const kn_shape *w = kn_tensor_shape(kn_named_tensor(&m->own.item[m->head]));
    const kn_shape *b = kn_tensor_shape(kn_named_tensor(&m->own.item[next]));
    if (b->rank == 1 && b->dim[0] == w->dim[0])
        m->head_bias = next;
}

/* Whether the file names its classes, and they are not those. */
static kn_status compare_names(const match *m, const char *path, const kn_vocab *classes,
                               bool *other) {
    kn_vocab there = {0};
    kn_status status =
        classes != NULL ? kn_model_file_classes(m->ctx, m->file, path, &there) : KN_OK;
    *other = there.count > 0 && there.count == classes->count;
    bool same = *other;
    for (int i = 0; same && i < there.count; i++)
        same = strcmp(there.name[i], classes->name[i]) == 0;
    *other = *other && !same;
    kn_vocab_free(m->ctx, &there);
    return status;
}

/* Whether the file has a head for the same inputs and other classes: another number of them, or
 * others by name. */
static bool other_classes(const match *m, bool other_names) {
    if (m->head < 0)
        return false;
    const kn_st_entry *w = kn_st_find(m->file, m->own.item[m->head].name);
    const kn_shape *own = kn_tensor_shape(kn_named_tensor(&m->own.item[m->head]));
    if (w == NULL || w->shape.rank != 2 || w->shape.dim[1] != own->dim[1] ||
        (w->shape.dim[0] == own->dim[0] && !other_names))
        return false;
    if (m->head_bias < 0)
        return true;
    const kn_st_entry *b = kn_st_find(m->file, m->own.item[m->head_bias].name);
    return b != NULL && b->shape.rank == 1 && b->shape.dim[0] == w->shape.dim[0];
}

/* ---- what differs ---- */

static bool fits(const kn_tensor *t, const kn_st_entry *e) {
    if (e == NULL || !kn_shape_equal(&e->shape, kn_tensor_shape(t)))
        return false;
    bool halves = kn_tensor_dtype(t) == KN_F32 && (e->dtype == KN_F16 || e->dtype == KN_BF16);
    return halves || e->dtype == kn_tensor_dtype(t);
}

static const kn_st_entry *entry_of(const match *m, int i) {
    return kn_st_find(m->file, m->own.item[i].name);
}

/* Whether own's i-th stays as it is. */
static bool is_left(const match *m, int i) {
    if (m->keep_head && (i == m->head || i == m->head_bias))
        return true;
    return is_counter(m->own.item[i].name) &&
           !fits(kn_named_tensor(&m->own.item[i]), entry_of(m, i));
}

/* Names gathered for the message, as far as they find room. */
typedef struct gathered {
    kn_text text;
    int missing, unknown, other, unlisted;
} gathered;

static void gather(match *m, gathered *g, const char *line) {
    kn_report(m->ctx, KN_LOG_INFO, "weights: %s", line);
    if (g->text.length + strlen(line) > LISTED_MOST)
        g->unlisted++;
    else
        kn_text_printf(&g->text, "; %s", line);
}

static void gather_own(match *m, gathered *g) {
    char a[KN_SHAPE_TEXT], b[KN_SHAPE_TEXT], line[KN_ST_MAX_NAME + 2 * KN_SHAPE_TEXT + 64];
    for (int i = 0; i < m->own.count; i++) {
        const kn_named *own = &m->own.item[i];
        const kn_tensor *t = kn_named_tensor(own);
        const kn_st_entry *e = entry_of(m, i);
        if (is_left(m, i) || fits(t, e))
            continue;
        if (e == NULL)
            snprintf(line, sizeof line, "missing %s", own->name);
        else
            snprintf(line, sizeof line, "%s is %s %s, expected %s %s", own->name,
                     kn_dtype_name(e->dtype), kn_shape_text(&e->shape, a),
                     kn_dtype_name(kn_tensor_dtype(t)), kn_shape_text(kn_tensor_shape(t), b));
        g->missing += e == NULL;
        g->other += e != NULL;
        gather(m, g, line);
    }
}

static void gather_unknown(match *m, gathered *g) {
    char line[KN_ST_MAX_NAME + 64];
    for (int i = 0; i < m->file->tensors; i++) {
        const char *name = m->file->tensor[i].name;
        bool known = is_counter(name);
        for (int j = 0; j < m->own.count && !known; j++)
            known = strcmp(m->own.item[j].name, name) == 0;
        if (known)
            continue;
        snprintf(line, sizeof line, "unknown %s", name);
        g->unknown++;
        gather(m, g, line);
    }
}

/* What kind of file a model that does not fit was looked for in. */
static kn_status describe(const match *m, const char *path, char text[96]) {
    char arch[64];
    kn_status status = kn_model_file_arch(m->ctx, m->file, path, arch, sizeof arch);
    snprintf(text, 96, "%s%s%s", arch[0] != '\0' ? "is a " : "", arch,
             arch[0] != '\0' ? " and " : "");
    return status;
}

static kn_status compare(match *m, const char *path) {
    char kind[96] = "";
    gathered g = {.text = {.allocator = &m->ctx->allocator}};
    kn_status status = KN_OK;
    gather_own(m, &g);
    gather_unknown(m, &g);
    if (g.unlisted > 0)
        kn_text_printf(&g.text, "; and %d more", g.unlisted);
    if (g.text.failed)
        status = kn_fail(m->ctx, KN_ERR_MEMORY, "%s: no memory to compare it with the model", path);
    else if (g.text.length > 0 && (status = describe(m, path, kind)) == KN_OK)
        status =
            kn_fail(m->ctx, KN_ERR_FORMAT,
                    "%s: %sdoes not fit the model (%d missing, %d unknown, %d of another shape "
                    "or type): %s",
                    path, kind, g.missing, g.unknown, g.other, g.text.data + 2);
    kn_text_free(&g.text);
    return status;
}

/* ---- filling ---- */

static kn_status fill_one(match *m, kn_tensor *t, const kn_st_entry *e, float *room) {
    size_t bytes = kn_tensor_bytes(t);
    if (e->dtype == kn_tensor_dtype(t))
        return kn_tensor_write(m->ctx, t, e->data, bytes);
    kn_st_to_f32(e, room);
    return kn_tensor_write(m->ctx, t, room, bytes);
}

/* Numbers of the largest tensor that must be converted. */
static int64_t room_needed(const match *m, int *converted) {
    int64_t most = 0;
    *converted = 0;
    for (int i = 0; i < m->own.count; i++) {
        const kn_tensor *t = kn_named_tensor(&m->own.item[i]);
        if (is_left(m, i) || entry_of(m, i)->dtype == kn_tensor_dtype(t))
            continue;
        ++*converted;
        most = kn_tensor_numel(t) > most ? kn_tensor_numel(t) : most;
    }
    return most;
}

static kn_status fill(match *m, kn_weights_report *report) {
    int64_t most = room_needed(m, &report->converted);
    float *room = kn_alloc(m->ctx, (size_t)most * sizeof *room + 1, "converting weights");
    kn_status status = room != NULL ? KN_OK : KN_ERR_MEMORY;
    for (int i = 0; i < m->own.count && status == KN_OK; i++)
        if (!is_left(m, i))
            status = fill_one(m, kn_named_tensor(&m->own.item[i]), entry_of(m, i), room);
    kn_free(m->ctx, room);
    return status;
}

/* ---- all of it ---- */

static void report_head(const match *m, kn_weights_report *report) {
    if (m->head < 0)
        return;
    const char *name = m->own.item[m->head].name, *dot = strrchr(name, '.');
    int length = dot != NULL ? (int)(dot - name) : 0;
    const kn_st_entry *e = kn_st_find(m->file, name);
    snprintf(report->head, sizeof report->head, "%.*s", length, name);
    report->head_replaced = m->keep_head;
    report->file_classes = e != NULL && e->shape.rank == 2 ? e->shape.dim[0] : 0;
}

kn_status kn_weights_fill(kn_module *model, const kn_st_file *file, const char *path,
                          kn_weights_opts opts, kn_weights_report *report) {
    kn_weights_report unread;
    match m = {.ctx = kn_module_ctx(model), .file = file};
    report = report != NULL ? report : &unread;
    *report = (kn_weights_report){0};
    kn_status status = kn_module_state_list(model, &m.own);
    if (status != KN_OK)
        return status;
    bool other_names;
    find_head(&m);
    status = compare_names(&m, path, opts.classes, &other_names);
    m.keep_head = opts.replace_head && other_classes(&m, other_names);
    if (status == KN_OK)
        status = compare(&m, path);
    if (status == KN_OK)
        status = fill(&m, report);
    if (status == KN_OK) {
        report_head(&m, report);
        status = kn_model_file_norm(m.ctx, file, path, &report->has_norm, &report->norm);
    }
    kn_named_free(m.ctx, &m.own);
    return status;
}

kn_status kn_weights_load_with(kn_module *model, const char *path, kn_weights_opts opts,
                               kn_weights_report *report) {
    if (model == NULL)
        return KN_ERR_STATE;
    kn_ctx *ctx = kn_module_ctx(model);
    kn_st_file *file;
    kn_error error = {0};
    if (kn_st_open(&file, path, &ctx->allocator, &error) != KN_OK)
        return kn_fail_with(ctx, &error);
    kn_status status = kn_weights_fill(model, file, path, opts, report);
    kn_st_close(file);
    return status;
}

kn_status kn_weights_load(kn_module *model, const char *path) {
    return kn_weights_load_with(model, path, (kn_weights_opts){0}, NULL);
}
