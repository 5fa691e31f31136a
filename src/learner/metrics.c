/* metrics.c - figures that follow from predictions and from the confusion matrix: plain arithmetic
 * on the host. */
#include "core/ctx.h"

#include <kiln/metrics.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

double kn_top_k_accuracy(const kn_predictions *p, int k) {
    int64_t hits = 0;
    for (int64_t i = 0; i < p->samples; i++)
        hits += p->rank[i] < k;
    return p->samples > 0 ? (double)hits / (double)p->samples : NAN;
}

/* ---- top losses ---- */

typedef struct ranked {
    float loss;
    int64_t place;
} ranked;

static int by_loss(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (isnan(x->loss) != isnan(y->loss))
        return isnan(x->loss) ? -1 : 1;
    if (x->loss != y->loss && !isnan(x->loss))
        return x->loss > y->loss ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

int64_t kn_top_losses(kn_ctx *ctx, const kn_predictions *p, int64_t count, int64_t *place) {
    if (p->samples == 0 || count <= 0)
        return 0;
    ranked *all = kn_alloc(ctx, (size_t)p->samples * sizeof *all, "the top losses");
    if (all == NULL)
        return -1;
    for (int64_t i = 0; i < p->samples; i++)
        all[i] = (ranked){p->loss[i], i};
    qsort(all, (size_t)p->samples, sizeof *all, by_loss);
    count = count < p->samples ? count : p->samples;
    for (int64_t i = 0; i < count; i++)
        place[i] = all[i].place;
    kn_free(ctx, all);
    return count;
}

/* ---- the confusion matrix ---- */

kn_status kn_confusion_from(kn_ctx *ctx, const kn_predictions *p, kn_confusion *out) {
    size_t classes = (size_t)p->classes;
    *out = (kn_confusion){.classes = p->classes};
    if (classes == 0)
        return KN_OK;
    out->count = kn_calloc(ctx, classes * classes, sizeof *out->count, "the confusion matrix");
    if (out->count == NULL)
        return KN_ERR_MEMORY;
    for (int64_t i = 0; i < p->samples; i++)
        out->count[(size_t)p->label[i] * classes + (size_t)p->predicted[i]]++;
    return KN_OK;
}

void kn_confusion_free(kn_ctx *ctx, kn_confusion *c) {
    kn_free(ctx, c->count);
    *c = (kn_confusion){0};
}

static int64_t at(const kn_confusion *c, int label, int predicted) {
    return c->count[(size_t)label * (size_t)c->classes + (size_t)predicted];
}

static double ratio(int64_t part, int64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

/* *predicted: how often the class was the prediction. */
static kn_class_score score_of(const kn_confusion *c, int class, int64_t *predicted) {
    kn_class_score score = {0};
    *predicted = 0;
    for (int other = 0; other < c->classes; other++) {
        score.support += at(c, class, other);
        *predicted += at(c, other, class);
    }
    int64_t right = at(c, class, class);
    score.precision = ratio(right, *predicted);
    score.recall = ratio(right, score.support);
    score.f1 = ratio(2 * right, score.support + *predicted);
    return score;
}

void kn_class_scores(const kn_confusion *c, kn_class_score *score) {
    int64_t predicted;
    for (int class = 0; class < c->classes; class ++)
        score[class] = score_of(c, class, &predicted);
}

kn_class_score kn_average_score(const kn_confusion *c, bool weighted) {
    kn_class_score sum = {0};
    double weights = 0;
    for (int class = 0; class < c->classes; class ++) {
        int64_t predicted;
        kn_class_score one = score_of(c, class, &predicted);
        double weight = weighted ? (double)one.support : one.support + predicted > 0;
        sum.precision += weight * one.precision;
        sum.recall += weight * one.recall;
        sum.f1 += weight * one.f1;
        sum.support += one.support;
        weights += weight;
    }
    if (weights > 0) {
        sum.precision /= weights;
        sum.recall /= weights;
        sum.f1 /= weights;
    }
    return sum;
}

/* Keeps out sorted; pairs come by label and prediction, so that one goes behind its equals. */
int kn_most_confused(const kn_confusion *c, int64_t least, int room, kn_confused *out) {
    int used = 0;
    least = least > 0 ? least : 1;
    for (int label = 0; label < c->classes; label++)
        for (int predicted = 0; predicted < c->classes; predicted++) {
            int64_t count = at(c, label, predicted);
            int place = used;
            if (label == predicted || count < least)
                continue;
            while (place > 0 && out[place - 1].count < count)
                place--;
            if (place == room)
                continue;
            used += used < room;
            memmove(&out[place + 1], &out[place], (size_t)(used - 1 - place) * sizeof *out);
            out[place] = (kn_confused){label, predicted, count};
        }
    return used;
}
