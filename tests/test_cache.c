/* test_cache.c - samples that are kept: the bytes of the source, made once, in memory or in a file
 * that later runs trust only when it is whole. */
#include "support/check.h"
#include "support/counted.h"
#include "support/made_data.h"
#include "support/root.h"

#include <kiln/kiln.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT = 21, SIDE = 6, BYTES = SIDE * SIDE * 3 };

static counted memory;
static kn_ctx *ctx;
static int open_all(void **state) {
    (void)state;
    ctx = counted_ctx(&memory, "reference");
    tree_make(root);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    tree_remove(root);
    counted_ctx_free(&memory, ctx);
    return 0;
}

/* ---- a source that counts ---- */

typedef struct source {
    kn_dataset base;
    kn_dataset *made;
    atomic_int gets;
    char letter;      /* of its name */
    int64_t bad;      /* a sample that cannot be had; -1: none */
    kn_status status; /* and why */
} source;

static int64_t source_len(const kn_dataset *ds) {
    (void)ds;
    return COUNT;
}

static kn_status source_get(const kn_dataset *ds, kn_sample *s) {
    const source *from = (const source *)ds;
    atomic_fetch_add((atomic_int *)(uintptr_t)&from->gets, 1);
    if (s->index == from->bad)
        return kn_error_set(s->error, from->status, "sample %d is bad", (int)s->index);
    return from->made->cls->get(from->made, s);
}

static kn_status source_identify(const kn_dataset *ds, char name[KN_DATASET_NAME],
                                 kn_error *error) {
    (void)error;
    memset(name, ((const source *)ds)->letter, KN_DATASET_NAME - 1);
    name[KN_DATASET_NAME - 1] = '\0';
    return KN_OK;
}

static const kn_dataset_class source_class = {
    .len = source_len, .get = source_get, .identify = source_identify};

static source open_source(void) {
    return (source){.base = {.cls = &source_class, .height = SIDE, .width = SIDE},
                    .made = made_data(COUNT, SIDE, 3),
                    .letter = 'a',
                    .bad = -1};
}

static kn_cache_opts on_disk(void) {
    return (kn_cache_opts){.kind = KN_CACHE_DISK, .folder = root};
}

/* An epoch of it through a loader gives the source's samples. */
static void check_epoch(kn_dataset *kept, const source *from, uint32_t epoch) {
    kn_loader *loader =
        kn_loader_new(ctx, kept, 4, (kn_loader_opts){.workers = 3, .shuffle = true});
    assert_non_null(loader);
    assert_int_equal(kn_loader_start(loader, epoch), KN_OK);
    kn_batch batch;
    bool got;
    int samples = 0;
    while (kn_loader_next(loader, &batch, &got) == KN_OK && got) {
        for (int i = 0; i < batch.n; i++, samples++) {
            uint8_t want[BYTES];
            int32_t label = -1;
            kn_sample s = {.index = batch.index[i], .slot = want, .label = &label};
            assert_int_equal(from->made->cls->get(from->made, &s), KN_OK);
            assert_memory_equal(batch.pixels + (ptrdiff_t)i * BYTES, want, BYTES);
            assert_int_equal(batch.labels[i], label);
        }
        kn_loader_release(loader, &batch);
    }
    assert_int_equal(samples, COUNT);
    kn_loader_free(loader);
}

/* One sample after another, by hand; how many were had. */
static int get_all(kn_dataset *kept, const source *from) {
    int had = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        uint8_t slot[BYTES], want[BYTES];
        int32_t label, right;
        kn_error error = {0};
        kn_sample s = {.index = i, .slot = slot, .label = &label, .error = &error};
        if (kept->cls->get(kept, &s) != KN_OK)
            continue;
        s.slot = want;
        s.label = &right;
        assert_int_equal(from->made->cls->get(from->made, &s), KN_OK);
        assert_memory_equal(slot, want, BYTES);
        assert_int_equal(label, right);
        had++;
    }
    return had;
}

/* Opens a cache, goes through some epochs, and closes it: how often the source was asked. */
static int gets_of(kn_cache_opts opts, int epochs, kn_cache_state *state) {
    source from = open_source();
    kn_dataset *kept = kn_cached_dataset(ctx, &from.base, opts);
    check_good(ctx, "a cache");
    assert_non_null(kept);
    for (int e = 0; e < epochs; e++)
        check_epoch(kept, &from, (uint32_t)e);
    *state = kn_cached_dataset_state(kept);
    kn_dataset_free(kept);
    kn_dataset_free(from.made);
    return from.gets;
}

static int files_there(char path[TREE_PATH]) {
    int count = 0;
    DIR *folder = opendir(root);
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder)) != NULL;)
        if (e->d_name[0] != '.') {
            count++;
            snprintf(path, TREE_PATH, "%.2000s/%.255s", root, e->d_name);
        }
    closedir(folder);
    return count;
}

/* ---- tests ---- */

static void a_sample_is_made_once(void **state) {
    (void)state;
    kn_cache_state s;
    assert_int_equal(gets_of((kn_cache_opts){.kind = KN_CACHE_RAM}, 3, &s), COUNT);
    assert_int_equal(s.kind, KN_CACHE_RAM);
    assert_int_equal(s.bytes, COUNT * BYTES);
    assert_int_equal(gets_of((kn_cache_opts){.kind = KN_CACHE_OFF}, 3, &s), 3 * COUNT);
    assert_int_equal(gets_of(on_disk(), 3, &s), COUNT);
    assert_int_equal(s.kind, KN_CACHE_DISK);
    assert_null(s.given_up);
    assert_int_equal(s.found, 0);
}

static void a_file_serves_later_runs(void **state) {
    (void)state;
    kn_cache_state s;
    char path[TREE_PATH];
    gets_of(on_disk(), 1, &s);
    assert_int_equal(files_there(path), 1);
    assert_int_equal(gets_of(on_disk(), 2, &s), 0);
    assert_int_equal(s.found, COUNT);
    assert_int_equal(s.damaged, 0);
    /* Another name is another file. */
    source other = open_source();
    other.letter = 'b';
    kn_dataset *kept = kn_cached_dataset(ctx, &other.base, on_disk());
    check_epoch(kept, &other, 0);
    assert_int_equal(other.gets, COUNT);
    kn_dataset_free(kept);
    kn_dataset_free(other.made);
    assert_int_equal(files_there(path), 2);
}

/* A run that ends early leaves nothing. */
static void a_file_is_whole_or_not_there(void **state) {
    (void)state;
    kn_cache_state s;
    char path[TREE_PATH];
    source from = open_source();
    kn_dataset *kept = kn_cached_dataset(ctx, &from.base, on_disk());
    uint8_t slot[BYTES];
    int32_t label;
    kn_error error = {0};
    for (int64_t i = 0; i < COUNT - 1; i++) {
        kn_sample sample = {.index = i, .slot = slot, .label = &label, .error = &error};
        assert_int_equal(kept->cls->get(kept, &sample), KN_OK);
    }
    kn_dataset_free(kept);
    kn_dataset_free(from.made);
    assert_int_equal(files_there(path), 0);
    assert_int_equal(gets_of(on_disk(), 1, &s), COUNT);
}

/* The file is whole without a bad picture, wherever it is, and later runs ask for that one alone. A
 * disk that failed once is no bad picture: the file waits for it. */
static void a_bad_sample_is_left_out(void **state) {
    (void)state;
    static const struct {
        int64_t bad;
        kn_status status;
        int files;
    } cases[] = {{0, KN_ERR_DATA, 1},
                 {7, KN_ERR_LIMIT, 1},
                 {COUNT - 1, KN_ERR_DATA, 1},
                 {5, KN_ERR_IO, 0},
                 {6, KN_ERR_MEMORY, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[TREE_PATH];
        for (int run = 0; run < 2; run++) {
            source from = open_source();
            from.letter = (char)('b' + i);
            from.bad = cases[i].bad;
            from.status = cases[i].status;
            kn_dataset *kept = kn_cached_dataset(ctx, &from.base, on_disk());
            assert_non_null(kept);
            bool found = run > 0 && cases[i].files > 0;
            assert_int_equal(kn_cached_dataset_state(kept).found, found ? COUNT - 1 : 0);
            for (int epoch = 0; epoch < 2; epoch++)
                assert_int_equal(get_all(kept, &from), COUNT - 1);
            assert_int_equal(from.gets, found ? 2 : COUNT + 1);
            assert_int_equal(kn_cached_dataset_state(kept).damaged, 0);
            kn_dataset_free(kept);
            kn_dataset_free(from.made);
        }
        assert_int_equal(files_there(path), cases[i].files);
        if (cases[i].files > 0)
            assert_int_equal(unlink(path), 0);
    }
}

static void change_byte(const char *path, long at) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(c ^ 0x10, f);
    fclose(f);
}

static void a_damaged_file_is_not_trusted(void **state) {
    (void)state;
    kn_cache_state s;
    char path[TREE_PATH];
    gets_of(on_disk(), 1, &s);
    assert_int_equal(files_there(path), 1);
    /* A sample: that one is made anew, in each epoch, and the file goes. */
    change_byte(path, -5);
    assert_int_equal(gets_of(on_disk(), 2, &s), 2);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(files_there(path), 0);
    /* The header, the index, the length: all is made anew at once. */
    static const long places[] = {0, 17, 40, 4096, 4096 + 8};
    for (size_t i = 0; i <= sizeof places / sizeof *places; i++) {
        gets_of(on_disk(), 1, &s);
        assert_int_equal(files_there(path), 1);
        if (i < sizeof places / sizeof *places)
            change_byte(path, places[i]);
        else
            assert_int_equal(truncate(path, 5000), 0);
        assert_int_equal(gets_of(on_disk(), 1, &s), COUNT);
        assert_int_equal(s.found, 0);
    }
    assert_int_equal(gets_of(on_disk(), 1, &s), 0);
}

/* Whatever lies under the name. */
static void what_is_in_the_way_costs_no_more_than_the_file(void **state) {
    (void)state;
    kn_cache_state s;
    char path[TREE_PATH];
    gets_of(on_disk(), 1, &s);
    assert_int_equal(files_there(path), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0777), 0); /* linkat finds it: as if another had been faster */
    assert_int_equal(gets_of(on_disk(), 2, &s), COUNT);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0); /* does not block */
    assert_int_equal(gets_of(on_disk(), 1, &s), COUNT);
    assert_int_equal(gets_of(on_disk(), 1, &s), 0);
}

static void a_full_disk_ends_the_keeping_and_nothing_else(void **state) {
    (void)state;
    kn_cache_state s;
    char path[TREE_PATH];
    struct rlimit saved, small = {2 * 4096 + 10 * BYTES, 0}; /* header, index, ten samples */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small.rlim_max = saved.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    source from = open_source();
    kn_dataset *kept = kn_cached_dataset(ctx, &from.base, on_disk());
    check_epoch(kept, &from, 0);
    s = kn_cached_dataset_state(kept);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_non_null(s.given_up);
    check_contains(s.given_up, "cannot write");
    check_epoch(kept, &from, 1);
    kn_dataset_free(kept);
    kn_dataset_free(from.made);
    assert_int_equal(files_there(path), 0);
}

static void auto_takes_what_fits(void **state) {
    (void)state;
    kn_cache_state s;
    kn_cache_opts opts = {.memory = COUNT * BYTES, .folder = root};
    gets_of(opts, 1, &s);
    assert_int_equal(s.kind, KN_CACHE_RAM);
    opts.memory--;
    gets_of(opts, 1, &s);
    assert_int_equal(s.kind, KN_CACHE_DISK);
    opts.folder = NULL;
    gets_of(opts, 1, &s);
    assert_int_equal(s.kind, KN_CACHE_OFF);
    gets_of((kn_cache_opts){0}, 1, &s); /* so little always fits */
    assert_int_equal(s.kind, KN_CACHE_RAM);
    opts.folder = "/dev/null/nowhere";
    gets_of(opts, 1, &s);
    assert_int_equal(s.kind, KN_CACHE_OFF);
    opts.kind = KN_CACHE_DISK;
    source from = open_source();
    assert_null(kn_cached_dataset(ctx, &from.base, opts));
    check_error(ctx, KN_ERR_IO, "/dev/null");
    opts.folder = NULL;
    assert_null(kn_cached_dataset(ctx, &from.base, opts));
    check_error(ctx, KN_ERR_ARG, "no folder");
    assert_null(kn_cached_dataset(ctx, from.made, on_disk()));
    check_error(ctx, KN_ERR_ARG, "no name");
    assert_null(kn_cached_dataset(ctx, NULL, on_disk()));
    kn_dataset_free(from.made);
}

static void what_varies_is_not_kept(void **state) {
    (void)state;
    source from = open_source();
    from.base.varies = true;
    kn_dataset *kept = kn_cached_dataset(ctx, &from.base, (kn_cache_opts){.kind = KN_CACHE_RAM});
    check_epoch(kept, &from, 0);
    check_epoch(kept, &from, 1);
    assert_int_equal(from.gets, 2 * COUNT);
    assert_int_equal(kn_cached_dataset_state(kept).kind, KN_CACHE_OFF);
    kn_dataset_free(kept);
    kn_dataset_free(from.made);
}

/* The name of a set of pictures depends on everything that makes its pixels. */
static void pictures_have_a_name_of_their_own(void **state) {
    (void)state;
    char a[TREE_PATH], b[TREE_PATH];
    tree_put(root, "x.jpg", "12345", 5);
    tree_put(root, "y.jpg", "12345", 5);
    snprintf(a, sizeof a, "%.2000s/x.jpg", root);
    snprintf(b, sizeof b, "%.2000s/y.jpg", root);
    kn_labelled items[2] = {{a, 0}, {b, 1}}, swapped[2] = {{a, 1}, {b, 0}};
    char names[6][KN_DATASET_NAME];
    struct timespec times[2] = {{1, 0}, {1, 7}};
    kn_error error = {0};
    for (int i = 0; i < 6; i++) {
        if (i == 4)
            tree_put(root, "y.jpg", "123456", 6);
        if (i == 5)
            assert_int_equal(utimensat(AT_FDCWD, b, times, 0), 0);
        kn_dataset *ds =
            kn_image_dataset(ctx, i == 3 ? swapped : items, 2, i == 1 ? 32 : 64,
                             (kn_image_opts){.resize = i == 2 ? KN_RESIZE_PAD : KN_RESIZE_SQUASH});
        assert_non_null(ds);
        assert_false(ds->varies);
        assert_int_equal(ds->cls->identify(ds, names[i], &error), KN_OK);
        assert_int_equal(strlen(names[i]), KN_DATASET_NAME - 1);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(names[i], names[k]);
        kn_dataset_free(ds);
    }
    unlink(b);
    kn_dataset *ds = kn_image_dataset(ctx, items, 2, 64, (kn_image_opts){0});
    assert_int_equal(ds->cls->identify(ds, names[0], &error), KN_ERR_IO);
    check_contains(error.message, "y.jpg");
    kn_dataset_free(ds);
    kn_image_opts flipped = {.augment = {.flip = 0.5F}};
    ds = kn_image_dataset(ctx, items, 2, 64, flipped);
    assert_true(ds->varies);
    kn_dataset_free(ds);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const kn_cache_kind kinds[] = {KN_CACHE_RAM, KN_CACHE_DISK};
    for (size_t k = 0; k < 2; k++)
        for (int n = 1;; n++) {
            source from = open_source();
            kn_cache_opts opts = {.kind = kinds[k], .folder = root};
            memory.made = 0;
            memory.fail_at = n;
            kn_dataset *kept = kn_cached_dataset(ctx, &from.base, opts);
            bool refused = memory.made >= n;
            memory.fail_at = 0;
            kn_dataset_free(kept);
            kn_dataset_free(from.made);
            if (!refused) {
                assert_non_null(kept);
                assert_true(n > 3);
                break;
            }
            assert_null(kept);
            check_error(ctx, KN_ERR_MEMORY, "out of memory");
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
        TEST(a_sample_is_made_once),
        TEST(a_file_serves_later_runs),
        TEST(a_file_is_whole_or_not_there),
        TEST(a_bad_sample_is_left_out),
        TEST(a_damaged_file_is_not_trusted),
        TEST(what_is_in_the_way_costs_no_more_than_the_file),
        TEST(a_full_disk_ends_the_keeping_and_nothing_else),
        TEST(auto_takes_what_fits),
        TEST(what_varies_is_not_kept),
        TEST(pictures_have_a_name_of_their_own),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
