/* activation_stats_cb.c - a hook on each layer writes three numbers a batch into a table on the
 * device, which is read once, when the fit ends. All memory is taken before the first batch. */
#include "learner/activation_files.h"

#include "core/text.h"
#include "tensor/tensor.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>

static const char name[] = "activation_stats";

enum { NUMBERS = 3 }; /* mean, std, near zero */

typedef struct stats stats;

typedef struct watched {
    stats *owner;
    kn_module *module;
    int index, hook; /* 0: no hook */
} watched;

struct stats {
    kn_callback base;
    kn_ctx *ctx;
    kn_activation_opts opts;
    watched *layer;
    char **layer_name;
    size_t layers, layer_room, name_room;
    kn_device *device;
    kn_storage *table; /* double [most][layers][NUMBERS] */
    double *host;      /* the same; then batch [most] and three tables [layers][records] */
    int64_t most, batch, record;
    bool on; /* the batch under way is recorded */
    kn_activations found;
};

/* ---- which layers ---- */

static kn_status add_layer(stats *s, kn_module *m, const char *path) {
    void *layers = s->layer, *names = s->layer_name;
    bool room =
        kn_mem_grow(&s->ctx->allocator, &layers, &s->layer_room, s->layers + 1, sizeof *s->layer);
    s->layer = layers;
    room = room && kn_mem_grow(&s->ctx->allocator, &names, &s->name_room, s->layers + 1,
                               sizeof *s->layer_name);
    s->layer_name = names;
    char *copy = room ? kn_mem_strdup(&s->ctx->allocator, path) : NULL;
    if (copy == NULL)
        return kn_fail(s->ctx, KN_ERR_MEMORY, "out of memory: activations of %s", path);
    s->layer_name[s->layers] = copy;
    s->layer[s->layers] = (watched){.owner = s, .module = m, .index = (int)s->layers};
    s->layers++;
    return KN_OK;
}

static bool wanted(const stats *s, kn_module *m) {
    if (s->opts.module == NULL)
        return kn_module_child_count(m) == 0 && kn_module_numel(m) > 0;
    for (int i = 0; i < s->opts.modules; i++)
        if (s->opts.module[i] == m)
            return true;
    return false;
}

/* path ends in a dot but for the model itself. */
static kn_status walk(stats *s, kn_module *m, kn_text *path) {
    kn_status status = KN_OK;
    size_t length = path->length;
    if (wanted(s, m)) {
        if (length > 0)
            path->data[length - 1] = '\0';
        status = add_layer(s, m, length > 0 ? path->data : "model");
        if (length > 0)
            path->data[length - 1] = '.';
    }
    for (int i = 0; i < kn_module_child_count(m) && status == KN_OK; i++) {
        kn_text_printf(path, "%s.", kn_module_child_name(m, i));
        if (path->failed)
            return kn_fail(s->ctx, KN_ERR_MEMORY, "out of memory: names of layers");
        status = walk(s, kn_module_child_at(m, i), path);
        path->length = length;
    }
    return status;
}

static kn_status find_layers(stats *s, kn_module *model) {
    kn_text path = {.allocator = &s->ctx->allocator};
    kn_status status = walk(s, model, &path);
    kn_text_free(&path);
    if (status != KN_OK)
        return status;
    if (s->opts.module != NULL && s->layers < (size_t)s->opts.modules)
        return kn_fail(s->ctx, KN_ERR_ARG,
                       "activation_stats: %zu of the %d modules are in the model", s->layers,
                       s->opts.modules);
    return KN_OK;
}

/* ---- recording ---- */

static kn_tensor *on_forward(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    const watched *w = user;
    stats *s = w->owner;
    (void)m;
    (void)x;
    bool counts = y->dtype == KN_F32 || y->dtype == KN_BF16;
    if (!s->on || !counts || y->device != s->device)
        return y;
    bool was = kn_grad_enable(s->ctx, false);
    const kn_tensor *wide = kn_cast(s->ctx, y, KN_F32); /* y itself, if it is */
    kn_grad_enable(s->ctx, was);
    if (wide == NULL)
        return NULL;
    double *at =
        (double *)s->table->data + ((size_t)s->record * s->layers + (size_t)w->index) * NUMBERS;
    return s->device->ops->stats(s->device, y->numel, KN_NEAR_ZERO, kn_f32(wide), at) == KN_OK
               ? y
               : NULL;
}

static void release(stats *s) {
    for (size_t i = 0; i < s->layers; i++)
        kn_free(s->ctx, s->layer_name[i]);
    kn_free(s->ctx, s->layer_name);
    kn_free(s->ctx, s->layer);
    kn_free(s->ctx, s->host);
    kn_storage_drop(s->table);
    *s = (stats){.base = s->base, .ctx = s->ctx, .opts = s->opts};
}

/* The table, all NaN, and what its numbers are sorted into at the end. */
static kn_status make_tables(stats *s, kn_learner *l) {
    int64_t batches = (int64_t)l->epochs * kn_loader_len(l->loaders.train);
    s->most = (batches + s->opts.every - 1) / s->opts.every;
    size_t numbers = (size_t)s->most * s->layers * NUMBERS;
    s->device = kn_device_default(s->ctx);
    s->host = kn_calloc(s->ctx, 2 * numbers + (size_t)s->most + 1, sizeof *s->host,
                        "the activations' table");
    if (s->device == NULL || s->host == NULL)
        return kn_ctx_status(s->ctx);
    s->table = kn_storage_get(s->ctx, s->device, numbers * sizeof(double) + 1);
    if (s->table == NULL)
        return kn_ctx_status(s->ctx);
    for (size_t i = 0; i < numbers; i++)
        s->host[i] = NAN;
    return s->device->ops->copy_in(s->device, s->table->data, s->host, numbers * sizeof(double));
}

static kn_flow before_fit(kn_callback *cb, kn_learner *l) {
    stats *s = (stats *)cb;
    if (l->epochs == 0) /* validation alone: what the fit before found stays */
        return KN_GO;
    release(s);
    if (find_layers(s, l->model) != KN_OK || make_tables(s, l) != KN_OK)
        return KN_FAIL;
    for (size_t i = 0; i < s->layers; i++) { /* the list has its place by now */
        s->layer[i].hook = kn_module_add_hook(s->layer[i].module, on_forward, &s->layer[i]);
        if (s->layer[i].hook == 0)
            return KN_FAIL;
    }
    return KN_GO;
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    stats *s = (stats *)cb;
    if (!l->training)
        return KN_GO;
    s->record = s->batch / s->opts.every;
    s->on = s->batch % s->opts.every == 0 && s->record < s->most;
    s->batch++;
    return KN_GO;
}

static kn_flow after_batch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((stats *)cb)->on = false;
    return KN_GO;
}

/* ---- the end ---- */

static kn_status read_table(stats *s) {
    size_t layers = s->layers, most = (size_t)s->most, numbers = most * layers * NUMBERS;
    size_t records = (size_t)((s->batch + s->opts.every - 1) / s->opts.every);
    records = records < most ? records : most;
    kn_status status =
        s->device->ops->copy_out(s->device, s->host, s->table->data, numbers * sizeof(double));
    if (status != KN_OK)
        return status;
    double *batch = s->host + numbers, *table[NUMBERS];
    for (size_t c = 0; c < NUMBERS; c++)
        table[c] = batch + most + c * layers * records;
    for (size_t k = 0; k < records; k++) {
        batch[k] = (double)k * s->opts.every;
        for (size_t i = 0; i < layers; i++)
            for (size_t c = 0; c < NUMBERS; c++)
                table[c][i * records + k] = s->host[(k * layers + i) * NUMBERS + c];
    }
    s->found = (kn_activations){.layers = (int)layers,
                                .records = (int)records,
                                .name = (const char *const *)s->layer_name,
                                .batch = batch,
                                .mean = table[0],
                                .std = table[1],
                                .near_zero = table[2]};
    return KN_OK;
}

static kn_flow after_fit(kn_callback *cb, kn_learner *l) {
    stats *s = (stats *)cb;
    for (size_t i = 0; i < s->layers; i++) {
        if (s->layer[i].hook != 0)
            kn_module_remove_hook(s->layer[i].module, s->layer[i].hook);
        s->layer[i].hook = 0;
    }
    if (l->epochs == 0 || s->table == NULL || s->batch == 0)
        return KN_GO;
    if (read_table(s) != KN_OK)
        return KN_FAIL;
    if (s->opts.folder == NULL)
        return KN_GO;
    return kn_activation_files_write(s->ctx, &s->found, s->opts.folder) == KN_OK ? KN_GO : KN_FAIL;
}

static kn_status visit(kn_callback *cb, kn_learner *l, const kn_state_visitor *visitor) {
    stats *s = (stats *)cb;
    size_t numbers = (size_t)s->most * s->layers * NUMBERS;
    (void)l;
    if (numbers > INT_MAX)
        return kn_fail(s->ctx, KN_ERR_LIMIT, "activation_stats: %zu numbers for a checkpoint",
                       numbers);
    kn_status status = visitor->integers(visitor->user, "batch", &s->batch, 1);
    if (status == KN_OK)
        status =
            s->device->ops->copy_out(s->device, s->host, s->table->data, numbers * sizeof(double));
    if (status == KN_OK)
        status = visitor->reals(visitor->user, "table", s->host, (int)numbers);
    if (status == KN_OK)
        status =
            s->device->ops->copy_in(s->device, s->table->data, s->host, numbers * sizeof(double));
    return status;
}

static void free_stats(kn_callback *cb) {
    stats *s = (stats *)cb;
    release(s);
    kn_free(s->ctx, s);
}

static const kn_callback_class stats_class = {.name = name,
                                              .order = 55,
                                              .skips_trials = true,
                                              .before_fit = before_fit,
                                              .before_batch = before_batch,
                                              .after_batch = after_batch,
                                              .after_fit = after_fit,
                                              .state = visit,
                                              .free = free_stats};

kn_callback *kn_activation_stats_cb(kn_ctx *ctx, kn_activation_opts opts) {
    if (opts.every < 0 || opts.modules < 0 || (opts.modules > 0) != (opts.module != NULL)) {
        kn_fail(ctx, KN_ERR_ARG, "activation_stats: %d modules, every %d batches", opts.modules,
                opts.every);
        return NULL;
    }
    stats *s = kn_calloc(ctx, 1, sizeof *s, "the activations' callback");
    if (s == NULL)
        return NULL;
    s->base.cls = &stats_class;
    s->ctx = ctx;
    s->opts = opts;
    s->opts.every = opts.every > 0 ? opts.every : 1;
    return &s->base;
}

kn_activations kn_activation_stats(const kn_learner *l) {
    const stats *s = (const stats *)kn_learner_find(l, name);
    return s != NULL ? s->found : (kn_activations){0};
}
