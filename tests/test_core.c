/* test_core.c - the ground that all else stands on: random numbers, errors, the context, memory. */
#include "support/check.h"
#include "support/counted.h"

#include "core/ctx.h"
#include "core/text.h"
#include "core/utf8.h"

#include <kiln/random.h>

#include <locale.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- random numbers ---- */

/* The known answers that Random123 publishes for philox4x32-10. */
static void philox_gives_the_published_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < KN_COUNT(known); i++) {
        uint32_t out[4];
        kn_philox(known[i].key, known[i].counter, out);
        assert_memory_equal(out, known[i].answer, sizeof out);
    }
}

/* Where each argument goes in the counter is part of the format of a reproducible run. The numbers
 * were computed by a second implementation. */
static void a_stream_is_a_place_in_the_counter_space(void **state) {
    (void)state;
    static const uint32_t first[] = {0xb0c38d18, 0x2d6e64cb, 0x94e0d820,
                                     0x68515619, 0xc7725e64, 0xb33fe781};
    kn_rng rng = kn_rng_at(42, KN_RANDOM_INIT, 3, 5, 9), copy;
    for (size_t i = 0; i < KN_COUNT(first); i++) {
        copy = rng;
        assert_int_equal(kn_rng_u32(&rng), first[i]);
        assert_int_equal(kn_rng_u32(&copy), first[i]); /* a value: a copy draws the same */
    }
    const kn_rng others[] = {
        kn_rng_at(43, KN_RANDOM_INIT, 3, 5, 9), kn_rng_at(42 | 1ull << 32, KN_RANDOM_INIT, 3, 5, 9),
        kn_rng_at(42, KN_RANDOM_USER, 3, 5, 9), kn_rng_at(42, KN_RANDOM_INIT, 4, 5, 9),
        kn_rng_at(42, KN_RANDOM_INIT, 3, 6, 9), kn_rng_at(42, KN_RANDOM_INIT, 3, 5, 10)};
    for (size_t i = 0; i < KN_COUNT(others); i++) {
        kn_rng other = others[i];
        assert_int_not_equal(kn_rng_u32(&other), first[0]);
    }
}

static void uniform_draws_fill_zero_to_one(void **state) {
    (void)state;
    enum { N = 200000 };
    kn_rng rng = kn_rng_at(1, KN_RANDOM_USER, 0, 0, 0);
    double sum = 0, square = 0, least = 1, most = 0;
    for (int i = 0; i < N; i++) {
        double u = kn_rng_uniform(&rng);
        assert_true(u >= 0 && u < 1);
        sum += u;
        square += u * u;
        least = fmin(least, u);
        most = fmax(most, u);
    }
    assert_true(fabs(sum / N - 0.5) < 0.003);
    assert_true(fabs(square / N - 1.0 / 3) < 0.003);
    assert_true(least < 1e-4 && most > 1 - 1e-4);
    kn_rng top = {.block = {0xffffffff}, .used = 0};
    assert_true(kn_rng_uniform(&top) < 1); /* the largest word does not round up */
}

static void normal_draws_have_normal_moments(void **state) {
    (void)state;
    enum { N = 200000 };
    static const double first[] = {-1.39278959, 0.59478858, 0.43994762, 1.23146253};
    kn_rng rng = kn_rng_at(42, KN_RANDOM_INIT, 0, 0, 0);
    for (size_t i = 0; i < KN_COUNT(first); i++)
        assert_true(fabs(kn_rng_normal(&rng) - first[i]) < 1e-6);
    double sum[5] = {0}, tail = 0;
    for (int i = 0; i < N; i++) {
        double x = kn_rng_normal(&rng);
        assert_true(isfinite(x));
        sum[1] += x;
        sum[2] += x * x;
        sum[3] += x * x * x;
        sum[4] += x * x * x * x;
        tail += fabs(x) > 1.959964;
    }
    assert_true(fabs(sum[1] / N) < 0.01);
    assert_true(fabs(sum[2] / N - 1) < 0.015);
    assert_true(fabs(sum[3] / N) < 0.03);
    assert_true(fabs(sum[4] / N - 3) < 0.1);
    assert_true(fabs(tail / N - 0.05) < 0.002);
    kn_rng zero = {.block = {0, 0, 0, 0}, .used = 0};
    assert_true(isfinite(kn_rng_normal(&zero))); /* the logarithm of the smallest word */
}

static void draws_below_have_no_bias(void **state) {
    (void)state;
    enum { N = 60000 };
    kn_rng rng = kn_rng_at(2, KN_RANDOM_USER, 0, 0, 0);
    double count[6] = {0}, chi = 0;
    for (int i = 0; i < N; i++)
        count[kn_rng_below(&rng, 6)]++;
    for (int i = 0; i < 6; i++)
        chi += (count[i] - N / 6.0) * (count[i] - N / 6.0) / (N / 6.0);
    assert_true(chi < 20.5); /* 0.1 % of fair dice are above, and this one is always the same */
    /* Of 2^32 words and 3 * 2^30 values some values would have two words without a rejection. */
    double thirds[3] = {0};
    for (int i = 0; i < N; i++) {
        uint32_t draw = kn_rng_below(&rng, 3u << 30);
        assert_true(draw < 3u << 30);
        thirds[draw % 3]++;
    }
    for (int i = 0; i < 3; i++)
        assert_true(fabs(thirds[i] / N - 1.0 / 3) < 0.01);
    for (int i = 0; i < 100; i++)
        assert_int_equal(kn_rng_below(&rng, 1), 0);
}

static void a_shuffle_is_a_function_of_its_arguments(void **state) {
    (void)state;
    /* Computed by a second implementation: what a run of today does, a run of tomorrow repeats. */
    static const uint32_t first[12] = {8, 3, 7, 2, 6, 1, 9, 10, 5, 0, 4, 11};
    static const uint32_t second[12] = {0, 11, 4, 2, 8, 10, 1, 5, 6, 9, 3, 7};
    static const uint32_t wide[12] = {1, 4, 11, 6, 10, 7, 8, 0, 3, 2, 9, 5};
    uint32_t order[12], other[12];
    kn_shuffle(42, KN_RANDOM_SHUFFLE, 0, order, 12);
    assert_memory_equal(order, first, sizeof order);
    kn_shuffle(42, KN_RANDOM_SHUFFLE, 1, order, 12);
    assert_memory_equal(order, second, sizeof order);
    kn_shuffle(0x123456789abcdef0, KN_RANDOM_SHUFFLE, 7, order, 12);
    assert_memory_equal(order, wide, sizeof order);
    kn_shuffle(42, KN_RANDOM_SPLIT, 0, other, 12);
    assert_memory_not_equal(other, first, sizeof other);
    kn_shuffle(42, KN_RANDOM_SHUFFLE, 0, NULL, 0);
}

static void a_shuffle_is_a_fair_permutation(void **state) {
    (void)state;
    enum { N = 1000, EPOCHS = 6000 };
    static uint32_t order[N];
    static bool seen[N];
    kn_shuffle(3, KN_RANDOM_SHUFFLE, 0, order, N);
    for (int i = 0; i < N; i++) {
        assert_true(order[i] < N && !seen[order[i]]);
        seen[order[i]] = true;
    }
    double count[27] = {0}; /* of each order of three, as a number of base 3 */
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        kn_shuffle(3, KN_RANDOM_SHUFFLE, epoch, order, 3);
        count[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    static const int all[] = {5, 7, 11, 15, 19, 21};
    double chi = 0;
    for (size_t i = 0; i < KN_COUNT(all); i++)
        chi += (count[all[i]] - 1000) * (count[all[i]] - 1000) / 1000;
    assert_true(chi < 20.5);
}

/* ---- errors ---- */

static void the_first_error_stays_until_it_is_taken(void **state) {
    (void)state;
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, "reference");
    assert_int_equal(kn_ctx_status(ctx), KN_OK);
    assert_int_equal(kn_fail(ctx, KN_ERR_SHAPE, "conv: %d", 1), KN_ERR_SHAPE);
    assert_int_equal(kn_fail(ctx, KN_ERR_MEMORY, "later"), KN_ERR_MEMORY);
    assert_int_equal(kn_ctx_status(ctx), KN_ERR_SHAPE);
    kn_error other = {0}, none = {0};
    kn_error_set(&other, KN_ERR_IO, "elsewhere");
    assert_int_equal(kn_fail_with(ctx, &other), KN_ERR_IO);
    kn_error taken = kn_error_take(ctx);
    assert_int_equal(taken.status, KN_ERR_SHAPE);
    assert_string_equal(taken.message, "conv: 1");
    assert_int_equal(kn_ctx_status(ctx), KN_OK);
    taken = kn_error_take(ctx);
    assert_int_equal(taken.status, KN_OK);
    assert_string_equal(taken.message, "");
    assert_int_equal(kn_fail_with(ctx, &none), KN_OK);
    assert_int_equal(kn_ctx_status(ctx), KN_OK);
    kn_fail_with(ctx, &other);
    check_error(ctx, KN_ERR_IO, "elsewhere");
    counted_ctx_free(&memory, ctx);
}

static void a_message_is_one_line_and_fits(void **state) {
    (void)state;
    kn_error error = {0};
    assert_int_equal(kn_error_set(&error, KN_ERR_IO, "a\nb\r\nc: %s", "d\n"), KN_ERR_IO);
    assert_string_equal(error.message, "a b  c: d ");
    char path[3 * KN_ERROR_MAX];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    error = (kn_error){0};
    kn_error_set(&error, KN_ERR_IO, "%s", path);
    assert_int_equal(strlen(error.message), KN_ERROR_MAX - 1);
    /* Nor is a character cut: of two, three and four bytes, at each place. */
    static const char *const wide[] = {"\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x90\x9F"};
    for (size_t i = 0; i < KN_COUNT(wide); i++)
        for (size_t begin = KN_ERROR_MAX - 6; begin < KN_ERROR_MAX; begin++) {
            size_t bytes = strlen(wide[i]), whole = begin + bytes < KN_ERROR_MAX;
            memset(path, 'p', sizeof path - 1);
            memcpy(path + begin, wide[i], bytes);
            error = (kn_error){0};
            kn_error_set(&error, KN_ERR_IO, "%s", path);
            assert_true(kn_utf8_valid(error.message, strlen(error.message)));
            assert_int_equal(strlen(error.message), whole ? KN_ERROR_MAX - 1 : begin);
        }
    assert_int_equal(kn_error_set(NULL, KN_ERR_DATA, "nowhere to go"), KN_ERR_DATA);
}

static void every_status_has_its_name(void **state) {
    (void)state;
    for (int a = KN_ERR_LIMIT; a <= KN_OK; a++) {
        assert_string_not_equal(kn_status_name((kn_status)a), "unknown");
        for (int b = KN_ERR_LIMIT; b < a; b++)
            assert_string_not_equal(kn_status_name((kn_status)a), kn_status_name((kn_status)b));
    }
    assert_string_equal(kn_status_name((kn_status)(KN_ERR_LIMIT - 1)), "unknown");
}

/* ---- the context ---- */

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    counted memory = {0};
    kn_allocator half = counted_allocator(&memory);
    half.free = NULL;
    const struct {
        kn_ctx_opts opts;
        kn_status status;
        const char *part;
    } bad[] = {
        {{.allocator = half}, KN_ERR_ARG, "both alloc and free"},
        {{.threads = -1}, KN_ERR_ARG, "-1 compute threads"},
        {{.threads = 2000}, KN_ERR_ARG, "2000 compute threads"},
    };
    for (size_t i = 0; i < KN_COUNT(bad); i++) {
        kn_ctx *ctx = (kn_ctx *)&memory;
        kn_error error = {0};
        assert_int_equal(kn_ctx_new(&ctx, bad[i].opts, &error), bad[i].status);
        check_contains(error.message, bad[i].part);
        assert_null(ctx);
        assert_int_equal(kn_ctx_new(&ctx, bad[i].opts, NULL), bad[i].status);
    }
    assert_int_equal(memory.live, 0);
    kn_ctx_free(NULL);
}

static void a_context_knows_its_options(void **state) {
    (void)state;
    kn_ctx *ctx;
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 1ull << 40, .threads = 3}, NULL), 0);
    assert_true(kn_ctx_seed(ctx) == 1ull << 40);
    assert_int_equal(kn_ctx_threads(ctx), 3);
    assert_ptr_equal(kn_ctx_allocator(ctx)->alloc, kn_default_allocator.alloc);
    kn_ctx_free(ctx);
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){0}, NULL), 0);
    assert_int_equal(kn_ctx_threads(ctx), kn_cpu_count());
    kn_ctx_free(ctx);
}

/* A container that gives one processor of many must not start many threads. */
static void processors_are_those_of_the_affinity_mask(void **state) {
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(kn_cpu_count(), CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    int count = kn_cpu_count();
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(count, 1);
}

typedef struct heard {
    int lines;
    kn_log_level level;
    char line[KN_ERROR_MAX];
} heard;

static void hear(void *user, kn_log_level level, const char *line) {
    heard *h = user;
    h->lines++;
    h->level = level;
    snprintf(h->line, sizeof h->line, "%s", line);
}

static void the_log_hook_gets_the_line(void **state) {
    (void)state;
    heard h = {0};
    kn_ctx *ctx;
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){.log = hear, .log_user = &h}, NULL), 0);
    kn_report(ctx, KN_LOG_WARNING, "%s has %d", "x", 3);
    assert_int_equal(h.lines, 1);
    assert_int_equal(h.level, KN_LOG_WARNING);
    assert_string_equal(h.line, "x has 3");
    kn_ctx_free(ctx);
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){0}, NULL), 0);
    kn_report(ctx, KN_LOG_INFO, "nobody listens");
    kn_ctx_free(ctx);
}

/* ---- memory ---- */

static void memory_comes_from_the_given_allocator(void **state) {
    (void)state;
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, "reference");
    long before = memory.made;
    char *text = kn_strdup(ctx, "text");
    void *block = kn_alloc(ctx, 1, "a test");
    unsigned char *zeros = kn_calloc(ctx, 3, 100, "a test");
    assert_int_equal(memory.made - before, 3);
    assert_string_equal(text, "text");
    assert_int_equal((uintptr_t)block % KN_ALIGN, 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(zeros[i], 0);
    kn_free(ctx, text);
    kn_free(ctx, block);
    kn_free(ctx, zeros);
    kn_free(ctx, NULL);
    counted_ctx_free(&memory, ctx);
}

static void memory_that_is_not_there_is_an_error(void **state) {
    (void)state;
    counted memory = {.fail_at = 1};
    kn_ctx *ctx;
    kn_error error = {0};
    kn_ctx_opts opts = {.allocator = counted_allocator(&memory)};
    assert_int_equal(kn_ctx_new(&ctx, opts, &error), KN_ERR_MEMORY);
    check_contains(error.message, "out of memory");
    assert_null(ctx);

    memory = (counted){0};
    ctx = counted_ctx(&memory, "reference");
    memory.fail_at = memory.made + 1;
    memory.fail_after = true;
    assert_null(kn_alloc(ctx, 123, "a purpose"));
    check_error(ctx, KN_ERR_MEMORY, "123 bytes for a purpose");
    assert_null(kn_strdup(ctx, "text"));
    check_error(ctx, KN_ERR_MEMORY, "copying \"text\"");
    memory.fail_at = 0;
    assert_null(kn_calloc(ctx, SIZE_MAX / 2, 3, "too much"));
    check_error(ctx, KN_ERR_MEMORY, "too much");
    assert_null(kn_mem_alloc(NULL, SIZE_MAX - 10)); /* rounding up to the alignment overflows */
    counted_ctx_free(&memory, ctx);
}

static void a_growing_array_keeps_its_content(void **state) {
    (void)state;
    counted memory = {0};
    const kn_allocator allocator = counted_allocator(&memory);
    void *array = NULL;
    size_t capacity = 0;
    for (size_t n = 0; n < 1000; n++) {
        assert_true(kn_mem_grow(&allocator, &array, &capacity, n + 1, sizeof(size_t)));
        assert_true(capacity > n);
        ((size_t *)array)[n] = n;
    }
    for (size_t n = 0; n < 1000; n++)
        assert_int_equal(((size_t *)array)[n], n);
    assert_true(memory.made < 12); /* it doubles */
    void *same = array;
    size_t was = capacity;
    memory.fail_at = memory.made + 1;
    assert_false(kn_mem_grow(&allocator, &array, &capacity, capacity + 1, sizeof(size_t)));
    assert_false(kn_mem_grow(&allocator, &array, &capacity, SIZE_MAX / 4, sizeof(size_t)));
    assert_false(kn_mem_grow(&allocator, &array, &capacity, SIZE_MAX, 1));
    assert_ptr_equal(array, same);
    assert_int_equal(capacity, was);
    kn_mem_free(&allocator, array);
    assert_int_equal(memory.live, 0);
}

/* ---- text ---- */

static void a_text_grows_or_fails_for_good(void **state) {
    (void)state;
    counted memory = {0};
    const kn_allocator allocator = counted_allocator(&memory);
    kn_text t = {.allocator = &allocator};
    for (int i = 0; i < 500; i++)
        kn_text_printf(&t, "%d,", i);
    kn_text_append(&t, "end", 3);
    assert_false(t.failed);
    assert_int_equal(t.length, strlen(t.data));
    assert_int_equal(t.length, 10 * 2 + 90 * 3 + 400 * 4 + 3);
    assert_memory_equal(t.data, "0,1,2,3,", 8);
    assert_string_equal(t.data + t.length - 7, "499,end");
    kn_text_free(&t);
    assert_null(t.data);

    memory.fail_at = memory.made + 2; /* the second growth */
    for (int i = 0; i < 500; i++)
        kn_text_append(&t, "x", 1);
    assert_true(t.failed);
    assert_true(t.length < 500);
    assert_int_equal(strlen(t.data), t.length);
    kn_text_free(&t);
    assert_int_equal(memory.live, 0);
}

/* A locale that writes a comma: an installed one, or one made for the test in that folder. */
static bool comma_locale(char folder[]) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE",     "fr_FR.UTF-8",
                                        "fr_FR.utf8",  "pl_PL.utf8", "ru_RU.utf8"};
    for (size_t i = 0; i < KN_COUNT(names); i++)
        if (setlocale(LC_NUMERIC, names[i]) != NULL)
            return true;
    char command[256];
    if (mkdtemp(folder) == NULL)
        return false;
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1",
             folder, folder);
    return system(command) == 0 && setenv("LOCPATH", folder, 1) == 0 &&
           setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL;
}

static void numbers_have_a_point_in_every_locale(void **state) {
    (void)state;
    char folder[] = "/tmp/kiln-locale-XXXXXX", command[64], plain[16];
    bool found = comma_locale(folder);
    kn_text t = {0};
    kn_text_number(&t, 1234.5, 6);
    kn_text_append(&t, " ", 1);
    kn_text_number(&t, -1.5e-7, 6);
    snprintf(plain, sizeof plain, "%.1f", 0.5);
    setlocale(LC_NUMERIC, "C");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0)
        fail_msg("%s was not removed", folder);
    if (!found) {
        kn_text_free(&t);
        print_message("SKIPPED: no locale with a decimal comma is installed or can be made\n");
        skip();
    }
    assert_string_equal(plain, "0,5"); /* the locale was in force */
    assert_string_equal(t.data, "1234.5 -1.5e-07");
    kn_text_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(a_stream_is_a_place_in_the_counter_space),
        cmocka_unit_test(uniform_draws_fill_zero_to_one),
        cmocka_unit_test(normal_draws_have_normal_moments),
        cmocka_unit_test(draws_below_have_no_bias),
        cmocka_unit_test(a_shuffle_is_a_function_of_its_arguments),
        cmocka_unit_test(a_shuffle_is_a_fair_permutation),
        cmocka_unit_test(the_first_error_stays_until_it_is_taken),
        cmocka_unit_test(a_message_is_one_line_and_fits),
        cmocka_unit_test(every_status_has_its_name),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_context_knows_its_options),
        cmocka_unit_test(processors_are_those_of_the_affinity_mask),
        cmocka_unit_test(the_log_hook_gets_the_line),
        cmocka_unit_test(memory_comes_from_the_given_allocator),
        cmocka_unit_test(memory_that_is_not_there_is_an_error),
        cmocka_unit_test(a_growing_array_keeps_its_content),
        cmocka_unit_test(a_text_grows_or_fails_for_good),
        cmocka_unit_test(numbers_have_a_point_in_every_locale),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
