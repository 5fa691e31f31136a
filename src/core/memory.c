/* memory.c - see memory.h. */
#include "core/memory.h"

#include "core/ctx.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 512, PATH = 1024 };

/* The names of one version's files, below the folder that it is mounted on. */
typedef struct version {
    const char *controller; /* in /proc/self/cgroup; "": version 2 */
    const char *mount, *limit, *used;
    const char *swap_limit, *swap_used;
    bool swap_with_memory; /* those two count both */
    /* In memory.stat: page cache not touched lately, the rest of it, and what else can be freed. */
    const char *idle, *busy, *slab;
} version;

static const version versions[] = {
    {"", "/sys/fs/cgroup", "memory.max", "memory.current", "memory.swap.max", "memory.swap.current",
     false, "inactive_file ", "active_file ", "slab_reclaimable "},
    {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes", true, "total_inactive_file ",
     "total_active_file ", "total_slab_reclaimable "},
};

/* The machine's. */
typedef struct swap {
    uint64_t most, left;
} swap;

/* The number in a file, behind a label if there is one; missing where it is not: another line, or
 * no number ("max"). */
static uint64_t number_in(const char *path, const char *label, uint64_t missing) {
    char line[LINE];
    uint64_t number = missing;
    size_t length = strlen(label);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *begin = line + length, *end = begin;
        uint64_t found = strncmp(line, label, length) == 0 ? strtoull(begin, &end, 10) : 0;
        if (end == begin)
            continue;
        number = found;
        break;
    }
    if (file != NULL)
        fclose(file);
    return number;
}

static uint64_t number_at(const char *folder, const char *name, const char *label,
                          uint64_t missing) {
    char path[PATH];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length > 0 && length < PATH ? number_in(path, label, missing) : missing;
}

static uint64_t minus(uint64_t a, uint64_t b) {
    return a > b ? a - b : 0;
}

static uint64_t plus(uint64_t a, uint64_t b) {
    return a < UINT64_MAX - b ? a + b : UINT64_MAX;
}

static void narrow(uint64_t *least, uint64_t by) {
    *least = by < *least ? by : *least;
}

/* How much of the machine's swap a group is let into. Version 1 limits memory and swap together. */
static void narrow_swap(const version *v, const char *folder, kn_memory *m, swap *all) {
    (void)m;
    if (v->swap_with_memory)
        return;
    uint64_t most = number_at(folder, v->swap_limit, "", UINT64_MAX);
    narrow(&all->most, most);
    narrow(&all->left, minus(most, number_at(folder, v->swap_used, "", 0)));
}

static void narrow_memory(const version *v, const char *folder, kn_memory *m, swap *all) {
    uint64_t limit = number_at(folder, v->limit, "", UINT64_MAX);
    if (limit == UINT64_MAX)
        return;
    uint64_t used = number_at(folder, v->used, "", 0);
    uint64_t idle = number_at(folder, "memory.stat", v->idle, 0);
    uint64_t can_go = idle + number_at(folder, "memory.stat", v->busy, 0) +
                      number_at(folder, "memory.stat", v->slab, 0);
    uint64_t reach = plus(minus(limit, minus(used, can_go)), all->left);
    uint64_t both =
        v->swap_with_memory ? number_at(folder, v->swap_limit, "", UINT64_MAX) : UINT64_MAX;
    if (both < UINT64_MAX)
        narrow(&reach, minus(both, minus(number_at(folder, v->swap_used, "", 0), can_go)));
    narrow(&m->left, minus(limit, minus(used, idle)));
    narrow(&m->reach, reach);
    narrow(&m->reach_in_groups, reach);
    narrow(&m->most, plus(limit, all->most));
    narrow(&m->most, both);
}

/* "7:cpu,memory:/a/b" has the controller memory; "0::/a/b" is of version 2. */
static bool names_controller(const char *list, size_t length, const char *controller) {
    size_t wanted = strlen(controller);
    for (size_t at = 0; at <= length;) {
        size_t item = strcspn(list + at, ",:");
        if (item == wanted && strncmp(list + at, controller, item) == 0)
            return true;
        at += item + 1;
    }
    return false;
}

/* The process's group, "" for the outermost and where it is not told. */
static void group_of(const char *root, const version *v, char group[LINE]) {
    char path[PATH], line[LINE];
    group[0] = '\0';
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *list = strchr(line, ':'), *name = list != NULL ? strchr(list + 1, ':') : NULL;
        if (name == NULL || !names_controller(list + 1, (size_t)(name - list - 1), v->controller))
            continue;
        name[1 + strcspn(name + 1, "\n")] = '\0';
        snprintf(group, LINE, "%s", name + 1);
        break;
    }
    if (file != NULL)
        fclose(file);
}

typedef void narrow_fn(const version *v, const char *folder, kn_memory *m, swap *all);

/* By all groups on the way to the process's. */
static void narrow_to_groups(const char *root, narrow_fn *fn, kn_memory *m, swap *all) {
    char group[LINE], folder[PATH];
    for (size_t i = 0; i < KN_COUNT(versions); i++) {
        const version *v = &versions[i];
        group_of(root, v, group);
        for (char *slash = group; slash != NULL;) {
            int length = snprintf(folder, sizeof folder, "%s%s%s", root, v->mount, group);
            if (length < PATH)
                fn(v, folder, m, all);
            slash = strrchr(group, '/');
            if (slash != NULL)
                *slash = '\0';
        }
    }
}

/* The kernel writes kB for KiB. */
static uint64_t told(const char *root, const char *name, const char *label) {
    char path[PATH];
    snprintf(path, sizeof path, "%s/proc/%s", root, name);
    return number_in(path, label, 0) << 10;
}

kn_memory kn_memory_now(const char *root) {
    swap all = {told(root, "meminfo", "SwapTotal:"), told(root, "meminfo", "SwapFree:")};
    kn_memory m = {.own =
                       told(root, "self/status", "RssAnon:") + told(root, "self/status", "VmSwap:"),
                   .left = told(root, "meminfo", "MemAvailable:"),
                   .reach_in_groups = UINT64_MAX};
    narrow_to_groups(root, narrow_swap, &m, &all);
    m.reach = m.left + all.left;
    m.most = told(root, "meminfo", "MemTotal:") + all.most;
    narrow_to_groups(root, narrow_memory, &m, &all);
    return m;
}
