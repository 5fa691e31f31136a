/* test_memory.c - the memory that is there and left, as kernels of several kinds tell it: a tree of
 * files stands in for /proc and /sys. And tensors that would need more. */
#include "support/check.h"
#include "support/root.h"

#include "core/file.h"
#include "core/memory.h"
#include "tensor/engine.h"

#include <stdio.h>
#include <string.h>

static const uint64_t gib = (uint64_t)1 << 30;

static void put(const char *name, const char *text) {
    char folder[512];
    snprintf(folder, sizeof folder, "%s", name);
    *strrchr(folder, '/') = '\0';
    tree_folder(root, folder);
    assert_int_equal(kn_file_write(root_path(name), text, strlen(text), NULL), KN_OK);
}

static void put_number(const char *folder, const char *name, uint64_t number) {
    char path[512], text[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)number);
    put(path, text);
}

static int machine(void **state) {
    (void)state;
    tree_make(root);
    put("proc/meminfo", "MemTotal:       33554432 kB\nMemFree:  1 kB\nMemAvailable:   16777216 kB\n"
                        "SwapTotal:       2097152 kB\nSwapFree:        1048576 kB\n");
    put("proc/self/status", "Name:\ttest\nRssAnon:\t    1024 kB\nVmSwap:\t    1024 kB\n");
    return 0;
}

static void check_memory(uint64_t left, uint64_t reach, uint64_t most) {
    kn_memory now = kn_memory_now(root);
    assert_int_equal(now.own, 2 << 20);
    assert_true(now.reach_in_groups == now.reach || now.reach_in_groups == UINT64_MAX);
    assert_int_equal(now.left, left);
    assert_int_equal(now.reach, reach);
    assert_int_equal(now.most, most);
}

static void the_machine_without_groups(void **state) {
    (void)state;
    check_memory(16 * gib, 17 * gib, 34 * gib);
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    check_memory(16 * gib, 17 * gib, 34 * gib);
}

/* Page cache that nobody touched lately is as good as free; the rest goes under pressure, and so do
 * the kernel's caches of names. */
static void a_container(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup", "memory.current", 7 * gib);
    check_memory(1 * gib, 2 * gib, 10 * gib);
    put("sys/fs/cgroup/memory.stat",
        "anon 1000\ninactive_file 4294967296\nactive_file 1073741824\n");
    check_memory(5 * gib, 7 * gib, 10 * gib);
    put("sys/fs/cgroup/memory.stat",
        "inactive_file 4294967296\nactive_file 1073741824\nslab_reclaimable 536870912\n");
    check_memory(5 * gib, 7 * gib + gib / 2, 10 * gib);
    put_number("sys/fs/cgroup", "memory.current", 9 * gib);
    put("sys/fs/cgroup/memory.stat", "anon 1000\n");
    check_memory(0, 1 * gib, 10 * gib);
}

/* Of the machine's swap, 1 of 2 GiB free. */
static void a_container_with_little_swap(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup", "memory.current", 7 * gib);
    put("sys/fs/cgroup/memory.swap.max", "max\n");
    put_number("sys/fs/cgroup", "memory.swap.current", gib);
    check_memory(1 * gib, 2 * gib, 10 * gib);
    put_number("sys/fs/cgroup", "memory.swap.max", gib + gib / 2);
    check_memory(1 * gib, gib + gib / 2, 9 * gib + gib / 2);
    put_number("sys/fs/cgroup", "memory.swap.max", 0);
    check_memory(1 * gib, 1 * gib, 8 * gib);
    /* By a group that limits nothing else, too. */
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    put("sys/fs/cgroup/a/memory.max", "max\n");
    put("sys/fs/cgroup/a/memory.swap.max", "0\n");
    put("sys/fs/cgroup/memory.swap.max", "max\n");
    put_number("sys/fs/cgroup/a/b", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup/a/b", "memory.current", 7 * gib);
    check_memory(1 * gib, 1 * gib, 8 * gib);
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    check_memory(16 * gib, 16 * gib, 32 * gib);
}

/* The narrowest counts, wherever it is on the way. */
static void nested_groups(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/slurm/job 7/step\n");
    put("sys/fs/cgroup/slurm/job 7/step/memory.max", "max\n");
    put_number("sys/fs/cgroup/slurm/job 7", "memory.max", 4 * gib);
    put_number("sys/fs/cgroup/slurm/job 7", "memory.current", 1 * gib);
    put_number("sys/fs/cgroup/slurm", "memory.max", 12 * gib);
    check_memory(3 * gib, 4 * gib, 6 * gib);
    put_number("sys/fs/cgroup/slurm", "memory.current", 10 * gib);
    check_memory(2 * gib, 3 * gib, 6 * gib);
}

static void version_1(void **state) {
    (void)state;
    put("proc/self/cgroup", "9:cpuset:/other\n7:cpu,memory:/box\n0::/unified\n");
    put_number("sys/fs/cgroup/memory/box", "memory.limit_in_bytes", 2 * gib);
    put_number("sys/fs/cgroup/memory/box", "memory.usage_in_bytes", gib);
    put("sys/fs/cgroup/memory/box/memory.stat",
        "inactive_file 0\ntotal_inactive_file 536870912\ntotal_active_file 268435456\n");
    check_memory(gib + gib / 2, 2 * gib + 3 * gib / 4, 4 * gib);
    /* Both together. */
    put_number("sys/fs/cgroup/memory/box", "memory.memsw.limit_in_bytes", 2 * gib + gib / 2);
    put_number("sys/fs/cgroup/memory/box", "memory.memsw.usage_in_bytes", gib + gib / 4);
    check_memory(gib + gib / 2, 2 * gib, 2 * gib + gib / 2);
    put_number("sys/fs/cgroup/memory/box", "memory.memsw.usage_in_bytes", 2 * gib + gib / 4);
    check_memory(gib + gib / 2, gib, 2 * gib + gib / 2);
}

static void nothing_is_told(void **state) {
    (void)state;
    assert_int_equal(kn_memory_now("/nonexistent").most, 0);
}

/* ---- tensors ---- */

static char warned[512];

static void note(void *user, kn_log_level level, const char *line) {
    (void)user;
    if (level == KN_LOG_WARNING)
        snprintf(warned, sizeof warned, "%s", line);
}

/* A device on the machine in root. */
static kn_ctx *make_room(kn_pool **pool) {
    kn_ctx *ctx;
    kn_error error = {0};
    assert_int_equal(kn_ctx_new(&ctx, (kn_ctx_opts){.device = "cpu", .log = note}, &error), KN_OK);
    assert_non_null(kn_device_default(ctx));
    *pool = ctx->engine->pools;
    (*pool)->room.root = root;
    warned[0] = '\0';
    return ctx;
}

/* Of so many MiB: there is one. */
static bool make_tensor(kn_ctx *ctx, kn_pool *pool, int64_t mib) {
    return kn_tensor_new(ctx, &pool->device, KN_U8, KN_SHAPE(mib << 20)) != NULL;
}

static void put_own(uint64_t bytes) {
    char text[64];
    snprintf(text, sizeof text, "RssAnon: %llu kB\n", (unsigned long long)(bytes >> 10));
    put("proc/self/status", text);
}

/* Linux gives what it does not have, and ends the program that uses it. What these tensors are made
 * of is not used. */
static void tensors_beyond_the_machine_are_refused(void **state) {
    (void)state;
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool);
    put_own(34 * gib - ((uint64_t)100 << 20)); /* of the 34 that there are */
    assert_true(make_tensor(ctx, pool, 31));   /* it does not look at little */
    assert_false(make_tensor(ctx, pool, 101));
    check_error(ctx, KN_ERR_MEMORY, "out of memory on device cpu: a tensor of 105906176 bytes, ");
    assert_false(make_tensor(ctx, pool, 101));
    check_error(ctx, KN_ERR_MEMORY,
                "18253611008 of 36507222016 left; smaller batches, pictures or");
    assert_true(make_tensor(ctx, pool, 99));
    assert_true(make_tensor(ctx, pool, 240)); /* the next look is a while off */
    assert_false(make_tensor(ctx, pool, 101));
    assert_string_equal(warned, ""); /* half of it is left, whoever has it */
    kn_error_take(ctx);
    kn_ctx_free(ctx);
}

static void tensors_beyond_a_group_are_refused(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup", "memory.current", 8 * gib);
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool); /* its swap is all that is left */
    assert_true(make_tensor(ctx, pool, 960));
    assert_false(make_tensor(ctx, pool, 961)); /* others need some, too */
    check_error(ctx, KN_ERR_MEMORY, "a tensor of 1007681536 bytes, ");
    put("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n"); /* no swap now */
    assert_false(make_tensor(ctx, pool, 1));
    check_error(ctx, KN_ERR_MEMORY, "0 of 8589934592 left");
    put_number("sys/fs/cgroup", "memory.current", 4 * gib);
    assert_true(make_tensor(ctx, pool, 1000));
    assert_string_equal(warned, ""); /* it would be refused */
    kn_ctx_free(ctx);
}

/* Where it is short it looks more often. */
static void little_is_looked_at_often(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 1 * gib);
    put("sys/fs/cgroup/memory.swap.max", "0\n");
    put_number("sys/fs/cgroup", "memory.current", gib - ((uint64_t)200 << 20));
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool);
    assert_true(make_tensor(ctx, pool, 40));
    put_number("sys/fs/cgroup", "memory.current", gib - ((uint64_t)70 << 20));
    assert_true(make_tensor(ctx, pool, 40)); /* not before a quarter of it */
    assert_false(make_tensor(ctx, pool, 10));
    kn_error_take(ctx);
    kn_ctx_free(ctx);
}

/* What the pool holds for later goes first. */
static void pooled_memory_makes_room(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup", "memory.current", 2 * gib);
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool);
    assert_true(make_tensor(ctx, pool, 300));
    kn_step_end(ctx);
    assert_true(pool->taken > 0);
    put("sys/fs/cgroup/memory.swap.max", "0\n");
    put_number("sys/fs/cgroup", "memory.current", 8 * gib);
    assert_false(make_tensor(ctx, pool, 500)); /* these files do not follow */
    assert_int_equal(pool->taken, 0);
    kn_error_take(ctx);
    kn_ctx_free(ctx);
}

static void a_machine_that_is_short_of_it_is_warned_of(void **state) {
    (void)state;
    put("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 307200 kB\n");
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool);
    assert_true(make_tensor(ctx, pool, 200));
    assert_string_equal(warned, "");
    assert_true(make_tensor(ctx, pool, 256));
    check_contains(warned, "memory is short: tensors take 235 MB, and 315 MB are left; the system "
                           "may end this program");
    snprintf(warned, sizeof warned, "as it was left"); /* once is enough */
    assert_true(make_tensor(ctx, pool, 256));
    assert_string_equal(warned, "as it was left");
    kn_ctx_free(ctx);
}

static void where_nothing_is_told_nothing_is_refused(void **state) {
    (void)state;
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool);
    pool->room.root = "/nonexistent";
    assert_true(make_tensor(ctx, pool, 300));
    assert_string_equal(warned, "");
    kn_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_machine_without_groups, machine, root_remove),
        cmocka_unit_test_setup_teardown(a_container, machine, root_remove),
        cmocka_unit_test_setup_teardown(a_container_with_little_swap, machine, root_remove),
        cmocka_unit_test_setup_teardown(nested_groups, machine, root_remove),
        cmocka_unit_test_setup_teardown(version_1, machine, root_remove),
        cmocka_unit_test(nothing_is_told),
        cmocka_unit_test_setup_teardown(tensors_beyond_the_machine_are_refused, machine,
                                        root_remove),
        cmocka_unit_test_setup_teardown(tensors_beyond_a_group_are_refused, machine, root_remove),
        cmocka_unit_test_setup_teardown(little_is_looked_at_often, machine, root_remove),
        cmocka_unit_test_setup_teardown(pooled_memory_makes_room, machine, root_remove),
        cmocka_unit_test_setup_teardown(a_machine_that_is_short_of_it_is_warned_of, machine,
                                        root_remove),
        cmocka_unit_test(where_nothing_is_told_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
