/* data_warn.c - what of DATA was read otherwise than its owner may think: nobody should train on
 * half of his pictures, or on those that he means to validate on, without knowing. */
#include "number.h"
#include "session.h"

#include "core/ctx.h"
#include "data/files.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* first is NULL where its path was too long to keep. */
static void warn_of(session *s, int count, const char *one, const char *several,
                    const char *first) {
    char text[sizeof((kn_error *)0)->message], number[NUMBER_TEXT];
    const char *path = first != NULL ? first : "a path that is too long";
    if (count == 0)
        return;
    if (count == 1)
        snprintf(text, sizeof text, "%.700s %s", path, one);
    else
        snprintf(text, sizeof text, "%.700s and %s %s", path, number_text(count - 1, number),
                 several);
    report_warning(&s->r, text);
}

void data_warn_passed_over(session *s, const kn_files *files) {
    warn_of(s, files->other_pictures, "is passed over: only JPEG and PNG files are read",
            "more are passed over: only JPEG and PNG files are read", files->other_picture);
    warn_of(s, files->folder_links, "is passed over: links to folders are not followed",
            "more are passed over: links to folders are not followed", files->folder_link);
}

/* ---- classes ---- */

/* Classes without a picture to validate on: how good the model is at them, nobody will know. */
static kn_status warn_unvalidated(session *s, const kn_split *split) {
    char text[sizeof((kn_error *)0)->message];
    const char *first = NULL;
    int count = 0;
    int *pictures = kn_calloc(s->ctx, (size_t)split->vocab.count, sizeof *pictures, "the classes");
    if (pictures == NULL)
        return KN_ERR_MEMORY;
    for (int i = 0; i < split->valid_count; i++)
        pictures[split->valid[i].label]++;
    for (int c = split->vocab.count - 1; c >= 0; c--)
        if (pictures[c] == 0) {
            first = split->vocab.name[c];
            count++;
        }
    kn_free(s->ctx, pictures);
    snprintf(text, sizeof text, "class %.700s", first != NULL ? first : "");
    warn_of(s, count, "has no picture to validate on", "more have no picture to validate on", text);
    return KN_OK;
}

/* ---- folders beside train/ and val/ ---- */

/* Whether a folder right below DATA holds pictures. It need not be one. */
static bool holds_pictures(session *s, const char *root, const char *name, char path[PATH_MAX]) {
    struct stat st;
    int length = snprintf(path, PATH_MAX, "%s/%s", root, name);
    if (length < 0 || length >= PATH_MAX || stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return false;
    kn_files files;
    bool holds = kn_files_scan(s->ctx, path, &files) == KN_OK && files.count > 0;
    kn_files_free(s->ctx, &files);
    kn_error_take(s->ctx); /* what is not read need not be readable */
    return holds;
}

/* A class that somebody made one floor too high. */
static void warn_of_folders_beside(session *s, const kn_files *files) {
    char root[PATH_MAX], path[PATH_MAX], first[PATH_MAX] = "";
    int count = 0;
    snprintf(root, sizeof root, "%.*s", (int)files->root_length, files->path[0]);
    DIR *data = opendir(root);
    for (struct dirent *entry; data != NULL && (entry = readdir(data)) != NULL;) {
        const char *name = entry->d_name;
        if (name[0] == '.' || kn_is_set_name(name) || !holds_pictures(s, root, name, path))
            continue;
        if (count++ == 0 || strcmp(path, first) < 0)
            snprintf(first, sizeof first, "%s", path);
    }
    if (data != NULL)
        closedir(data);
    warn_of(s, count, "is passed over: it lies beside the folders of the sets",
            "more are passed over: they lie beside the folders of the sets", first);
}

void data_warn_unused_pct(session *s, const kn_split *split) {
    if (split->by_folder && s->resume == NULL && args_given(&s->a, "valid-pct"))
        report_warning(&s->r, "--valid-pct changes nothing: DATA has a validation folder");
}

kn_status data_warn_of_split(session *s, const kn_split *split) {
    const kn_files *files = &split->files;
    data_warn_passed_over(s, files);
    data_warn_unused_pct(s, split);
    if (split->by_folder)
        warn_of_folders_beside(s, files);
    warn_of(s, files->empty_folders, "is no class: it holds no picture that is read",
            "more are no classes: they hold no picture that is read", files->empty_folder);
    return warn_unvalidated(s, split);
}
