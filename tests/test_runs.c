/* test_runs.c - runs of commands that come again, alike or nearly so, on memory that they share in
 * changing ways: a device that keeps runs, and reorders what is in them, computes what the
 * reference does one by one. */
#include "support/check.h"
#include "support/counted.h"
#include "support/numbers.h"

#include "backend/backend.h"

#include <string.h>

#ifdef __SANITIZE_ADDRESS__
enum { RUNS = 100 }; /* where each command on the host's CUDA locks and unlocks all memory */
#else
enum { RUNS = 360 };
#endif
enum {
    BLOCKS = 6,
    ROWS = 208, /* of a block */
    TALL = 200, /* of which so many are added up; the others hold sums */
    COLS = 64,
    PATTERNS = 6,
    LENGTH = 18
};

typedef enum kind { COPY, AXPY, SUM, KINDS } kind;

typedef struct step {
    kind what;
    int from, to; /* blocks */
    int from_row, to_row;
} step;

/* A device with its blocks: each by itself, or parts of one. */
typedef struct side {
    kn_device *d;
    float *block[BLOCKS];
    bool apart;
} side;

static uint32_t seed = 1;

static int draw(int limit) {
    seed = seed * 1664525 + 1013904223;
    return (int)((seed >> 8) % (uint32_t)limit);
}

static float start[BLOCKS][ROWS * COLS], got[ROWS * COLS], want[ROWS * COLS];

/* ---- memory ---- */

static void take_memory(side *s, bool apart) {
    size_t bytes = sizeof start[0];
    s->apart = apart;
    float *all = apart ? NULL : s->d->ops->alloc(s->d, BLOCKS * bytes);
    for (int b = 0; b < BLOCKS; b++) {
        s->block[b] = apart ? s->d->ops->alloc(s->d, bytes) : all + b * ROWS * COLS;
        assert_non_null(s->block[b]);
    }
}

static void give_memory(side *s) {
    for (int b = 0; b < (s->apart ? BLOCKS : 1); b++)
        s->d->ops->free(s->d, s->block[b]);
}

/* ---- runs ---- */

static void draw_pattern(step *steps) {
    for (int i = 0; i < LENGTH; i++) {
        kind what = (kind)(i % KINDS);
        int from = draw(BLOCKS), to = draw(BLOCKS);
        steps[i] = (step){what, from, to == from ? (to + 1) % BLOCKS : to, draw(ROWS),
                          what == SUM ? TALL + draw(ROWS - TALL) : draw(ROWS)};
    }
}

static kn_status do_step(const side *s, const step *t, float alpha) {
    const kn_backend *ops = s->d->ops;
    const float *from = s->block[t->from];
    float *to = s->block[t->to] + t->to_row * COLS;
    kn_reduction r = {.kind = KN_SUM, .x = KN_SHAPE(TALL, COLS), .axes = 1, .count = TALL};
    switch (t->what) {
    case COPY:
        return ops->copy(s->d, to, from + t->from_row * COLS, COLS * sizeof(float));
    case AXPY:
        return ops->axpy(s->d, COLS, alpha, from + t->from_row * COLS, to);
    default:
        return ops->reduce(s->d, &r, from, to);
    }
}

static void do_run(const side *s, const step *steps, int length, float alpha) {
    for (int b = 0; b < BLOCKS; b++)
        assert_int_equal(s->d->ops->copy_in(s->d, s->block[b], start[b], sizeof start[b]), KN_OK);
    for (int i = 0; i < length; i++)
        assert_int_equal(do_step(s, &steps[i], alpha), KN_OK);
    if (s->d->ops->submit != NULL)
        assert_int_equal(s->d->ops->submit(s->d), KN_OK);
}

static void compare(const side *a, const side *b) {
    for (int i = 0; i < BLOCKS; i++) {
        assert_int_equal(a->d->ops->copy_out(a->d, got, a->block[i], sizeof got), KN_OK);
        assert_int_equal(b->d->ops->copy_out(b->d, want, b->block[i], sizeof want), KN_OK);
        check_numbers("a block", ROWS * COLS, got, want, 1e-6);
    }
}

/* One run in five ends early, one in nine has other commands from somewhere on, and now and then
 * all memory is given back and taken in another way. */
static void runs_are_what_was_asked_for(void **state) {
    (void)state;
    static step pattern[PATTERNS][LENGTH];
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, test_device());
    side a = {.d = kn_device_default(ctx)}, b = {.d = kn_device_open(ctx, "reference")};
    assert_true(a.d != NULL && b.d != NULL);
    numbers_fill(COARSE, 9, 0, BLOCKS * ROWS * COLS, start);
    for (int p = 0; p < PATTERNS; p++)
        draw_pattern(pattern[p]);
    take_memory(&a, true);
    take_memory(&b, true);
    for (int run = 0; run < RUNS; run++) {
        int p = draw(3) == 0 ? draw(PATTERNS) : run / 40 % PATTERNS;
        int length = draw(5) == 0 ? 1 + draw(LENGTH) : LENGTH;
        float alpha = draw(2) == 0 ? 1 : -0.5F;
        step own[LENGTH];
        memcpy(own, pattern[p], sizeof own);
        for (int i = draw(9) == 0 ? draw(LENGTH) : LENGTH; i < LENGTH; i++)
            own[i].what = COPY;
        if (run % 50 == 49) {
            give_memory(&a);
            take_memory(&a, !a.apart);
        }
        do_run(&a, own, length, alpha);
        do_run(&b, own, length, alpha);
        compare(&a, &b);
    }
    give_memory(&a);
    give_memory(&b);
    counted_ctx_free(&memory, ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs_are_what_was_asked_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
