/* test_resident.c - samples that stay on the device: the bytes of the loader's batches, whatever
 * the order of epochs; and a fit on them is the fit that it would be without. */
#include "support/check.h"
#include "support/counted.h"
#include "support/made_data.h"
#include "support/tiny_run.h"

#include "backend/backend.h"
#include "data/resident.h"

#include <stdlib.h>
#include <string.h>

enum { COUNT = 23, ROOM = 5, EPOCHS = 3 };

/* ---- batches ---- */

/* Every batch of some shuffled epochs, the last of each shorter. */
static void check_batches(kn_ctx *ctx, const char *device, int side) {
    static uint8_t got[ROOM * SIDE * SIDE * 3];
    kn_dataset *made = made_data(COUNT, side, CLASSES);
    kn_loader *loader =
        kn_loader_new(ctx, made, ROOM, (kn_loader_opts){.shuffle = true, .workers = 1});
    kn_device_use(ctx, kn_device_open(ctx, device));
    kn_resident *r = kn_resident_new(ctx, loader, kn_device_default(ctx));
    assert_non_null(r);
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        bool more = true;
        kn_batch batch;
        assert_int_equal(kn_loader_start(loader, epoch), KN_OK);
        for (;;) {
            assert_int_equal(kn_loader_next(loader, &batch, &more), KN_OK);
            if (!more)
                break;
            kn_tensor *x = kn_resident_batch(r, &batch);
            size_t bytes = (size_t)(batch.n * side * side * 3);
            assert_int_equal(kn_tensor_read(ctx, x, got, bytes), KN_OK);
            assert_memory_equal(got, batch.pixels, bytes);
            kn_loader_release(loader, &batch);
            kn_step_end(ctx);
        }
    }
    kn_resident_free(r);
    kn_loader_free(loader);
    kn_dataset_free(made);
}

static void batches_are_the_loaders(void **state) {
    (void)state;
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, test_device());
    for (int side = SIDE - 1; side <= SIDE; side++) { /* rows of whole words, and not */
        check_batches(ctx, test_device(), side);
        check_batches(ctx, "reference", side);
    }
    counted_ctx_free(&memory, ctx);
}

/* ---- a fit ---- */

/* A device of the host's that says its memory is its own, and counts what comes to it. */
static size_t copied, room;
static kn_backend table;
static const kn_backend *own;

static kn_status count_copy_in(kn_device *d, void *to, const void *host, size_t bytes) {
    copied += bytes;
    return own->copy_in(d, to, host, bytes);
}

static size_t told_room(kn_device *d) {
    (void)d;
    return room;
}

static kn_status submit_nothing(kn_device *d) {
    (void)d;
    return KN_OK;
}

typedef struct outcome {
    char weights[65];
    size_t copied; /* in the fit */
} outcome;

static outcome fit(bool cached, bool from_far, size_t has_room) {
    run r;
    outcome out;
    run_init_with(&r, (kn_ctx_opts){.seed = 1, .threads = 1, .device = "reference"});
    kn_device *device = kn_device_default(r.ctx);
    kn_dataset *kept[2] = {
        kn_cached_dataset(r.ctx, r.train, (kn_cache_opts){.kind = KN_CACHE_RAM}),
        kn_cached_dataset(r.ctx, r.valid, (kn_cache_opts){.kind = KN_CACHE_RAM})};
    kn_loader *loader[2];
    for (int i = 0; i < 2; i++) {
        kn_dataset *plain = i == 0 ? r.train : r.valid;
        loader[i] = kn_loader_new(r.ctx, cached ? kept[i] : plain, BATCH,
                                  (kn_loader_opts){.shuffle = i == 0, .workers = 1});
    }
    r.l->loaders = (kn_loaders){loader[0], loader[1]};
    own = device->ops;
    table = *own;
    table.copy_in = count_copy_in;
    table.room = told_room;
    table.submit = submit_nothing;
    table.async = from_far;
    device->ops = &table;
    room = has_room;
    copied = 0;
    assert_int_equal(kn_learner_fit(r.l, EPOCHS), KN_OK);
    out.copied = copied;
    assert_int_equal(kn_weights_sha256(r.model, out.weights), KN_OK);
    device->ops = own;
    for (int i = 0; i < 2; i++) {
        kn_loader_free(loader[i]);
        kn_dataset_free(kept[i]);
    }
    run_free(&r);
    return out;
}

static void a_fit_on_them_is_the_same_fit(void **state) {
    (void)state;
    const size_t epoch = (TRAIN + VALID) * SIDE * SIDE * 3, plenty = (size_t)1 << 30;
    outcome near = fit(true, false, plenty), travelling = fit(false, true, plenty);
    outcome staying = fit(true, true, plenty), crowded = fit(true, true, 2 * epoch);
    assert_string_equal(travelling.weights, near.weights);
    assert_string_equal(staying.weights, near.weights);
    assert_string_equal(crowded.weights, near.weights);
    /* All pixels once, in place of once an epoch; of the crowded, the validation's few. */
    size_t saved = travelling.copied - staying.copied, index = EPOCHS * (TRAIN + VALID) * 4;
    assert_int_equal(saved, (EPOCHS - 1) * epoch - index);
    assert_true(crowded.copied > staying.copied && crowded.copied < travelling.copied);
}

/* Only asked how many it has, and whether its class could. */
static int64_t drawn_len(const kn_dataset *ds) {
    (void)ds;
    return COUNT;
}

static kn_status drawn_read(const kn_dataset *ds, kn_sample *s, kn_image *picture) {
    (void)ds;
    (void)picture;
    return kn_error_set(s->error, KN_ERR_STATE, "not to be asked");
}

static kn_status drawn_draw(const kn_dataset *ds, kn_sample *s, const kn_image *picture) {
    (void)ds;
    (void)picture;
    return kn_error_set(s->error, KN_ERR_STATE, "not to be asked");
}

/* What may differ from epoch to epoch, or that nobody keeps, is not kept here either; pictures that
 * are kept are no samples. */
static void only_what_is_kept_anyway_is_wanted(void **state) {
    (void)state;
    counted memory = {0};
    kn_ctx *ctx = counted_ctx(&memory, test_device());
    kn_device *device = kn_device_default(ctx);
    kn_dataset *made = made_data(COUNT, SIDE, CLASSES);
    kn_dataset *kept = kn_cached_dataset(ctx, made, (kn_cache_opts){.kind = KN_CACHE_RAM});
    made->varies = true;
    kn_dataset *varying = kn_cached_dataset(ctx, made, (kn_cache_opts){.kind = KN_CACHE_RAM});
    const kn_dataset_class cls = {.len = drawn_len, .read = drawn_read, .draw = drawn_draw};
    kn_dataset drawn = {&cls, SIDE, SIDE, true};
    kn_dataset *pictures = kn_cached_dataset(ctx, &drawn, (kn_cache_opts){.kind = KN_CACHE_RAM});
    assert_int_equal(kn_cached_dataset_state(pictures).kind, KN_CACHE_RAM);
    kn_dataset *const sets[] = {kept, made, varying, pictures};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        kn_loader *loader = kn_loader_new(ctx, sets[i], ROOM, (kn_loader_opts){.workers = 1});
        assert_int_equal(kn_resident_wanted(loader, device), i == 0 && !test_device_is_host());
        kn_loader_free(loader);
    }
    kn_dataset_free(pictures);
    kn_dataset_free(varying);
    kn_dataset_free(kept);
    kn_dataset_free(made);
    counted_ctx_free(&memory, ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_the_loaders),
        cmocka_unit_test(a_fit_on_them_is_the_same_fit),
        cmocka_unit_test(only_what_is_kept_anyway_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
