/* train_page_cb.c - what the page needs from inside the training: the pictures of a batch, and the
 * ends of epochs. */
#include "train_page.h"

#include "core/ctx.h"
#include "formats/html.h"
#include "formats/sheet.h"

#include <kiln/sheet.h>

#include <time.h>

enum {
    PICTURES = 64, /* at most, of the batch */
    PAUSE = 5,     /* seconds from one page to the next: an epoch may be much shorter */
};

typedef struct page {
    kn_callback base;
    train *t;
    bool taken, cancelled;
    struct timespec written;
} page;

/* ---- the first batch ---- */

static kn_status keep_pictures(train *t, const kn_batch *b, int count, const char *const *caption) {
    kn_image_reader reader = {0};
    kn_error error = {0};
    kn_text uri = {0};
    size_t bytes = (size_t)b->height * (size_t)b->width * 3;
    kn_status status = KN_OK;
    for (int i = 0; i < count && status == KN_OK; i++) {
        uri.length = 0;
        status = kn_sheet_picture(&uri, &reader, b->pixels + (size_t)i * bytes, b->height, b->width,
                                  &error);
        if (status == KN_OK && !uri.failed)
            kn_html_picture(&t->pictures, uri.data, caption[i]);
    }
    if (status == KN_OK && (uri.failed || t->pictures.failed))
        status = kn_error_set(&error, KN_ERR_MEMORY, "out of memory: pictures for the report");
    kn_text_free(&uri);
    kn_image_reader_free(&reader);
    kn_fail_with(t->s->ctx, &error);
    return status;
}

static kn_status write_sheet(train *t, const kn_batch *b, int count, const char *const *caption) {
    char path[PATH_MAX];
    kn_error error = {0};
    if (!run_folder_file(&t->run, "sheet.svg", path))
        return kn_fail(t->s->ctx, KN_ERR_IO, "%.64s...: the path is too long", t->run.path);
    kn_sheet sheet = {.title = "First training batch",
                      .pixels = b->pixels,
                      .count = count,
                      .height = b->height,
                      .width = b->width,
                      .caption = caption};
    kn_status status = kn_sheet_write(&sheet, path, NULL, &error);
    kn_fail_with(t->s->ctx, &error);
    return status;
}

static kn_flow before_batch(kn_callback *cb, kn_learner *l) {
    page *p = (page *)cb;
    const char *caption[PICTURES] = {NULL};
    if (p->taken || !l->training)
        return KN_GO;
    p->taken = true;
    p->t->went_on = l->epoch > 0 || l->batch_index > 0; /* sheet.svg is there, of the first batch */
    int count = l->batch.n < PICTURES ? l->batch.n : PICTURES;
    for (int i = 0; i < count; i++)
        caption[i] = p->t->split.vocab.name[l->batch.labels[i]];
    if ((!p->t->went_on && write_sheet(p->t, &l->batch, count, caption) != KN_OK) ||
        keep_pictures(p->t, &l->batch, count, caption) != KN_OK)
        return KN_FAIL;
    return KN_GO;
}

/* ---- the ends of epochs ---- */

static kn_flow before_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((page *)cb)->cancelled = false;
    return KN_GO;
}

static kn_flow after_cancel_epoch(kn_callback *cb, kn_learner *l) {
    (void)l;
    ((page *)cb)->cancelled = true;
    return KN_GO;
}

static kn_flow after_epoch(kn_callback *cb, kn_learner *l) {
    page *p = (page *)cb;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    bool last = l->epoch + 1 == l->epochs; /* then the command writes it, with all there is */
    if (p->cancelled || last || (p->written.tv_sec != 0 && now.tv_sec - p->written.tv_sec < PAUSE))
        return KN_GO;
    p->written = now;
    return train_page_write(p->t, PAGE_TRAINING) == KN_OK ? KN_GO : KN_FAIL;
}

static void free_page(kn_callback *cb) {
    page *p = (page *)cb;
    kn_free(p->t->s->ctx, p);
}

/* After the model was saved: then it is known which epoch was the best. */
static const kn_callback_class page_class = {.name = "page",
                                             .order = 100,
                                             .skips_trials = true,
                                             .before_epoch = before_epoch,
                                             .before_batch = before_batch,
                                             .after_cancel_epoch = after_cancel_epoch,
                                             .after_epoch = after_epoch,
                                             .free = free_page};

kn_callback *train_page_cb(train *t) {
    page *p = kn_calloc(t->s->ctx, 1, sizeof *p, "the page callback");
    if (p == NULL)
        return NULL;
    p->base.cls = &page_class;
    p->t = t;
    return &p->base;
}
