/* faults.c - see faults.h. */
#include "support/faults.h"

#include "support/check.h"
#include "support/tree.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void report_path(const char *root, char path[TREE_PATH + 64]) {
    snprintf(path, TREE_PATH + 64, "%s/report", root);
}

void fault_set(const char *root, const char *function, const char *which, const char *how) {
    char shim[COMMAND_PATH], value[FAULT_WAY + 64], report[TREE_PATH + 64];
    command_path("tests/libfail_calls.so", shim);
    snprintf(value, sizeof value, "%s:%s:%s", function, which, how);
    report_path(root, report);
    remove(report);
    setenv("LD_PRELOAD", shim, 1);
    setenv("KILN_FAIL", value, 1);
    setenv("KILN_FAIL_REPORT", report, 1);
}

void fault_clear(void) {
    unsetenv("LD_PRELOAD");
    unsetenv("KILN_FAIL");
}

/* ---- what the shim says ---- */

static void keep_way(fault_report *r, const char *way) {
    if (r->count % 256 == 0) {
        r->ways = realloc(r->ways, ((size_t)r->count + 256) * sizeof r->ways[0]);
        assert_non_null(r->ways);
    }
    snprintf(r->ways[r->count++], FAULT_WAY, "%s", way);
}

static void keep_leak(fault_report *r, const char *way) {
    bool own = strncmp(way, "kiln+", 5) == 0;
    if (own || r->leaks == 0)
        snprintf(r->leak, sizeof r->leak, "%s", way);
    r->leaks += own;
    r->other_leaks += !own;
}

bool fault_report_read(fault_report *r, const char *root) {
    char path[TREE_PATH + 64], line[FAULT_WAY + 64], way[FAULT_WAY];
    *r = (fault_report){0};
    report_path(root, path);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    // NOLINTBEGIN(cert-err34-c): our own numbers
    bool good = fgets(line, sizeof line, f) != NULL &&
                sscanf(line, "calls %ld failed %ld", &r->calls, &r->failed) == 2 &&
                fgets(line, sizeof line, f) != NULL && sscanf(line, "open %ld", &r->open) == 1;
    // NOLINTEND(cert-err34-c)
    while (good && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "place %159s", way) == 1)
            keep_way(r, way);
        else if (sscanf(line, "leak %159s", way) == 1)
            keep_leak(r, way);
    fclose(f);
    return good;
}

void fault_report_free(fault_report *r) {
    free(r->ways);
    *r = (fault_report){0};
}

/* ---- a set of texts ---- */

enum { SET = 1 << 16 };
static char *tried[SET], *addresses[SET];

static char **find(char **set, const char *text) {
    uint32_t hash = 2166136261u;
    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    size_t i = hash % SET;
    while (set[i] != NULL && strcmp(set[i], text) != 0)
        i = (i + 1) % SET;
    return &set[i];
}

static void keep(char **set, const char *text) {
    char **at = find(set, text);
    if (*at == NULL)
        *at = strdup(text);
    assert_non_null(*at);
}

/* Goes through the addresses of a way, the innermost first: of a library that only. "FAULT OBJECT
 * ADDRESS" into text, and the address alone behind it. NULL: none is left. */
static const char *next_address(const char *fault, const char *way, const char **at, char *text,
                                size_t size) {
    size_t object = strcspn(way, "+");
    bool program = strncmp(way, "kiln+", 5) == 0;
    if (*at == NULL)
        *at = way + object + 1;
    else if (program && **at != '\0')
        *at += 1; /* the comma */
    else
        return NULL;
    int length = (int)strcspn(*at, ",");
    if (length == 0)
        return NULL;
    int before = snprintf(text, size, "%s %.*s ", fault, (int)object, way);
    snprintf(text + before, size - (size_t)before, "%.*s", length, *at);
    *at += length;
    return text + before;
}

bool fault_is_new(const char *fault, const char *way) {
    char text[256];
    const char *at = NULL;
    while (next_address(fault, way, &at, text, sizeof text) != NULL)
        if (*find(tried, text) == NULL)
            return true;
    return false;
}

void fault_was_tried(const char *fault, const char *way) {
    char text[256];
    const char *at = NULL, *address;
    bool program = strncmp(way, "kiln+", 5) == 0;
    while ((address = next_address(fault, way, &at, text, sizeof text)) != NULL) {
        keep(tried, text);
        if (program)
            keep(addresses, address);
    }
}

long fault_write_tried(const char *path) {
    long count = 0;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < SET; i++)
        if (addresses[i] != NULL)
            count += fprintf(f, "%s\n", addresses[i]) > 0;
    assert_int_equal(fclose(f), 0);
    return count;
}
