/* checkpoint_walk.c - see checkpoint.h: everything that a training goes on from, part by part. */
#include "learner/checkpoint.h"

#include "core/text.h"
#include "formats/sha256.h"
#include "learner/events.h"
#include "nn/module.h"

#include <stdio.h>
#include <string.h>

const char kn_checkpoint_last[] = "last.ckpt";
const char kn_checkpoint_next[] = "next.ckpt";
const char kn_checkpoint_previous[] = "previous.ckpt";

/* ---- names ---- */

typedef struct walk {
    kn_learner *l;
    const kn_checkpoint_sink *sink;
    kn_text name; /* its first `prefix` bytes say whose part it is */
    size_t prefix;
} walk;

static void begin_part(walk *w, const char *owner, int number) {
    w->name.length = 0;
    kn_text_printf(&w->name, "%s", owner);
    if (number > 1) /* a second callback of one class */
        kn_text_printf(&w->name, "#%d", number);
    kn_text_append(&w->name, ".", 1);
    w->prefix = w->name.length;
}

static const char *full_name(walk *w, const char *name) {
    w->name.length = w->prefix;
    kn_text_printf(&w->name, "%s", name);
    if (w->name.failed)
        kn_fail(w->l->ctx, KN_ERR_MEMORY, "out of memory: a checkpoint's names");
    return w->name.failed ? NULL : w->name.data;
}

/* ---- a state's visitor, which hands on to the sink ---- */

static kn_status show_tensor(void *user, const char *name, kn_tensor *t) {
    walk *w = user;
    const char *full = full_name(w, name);
    return full != NULL ? w->sink->tensor(w->sink->user, full, t) : KN_ERR_MEMORY;
}

static kn_status show_integers(void *user, const char *name, int64_t *value, int count) {
    walk *w = user;
    const char *full = full_name(w, name);
    kn_shape shape = KN_SHAPE(count);
    return full != NULL ? w->sink->values(w->sink->user, full, KN_I64, &shape, value)
                        : KN_ERR_MEMORY;
}

static kn_status show_reals(void *user, const char *name, double *value, int count) {
    walk *w = user;
    const char *full = full_name(w, name);
    kn_shape shape = KN_SHAPE(count, sizeof *value);
    return full != NULL ? w->sink->values(w->sink->user, full, KN_U8, &shape, value)
                        : KN_ERR_MEMORY;
}

/* ---- parts ---- */

static kn_status walk_model(walk *w) {
    kn_named_list list;
    kn_status status = kn_module_state_list(w->l->model, &list);
    begin_part(w, "model", 1);
    for (int i = 0; i < list.count && status == KN_OK; i++)
        status = show_tensor(w, list.item[i].name, kn_named_tensor(&list.item[i]));
    kn_named_free(w->l->ctx, &list);
    return status;
}

/* Between steps they are zeros, unless batches are being added up. */
static kn_status walk_gradients(walk *w) {
    const kn_pack *pack = kn_module_pack(w->l->model);
    if (pack == NULL)
        return kn_ctx_status(w->l->ctx);
    int64_t *live = kn_calloc(w->l->ctx, (size_t)pack->count + 1, sizeof *live, "a checkpoint");
    if (live == NULL)
        return KN_ERR_MEMORY;
    for (int i = 0; i < pack->count; i++)
        live[i] = kn_param_has_grad(pack->segment[i].param);
    begin_part(w, "gradients", 1);
    kn_status status = show_integers(w, "live", live, pack->count);
    bool any = false;
    for (int i = 0; i < pack->count && status == KN_OK; i++) {
        pack->segment[i].param->value.grad_live = live[i] != 0;
        any = any || live[i] != 0;
    }
    if (status == KN_OK && any)
        status = show_tensor(w, "sum", pack->grads);
    kn_free(w->l->ctx, live);
    return status;
}

static int number_of(const struct kn_learner_state *s, size_t at) {
    int number = 1;
    for (size_t i = 0; i < at; i++)
        number += strcmp(s->callback[i]->cls->name, s->callback[at]->cls->name) == 0;
    return number;
}

static kn_status walk_callbacks(walk *w, const kn_state_visitor *visitor) {
    const struct kn_learner_state *s = w->l->state;
    kn_status status = KN_OK;
    for (size_t i = 0; i < s->count && status == KN_OK; i++) {
        kn_callback *cb = s->callback[i];
        char owner[80];
        if (cb->cls->state == NULL)
            continue;
        snprintf(owner, sizeof owner, "callback.%.64s", cb->cls->name);
        begin_part(w, owner, number_of(s, i));
        status = cb->cls->state(cb, w->l, visitor);
    }
    return status;
}

kn_status kn_checkpoint_walk(kn_learner *l, const kn_checkpoint_sink *sink) {
    walk w = {.l = l, .sink = sink, .name = {.allocator = &l->ctx->allocator}};
    kn_state_visitor visitor = {show_tensor, show_integers, show_reals, &w};
    kn_status status = walk_model(&w);
    if (status == KN_OK)
        status = walk_gradients(&w);
    begin_part(&w, "optimizer", 1);
    if (status == KN_OK)
        status = kn_optimizer_state(l->opt, &visitor);
    if (status == KN_OK)
        status = walk_callbacks(&w, &visitor);
    kn_text_free(&w.name);
    return status;
}

/* ---- the place ---- */

kn_checkpoint_place kn_checkpoint_place_of(const kn_learner *l, int64_t trained) {
    return (kn_checkpoint_place){.epochs = l->epochs,
                                 .epoch = l->epoch,
                                 .batch = trained,
                                 .batches = kn_loader_len(l->loaders.train),
                                 .samples = kn_loader_samples(l->loaders.train),
                                 .step = l->step,
                                 .seed = kn_ctx_seed(l->ctx),
                                 .threads = kn_ctx_threads(l->ctx)};
}

void kn_checkpoint_place_pack(const kn_checkpoint_place *p, int64_t out[KN_CHECKPOINT_NUMBERS]) {
    const int64_t number[KN_CHECKPOINT_NUMBERS] = {
        KN_CHECKPOINT_VERSION, p->epochs, p->epoch, p->batch, p->batches, p->samples, p->step,
        (int64_t)p->seed,      p->threads};
    memcpy(out, number, sizeof number);
}

/* False: these are no place, or one of a later version. */
bool kn_checkpoint_place_unpack(const int64_t in[KN_CHECKPOINT_NUMBERS], kn_checkpoint_place *p) {
    *p = (kn_checkpoint_place){.epochs = in[1],
                               .epoch = in[2],
                               .batch = in[3],
                               .batches = in[4],
                               .samples = in[5],
                               .step = in[6],
                               .seed = (uint64_t)in[7],
                               .threads = in[8]};
    return in[0] == KN_CHECKPOINT_VERSION && p->epoch >= 0 && p->epoch < p->epochs &&
           p->epochs <= INT32_MAX && p->batch >= 0 && p->batch <= p->batches && p->samples >= 0 &&
           p->step >= 0 && p->threads >= 1;
}

/* ---- the sum ---- */

enum { MOST_KEYS = 256, MOST_EMPTY = 1024 };

static void add_text(kn_sha256 *h, const char *text) {
    kn_sha256_add(h, text, strlen(text) + 1);
}

/* The key that follows in the order of bytes; NULL: none. A file keeps no order of its keys. */
static const kn_st_meta *next_key(const kn_st_meta *meta, int metas, const char *after) {
    const kn_st_meta *next = NULL;
    for (int i = 0; i < metas; i++)
        if (strcmp(meta[i].key, after) > 0 && (next == NULL || strcmp(meta[i].key, next->key) < 0))
            next = &meta[i];
    return next;
}

/* In the order of their bytes; those that have none have no place among them, and go by name. */
static const kn_st_entry *next_empty(const kn_st_entry *tensor, int tensors, const char *after) {
    const kn_st_entry *next = NULL;
    for (int i = 0; i < tensors; i++)
        if (kn_shape_numel(&tensor[i].shape) == 0 && strcmp(tensor[i].name, after) > 0 &&
            (next == NULL || strcmp(tensor[i].name, next->name) < 0))
            next = &tensor[i];
    return next;
}

static void add_tensor(kn_sha256 *h, const kn_st_entry *e) {
    int64_t form[2 + KN_MAX_RANK] = {e->dtype, e->shape.rank};
    for (int d = 0; d < e->shape.rank; d++)
        form[2 + d] = e->shape.dim[d];
    add_text(h, e->name);
    kn_sha256_add(h, form, sizeof form);
    kn_sha256_add(h, e->data, (size_t)kn_shape_numel(&e->shape) * kn_dtype_size(e->dtype));
}

kn_status kn_checkpoint_sum(const kn_st_entry *tensor, int tensors, const kn_st_meta *meta,
                            int metas, char hex[65], kn_error *error) {
    int empty = 0;
    for (int i = 0; i < tensors; i++)
        empty += kn_shape_numel(&tensor[i].shape) == 0;
    if (metas > MOST_KEYS || empty > MOST_EMPTY) /* each is looked for among all */
        return kn_error_set(error, KN_ERR_LIMIT,
                            "%d keys and %d tensors without numbers, a checkpoint has at most %d "
                            "and %d",
                            metas, empty, MOST_KEYS, MOST_EMPTY);
    kn_sha256 h;
    kn_sha256_begin(&h);
    for (const kn_st_meta *m = next_key(meta, metas, ""); m != NULL;
         m = next_key(meta, metas, m->key))
        if (strcmp(m->key, KN_CHECKPOINT_SHA256) != 0) {
            add_text(&h, m->key);
            add_text(&h, m->value);
        }
    for (int i = 0; i < tensors; i++)
        if (kn_shape_numel(&tensor[i].shape) > 0)
            add_tensor(&h, &tensor[i]);
    for (const kn_st_entry *e = next_empty(tensor, tensors, ""); e != NULL;
         e = next_empty(tensor, tensors, e->name))
        add_tensor(&h, e);
    return kn_sha256_end(&h, hex, error);
}
