/* slow.c - see slow.h. */
#include "support/slow.h"

#include "core/ctx.h"

#include <kiln/random.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum { H = 3, W = 5, BYTES = H * W * 3 };

static uint32_t mixed(int64_t index, uint32_t epoch) {
    kn_rng rng = kn_rng_at(99, KN_RANDOM_USER, 0, epoch, (uint32_t)index);
    return kn_rng_u32(&rng);
}

void slow_wait(uint32_t us) {
    struct timespec t = {.tv_nsec = (long)us * 1000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

static int64_t slow_len(const kn_dataset *ds) {
    return ((const slow *)ds)->count;
}

static uint8_t byte_of(int64_t index, uint32_t epoch, int i) {
    return (uint8_t)(mixed(index, epoch) >> (i % 25));
}

/* Of the time, not the index: which thread is late differs from run to run. */
static uint32_t some_delay(uint32_t most) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return most == 0 ? 0 : mixed(now.tv_nsec, 0) % most;
}

static kn_status slow_get(const kn_dataset *ds, kn_sample *s) {
    slow *d = (slow *)ds; // NOLINT: the counters are atomic
    sigset_t blocked;
    d->calls++;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (!sigismember(&blocked, SIGINT) || !sigismember(&blocked, SIGTERM))
        d->unblocked++;
    if (s->reader == NULL)
        d->without_reader++;
    slow_wait(d->steady + some_delay(d->delay));
    int64_t past = s->index - d->fails_from;
    if (d->fails_step > 0 && past >= 0 && past % d->fails_step == 0)
        return d->silent ? KN_ERR_IO
                         : kn_error_set(s->error, KN_ERR_DATA, "sample %d is bad", (int)s->index);
    for (int i = 0; i < BYTES; i++)
        s->slot[i] = byte_of(s->index, s->epoch, i);
    *s->label = (int32_t)(s->index % 7);
    return KN_OK;
}

static const kn_dataset_class slow_class = {.len = slow_len, .get = slow_get};

slow slow_of(int count, uint32_t delay) {
    return (slow){
        .base = {.cls = &slow_class, .height = H, .width = W}, .count = count, .delay = delay};
}

int loader_begin(void **state) {
    loader_fixture *f = calloc(1, sizeof *f);
    f->ctx = counted_ctx(&f->memory, "reference");
    *state = f;
    return 0;
}

int loader_end(void **state) {
    loader_fixture *f = *state;
    counted_ctx_free(&f->memory, f->ctx);
    free(f);
    return 0;
}

kn_loader *loader_of(loader_fixture *f, slow *d, int batch_size, int workers, bool shuffle) {
    kn_loader *l = kn_loader_new(f->ctx, &d->base, batch_size,
                                 (kn_loader_opts){.shuffle = shuffle, .workers = workers});
    check_good(f->ctx, "a loader");
    assert_non_null(l);
    return l;
}

void loader_start(loader_fixture *f, kn_loader *l, uint32_t epoch) {
    kn_status status = kn_loader_start(l, epoch);
    check_good(f->ctx, "start");
    assert_int_equal(status, KN_OK);
}

bool loader_next(loader_fixture *f, kn_loader *l, kn_batch *batch) {
    bool got;
    kn_status status = kn_loader_next(l, batch, &got);
    check_good(f->ctx, "next");
    assert_int_equal(status, KN_OK);
    return got;
}

void loader_check_batch(const kn_batch *b, const uint32_t *order, int first, int n,
                        uint32_t epoch) {
    assert_int_equal(b->n, n);
    assert_int_equal(b->height, H);
    assert_int_equal(b->width, W);
    assert_int_equal((uintptr_t)b->pixels % 64, 0);
    for (int i = 0; i < n; i++) {
        int64_t index = order[first + i];
        assert_int_equal(b->index[i], index);
        assert_int_equal(b->labels[i], index % 7);
        for (int k = 0; k < BYTES; k++)
            assert_int_equal(b->pixels[i * BYTES + k], byte_of(index, epoch, k));
    }
}

void loader_check_epoch(loader_fixture *f, kn_loader *l, uint32_t epoch, bool shuffle) {
    int samples = (int)kn_loader_samples(l), size = kn_loader_batch_size(l), batches = 0;
    uint32_t *order = malloc((size_t)samples * sizeof *order + 1);
    for (int i = 0; i < samples; i++)
        order[i] = (uint32_t)i;
    if (shuffle)
        kn_shuffle(SLOW_SEED, KN_RANDOM_SHUFFLE, epoch, order, (uint32_t)samples);
    loader_start(f, l, epoch);
    for (kn_batch b; loader_next(f, l, &b); batches++) {
        int first = batches * size, rest = samples - first;
        loader_check_batch(&b, order, first, rest < size ? rest : size, epoch);
        kn_loader_release(l, &b);
    }
    assert_int_equal(batches, kn_loader_len(l));
    kn_batch none;
    assert_false(loader_next(f, l, &none)); /* and stays at its end */
    assert_int_equal(none.n, 0);
    free(order);
}
