/* made_data.c - see made_data.h. */
#include "support/made_data.h"

#include <kiln/random.h>

#include <stdlib.h>

typedef struct made {
    kn_dataset base;
    int count, classes;
} made;

static int64_t made_len(const kn_dataset *ds) {
    return ((const made *)ds)->count;
}

static kn_status made_get(const kn_dataset *ds, kn_sample *s) {
    const made *m = (const made *)ds;
    int32_t label = (int32_t)(s->index % m->classes);
    kn_rng rng = kn_rng_at(7, KN_RANDOM_USER, 0, 0, (uint32_t)s->index);
    int64_t bytes = (int64_t)ds->height * ds->width * 3;
    for (int64_t i = 0; i < bytes; i++) /* each class leans to a channel */
        s->slot[i] = (uint8_t)(kn_rng_below(&rng, 160) + (i % 3 == label % 3 ? 90 : 0));
    *s->label = label;
    return KN_OK;
}

static void made_free(kn_dataset *ds) {
    free(ds);
}

static const kn_dataset_class made_class = {.len = made_len, .get = made_get, .free = made_free};

kn_dataset *made_data(int count, int side, int classes) {
    made *m = calloc(1, sizeof *m);
    if (m == NULL)
        abort();
    *m = (made){.base = {.cls = &made_class, .height = side, .width = side},
                .count = count,
                .classes = classes};
    return &m->base;
}
