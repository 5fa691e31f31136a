/* test_loader.c - the loader's promises, on samples that are computed: order, bytes, errors, what
 * it does to the caller's thread. Runs under ThreadSanitizer too. */
#include "support/slow.h"

#include "data/loader.h"

#include <kiln/random.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

/* ---- order and sizes ---- */

static void test_sizes(void **state) {
    loader_fixture *f = *state;
    static const struct {
        int samples, size, batches;
    } cases[] = {{9469, 128, 74}, {3925, 256, 16}, {128, 128, 1}, {129, 128, 2}, {127, 128, 1},
                 {1, 1, 1},       {5, 1, 5},       {5, 1000, 1},  {0, 4, 0}};
    for (size_t i = 0; i < KN_COUNT(cases); i++) {
        slow d = slow_of(cases[i].samples, 0);
        kn_loader *l = loader_of(f, &d, cases[i].size, 2, true);
        assert_int_equal(kn_loader_len(l), cases[i].batches);
        assert_int_equal(kn_loader_samples(l), cases[i].samples);
        assert_int_equal(kn_loader_batch_size(l), cases[i].size);
        assert_int_equal(kn_loader_workers(l), 2);
        loader_check_epoch(f, l, 0, true);
        assert_int_equal(atomic_load(&d.calls), cases[i].samples);
        kn_loader_free(l);
    }
}

static void test_order_and_bytes(void **state) {
    loader_fixture *f = *state;
    static const int workers[] = {1, 2, 3, 8, 40};
    static const int sizes[] = {1, 3, 16, 64};
    for (size_t w = 0; w < KN_COUNT(workers); w++)
        for (size_t s = 0; s < KN_COUNT(sizes); s++) {
            slow d = slow_of(101, 100);
            bool shuffle = s % 2 == 0;
            kn_loader *l = loader_of(f, &d, sizes[s], workers[w], shuffle);
            for (uint32_t epoch = 0; epoch < 3; epoch++)
                loader_check_epoch(f, l, epoch, shuffle);
            assert_int_equal(atomic_load(&d.calls), 3 * 101);
            assert_int_equal(atomic_load(&d.unblocked), 0);
            assert_int_equal(atomic_load(&d.without_reader), 0);
            kn_loader_free(l);
        }
}

static void test_default_workers(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(10, 0);
    kn_loader *l = loader_of(f, &d, 4, 0, false);
    assert_int_equal(kn_loader_workers(l), kn_cpu_count());
    kn_loader_free(l);
}

static void test_two_at_once(void **state) {
    loader_fixture *f = *state;
    slow a = slow_of(60, 50), b = slow_of(35, 50);
    kn_loader *one = loader_of(f, &a, 8, 3, true), *two = loader_of(f, &b, 4, 2, false);
    loader_start(f, one, 5);
    kn_batch batch;
    assert_true(loader_next(f, one, &batch));
    loader_check_epoch(f, two, 0,
                       false); /* as in validating while the training loader reads ahead */
    kn_loader_release(one, &batch);
    while (loader_next(f, one, &batch))
        kn_loader_release(one, &batch);
    kn_loader_free(one);
    kn_loader_free(two);
}

/* A last batch that is too small is left out, the only one is not. */
static void test_least_batch(void **state) {
    loader_fixture *f = *state;
    static const struct {
        int samples, size, least;
        int64_t batches;
    } c[] = {{10, 3, 0, 4}, {10, 3, 1, 4}, {10, 3, 2, 3}, {11, 3, 2, 4},
             {11, 3, 3, 3}, {1, 3, 2, 1},  {4, 4, 4, 1},  {3, 1, 2, 3}};
    for (size_t i = 0; i < KN_COUNT(c); i++) {
        slow d = slow_of(c[i].samples, 0);
        kn_loader_opts opts = {.workers = 2, .shuffle = true, .least_batch = c[i].least};
        kn_loader *l = kn_loader_new(f->ctx, &d.base, c[i].size, opts);
        kn_batch batch;
        int64_t batches = 0;
        assert_int_equal(kn_loader_len(l), c[i].batches);
        loader_start(f, l, 0);
        for (; loader_next(f, l, &batch); batches++)
            kn_loader_release(l, &batch);
        assert_int_equal(batches, c[i].batches);
        kn_loader_free(l);
    }
}

/* ---- errors ---- */

static void test_arguments(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(10, 0);
    static const struct {
        int size, workers;
        const char *message;
    } bad[] = {{0, 1, "batch size"},
               {-1, 1, "batch size"},
               {4, -1, "loader threads"},
               {4, 1025, "loader threads"}};
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        kn_loader_opts opts = {.workers = bad[i].workers};
        assert_null(kn_loader_new(f->ctx, &d.base, bad[i].size, opts));
        check_error(f->ctx, KN_ERR_ARG, bad[i].message);
    }
    d.base.height = d.base.width = INT32_MAX;
    assert_null(kn_loader_new(f->ctx, &d.base, 4, (kn_loader_opts){.workers = 1}));
    check_error(f->ctx, KN_ERR_LIMIT, "too large");
    kn_fail(f->ctx, KN_ERR_IO, "the dataset failed");
    assert_null(kn_loader_new(f->ctx, NULL, 4, (kn_loader_opts){0}));
    check_error(f->ctx, KN_ERR_IO, "the dataset failed");
    kn_loader_free(NULL);
}

static void test_next_before_start(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(10, 0);
    kn_loader *l = loader_of(f, &d, 4, 1, false);
    kn_batch b;
    bool got = true;
    assert_int_equal(kn_loader_next(l, &b, &got), KN_ERR_STATE);
    assert_false(got);
    check_error(f->ctx, KN_ERR_STATE, "no epoch was started");
    kn_loader_free(l); /* with no thread ever started */
}

/* Samples 21, 24, 27, ... fail, in batches of 8: batches 0 and 1 are good, and each of the others
 * tells of its first. */
static void test_an_error_travels_with_its_batch(void **state) {
    loader_fixture *f = *state;
    static const int first[] = {0, 0, 21, 24, 33, 42, 48};
    static const int workers[] = {1, 2, 8};
    for (size_t w = 0; w < KN_COUNT(workers); w++)
        for (uint32_t epoch = 0; epoch < 3; epoch++) {
            slow d = slow_of(56, 200);
            d.fails_from = 21;
            d.fails_step = 3;
            kn_loader *l = loader_of(f, &d, 8, workers[w], false);
            loader_start(f, l, epoch);
            for (int i = 0; i < 7; i++) {
                kn_batch b;
                bool got;
                char message[32];
                kn_status status = kn_loader_next(l, &b, &got);
                assert_int_equal(status, first[i] == 0 ? KN_OK : KN_ERR_DATA);
                assert_int_equal(got, first[i] == 0);
                if (got) {
                    kn_loader_release(l, &b);
                    continue;
                }
                snprintf(message, sizeof message, "sample %d is bad", first[i]);
                check_error(f->ctx, KN_ERR_DATA, message);
            }
            kn_batch b;
            assert_false(loader_next(f, l, &b));
            kn_loader_free(l);
        }
}

static void test_an_error_without_message(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(10, 0);
    d.fails_from = 6;
    d.fails_step = 100;
    d.silent = true;
    kn_loader *l = loader_of(f, &d, 10, 2, false);
    loader_start(f, l, 0);
    kn_batch b;
    bool got;
    assert_int_equal(kn_loader_next(l, &b, &got), KN_ERR_IO);
    check_error(f->ctx, KN_ERR_IO, "sample 6 of the dataset failed");
    d.fails_step = 0;
    loader_check_epoch(f, l, 1, false); /* nothing of it is left */
    kn_loader_free(l);
}

/* ---- threads ---- */

static int threads_allowed;

static int limited_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                         void *argument) {
    if (threads_allowed == 0)
        return EAGAIN;
    threads_allowed--;
    return pthread_create(thread, attributes, run, argument);
}

static void test_fewer_threads(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(50, 50);
    kn_loader *l = loader_of(f, &d, 8, 6, true);
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    l->start_thread = limited_start;
    threads_allowed = 0;
    assert_int_equal(kn_loader_start(l, 0), KN_ERR_MEMORY);
    check_error(f->ctx, KN_ERR_MEMORY, "cannot start a thread");
    threads_allowed = 2;
    loader_check_epoch(f, l, 0, true);
    assert_int_equal(kn_loader_workers(l), 2);
    loader_check_epoch(f, l, 1, true);
    pthread_sigmask(SIG_SETMASK, NULL, &after); /* the caller's signals are its own again */
    assert_int_equal(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
    assert_int_equal(sigismember(&after, SIGINT), 0);
    kn_loader_free(l);
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Threads with a full ring, and a caller that waits for slow samples, leave the processors alone.
 */
static void test_nobody_polls(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(400, 0);
    kn_loader *l = loader_of(f, &d, 4, 4, false);
    loader_start(f, l, 0);
    slow_wait(50000); /* the ring fills */
    double before = processor_seconds();
    slow_wait(400000);
    assert_true(processor_seconds() - before < 0.1);
    kn_loader_free(l);
    d = slow_of(8, 0);
    d.delay = 100000;
    l = loader_of(f, &d, 8, 2, false);
    before = processor_seconds();
    loader_check_epoch(f, l, 0, false);
    assert_true(processor_seconds() - before < 0.1);
    kn_loader_free(l);
}

/* ---- memory ---- */

static void test_no_allocation_after_the_start(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(100, 0);
    kn_loader *l = loader_of(f, &d, 8, 3, true);
    long made = f->memory.made;
    for (uint32_t epoch = 0; epoch < 3; epoch++)
        loader_check_epoch(f, l, epoch, true);
    assert_int_equal(f->memory.made, made);
    kn_loader_free(l);
}

static void test_every_allocation_fails(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(100, 0);
    int failures = 0;
    for (;; failures++) {
        f->memory.refused = 0;
        f->memory.fail_at = f->memory.made + failures + 1;
        kn_loader *l = kn_loader_new(f->ctx, &d.base, 8, (kn_loader_opts){.workers = 2});
        if (f->memory.refused == 0) {
            assert_non_null(l);
            kn_loader_free(l);
            break;
        }
        assert_null(l);
        check_error(f->ctx, KN_ERR_MEMORY, "out of memory");
    }
    f->memory.fail_at = 0;
    assert_true(failures > 10);
}

/* ---- samples left out ---- */

/* All that are at fault are missing from their batches, the others stand in their places, and the
 * list names each once. */
static void check_skips(loader_fixture *f, kn_loader *l, const slow *d, uint32_t epoch) {
    int count, seen = 0;
    loader_start(f, l, epoch);
    int64_t last = -1;
    for (kn_batch b; loader_next(f, l, &b);) {
        assert_true(b.n > 0 && b.number > last);
        last = b.number;
        for (int i = 0; i < b.n; i++) {
            int64_t past = b.index[i] - d->fails_from;
            assert_false(past >= 0 && past % d->fails_step == 0);
            assert_int_equal(b.labels[i], b.index[i] % 7);
        }
        seen += b.n;
        kn_loader_release(l, &b);
    }
    const kn_bad_sample *bad = kn_loader_bad(l, &count);
    assert_int_equal(count, (d->count - d->fails_from + d->fails_step - 1) / d->fails_step);
    assert_int_equal(seen + count, d->count);
    for (int i = 0; i < count; i++) {
        char want[32];
        snprintf(want, sizeof want, "sample %d is bad", (int)bad[i].index);
        assert_int_equal(bad[i].index, d->fails_from + i * d->fails_step);
        assert_string_equal(bad[i].reason, want);
    }
}

static void test_bad_samples_are_left_out(void **state) {
    loader_fixture *f = *state;
    static const int64_t steps[] = {1, 3, 7};
    for (size_t s = 0; s < KN_COUNT(steps); s++)
        for (int workers = 1; workers <= 4; workers += 3) {
            slow d = slow_of(50, 100);
            d.fails_from = 5;
            d.fails_step = steps[s]; /* 1: whole batches are passed over */
            kn_loader *l = kn_loader_new(
                f->ctx, &d.base, 4,
                (kn_loader_opts){.shuffle = s > 0, .workers = workers, .skip_bad = true});
            assert_non_null(l);
            kn_batch b;
            loader_start(f, l, 0); /* abandoned, with reasons in its slots */
            loader_next(f, l, &b);
            for (uint32_t epoch = 0; epoch < 3; epoch++)
                check_skips(f, l, &d, epoch);
            kn_loader_free(l);
        }
}

/* What is no fault of the sample fails as ever. */
static void test_other_failures_are_not_left_out(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(20, 0);
    d.fails_step = 6;
    d.silent = true; /* KN_ERR_IO */
    kn_loader *l =
        kn_loader_new(f->ctx, &d.base, 4, (kn_loader_opts){.workers = 2, .skip_bad = true});
    kn_batch b;
    bool got;
    int count;
    loader_start(f, l, 0);
    assert_int_equal(kn_loader_next(l, &b, &got), KN_ERR_IO);
    check_error(f->ctx, KN_ERR_IO, "sample 0 of the dataset failed");
    kn_loader_bad(l, &count);
    assert_int_equal(count, 0);
    kn_loader_free(l);
}

static void test_an_epoch_from_a_batch_on(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(22, 50);
    kn_loader *l = loader_of(f, &d, 4, 3, true);
    uint32_t order[22];
    for (uint32_t i = 0; i < 22; i++)
        order[i] = i;
    kn_shuffle(SLOW_SEED, KN_RANDOM_SHUFFLE, 2, order, 22);
    for (int from = 0; from <= 6; from++) {
        kn_batch b;
        assert_int_equal(kn_loader_start_at(l, 2, from), KN_OK);
        for (int i = from; i < 6; i++) {
            assert_true(loader_next(f, l, &b));
            assert_int_equal(b.number, i);
            loader_check_batch(&b, order, i * 4, i < 5 ? 4 : 2, 2);
            kn_loader_release(l, &b);
        }
        assert_false(loader_next(f, l, &b));
    }
    assert_int_equal(kn_loader_start_at(l, 0, 7), KN_ERR_ARG);
    check_error(f->ctx, KN_ERR_ARG, "batch 7 of 6");
    kn_loader_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sizes, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_order_and_bytes, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_default_workers, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_two_at_once, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_least_batch, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_arguments, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_next_before_start, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_an_error_travels_with_its_batch, loader_begin,
                                        loader_end),
        cmocka_unit_test_setup_teardown(test_an_error_without_message, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_fewer_threads, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_nobody_polls, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_no_allocation_after_the_start, loader_begin,
                                        loader_end),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_bad_samples_are_left_out, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_other_failures_are_not_left_out, loader_begin,
                                        loader_end),
        cmocka_unit_test_setup_teardown(test_an_epoch_from_a_batch_on, loader_begin, loader_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
