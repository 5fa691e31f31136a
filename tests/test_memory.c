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
    return 0;
}

static void check_memory(uint64_t left, uint64_t reach, uint64_t most) {
    kn_memory now = kn_memory_now(root);
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

/* Page cache that nobody touched lately is as good as free; the rest goes under pressure. */
static void a_container(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup", "memory.current", 7 * gib);
    check_memory(1 * gib, 2 * gib, 10 * gib);
    put("sys/fs/cgroup/memory.stat",
        "anon 1000\ninactive_file 4294967296\nactive_file 1073741824\n");
    check_memory(5 * gib, 7 * gib, 10 * gib);
    put_number("sys/fs/cgroup", "memory.current", 9 * gib);
    put("sys/fs/cgroup/memory.stat", "anon 1000\n");
    check_memory(0, 1 * gib, 10 * gib);
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

/* Linux gives what it does not have, and ends the program that uses it. What these tensors are made
 * of is not used. */
static void tensors_beyond_the_machine_are_refused(void **state) {
    (void)state;
    kn_pool *pool;
    const size_t most = 34 * gib;
    kn_ctx *ctx = make_room(&pool);
    pool->taken = most + most / 4 - ((size_t)640 << 20); /* as if they were, four fifths used */
    assert_true(make_tensor(ctx, pool, 128));
    assert_true(make_tensor(ctx, pool, 128)); /* here it looks */
    assert_true(make_tensor(ctx, pool, 128));
    assert_false(make_tensor(ctx, pool, 240)); /* and here */
    check_error(ctx, KN_ERR_MEMORY, "out of memory on device cpu: a tensor of 251658240 bytes, ");
    assert_false(make_tensor(ctx, pool, 210)); /* and at every one, once there is none */
    check_error(ctx, KN_ERR_MEMORY, "of the 34816 MB that there are; smaller batches or pictures");
    assert_true(make_tensor(ctx, pool, 100));
    assert_string_equal(warned, ""); /* half of it is left, whoever has it */
    pool->taken -= most + most / 4 - ((size_t)640 << 20);
    kn_ctx_free(ctx);
}

static void tensors_beyond_a_group_are_refused(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup", "memory.current", 8 * gib);
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool); /* its swap is all that is left */
    assert_true(make_tensor(ctx, pool, 256));
    assert_string_equal(warned, "");
    assert_true(make_tensor(ctx, pool, 800));
    check_contains(warned, "memory is short: tensors take 256 MB, and 1024 MB are left; the system "
                           "may end this program");
    snprintf(warned, sizeof warned, "as it was left"); /* once is enough */
    assert_false(make_tensor(ctx, pool, 1000));        /* others need some, too */
    check_error(ctx, KN_ERR_MEMORY, "a tensor of 1048576000 bytes, ");
    put("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n"); /* no swap now */
    assert_false(make_tensor(ctx, pool, 1));
    kn_error_take(ctx);
    put_number("sys/fs/cgroup", "memory.current", 4 * gib);
    assert_true(make_tensor(ctx, pool, 1000));
    assert_string_equal(warned, "as it was left");
    kn_ctx_free(ctx);
}

static void a_machine_that_is_short_of_it_is_warned_of(void **state) {
    (void)state;
    put("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 307200 kB\n");
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool);
    assert_true(make_tensor(ctx, pool, 255));
    assert_true(make_tensor(ctx, pool, 400));
    check_contains(warned, "300 MB are left");
    kn_ctx_free(ctx);
}

static void where_nothing_is_told_nothing_is_refused(void **state) {
    (void)state;
    kn_pool *pool;
    kn_ctx *ctx = make_room(&pool);
    pool->room.root = "/nonexistent";
    pool->taken = (size_t)1 << 50;
    assert_true(make_tensor(ctx, pool, 300));
    assert_string_equal(warned, "");
    pool->taken -= (size_t)1 << 50;
    kn_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_machine_without_groups, machine, root_remove),
        cmocka_unit_test_setup_teardown(a_container, machine, root_remove),
        cmocka_unit_test_setup_teardown(nested_groups, machine, root_remove),
        cmocka_unit_test_setup_teardown(version_1, machine, root_remove),
        cmocka_unit_test(nothing_is_told),
        cmocka_unit_test_setup_teardown(tensors_beyond_the_machine_are_refused, machine,
                                        root_remove),
        cmocka_unit_test_setup_teardown(tensors_beyond_a_group_are_refused, machine, root_remove),
        cmocka_unit_test_setup_teardown(a_machine_that_is_short_of_it_is_warned_of, machine,
                                        root_remove),
        cmocka_unit_test(where_nothing_is_told_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
