/* terminate_on_nan_cb.c - ends a fit whose loss is no number any more: what would follow is wasted.
 */
#include "core/ctx.h"

#include <kiln/callbacks.h>

#include <math.h>

typedef struct terminate {
    kn_callback base;
    kn_ctx *ctx;
} terminate;

/* Before backward, so that this batch does no damage. Reading one number is a look at memory on the
 * devices there are. */
static kn_flow after_loss(kn_callback *cb, kn_learner *l) {
    (void)cb;
    if (!l->training)
        return KN_GO;
    double loss = kn_item(l->ctx, l->loss);
    if (isfinite(loss) || kn_ctx_status(l->ctx) != KN_OK)
        return KN_GO;
    kn_fail(
        l->ctx, KN_ERR_STATE,
        "epoch %d, batch %lld: the loss is %s, so the training stops; a lower learning rate may "
        "help",
        l->epoch, (long long)l->batch_index, isnan(loss) ? "not a number" : "infinite");
    return KN_FAIL;
}

static void free_terminate(kn_callback *cb) {
    kn_free(((terminate *)cb)->ctx, cb);
}

/* After those that keep the loss. */
static const kn_callback_class terminate_class = {.name = "terminate_on_nan",
                                                  .order = 100,
                                                  .skips_trials = true,
                                                  .after_loss = after_loss,
                                                  .free = free_terminate};

kn_callback *kn_terminate_on_nan_cb(kn_ctx *ctx) {
    terminate *t = kn_calloc(ctx, 1, sizeof *t, "the callback that looks for NaN");
    if (t == NULL)
        return NULL;
    t->base.cls = &terminate_class;
    t->ctx = ctx;
    return &t->base;
}
