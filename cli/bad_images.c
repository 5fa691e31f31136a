/* bad_images.c - see bad_images.h. */
#include "bad_images.h"

#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char file_name[] = "bad_images.txt";

typedef struct keeper {
    kn_callback base;
    train *t;
    char *before; /* the file of the training that goes on; NULL: there was none */
    int written;  /* pictures that the file names of this process's */
} keeper;

bool bad_images_skipped(const args *a) {
    return a->on_bad_image != NULL && strcmp(a->on_bad_image, "skip") == 0;
}

int bad_images_count(const train *t) {
    int training, validation;
    kn_loader_bad(t->loaders.train, &training);
    kn_loader_bad(t->loaders.valid, &validation);
    return training + validation;
}

int bad_images_named(const train *t) {
    char *text = NULL;
    int lines = 0;
    if (run_folder_text(&t->run, file_name, &text, NULL) == KN_OK && text != NULL)
        for (const char *at = text; *at != '\0'; at++)
            lines += *at == '\n';
    free(text);
    return lines;
}

/* ---- the file ---- */

static void add_lines(const kn_loader *loader, kn_text *out) {
    int count;
    const kn_bad_sample *bad = kn_loader_bad(loader, &count);
    for (int i = 0; i < count; i++)
        kn_text_printf(out, "%s\n", bad[i].reason);
}

static bool has_line(const kn_text *text, const char *line, size_t length) {
    for (const char *at = text->data; at != NULL && *at != '\0';) {
        size_t there = strcspn(at, "\n");
        if (there == length && memcmp(at, line, length) == 0)
            return true;
        at += there + (at[there] == '\n');
    }
    return false;
}

/* Those of before the training was stopped that were not met again. */
static void add_earlier(const keeper *k, kn_text *out) {
    size_t now = out->length;
    for (const char *at = k->before; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, "\n");
        kn_text met = {.data = out->data, .length = now};
        if (length > 0 && !has_line(&met, at, length)) {
            kn_text_append(out, at, length);
            kn_text_append(out, "\n", 1);
        }
        at += length + (at[length] == '\n');
    }
}

/* Takes the text over. */
static kn_status put_file(kn_ctx *ctx, const run_folder *run, kn_text *out) {
    char path[PATH_MAX];
    kn_error error = {0};
    if (!run_folder_file(run, file_name, path))
        kn_error_set(&error, KN_ERR_IO, "%.64s...: the path is too long", run->path);
    else if (out->failed)
        kn_error_set(&error, KN_ERR_MEMORY, "%s: no memory to write it", path);
    else
        kn_file_write(path, out->data, out->length, &error);
    kn_text_free(out);
    return kn_fail_with(ctx, &error);
}

static kn_status write_file(const keeper *k) {
    const train *t = k->t;
    kn_text out = {0};
    add_lines(t->loaders.train, &out);
    add_lines(t->loaders.valid, &out);
    add_earlier(k, &out);
    return put_file(t->s->ctx, &t->run, &out);
}

kn_status bad_images_write(kn_ctx *ctx, const run_folder *run, const kn_loader *loader) {
    int count;
    kn_text out = {0};
    kn_loader_bad(loader, &count);
    if (count == 0)
        return KN_OK;
    add_lines(loader, &out);
    return put_file(ctx, run, &out);
}

/* ---- the callback ---- */

/* After a pass too: its last batches may have been nothing but bad ones. */
static kn_flow write_new(kn_callback *cb, kn_learner *l) {
    keeper *k = (keeper *)cb;
    int count = bad_images_count(k->t);
    (void)l;
    if (count == k->written)
        return KN_GO;
    k->written = count;
    return write_file(k) == KN_OK ? KN_GO : KN_FAIL;
}

static void free_keeper(kn_callback *cb) {
    keeper *k = (keeper *)cb;
    free(k->before);
    kn_free(k->t->s->ctx, k);
}

static const kn_callback_class keeper_class = {.name = "bad_images",
                                               .order = 110,
                                               .skips_trials = true,
                                               .after_batch = write_new,
                                               .after_train = write_new,
                                               .after_validate = write_new,
                                               .free = free_keeper};

kn_callback *bad_images_cb(train *t) {
    keeper *k = kn_calloc(t->s->ctx, 1, sizeof *k, "the list of bad pictures");
    kn_error error = {0};
    if (k == NULL)
        return NULL;
    k->base.cls = &keeper_class;
    k->t = t;
    if (t->s->resume != NULL && run_folder_text(&t->run, file_name, &k->before, &error) != KN_OK) {
        kn_fail_with(t->s->ctx, &error);
        free_keeper(&k->base);
        return NULL;
    }
    return &k->base;
}

void bad_images_warn(session *s, const kn_loader *loader) {
    int count;
    const kn_bad_sample *bad = kn_loader_bad(loader, &count);
    for (int i = 0; i < count; i++) {
        char text[KN_ERROR_MAX + 16];
        snprintf(text, sizeof text, "left out: %s", bad[i].reason);
        report_warning(&s->r, text);
    }
}
