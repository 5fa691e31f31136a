/* data_list.c - see resume.h: the pictures of a training by path and size. Times are left out, so
 * that a copy of the data is the same data. */
#include "resume.h"

#include "core/json_text.h"
#include "formats/sha256.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

static int by_path(const void *one, const void *two) {
    const line *a = one, *b = two;
    int lengths[] = {a->length - a->path, b->length - b->path};
    int least = lengths[0] < lengths[1] ? lengths[0] : lengths[1];
    int path = memcmp(a->at + a->path, b->at + b->path, (size_t)least);
    return path != 0 ? path : lengths[0] - lengths[1];
}

/* All lines by path, for free; NULL without memory. */
static line *lines_of(const char *text, size_t *count) {
    line one, *list;
    const char *at = text;
    *count = 0;
    while (read_line(&at, &one))
        ++*count;
    list = calloc(*count + 1, sizeof *list);
    for (size_t i = 0; list != NULL && i < *count; i++)
        read_line(&text, &list[i]);
    if (list != NULL)
        qsort(list, *count, sizeof *list, by_path);
    return list;
}

/* "train 123 " and "valid 123 ": what stands before the path, from the blank on. */
static bool same_size(const line *a, const line *b) {
    size_t set = strcspn(a->at, " ");
    return a->path == b->path && memcmp(a->at + set, b->at + set, (size_t)a->path - set) == 0;
}

static bool same_set(const line *a, const line *b) {
    return strncmp(a->at, b->at, strcspn(a->at, " ")) == 0;
}

typedef struct differing {
    line first;
    const char *what;
    int count;
} differing;

static void note(differing *d, const line *l, const char *what) {
    if (d->count++ == 0) {
        d->first = *l;
        d->what = what;
    }
}

static void tell(const differing *d, char *words, size_t size) {
    int length = d->first.length - d->first.path;
    int wrote = snprintf(words, size, "%.*s %s", length < 300 ? length : 300,
                         d->first.at + d->first.path, d->what);
    if (d->count > 1 && wrote > 0 && (size_t)wrote < size)
        snprintf(words + wrote, size - (size_t)wrote, ", and %d more differ", d->count - 1);
}

void data_list_difference(const char *before, const char *now, char *words, size_t size) {
    size_t olds, news, i = 0, j = 0;
    line *old = lines_of(before, &olds), *new = lines_of(now, &news);
    differing pictures = {0}, sets = {0}; /* where a picture came or went, the split moves others */
    while (old != NULL && new != NULL && (i < olds || j < news)) {
        int order = i == olds ? 1 : j == news ? -1 : by_path(&old[i], &new[j]);
        if (order < 0)
            note(&pictures, &old[i], "is gone");
        else if (order > 0)
            note(&pictures, &new[j], "is new");
        else if (!same_size(&old[i], &new[j]))
            note(&pictures, &new[j], "has another size");
        else if (!same_set(&old[i], &new[j]))
            note(&sets, &new[j], "is in the other set");
        i += order <= 0;
        j += order >= 0;
    }
    words[0] = '\0';
    if (pictures.count > 0 || sets.count > 0)
        tell(pictures.count > 0 ? &pictures : &sets, words, size);
    free(old);
    free(new);
}
