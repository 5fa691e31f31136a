/* test_cached_pictures.c - pictures that are kept for samples that vary: the bytes of the source in
 * every epoch, each picture read once, within the limit. Runs under ThreadSanitizer too. */
#include "support/check.h"
#include "support/counted.h"

#include "data/picture_store.h"

#include <kiln/kiln.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 40, SIDE = 4, BYTES = SIDE * SIDE * 3, EPOCHS = 3 };

static counted memory;
static kn_ctx *ctx;

static int open_all(void **state) {
    (void)state;
    ctx = counted_ctx(&memory, "reference");
    return 0;
}

static int close_all(void **state) {
    (void)state;
    counted_ctx_free(&memory, ctx);
    return 0;
}

/* ---- a source that counts ---- */

typedef struct source {
    kn_dataset base;
    int64_t bad; /* a picture that cannot be read; -1: none */
    atomic_int reads;
} source;

static int height_of(int64_t index) {
    return 1 + (int)(index % 7);
}

static int width_of(int64_t index) {
    return 2 + (int)(index % 5);
}

static uint8_t pixel_of(int64_t index, size_t at) {
    return (uint8_t)(index * 31 + (int64_t)at * 7);
}

static int64_t source_len(const kn_dataset *ds) {
    (void)ds;
    return COUNT;
}

static kn_status source_read(const kn_dataset *ds, kn_sample *s, kn_image *picture) {
    source *from = (source *)(uintptr_t)ds;
    int h = height_of(s->index), w = width_of(s->index);
    size_t bytes = (size_t)h * (size_t)w * 3;
    atomic_fetch_add(&from->reads, 1);
    if (s->index == from->bad)
        return kn_error_set(s->error, KN_ERR_DATA, "picture %d is bad", (int)s->index);
    uint8_t *pixels = kn_scratch_get(&s->reader->pixels, bytes, s->error);
    if (pixels == NULL)
        return KN_ERR_MEMORY;
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = pixel_of(s->index, i);
    *s->label = (int32_t)(s->index % 3);
    *picture = (kn_image){.height = h, .width = w, .pixels = pixels};
    return KN_OK;
}

/* Depends on the size, every pixel and the epoch. */
static kn_status source_draw(const kn_dataset *ds, kn_sample *s, const kn_image *picture) {
    size_t bytes = (size_t)picture->height * (size_t)picture->width * 3;
    (void)ds;
    memset(s->slot, picture->height * 16 + picture->width, BYTES);
    for (size_t i = 0; i < bytes; i++) {
        uint8_t *to = &s->slot[(i + s->epoch) % BYTES];
        *to = (uint8_t)(*to * 5 + picture->pixels[i]);
    }
    return KN_OK;
}

static kn_status source_get(const kn_dataset *ds, kn_sample *s) {
    kn_image picture;
    kn_status status = source_read(ds, s, &picture);
    return status == KN_OK ? source_draw(ds, s, &picture) : status;
}

static const kn_dataset_class in_two_steps = {
    .len = source_len, .get = source_get, .read = source_read, .draw = source_draw};
static const kn_dataset_class in_one_step = {.len = source_len, .get = source_get};

static source source_of(const kn_dataset_class *cls) {
    return (source){.base = {cls, SIDE, SIDE, true}, .bad = -1};
}

static size_t bytes_of_all(void) {
    size_t bytes = 0;
    for (int64_t i = 0; i < COUNT; i++)
        bytes += (size_t)height_of(i) * (size_t)width_of(i) * 3;
    return bytes;
}

/* ---- epochs ---- */

/* What the source gives, without counting. */
static void make_want(uint8_t want[BYTES], int64_t index, uint32_t epoch) {
    source from = source_of(&in_two_steps);
    kn_image_reader reader = {0};
    kn_error error = {0};
    int32_t label;
    kn_sample s = {index, epoch, want, &label, &reader, &error};
    assert_int_equal(source_get(&from.base, &s), KN_OK);
    kn_image_reader_free(&reader);
}

static int check_epoch(kn_dataset *kept, uint32_t epoch) {
    kn_loader *loader = kn_loader_new(
        ctx, kept, 7, (kn_loader_opts){.workers = 3, .shuffle = true, .skip_bad = true});
    kn_batch batch;
    bool got;
    int samples = 0;
    assert_non_null(loader);
    assert_int_equal(kn_loader_start(loader, epoch), KN_OK);
    while (kn_loader_next(loader, &batch, &got) == KN_OK && got) {
        for (int i = 0; i < batch.n; i++, samples++) {
            uint8_t want[BYTES];
            make_want(want, batch.index[i], epoch);
            assert_memory_equal(batch.pixels + (ptrdiff_t)i * BYTES, want, BYTES);
            assert_int_equal(batch.labels[i], batch.index[i] % 3);
        }
        kn_loader_release(loader, &batch);
    }
    check_good(ctx, "an epoch");
    kn_loader_free(loader);
    return samples;
}

/* How often pictures were read for some epochs through a cache. */
static int reads_of(source from, kn_cache_opts opts, kn_cache_state *state) {
    kn_dataset *kept = kn_cached_dataset(ctx, &from.base, opts);
    check_good(ctx, "a cache");
    assert_non_null(kept);
    assert_true(kept->varies);
    for (uint32_t e = 0; e < EPOCHS; e++)
        assert_int_equal(check_epoch(kept, e), from.bad < 0 ? COUNT : COUNT - 1);
    *state = kn_cached_dataset_state(kept);
    kn_dataset_free(kept);
    return from.reads;
}

/* ---- tests ---- */

static void a_picture_is_read_once(void **state) {
    (void)state;
    static const kn_cache_kind kinds[] = {KN_CACHE_AUTO, KN_CACHE_RAM};
    for (size_t i = 0; i < 2; i++) {
        kn_cache_state s;
        kn_cache_opts opts = {.kind = kinds[i]};
        assert_int_equal(reads_of(source_of(&in_two_steps), opts, &s), COUNT);
        assert_int_equal(s.kind, KN_CACHE_RAM);
        assert_int_equal(s.pictures, COUNT);
        assert_int_equal(s.bytes, bytes_of_all());
    }
}

static void a_bad_one_is_tried_again(void **state) {
    (void)state;
    kn_cache_state s;
    source from = source_of(&in_two_steps);
    from.bad = 11;
    assert_int_equal(reads_of(from, (kn_cache_opts){0}, &s), COUNT - 1 + EPOCHS);
    assert_int_equal(s.pictures, COUNT - 1);
    assert_false(s.crowded); /* for a bad one there would have been room */
}

/* Neither is there a file for them, nor can a class that has only get be asked for pictures. */
static void else_nothing_is_kept(void **state) {
    (void)state;
    static const struct {
        const kn_dataset_class *cls;
        kn_cache_kind kind;
    } cases[] = {{&in_two_steps, KN_CACHE_OFF},
                 {&in_two_steps, KN_CACHE_DISK},
                 {&in_one_step, KN_CACHE_RAM}};
    for (size_t i = 0; i < 3; i++) {
        kn_cache_state s;
        kn_cache_opts opts = {.kind = cases[i].kind};
        assert_int_equal(reads_of(source_of(cases[i].cls), opts, &s), EPOCHS * COUNT);
        assert_int_equal(s.kind, KN_CACHE_OFF);
        assert_int_equal(s.pictures, 0);
    }
}

/* What fits is kept, the rest read each time. */
static void as_many_as_fit(void **state) {
    (void)state;
    kn_cache_state s;
    size_t all = bytes_of_all();
    int reads = reads_of(source_of(&in_two_steps), (kn_cache_opts){.memory = all / 2}, &s);
    assert_true(s.pictures > 0 && s.pictures < COUNT);
    assert_true((size_t)s.bytes <= all / 2 && (size_t)s.bytes > all / 4);
    assert_int_equal(reads, COUNT + (EPOCHS - 1) * (COUNT - s.pictures));
    assert_true(s.crowded);
    reads = reads_of(source_of(&in_two_steps), (kn_cache_opts){.memory = 1}, &s);
    assert_int_equal(s.pictures, 0);
    assert_int_equal(reads, EPOCHS * COUNT);
    assert_true(s.crowded);
}

/* The list's memory is asked for and may be refused; the pictures' is not missed. */
static void every_allocation_may_fail(void **state) {
    (void)state;
    for (int n = 1;; n++) {
        source from = source_of(&in_two_steps);
        memory.made = 0;
        memory.fail_at = n;
        kn_dataset *kept =
            kn_cached_dataset(ctx, &from.base, (kn_cache_opts){.kind = KN_CACHE_RAM});
        memory.fail_at = 0;
        if (kept == NULL) {
            check_error(ctx, KN_ERR_MEMORY, "out of memory");
            continue;
        }
        assert_true(n > 3);
        kn_dataset_free(kept);
        break;
    }
    kn_picture_store *s = kn_picture_store_new(ctx, 2, 1000);
    const uint8_t pixels[6] = {1, 2, 3, 4, 5, 6};
    const kn_image picture = {.height = 1, .width = 2, .pixels = pixels};
    kn_image found;
    int32_t label;
    assert_non_null(s);
    memory.made = 0;
    memory.fail_at = 1;
    kn_picture_store_put(s, 0, &picture, 5);
    memory.fail_at = 0;
    assert_int_equal(memory.made, 1);
    assert_false(kn_picture_store_get(s, 0, &found, &label));
    kn_picture_store_put(s, 1, &picture, 5); /* it does not try again */
    assert_false(kn_picture_store_get(s, 1, &found, &label));
    assert_int_equal(memory.made, 1);
    kn_picture_store_free(s);
}

/* Small ones share a block, larger ones have their own; none reaches into another. */
static void pictures_of_all_sizes(void **state) {
    (void)state;
    static const int widths[] = {1,      21, 80000,  22,     87381,   87382,
                                 300000, 3,  699050, 699051, 1398102, 5};
    enum { SIZES = sizeof widths / sizeof widths[0], ROUNDS = 3 };
    kn_picture_store *s = kn_picture_store_new(ctx, SIZES * ROUNDS, (size_t)1 << 30);
    assert_non_null(s);
    size_t all = 0;
    for (int i = 0; i < SIZES * ROUNDS; i++) {
        size_t size = (size_t)widths[i % SIZES] * 3;
        uint8_t *pixels = malloc(size);
        assert_non_null(pixels);
        for (size_t k = 0; k < size; k++)
            pixels[k] = pixel_of(i, k);
        kn_picture_store_put(
            s, i, &(kn_image){.height = 1, .width = widths[i % SIZES], .pixels = pixels}, i);
        kn_picture_store_put(s, i, &(kn_image){.height = 1, .width = 1, .pixels = pixels}, -1);
        free(pixels);
        all += size;
    }
    for (int i = 0; i < SIZES * ROUNDS; i++) {
        kn_image found;
        int32_t label;
        assert_true(kn_picture_store_get(s, i, &found, &label));
        assert_int_equal(label, i);
        assert_int_equal(found.height, 1);
        assert_int_equal(found.width, widths[i % SIZES]);
        for (size_t k = 0; k < (size_t)found.width * 3; k++)
            if (found.pixels[k] != pixel_of(i, k))
                fail_msg("picture %d, byte %zu", i, k);
    }
    kn_picture_count count = kn_picture_store_count(s);
    assert_int_equal(count.pictures, SIZES * ROUNDS);
    assert_int_equal(count.bytes, all);
    assert_false(count.crowded); /* the second of each found the first */
    kn_picture_store_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
        TEST(a_picture_is_read_once), TEST(a_bad_one_is_tried_again),  TEST(else_nothing_is_kept),
        TEST(as_many_as_fit),         TEST(every_allocation_may_fail), TEST(pictures_of_all_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
