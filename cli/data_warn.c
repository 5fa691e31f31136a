/* data_warn.c - what of DATA was read otherwise than its owner may think: nobody should train on
 * half of his pictures, or on those that he means to validate on, without knowing. */
#include "number.h"
#include "session.h"

#include "core/ctx.h"

#include <stdio.h>
#include <string.h>

/* first is NULL where its path was too long to keep. */
static void warn_of(session *s, int count, const char *one, const char *several,
                    const char *first) {
    char text[sizeof((kn_error *)0)->message], number[NUMBER_TEXT];
    const char *path = first != NULL ? first : "a path that is too long";
    if (count == 0)
        return;
    if (count == 1)
        snprintf(text, sizeof text, "%s: %s", path, one);
    else
        snprintf(text, sizeof text, "%s and %s %s", path, number_text(count - 1, number), several);
    report_warning(&s->r, text);
}

void data_warn_passed_over(session *s, const kn_files *files) {
    warn_of(s, files->other_pictures, "is passed over: only JPEG and PNG files are read",
            "more are passed over: only JPEG and PNG files are read", files->other_picture);
    warn_of(s, files->folder_links, "is passed over: links to folders are not followed",
            "more are passed over: links to folders are not followed", files->folder_link);
}

/* ---- classes ---- */

/* Bytes of the folder that a picture lies in. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) : 0;
}

static bool same_folder(const char *a, const char *b) {
    size_t length = folder_length(a);
    return length == folder_length(b) && memcmp(a, b, length) == 0;
}

/* The first of items that lies in another folder than the first picture of its class. */
static const kn_labelled *other_folder(const kn_labelled *items, int count, const char **first) {
    for (int i = 0; i < count; i++) {
        const char **path = &first[items[i].label];
        if (*path == NULL)
            *path = items[i].path;
        else if (!same_folder(*path, items[i].path))
            return &items[i];
    }
    return NULL;
}

kn_status data_warn_of_split(session *s, const kn_split *split) {
    data_warn_passed_over(s, &split->files);
    if (split->by_folder)
        return KN_OK;
    const char **first =
        kn_calloc(s->ctx, (size_t)split->vocab.count, sizeof *first, "the folders");
    if (first == NULL)
        return KN_ERR_MEMORY;
    const kn_labelled *other = other_folder(split->train, split->train_count, first);
    if (other == NULL)
        other = other_folder(split->valid, split->valid_count, first);
    if (other != NULL) {
        char text[sizeof((kn_error *)0)->message];
        bool in_order = strcmp(first[other->label], other->path) < 0;
        const char *one = in_order ? first[other->label] : other->path;
        const char *two = in_order ? other->path : first[other->label];
        snprintf(text, sizeof text,
                 "%.*s and %.*s are one class, and what is validated on is drawn from both: a "
                 "split of your own would be in folders train and val",
                 (int)folder_length(one), one, (int)folder_length(two), two);
        report_warning(&s->r, text);
    }
    kn_free(s->ctx, first);
    return KN_OK;
}
