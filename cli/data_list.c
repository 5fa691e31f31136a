/* data_list.c - see resume.h: the pictures of a training by path and size. Times are left out, so
 * that a copy of the data is the same data. */
#include "resume.h"

#include "core/json_text.h"
#include "formats/sha256.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A picture that cannot be looked at, as a link to nothing, has a size of -1. */
static void add(const train *t, const char *set, const kn_labelled *item, int count, kn_text *out) {
    size_t skip = t->split.files.root_length + 1;
    for (int i = 0; i < count; i++) {
        struct stat st;
        intmax_t size = stat(item[i].path, &st) == 0 ? (intmax_t)st.st_size : -1;
        kn_text_printf(out, "%s %jd ", set, size);
        kn_text_json_string(out, item[i].path + skip);
        kn_text_append(out, "\n", 1);
    }
}

kn_status data_list(const train *t, kn_text *out, char hash[65]) {
    const kn_split *split = &t->split;
    add(t, "train", split->train, split->train_count, out);
    add(t, "valid", split->valid, split->valid_count, out);
    if (out->failed)
        return kn_fail(t->s->ctx, KN_ERR_MEMORY, "out of memory: the list of pictures");
    kn_sha256 sum;
    kn_error error = {0};
    kn_sha256_begin(&sum);
    kn_sha256_add(&sum, out->data, out->length);
    kn_sha256_end(&sum, hash, &error);
    return kn_fail_with(t->s->ctx, &error);
}

/* ---- what differs ---- */

/* Of a line "set size "path"": its length without the end, where the path begins. */
typedef struct line {
    const char *at;
    int length, path;
} line;

static bool read_line(const char **text, line *l) {
    l->at = *text;
    l->length = (int)strcspn(*text, "\n");
    l->path = (int)strcspn(*text, "\"");
    if (l->path > l->length)
        l->path = l->length;
    *text += l->length + (l->at[l->length] == '\n');
    return l->length > 0;
}

/* By set, then by path: the order that they stand in. */
static int compare(const line *a, const line *b) {
    int set = strncmp(a->at, b->at, 5);
    int lengths[] = {a->length - a->path, b->length - b->path};
    int least = lengths[0] < lengths[1] ? lengths[0] : lengths[1];
    int path = memcmp(a->at + a->path, b->at + b->path, (size_t)least);
    return set != 0 ? set : path != 0 ? path : lengths[0] - lengths[1];
}

void data_list_difference(const char *before, const char *now, char *words, size_t size) {
    line old = {0}, new = {0}, first = {0};
    const char *what = "";
    int count = 0;
    bool has_old = read_line(&before, &old), has_new = read_line(&now, &new);
    while (has_old || has_new) {
        int order = !has_old ? 1 : !has_new ? -1 : compare(&old, &new);
        bool same = order == 0 &&
                    old.length == new.length &&memcmp(old.at, new.at, (size_t)old.length) == 0;
        if (!same && count++ == 0) {
            first = order > 0 ? new : old;
            what = order > 0 ? "is new" : order < 0 ? "is gone" : "has another size";
        }
        if (order <= 0)
            has_old = read_line(&before, &old);
        if (order >= 0)
            has_new = read_line(&now, &new);
    }
    int length = first.length - first.path;
    int wrote = snprintf(words, size, "%.*s %s", length < 300 ? length : 300,
                         first.at != NULL ? first.at + first.path : "", what);
    if (count > 1 && wrote > 0 && (size_t)wrote < size)
        snprintf(words + wrote, size - (size_t)wrote, ", and %d more differ", count - 1);
}
