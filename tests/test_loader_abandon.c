/* test_loader_abandon.c - epochs that are left, batches that are kept, loaders that are freed with
 * work at hand. Runs under ThreadSanitizer too. */
#include "support/slow.h"

/* ---- abandoning ---- */

/* After any number of batches, held or released, with threads in the middle of samples. */
static void test_abandon_and_restart(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(90, 300);
    kn_loader *l = loader_of(f, &d, 8, 4, true);
    for (uint32_t round = 0; round < 14; round++) {
        loader_start(f, l, round);
        kn_batch b = {0};
        for (uint32_t i = 0; i < round; i++) {
            kn_loader_release(l, &b);
            if (!loader_next(f, l, &b))
                break;
        }
        if (round % 3 == 0)
            loader_start(f, l, round + 100); /* twice, nothing taken */
        kn_batch stale = b;
        loader_check_epoch(f, l, round, true);
        kn_loader_release(l, &stale); /* of an epoch that is gone */
    }
    loader_check_epoch(f, l, 77, true);
    kn_loader_free(l);
}

/* A ticket of an abandoned epoch must not free what a later one was given in the same place. */
static void test_stale_release(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(20, 0);
    kn_loader *l = loader_of(f, &d, 5, 1, false);
    kn_batch old, fresh, zero = {0};
    loader_start(f, l, 0);
    assert_true(loader_next(f, l, &old));
    loader_start(f, l, 1);
    assert_true(loader_next(f, l, &fresh));
    assert_ptr_equal(old.pixels, fresh.pixels);
    kn_loader_release(l, &old);
    kn_loader_release(l, &zero);
    slow_wait(20000); /* the thread would write the next but some batch there */
    loader_check_batch(&fresh, (const uint32_t[]){0, 1, 2, 3, 4}, 0, 5, 1);
    kn_loader_release(l, &fresh);
    kn_loader_release(l, &fresh); /* twice is once */
    int more = 0;
    for (kn_batch b; loader_next(f, l, &b); more++)
        kn_loader_release(l, &b);
    assert_int_equal(more, 3);
    kn_loader_free(l);
}

static void test_free_at_any_moment(void **state) {
    loader_fixture *f = *state;
    for (int taken = 0; taken < 8; taken++)
        for (int workers = 1; workers < 9; workers += 3) {
            slow d = slow_of(64, 500);
            kn_loader *l = loader_of(f, &d, 8, workers, true);
            loader_start(f, l, 0);
            kn_batch b;
            for (int i = 0; i < taken; i++) {
                assert_true(loader_next(f, l, &b));
                if (i < taken - 1)
                    kn_loader_release(l, &b); /* the last is still held */
            }
            kn_loader_free(l);
        }
}

/* Threads leave their chunk when its epoch is abandoned: they load no more than the sample at
 * hand. */
static void test_abandoning_waits_for_one_sample(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(1000, 0);
    d.steady = 300000;
    kn_loader *l = loader_of(f, &d, 8, 1, false);
    loader_start(f, l, 0);
    while (atomic_load(&d.calls) == 0)
        slow_wait(100);
    loader_start(f, l, 1);
    while (atomic_load(&d.calls) == 1)
        slow_wait(100);
    kn_loader_free(l);
    assert_int_equal(atomic_load(&d.calls), 2);
}

/* ---- batches in the caller's hands ---- */

/* Holding more batches than there is room for is told, not waited for. */
static void test_holding_batches(void **state) {
    loader_fixture *f = *state;
    slow d = slow_of(100, 0);
    kn_loader *l = loader_of(f, &d, 2, 1, false);
    kn_batch held[16];
    int n = 0;
    bool got = true;
    loader_start(f, l, 0);
    while (n < 16 && kn_loader_next(l, &held[n], &got) == KN_OK)
        n++;
    check_error(f->ctx, KN_ERR_STATE, "until an earlier one is released");
    assert_false(got);
    assert_true(n >= 2 && n < 16);
    for (int i = 0; i < n; i++) /* none was written over */
        loader_check_batch(&held[i], (const uint32_t[]){(uint32_t)(2 * i), (uint32_t)(2 * i + 1)},
                           0, 2, 0);
    kn_loader_release(l, &held[1]); /* not the one that the next batch needs */
    kn_batch b;
    assert_int_equal(kn_loader_next(l, &b, &got), KN_ERR_STATE);
    check_error(f->ctx, KN_ERR_STATE, "batch");
    kn_loader_release(l, &held[0]);
    assert_true(loader_next(f, l, &b));
    assert_int_equal(b.index[0], 2 * n);
    kn_loader_release(l, &b);
    for (int i = 2; i < n; i++)
        kn_loader_release(l, &held[i]);
    int more = 0;
    while (loader_next(f, l, &b)) {
        kn_loader_release(l, &b);
        more++;
    }
    assert_int_equal(n + 1 + more, 50);
    kn_loader_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_abandon_and_restart, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_stale_release, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_free_at_any_moment, loader_begin, loader_end),
        cmocka_unit_test_setup_teardown(test_abandoning_waits_for_one_sample, loader_begin,
                                        loader_end),
        cmocka_unit_test_setup_teardown(test_holding_batches, loader_begin, loader_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
