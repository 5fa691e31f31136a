/* check_doubles.c - see check_doubles.h. Files are sorted by the hash of their pixels. */
#include "check_doubles.h"

#include "json_line.h"

#include <stdlib.h>
#include <string.h>

/* ---- finding ---- */

typedef struct hashed {
    const char *hash; /* empty: a bad picture, or one of neither set */
    int file;
} hashed;

static int by_hash(const void *a, const void *b) {
    const hashed *x = a, *y = b;
    int order = strcmp(x->hash, y->hash);
    return order != 0 ? order : (x->file > y->file) - (x->file < y->file);
}

/* Both sets are in the order of the files, whose paths they borrow. */
static void mark_sets(const kn_split *split, check_doubles *d) {
    int t = 0, v = 0;
    for (int i = 0; i < split->files.count; i++) {
        const char *path = split->files.path[i];
        d->label[i] = -1;
        if (t < split->train_count && split->train[t].path == path)
            d->label[i] = split->train[t++].label;
        else if (v < split->valid_count && split->valid[v].path == path) {
            d->valid[i] = true;
            d->label[i] = split->valid[v++].label;
        }
    }
}

static bool alike(const check_result *result, int a, int b) {
    return result[a].pixels[0] != '\0' && strcmp(result[a].pixels, result[b].pixels) == 0;
}

/* The end of the group that begins at `at`, of which there is more than one. */
static int group_end(const check_doubles *d, const check_result *result, int at) {
    int end = at + 1;
    while (end < d->files && alike(result, d->file[at], d->file[end]))
        end++;
    return end;
}

static void judge(const check_doubles *d, int at, int end, bool *both, bool *mislabel) {
    *both = *mislabel = false;
    for (int i = at + 1; i < end; i++) {
        *both = *both || d->valid[d->file[i]] != d->valid[d->file[at]];
        *mislabel = *mislabel || d->label[d->file[i]] != d->label[d->file[at]];
    }
}

static void count(check_doubles *d, const check_result *result) {
    bool both, mislabel;
    for (int at = 0, end; at < d->files; at = end) {
        end = group_end(d, result, at);
        judge(d, at, end, &both, &mislabel);
        d->same += end - at - 1;
        d->both += both;
        d->mislabel += mislabel;
    }
}

kn_status check_doubles_find(kn_ctx *ctx, const kn_split *split, const check_result *result,
                             check_doubles *out) {
    size_t files = (size_t)split->files.count;
    *out = (check_doubles){0};
    hashed *list = kn_calloc(ctx, files + 1, sizeof *list, "looking for doubles");
    out->file = kn_calloc(ctx, files + 1, sizeof *out->file, "looking for doubles");
    out->valid = kn_calloc(ctx, files + 1, sizeof *out->valid, "looking for doubles");
    out->label = kn_calloc(ctx, files + 1, sizeof *out->label, "looking for doubles");
    if (kn_ctx_status(ctx) == KN_OK) {
        mark_sets(split, out);
        for (size_t i = 0; i < files; i++)
            list[i] = (hashed){out->label[i] >= 0 ? result[i].pixels : "", (int)i};
        qsort(list, files, sizeof *list, by_hash);
        for (size_t i = 0; i < files; i++)
            if (list[i].hash[0] != '\0')
                out->file[out->files++] = list[i].file;
        count(out, result);
    }
    kn_free(ctx, list);
    return kn_ctx_status(ctx);
}

void check_doubles_free(kn_ctx *ctx, check_doubles *d) {
    kn_free(ctx, d->file);
    kn_free(ctx, d->valid);
    kn_free(ctx, d->label);
    *d = (check_doubles){0};
}

/* ---- telling ---- */

void check_doubles_json(const check_doubles *d, const kn_split *split, const check_result *result,
                        kn_text *out) {
    bool both, mislabel;
    line_array_open(out, "doubles");
    for (int at = 0, end; at < d->files; at = end) {
        end = group_end(d, result, at);
        if (end - at < 2)
            continue;
        judge(d, at, end, &both, &mislabel);
        line_object_open(out, NULL);
        line_array_open(out, "paths");
        for (int i = at; i < end; i++)
            line_string(out, NULL, split->files.path[d->file[i]]);
        line_array_close(out);
        line_bool(out, "both_sets", both);
        line_bool(out, "classes_differ", mislabel);
        line_object_close(out);
    }
    line_array_close(out);
}

void check_doubles_tell(const check_doubles *d, const kn_split *split, const check_result *result,
                        report *r) {
    bool both, mislabel;
    for (int at = 0, end; at < d->files; at = end) {
        end = group_end(d, result, at);
        judge(d, at, end, &both, &mislabel);
        for (int i = at + 1; (both || mislabel) && i < end; i++) {
            int a = d->file[at], b = d->file[i];
            const char *what = d->label[a] != d->label[b]   ? ", of another class"
                               : d->valid[a] != d->valid[b] ? ", and one of them is to validate on"
                                                            : "";
            report_fail(r, EXIT_DATA, "%s: is the same picture as %s%s", split->files.path[b],
                        split->files.path[a], what);
        }
    }
}
