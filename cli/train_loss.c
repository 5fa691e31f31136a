/* train_loss.c - the weights of classes in the training loss. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

/* n / (classes * count), as scikit-learn's "balanced": all classes together then count alike, and
 * the mean over the pictures is 1. A class without a training picture is never a target; its weight
 * is 1. */
static void balance(const kn_split *split, float *weights) {
    int classes = split->vocab.count;
    memset(weights, 0, (size_t)classes * sizeof *weights);
    for (int i = 0; i < split->train_count; i++)
        weights[split->train[i].label]++; /* exact below 2^24 */
    for (int c = 0; c < classes; c++)
        weights[c] =
            weights[c] > 0 ? (float)(split->train_count / ((double)classes * weights[c])) : 1;
}

kn_status train_class_weights(train *t, float **weights) {
    *weights = NULL;
    const char *how = t->s->a.class_weights; /* NULL: no option of this command */
    if (how == NULL || strcmp(how, "balanced") != 0)
        return KN_OK;
    *weights = calloc((size_t)t->split.vocab.count, sizeof **weights);
    if (*weights == NULL)
        return kn_fail(t->s->ctx, KN_ERR_MEMORY, "out of memory: the weights of %d classes",
                       t->split.vocab.count);
    balance(&t->split, *weights);
    return KN_OK;
}
