/* test_memory_left.c - the memory that is left, as kernels of several kinds tell it: a tree of
 * files stands in for /proc and /sys. */
#include "support/check.h"
#include "support/root.h"

#include "core/file.h"
#include "data/memory_left.h"

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
    put("proc/meminfo",
        "MemTotal:       33554432 kB\nMemFree:  1 kB\nMemAvailable:   16777216 kB\n");
    return 0;
}

static void the_machine_without_groups(void **state) {
    (void)state;
    assert_int_equal(kn_memory_left(root), 16 * gib);
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    assert_int_equal(kn_memory_left(root), 16 * gib);
}

/* Page cache that nobody touched lately is as good as free. */
static void a_container(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put_number("sys/fs/cgroup", "memory.max", 8 * gib);
    put_number("sys/fs/cgroup", "memory.current", 7 * gib);
    assert_int_equal(kn_memory_left(root), 1 * gib);
    put("sys/fs/cgroup/memory.stat", "anon 1000\ninactive_file 5368709120\nactive_file 9\n");
    assert_int_equal(kn_memory_left(root), 6 * gib);
    put_number("sys/fs/cgroup", "memory.current", 9 * gib);
    put("sys/fs/cgroup/memory.stat", "anon 1000\n");
    assert_int_equal(kn_memory_left(root), 0);
}

/* The narrowest counts, wherever it is on the way. */
static void nested_groups(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/slurm/job 7/step\n");
    put("sys/fs/cgroup/slurm/job 7/step/memory.max", "max\n");
    put_number("sys/fs/cgroup/slurm/job 7", "memory.max", 4 * gib);
    put_number("sys/fs/cgroup/slurm/job 7", "memory.current", 1 * gib);
    put_number("sys/fs/cgroup/slurm", "memory.max", 12 * gib);
    assert_int_equal(kn_memory_left(root), 3 * gib);
    put_number("sys/fs/cgroup/slurm", "memory.current", 10 * gib);
    assert_int_equal(kn_memory_left(root), 2 * gib);
}

static void version_1(void **state) {
    (void)state;
    put("proc/self/cgroup", "9:cpuset:/other\n7:cpu,memory:/box\n0::/unified\n");
    put_number("sys/fs/cgroup/memory/box", "memory.limit_in_bytes", 2 * gib);
    put_number("sys/fs/cgroup/memory/box", "memory.usage_in_bytes", gib);
    put("sys/fs/cgroup/memory/box/memory.stat", "inactive_file 0\ntotal_inactive_file 536870912\n");
    assert_int_equal(kn_memory_left(root), gib + gib / 2);
}

static void nothing_is_told(void **state) {
    (void)state;
    assert_int_equal(kn_memory_left("/nonexistent"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_machine_without_groups, machine, root_remove),
        cmocka_unit_test_setup_teardown(a_container, machine, root_remove),
        cmocka_unit_test_setup_teardown(nested_groups, machine, root_remove),
        cmocka_unit_test_setup_teardown(version_1, machine, root_remove),
        cmocka_unit_test(nothing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
