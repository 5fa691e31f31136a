/* vocab.c - class names and their numbers: sorted bytewise, so that the same folders give the same
 * labels on every machine and in every locale. */
#include "core/ctx.h"

#include <kiln/data.h>

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

kn_status kn_vocab_from(kn_ctx *ctx, const char *const *names, int count, kn_vocab *out) {
    *out = (kn_vocab){0};
    if (count == 0)
        return KN_OK;
    size_t n = (size_t)count, unique = 0;
    const char **sorted = kn_alloc(ctx, n * sizeof *sorted, "class names");
    out->name = kn_calloc(ctx, n, sizeof *out->name, "class names");
    kn_status status = sorted != NULL && out->name != NULL ? KN_OK : KN_ERR_MEMORY;
    if (status == KN_OK) {
        memcpy(sorted, names, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, by_name);
        for (size_t i = 0; i < n; i++)
            if (unique == 0 || strcmp(sorted[unique - 1], sorted[i]) != 0)
                sorted[unique++] = sorted[i];
    }
    for (size_t i = 0; i < unique && status == KN_OK; i++) {
        out->name[i] = kn_strdup(ctx, sorted[i]);
        if (out->name[i] == NULL)
            status = KN_ERR_MEMORY;
        else
            out->count++;
    }
    kn_free(ctx, sorted);
    if (status != KN_OK)
        kn_vocab_free(ctx, out);
    return status;
}

int kn_vocab_index(const kn_vocab *vocab, const char *name) {
    int low = 0, high = vocab->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(vocab->name[middle], name);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

void kn_vocab_free(kn_ctx *ctx, kn_vocab *vocab) {
    for (int i = 0; i < vocab->count; i++)
        kn_free(ctx, vocab->name[i]);
    kn_free(ctx, vocab->name);
    *vocab = (kn_vocab){0};
}
