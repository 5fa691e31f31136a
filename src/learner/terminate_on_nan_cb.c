/* terminate_on_nan_cb.c - ends a fit whose loss, gradients or weights are no numbers any more, and
 * says where it began: what would follow is wasted, and what is saved is still good.
 *
 * On a device that works asynchronously it looks some steps later, and before anything is saved:
 * then it says which step it was, but that step's batch and weights are gone, and with them the
 * layer. */
#include "learner/terminate_on_nan.h"

#include "core/text.h"
#include "learner/finite_ring.h"
#include "learner/square_sum.h"

#include <kiln/callbacks.h>

#include <math.h>
#include <stdio.h>

typedef struct terminate {
    kn_callback base;
    kn_ctx *ctx;
    kn_square_sum sum; /* finite only if all numbers are */
    kn_finite_ring ring;
    bool defer; /* even on a host device */
} terminate;

static const char name_of_class[] = "terminate_on_nan";

/* ---- are these numbers? ---- */

static kn_status read_finite(const kn_square_sum *s, bool *finite) {
    double total = 0;
    kn_status status = kn_square_sum_read(s, &total);
    *finite = isfinite(total);
    return status;
}

static kn_status all_finite(terminate *t, const kn_tensor *x, bool *finite) {
    kn_status status = kn_square_sum_tensor(&t->sum, x);
    return status == KN_OK ? read_finite(&t->sum, finite) : status;
}

/* ---- where did it begin? ---- */

/* The first parameter whose values, or the last whose gradient, is not finite: forward the trouble
 * moves from the first layer to the last, backward the other way. Empty: none is. */
static void find_parameter(terminate *t, kn_learner *l, bool gradients, char *name, size_t size) {
    kn_named_list list;
    name[0] = '\0';
    if (kn_module_parameters(l->model, &list) != KN_OK)
        return;
    for (int i = 0; i < list.count; i++) {
        kn_param *p = list.item[i].param;
        bool finite = true;
        if (gradients && !kn_param_has_grad(p))
            continue;
        if (all_finite(t, gradients ? kn_param_grad(p) : kn_param_value(p), &finite) != KN_OK)
            break;
        if (!finite && (gradients || name[0] == '\0'))
            snprintf(name, size, "%s", list.item[i].name);
    }
    kn_named_free(l->ctx, &list);
}

typedef struct trace {
    terminate *t;
    kn_learner *l;
    kn_module *first; /* of those without children: whose output is the first that is not finite */
} trace;

static kn_tensor *look(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    trace *r = user;
    bool finite = true;
    (void)x;
    if (r->first == NULL && y != NULL) {
        const kn_tensor *wide = kn_cast(r->l->ctx, y, KN_F32);
        if (wide != NULL && all_finite(r->t, wide, &finite) == KN_OK && !finite)
            r->first = m;
    }
    return y;
}

/* Every module without children, with its name; hooks it or takes its hook away. */
static void visit_leaves(trace *r, kn_module *m, kn_text *path, int **hook, char *name,
                         size_t size) {
    size_t length = path->length;
    if (kn_module_child_count(m) == 0) {
        if (name == NULL)
            *(*hook)++ = kn_module_add_hook(m, look, r);
        else {
            kn_module_remove_hook(m, *(*hook)++);
            if (m == r->first)
                snprintf(name, size, "%.*s", (int)(length > 0 ? length - 1 : 0), path->data);
        }
    }
    for (int i = 0; i < kn_module_child_count(m); i++) {
        kn_text_printf(path, "%s.", kn_module_child_name(m, i));
        visit_leaves(r, kn_module_child_at(m, i), path, hook, name, size);
        path->length = length;
    }
}

static int leaves(kn_module *m) {
    int count = kn_module_child_count(m) == 0;
    for (int i = 0; i < kn_module_child_count(m); i++)
        count += leaves(kn_module_child_at(m, i));
    return count;
}

/* The batch goes through the model once more, watched. */
static void find_layer(terminate *t, kn_learner *l, char *name, size_t size) {
    trace r = {.t = t, .l = l};
    kn_text path = {.allocator = &l->ctx->allocator};
    int *hook = kn_calloc(l->ctx, (size_t)leaves(l->model) + 1, sizeof *hook, "a look for NaN");
    int *at = hook;
    name[0] = '\0';
    if (hook == NULL)
        return;
    visit_leaves(&r, l->model, &path, &at, NULL, 0);
    bool was = kn_grad_enable(l->ctx, false);
    kn_forward(l->model, l->dtype == KN_F32 ? l->x : kn_cast(l->ctx, l->x, l->dtype));
    kn_grad_enable(l->ctx, was);
    at = hook;
    visit_leaves(&r, l->model, &path, &at, name, size);
    kn_free(l->ctx, hook);
    kn_text_free(&path);
}

/* ---- some steps later ---- */

static bool later(const terminate *t, kn_learner *l) {
    const kn_device *d = kn_device_default(l->ctx);
    return t->defer || (d != NULL && !kn_device_is_host(d));
}

static kn_status look_back(terminate *t, kn_learner *l) {
    static const char *const text[] = {"the loss is not finite", "the gradients are not finite",
                                       "the weights are not finite"};
    bool found;
    kn_finite_what bad;
    kn_finite_place at;
    kn_status status = kn_finite_ring_read(&t->ring, &found, &bad, &at);
    if (status != KN_OK || !found)
        return status;
    return kn_fail(
        l->ctx, KN_ERR_STATE,
        "epoch %d, batch %lld: %s, so the training stops; a lower learning rate may help "
        "(device %s looks every %d steps; on cpu the layer would be named)",
        at.epoch, (long long)at.batch, text[bad], kn_device_name(kn_device_default(l->ctx)),
        KN_FINITE_STEPS);
}

kn_status kn_terminate_on_nan_check(kn_learner *l) {
    kn_callback *cb = kn_learner_find(l, name_of_class);
    return cb != NULL ? look_back((terminate *)cb, l) : KN_OK;
}

void kn_terminate_on_nan_defer(kn_callback *cb) {
    ((terminate *)cb)->defer = true;
}

static kn_status leave_gradients(terminate *t, const kn_pack *pack) {
    kn_status status = KN_OK;
    int64_t offset, length;
    for (int at = 0; status == KN_OK && kn_gradient_range(pack, &at, &offset, &length);)
        status =
            kn_finite_ring_add(&t->ring, KN_FINITE_GRADIENTS, length, kn_f32(pack->grads) + offset);
    return status;
}

static kn_flow leave_loss(terminate *t, kn_learner *l) {
    kn_device *d = kn_device_default(l->ctx);
    if (kn_finite_ring_full(&t->ring) &&
        look_back(t, l) != KN_OK) /* its last steps were cancelled */
        return KN_FAIL;
    kn_status status =
        kn_finite_ring_begin(&t->ring, d, (kn_finite_place){l->epoch, l->batch_index});
    if (status == KN_OK)
        status = kn_finite_ring_add(&t->ring, KN_FINITE_LOSS, 1, kn_f32(l->loss));
    return status == KN_OK ? KN_GO : KN_FAIL;
}

static kn_flow leave_pack(terminate *t, kn_learner *l, bool gradients) {
    const kn_pack *pack = kn_module_pack(l->model);
    kn_status status = pack == NULL ? kn_ctx_status(l->ctx)
                       : gradients  ? leave_gradients(t, pack)
                                    : kn_finite_ring_add(&t->ring, KN_FINITE_WEIGHTS,
                                                         pack->values->numel, kn_f32(pack->values));
    if (status == KN_OK && !gradients && kn_finite_ring_full(&t->ring))
        status = look_back(t, l);
    return status == KN_OK ? KN_GO : KN_FAIL;
}

/* ---- events ---- */

enum { NAME = 256 };

static kn_flow stop(kn_learner *l, const char *what, const char *where, const char *name) {
    kn_error_take(l->ctx); /* of the search, if there is one: it is not the news */
    kn_fail(l->ctx, KN_ERR_STATE,
            "epoch %d, batch %lld: %s%s%s, so the training stops; a lower learning rate may help",
            l->epoch, (long long)l->batch_index, what, name[0] != '\0' ? where : "", name);
    return KN_FAIL;
}

/* Before backward, so that this batch does no damage. */
static kn_flow after_loss(kn_callback *cb, kn_learner *l) {
    terminate *t = (terminate *)cb;
    char name[NAME];
    if (!l->training)
        return KN_GO;
    if (later(t, l))
        return leave_loss(t, l);
    double loss = kn_item(l->ctx, l->loss);
    if (isfinite(loss) || kn_ctx_status(l->ctx) != KN_OK)
        return KN_GO;
    const char *what = isnan(loss) ? "the loss is not a number" : "the loss is infinite";
    find_parameter(t, l, false, name, sizeof name);
    if (name[0] != '\0')
        return stop(l, what, ", which began with the weights of ", name);
    find_layer(t, l, name, sizeof name);
    return stop(l, what, ", which began in the output of ", name);
}

static kn_flow check_pack(terminate *t, kn_learner *l, bool gradients) {
    if (later(t, l))
        return leave_pack(t, l, gradients);
    const kn_pack *pack = kn_module_pack(l->model);
    bool finite = true;
    char name[NAME];
    if (pack == NULL)
        return KN_FAIL;
    kn_status status = gradients ? kn_square_sum_gradients(&t->sum, pack)
                                 : kn_square_sum_tensor(&t->sum, pack->values);
    if (status != KN_OK || read_finite(&t->sum, &finite) != KN_OK)
        return KN_FAIL;
    if (finite)
        return KN_GO;
    find_parameter(t, l, gradients, name, sizeof name);
    return gradients ? stop(l, "the gradients are not finite", ", which began with that of ", name)
                     : stop(l, "the weights are not finite", ", which began with ", name);
}

static kn_flow after_backward(kn_callback *cb, kn_learner *l) {
    return check_pack((terminate *)cb, l, true);
}

static kn_flow after_step(kn_callback *cb, kn_learner *l) {
    return check_pack((terminate *)cb, l, false);
}

static kn_flow after_train(kn_callback *cb, kn_learner *l) {
    return look_back((terminate *)cb, l) == KN_OK ? KN_GO : KN_FAIL;
}

static void free_terminate(kn_callback *cb) {
    terminate *t = (terminate *)cb;
    kn_square_sum_free(&t->sum);
    kn_finite_ring_free(&t->ring);
    kn_free(t->ctx, t);
}

/* After those that keep the loss. */
static const kn_callback_class terminate_class = {.name = name_of_class,
                                                  .order = 100,
                                                  .skips_trials = true,
                                                  .after_loss = after_loss,
                                                  .after_backward = after_backward,
                                                  .after_step = after_step,
                                                  .after_train = after_train,
                                                  .free = free_terminate};

kn_callback *kn_terminate_on_nan_cb(kn_ctx *ctx) {
    terminate *t = kn_calloc(ctx, 1, sizeof *t, "the callback that looks for NaN");
    if (t == NULL)
        return NULL;
    t->base.cls = &terminate_class;
    t->ctx = t->sum.ctx = t->ring.ctx = ctx;
    return &t->base;
}
