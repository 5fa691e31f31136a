/* loss.c - the chapter's section on the loss: log_softmax in three forms, and what becomes of each
 * with large numbers; nll; cross_entropy.
 *
 * Each form is an expression of ops, so each is differentiable as it stands. None is checked on the
 * way: an op that is given NULL returns NULL, and the context keeps the first error to the end. */
#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>

enum { ROWS = 2, CLASSES = 4 };

static const float logits[ROWS][CLASSES] = {{1, 2, 0.5f, -1}, {0, -2, 3, 1}};
static const int32_t labels[ROWS] = {1, 3};
static const kn_reduce_opts keep = {.keep = true};

/* As the definition reads: log(exp(x) / sum(exp(x))). exp overflows from 89 on. */
static kn_tensor *log_softmax_quotient(kn_ctx *ctx, kn_tensor *x) { /* [N,C] -> [N,C] */
    kn_tensor *e = kn_exp(ctx, x);
    return kn_log(ctx, kn_div(ctx, e, kn_sum(ctx, e, KN_AXIS(1), keep)));
}

/* log(a / b) = log(a) - log(b): x - log(sum(exp(x))). No
 * quotient of two infinities any more, but exp(x) still overflows. */
static kn_tensor *log_softmax_difference(kn_ctx *ctx, kn_tensor *x) {
    kn_tensor *sum = kn_sum(ctx, kn_exp(ctx, x), KN_AXIS(1), keep); /* [N,1] */
    return kn_sub(ctx, x, kn_log(ctx, sum));
}

/* With the row's maximum m taken out first, log(sum(exp(x))) = m + log(sum(exp(x - m))), no exp is
 * of more than 0. */
static kn_tensor *log_softmax_stable(kn_ctx *ctx, kn_tensor *x) {
    kn_tensor *m = kn_max(ctx, x, KN_AXIS(1), keep); /* [N,1] */
    kn_tensor *sum = kn_sum(ctx, kn_exp(ctx, kn_sub(ctx, x, m)), KN_AXIS(1), keep);
    return kn_sub(ctx, x, kn_add(ctx, m, kn_log(ctx, sum)));
}

/* The mean of minus the log-probability of each row's right class. */
static kn_tensor *nll(kn_ctx *ctx, kn_tensor *log_probs, kn_tensor *target) {
    kn_tensor *column = kn_reshape(ctx, target, KN_SHAPE(-1, 1));
    return kn_neg(ctx,
                  kn_mean(ctx, kn_gather(ctx, log_probs, 1, column), KN_ALL, (kn_reduce_opts){0}));
}

static kn_tensor *cross_entropy(kn_ctx *ctx, kn_tensor *x, kn_tensor *target) {
    return nll(ctx, log_softmax_stable(ctx, x), target);
}

/* The first row. */
static void show(kn_ctx *ctx, const char *name, const kn_tensor *t) {
    float row[ROWS * CLASSES] = {0};
    kn_tensor_read(ctx, t, row, sizeof row);
    printf("  %-16s", name);
    for (int i = 0; i < CLASSES; i++)
        if (isnan(row[i]))
            printf("      nan"); /* printf may give it a sign */
        else
            printf(" %8.3f", row[i]);
    printf("\n");
}

static void compare(kn_ctx *ctx, kn_tensor *x, kn_tensor *target) {
    show(ctx, "x", x);
    show(ctx, "quotient", log_softmax_quotient(ctx, x));
    show(ctx, "difference", log_softmax_difference(ctx, x));
    show(ctx, "stable", log_softmax_stable(ctx, x));
    show(ctx, "kn_log_softmax", kn_log_softmax(ctx, x));
    printf("  loss: nll %.3f, kn_nll %.3f, kn_cross_entropy %.3f\n",
           kn_item(ctx, cross_entropy(ctx, x, target)),
           kn_item(ctx, kn_nll(ctx, kn_log_softmax(ctx, x), target)),
           kn_item(ctx, kn_cross_entropy(ctx, x, target)));
}

/* The loss's gradient is softmax(x), less 1 at the right class, shared among the rows. */
static void show_gradient(kn_ctx *ctx, const char *name, kn_loss_fn loss) {
    kn_tensor *x = kn_require_grad(ctx, kn_from(ctx, KN_F32, KN_SHAPE(ROWS, CLASSES), logits));
    kn_backward(ctx, loss(ctx, x, kn_from(ctx, KN_I32, KN_SHAPE(ROWS), labels)));
    show(ctx, name, kn_grad(ctx, x));
}

int main(void) {
    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){0}, &error) != KN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    kn_tensor *x = kn_from(ctx, KN_F32, KN_SHAPE(ROWS, CLASSES), logits); /* [2,4] */
    kn_tensor *target = kn_from(ctx, KN_I32, KN_SHAPE(ROWS), labels);     /* [2] */
    printf("small numbers: all forms agree\n");
    compare(ctx, x, target);
    printf("a hundred times as large: only the stable form is right\n");
    compare(ctx, kn_mul(ctx, x, kn_full(ctx, KN_SCALAR, 100)), target);
    printf("d loss / d x, of the small numbers\n");
    show_gradient(ctx, "nll, stable", cross_entropy);
    show_gradient(ctx, "kn_cross_entropy", kn_cross_entropy);
    kn_step_end(ctx);

    error = kn_error_take(ctx);
    if (error.status)
        fprintf(stderr, "%s\n", error.message);
    kn_ctx_free(ctx);
    return error.status ? 1 : 0;
}
