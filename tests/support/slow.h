/* slow.h - a dataset whose samples are computed, take their time, and fail where they are told to;
 * and what the tests of the loader do with it again and again. */
#ifndef KN_TEST_SLOW_H
#define KN_TEST_SLOW_H

#include "support/check.h"
#include "support/counted.h"

#include <kiln/data.h>

#include <stdatomic.h>

enum { SLOW_SEED = 1 /* counted_ctx's */ };

typedef struct slow {
    kn_dataset base;
    int count;
    uint32_t delay;                 /* microseconds a sample, at most */
    uint32_t steady;                /* microseconds a sample, besides */
    int64_t fails_from, fails_step; /* samples from, from + step, ...; step 0: none */
    bool silent;                    /* fails without a message */
    /* Counted: calls, those with signals open, those without a reader. */
    atomic_int calls, unblocked, without_reader;
} slow;

slow slow_of(int count, uint32_t delay);

void slow_wait(uint32_t microseconds);

/* A context whose memory is counted; a cmocka setup and teardown. */
typedef struct loader_fixture {
    counted memory;
    kn_ctx *ctx;
} loader_fixture;

int loader_begin(void **state);
int loader_end(void **state);

/* As in the library, and they must succeed. */
kn_loader *loader_of(loader_fixture *f, slow *d, int batch_size, int workers, bool shuffle);
void loader_start(loader_fixture *f, kn_loader *l, uint32_t epoch);
bool loader_next(loader_fixture *f, kn_loader *l, kn_batch *batch);

/* The batch holds n samples of the epoch's order, from first on: index, label, every byte. */
void loader_check_batch(const kn_batch *b, const uint32_t *order, int first, int n, uint32_t epoch);

/* Starts an epoch and takes it whole, every batch checked. */
void loader_check_epoch(loader_fixture *f, kn_loader *l, uint32_t epoch, bool shuffle);

#endif
